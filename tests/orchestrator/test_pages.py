"""Pages explain themselves: what one sees, in words with units, on a narrow screen too."""

import re

import numpy as np
import pandas as pd
import pytest
import yaml
from driving import HYBRID
from seen import check_page, check_pages
from typer.testing import CliRunner

from orchestrator.analysis import run as analysis
from orchestrator.analysis.request import FieldConfig, InvertConfig, LineConfig, MapConfig
from orchestrator.cli import app
from orchestrator.data.request import DatasetConfig
from orchestrator.data.run import make
from orchestrator.evaluation import run as evaluation
from orchestrator.evaluation.request import SampleConfig
from orchestrator.html import figure_text, table
from orchestrator.optimization import run as optimization
from orchestrator.optimization.request import OptimizeConfig
from orchestrator.page import Section, origin, page, spread
from orchestrator.store import Store
from physics.chiral import ChiralMagnet
from physics.masks import disk

ANALYSES = {
    "map": MapConfig(points=21),
    "ddls": SampleConfig(n=8, steps=4),
    "field": FieldConfig(n=8),
    "interpolate": LineConfig(states=("prior:0", "prior:1"), points=5, starts=2, iterations=3),
    "invert": InvertConfig(state="prior.npy", starts=2, iterations=3),
}


@pytest.fixture(scope="module")
def shown(trained, swept, tmp_path_factory) -> tuple[Store, Store]:
    """The stores of a hybrid and of a sweep, with an analysis of every kind and an optimum."""
    state = tmp_path_factory.mktemp("states") / "state.npy"
    np.save(state, np.random.default_rng(0).normal(size=(1, 3, 16, 16)))
    for kind, config in ANALYSES.items():
        asked = config.model_copy(update={"state": str(state)}) if kind == "invert" else config
        analysis.run(kind, asked, HYBRID.name, trained)
    evaluation.evaluate(SampleConfig(n=30), [HYBRID.name], trained)
    archive = {"name": "archive", "population": 16, "bounds": [[-1, 1], [-1, 1]]}
    optimization.run(OptimizeConfig(optimizer=archive, iterations=3), HYBRID.name, trained)
    return trained, swept[1]


def test_every_kind_of_page_says_what_one_sees(shown):
    of_hybrid, of_sweep = map(check_pages, shown)
    assert {f"analyses/{kind}" for kind in (*ANALYSES, "evaluate")} <= {*of_hybrid}
    assert {kind.partition("/")[0] for kind in of_hybrid} == {"datasets", "models", "optima", "analyses"}
    assert "sweeps" in {kind.partition("/")[0] for kind in of_sweep}


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("<h2>Figures</h2>\n<table", "no text"),
        ('<h2>A</h2><p>B</p><div class="scroll"><table><tr><th>energy_mean</th></tr></table>', "energy_mean"),
        ('<h2>A</h2><p>B</p><div class="scroll"><table><tr><th>M_z</th></tr><tr><td>-0.0</td></tr></table>', "-0.0"),
        ('<h2>A</h2><p>B</p><div class="scroll"><table><tr><th>M_z</th></tr><tr><td>3e-12</td></tr></table>', "3e-12"),
        ("<h2>A</h2><p>B</p><table><tr><th>M_z</th></tr></table>", "table"),
        ('<h2>A</h2><p>B</p><img alt="" style="max-width: min(100%, 3px)">', "img"),
    ],
)
def test_a_page_that_does_not_is_found(text, wrong):
    with pytest.raises(AssertionError, match=wrong):
        check_page(text)


def test_a_descent_that_was_cut_short_is_said_on_page_and_card_and_by_the_command(on_ray, tmp_path):
    keys = ["L=8", "configurations=2", "sampler.sweeps=2", "sampler.finish=1"]
    store = Store(str(tmp_path / "store"))
    options = [option for key in keys for option in ("--set", key)]
    printed = CliRunner().invoke(app, ["anneal", *options, "--store", store.path], catch_exceptions=False).stdout
    (name,) = store.names("datasets")
    (said,) = store.card("datasets", name)["said"]
    assert re.match(r"Not at rest: 2 of 2 configurations .* torques of up to [0-9.]+ J, .* 0.001 was asked for", said)
    assert said in " ".join(printed.split())
    assert f'<p class="said">{said}</p>' in store.read("datasets", name, "report.html").decode()


def test_a_ladder_that_exchanges_nothing_is_said_and_its_energies_are_from_parallel_spins_on(on_ray, store):
    sampler = {"name": "tempering", "temperatures": 3, "rounds": 6, "T_min": 0.01, "T_max": 50}
    config = DatasetConfig.model_validate({"L": 8, "sampler": sampler, "configurations": 1})
    _, card = make(config, store)
    exchanges, trips = card["said"]
    assert exchanges.startswith("No exchange was accepted between 2 of the 2 pairs") and "round" in trips
    columns = {"acceptance": np.zeros((1, 2)), "rung_energy": np.array([[-2.0, -1.0, 0.0]])}
    (_, (_, energy)) = config.sampler.curves(columns, config.hamiltonian, 8)
    assert energy.tolist() == [0, 1, 2]


def test_a_mask_is_said_in_words_on_the_page_and_in_lists_and_kept_in_the_request(on_ray, store):
    config = DatasetConfig.model_validate(
        {
            "L": 12,
            "hamiltonian": {"boundary": "open", "mask": "disk"},
            "sampler": {"sweeps": 2, "finish": 5},
            "configurations": 2,
        }
    )
    name, _ = make(config, store)
    sites = f"disk, {int(disk(12).sum())} sites"
    shown = store.read("datasets", name, "report.html").decode()
    assert f"mask: {sites}" in shown and f"({sites})" in shown and "000111" not in shown
    assert DatasetConfig.model_validate(yaml.safe_load(store.read("datasets", name, "request.yaml"))) == config
    listed = CliRunner().invoke(app, ["list", "--store", store.path], catch_exceptions=False).stdout
    assert f"hamiltonian.mask={sites}" in listed


def test_numbers_that_are_rounding_of_their_column_are_zero_and_settings_are_as_given():
    rows = pd.DataFrame({"topological_charge": [6.0, 4e-7, -0.0], "system.beta": [1e-9, 1.0, 1e-3], "mz": [1.6e-7] * 3})
    shown = table(rows, ChiralMagnet())
    assert [column.said for column in shown.columns] == ["W", "β", "M_z"]
    assert shown.rows == [["6", "1e-09", "0"], ["0", "1", "0"], ["0", "0.001", "0"]]
    assert [figure_text(value) for value in (-0.0, 3e-12, True, None)] == ["0", "0", "yes", "-"]
    assert spread(pd.Series([-0.0004, -0.0001, 0.0004])) == "-0.00003 ± 0.00040"
    assert spread(pd.Series([-1e-9, 1e-9])) == "0"


def test_columns_that_would_be_called_the_same_say_of_what_they_are():
    rows = pd.DataFrame({"system.steps": [1], "steps": [2]})
    assert [column.said for column in table(rows).columns] == ["steps (system)", "steps"]


def test_a_figure_is_cut_into_panels_that_a_narrow_page_lays_below_each_other(tmp_path):
    from physics.render import figure_of

    figure, _ = figure_of(1, 3, (9, 3))
    source = origin(Store(str(tmp_path)), "analyses", "a-1", DatasetConfig(), "orch a --config")
    shown = page("a-1", "", [Section("A figure", "It shows three.", figure, "a.png")], source)
    images = re.findall(r"<img [^>]*flex: (\d+) 1 (\d+)px", shown["report.html"].decode())
    assert len(images) == 3 and all(int(narrow) < 400 for _, narrow in images)
    assert "a.png" in shown
