"""What the trial programs make of the figures they are sent."""

import math

import pandas as pd
import pytest

from orchestrator.sweeps.collapse import CollapseScan
from orchestrator.training.request import TrainConfig

TRAINING = TrainConfig.model_validate(
    {
        "dataset": {"L": 16},
        "system": {"name": "evae-2021", "latent": 4, "beta": 1e-4},
        "batch": 10,
        "steps": 7,
    }
)
SCAN = CollapseScan(beta_start=1e-6, gammas=(1, 10, 100, 1000), refine=3, warmup_steps=20)


def collapse_at(gamma_c, scan=SCAN):
    """The trainings of a scan whose models collapse at a gamma, and the table of them."""
    generator, trainings, rows = scan.trainings(TRAINING), [], []
    training = next(generator)
    while True:
        trainings.append(training)
        fallen = training.system.gamma >= gamma_c
        figures = {"diversity": 0.01 if fallen else 0.9, "kspace_mse": 1e-4 if fallen else 0.1}
        figures["energy_mean"] = -0.3 if fallen else -0.2
        card = {"config": training.recipe(), "figures": figures}
        rows.append({**scan.columns(card), **figures})
        try:
            training = generator.send(card)
        except StopIteration:
            return trainings, pd.DataFrame(rows)


@pytest.mark.parametrize("gamma_c", [2.0, 35.0, 400.0])
def test_the_bracket_closes_on_the_gamma_at_which_models_collapse(gamma_c):
    _, table = collapse_at(gamma_c)
    report = SCAN.report(table)
    assert report["gamma_lower"] < gamma_c <= report["gamma_upper"]
    assert report["gamma_upper"] / report["gamma_lower"] == pytest.approx(10**0.125, rel=1e-3)
    assert report["gamma_c"] == pytest.approx(math.sqrt(report["gamma_lower"] * report["gamma_upper"]))
    assert report["mse_fall_in_a_decade"] == pytest.approx(1000)
    assert report["collapsed_energy"] == -0.3


def test_a_scan_without_a_collapse_has_no_threshold():
    report = SCAN.report(collapse_at(1e9)[1])
    assert math.isnan(report["gamma_c"])
    assert math.isnan(report["collapsed_energy"])
    assert report["mse_fall_in_a_decade"] == 1


def test_stages_go_up_the_ladder_of_beta_then_of_gamma_each_from_the_one_before():
    trainings, _ = collapse_at(1e9)
    weights = [(training.system.beta, training.system.gamma) for training in trainings]
    assert weights == [(1e-6, 0), (1e-5, 0), (1e-4, 0), (1e-4, 1), (1e-4, 10), (1e-4, 100), (1e-4, 1000)]
    assert [training.steps for training in trainings] == [20, 7, 7, 7, 7, 7, 7]
    assert trainings[0].parent is None
    assert [after.parent for after in trainings[1:]] == [before.name for before in trainings[:-1]]


def test_refinements_start_from_the_last_diverse_model():
    trainings, table = collapse_at(35.0)
    diverse = {t.name: t.system.gamma for t, fallen in zip(trainings, table["collapsed"], strict=True) if not fallen}
    for refinement in trainings[7:]:
        assert diverse[refinement.parent] == max(g for g in diverse.values() if g < refinement.system.gamma)
