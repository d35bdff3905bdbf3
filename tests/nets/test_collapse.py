import pytest

from nets.collapse import beta_ladder, bracket, scan


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


@pytest.mark.parametrize("threshold", [0.0, 1e9])
def test_without_a_bracket_nothing_is_refined(threshold):
    assert len(drive(threshold)) == 7
