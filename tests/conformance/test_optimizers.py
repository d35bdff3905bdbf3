import io

import numpy as np
import pytest
import torch

from search.gradient import with_gradient
from search.optimizer import OPTIMIZERS, advance

LATENT = 5
TARGET = torch.linspace(-1, 1, LATENT)


@pytest.fixture
def evaluate(optimizer):
    """Scores with their maximum at the target, and as observables the first components; and their gradients."""
    observed = len(optimizer.observables)

    def score(z):
        scores = -(z - TARGET).square().sum(1)
        return torch.cat((scores[:, None], z[:, :observed]), 1) if observed else scores

    return with_gradient(score)


@pytest.fixture
def run(evaluate):
    """A search goes on; every score that it was told."""
    return lambda search, iterations: np.concatenate(
        [first_column(advance(search, evaluate)) for _ in range(iterations)]
    )


def first_column(scores):
    return scores[:, 0] if scores.ndim == 2 else scores


def through_a_file(state):
    file = io.BytesIO()
    np.savez(file, **state)
    file.seek(0)
    with np.load(file, allow_pickle=False) as arrays:
        return dict(arrays)


def test_its_settings_survive_every_way_of_writing_them(optimizer, check_settings):
    check_settings(OPTIMIZERS, optimizer)


def test_codes_are_finite_and_a_function_of_the_seed(optimizer, evaluate):
    searches = [optimizer.start(LATENT, seed) for seed in (1, 1, 2)]
    for _ in range(3):
        codes, again, other = (search.ask() for search in searches)
        assert codes.dtype == np.float32 and codes.ndim == 2 and codes.shape[1] == LATENT
        assert np.isfinite(codes).all()
        assert np.array_equal(codes, again)
        assert not np.array_equal(codes, other)
        for search, asked in zip(searches, (codes, again, other), strict=True):
            search.tell(asked, *evaluate(asked))


@pytest.mark.parametrize("iterations", [0, 3])
def test_a_search_restored_from_a_file_continues_exactly(optimizer, iterations, run):
    whole, half, continued = (optimizer.start(LATENT, seed) for seed in (1, 1, 2))
    if iterations:
        run(whole, iterations)
        run(half, iterations)
    continued.restore(through_a_file(half.state()))
    assert np.array_equal(run(whole, 4), run(continued, 4))
    for a, b in zip(whole.result(), continued.result(), strict=True):
        assert np.array_equal(a, b)


def test_a_state_is_kept_as_it_was(optimizer, run):
    search, twin = optimizer.start(LATENT, 1), optimizer.start(LATENT, 2)
    run(search, 3)
    state = search.state()
    kept = through_a_file(state)
    twin.restore(state)
    run(search, 2)
    run(twin, 2)
    assert all(np.array_equal(state[name], kept[name]) for name in kept)


def test_the_result_is_sorted_and_holds_the_best_that_was_told(optimizer, run, evaluate):
    search = optimizer.start(LATENT, 1)
    told = run(search, 20)
    codes, scores = search.result()
    assert codes.shape == (len(scores), LATENT) and codes.dtype == np.float32
    assert (np.diff(scores) <= 0).all()
    assert scores[0] == pytest.approx(told.max(), rel=1e-6)
    np.testing.assert_allclose(first_column(evaluate(codes)[0]), scores, rtol=1e-5)


def test_it_improves(optimizer, run, evaluate):
    search = optimizer.start(LATENT, 1)
    first = first_column(advance(search, evaluate)).max()
    run(search, 60)
    assert search.result().scores[0] > 0.8 * first  # scores are negative


@pytest.mark.parametrize("other", [np.nan, np.inf, -np.inf])
def test_scores_that_are_not_finite_rank_last_and_do_no_harm(optimizer, evaluate, other):
    def half_of_space(codes):
        scores, slopes = evaluate(codes)
        bad = codes[:, 0] > 0
        return np.where(bad, other, scores.T).T, np.where(bad, np.nan, slopes.T).T

    search = optimizer.start(LATENT, 1)
    told = np.concatenate([first_column(advance(search, half_of_space)) for _ in range(5)])
    finite = np.isfinite(told)
    assert finite.any() and not finite.all()
    assert np.isfinite(search.ask()).all()
    assert search.result().scores[0] == pytest.approx(told[finite].max(), rel=1e-6)


def without(state, name):
    return {key: value for key, value in state.items() if key != name}


def test_a_state_of_another_search_is_refused(optimizer, run):
    search, other = optimizer.start(LATENT, 1), optimizer.start(LATENT + 1, 1)
    run(search, 2)
    with pytest.raises(ValueError):
        other.restore(search.state())
    for name in search.state():
        with pytest.raises(ValueError):
            optimizer.start(LATENT, 1).restore(without(search.state(), name))
    with pytest.raises(ValueError):
        optimizer.start(LATENT, 1).restore({})


DAMAGES = {
    "another shape": lambda array: array[None],
    "one number": lambda array: np.zeros(()) if array.ndim else np.zeros(3),
    "text": lambda array: np.array("nonsense"),
    "objects": lambda array: np.array([{}, None], object),
    "complex": lambda array: array.astype(complex),
    "no numbers": lambda array: np.full(array.shape, np.nan),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_state_is_refused_in_one_line_and_changes_nothing(optimizer, damage, run):
    search, state = optimizer.start(LATENT, 1), None
    run(search, 3)
    state, asked = search.state(), optimizer.start(LATENT, 2).ask()
    for name, array in state.items():
        if array.dtype.kind == "U" and damage == "complex":
            continue
        fresh = optimizer.start(LATENT, 2)
        with pytest.raises(ValueError) as error:
            fresh.restore({**state, name: DAMAGES[damage](array)})
        assert len(str(error.value).splitlines()) == 1
        assert np.array_equal(fresh.ask(), asked)
