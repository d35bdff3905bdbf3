import numpy as np
import pytest
import torch

from nets.layers import unit_spins
from nets.metrics import (
    Measured,
    active_units,
    adagan_coverage,
    diversity_error,
    ensemble,
    ensemble_figures,
    features,
    judge,
    measure,
    neighbour_metrics,
    prior_reconstruction,
)
from physics.chiral import ChiralMagnet
from physics.observables import kspace_mse, magnetization, nodal_points, topological_charge
from physics.textures import spiral

H = ChiralMagnet(D=0.5)


def spins(n, seed=0, L=16):
    return unit_spins(torch.randn(n, 3, L, L, generator=torch.Generator().manual_seed(seed)))


def test_features_are_those_of_a_state_and_all_its_translates():
    x = spins(3)
    found, moved = (features(H.structure_factor(state)) for state in (x, torch.roll(x, (3, 5), (2, 3))))
    torch.testing.assert_close(moved, found, rtol=1e-4, atol=1e-5)
    assert found.shape == (3, 7 * 15 + 7)
    assert not torch.allclose(found[:1], found[1:2], atol=0.1)
    lone = torch.zeros(1, 3, 16, 16)
    lone[0, 2] = 0.5 + 0.5 * torch.cos(2 * torch.pi * 2 * torch.arange(16) / 16)
    assert (features(H.structure_factor(lone)) > 1).sum() == 1


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
    real, generated = Measured.of(spins(60), H), Measured.of(spins(80, seed=1), H)
    row = judge(generated, real, H)
    half, rest = generated.features[:40], generated.features[40:]
    assert row["adagan_coverage"] == adagan_coverage(real.features, half, rest)
    assert adagan_coverage(real.features, half, half) < 0.1 < 0.5 < row["adagan_coverage"]


def test_what_is_measured_in_parts_is_judged_as_the_whole():
    real, generated = spins(40), spins(24, seed=1)
    whole = Measured.of(generated, H)
    parts = Measured.joined([Measured.of(part, H) for part in generated.split(10)])
    assert parts.columns.index.tolist() == list(range(24))
    row, again = (judge(measured, Measured.of(real, H), H) for measured in (whole, parts))
    assert row == pytest.approx(again, rel=1e-5)
    figures = ensemble(generated, H)
    assert row["energy"] == pytest.approx(figures["energy_mean"], rel=1e-5)
    assert row["energy_std"] == pytest.approx(figures["energy_std"], rel=1e-4)
    assert row["nodal_points"] == pytest.approx(figures["nodal_points"])
    assert row["kspace_mse"] == pytest.approx(figures["kspace_mse"], rel=1e-4)
    assert row["data_energy"] == pytest.approx(H.energy(real).mean().item(), rel=1e-5)
    assert judge(Measured.of(real, H), Measured.of(real, H), H)["coverage"] == 1


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
