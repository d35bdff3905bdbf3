"""What a sweep proposes and prunes, without Ray: the same whichever trial ends first."""

import math
import random

import pytest

from orchestrator.config import load
from orchestrator.errors import RequestError
from orchestrator.sweeps.proposals import Proposals
from orchestrator.sweeps.request import SweepConfig

SPACE = {
    "system.beta": {"log_uniform": [1e-6, 1e-2]},
    "system.learning_rate": {"log_uniform": [1e-5, 1e-2]},
}
DRAWN = {"system.name": "evae-2021", "space": SPACE, "trials": 20, "metric": "energy_mean"}
SCAN = {
    "system.name": "evae-2021",
    "system.beta": 1e-3,
    "trial": {"name": "collapse", "gammas": [1, 10, 100, 1000], "refine": 2},
    "space": {"system.learning_rate": {"log_uniform": [1e-5, 1e-2]}},
    "trials": 24,
}


def cost(point):
    if point["system.learning_rate"] > 5e-3:
        return math.nan
    return (math.log10(point["system.beta"]) + 4) ** 2 + (math.log10(point["system.learning_rate"]) + 3) ** 2


def run(config, order, values=lambda point: [cost(point)], steps=0):
    """Points in their order and which were pruned, with the trials of a batch ending in an order of their own."""
    proposals, shuffle = Proposals(config), random.Random(order)
    points, pruned = {}, set()
    while len(points) < proposals.total:
        batch = []
        while (asked := proposals.ask()) is not None:
            batch.append(asked)
        points |= dict(batch)
        running = {number: 0 for number, _ in batch}
        while running:
            number = shuffle.choice(sorted(running))
            running[number] += 1
            known = values(points[number])
            if running[number] <= steps and proposals.prune(number, running[number], known[0] + running[number]):
                pruned.add(number)
            if number in pruned or running[number] >= steps:
                running.pop(number)
                proposals.tell(number, known, number in pruned)
    return [points[number] for number in range(proposals.total)], pruned


@pytest.mark.parametrize("search", ["qmc", "random", "tpe", "gp", "cmaes"])
def test_proposals_do_not_depend_on_which_trial_ends_first(search):
    config = load(SweepConfig, settings={**DRAWN, "search": search})
    assert run(config, 1) == run(config, 2)


@pytest.mark.parametrize("search", ["tpe", "gp", "cmaes"])
def test_a_sampler_that_looks_at_results_finds_the_smallest(search):
    config = load(SweepConfig, settings={**DRAWN, "search": search, "trials": 32})
    points, _ = run(config, 1)
    costs = [value for value in map(cost, points[16:]) if not math.isnan(value)]
    assert sum(costs) / len(costs) < 2.0  # 2.2 at random, with a fifth not a number


@pytest.mark.parametrize("search", ["tpe", "gp", "qmc"])
def test_several_metrics_at_once(search):
    settings = {**DRAWN, "search": search, "trials": 16, "metric": ["energy_mean", "diversity"], "mode": ["min", "max"]}
    config = load(SweepConfig, settings=settings)
    assert config.objectives == {"energy_mean": "min", "diversity": "max"}

    def both(point):
        return [cost(point), -abs(math.log10(point["system.beta"]) + 3)]

    assert run(config, 1, both) == run(config, 2, both)


@pytest.mark.parametrize("pruner", ["asha", "hyperband", "median"])
def test_what_is_pruned_does_not_depend_on_which_trial_ends_first(pruner):
    config = load(SweepConfig, settings={**SCAN, "pruner": pruner})

    def value(point):
        return [abs(math.log10(point["system.learning_rate"]) + 3)]

    points, pruned = run(config, 1, value, steps=6)
    assert (points, pruned) == run(config, 2, value, steps=6)
    assert 3 < len(pruned) < 20
    assert not pruned & {0, 1, 2, 3}  # of the first batch, which nothing came before
    best = min(range(24), key=lambda number: value(points[number]))
    assert best not in pruned


def test_a_finite_space_is_taken_in_its_order_and_pruned_batch_by_batch():
    space = {"system.learning_rate": [1e-3, 2e-3, 1e-4, 1e-5, 1e-2, 3e-5, 3e-4, 5e-3, 4e-5, 2e-5]}
    config = load(SweepConfig, settings={**SCAN, "space": space, "trials": None, "pruner": "asha"})
    value = [abs(math.log10(rate) + 3) for rate in space["system.learning_rate"]]
    points, pruned = run(config, 1, lambda point: [value[point["number"]]], steps=6)
    assert points == [{"number": number} for number in range(10)]
    assert pruned == set(range(4, 10))
    whole = Proposals(load(SweepConfig, settings={**SCAN, "space": space, "trials": None}))
    assert [whole.ask()[0] for _ in range(10)] == list(range(10))
    assert whole.ask() is None


def test_a_boundary_is_searched_in_batches_that_keep_apart():
    settings = {**DRAWN, "metric": "diversity", "search": "boundary", "level": 0.1, "trials": 28}
    config = load(SweepConfig, settings=settings)

    def diversity(point):
        above = math.log10(point["system.beta"]) + 0.5 * math.log10(point["system.learning_rate"]) + 5.8
        return [10 ** (-3 * (1 + math.tanh(4 * above)) / 2)]

    points, _ = run(config, 1, diversity)
    assert points == run(config, 2, diversity)[0]
    near = [0.003 < diversity(point)[0] < 0.99 for point in points]
    assert sum(near[16:]) > 6
    assert sum(near[16:]) > 2 * sum(near[:8])


def test_a_boundary_does_not_go_back_to_points_without_a_value():
    """Half of the plane has none, the other half a value far from the level: both are looked at alike."""
    settings = {**DRAWN, "metric": "diversity", "search": "boundary", "level": 0.1, "trials": 24}
    config = load(SweepConfig, settings=settings)
    points, _ = run(config, 1, lambda point: [math.nan if point["system.beta"] > 1e-4 else 10.0])
    assert 8 <= sum(point["system.beta"] > 1e-4 for point in points) <= 14


RAMPED = {
    "system.beta": [1e-5, 1e-4, 1e-3],
    "system.beta_ramp": {"choice": [0.1, 0.2], "when": {"system.beta": [1e-4, 1e-3]}},
}


def test_a_conditional_key_varies_only_where_its_condition_holds():
    config = load(SweepConfig, settings={"system.name": "evae-2021", "space": RAMPED})
    assert config.points() == [
        {"system.beta": 1e-5},
        *({"system.beta": beta, "system.beta_ramp": ramp} for beta in (1e-4, 1e-3) for ramp in (0.1, 0.2)),
    ]
    assert [trial.training.system.beta_ramp for trial in config.grid()] == [0.0, 0.1, 0.2, 0.1, 0.2]


@pytest.mark.parametrize("search", ["qmc", "random", "tpe", "gp", "cmaes"])
def test_a_conditional_key_is_drawn_only_where_its_condition_holds(search):
    space = {
        **SPACE,
        "batch": [16, 32],
        "system.beta_ramp": {"uniform": [0.1, 0.9], "when": {"batch": 16}},
        "system.gamma": {"log_uniform": [1, 10], "when": {"batch": 32}},
    }
    config = load(SweepConfig, settings={**DRAWN, "space": space, "search": search})
    points, _ = run(config, 1)
    assert {point["batch"] for point in points} == {16, 32}
    for point in points:
        assert ("system.beta_ramp" in point) == (point["batch"] == 16) == ("system.gamma" not in point)
    assert run(config, 2)[0] == points


@pytest.mark.parametrize(
    ("when", "said"),
    [
        ({"system.gamma": 1}, "expected a key of the space before it, found 'system.gamma'"),
        (
            {"system.beta": 0.5},
            "space.system.beta_ramp.when.system.beta: expected one of 1e-05, 0.0001, 0.001, found 0.5",
        ),
    ],
)
def test_a_condition_that_cannot_hold_is_refused(when, said):
    space = {**RAMPED, "system.beta_ramp": {"choice": [0.1, 0.2], "when": when}}
    with pytest.raises(RequestError) as error:
        load(SweepConfig, settings={"system.name": "evae-2021", "space": space})
    assert said in str(error.value)
