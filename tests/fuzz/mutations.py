"""Odd requests: the shipped files and the options of every command, with values, sections, keys and text changed.

Case ``n`` depends on the seed and ``n`` alone, so that one that fails can be looked at by itself.
"""

from __future__ import annotations

import copy
import itertools
import json
import math
import random
import re
from typing import Any, NamedTuple

import typer
import yaml

from orchestrator.cli import app
from orchestrator.config import PRESETS

SEED = 20_240_501
COMMANDS = typer.main.get_command(app).commands
LEFT_OUT = "open", "doctor"  # which start a browser, and Ray
COMMON = ("dry_run", "help", "settings", "config", "store", "space")
NO_SETTING = ("watch", "scale", "mask", "actors", "to", "as_json", "quick", "gpu", "model", "data", "workers", *COMMON)


class Raw(str):
    """YAML that is written as it is."""


def _own(name: str) -> dict[str, Any]:
    """The settings that a command has options for, with their defaults."""
    tree: dict[str, Any] = {}
    for parameter in COMMANDS[name].params:
        stated = re.search(r"Default: ([\w.+-]+)\.$", getattr(parameter, "help", None) or "")
        if stated and parameter.name not in NO_SETTING:
            *sections, key = parameter.name.split("__")
            section = tree
            for part in sections:
                section = section.setdefault(part, {})
            section[key] = yaml.safe_load(stated[1])
    return tree


SHIPPED = {path.name: yaml.safe_load(path.read_text()) for path in sorted(PRESETS.glob("*/*.yaml"))}
TREES = {name: [_own(name)] for name in COMMANDS}
TREES["anneal"] += [SHIPPED["labyrinth.yaml"]]
TREES["temper"] += [SHIPPED["labyrinth.yaml"]]
TREES["train"] = [tree for tree in SHIPPED.values() if "system" in tree and "trial" not in tree]
TREES["sweep"] = [SHIPPED["evae.yaml"], SHIPPED["evae.yaml"], SHIPPED["hybrid.yaml"]]

LETTERS = itertools.pairwise("abcdefghijkl")
LAUGHS = ["&a [x, x, x, x, x]", *(f"&{b} [*{a}, *{a}, *{a}, *{a}, *{a}]" for a, b in LETTERS)]
TEXTS = [
    *("!!int x", "!!float []", "!!bool x", "!!null x", "!!timestamp 2001-99-99", "!!binary x", "!!set {a}", "!foo x"),
    *("!!python/object:os.system x", "!!python/name:os.system", "2001-02-30", "2001-01-01", "1:2:3:4", "1e400"),
    *("1.0e+400", "-.inf", ".nan", "9" * 5000, "0x" + "f" * 5000, "0b" + "1" * 20_000, "'", '"', "|", ">", "%", "@"),
    *("&a [*a]", "&a {a: *a}", "*missing", "{<<: 3}", "{<<: [1]}", "{<<: {a: 1}}", f"[{', '.join(LAUGHS)}]", "- -"),
    *("{a: 1, a: 2}", "{[1]: 2}", "{? {a: 1} : 2}", "[" * 500 + "]" * 500, "[" * 3000, "{a: " * 300 + "1" + "}" * 300),
    *('"\\ud800"', '"\\0"', '"a\\nb"', "\t", "...", "--- a\n--- b", "# only", "null", "~", "[1, 2", "{a", "`", "? "),
]
NUMBERS = [
    *(0, -1, 1, 2, 3, 16, 33, 65_536, 2**31, 2**32, 2**63, 2**64, 10**9, 10**12, -(10**12), 10**30, 10**400, True),
    *(0.5, -0.0, 7.0, 1e-320, 1e300, math.inf, -math.inf, math.nan),
]
WORDS = [
    *("", " ", "0", "1e-3", "1e400", "nan", "-", "--", "٣", "²", "yes", "x" * 400, "x" * 9000, "9" * 5000, "1:²", "²:"),
    *("ab\ncd", "a\tb", "a\0b", "\ud800", "\udcff", "\u202e", "\x1b[2J", "é", "..", "../..", "/", "*", "[", "{", ":"),
    *("~nobody/a", "/dev/null/x", "/proc/self/mem", ".", "*.yaml", "evae.yaml", "labyrinth", "hybrid", "case.yaml"),
    *("mz_max", "energy_min", "_max", "collapse", "qmc", "disk", "states.npy", "claims.npy", "words.ovf", "prior:1"),
    *("nope:Thing", "math:pi", "math:sqrt", "os:path", "..a:b", "a b:c", "json:loads", "nets.system:System", "prior:²"),
    *("physics.annealing:Annealing", "physics.model:SpinModel", "physics.chiral:ChiralMagnet", "bloch", "tempering"),
    *("nets.system:SystemSettings", "search.genetic:GeneticSettings", "orchestrator.sweeps.collapse:CollapseScan"),
    *("search.objectives:Objective", "search.objectives:CorrelationMax", "toys:Ising", "toys:Glauber", "a:b"),
]
SECTIONS: list[Any] = [
    *([], {}, [[]], [None], [1, "a"], ["a"], [1, 2, 3], [2, 1], [1, 10**9], [[1, 2], [3]], list(range(3000))),
    *({"": 1}, {1: 2}, {None: 1}, {"name": []}, {"name": "nope"}, {"name": "chiral", "D": [1]}, {"scales": {}}),
    *({"uniform": [0, 1]}, {"log_uniform": [1e-300, 1e300]}, {"integer": [1, 10**9]}, {"choice": 3}, {"fixed": {}}),
    *({"choice": list(range(500))}, {f"k{i}": i for i in range(200)}, {"seed": [1, 2, 3] * 999, "batch": [1] * 999}),
    *({"system": [{"name": "vae"}]}, {"system.L": [16]}, {"seed": ["a"]}, {"dataset.hamiltonian": [{"D": 1}]}),
]
RANGES: list[Any] = [
    *([1], [1, 2], [0.1, 0.2], ["a"], [None], [[1, 2]], [True], 1, None, [1e-3, 1e400], {"uniform": [1, 2]}, [{}]),
    *({"integer": [16, 32]}, {"log_uniform": [1e-4, 1e-2]}, {"fixed": 3}, {"choice": [1] * 101}, [1] * 20_000),
]
PLAUSIBLE: list[Any] = [
    1,
    2,
    4,
    8,
    16,
    20,
    32,
    64,
    100,
    1000,
    10**6,
    0.0,
    0.1,
    0.5,
    1e-3,
    1.5,
    2,
    0,
    -1,
    "1e-3",
    "4",
    True,
]
ODD: list[Any] = [*NUMBERS, *WORDS, *map(Raw, TEXTS), *SECTIONS, *SECTIONS, None]
BREAKS = ["\0", "\t", "\x85", "\ufeff", ":", "- ", "{", "}", "[", "]", "&a ", "*a", "!!", "#", "'", '"', "\n", "%", "|"]
STORES = [
    *("nope", "", " ", "a\nb", "\udcff", "a\0b", "x" * 300, "x/" * 3000, "~nobody", "/dev/null/x", "/proc/self"),
    *("nope://x", "memory://m", "::", "zip://x", "://", "file:///", "store/datasets", "states.npy", "simplecache::no"),
]


class Case(NamedTuple):
    """What is typed after ``orch``, and the file ``case.yaml`` that it may name."""

    arguments: list[str]
    content: bytes


def case(number: int, known: list[str]) -> Case:
    """Case ``number``; ``known`` are names of artifacts of ``store``."""
    rng = random.Random(f"{SEED}/{number}")
    name = rng.choice(sorted(set(COMMANDS) - set(LEFT_OUT)))
    tree = rng.choice(TREES[name] if rng.random() < 0.93 else [*SHIPPED.values()])
    dry_run = ["--dry-run"] * any(p.name == "dry_run" for p in COMMANDS[name].params)
    return Case([name, *dry_run, *_positional(rng, name, known), *_options(rng, name, tree)], _content(rng, tree))


def _positional(rng: random.Random, name: str, known: list[str]) -> list[str]:
    found: list[str] = []
    for parameter in COMMANDS[name].params:
        if parameter.param_type_name == "argument" and (parameter.required or rng.random() < 0.3):
            for _ in range(rng.choice([1, 2, 3]) if parameter.nargs == -1 else 1):
                sane = {"files": ["states.npy"], "states": ["prior:1"], "models": known[-1:], "model": known[-1:]}
                found.append(rng.choice(sane.get(parameter.name, known)) if rng.random() < 0.9 else _word(rng))
    return found


def _word(rng: random.Random) -> str:
    value = _value(rng)
    return value if isinstance(value, str) else flow(value)


def _value(rng: random.Random) -> Any:
    return copy.deepcopy(rng.choice(PLAUSIBLE if rng.random() < 0.4 else ODD))


def _options(rng: random.Random, name: str, tree: dict) -> list[str]:
    """Some options of the command."""
    own = [p for p in COMMANDS[name].params if p.param_type_name == "option" and p.name not in COMMON]
    found = []
    for option in rng.sample(own, min(len(own), rng.choice([0, 0, 0, 1, 1, 2]))):
        sane = rng.choice(["1", "2", "8", "mz_max", "quick", "paper"])
        values = [sane if rng.random() < 0.3 else _word(rng) for _ in range(option.nargs)]
        found += [rng.choice(option.opts), *([] if option.is_flag else values)]
    store = "store" if rng.random() < 0.95 else rng.choice(STORES)
    if not any(p.name == "settings" for p in COMMANDS[name].params):
        return [*found, "--store", store]
    for _ in range(rng.choice([0, 0, 0, 1, 1, 2])):
        found += ["--set", _setting(rng, tree)]
    if rng.random() < 0.6:
        option = "--model" if name == "train" and rng.random() < 0.5 else "--config"
        found += [option, "case.yaml" if rng.random() < 0.95 else _word(rng)]
    return [*found, "--store", store]


def _setting(rng: random.Random, tree: dict) -> str:
    paths = [path for path in _paths(tree) if path[0] != "scales"]
    odd = [*WORDS, "a." * 3000 + "a", "space.system.beta", "hamiltonian.mask", "resources.workers"]
    key = ".".join(rng.choice(paths)) if rng.random() < 0.9 and paths else rng.choice(odd)
    if rng.random() < 0.1:
        return f"space.{key}={flow(rng.choice(RANGES))}"
    return f"{key}={_word(rng)}" if rng.random() < 0.97 else _word(rng)


def _paths(tree: Any, above: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The keys that lead to every value and every section."""
    found = [above] if above else []
    for key, value in tree.items() if isinstance(tree, dict) else ():
        found += _paths(value, (*above, key)) if isinstance(key, str) else []
    return found


def _content(rng: random.Random, tree: dict) -> bytes:
    """A file with some of its values, keys, characters and bytes changed."""
    tree = copy.deepcopy(tree)
    for _ in range(rng.choice([0, 0, 1, 1, 1, 2])):
        if paths := _paths(tree):
            _mutate(rng, tree, rng.choice(paths))
    text = "".join(f"{flow(key)}: {flow(value)}\n" for key, value in tree.items()) or "{}"
    if rng.random() < 0.1:
        text = yaml.safe_dump(rng.choice([*SHIPPED.values()]))
    for _ in range(rng.choice([0, 0, 0, 0, 1, 2])):
        text = _broken(rng, text)
    content = text.encode("utf-8", "surrogatepass")
    if rng.random() < 0.04:
        encoded = text.encode("utf-16", "surrogatepass"), text.encode("latin-1", "replace") + b"\xe9"
        content = rng.choice([*encoded, rng.randbytes(300), content[: len(content) // 2] + b"\xff\xfe"])
    return content


def _mutate(rng: random.Random, tree: dict, path: tuple[str, ...]) -> None:
    """Replace, delete, rename or copy the value of a key, in place."""
    section: Any = tree
    for part in path[:-1]:
        section = section[part]
    key, kind = path[-1], rng.random()
    if path[0] == "space" or (kind < 0.1 and "system" in tree):
        tree["space"] = {
            ".".join(rng.choice(_paths(tree))): rng.choice(RANGES) for _ in range(rng.choice([1, 1, 2, 3]))
        }
        tree["trials"] = rng.choice([None, 3, 10**9, *PLAUSIBLE])
    elif kind < 0.6:
        section[key] = _value(rng)
    elif kind < 0.7:
        del section[key]
    elif kind < 0.78:
        section[rng.choice([*WORDS, key + "s", key.upper()])] = section.pop(key)
    elif kind < 0.84:
        section[rng.choice([1, None, True, 2.5, 10**30, math.nan, Raw("[1]"), Raw("<<"), Raw(key + " ")])] = section[
            key
        ]
    elif kind < 0.95:
        section[rng.choice([*WORDS, "scale", "scales", "space", "name", "L"])] = _value(rng)
    else:
        section[key] = copy.deepcopy(section)


def _broken(rng: random.Random, text: str) -> str:
    """One change of the text."""
    at, lines = rng.randrange(len(text) + 1), text.splitlines(keepends=True) or [""]
    line = rng.randrange(len(lines))
    return rng.choice(
        [
            text[:at] + rng.choice(BREAKS) + text[at:],
            text[:at] + text[at + 1 :],
            text[:at],
            "".join([*lines[: line + 1], *lines[line:]]),
            "".join([*lines[:line], " " * rng.randrange(1, 5), *lines[line:]]),
            text + text,
            text + rng.choice(TEXTS),
        ]
    )


def flow(value: Any) -> str:
    """As YAML on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{flow(key)}: {flow(content)}" for key, content in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(flow, value)) + "]"
    if isinstance(value, float) and not math.isfinite(value):
        return ".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf"
    return str(value) if isinstance(value, Raw) else json.dumps(value)
