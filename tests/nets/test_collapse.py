import math

import pandas as pd
import pytest

from nets.collapse import beta_ladder, bracket, scan, threshold


def drive(threshold, gammas=(1, 10, 100, 1000), refine=2):
    """Stages of a scan whose models collapse above ``threshold``."""
    chain = scan(1e-3, 1e-5, gammas, refine)
    stages = [next(chain)]
    while True:
        try:
            stages.append(chain.send(stages[-1].gamma > threshold))
        except StopIteration:
            return stages


@pytest.mark.parametrize(
    ("beta", "ladder"),
    [(1e-3, [1e-6, 1e-5, 1e-4, 1e-3]), (3e-5, [1e-6, 1e-5, 3e-5]), (1e-6, [1e-6])],
)
def test_beta_rises_by_decades_to_its_value(beta, ladder):
    assert beta_ladder(beta, 1e-6) == pytest.approx(ladder)


@pytest.mark.parametrize(
    ("collapsed", "expected"),
    [
        ([False, False, True, True], (10, 100)),
        ([False, True, False, True], (1, 10)),
        ([True, False, True, True], (10, 100)),
        ([False] * 4, None),
        ([True] * 4, None),
    ],
)
def test_bracket_is_the_first_fall_from_diverse_to_collapsed(collapsed, expected):
    assert bracket([1, 10, 100, 1000], collapsed) == expected


def test_scan_goes_up_and_then_halves_the_bracket():
    stages = drive(threshold=40)
    assert [stage.gamma for stage in stages[:7]] == [0, 0, 0, 1, 10, 100, 1000]
    assert [stage.parent for stage in stages[:7]] == [None, 0, 1, 2, 3, 4, 5]
    below = [s.gamma for s in stages if s.gamma <= 40]
    above = [s.gamma for s in stages if s.gamma > 40]
    assert min(above) / max(below) == pytest.approx(10 ** (1 / 4), rel=1e-3)
    for stage in stages[7:]:
        parent = stages[stage.parent]
        assert parent.gamma < 40 and parent.gamma < stage.gamma


def test_without_a_collapse_nothing_is_refined():
    assert len(drive(threshold=1e9)) == 7


def test_below_a_smallest_gamma_that_collapses_the_scan_goes_down_by_decades():
    stages = drive(threshold=0.05, refine=3)
    assert [stage.gamma for stage in stages[7:]] == [0.1, 0.01, pytest.approx(0.03162, rel=1e-3)]
    assert [stage.parent for stage in stages[7:]] == [2, 2, 8]


def test_where_the_smallest_gamma_collapses_gamma_c_is_only_bounded_from_above():
    stages = pd.DataFrame(
        {"gamma": [0.0, 1.0, 10.0], "collapsed": [False, True, True], "kspace_mse": 1.0, "energy_mean": -0.2}
    )
    found = threshold(stages)
    assert math.isnan(found["gamma_c"])
    assert (found["gamma_lower"], found["gamma_upper"]) == (0.0, 1.0)
