"""``--scale paper`` has the numbers of the publications, each of them."""

from pathlib import Path

import pytest

from orchestrator.config import load, shipped
from orchestrator.data.request import DatasetConfig, dataset_named
from orchestrator.sweeps.request import SweepConfig
from orchestrator.training.request import TrainConfig
from physics.registry import setting

LABYRINTHS = {
    "dataset.L": 128,
    "dataset.configurations": 40_000,
    "dataset.hamiltonian.J": 1.0,
    "dataset.hamiltonian.D": 0.3,
    "dataset.hamiltonian.B": 0.0,
    "kept": 30_000,
}
GENERATIVE = {
    **LABYRINTHS,
    "batch": 50,
    "steps": 60_000,  # 100 epochs of 30,000 / 50
    "system.latent": 128,
    "system.width": 64,
    "system.learning_rate": 2e-4,
    "system.betas": (0.0, 0.9),
    "system.widths": [64, 128, 256, 512, 1024],
}
PAPERS = {
    "vae.yaml": {**GENERATIVE, "system.beta": 1e-3},
    "gan.yaml": GENERATIVE,
    "hybrid.yaml": {**GENERATIVE, "system.beta": 1e-3, "system.gamma": 1e-3},
    "vae-2022.yaml": {
        **LABYRINTHS,
        "batch": 100,
        "steps": 30_000,  # 100 epochs of 30,000 / 100
        "system.latent": 100,
        "system.hidden": 512,
        "system.kernel": 5,
        "system.beta": 1e-3,
        "system.gamma": 0.0,
        "system.learning_rate": 1e-3,
    },
    "xy.yaml": {
        "dataset.L": 16,
        "dataset.configurations": 250_000,
        "dataset.sampler.temperatures": (0.1,),
        "kept": 249_000,
        "batch": 256,  # 64 for each of 4 updates of the critic
        "steps": 116_719,  # 120 epochs of 249,000 / 256
        "system.critic_steps": 4,
        "system.widths": [64, 128, 256, 256],
        "system.coarsest": 1,
        "system.learning_rate": 1e-4,
        "system.physical_after": pytest.approx(40 / 120),
        "system.physical": 1e-5,
        "system.penalty": 10.0,
        "system.given_as": "charges",
    },
    "evae-2021.yaml": {
        "batch": 100,
        "steps": 30_000,
        "kept": 30_000,
        "dataset.configurations": 39_300,
        "system.latent": 100,
        "system.learning_rate": 1e-3,
        "system.beta_ramp": 0.0,
    },
    "beta.yaml": {
        **LABYRINTHS,
        "dataset.configurations": 35_000,  # 5,000 for validation
        "batch": 100,
        "steps": 30_000,  # 100 epochs of 30,000 / 100
        "system.latent": 100,
        "system.learning_rate": 1e-3,
    },
    "hybrid-2023.yaml": GENERATIVE,
    "evae.yaml": {
        "dataset.L": 128,
        "dataset.configurations": 39_300,
        "dataset.hamiltonian.J": 1.0,
        "dataset.hamiltonian.D": 0.3,
        "dataset.hamiltonian.B": 0.05,
        "kept": 30_000,  # 5,000 for validation and 4,300 to test
        "batch": 100,
        "steps": 30_000,  # 100 epochs of 30,000 / 100
        "trial.warmup_steps": 30_000,
        "trial.beta_start": 1e-6,
        "system.latent": 100,
        "system.hidden": 512,
        "system.kernel": 5,
        "system.learning_rate": 1e-3,
    },
}


def value(config, path):
    """At a dotted key, or of a property of what lies there."""
    *sections, last = path.split(".")
    owner = setting(config, ".".join(sections)) if sections else config
    return getattr(owner, last)


@pytest.mark.parametrize(
    ("file", "path", "published"),
    [(file, path, published) for file, numbers in PAPERS.items() for path, published in numbers.items()],
)
def test_a_number_is_the_published_one(file, path, published):
    kind = SweepConfig if Path(file).stem in shipped("sweeps") else TrainConfig
    config = load(kind, file, "paper", references={"dataset": lambda text, scale: dataset_named(text, scale, None)})
    assert value(config, path) == published


def test_the_weights_that_the_papers_compare_are_swept():
    assert load(SweepConfig, "beta.yaml", "paper").space["system.beta"].values == (0.1, 0.01, 1e-3, 1e-4)
    space = load(SweepConfig, "hybrid-2023.yaml", "paper").space
    assert all(space[f"system.{weight}"].from_unit(0.5) == pytest.approx(1e-3) for weight in ("beta", "gamma"))


def test_the_widths_of_the_convolutions_are_the_published_ones():
    from nets.vae import WIDTHS

    assert WIDTHS == {"evae-2021": (6, 12, 24, 48), "vae-2022": (16, 32, 64, 128)}


def test_the_collapse_is_scanned_at_both_betas_over_the_gammas_of_the_paper():
    config = load(SweepConfig, "evae.yaml", "paper")
    assert config.space["system.beta"].values == (1e-3, 1e-4)
    gammas = config.trial.gammas
    assert (gammas[0], gammas[-1]) == (1e-4, 1e6)
    assert {500, 1000, 1500, 2000, 5000} <= set(gammas)  # figure 5
    assert load(DatasetConfig, "labyrinth.yaml", "paper").L == 128
