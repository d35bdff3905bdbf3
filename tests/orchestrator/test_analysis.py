from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from driving import HYBRID as CONFIG
from typer.testing import CliRunner

from nets.alignment import BINS, Alignment
from nets.sampling import decode, prior
from orchestrator.analysis import run
from orchestrator.analysis.request import FieldConfig, InvertConfig, LineConfig, MapConfig
from orchestrator.analysis.states import state
from orchestrator.cli import app
from orchestrator.data import shards
from orchestrator.errors import RequestError
from orchestrator.evaluation.request import SampleConfig
from orchestrator.optimization import run as optimization
from orchestrator.optimization.request import OptimizeConfig
from orchestrator.store import Store
from orchestrator.training.selection import chosen
from orchestrator.training.trained import TrainedModel

NAME = CONFIG.name


def rows(name: str, store: Store) -> pd.DataFrame:
    return pd.read_parquet(Path(store.folder("analyses", name)) / f"{name.partition('-')[0]}.parquet")


def page(name: str, store: Store) -> str:
    return (Path(store.folder("analyses", name)) / "report.html").read_text()


def test_a_map_holds_the_figures_of_the_codes_of_its_plane(trained):
    name, card = run.run("map", MapConfig(axes=(2, 5), points=21, seed=4), NAME, trained)
    table = rows(name, trained)
    assert len(table) == 21 * 21
    origin = prior(1, 8, 4)[0]
    row = table.iloc[100]
    origin[2], origin[5] = row["z2"], row["z5"]
    spins = decode(TrainedModel(NAME, trained).decoder, origin[None])
    assert row["energy"] == pytest.approx(CONFIG.dataset.hamiltonian.energy(spins).item(), abs=1e-5)
    assert row["logit"] == pytest.approx(TrainedModel(NAME, trained).discriminator(spins).item(), abs=1e-4)
    assert page(name, trained).count("<figure>") == 2
    assert card["figures"]["barrier_height"] > 0
    assert run.run("map", MapConfig(axes=(2, 5), points=21, seed=4), NAME, trained)[1] == card


def test_samples_watched_on_their_way_please_the_discriminator_more(trained):
    name, card = run.run("ddls", SampleConfig(n=20, steps=30, step_size=0.02), NAME, trained)
    assert card["figures"]["logit_after"] > card["figures"]["logit_before"]
    table = rows(name, trained)
    assert sorted(set(table["step"]))[:2] == [0, 1]
    assert table["step"].max() == 30
    assert (table.groupby("step").size() == 20).all()
    with pytest.raises(RequestError, match="--steps 0: expected at least 1"):
        run.run("ddls", SampleConfig(n=20), NAME, trained)


def test_a_decoded_state_is_mapped_back_to_its_code(trained, tmp_path):
    code = prior(1, 8, 77)
    decoder = TrainedModel(NAME, trained).decoder
    np.save(tmp_path / "state.npy", decode(decoder, code).numpy())
    name, card = run.run("invert", InvertConfig(state=str(tmp_path / "state.npy")), NAME, trained)
    assert card["figures"]["reconstruction"] < 1e-3
    assert card["figures"]["energy"] == pytest.approx(card["figures"]["target_energy"], abs=0.01)
    assert np.allclose(rows(name, trained)["code"].iloc[0], code[0], atol=0.2)


def test_a_line_goes_through_an_optimum_and_a_state_of_the_data(trained):
    search = OptimizeConfig(optimizer={"population": 16}, iterations=3)
    optimum, _ = optimization.run(search, NAME, trained, 1)
    row = f"{CONFIG.dataset.name}:250"
    config = LineConfig(states=(optimum, row, "prior:1"), points=5, iterations=40)
    name, card = run.run("interpolate", config, NAME, trained)
    table = rows(name, trained)
    assert table.groupby("line").size().tolist() == [5, 5]
    winner = trained.card("optima", optimum)["figures"]
    assert table["energy"].iloc[0] == pytest.approx(winner["energy"], abs=1e-5)
    assert table["energy"].iloc[4] == table["energy"].iloc[5]
    decoder, H = TrainedModel(NAME, trained).decoder, CONFIG.dataset.hamiltonian
    last = H.energy(decode(decoder, prior(1, 8, 1))).item()
    assert table["energy"].iloc[-1] == pytest.approx(last, abs=1e-5)
    assert card["figures"]["barrier_1"] >= 0
    assert page(name, trained).count("<figure>") == 4
    expected = shards.read(CONFIG.dataset.name, trained)[250:251].tensor()[0]
    assert (state(row, trained) == expected).all()


def test_spins_and_fields_of_data_reconstructions_and_samples_are_compared(trained):
    name, card = run.run("field", FieldConfig(n=40, seed=3), NAME, trained)
    table = rows(name, trained)
    assert list(dict.fromkeys(table["states"])) == ["data", "reconstructed", "generated"]
    assert len(table) == 3 * BINS
    H, decoder = CONFIG.dataset.hamiltonian, TrainedModel(NAME, trained).decoder
    made = decode(decoder, prior(40, 8, 3))
    expected = Alignment.of(made, H)
    found = table[table["states"] == "generated"]["density"]
    np.testing.assert_allclose(found, expected.density, atol=1e-3)
    held_out = shards.read(CONFIG.dataset.name, trained)[-40:].tensor()
    assert card["figures"]["data_energy"] == pytest.approx(H.energy(held_out).mean().item(), abs=1e-5)
    figures = {row["states"]: row for row in card["figures"]["rows"]}
    assert figures["generated"]["energy"] == pytest.approx(expected.figures()["energy"], abs=1e-4)
    assert figures["data"]["median_angle"] < figures["generated"]["median_angle"]
    assert page(name, trained).count("<figure>") == 2


@pytest.mark.slow
def test_models_of_a_sweep_are_compared_by_their_fields(swept):
    config, store = swept
    names = chosen([f"{config.name}:beta=1e-4,gamma=0,gamma=100,seed=1"], store)
    _, card = run.run("field", FieldConfig(n=20), names, store)
    assert card["parents"] == [f"models/{model}" for model in names]
    shown = [(row["model"], row["states"]) for row in card["figures"]["rows"]]
    assert shown == [("", "data")] + [(f"gamma {g}", s) for g in (0, 100) for s in ("reconstructed", "generated")]


def test_lines_of_several_models_stand_in_one_figure(swept):
    config, store = swept
    names = chosen([f"{config.name}:beta=1e-4,gamma=0,gamma=100,seed=1"], store)
    lines = LineConfig(states=("interstitial", "lattice"), points=11, iterations=5, starts=2)
    name, card = run.run("interpolate", lines, names, store)
    table = rows(name, store)
    assert table.groupby("model", sort=False).size().to_dict() == {"gamma 0": 11, "gamma 100": 11}
    for _, part in table.groupby("model"):
        assert part["R"].iloc[part["energy"].to_numpy().argmax()] == 0
        assert (np.diff(part["R"]) == 1).all()
    assert card["figures"]["barrier_1 (gamma 0)"] >= 0
    assert page(name, store).count("<figure>") == 3


def test_the_lattice_is_mapped_to_a_code(swept):
    config, store = swept
    name = chosen([f"{config.name}:gamma=100,seed=1"], store)[0]
    _, card = run.run("invert", InvertConfig(state="lattice", iterations=5, starts=2), name, store)
    lattice = config.dataset.hamiltonian.known_states(config.dataset.L)["lattice"]()
    energy = config.dataset.hamiltonian.energy(lattice).item()
    assert card["figures"]["target_energy"] == pytest.approx(energy, abs=1e-5)
    assert card["figures"]["target_topological_charge"] == pytest.approx(-4, abs=1e-2)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["map", NAME, "--axes", "0", "8"], "axes: expected two different ones below 8, found 0 and 8"),
        (["map", NAME, "--points", "5"], "points: expected greater than or equal to 21, found 5"),
        (["invert", NAME, "prior:x"], "prior:x: no such data set or model or optimum"),
        (["invert", NAME, "nothing.ovf"], "nothing.ovf: no such file"),
        (["invert", NAME, "wide.npy"], r"wide.npy: target: expected spins of shape \(3, 16, 16\), found \(3, 8, 8\)"),
        (["invert", NAME, f"{CONFIG.dataset.name}:999"], "999: has no row 999"),
        (["interpolate", NAME, "prior:1", "prior:-2"], "prior:-2: expected prior:SEED"),
        (["interpolate", NAME, "prior:1"], "states: expected at least 2 values"),
        (["ddls", "nothing"], "nothing: no such model"),
        (["field", NAME, "nothing"], "nothing: no such model"),
        (["field", "nothing:gamma=1"], "nothing: no such sweep"),
        (["field", NAME, "--n", "1"], "n: expected greater than or equal to 2, found 1"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_requests_that_make_no_sense_are_one_line(command, said, trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    spins = np.zeros((3, 8, 8), np.float32)
    spins[2] = 1
    np.save("wide.npy", spins)
    with pytest.raises(RequestError, match=said) as error:
        CliRunner().invoke(app, [*command, "--store", trained.path], catch_exceptions=False)
    assert "\n" not in str(error.value)
