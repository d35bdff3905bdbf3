import numpy as np
import pytest
from pydantic import ValidationError
from scipy import stats

from search.genetic import GeneticSettings, slots

TARGET = np.linspace(-1, 1, 20)


def sphere(codes):
    return -np.square(codes - TARGET).sum(1)


def started(population, latent_dim=20, seed=0, **settings):
    return GeneticSettings(population=population, **settings).start(latent_dim, seed)


def evolve(search, generations):
    for _ in range(generations):
        codes = search.ask()
        search.tell(codes, sphere(codes))
    return search


def test_genetic_search_is_far_beyond_random_search():
    random = sphere(np.random.default_rng(0).standard_normal((50 * 100, 20))).max()
    assert evolve(started(50, mutation=0.02), 100).result().scores[0] > 0.3 * random


def test_the_elite_is_never_lost():
    search, best = started(30, mutation=0.5), -np.inf
    for _ in range(30):
        evolve(search, 1)
        assert search.result().scores[0] >= best
        best = search.result().scores[0]


SCORES = np.array([5.0, 4.5, 2.0, 1.0, 0.0, -2.0, -2.0, -3.0, -9.0, -10.0])


@pytest.mark.parametrize(
    ("wheel", "expected"),
    [
        ("linear", SCORES + 10 + 15 / (3.0 - 1)),  # f_i = (C_w - C_i) + (C_w - C_b) / (k - 1)
        ("exponential", np.exp(-3.0 * np.arange(10) / 9)),
    ],
)
def test_the_wheel_turns_as_documented(wheel, expected):
    n, draws = 10, 4000
    search = started(n, latent_dim=1, seed=1, pressure=3.0, wheel=wheel, mutation=0.0, elite=0)
    counts = np.zeros(n)
    for _ in range(draws // n):
        search.codes, search.scores = np.arange(n, dtype=np.float32)[:, None], SCORES
        counts += np.bincount(search.ask()[:, 0].astype(int), minlength=n)
    assert stats.chisquare(counts, draws * expected / expected.sum()).pvalue > 1e-3
    assert stats.chisquare(counts, np.full(n, draws / n)).pvalue < 1e-6


def test_on_the_linear_wheel_the_best_is_drawn_k_times_as_often_as_the_worst():
    drawn = slots(SCORES, 8.0, "linear")
    assert drawn[0] / drawn[-1] == pytest.approx(8) and drawn.sum() == pytest.approx(1)
    np.testing.assert_allclose(slots(1e6 * SCORES - 7, 8.0, "linear"), drawn)  # whatever the scale and zero of scores


@pytest.mark.parametrize("wheel", ["linear", "exponential"])
def test_a_code_without_a_score_is_no_parent_unless_none_has_one(wheel):
    drawn = slots(np.array([3.0, 1.0, -np.inf]), 8.0, wheel)
    assert drawn[2] == 0 and (drawn[:2] > 0).all()
    np.testing.assert_allclose(slots(np.full(3, -np.inf), 8.0, wheel), 1 / 3)
    if wheel == "linear":
        np.testing.assert_allclose(slots(np.full(3, 2.0), 8.0, wheel), 1 / 3)


def test_a_restored_search_continues_exactly():
    whole = evolve(started(30, seed=2), 20)
    continued = started(30, seed=99)
    continued.restore(evolve(started(30, seed=2), 10).state())
    assert np.array_equal(evolve(continued, 10).codes, whole.codes)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"generator": np.array("{")}, "generator: expected the state of one"),
        ({"generator": np.array('{"bit_generator": "PCG64"}')}, "generator: expected the state of one"),
        ({"generator": np.array('{"bit_generator": "MT19937", "state": {}}')}, "generator: expected the state of one"),
        ({"generator": np.array("[1]")}, "generator: expected the state of one"),
        (
            {"codes": np.zeros((29, 20))},
            r"codes: expected numbers of shape \(30, 20\), found float64 of",
        ),
        ({"scores": np.zeros(29)}, r"scores: expected numbers of shape \(30,\)"),
        ({"scores": np.full(30, np.nan)}, "scores: expected numbers, found nan"),
        ({"moments": np.zeros(3)}, "expected a state of codes, scores, generator, best, best_score, found one of"),
    ],
)
def test_a_state_that_is_damaged_is_refused(change, said):
    with pytest.raises(ValueError, match=said):
        started(30, seed=99).restore({**evolve(started(30, seed=2), 10).state(), **change})


def test_a_state_of_scores_that_are_minus_infinity_is_a_state():
    search = started(3, latent_dim=2)
    search.tell(search.ask(), np.full(3, np.nan))
    twin = started(3, latent_dim=2, seed=1)
    twin.restore(search.state())
    assert np.array_equal(twin.ask(), search.ask())


def test_a_score_that_is_not_a_number_ranks_last():
    search = started(3, latent_dim=2)
    codes = search.ask()
    search.tell(codes, np.array([np.nan, 1.0, 2.0]))
    assert np.array_equal(search.codes[-1], codes[0])


def test_scores_that_are_infinite_leave_the_wheel_as_it_is():
    search = started(4, latent_dim=2)
    search.tell(search.ask(), np.array([-np.inf, 1.0, 2.0, np.inf]))
    np.testing.assert_allclose(slots(search.scores, 8.0, "linear"), [8 / 9, 1 / 9, 0, 0])


@pytest.mark.parametrize(
    "wrong",
    [{"pressure": 1.0}, {"population": 1}, {"elite": 100}, {"mutation": 1.1}, {"pressure": 0}, {"mutations": 0.1}],
    ids=str,
)
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        GeneticSettings(**wrong)


def offspring(mother, father, **settings):
    """Many children of two parents."""
    search = started(2000, latent_dim=len(mother), elite=0, **{"mutation": 0.0, **settings})
    codes = np.array([mother, father] * 1000, np.float32)
    search.codes, search.scores = codes, np.zeros(2000)
    return search.ask()


def test_a_child_takes_each_gene_from_either_parent():
    """Of two different parents, one pair in two: each gene comes from either with equal chance, on its own."""
    children = offspring(np.zeros(8), np.ones(8))
    mixed = children[(children.sum(1) > 0) & (children.sum(1) < 8)]
    assert abs(len(mixed) / len(children) - 0.5 * (1 - 2 / 2**8)) < 4 * np.sqrt(0.25 / len(children))
    assert np.allclose(mixed.mean(0), 0.5, atol=4 * 0.5 / np.sqrt(len(mixed)))
    correlation = np.corrcoef(mixed.T) - np.eye(8)
    assert np.abs(correlation).max() < 0.25  # conditioned on being mixed, genes repel a little


def test_a_reset_gene_is_drawn_from_the_prior():
    children = offspring(np.full(10, 100.0), np.full(10, 100.0), mutation=0.1)
    reset = children[children != 100]
    assert abs(len(reset) / children.size - 0.1) < 4 * np.sqrt(0.09 / children.size)
    assert stats.kstest(reset, "norm").pvalue > 1e-3
    of_a_child = (children != 100).sum(1)  # each gene on its own
    assert stats.chisquare(*_binned(of_a_child, stats.binom(10, 0.1))).pvalue > 1e-3


def _binned(counts, law):
    """How many are 0, 1, 2, 3 and more, and how many are expected."""
    expected = len(counts) * np.append(law.pmf(np.arange(3)), law.sf(2))
    return np.bincount(np.minimum(counts, 3), minlength=4), expected


def test_the_default_settings_are_those_of_the_paper():
    settings = GeneticSettings()
    assert (settings.population, settings.pressure, settings.mutation) == (100, 8.0, 0.01)
    assert settings.wheel == "linear"


def test_without_an_elite_the_best_that_was_met_is_not_forgotten():
    search = GeneticSettings(population=10, elite=0).start(3, 0)
    first = search.ask()
    search.tell(first, np.arange(10.0))
    search.tell(search.ask(), np.zeros(10))
    assert search.result().scores[0] == 9.0
    np.testing.assert_array_equal(search.result().codes[0], first[9])
