import math

import numpy as np
import pytest
import torch

from nets.layers import unit_spins
from nets.metrics import (
    METRICS,
    NOISE,
    Measured,
    active_units,
    adagan_coverage,
    authenticity,
    diversity_error,
    ensemble,
    ensemble_figures,
    features,
    judge,
    measure,
    neighbour_metrics,
    noisy,
    prior_reconstruction,
    scaled,
    structure_features,
    wave_reach,
)
from physics.chiral import ChiralMagnet
from physics.observables import kspace_mse, magnetization, nodal_points, topological_charge
from physics.textures import spiral, spiral_energy
from physics.xy import XY

H = ChiralMagnet(D=0.5)


def spins(n, seed=0, L=16):
    return unit_spins(torch.randn(n, 3, L, L, generator=torch.Generator().manual_seed(seed)))


def test_features_are_those_of_a_state_and_all_its_translates():
    x = spins(3)
    found, moved = (features(state, H) for state in (x, torch.roll(x, (3, 5), (2, 3))))
    assert list(found) == ["structure", "energy", "chirality"]
    for kind, values in found.items():
        torch.testing.assert_close(moved[kind], values, rtol=1e-4, atol=1e-5)
        assert not torch.allclose(values[:1], values[1:2], atol=1e-3)
    assert list(features(spins(3)[:, :2], XY())) == ["structure", "energy"]


def test_structure_is_taken_of_one_of_each_pair_of_waves():
    lone = torch.zeros(1, 3, 16, 16)
    lone[0, 2] = 0.5 + 0.5 * torch.cos(2 * torch.pi * 2 * torch.arange(16) / 16)
    found = structure_features(H.structure_factor(lone), 7)
    assert found.shape == (1, 7 * 15 + 7)
    assert (found > 1).sum() == 1
    assert found.max() == pytest.approx(16 / 4)


def test_structure_of_many_waves_is_summed_into_cells():
    """Of 40 steps each way 16 cells are left, which hold what the steps held but those nearest to k = 0."""
    structure = torch.rand(2, 128, 128, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    structure = structure + structure.flip(-2, -1).roll((1, 1), (-2, -1))  # of a real field, S(k) = S(-k)
    found = structure_features(structure, 40)
    assert found.shape == (2, 16 * 33 + 16)
    inside = structure.roll((40, 40), (-2, -1))[:, :81, :81]
    middle = inside[:, 39:42, 39:42].sum((-2, -1))
    torch.testing.assert_close(2 * found.square().sum(1), inside.sum((-2, -1)) - middle)


@pytest.mark.parametrize(
    ("D", "L", "steps"), [(0.3, 128, 15), (0.6, 64, 14), (0.6, 32, 7), (0.6, 8, 2), (1e-3, 32, 1), (2.0, 8, 3)]
)
def test_the_structure_reaches_as_many_wave_numbers_on_every_lattice(D, L, steps):
    assert wave_reach(ChiralMagnet(D=D), L) == steps
    assert wave_reach(XY(), 32) == 8
    assert wave_reach(XY(), 16) == 7


def test_each_kind_of_feature_is_in_units_of_what_the_reference_has():
    state = torch.from_numpy(spiral(H, 16, 2, 1)).float()
    reference = features(torch.stack((state, torch.rot90(state, 1, (1, 2)), *spins(2))), H)
    found = scaled(reference, reference)
    kinds = dict(zip(reference, found.split([part.shape[1] for part in reference.values()], 1), strict=True))
    for part in kinds.values():
        assert part.square().sum(1).mean().item() == pytest.approx(1)
    assert scaled({kind: 2 * part for kind, part in reference.items()}, reference).allclose(2 * found)


def test_energy_and_chirality_of_a_spiral_are_features_by_their_exact_values():
    state = torch.from_numpy(spiral(H, 16, 2, 0)).float()
    found = features(state[None], H)
    assert found["energy"][0].tolist() == pytest.approx([spiral_energy(H, 16, 2, 0), 0], abs=1e-5)
    assert found["chirality"][0].tolist() == pytest.approx([math.sin(math.pi / 4), 0], abs=1e-5)
    mirrored = features(state[None] * torch.tensor([-1.0, -1.0, 1.0])[:, None, None], H)
    assert mirrored["chirality"][0, 0].item() == pytest.approx(-math.sin(math.pi / 4), abs=1e-5)
    torch.testing.assert_close(mirrored["structure"], found["structure"])


def test_sites_that_do_not_exist_count_for_nothing():
    mask = np.ones((16, 16), bool)
    mask[:, 8:] = False
    half = ChiralMagnet(D=0.5, mask=mask, boundary="open")
    up = half.on_sites(torch.tensor([0.0, 0.0, 1.0])[:, None, None].expand(1, 3, 16, 16))
    for kind in ("energy", "chirality"):
        assert features(up, half)[kind].abs().max() < 1e-6
    found = features(half.on_sites(spins(4)), half)
    torch.testing.assert_close(found["energy"][:, 0], half.energy(spins(4)), rtol=1e-4, atol=1e-5)


def test_noise_is_of_the_stated_size_and_leaves_unit_spins():
    up = torch.tensor([0.0, 0.0, 1.0])[:, None, None].expand(50, 3, 16, 16)
    found = noisy(up, H, torch.Generator().manual_seed(0))
    torch.testing.assert_close(found.norm(dim=1), torch.ones(50, 16, 16))
    assert found[:, :2].std().item() == pytest.approx(NOISE, rel=0.03)


def points(n, centre=0.0, seed=0, d=3):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed)) + centre


def test_neighbour_metrics_by_hand():
    """On a line, k = 1: real balls of radius 1, 1, 9 and generated balls of 0.7, 0.7, 18.8."""
    real, generated = torch.tensor([[0.0], [1.0], [10.0]]), torch.tensor([[0.5], [1.2], [20.0]])
    found = neighbour_metrics(real, generated, k=1)
    assert found["precision"] == pytest.approx(2 / 3)  # 20 is 10 from 10
    assert found["recall"] == pytest.approx(1)
    assert found["density"] == pytest.approx((2 + 2 + 0) / 3)
    assert found["coverage"] == pytest.approx(1)


def test_neighbour_metrics_of_the_same_distribution_and_of_another():
    same = neighbour_metrics(points(500), points(500, seed=1))
    assert min(same.values()) > 0.85
    far = neighbour_metrics(points(500), points(500, centre=20.0, seed=1))
    assert max(far.values()) == 0
    one_state = neighbour_metrics(points(500), 0.01 * points(500, seed=1))
    assert one_state["precision"] == 1
    assert one_state["recall"] < 0.05
    assert one_state["coverage"] < 0.2
    with pytest.raises(ValueError, match="more than k = 5 points, found 5"):
        neighbour_metrics(points(5), points(50))


def test_adagan_coverage_is_the_mass_for_one_distribution_and_falls_with_a_mode():
    model, held_out = points(2000), points(2000, seed=1)
    same = adagan_coverage(points(2000, seed=2), model, held_out)
    assert abs(same - 0.95) < 0.02
    two = torch.cat((points(1000, seed=2), points(1000, centre=15.0, seed=3)))
    assert adagan_coverage(two, model, held_out) == pytest.approx(same / 2, abs=0.02)
    assert adagan_coverage(points(2000, seed=2), 0.1 * model, 0.1 * held_out) < 0.1


def test_authenticity_by_hand_and_of_copies():
    """On a line: 0.4 is nearer to 0 than 1 is, 2.5 is farther from 1 than 0 is, and 11 from 10 nearer than 1 is."""
    training = torch.tensor([[0.0], [1.0], [10.0]])
    assert authenticity(training, torch.tensor([[0.4], [2.5], [11.0]])) == pytest.approx(1 / 3)
    assert authenticity(points(500), points(500)[:100]) == 0
    assert authenticity(points(500), points(100, centre=20.0)) == 1
    assert 0.4 < authenticity(points(2000), points(1000, seed=1)) < 0.65


def test_figures_of_one_state_repeated():
    state = torch.from_numpy(spiral(H, 32, 2, 0)).float().expand(4, 3, 32, 32)
    figures = ensemble(state, H)
    assert figures["kspace_mse"] == pytest.approx(0, abs=1e-9)
    assert figures["mz_mean"] == pytest.approx(0, abs=1e-6)
    assert figures["nodal_points"] == 0
    assert list(figures) == ensemble_figures(H)


def test_a_row_is_measured_of_each_configuration():
    x = spins(5)
    columns = measure(x, H)
    expected = {
        "energy": H.energy(x),
        "mz": magnetization(x)[:, 2],
        "topological_charge": topological_charge(x, H),
        "nodal_points": nodal_points(x, H).sum((-2, -1)),
    }
    assert list(columns) == list(expected)
    for name, values in expected.items():
        assert columns[name].tolist() == values.tolist()


def test_adagan_coverage_takes_its_threshold_from_the_half_that_did_not_make_the_density():
    """On its own points a density is all peaks: the same half for both would leave the data uncovered."""
    real, generated = Measured.of(spins(80), H), Measured.of(spins(80, seed=1), H)
    row = judge(generated, real, real.features, H)
    known, found = (scaled(part.features, real.features) for part in (real, generated))
    half, rest = found[:40], found[40:]
    assert row["adagan_coverage"] == adagan_coverage(known, half, rest)
    assert adagan_coverage(known, half, half) < 0.1 < 0.5 < row["adagan_coverage"]


def test_more_samples_than_held_out_data_change_no_distance():
    real, made = Measured.of(spins(40), H), spins(60, seed=1)
    few, many = (judge(Measured.of(part, H), real, real.features, H) for part in (made[:40], made))
    assert all(few[key] == pytest.approx(many[key]) for key in METRICS)
    assert few["energy"] != many["energy"]


def test_what_is_measured_in_parts_is_judged_as_the_whole():
    real, generated = spins(40), spins(24, seed=1)
    whole = Measured.of(generated, H)
    parts = Measured.joined([Measured.of(part, H) for part in generated.split(10)])
    assert parts.columns.index.tolist() == list(range(24))
    row, again = (judge(measured, Measured.of(real, H), features(real, H), H) for measured in (whole, parts))
    assert row == pytest.approx(again, rel=1e-5)
    figures = ensemble(generated, H)
    assert row["energy"] == pytest.approx(figures["energy_mean"], rel=1e-5)
    assert row["energy_std"] == pytest.approx(figures["energy_std"], rel=1e-4)
    assert row["nodal_points"] == pytest.approx(figures["nodal_points"])
    assert row["kspace_mse"] == pytest.approx(figures["kspace_mse"], rel=1e-4)
    assert row["data_energy"] == pytest.approx(H.energy(real).mean().item(), rel=1e-5)
    assert judge(Measured.of(real, H), Measured.of(real, H), features(real, H), H)["coverage"] == 1


def test_a_unit_is_active_where_its_mean_varies_over_the_data():
    rng = torch.Generator().manual_seed(0)
    means = torch.randn(1000, 6, generator=rng) * torch.tensor([1.0, 0.5, 0.2, 0.05, 0.01, 0.0])
    assert active_units(means + 3.0) == 3


def test_a_decoder_that_ignores_its_code_is_compared_with_every_configuration():
    made, data = spins(5), spins(7, seed=1)
    pairs = (made[:, None] - data).square().mean()
    assert prior_reconstruction(made, data) == pytest.approx(pairs.item(), rel=1e-6)


def test_the_error_of_the_diversity_is_how_it_scatters_over_ensembles():
    rng = torch.Generator().manual_seed(0)
    ensembles = torch.rand(400, 50, 4, 4, generator=rng)
    scatter = np.std([kspace_mse(structure).item() for structure in ensembles])
    errors = [diversity_error(structure) for structure in ensembles]
    assert np.mean(errors) == pytest.approx(scatter, rel=4 / np.sqrt(2 * 400))
