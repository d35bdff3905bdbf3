import json
from pathlib import Path

import pytest
from seen import check_page
from typer.testing import CliRunner

from orchestrator.cli import app
from orchestrator.config import PRESETS, load, shipped
from orchestrator.errors import RequestError
from orchestrator.options import job_of
from orchestrator.reproduction import run
from orchestrator.reproduction.request import Reproduction
from orchestrator.store import Store

PAPER = """
label: toy
title: A toy
values: {{n: 9}}
entries:
  scan:
    figure: 2
    command: orch sweep --space {space}
    pictures: [curves.png]
    shows: Losses.
  field:
    figure: 3
    command: [field, "{{scan}}:gamma=100,beta=1e-4,seed={{seed}}", --n, "{{n}}"]
    shows: Angles.
scales:
  more: {{values: {{n: 11}}}}
"""


@pytest.fixture
def paper(tiny, tmp_path) -> Path:
    path = tmp_path / "toy.yaml"
    path.write_text(PAPER.format(space=tiny))
    return path


def orch(*arguments: str) -> str:
    return CliRunner().invoke(app, ["reproduce", *arguments], catch_exceptions=False).stdout


def counted(store: Store) -> dict[str, int]:
    return {kind: len(store.names(kind)) for kind in ("models", "sweeps", "analyses")}


def test_what_is_there_is_found_and_one_page_shows_every_figure(swept, paper):
    config, store = swept
    before = counted(store)
    plan = orch(str(paper), "--dry-run", "--store", store.path)
    assert "scan, figure 2: found: orch sweep" in plan
    assert f"field, figure 3: to make: orch field {config.name}:gamma=100,beta=1e-4,seed=0 --n 9" in plan
    assert counted(store) == before
    printed = json.loads(orch(str(paper), "--json", "--store", store.path))
    assert counted(store) == {**before, "analyses": before["analyses"] + 2}
    made = printed["figures"]["artifacts"]
    assert made["scan"] == f"sweeps/{config.name}"
    assert store.card("analyses", made["field"].partition("/")[2])["config"]["n"] == 9
    assert printed["parents"] == list(made.values())
    page = Path(printed["path"], "report.html").read_text()
    assert page.count("<figure>") == 3  # curves.png, and both of the field
    check_page(page)
    for said in ("<h2>Figure 2</h2>", "Losses.", ">orch field", "<h2>Figure 3</h2>", ">trial</th>"):
        assert said in page
    again = Path(printed["path"], "request.yaml")
    assert json.loads(orch("--config", str(again), "--json", "--store", store.path))["name"] == printed["name"]
    assert "found: orch field" in orch(str(paper), "--dry-run", "--store", store.path)


def test_a_scale_and_a_seed_reach_the_commands(swept, paper):
    config, store = swept
    plan = orch(str(paper), "--scale", "more", "--seed", "1", "--dry-run", "--store", store.path)
    assert f"orch field {config.name}:gamma=100,beta=1e-4,seed=1 --n 11" in plan


def test_nothing_is_made_before_every_command_is_known_to_make_sense(paper, tmp_path):
    paper.write_text(paper.read_text().replace("--n,", "--m,"))
    with pytest.raises(RequestError, match=r"entries\.field: orch field: No such option: --m"):
        orch(str(paper), "--store", str(tmp_path / "store"))
    assert not (tmp_path / "store").exists()


def test_a_command_waits_for_what_it_refers_to(paper, tmp_path):
    plan = orch(str(paper), "--dry-run", "--store", str(tmp_path / "store"))
    assert "scan, figure 2: to make" in plan
    assert "field, figure 3: after scan: orch field '{scan}:gamma=100" in plan
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("{scan}:", "{scann}:", "entries.field.command: {scann}: unknown name, did you mean scan?"),
        ("orch sweep", "orch swep", "entries.scan: swep --space .*: expected one of anneal, ddls, "),
        ("orch sweep", "orch rm", "entries.scan: rm --space .*: expected one of anneal, ddls, "),
        (
            '[field, "{scan}:gamma=100,beta=1e-4,seed={seed}", --n, "{n}"]',
            "orch reproduce evae-2021",
            "entries.field.command: expected one that makes an artifact, found reproduce",
        ),
        ("orch sweep", "orch sweep --steps x", "entries.scan: orch sweep: No such option: --steps"),
        ("orch sweep", "orch sweep --seeds x", "entries.scan: orch sweep --seeds: expected"),
        ("orch sweep --space", "orch sweep --help", "entries.scan: sweep --help .*: expected a command that makes"),
        ("orch sweep", "orch sweep --set a=1", "entries.scan: .*a: unknown key"),
        ("orch sweep", 'orch sweep "', "entries.scan.command: No closing quotation"),
        ("field:", "scan:", "scan is given twice"),
        ("figure: 2", "fig: 2", "entries.scan.fig: unknown key"),
        ("values: {n", "values: {seed", "entries.field.command: {n}: unknown name"),
        ("label: toy", "label: /toy", "label: "),
    ],
)
def test_a_paper_that_makes_no_sense_is_refused_in_one_line(old, new, said, paper, tmp_path):
    text = paper.read_text()
    assert old in text
    paper.write_text(text.replace(old, new))
    with pytest.raises(RequestError, match=said) as error:
        orch(str(paper), "--dry-run", "--store", str(tmp_path / "store"))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("arguments", [[], ["toy.yaml", "--config", "toy.yaml"], ["nope"]])
def test_one_paper_is_expected(arguments, tmp_path):
    with pytest.raises(RequestError, match=r"expected a (paper|shipped name)"):
        orch(*arguments, "--store", str(tmp_path / "store"))


def test_a_picture_that_is_not_there_is_refused(swept, paper):
    _, store = swept
    paper.write_text(paper.read_text().replace("curves.png", "curve.png"))
    with pytest.raises(RequestError, match=r"entries.scan.pictures: expected files of its page, .*, found curve.png"):
        orch(str(paper), "--store", store.path)


def planned(name: str, scale: str | None, store: Path) -> list[str]:
    config = load(Reproduction, str(PRESETS / "papers" / f"{name}.yaml"), scale)
    lines = run.plan(config, Store(str(store)), lambda words, ready: job_of(app, words, ready))
    assert len(lines) == len(config.entries) + 1
    return lines


@pytest.mark.parametrize("name", shipped("papers"))
@pytest.mark.parametrize("scale", ["quick", "paper"])
def test_every_command_of_a_shipped_paper_is_one_and_every_training_has_a_scale(name, scale, tmp_path):
    usual = planned(name, None, tmp_path / "store")
    lines = [line for line in planned(name, scale, tmp_path / "store") if "orch train" in line or "orch sweep" in line]
    assert lines and not {*lines} & {*usual}
    assert scale == "quick" or all("--scale paper" in line for line in lines)


@pytest.mark.parametrize(
    ("entry", "searched", "pressure"),
    [
        ("modified", "gradient: 100 codes x 10000 iterations, energy_min", None),
        ("charge", "genetic: 100 codes x 10000 iterations, topological_charge_max", 8),
        ("magnetization", "genetic: 100 codes x 10000 iterations, mz_max", 8),
        ("correlation", "genetic: 100 codes x 10000 iterations, correlation_max", 5),
        ("energy", "genetic: 100 codes x 10000 iterations, energy_min", 5),
        ("narrowed_magnetization", "stochastic: 100 codes x 60000 iterations, mz_max", None),
        ("narrowed_energy", "stochastic: 100 codes x 60000 iterations, energy_min", None),
        ("ring", "stochastic: 100 codes x 60000 iterations, boundary_max", None),
    ],
)
def test_a_search_of_2022_has_the_published_numbers_and_no_limit(entry, searched, pressure, swept):
    _, store = swept
    config = load(Reproduction, str(PRESETS / "papers" / "latent-2022.yaml"), "paper")
    words = config.entries[entry].words({**config.given_values, "model": store.names("models")[0]})
    job = job_of(app, [*words, "--store", store.root])
    assert job is not None and f"{searched}, subject to energy < inf" in job.plan()
    assert "--free" in words
    assert [word for word in words if "pressure" in word] == ([f"optimizer.pressure={pressure}"] if pressure else [])
    assert ("optimizer.decade=10000" in words) == searched.startswith("stochastic")
