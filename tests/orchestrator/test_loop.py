"""Trainings in this process, without Ray: what they start from, what they are compared with, which one is best."""

import numpy as np
import pytest
import torch

from orchestrator.data import shards
from orchestrator.data.run import make_here
from orchestrator.evaluation import run as evaluation
from orchestrator.evaluation.request import SampleConfig
from orchestrator.training import loop
from orchestrator.training.request import TrainConfig
from orchestrator.training.trained import TrainedModel, best

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


def test_samples_are_compared_with_the_last_configurations_which_validation_kept_apart(trained):
    real = evaluation._data(SampleConfig(n=5), CONFIG.dataset, trained)
    energies = shards.columns(CONFIG.dataset.name, trained, ["energy"])["energy"]
    assert np.allclose(real.columns["energy"], energies[-5:], atol=1e-6)
    assert CONFIG.kept <= len(energies) - 5


def figures(diversity, energy, reconstruction):
    return {"diversity": diversity, "energy_mean": energy, "validation_reconstruction": reconstruction}


def test_the_best_model_is_diverse_then_faithful_then_low_in_energy(store):
    cards = {
        "collapsed": figures(0.01, -0.9, 0.01),
        "unfaithful": figures(0.9, -0.8, 0.5),
        "high": figures(0.9, -0.1, 0.1),
        "low": figures(0.9, -0.3, 0.1),
    }
    assert best(store) is None
    for name, found in cards.items():
        store.commit("models", name, {"figures": found}, {})
    assert best(store) == "low"
