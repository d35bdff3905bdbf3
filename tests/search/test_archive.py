import numpy as np
import pandas as pd
import pytest

from search.archive import ArchiveSettings

BOUNDS = ((-2.0, 2.0), (-2.0, 2.0))


def told(codes):
    """Score minus the length of the rest of the code; the observables are the first two components."""
    rest = np.square(codes[:, 2:]).sum(1)
    values = np.stack((-rest, codes[:, 0], codes[:, 1]), 1)
    slopes = np.zeros((len(codes), 3, codes.shape[1]))
    slopes[:, 0, 2:] = -2 * codes[:, 2:]
    slopes[:, 1, 0] = slopes[:, 2, 1] = 1
    return values, slopes


def searched(iterations, **settings):
    search = ArchiveSettings(bounds=BOUNDS, cells=10, **settings).start(6, 0)
    for _ in range(iterations):
        codes = search.ask()
        search.tell(codes, *told(codes))
    return search


def test_every_cell_is_filled_with_the_best_that_was_there():
    search = searched(150)
    assert len(search.cells) == 100 and (np.diff(search.cells) > 0).all()
    column, row = search.cells % 10, search.cells // 10
    np.testing.assert_array_equal(column, np.floor((search.codes[:, 0] + 2) / 0.4).clip(0, 9))
    np.testing.assert_array_equal(row, np.floor((search.codes[:, 1] + 2) / 0.4).clip(0, 9))
    assert search.values[:, 0].mean() > -0.3  # a code of the prior has -4


@pytest.mark.parametrize("without", [{"gradient": 1e-9}, {"isotropic": 1e-9, "line": 1e-9}], ids=str)
def test_both_kinds_of_steps_fill_the_map(without):
    start, end = searched(1, **without), searched(60, **without)
    assert len(end.cells) > 1.3 * len(start.cells)
    assert end.values[:, 0].max() > start.values[:, 0].max()


def steps(codes, gradients, **settings):
    """Where many codes go from the only ones of an archive, along lines and along gradients, ``(5000, d)`` each."""
    search = ArchiveSettings(bounds=BOUNDS, cells=10, population=10_000, **settings).start(codes.shape[1], 0)
    values = np.concatenate((np.zeros((len(codes), 1)), codes[:, :2]), 1)
    search.tell(codes.astype(np.float32), values, np.broadcast_to(gradients, (len(codes), *gradients.shape)))
    assert len(search.cells) == len(codes)
    asked = search.ask()
    return np.split(asked, 2)


def test_climbs_begin_along_the_gradients_of_score_and_observables():
    gradients = np.zeros((3, 6))
    gradients[0, 2], gradients[1, 0], gradients[2, 1] = 30.0, 1e-3, -1.0
    _, climbs = steps(np.zeros((1, 6)), gradients, gradient=0.1)
    assert (climbs[:, 3:] == 0).all()
    np.testing.assert_allclose(np.square(climbs).mean(0)[:3], 6 * 0.1**2, rtol=0.1)  # whatever the gradients' lengths


def test_a_climb_goes_on_where_it_brought_something_and_else_begins_anew():
    search = ArchiveSettings(bounds=BOUNDS, cells=10, population=32, gradient=1e-6).start(6, 0)
    begun = np.zeros((32, 6), np.float32)
    search.tell(begun, *told(begun))
    codes = search.ask()
    codes[:] = 5.0  # beside the map, but one of the second climb
    codes[-3], codes[-5] = 0.9, 0.5
    search.tell(codes, *told(codes))
    first, second = np.split(search.ask()[16:], 2)
    np.testing.assert_allclose(second, np.broadcast_to(codes[-5], (8, 6)), atol=1e-4)  # both fill a cell, the better
    elites = np.abs(first[0] - search.codes).max(1)
    assert elites.min() < 1e-4 and np.abs(first - first[0]).max() < 1e-4


def test_lines_lead_to_the_other_code_and_around():
    codes = np.array([[1.0, -1, 0, 0, 0, 0], [1.0, 1, 0, 0, 0, 0]])
    lines, _ = steps(codes, np.zeros((3, 6)), isotropic=0.01, line=0.2)
    around = np.delete(lines - codes[0], 1, 1)
    assert np.abs(around.mean()) < 1e-3 and around.std() == pytest.approx(0.01, rel=0.1)
    along = np.abs(lines[:, 1]) - 1  # of half of them the other code is another
    assert np.square(along).mean() == pytest.approx(0.5 * (0.2 * 2) ** 2 + 0.01**2, rel=0.1)


def test_a_cell_keeps_its_code_unless_a_better_one_comes():
    search = searched(1)
    first = dict(zip(search.cells.tolist(), search.values[:, 0], strict=True))
    for _ in range(20):
        codes = search.ask()
        search.tell(codes, *told(codes))
        now = dict(zip(search.cells.tolist(), search.values[:, 0], strict=True))
        assert all(now[cell] >= score for cell, score in first.items())
        first = now


def test_what_lies_beside_the_map_is_not_kept():
    search = searched(1)
    cells = search.cells
    beside = np.full_like(search.ask(), 5.0)
    search.tell(beside, *told(beside))
    assert np.array_equal(search.cells, cells)


def test_before_a_state_lies_on_the_map_codes_are_of_the_prior():
    search = ArchiveSettings(bounds=BOUNDS, cells=10).start(6, 0)
    for _ in range(3):
        codes = search.ask()
        search.tell(codes, *told(np.full_like(codes, 5.0)))
        assert len(search.result().codes) == 0
    assert np.std(search.ask()) == pytest.approx(1, abs=0.2)


def test_its_map_reaches_past_the_data():
    data = {"mz": pd.Series([-0.1, 0.1]), "energy": pd.Series([-0.17, -0.16])}
    settings = ArchiveSettings().over(data)
    np.testing.assert_allclose(settings.bounds, [[-0.3, 0.3], [-0.18, -0.15]])
    assert ArchiveSettings(bounds=BOUNDS).over(data).bounds == BOUNDS


@pytest.mark.parametrize("wrong", [{"bounds": [[1, 0], [0, 1]]}, {"axes": ["mz", "mz"]}, {"cells": 1}], ids=str)
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ArchiveSettings(**wrong)
