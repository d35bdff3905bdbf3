import numpy as np
import pytest
from pydantic import ValidationError

from search.islands import IslandsSettings
from search.optimizer import OPTIMIZERS


def told(search, score):
    codes = search.ask()
    search.tell(codes, score(codes), np.zeros_like(codes))
    return codes


def well(codes):
    return -np.square(codes - 1).sum(1)


def test_each_island_searches_as_it_would_alone_until_the_first_migration():
    settings = IslandsSettings(islands=3, population=30, optimizer={"name": "genetic"}, migration=100)
    together = settings.start(4, 7)
    seeds = np.random.SeedSequence(7).generate_state(3)
    alone = [settings.optimizer.start(4, int(seed)) for seed in seeds]
    for _ in range(5):
        codes = told(together, lambda z: -np.square(z - 1).sum(1))
        np.testing.assert_array_equal(
            codes, [*np.concatenate([told(a, lambda z: -np.square(z - 1).sum(1)) for a in alone])]
        )
    assert len({island.result().scores[0] for island in alone}) == 3


@pytest.mark.parametrize("name", ["genetic", "memetic", "gradient"])
def test_the_best_of_an_island_takes_the_place_of_the_worst_of_the_next(name):
    search = IslandsSettings(islands=3, population=24, optimizer={"name": name}, migration=1, migrants=2).start(4, 0)
    codes = search.ask()
    heights = np.arange(24.0) % 8 + 100 * (np.arange(24) // 8)  # the higher, the later the island
    search.tell(codes, heights, np.zeros_like(codes))
    for number, island in enumerate(search._islands):
        found = island.result()
        before = (number - 1) % 3
        arrived = np.isin(found.scores, heights[8 * before : 8 * before + 8])
        np.testing.assert_array_equal(np.sort(found.scores[arrived]), 100 * before + np.array([6, 7]))
        np.testing.assert_array_equal(
            np.sort(found.codes[arrived], 0), np.sort(codes[8 * before + 6 : 8 * before + 8], 0)
        )
        assert {100 * number, 100 * number + 1}.isdisjoint(found.scores)  # the two worst went


def test_a_good_code_reaches_every_island_of_the_ring():
    search = IslandsSettings(islands=4, population=40, optimizer={"name": "genetic", "mutation": 0}, migration=5).start(
        3, 1
    )
    for iteration in range(30):
        codes = search.ask()
        scores = np.zeros(len(codes))
        scores[0] = 1e3 * (iteration == 0)  # one code of the first island, once; elites keep it
        search.tell(codes, scores)
    assert [island.result().scores[0] for island in search._islands] == [1e3] * 4


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"islands": 3, "population": 31}, "expected 3 islands x 32 codes = 96, found 31"),
        ({"optimizer": {"name": "cma-es"}}, "expected one that takes migrants, found cma-es"),
        ({"population": 8, "migrants": 2}, "expected less than the 2 codes of an island, found 2"),
        ({"population": 80, "optimizer": {"population": 10}}, "expected 4 islands x 10 codes = 40, found 80"),
    ],
)
def test_islands_that_cannot_be_are_refused(given, message):
    with pytest.raises(ValidationError, match=message):
        IslandsSettings(**given)


def test_the_population_is_shared_out_or_summed_up():
    assert OPTIMIZERS.parse({"name": "islands", "optimizer": "genetic"}).population == 400
    assert OPTIMIZERS.parse({"name": "islands", "population": 1000, "islands": 10}).optimizer.population == 100
    assert not OPTIMIZERS.parse({"name": "islands", "optimizer": "genetic"}).uses_gradient
