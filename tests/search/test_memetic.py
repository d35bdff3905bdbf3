import numpy as np

from search.gradient import GradientSettings
from search.memetic import MemeticSettings


def wells(z):
    """Many maxima, the highest at 2 in every component, and their slopes."""
    return -np.square(z - 2).sum(1) + 4 * np.cos(6 * (z - 2)).sum(1), -2 * (z - 2) - 24 * np.sin(6 * (z - 2))


def climbed(settings, iterations=300):
    search = settings.start(8, 0)
    for _ in range(iterations):
        codes = search.ask()
        search.tell(codes, *wells(codes))
    return search.result()


def test_selection_leaves_the_maxima_where_gradients_alone_end():
    memetic = climbed(MemeticSettings(population=32, learning_rate=0.05))
    alone = climbed(GradientSettings(population=32, learning_rate=0.05))
    assert memetic.scores[0] > alone.scores[0] + 3  # a maximum lies some 1 below the next


def test_the_better_ones_are_not_replaced():
    search = MemeticSettings(population=10, generation=3, replaced=0.4, learning_rate=0.01).start(8, 0)
    for iteration in range(1, 13):
        before, codes = search.result(), search.ask()
        search.tell(codes, *wells(codes))
        if iteration % 3 == 0:
            assert len(search.result().scores) == 6
            assert search.result().scores[0] >= before.scores[0]


def test_children_are_of_the_better_ones_and_of_the_prior():
    """Without mutation every gene of a child is one of a code that was kept or replaced."""
    search = MemeticSettings(population=10, generation=1, mutation=0.0, learning_rate=1e-6).start(8, 0)
    parents = search.ask()
    search.tell(parents, *wells(parents))
    children = search.ask()
    assert np.isclose(children[:, None], parents[None], atol=1e-4).any(1).all()
    assert (~np.isclose(children[:, None], parents[None], atol=1e-4).all(2).any(1)).sum() > 0


def selected(pressure=1000.0):
    """Codes of the first iteration, and a search after its first selection; the best scores were those of the first."""
    settings = MemeticSettings(population=10, generation=2, mutation=0.0, learning_rate=0.5, pressure=pressure)
    search = settings.start(8, 0)
    first = search.ask()
    for height in (1.0, 0.0):
        search.tell(search.ask(), height + 0.01 * np.arange(10), np.ones((10, 8)))
    return first, search


def test_parents_are_the_best_with_the_code_at_which_they_had_their_score():
    first, search = selected()
    np.testing.assert_array_equal(search.ask()[:5], np.broadcast_to(first[9], (5, 8)))
    assert len(np.unique(selected(pressure=1e-9)[1].ask()[:5], axis=0)) > 1


def test_a_child_starts_adam_anew():
    _, search = selected()
    before = search.ask()
    search.tell(before, np.zeros(10), -np.ones((10, 8)))
    step = search.ask() - before
    np.testing.assert_allclose(step[:5], -0.5, rtol=1e-5)
    assert (np.abs(step[5:] + 0.5) > 0.1).all()
