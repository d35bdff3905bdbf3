"""What the conformance suites run over: every registered class, and every class in ``tests/toys.py``, if that is there.

A newcomer to a registry is met by the suite of its protocol with no test of its own.  To run it with other settings
than the defaults, or with smaller ones, give them in ``SETTINGS``.
"""

import importlib
import inspect
import json
import pickle
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from nets.layers import unit_spins
from nets.system import SYSTEMS, SystemSettings
from orchestrator.sweeps.program import TRIAL_PROGRAMS, TrialProgram
from physics.model import SPIN_MODELS, SpinModel
from physics.sampler import SAMPLERS, Sampler
from search.objectives import OBJECTIVES, Objective, parse_objective
from search.optimizer import OPTIMIZERS, OptimizerSettings

L = 16
TOYS = Path(__file__).parents[1] / "toys.py"


def under_test(registry, protocol):
    """Names, registered or ``module:Class``, of the classes of a protocol."""
    names = [*registry.known]
    if TOYS.exists():  # with tests/ on the path, as its users name it
        toys = importlib.import_module("toys")
        classes = [thing for thing in vars(toys).values() if isinstance(thing, type) and thing.__module__ == "toys"]
        names += [
            f"toys:{kind.__name__}" for kind in classes if issubclass(kind, protocol) and not inspect.isabstract(kind)
        ]
    return names


SPIN_MODELS_UNDER_TEST = under_test(SPIN_MODELS, SpinModel)
SAMPLERS_UNDER_TEST = under_test(SAMPLERS, Sampler)
SYSTEMS_UNDER_TEST = under_test(SYSTEMS, SystemSettings)
OPTIMIZERS_UNDER_TEST = under_test(OPTIMIZERS, OptimizerSettings)
OBJECTIVES_UNDER_TEST = under_test(OBJECTIVES, Objective)
TRIAL_PROGRAMS_UNDER_TEST = under_test(TRIAL_PROGRAMS, TrialProgram)

SETTINGS = {
    "chiral": [
        {},
        {"B": 0.3, "K": 0.4, "dm": "neel"},
        {"D": -0.8, "boundary": "open"},
        {"K": -0.3, "boundary": "wire"},
    ],
    "collapse": [
        {"gammas": [1, 10, 100], "refine": 2},
        {"beta_start": 1e-3, "gammas": [0, 5], "refine": 0},
        {"gammas": [1, 10], "down": True, "cold": True},
    ],
    "memetic": [{"generation": 5}],
    "genetic": [{}, {"wheel": "exponential"}],
    "stochastic": [{"decade": 10}],
    "archive": [{"bounds": [[-4, 4], [-4, 4]], "cells": 8}],
    "annealing": [{"sweeps": 5, "overrelaxation": 1, "finish": 100}],
    "tempering": [{"temperatures": 3, "rounds": 10, "overrelaxation": 1, "torque": 1e-2}],
    "evae-2021": [{"L": L, "latent": 4, "hidden": 16, "gamma": 0.1}],
    "vae-2022": [{"L": L, "latent": 4, "hidden": 16}],
    **{name: [{"L": L, "latent": 4, "width": 4}] for name in ("vae", "gan", "hybrid")},
    "cwgan": [
        {"L": L, "latent": 257, "width": 4, "critic_steps": 2},
        {"L": L, "latent": 9, "width": 4, "depth": 4, "given_as": "charges", "invariant": False, "critic_steps": 2},
    ],
    "metropolis": [
        {"sweeps": 5, "temperatures": [0.1, 0.8]},
        {"sweeps": 5, "distances": [0, 1, 3.162], "pairs": [1, 2]},
    ],
}
"""By name, the settings that a class is tested with."""


def cases(names, **settings):
    """For each name, each of its settings; ``settings`` where it has none of its own."""
    given = [{"name": name, **own} for name in names for own in SETTINGS.get(name, [settings])]
    return [pytest.param(case, id=" ".join(map(str, case.values()))) for case in given]


MODELS = [SPIN_MODELS.parse({"name": name}) for name in SPIN_MODELS_UNDER_TEST]


def accepted(check):
    """The first spin model that a check does not refuse."""
    for model in MODELS:
        try:
            check(model)
        except ValueError:
            continue
        return model
    raise ValueError("it accepts none of the spin models under test")


@pytest.fixture(params=cases(SPIN_MODELS_UNDER_TEST))
def model(request):
    return SPIN_MODELS.parse(request.param)


@pytest.fixture(params=cases(SAMPLERS_UNDER_TEST))
def sampler(request):
    return SAMPLERS.parse(request.param)


@pytest.fixture
def sampled_model(sampler):
    """A spin model that the sampler accepts."""
    return accepted(lambda model: sampler.check(model, L))


def _labels_of(names, n):
    """Labels ``(n, ...)`` of a sampler under test that has them all."""
    if not names:
        return {}
    samplers = [SAMPLERS.parse(case.values[0]) for case in cases(SAMPLERS_UNDER_TEST)]
    sampler = [sampler for sampler in samplers if set(names) <= set(sampler.labels)][-1]
    found = sampler.sample(accepted(lambda model: sampler.check(model, L)), L, 0, range(n)).labels
    return {name: torch.from_numpy(found[name]) for name in names}


@pytest.fixture(scope="session")
def labels_of():
    return _labels_of


@pytest.fixture(params=cases(SYSTEMS_UNDER_TEST, L=L, latent=4))
def settings(request):
    """Of a generative system."""
    return SYSTEMS.parse(request.param)


@pytest.fixture(params=cases(OPTIMIZERS_UNDER_TEST, population=8))
def optimizer(request):
    """Settings of an optimizer."""
    return OPTIMIZERS.parse(request.param)


OBJECTIVES_OF_MODELS = [(name, accepted(parse_objective(name).check)) for name in OBJECTIVES_UNDER_TEST] + [
    (name, model)
    for model in MODELS
    for name in (f"{observable}_{end}" for observable in model.observables for end in ("max", "min"))
    if name not in OBJECTIVES.known
]


@pytest.fixture(params=OBJECTIVES_OF_MODELS, ids=lambda pair: f"{pair[0]} of {pair[1].name}")
def objective_of_model(request):
    """An objective, and a spin model that has it."""
    name, model = request.param
    objective = parse_objective(name)
    return objective.given_networks(dict.fromkeys(objective.needs, _network)), model


@pytest.fixture(params=cases(TRIAL_PROGRAMS_UNDER_TEST))
def program(request):
    """A trial program."""
    return TRIAL_PROGRAMS.parse(request.param)


def _network(spins):
    """Stands for a discriminator."""
    return spins.square().sum(1).tanh().mean((-2, -1)) + spins[:, -1].mean((-2, -1))


def _random_spins(model, n, seed=0, dtype=torch.float64):
    """Unit spins ``(n, components, L, L)`` in random directions, none where there is no site."""
    numbers = torch.randn(n, model.components, L, L, dtype=dtype, generator=torch.Generator().manual_seed(seed))
    return unit_spins(numbers) * torch.from_numpy(model.sites(L))


@pytest.fixture(scope="session")
def random_spins():
    return _random_spins


def _check_settings(registry, settings):
    """Raise AssertionError unless settings come back from JSON, their recipe and pickle, and refuse an unknown key."""
    content = json.loads(settings.model_dump_json())
    recipe = settings.recipe()
    assert json.loads(json.dumps(recipe)) == recipe
    parts = {key: value for key, value in recipe.items() if key not in ("source", "recipe_version")}
    assert registry.parse(content) == settings
    assert registry.parse({"name": settings.name, **parts}) == settings
    assert pickle.loads(pickle.dumps(settings)) == settings
    key = max(content, key=len)
    with pytest.raises(ValidationError, match=f"{key}x.*\n.*did you mean {key}"):
        registry.parse({**content, f"{key}x": 1})


@pytest.fixture(scope="session")
def check_settings():
    return _check_settings
