import errno
import json
import re
import subprocess
import sys
from typing import Any

import pytest
import typer
from driving import orch
from typer.testing import CliRunner

from orchestrator import cli, options
from orchestrator.cli import app
from orchestrator.errors import FailedError, RequestError
from physics.registry import Tagged, setting


def run(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(orch(*arguments), capture_output=True, text=True)


@pytest.mark.parametrize(
    "arguments",
    [
        ["anneal", "--L", "abc"],
        ["anneal", "--T-end", "-1"],
        ["sweep", "--set", "trial.bta=3"],
        ["sweep", "--space", "nope.yaml"],
        ["sweep", "--quick", "--scale", "paper"],
        ["sweep", "--metric", "gamma_z"],
        ["sweep", "--mode", "least"],
        ["train", "--workers", "2:x"],
        ["train", "--data", "nope"],
        ["temper", "--T-min", "0.9"],
        ["temper", "--config", "labyrinth.yaml"],
        ["anneal", "--mask", "nope.npy"],
        ["anneal", "--model", "nope"],
        ["import", "nope.ovf"],
        ["optimize", "--objective", "nope"],
        ["optimize", "--objective", "mq_max"],
        ["optimize", "--optimizer", "nope"],
        ["optimize", "--model", "nope"],
        ["optimize", "--model", "nope", "--scale", "paper"],
        ["optimize", "--optimizer", "pareto", "--objective", "energy_min"],
        ["list", "--store", "/usr"],
        ["list", "frogs"],
        ["show", "nope"],
        ["compare", "nope", "nope"],
        ["open", "nope"],
        ["status"],
        ["logs", "nope"],
        ["stop", "nope"],
        ["rm", "nope"],
        ["gc", "--days", "-1"],
        ["cluster", "check", "nope.yaml"],
        ["frobnicate"],
    ],
    ids=" ".join,
)
def test_a_wrong_request_is_one_line_and_exit_code_2(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "argv", ["orch", *arguments])
    with pytest.raises(SystemExit, match="2"):
        cli.main()
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_the_command_itself_refuses_a_wrong_request_in_one_line(tmp_path):
    result = subprocess.run(orch("anneal", "--L", "abc"), capture_output=True, text=True, cwd=tmp_path)
    assert result.returncode == 2
    assert len(result.stderr.strip().splitlines()) == 1
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (RequestError("wrong"), 2, "wrong"),
        (FailedError("failed"), 1, "failed"),
        (KeyError("x\ny"), 1, r"orch: unexpected KeyError: 'x\ny' (orch --debug shows where)"),
        (ValueError("two\nlines"), 1, "orch: unexpected ValueError: two (orch --debug shows where)"),
        (OSError(errno.ENOSPC, "No space left on device", "/disk/a"), 1, "orch: /disk/a: No space left on device"),
        (PermissionError(errno.EACCES, "Permission denied", "/b"), 1, "orch: /b: Permission denied"),
        (ConnectionError("no Ray there\nat all"), 1, "orch: no Ray there"),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("debug", [False, True], ids=["", "--debug"])
def test_an_error_is_one_line_and_a_traceback_if_asked_for(error, code, line, debug, monkeypatch, capsys):
    def fail(arguments, standalone_mode):
        assert arguments == ["list"]
        raise error

    monkeypatch.setattr(cli, "app", fail)
    monkeypatch.setattr(sys, "argv", ["orch", *["--debug"] * debug, "list"])
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == code
    *above, last = capsys.readouterr().err.splitlines()
    assert last == line
    assert ("Traceback (most recent call last):" in above) == debug == bool(above)


def test_show_prints_the_line_of_descent(swept):
    config, store = swept
    name = next(name for _, name, card in store.cards("models") if card["config"]["model"]["gamma"] == 1)
    result = run("show", name, "--store", store.root)
    assert result.returncode == 0
    assert f"datasets/{config.dataset.name}" in result.stdout
    assert "models/evae-2021-b1e-05-g0-s0" in result.stdout


def test_list_is_json_on_request(swept):
    _, store = swept
    result = run("list", "models", "--json", "--store", store.root)
    assert {entry["kind"] for entry in json.loads(result.stdout)} == {"models"}


def test_a_dry_run_makes_nothing(tiny, tmp_path):
    result = run("sweep", "--space", str(tiny), "--dry-run", "--store", str(tmp_path / "store"))
    assert result.returncode == 0
    assert "256 to make by annealing" in result.stdout
    assert not (tmp_path / "store").exists()


def test_help_imports_nothing_that_is_slow():
    """Of the program, of every command, and of a wrong name for one."""
    script = """
import sys
from typer.testing import CliRunner
from orchestrator.cli import app
import typer
for name in [None, "frobnicate", *typer.main.get_command(app).commands]:
    result = CliRunner().invoke(app, [*([name] if name else []), "--help"])
    assert (result.exit_code == 0) == (name != "frobnicate"), result.output
print(*sorted({"torch", "matplotlib", "ray", "pandas", "pyarrow", "numba"} & set(sys.modules)))
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == []


COMMANDS = typer.main.get_command(app).commands
LOOKING = {"list", "show", "compare", "open", "status", "logs", "stop", "rm", "gc"}
PREPARING = {"cluster", "doctor"}
MAKING = sorted(set(COMMANDS) - LOOKING - PREPARING)


def test_commands_that_make_something_are_these():
    made = (
        "anneal temper import export train sweep optimize sample evaluate reconstruct map ddls field interpolate "
        "invert reproduce"
    )
    assert sorted(made.split()) == MAKING


@pytest.mark.parametrize("name", MAKING)
def test_every_command_that_makes_something_has_the_same_seven_options(name):
    of = {option: p for p in COMMANDS[name].params for option in p.opts}
    assert {"--config", "--set", "--scale", "--seed", "--store", "--dry-run", "--json"} <= set(of)
    for option in ("--dry-run", "--json"):
        assert of[option].is_flag
    assert of["--set"].multiple


def shown(command: str, parameter: Any) -> str:
    """The help line of an option as a person reads it."""
    return " ".join(parameter.get_help_record(COMMANDS[command].make_context(command, [], resilient_parsing=True)))


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_option_says_what_it_is_without(name):
    for parameter in COMMANDS[name].params:
        if parameter.param_type_name == "argument" or parameter.is_flag:
            continue
        line = shown(name, parameter)
        assert len(re.findall(r"default: \S", line, re.IGNORECASE)) == 1, line


ARGUMENTS = {
    "import": ["states.npy"],
    "export": ["anything"],
    "sample": ["anything"],
    "evaluate": ["anything"],
    "map": ["anything"],
    "ddls": ["anything"],
    "field": ["anything"],
    "interpolate": ["anything", "prior:1", "prior:2"],
    "invert": ["anything", "prior:1"],
    "reproduce": ["evae-2021"],
}


class AskedError(Exception):
    """With the request that a command would make something of."""


def request_of(name: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """What a command asks for, before it looks into the store."""
    original = options.Common.request

    def request(*given, **more):
        raise AskedError(original(*given, **more))

    def read_import(files, source, scale, settings):
        from orchestrator.config import load
        from orchestrator.data.request import DatasetConfig

        raise AskedError(load(DatasetConfig, source, scale, settings))

    monkeypatch.setattr(options.Common, "request", request)
    monkeypatch.setattr("orchestrator.data.interchange.read_import", read_import)
    with pytest.raises(AskedError) as asked:
        CliRunner().invoke(app, [name, *arguments, *ARGUMENTS.get(name, [])], catch_exceptions=False)
    return asked.value.args[0]


def said(value: Any) -> str:
    """As a person writes it."""
    if isinstance(value, Tagged):
        return value.name
    return " ".join(map(said, value)) if isinstance(value, tuple) else str(value)


def test_help_is_printed_with_its_defaults():
    printed = CliRunner().invoke(app, ["anneal", "--help"], env={"COLUMNS": "160"}).output
    assert "Sites along each edge of the lattice. Default: 32." in printed
    assert "Dzyaloshinskii-Moriya coupling D, in units of J. Default: 0.6." in printed


@pytest.mark.parametrize("name", MAKING)
def test_the_defaults_that_help_states_are_those_of_the_request(name, monkeypatch):
    config = request_of(name, [], monkeypatch)
    checked = 0
    for parameter in COMMANDS[name].params:
        key = parameter.name.replace("__", ".")
        stated = re.search(r"Default: (.+)\.$", parameter.help or "")
        try:
            default = setting(config, key)
        except ValueError:  # an option that is no setting
            continue
        if key in ("config", "seed", "mask", "charges") or stated is None or stated[1].startswith("of the "):
            continue
        assert stated[1] == said(default), f"--{key}"
        checked += 1
    assert checked or name in ("train", "sweep", "reproduce")  # which start from a file
    assert getattr(config, "seed", 0) == 0


@pytest.mark.parametrize(
    ("command", "settings"),
    [
        ("anneal --D 0.3 --sweeps 7 --schedule quadratic", {"hamiltonian.D": 0.3, "sampler.kind": "quadratic"}),
        ("anneal --n 5 --seed 2", {"configurations": 5, "seed": 2}),
        ("anneal --D 0.3 --set hamiltonian.D=0.4 --seed 1 --set seed=2", {"hamiltonian.D": 0.4, "seed": 2}),
        ("temper --runs 3 --rounds 9", {"sampler.name": "tempering", "configurations": 3, "sampler.rounds": 9}),
        ("temper --set sampler.torque=0.01", {"sampler.name": "tempering", "sampler.torque": 0.01}),
        ("import --B 0.1 --boundary wire", {"hamiltonian.B": 0.1, "hamiltonian.boundary": "wire"}),
        ("export --rows 1:2 --form npy", {"rows": "1:2", "form": "npy"}),
        ("train --steps 7 --workers 1:2 --gpu", {"steps": 7, "resources.workers": (1, 2), "resources.gpus": 1}),
        ("sweep --seeds 3 --metric gamma_up_upper --mode max", {"seeds": 3, "metric": "gamma_up_upper", "mode": "max"}),
        ("sweep --quick", {"steps": 200, "dataset.configurations": 1000}),
        ("sweep --scale quick --set steps=61", {"steps": 61, "dataset.configurations": 1000}),
        ("optimize --optimizer gradient --population 7", {"optimizer.name": "gradient", "optimizer.population": 7}),
        ("optimize --objective energy_min --iterations 3", {"objective": ("energy_min",), "iterations": 3}),
        ("optimize --objective mz_max --objective mz_min --seeds 2", {"objective": ("mz_max", "mz_min"), "seeds": 2}),
        ("optimize --set objective.name=mz_min", {"objective": ("mz_min",)}),
        ("sample --n 5 --steps 2 --langevin", {"n": 5, "steps": 2, "langevin": True}),
        ("evaluate --step-size 0.5", {"step_size": 0.5}),
        ("map --axes 3 5 --reach 1.5", {"axes": (3, 5), "reach": 1.5}),
        ("ddls --n 5", {"n": 5, "steps": 100}),
        ("field --n 5", {"n": 5}),
        ("interpolate --points 5", {"points": 5, "states": ("prior:1", "prior:2")}),
        ("invert --starts 5 --learning-rate 0.5", {"starts": 5, "learning_rate": 0.5, "state": "prior:1"}),
    ],
)
def test_options_are_short_for_settings(command, settings, monkeypatch):
    name, *arguments = command.split()
    config = request_of(name, arguments, monkeypatch)
    found = {key: setting(config, key) for key in settings}
    if "objective" in found:
        found["objective"] = tuple(objective.name for objective in found["objective"])
    assert found == settings
