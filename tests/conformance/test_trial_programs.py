"""What every trial program does: trainings that go on from one another, and figures of them that a sweep can use."""

import math

import numpy as np
import pandas as pd
import pytest

from orchestrator.sweeps.program import TRIAL_PROGRAMS, training_figures
from orchestrator.training.request import TrainConfig

TRAINING = TrainConfig.model_validate(
    {"dataset": {"L": 16}, "system": {"name": "evae-2021", "latent": 4, "hidden": 16}, "batch": 10, "steps": 7}
)


def card(training, rng):
    """As a training leaves it in the store, with figures at random."""
    figures = {name: float(rng.random()) for name in training_figures(training)} | {"active_units": 3}
    return {"config": training.recipe(), "figures": figures, "history": [{"step": training.steps}]}


def run(program, seed=0):
    """The trainings of a trial, and the table of them."""
    rng, trainings, rows = np.random.default_rng(seed), [], []
    generator = program.trainings(TRAINING)
    training = next(generator)
    while True:
        made = card(training, rng)
        trainings.append(training)
        rows.append({"seed": training.seed, "order": len(rows), **program.columns(made), **made["figures"]})
        rows[-1]["model"] = training.name
        try:
            training = generator.send(made)
        except StopIteration:
            return trainings, pd.DataFrame(rows)


def test_settings_survive_json_recipe_and_pickle(program, check_settings):
    if len(type(program).model_fields) > 1:
        check_settings(TRIAL_PROGRAMS, program)


@pytest.mark.parametrize("seed", range(5))
def test_a_trial_is_at_most_as_long_as_it_says(program, seed):
    trainings, _ = run(program, seed)
    assert 1 <= len(trainings) <= program.length(TRAINING)
    assert sum(training.steps for training in trainings) <= program.max_steps(TRAINING)


def test_trainings_are_requests_of_their_own_that_follow_from_earlier_ones(program):
    trainings, _ = run(program)
    names = [training.name for training in trainings]
    assert len(set(names)) == len(names)
    for number, training in enumerate(trainings):
        assert TrainConfig.model_validate(training.model_dump()) == training
        assert training.dataset == TRAINING.dataset
        assert training.parent is None or training.parent in names[:number]


def test_the_same_cards_give_the_same_trainings(program):
    assert run(program)[0] == run(program)[0]


def test_what_is_reported_has_the_names_that_are_promised(program):
    _, table = run(program)
    promised = set(program.reported(TRAINING))
    metric, mode = program.metric(TRAINING)
    assert metric in promised
    assert mode in ("min", "max")
    for done in range(1, len(table) + 1):
        report = program.report(table[:done])
        assert all(isinstance(value, float) for value in report.values())
    assert metric in report
    assert promised <= set(report)


def test_a_system_that_the_program_cannot_run_is_refused(program):
    """The GAN neither encodes nor has weights of its losses; a program either refuses it or runs it."""
    gan = TrainConfig.model_validate({"dataset": {"L": 16}, "system": {"name": "gan", "width": 4}, "batch": 10})
    try:
        program.check(gan)
    except ValueError as error:
        assert program.name in str(error) or "trial" in str(error)
    else:
        assert next(program.trainings(gan)).system.name == "gan"
        assert math.isfinite(program.max_steps(gan))
