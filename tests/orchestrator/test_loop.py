"""Trainings in this process, without Ray: what they start from, what they are compared with, which one is best."""

import itertools
import json

import numpy as np
import pytest
import torch

from nets.linear_vae import covariance_spectrum, critical_beta, linear_vae
from nets.metrics import HELD_OUT, NOISY
from nets.training import DivergedError
from orchestrator.data import shards, spectrum
from orchestrator.data.request import DatasetConfig
from orchestrator.data.run import make_here
from orchestrator.errors import RequestError
from orchestrator.evaluation import run as evaluation
from orchestrator.evaluation.request import SampleConfig
from orchestrator.lease import lease
from orchestrator.sweeps.program import training_figures
from orchestrator.training import loop
from orchestrator.training import run as training
from orchestrator.training.reference import reference, reference_figures
from orchestrator.training.request import TrainConfig
from orchestrator.training.trained import TrainedModel, best, conditioned_on, generation_error

CONFIG = TrainConfig.model_validate(
    {
        "dataset": {"L": 16, "hamiltonian": {"D": 1.0}, "sampler": {"sweeps": 5, "finish": 20}, "configurations": 64},
        "system": {"name": "vae", "width": 2, "latent": 4},
        "batch": 8,
        "steps": 4,
    }
)


@pytest.fixture
def trained(store):
    make_here(CONFIG.dataset, store)
    loop.make(CONFIG, store)
    return store


def weights(networks):
    return torch.cat([value.flatten() for network in networks for value in network.state_dict().values()])


def test_a_training_starts_from_the_weights_of_its_parent(trained):
    child = CONFIG.model_copy(update={"parent": CONFIG.name, "seed": 1})
    parent = TrainedModel(CONFIG.name, trained)
    system, progress = loop.begin(child, trained)
    assert progress.done == 0
    for part in ("decoder", "encoder"):
        theirs = getattr(parent, part)
        ours = system.networks[getattr(child.system, part)]
        assert torch.equal(weights([ours]), weights([theirs]))


def test_a_training_without_a_parent_starts_from_weights_of_its_seed(trained):
    first, other = (
        weights(loop.begin(CONFIG.model_copy(update={"seed": s}), trained)[0].networks.values()) for s in (5, 6)
    )
    again = weights(loop.begin(CONFIG.model_copy(update={"seed": 5}), trained)[0].networks.values())
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_reference_and_the_ceiling_are_the_last_configurations_which_validation_kept_apart(trained):
    energies = shards.columns(CONFIG.dataset.name, trained, ["energy"])["energy"]

    def found(source):
        return evaluation.measurer(trained)(evaluation.Piece(CONFIG.name, SampleConfig(n=3), 0, source))

    assert np.allclose(found(evaluation.REFERENCE).columns["energy"], energies[-3:], atol=1e-6)
    assert np.allclose(found(HELD_OUT).columns["energy"], energies[-6:-3], atol=1e-6)
    assert CONFIG.kept <= len(energies) - 6
    noisy, again = found(NOISY).columns["energy"], found(NOISY).columns["energy"]
    assert (noisy > energies[-6:-3] + 0.02).all() and (noisy == again).all()
    assert np.allclose(found(evaluation.TRAINING)["energy"][:, 0], energies[:3], atol=1e-5)


@pytest.mark.parametrize("refined", [{}, {"steps": 2}, {"steps": 2, "langevin": True}], ids=str)
def test_samples_are_made_where_the_model_is(trained, refined):
    """On torch's meta device, whose tensors do not mix with the CPU's, as those of a GPU do not."""
    hybrid = TrainConfig.model_validate(CONFIG.model_dump() | {"system": {"name": "hybrid", "width": 2, "latent": 4}})
    loop.make(hybrid, trained)
    there = TrainedModel(hybrid.name, trained, "meta")
    assert evaluation.block(SampleConfig(n=3, **refined), there, 0).device.type == "meta"


def test_losses_that_are_not_finite_end_a_training_and_its_record_says_why(trained):
    wild = CONFIG.model_copy(update={"system": CONFIG.system.model_copy(update={"learning_rate": 1e30}), "steps": 60})
    with pytest.raises(DivergedError, match="loss is not finite by step 25"):
        loop.make(wild, trained)
    failure = training.outcome(wild, trained)
    assert str(failure).startswith(f"{wild.name}: loss is not finite by step 25")
    assert str(failure).endswith("; the checkpoint before it is kept")


def test_a_damaged_checkpoint_is_set_aside_and_said(trained):
    config = CONFIG.model_copy(update={"seed": 7})
    trained.write_file(f"{trained.work('models', config.name)}/checkpoint.safetensors", b"no checkpoint")
    _, card = loop.make(config, trained)
    (said,) = (line for line in card["said"] if "/damaged/" in line)
    assert "not a checkpoint of this model" in said
    (aside,) = trained.entries(".unfinished/damaged")
    assert trained.read_file(f".unfinished/damaged/{aside}") == b"no checkpoint"
    assert [entry["step"] for entry in card["history"]] == [4]


def checkpoints(trained, monkeypatch, takes: float) -> list[float]:
    """When checkpoints of a training of 1,000 seconds are begun, each of which ``takes`` so many."""
    now, written = [0.0], []

    def write(path, content):
        if path.endswith("checkpoint.safetensors"):
            written.append(now[0])
            now[0] += takes

    monkeypatch.setattr(loop.time, "monotonic", lambda: now[0])
    config = CONFIG.model_copy(update={"seed": 5, "steps": 10_000, "checkpoint_seconds": 30.0})
    system, progress = loop.begin(config, trained)
    with lease(trained, "models", config.name) as held:
        monkeypatch.setattr(held.store, "write_file", write)
        record = loop.Recorder(system, config, progress, {}, trained, held, page=False)
        for step in range(1, 1001):
            now[0] += 1
            record(step, {"reconstruction": 0.1})
    return written


def test_every_try_gains_something_however_soon_it_is_killed(trained, monkeypatch):
    """Checkpoints after 1, 2, 4, ... seconds of a try, and then every ``checkpoint_seconds``."""
    written = checkpoints(trained, monkeypatch, 0.0)
    assert written[:5] == [1, 3, 7, 15, 31]
    assert all(b - a <= 31 for a, b in itertools.pairwise(written))


def test_checkpoints_take_a_twentieth_of_the_time(trained, monkeypatch):
    """Where one takes 10 seconds, as gigabytes do on an object store."""
    written = checkpoints(trained, monkeypatch, 10.0)
    assert written[0] == 1
    assert all(b - a == 210 for a, b in itertools.pairwise(written))
    assert len(written) == 5


def test_a_vae_stands_beside_the_linear_vae_of_its_data(trained):
    figures = trained.card("models", CONFIG.name)["figures"]
    system = CONFIG.system
    held_out = figures["validation_reconstruction"] + system.beta * figures["validation_kl"]
    assert figures["validation_loss"] == pytest.approx(held_out)
    known = covariance_spectrum(shards.read(CONFIG.dataset.name, trained))
    assert figures["linear_vae_loss"] == pytest.approx(linear_vae(known, system.beta, system.latent).loss, rel=1e-5)
    assert trained.card("datasets", CONFIG.dataset.name)["figures"]["beta_c"] == pytest.approx(critical_beta(known))
    assert list(reference(CONFIG, {"reconstruction": 0.1, "kl": 2.0}, trained)) == reference_figures(CONFIG)
    assert set(training_figures(CONFIG)) == set(figures)


def test_data_without_a_spectrum_beside_them_give_the_same_reference(trained):
    name = CONFIG.dataset.name
    kept = spectrum.read(CONFIG.dataset, trained)
    card = trained.card("datasets", name)
    older = {key: value for key, value in card.items() if key not in ("files", "checksum")}
    trained.write_file(f"datasets/{name}/card.json", json.dumps(older).encode())
    torch.testing.assert_close(spectrum.read(CONFIG.dataset, trained), kept)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"system": {"name": "gan", "width": 2, "latent": 4}}, []),
        ({"dataset": {"hamiltonian": {"D": 1.0, "boundary": "wire"}}}, ["validation_loss"]),
    ],
    ids=["no encoder", "edges"],
)
def test_there_is_no_reference_where_none_is_known(changes, expected, store):
    given = CONFIG.model_dump(mode="json", exclude_defaults=True)
    given["dataset"] |= changes.get("dataset", {})
    config = TrainConfig.model_validate(given | {"system": changes.get("system", given["system"])})
    make_here(config.dataset, store)
    _, card = loop.make(config, store, page=True)
    assert [key for key in ("validation_loss", "linear_vae_loss") if key in card["figures"]] == expected
    assert reference_figures(config) == expected
    assert "linear_vae_loss" not in store.read("models", config.name, "report.html").decode()
    assert ("beta_c" in store.card("datasets", config.dataset.name)["figures"]) == ("dataset" not in changes)


def test_an_augmented_training_is_another_artifact_and_the_others_keep_their_names(trained):
    assert "augment" not in CONFIG.recipe()
    augmented = CONFIG.model_copy(update={"augment": True})
    assert augmented.recipe()["augment"] is True and augmented.name != CONFIG.name
    _, card = loop.make(augmented, trained)
    assert card["history"] != trained.card("models", CONFIG.name)["history"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"dataset": {"L": 16, "hamiltonian": {"name": "xy"}, "sampler": {"name": "metropolis"}}, "system": "cwgan"},
            "augment: expected a system without labels, which do not move along, found cwgan with .*charges",
        ),
        (
            {"dataset": {"L": 16, "hamiltonian": {"boundary": "wire", "B": 0.1}}},
            "augment: expected a spin model with symmetries, found chiral",
        ),
    ],
)
def test_what_cannot_be_augmented_is_refused_in_one_line(settings, message):
    system = {"name": settings.get("system", "vae")}
    with pytest.raises(ValueError, match=message):
        TrainConfig.model_validate({"augment": True, **settings, "system": system})


def figures(diversity, energy):
    return {"diversity": diversity, "energy_mean": energy, "data_energy_mean": -0.3, "data_energy_std": 0.01}


def data_set(store, name, B=0.0):
    config = {"L": 16, "hamiltonian": {"B": B}, "sampler": {"name": "annealing"}}
    store.write_file(f"datasets/{name}/card.json", json.dumps({"config": config}).encode())


def test_the_best_model_is_diverse_and_makes_states_like_the_data(store):
    data_set(store, "a")
    cards = {
        "collapsed": figures(0.01, -0.3),
        "low": figures(1.0, -0.4),
        "near": figures(0.9, -0.29),
        "narrow": figures(0.2, -0.3),
    }
    assert best(store) is None
    for name, found in cards.items():
        store.commit("models", name, {"figures": found, "config": {"dataset": "a"}}, {})
        assert name != "collapsed" or best(store) is None
    assert best(store) == "near"
    assert generation_error(figures(1.0, -0.3)) == 0 < generation_error(cards["near"])
    assert generation_error(figures(0.5, -0.31)) == pytest.approx(1 + np.log(2)) == generation_error(figures(2, -0.29))


def test_models_of_one_data_set_that_fits_are_compared_the_newest(store, capsys):
    for name, dataset, energy in (("old", "a", -0.3), ("new", "b", -0.29), ("high", "b", -0.1)):
        data_set(store, dataset, B={"a": 0.2, "b": 0.0}[dataset])
        card = {"figures": figures(0.9, energy), "config": {"dataset": dataset}}
        when = {"a": "2026-01-01", "b": "2026-01-02"}[dataset]
        store.write_file(f"models/{name}/card.json", json.dumps({**card, "created": when}).encode())
    assert best(store) == "new"
    assert "models of several data sets; taking the best of b" in capsys.readouterr().err
    assert best(store, lambda data: data.hamiltonian.B > 0) == "old"
    assert best(store, lambda data: data.L == 8) is None


def test_a_model_of_a_class_that_is_not_imported_is_left_out(store, capsys):
    for name, magnet in (("known", {}), ("unknown", {"name": "nowhere:Ising"})):
        config = {**DatasetConfig(L=16).model_dump(mode="json"), "hamiltonian": magnet}
        store.commit("datasets", name, {"config": config}, {})
        card = {"figures": figures(0.9, -0.3), "config": {"dataset": name, "model": {"name": "toys:Mine"}}}
        store.commit("models", name, card, {})
    assert best(store, lambda data: True) == "known"
    assert best(store, needs=["discriminator"]) is None
    told = capsys.readouterr().err
    assert "models/unknown is left out: card of a data set: hamiltonian: nowhere:Ising" in told
    assert "models/known is left out" in told
    with pytest.raises(RequestError, match="no model that takes temperature"):
        conditioned_on("temperature", store)
