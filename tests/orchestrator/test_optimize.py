import json
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from driving import environment
from seen import check_page

from nets.sampling import decode
from orchestrator.cli import main
from orchestrator.errors import RequestError
from orchestrator.optimization import run, several
from orchestrator.optimization.request import OptimizeConfig, SearchesConfig
from orchestrator.store import Store
from orchestrator.training.trained import TrainedModel
from physics.observables import magnetization
from search.optimizer import OPTIMIZERS
from search.prior import on_shell, thickness


@pytest.fixture
def model(swept) -> tuple[str, Store]:
    _, store = swept
    return next(name for _, name, card in store.cards("models") if card["config"]["model"]["gamma"] == 1), store


def search(model, actors=0, objective="mz_max", seed=0, subject_to=(), free=False, **optimizer):
    chosen = {"population": 40, **optimizer}
    config = OptimizeConfig(
        objective=objective, optimizer=chosen, iterations=12, seed=seed, subject_to=subject_to, free=free
    )
    return run.run(config, *model, actors)


def spins_of(name: str, store: Store) -> np.ndarray:
    row = pd.read_parquet(Path(store.folder("optima", name)) / "winner.parquet").iloc[0]
    return np.asarray(row["spins"], np.float32).reshape(3, row["L"], row["L"])


@pytest.fixture
def diverse(swept) -> tuple[str, Store]:
    _, store = swept
    return next(name for _, name, card in store.cards("models") if card["config"]["model"]["gamma"] == 0), store


SEARCHES = [
    {"name": "memetic", "population": 16},
    {"name": "islands", "population": 16, "islands": 2, "migration": 3},
    pytest.param({"name": "genetic"}, marks=pytest.mark.slow),
    pytest.param({"name": "sep-cma-es"}, marks=pytest.mark.slow),
    {"name": "archive", "bounds": [[-1, 1], [-1, 1]]},
]


@pytest.mark.parametrize("optimizer", SEARCHES, ids=lambda optimizer: optimizer["name"])
def test_the_winner_is_stored_with_its_figures_and_beats_the_first_codes(diverse, optimizer):
    name, card = search(diverse, objective="mz_min", subject_to=["energy < 9"], **optimizer)
    store, figures = diverse[1], card["figures"]
    found = magnetization(torch.from_numpy(spins_of(name, store)))[2].item()
    assert found == pytest.approx(figures["score"], abs=1e-5)
    decoder = TrainedModel(diverse[0], store).decoder
    settings = OPTIMIZERS.parse({"population": 40, **optimizer})
    first = on_shell(torch.from_numpy(settings.start(decoder.latent_dim, 0).ask()))
    assert found < magnetization(decode(decoder, first))[:, 2].min() - 1e-3
    assert f"models/{diverse[0]}" in card["parents"]
    assert figures["rested_energy"] < figures["energy"] and figures["rested_score"] == figures["rested_mz"]
    page = store.read("optima", name, "report.html").decode()
    assert "At rest" in page and all(text in page for text in card["said"])
    states = pd.read_parquet(Path(store.folder("optima", name)) / "states.parquet")
    assert len(states) == figures["states"] and states["score"].is_monotonic_increasing
    course = pd.read_parquet(Path(store.folder("optima", name)) / "course.parquet")
    assert list(course["iteration"]) == [1, 2, 3, 4, 7, 12] and {"course.png", "ensembles.png"} <= {*card["files"]}
    assert course["score"].is_monotonic_decreasing and course["score"].iloc[0] > figures["score"] + 1e-3
    assert course["score"].iloc[-1] == pytest.approx(figures["score"], abs=1e-5)
    assert {row["state"] for row in card["rivals"]} == {"tempering", "annealing in a field"}
    assert 0 < figures["seconds"] <= figures["cpu_seconds"] <= 2 * figures["seconds"] + 0.1


@pytest.mark.slow
def test_what_is_found_keeps_the_limits_and_lives_where_the_prior_does(diverse):
    free = search(diverse, objective="mz_min", subject_to=["energy < 9"], free=True)[1]["figures"]
    bound = search(diverse, objective="mz_min", subject_to=["energy < 9"])[1]["figures"]
    limit = 0.5 * bound["score"]
    limited = search(diverse, objective="mz_min", subject_to=["energy < 9", f"mz > {limit}"])[1]["figures"]
    width = thickness(TrainedModel(*diverse).decoder.latent_dim)
    assert bound["code_norm"] <= 1 + width + 1e-5 and free["score"] < bound["score"] < limited["score"]
    assert limited["within"] == 1 and limited["score"] == pytest.approx(limit, abs=0.1 * abs(limit))


def test_states_above_all_energies_of_the_data_do_not_win_by_default(diverse):
    figures = search(diverse, objective="energy_max")[1]["figures"]
    assert figures["energy"] < figures["data_energy_max"] or not figures["states_within"]


def dry_run(words, store, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["orch", "optimize", "--dry-run", "--store", store.root, *words])
    with pytest.raises(SystemExit) as ended:
        main()
    told = capsys.readouterr()
    return ended.value.code, told.out or told.err


def test_without_a_model_of_data_in_no_field_one_would_be_trained(swept, monkeypatch, capsys):
    code, told = dry_run([], swept[1], monkeypatch, capsys)
    assert code == 0 and told.startswith("first vae")
    assert "memetic: 32 codes x 500 iterations, mz_max, subject to energy < data" in told


def test_an_objective_gets_a_system_with_the_network_that_it_needs(swept, model, monkeypatch, capsys):
    code, told = dry_run(["--objective", "logit_max"], swept[1], monkeypatch, capsys)
    assert code == 2
    assert told == "objective logit_max: expected a system with a discriminator, such as hybrid, found vae\n"
    code, told = dry_run(["--objective", "logit_max", "--system", "hybrid"], swept[1], monkeypatch, capsys)
    assert code == 0 and told.startswith("first hybrid")
    code, told = dry_run(["--objective", "logit_max", "--model", model[0]], swept[1], monkeypatch, capsys)
    assert code == 2 and "found evae-2021" in told


def test_the_plan_of_several_searches_has_a_line_for_each(swept, model, monkeypatch, capsys):
    words = ["--objective", "mz_max", "--objective", "energy_min", "--seeds", "2", "--model", model[0]]
    code, told = dry_run(words, swept[1], monkeypatch, capsys)
    assert code == 0 and [line.count("optima/") for line in told.splitlines()] == [0, 1, 1, 1, 1, 0]
    assert "energy_min, subject to energy < data, seed 1: optima/energy_min-" in told and "analyses/searches-" in told


def test_scores_do_not_depend_on_the_number_of_actors(swept, tmp_path, model):
    results = []
    for actors in (0, 2):
        copy = tmp_path / str(actors)
        shutil.copytree(model[1].path, copy, ignore=shutil.ignore_patterns("optima"))
        store = Store(str(copy))
        name, card = search((model[0], store), actors=actors, seed=5)
        results.append((card["figures"]["score"], spins_of(name, store)))
    assert results[0][0] == results[1][0]
    assert np.array_equal(results[0][1], results[1][1])


def test_searches_side_by_side_are_what_each_is_alone(diverse, tmp_path):
    shutil.copytree(diverse[1].path, tmp_path / "s", ignore=shutil.ignore_patterns("optima"))
    model = diverse[0], Store(str(tmp_path / "s"))
    shared = {"optimizer": {"population": 16}, "iterations": 12, "subject_to": ["energy < 9"]}
    config = SearchesConfig(objective=["mz_min", "energy_min"], seed=3, **shared)
    name, card = several.run(config, *model)
    page = model[1].read("analyses", name, "report.html").decode()
    table = pd.read_parquet(Path(model[1].folder("analyses", name)) / "searches.parquet")
    assert [*table["objective"]] == ["mz_min", "energy_min"] and [*table["seed"]] == [3, 3]
    assert card["parents"] == [f"models/{model[0]}", *(f"optima/{found}" for found in table["optimum"])]
    assert card["figures"]["mz_min_score"] == pytest.approx(table["score"][0])
    alone = search(diverse, objective="energy_min", seed=3, subject_to=["energy < 9"], population=16)
    assert table["optimum"][1] == alone[0] and table["score"][1] == alone[1]["figures"]["score"]
    assert all(found in page for found in table["optimum"])
    check_page(page)


def test_searches_for_an_edited_function_are_others(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "sought.py").write_text("def f(spins, model):\n    return spins[:, 0].mean((-2, -1))\n")
    config = SearchesConfig(objective=["mz_max", "sought:f"])
    before = several.name_in(config, "model")
    assert before == several.name_in(config, "model")
    (tmp_path / "sought.py").write_text("def f(spins, model):\n    return spins[:, 1].mean((-2, -1))\n")
    assert several.name_in(config, "model") != before


def test_a_front_reaches_from_one_value_to_the_other(diverse):
    name, card = search(diverse, objective="mz_min", name="pareto", population=16, subject_to=["energy < 9"])
    states = pd.read_parquet(Path(diverse[1].folder("optima", name)) / "states.parquet")
    order = states.sort_values("score")
    assert len(states) > 3 and order["energy"].is_monotonic_decreasing
    assert {"front.png", "along.png"} <= {*card["files"]}
    check_page(diverse[1].read("optima", name, "report.html").decode())
    assert order["score"].iloc[-1] - order["score"].iloc[0] > 5e-3


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["genetic", "gradient", "memetic", "stochastic", "cma-es", "islands", "pareto", "archive"]
)
def test_a_stopped_search_continues_exactly(name, model, monkeypatch, tmp_path):
    how = {"name": name, **({"bounds": [[-1, 1], [-3, 3]]} if name == "archive" else {})}
    shutil.copytree(model[1].path, tmp_path / "s", ignore=shutil.ignore_patterns("optima"))
    stopped = (model[0], Store(str(tmp_path / "s")))
    found, whole = search(model, seed=9, **how)
    monkeypatch.setattr(run, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(run, "MOST_UPDATES", 1e6)
    original, calls = run._save, []

    def fail(search, history, *arguments):
        if not calls:
            history.scores[0] = (*history.scores[0][:2], 1000.0, 2000.0)
        original(search, history, *arguments)
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt

    monkeypatch.setattr(run, "_save", fail)
    with pytest.raises(KeyboardInterrupt):
        search(stopped, seed=9, **how)
    _, card = search(stopped, seed=9, **how)
    assert len(calls) == 12
    for file in ("states.parquet", "course.parquet", "history.png"):
        assert stopped[1].read("optima", found, file) == model[1].read("optima", found, file)
    assert card["figures"]["score"] == whole["figures"]["score"]
    assert 1000 < card["figures"]["seconds"] < 1100 and card["figures"]["cpu_seconds"] > 2000


def asked(command, model, folder):
    """The command as a person types it in a folder, of a model."""
    return subprocess.run(
        [str(Path(sys.executable).with_name("orch")), *command, "--model", model[0], "--store", model[1].path],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
def test_an_objective_of_ones_own_is_searched(model, tmp_path, monkeypatch):
    """A module in the folder that the command stands in, found by the driver and by the actors."""
    (tmp_path / "my_objectives.py").write_text(
        textwrap.dedent("""
            def mx(spins, model):
                return spins[:, 0].mean((-2, -1))
        """)
    )
    command = ["optimize", "--objective", "my_objectives:mx", "--population", "40", "--iterations", "12", "--json"]
    told = asked(command, model, tmp_path)
    assert told.returncode == 0, told.stderr
    card = json.loads(told.stdout)
    assert card["figures"]["score"] == pytest.approx(spins_of(card["name"], model[1])[0].mean(), abs=1e-5)


@pytest.mark.slow
def test_a_search_that_fails_leaves_the_others(model, tmp_path):
    (tmp_path / "failing.py").write_text(
        textwrap.dedent("""
            def on_more_than_two(spins, model):
                if len(spins) > 2:
                    raise RuntimeError("too many states")
                return spins[:, 2].mean((1, 2))
        """)
    )
    command = ["optimize", "--objective", "failing:on_more_than_two", "--objective", "mz_max", "--iterations", "2"]
    told = asked(command, model, tmp_path)
    assert told.returncode == 1 and "1 of 2 searches failed; kept: 1; optima/failing-on_more" in told.stderr
    assert "RuntimeError: too many states" in told.stderr and "Traceback" not in told.stderr
    config = OptimizeConfig(objective="mz_max", iterations=2)
    assert model[1].card("optima", config.name_in(model[0])) is not None


def test_an_objective_without_a_number_for_any_code_is_named():
    config = OptimizeConfig(objective="mz_max")
    with pytest.raises(ValueError, match="objective mz_max: expected numbers, found none among the first 40 values"):
        run._check_first(config, np.full(40, np.nan), np.full(40, -np.inf))
    run._check_first(config, np.append(np.full(39, np.nan), 1.0), np.ones(1))


def test_truncated_weights_are_one_clear_line(model, tmp_path):
    shutil.copytree(model[1].path, tmp_path / "s")
    file = tmp_path / "s" / "models" / model[0] / "vae.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(RequestError, match=r"vae.safetensors: damaged: 1000 bytes"):
        _ = TrainedModel(model[0], Store(str(tmp_path / "s"))).decoder
