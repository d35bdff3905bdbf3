import math

import numpy as np
import pandas as pd
import pytest

from nets.collapse import beta_ladder, bracket, crossing, interval, scan, threshold


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


def branches(diverse, collapsed, beta=1e-3):
    """Stages whose models have a reconstruction, a KL and an energy, of each branch."""
    rows = [(*model, False) for model in diverse] + [(*model, True) for model in collapsed]
    names = ["validation_reconstruction", "validation_kl", "validation_energy", "collapsed"]
    return pd.DataFrame(rows, columns=names).assign(beta=beta)


def test_losses_cross_where_their_difference_of_level_is_that_of_their_energies():
    """RC + beta KL of 0.03 + 0.04 against 0.48, energies -0.2208 against -0.2233: 164 by hand."""
    stages = branches([(0.03, 40.0, -0.2208)], [(0.48, 0.0, -0.2233)])
    assert crossing(stages) == pytest.approx(0.41 / 0.0025)


def test_each_branch_is_the_lower_envelope_of_its_models():
    """A worse model of either branch changes nothing; a better one moves the crossing."""
    best = branches([(0.03, 40.0, -0.2208)], [(0.48, 0.0, -0.2233)])
    worse = branches([(0.03, 40.0, -0.2208), (0.05, 60.0, -0.2200)], [(0.48, 0.0, -0.2233), (0.49, 0.0, -0.2225)])
    assert crossing(worse) == pytest.approx(crossing(best))
    trained = branches([(0.03, 40.0, -0.2208), (0.05, 50.0, -0.2215)], [(0.48, 0.0, -0.2233)])
    assert crossing(trained) == pytest.approx(0.38 / 0.0018)


@pytest.mark.parametrize(
    ("diverse", "collapsed", "expected"),
    [
        ([], [(0.48, 0.0, -0.2233)], math.nan),
        ([(0.03, 40.0, -0.2208)], [], math.nan),
        ([(0.03, 40.0, -0.2233)], [(0.48, 0.0, -0.2208)], math.nan),
        ([(0.60, 40.0, -0.2208)], [(0.48, 0.0, -0.2233)], 0.0),
    ],
)
def test_without_two_branches_that_cross_there_is_no_crossing(diverse, collapsed, expected):
    assert crossing(branches(diverse, collapsed)) == pytest.approx(expected, nan_ok=True)


def test_an_interval_of_logarithms_holds_its_middle_95_times_in_100():
    rng = np.random.default_rng(0)
    held = [low < 100 < high for _, low, high in (interval(100 * np.exp(rng.normal(size=5))) for _ in range(2000))]
    assert np.mean(held) == pytest.approx(0.95, abs=4 * (0.95 * 0.05 / 2000) ** 0.5)
    assert interval([200.0, 50.0, math.nan])[0] == pytest.approx(100)
    assert interval([200.0])[0] == pytest.approx(200) and math.isnan(interval([200.0])[1])
