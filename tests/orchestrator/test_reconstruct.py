import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib import pyplot as plt
from scipy import stats
from seen import check_pages
from typer.testing import CliRunner

from orchestrator.cli import app
from orchestrator.data import shards
from orchestrator.errors import RequestError
from orchestrator.evaluation import reconstruction
from orchestrator.evaluation import run as evaluation
from orchestrator.evaluation.request import ReconstructConfig, SampleConfig
from orchestrator.store import Store
from orchestrator.training import run as training
from orchestrator.training.request import TrainConfig
from orchestrator.training.trained import TrainedModel
from physics.metropolis import Metropolis, PlanarReplicas
from physics.states import read_charges
from physics.vortices import charges, charges_at, vortex_field

CONFIG = TrainConfig.model_validate(
    {
        "dataset": {
            "L": 16,
            "hamiltonian": {"name": "xy"},
            "sampler": {"name": "metropolis", "temperatures": [0.1], "distances": [0, 2, 5], "sweeps": 10},
            "configurations": 240,
        },
        "system": {"name": "cwgan", "width": 4, "latent": 33, "given_as": "field", "critic_steps": 2},
        "batch": 16,
        "steps": 6,
        "validation": 0.25,
    }
)
PAIR = ((3, 4, 1), (9, 4, -1))


@pytest.fixture(scope="module")
def vortices(on_ray, tmp_path_factory) -> Store:
    store = Store(str(tmp_path_factory.mktemp("vortices") / "store"))
    training.run(CONFIG, store)
    return store


def test_a_data_set_of_planar_spins_has_its_labels_and_page(vortices):
    columns = shards.columns(CONFIG.dataset.name, vortices)
    assert columns["charges"].shape == (240, 16, 16)
    spins = shards.read(CONFIG.dataset.name, vortices)
    assert spins.shape == (240, 2, 16, 16)
    assert torch.equal(charges(spins.tensor()), torch.tensor(columns["charges"]))
    page = Path(vortices.folder("datasets", CONFIG.dataset.name)) / "report.html"
    assert "helicity" in page.read_text() or "Υ" in page.read_text()


def test_fields_have_the_charges_that_are_asked_for(vortices):
    config = ReconstructConfig(charges=PAIR, n=300, seed=3)
    name, card = reconstruction.run(config, CONFIG.name, vortices)
    spins = np.load(io.BytesIO(vortices.read("analyses", name, "fields.npy")))
    assert spins.shape == (300, 2, 16, 16)
    assert (charges(torch.from_numpy(spins)).numpy() == charges_at(config.charges, 16)).all()
    np.testing.assert_allclose(np.linalg.norm(spins, axis=1), 1, atol=1e-5)
    table = pd.read_parquet(io.BytesIO(vortices.read("analyses", name, "reconstruct.parquet")))
    angles = np.stack(table["angles"]).reshape(-1, 16, 16)
    np.testing.assert_allclose(np.cos(angles), spins[:, 0], atol=1e-5)
    assert card["figures"]["energy"] == pytest.approx(table["energy"].mean())
    assert 0 < card["figures"]["charges_kept"] <= 1
    parts = [reconstruction.fields(config, TrainedModel(CONFIG.name, vortices), i)[0] for i in (0, 1)]
    assert np.array_equal(np.concatenate(parts), spins)


def test_a_polish_brings_fields_to_equilibrium_and_keeps_their_charges(vortices):
    trained, config = TrainedModel(CONFIG.name, vortices), ReconstructConfig(charges=PAIR, n=256)
    raw, _ = reconstruction.fields(config, trained, 0)
    polished, _ = reconstruction.fields(config.model_copy(update={"polish": 40}), trained, 0)
    assert (charges(torch.from_numpy(polished)).numpy() == charges_at(config.charges, 16)).all()
    chains = Metropolis(temperatures=[0.1], sweeps=100)
    start = vortex_field(torch.from_numpy(charges_at(config.charges, 16))).numpy()
    exact = PlanarReplicas(trained.model, list(map(np.random.default_rng, range(256))), np.stack([start] * 256), True)
    exact.metropolis(np.full(256, 0.1), chains.sweeps, chains.overrelaxation)
    found = [trained.model.energy(torch.from_numpy(part)).numpy() for part in (raw, polished, exact.spins())]
    noise = stats.sem(found[1] - found[2])
    assert abs((found[0] - found[2]).mean()) > 10 * noise
    assert abs((found[1] - found[2]).mean()) < 4 * noise


@pytest.mark.slow
def test_a_conditional_model_is_judged_group_by_group(vortices):
    name, card = evaluation.evaluate(SampleConfig(n=60), [CONFIG.name], vortices)
    figures = card["figures"]
    assert [group["distance"] for group in figures["groups"]] == [0, 2, 5]
    assert set(figures["accuracy"]) == {
        "held-out data",
        "data with noise",
        "T = 0",
        "spin waves",
        "random",
        CONFIG.name,
    }
    assert figures["reference"] == 30 and len(figures["rows"]) == 3
    found = {row["figure"]: row for row in figures["accuracy"]["spin waves"]}
    assert found["energy"]["r_squared"] > 0.5
    assert {row["figure"]: row for row in figures["accuracy"]["random"]}["energy"]["r_squared"] < 0
    assert set(figures["curve_accuracy"][CONFIG.name]) == set(CONFIG.dataset.hamiltonian.curves(16))
    check_pages(vortices)
    assert "Against the labels" in (Path(vortices.folder("analyses", name)) / "report.html").read_text()


@pytest.mark.slow
def test_a_model_without_labels_is_judged_beside_one_with_them(vortices):
    plain = TrainConfig.model_validate({**CONFIG.model_dump(), "system": {"name": "vae", "width": 2, "latent": 4}})
    training.run(plain, vortices)
    for names in ([plain.name, CONFIG.name], [CONFIG.name, plain.name]):
        _, card = evaluation.evaluate(SampleConfig(n=60), names, vortices)
        assert [group["distance"] for group in card["figures"]["groups"]] == [0, 2, 5]
        assert CONFIG.name in card["figures"]["accuracy"] and plain.name not in card["figures"]["accuracy"]
        assert {row["model"] for row in card["figures"]["rows"]} == {"", *names}


def orch(store, *arguments):
    return CliRunner().invoke(app, [*arguments, "--store", store.path], catch_exceptions=False)


def test_the_command_finds_the_model_and_reads_a_table_or_an_image(vortices, tmp_path):
    table, image = tmp_path / "pair.csv", tmp_path / "pair.png"
    table.write_text("x,y,charge\n3,4,1\n9,4,-1\n")
    pixels = np.ones((16, 16, 3))
    pixels[4, 3], pixels[4, 9] = (1, 0, 0), (0, 0, 1)
    plt.imsave(image, pixels[::-1])
    assert read_charges(table, 16) == read_charges(image, 16) == list(PAIR)
    done = orch(vortices, "reconstruct", "--charges", str(table), "--n", "20", "--temperature", "0.1")
    assert done.exit_code == 0, done.output
    assert "reconstruct-" in done.output


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x,y,charge\n3,4,1\n", "add up to 0"),
        ("x,y,charge\n3,4,1\n3,4,-1\n", "one vortex a plaquette, found 2 at (3, 4)"),
        ("x,y,charge\n3,16,1\n3,4,-1\n", "from (0, 0) to (15, 15), found (3, 16)"),
        ("x,y,charge\n3,1,2\n3,4,-2\n", "charges of 1 or -1, found 2 at (3, 1)"),
        ("x,y\n3,1\n", "the columns x, y and charge, found no charge"),
        ("x,y,charge\n3,one,1\n", "whole numbers"),
        ("", "expected a CSV file"),
    ],
)
def test_charges_that_no_field_has_are_refused_in_one_line(vortices, tmp_path, text, expected):
    file = tmp_path / "charges.csv"
    file.write_text(text)
    with pytest.raises(RequestError) as error:
        orch(vortices, "reconstruct", "--charges", str(file))
    assert expected in str(error.value) and len(str(error.value).splitlines()) == 1


def test_a_temperature_that_is_none_is_refused(vortices):
    with pytest.raises(RequestError, match=r"temperature: expected .* found -1"):
        orch(vortices, "reconstruct", "--temperature", "-1")


def test_charges_of_a_request_are_refused_by_their_key(vortices):
    with pytest.raises(RequestError, match=r"^charges: expected charges of 1 or -1, found 2 at \(3, 1\)"):
        reconstruction.check(ReconstructConfig(charges=((3, 1, 2), (3, 4, -2))), CONFIG.name, vortices)


def test_a_store_without_such_a_model_says_so(tmp_path):
    store = Store(str(tmp_path / "store"))
    store.write_file("datasets/none", b"")
    with pytest.raises(RequestError, match="no model that takes charges; orch train --model xy makes one"):
        orch(store, "reconstruct")
