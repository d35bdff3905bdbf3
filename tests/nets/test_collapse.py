import math

import numpy as np
import pandas as pd
import pytest

from nets.collapse import (
    Outcome,
    Stage,
    beta_ladder,
    bracket,
    crossing,
    directions,
    interval,
    posterior_scan,
    regime,
    scan,
    scan_length,
    threshold,
)

LEVEL, SLOPE = (0.07, 0.48), (-0.2200, -0.2230)  # of the diverse and of the collapsed branch; they cross at 136.67
CROSSING = (LEVEL[1] - LEVEL[0]) / (SLOPE[0] - SLOPE[1])


def drive(falls, comes_back=0.0, gammas=(1, 10, 100, 1000), refine=0, **ways):
    """Stages of a scan, each with whether its model had collapsed.

    A diverse model collapses above ``falls``, a collapsed one comes back below ``comes_back``.
    """
    chain = scan(1e-3, 1e-5, gammas, refine, **ways)
    made, stage = [], next(chain)
    while True:
        before = stage.parent is not None and made[stage.parent][1]
        fallen = stage.gamma > (comes_back if before else falls)
        made.append((stage, fallen))
        try:
            stage = chain.send(Outcome("hamiltonian collapse" if fallen else "diverse", LEVEL[fallen], SLOPE[fallen]))
        except StopIteration:
            return made


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


def test_gamma_rises_until_two_stages_in_a_row_have_collapsed():
    made = drive(falls=5, gammas=(1, 10, 100, 1000, 10000))
    assert [stage.beta for stage, _ in made] == pytest.approx([1e-5, 1e-4, 1e-3, 1e-3, 1e-3, 1e-3])
    assert [stage.gamma for stage, _ in made] == [0, 0, 0, 1, 10, 100]
    assert [stage.parent for stage, _ in made] == [None, 0, 1, 2, 3, 4]


def test_both_branches_are_measured_where_their_losses_cross():
    made = drive(falls=500, comes_back=50, refine=4)
    refined = [(stage, made[stage.parent]) for stage, _ in made[7:]]
    assert [stage.gamma for stage, _ in refined] == [pytest.approx(CROSSING, rel=1e-3)] * 2
    assert [(before.gamma, fallen) for _, (before, fallen) in refined] == [(0, False), (1000, True)]
    assert all(stage.slow for stage, _ in refined)


@pytest.mark.parametrize(("falls", "comes_back", "expected"), [(30, 5, [True, True]), (500, 400, [False, False])])
def test_a_branch_that_cannot_be_followed_to_the_crossing_is_given_up(falls, comes_back, expected):
    made = drive(falls=falls, comes_back=comes_back, refine=9)
    first = next(n for n, (stage, _) in enumerate(made) if stage.gamma == pytest.approx(CROSSING, rel=1e-3))
    assert [fallen for _, fallen in made[first:]] in (expected, expected[:1])


def test_without_a_collapse_nothing_is_refined():
    assert len(drive(falls=1e9, refine=5)) == 7


def test_a_loop_goes_down_until_the_model_comes_back():
    made = drive(falls=50, comes_back=5, down=True)
    assert [stage.gamma for stage, _ in made[6:]] == [1000, 100, 10, 1]
    assert [stage.parent for stage, _ in made[7:]] == [6, 7, 8]
    assert [fallen for _, fallen in made[6:]] == [True, True, True, False]


def test_cold_starts_have_random_weights_at_every_gamma():
    made = drive(falls=5, cold=True)
    assert [(stage.gamma, stage.parent) for stage, _ in made[6:]] == [(1, None), (10, None), (100, None)]


@pytest.mark.parametrize("falls", [0.5, 5, 50, 1e9])
@pytest.mark.parametrize("ways", [{}, {"down": True}, {"cold": True}, {"down": True, "cold": True}])
def test_a_scan_is_no_longer_than_it_says(falls, ways):
    gammas = (0, 1, 10, 100)
    made = drive(falls, gammas=gammas, refine=3, **ways)
    assert len(made) <= scan_length(1e-3, 1e-5, gammas, 3, **ways)
    assert len(set(made)) == len(made)


def table(made):
    """Of a scan's stages as :func:`nets.collapse.threshold` takes them, at the last beta."""
    rows = [
        {
            "gamma": stage.gamma,
            "beta": stage.beta,
            "model": str(number),
            "parent": None if stage.parent is None else str(stage.parent),
            "regime": "hamiltonian collapse" if fallen else "diverse",
            "kspace_mse": 1e-4 if fallen else 0.1,
            "energy_mean": SLOPE[fallen],
            "validation_reconstruction": LEVEL[fallen],
            "validation_kl": 0.0,
            "validation_energy": SLOPE[fallen],
            "prior_reconstruction": LEVEL[fallen],
        }
        for number, (stage, fallen) in enumerate(made)
    ]
    found = pd.DataFrame(rows)
    return found[found["beta"] == 1e-3]


def test_the_spinodals_are_where_a_scan_up_falls_and_a_scan_down_comes_back():
    found = threshold(table(drive(falls=200, comes_back=20, down=True, cold=True)))
    assert (found["gamma_up_lower"], found["gamma_up_upper"]) == (100, 1000)
    assert (found["gamma_down_lower"], found["gamma_down_upper"]) == (10, 100)
    assert found["gamma_up"] == pytest.approx(10**2.5)
    assert found["gamma_down"] == pytest.approx(10**1.5)
    assert found["gamma_cold"] == pytest.approx(10**2.5)
    assert found["gamma_crossing"] == pytest.approx(CROSSING)
    assert found["mse_fall_in_a_decade"] == pytest.approx(1000)
    assert found["collapsed_energy"] == SLOPE[1]


def test_stages_at_the_crossing_are_no_turn_of_the_scan():
    """The diverse branch is followed down from 1000 and the collapsed one down from 10000; neither has turned."""
    found = threshold(table(drive(falls=2000, gammas=(1, 1000, 10000, 20000), refine=4)))
    assert (found["gamma_up_lower"], found["gamma_up_upper"]) == (1000, 10000)
    assert (found["gamma_down_lower"], found["gamma_down_upper"]) == (0, pytest.approx(CROSSING, rel=1e-3))


def test_a_collapsed_model_followed_upward_has_not_fallen_there():
    """The collapsed branch is measured at 400, 300 and, from there, at 345: gamma_up is still between 300 and 1000."""
    made = [(0, None, False), (300, 0, False), (1000, 1, True), (400, 2, True), (300, 3, True), (345, 4, True)]
    found = threshold(table([(Stage(1e-3, gamma, parent), fallen) for gamma, parent, fallen in made]))
    assert (found["gamma_up_lower"], found["gamma_up_upper"]) == (300, 1000)


def test_a_threshold_below_the_first_stage_is_only_bounded_from_above():
    found = threshold(table(drive(falls=0.5, down=True)))
    assert math.isnan(found["gamma_up"]) and math.isnan(found["gamma_down"])
    assert (found["gamma_up_lower"], found["gamma_up_upper"]) == (0, 1)
    assert (found["gamma_down_lower"], found["gamma_down_upper"]) == (0, 1)


def test_without_a_collapse_there_is_no_threshold():
    found = threshold(table(drive(falls=1e9)))
    assert all(math.isnan(value) for name, value in found.items() if name != "mse_fall_in_a_decade")


def test_a_direction_is_that_of_the_model_before():
    made = drive(falls=50, comes_back=5, down=True, cold=True)
    assert directions(table(made))[1:] == ["up"] * 3 + ["collapsed"] + ["down"] * 3 + ["cold"] * 4


@pytest.mark.parametrize(
    ("diversity", "energy", "active_units", "expected"),
    [
        (0.9, -0.2, 40, "diverse"),
        (0.05, -0.2225, 3, "hamiltonian collapse"),
        (0.05, -0.2225, 0, "hamiltonian collapse"),
        (0.001, -0.2, 0, "posterior collapse"),
        (0.001, -0.19, 90, "far from the prior"),
    ],
)
def test_regimes_are_told_apart_by_what_is_made_of_the_prior(diversity, energy, active_units, expected):
    assert regime(diversity, energy, -0.219, active_units) == expected


def posterior(beta_c, refine, betas=(1e-3, 1e-2, 0.1, 1.0)):
    """Stages of a scan in beta whose posteriors collapse above ``beta_c``."""
    chain = posterior_scan(betas, refine)
    stages = [next(chain)]
    while True:
        try:
            stages.append(chain.send(stages[-1].beta > beta_c))
        except StopIteration:
            return stages


def test_a_scan_in_beta_halves_the_bracket_of_the_posteriors_collapse():
    stages = posterior(0.04, 5)
    betas = [stage.beta for stage in stages]
    assert betas[:4] == [1e-3, 1e-2, 0.1, 1.0]
    below, above = max(b for b in betas if b <= 0.04), min(b for b in betas if b > 0.04)
    assert above / below == pytest.approx(10 ** (1 / 32), rel=1e-2)
    for stage in stages[4:]:
        assert stages[stage.parent].beta == max(b for b in betas[: stages.index(stage)] if b < min(stage.beta, 0.04))


def test_a_scan_in_beta_stops_at_two_dead_posteriors_and_refines_none_without():
    assert [stage.beta for stage in posterior(5e-4, 0)] == [1e-3, 1e-2]
    assert len(posterior(9.0, 5)) == 4


def branches(diverse, collapsed, beta=1e-3):
    """Stages whose models have a reconstruction, a KL and an energy, of each branch."""
    rows = [(*model, "diverse") for model in diverse] + [(*model, "hamiltonian collapse") for model in collapsed]
    names = ["validation_reconstruction", "validation_kl", "validation_energy", "regime"]
    found = pd.DataFrame(rows, columns=names).assign(beta=beta)
    return found.assign(prior_reconstruction=found["validation_reconstruction"], energy_mean=found["validation_energy"])


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


def test_a_decoder_that_ignores_its_code_needs_no_kl():
    stages = branches([(0.03, 40.0, -0.2208)], [(0.48, 300.0, -0.2233)])
    assert crossing(stages) == pytest.approx(0.41 / 0.0025)


def test_a_collapsed_model_counts_by_its_states_from_the_prior():
    """It may follow its input where the encoder sends it, far from the prior: that is no member of the branch."""
    stages = branches([(0.03, 40.0, -0.2208)], [(0.32, 60.0, -0.2231)])
    stages.loc[1, ["prior_reconstruction", "energy_mean"]] = 0.48, -0.2233
    assert crossing(stages) == pytest.approx(0.41 / 0.0025)


def test_models_of_an_older_store_count_by_their_reconstruction():
    stages = branches([(0.03, 40.0, -0.2208)], [(0.48, 300.0, -0.2233)])
    assert crossing(stages.drop(columns="prior_reconstruction")) == pytest.approx(0.41 / 0.0025)


def test_the_collapsed_branch_of_other_seeds_counts():
    own = branches([(0.03, 40.0, -0.2208)], [(0.48, 0.0, -0.2225)])
    other = branches([(0.02, 20.0, -0.2215)], [(0.48, 0.0, -0.2233)])
    assert crossing(own) == pytest.approx(0.41 / 0.0017)
    assert crossing(own, pd.concat((own, other))) == pytest.approx(0.41 / 0.0025)


def test_models_of_a_collapsed_posterior_belong_to_neither_branch():
    stages = branches([(0.03, 40.0, -0.2208), (0.06, 0.0, -0.2230)], [(0.48, 0.0, -0.2233)])
    stages.loc[1, "regime"] = "posterior collapse"
    assert crossing(stages) == pytest.approx(0.41 / 0.0025)


def test_an_interval_of_logarithms_holds_its_middle_95_times_in_100():
    rng = np.random.default_rng(0)
    held = [low < 100 < high for _, low, high in (interval(100 * np.exp(rng.normal(size=5))) for _ in range(2000))]
    assert np.mean(held) == pytest.approx(0.95, abs=4 * (0.95 * 0.05 / 2000) ** 0.5)
    assert interval([200.0, 50.0, math.nan])[0] == pytest.approx(100)
    assert interval([200.0])[0] == pytest.approx(200) and math.isnan(interval([200.0])[1])
