"""What the trial programs make of the figures they are sent."""

import math

import numpy as np
import pandas as pd
import pytest

from orchestrator.sweeps.collapse import CollapseScan
from orchestrator.sweeps.posterior import PosteriorScan
from orchestrator.sweeps.program import Finished
from orchestrator.training.request import TrainConfig
from physics.chiral import ChiralMagnet

TRAINING = TrainConfig.model_validate(
    {
        "dataset": {"L": 16},
        "system": {"name": "evae-2021", "latent": 4, "beta": 1e-4},
        "batch": 10,
        "steps": 7,
    }
)
SCAN = CollapseScan(beta_start=1e-6, gammas=(1, 10, 100, 1000), refine=3, warmup_steps=20)


def cards_of(program, figures):
    """The trainings of a trial whose cards have the figures of a function, and the table of them."""
    generator, trainings, rows = program.trainings(TRAINING), [], []
    training = next(generator)
    while True:
        trainings.append(training)
        made = figures(training)
        card = {"config": training.recipe(), "figures": made}
        rows.append({**program.columns(card), **made, "model": training.name})
        try:
            training = generator.send(card)
        except StopIteration:
            return trainings, pd.DataFrame(rows)


def collapse_at(gamma_c, scan=SCAN):
    """A scan whose models collapse at a gamma; their losses cross at 200."""

    def figures(training):
        fallen = training.system.gamma >= gamma_c
        return {
            "diversity": 0.01 if fallen else 0.9,
            "kspace_mse": 1e-4 if fallen else 0.1,
            "energy_mean": -0.3 if fallen else -0.2,
            "data_energy_mean": -0.25,
            "data_energy_std": 0.001,
            "active_units": 3,
            "validation_reconstruction": 0.46 if fallen else 0.05,
            "validation_kl": 100.0,
            "validation_energy": -0.3 if fallen else -0.298,
            "prior_reconstruction": 0.46,
        }

    return cards_of(scan, figures)


@pytest.mark.parametrize("gamma_c", [2.0, 35.0, 400.0])
def test_the_bracket_holds_the_gamma_at_which_models_collapse(gamma_c):
    _, table = collapse_at(gamma_c)
    report = SCAN.report(table)
    assert report["gamma_up_lower"] < gamma_c <= report["gamma_up_upper"]
    assert report["gamma_up"] == pytest.approx(math.sqrt(report["gamma_up_lower"] * report["gamma_up_upper"]))
    assert report["mse_fall_in_a_decade"] == pytest.approx(1000)
    assert report["collapsed_energy"] == -0.3


def test_losses_cross_wherever_the_scan_falls():
    """0.05 + 1e-4 * 100 against 0.46, energies -0.298 against -0.3: 200 by hand."""
    for gamma_c in (2.0, 35.0, 400.0):
        assert SCAN.report(collapse_at(gamma_c)[1])["gamma_crossing"] == pytest.approx(200)


def test_a_scan_without_a_collapse_has_no_threshold():
    report = SCAN.report(collapse_at(1e9)[1])
    assert math.isnan(report["gamma_up"])
    assert math.isnan(report["collapsed_energy"])
    assert report["mse_fall_in_a_decade"] == 1


def test_stages_go_up_the_ladder_of_beta_then_of_gamma_each_from_the_one_before():
    trainings, _ = collapse_at(1e9)
    weights = [(training.system.beta, training.system.gamma) for training in trainings]
    assert weights == [(1e-6, 0), (1e-5, 0), (1e-4, 0), (1e-4, 1), (1e-4, 10), (1e-4, 100), (1e-4, 1000)]
    assert [training.steps for training in trainings] == [20, 7, 7, 7, 7, 7, 7]
    assert trainings[0].parent is None
    assert [after.parent for after in trainings[1:]] == [before.name for before in trainings[:-1]]


def test_cold_starts_train_as_long_as_the_first_stage():
    trainings, table = collapse_at(35.0, SCAN.model_copy(update={"cold": True}))
    cold = trainings[-4:]
    assert [training.system.gamma for training in cold] == [1, 10, 100, 1000]
    assert {(training.parent, training.steps) for training in cold} == {(None, 20)}
    assert SCAN.report(table)["gamma_cold"] == pytest.approx(math.sqrt(10 * 100))


def test_beta_c_is_where_the_last_unit_dies():
    scan = PosteriorScan(betas=(1e-3, 1e-2, 0.1), refine=4, warmup_steps=20)
    trainings, table = cards_of(scan, lambda training: {"active_units": 0 if training.system.beta > 0.03 else 5})
    report = scan.report(table)
    assert report["beta_c_lower"] <= 0.03 < report["beta_c_upper"]
    assert report["beta_c_upper"] / report["beta_c_lower"] == pytest.approx(10 ** (1 / 16), rel=1e-2)
    assert [training.steps for training in trainings] == [20] + [7] * 6


def test_seeds_of_a_sweep_of_one_point_are_pooled_whatever_they_found():
    summary = pd.DataFrame({"trial": [0, 1], "seed": [0, 1], "beta_c": [0.03, 0.04]})
    (row,) = PosteriorScan().pooled(summary, pd.DataFrame()).to_dict("records")
    assert row["seeds"] == 2
    assert row["beta_c"] == pytest.approx((0.03 * 0.04) ** 0.5)
    assert row["beta_c_low"] < 0.03 < 0.04 < row["beta_c_high"]


def test_a_model_without_active_units_is_named():
    with pytest.raises(ValueError, match=r"models/evae-2021-.*: made by an older version"):
        cards_of(PosteriorScan(betas=(1e-3, 1.0)), lambda training: {"validation_kl": 3.0})


def test_a_trial_that_did_not_reach_the_last_beta_has_no_part_in_gamma_crossing():
    _, whole = collapse_at(35.0)
    short = whole[whole["beta"] < 1e-4].assign(trial=1, seed=1)
    stages = pd.concat([whole.assign(trial=0, seed=0), short], ignore_index=True)
    rows = [
        {"trial": trial, "seed": trial, **SCAN.report(part.drop(columns=["trial", "seed"]))}
        for trial, part in stages.groupby("trial")
    ]
    (row,) = SCAN.pooled(pd.DataFrame(rows), stages).to_dict("records")
    assert row["gamma_crossing"] == pytest.approx(rows[0]["gamma_crossing"])
    assert math.isnan(row["gamma_crossing_low"])


@pytest.mark.parametrize(("trials", "each", "shown"), [(3, 14, 3), (1000, 1, 100), (50, 14, 7), (2, 300, 1)])
def test_a_page_shows_the_states_of_so_many_trainings_that_it_can_be_drawn(trials, each, shown):
    """The time to lay out rows of states grows as their square."""
    stages = pd.DataFrame({"trial": np.repeat(np.arange(trials), each)})
    finished = Finished(stages, stages, stages, {}, {}, ChiralMagnet())
    assert finished.pictured["trial"].nunique() == shown
    assert len(finished.pictured) == shown * each
    assert finished.pictured_text == ("" if shown == trials else f"Of {trials:,} trials {shown} are shown. ")
