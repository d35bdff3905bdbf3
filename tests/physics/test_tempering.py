import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy import stats

from physics.annealing import Annealing
from physics.chiral import ChiralMagnet
from physics.replicas import Replicas
from physics.tempering import Tempering

SIGMAS = 4
AT_ONCE = Annealing(sweeps=1, overrelaxation=0)
SHORT = Tempering(T_min=0.1, T_max=1.0, temperatures=24, rounds=600, overrelaxation=2)


def test_the_rungs_are_geometric():
    rungs = Tempering(T_min=0.1, T_max=0.8, temperatures=4).rungs()
    np.testing.assert_allclose(rungs, [0.1, 0.2, 0.4, 0.8])


@pytest.mark.parametrize(
    "magnet",
    [
        ChiralMagnet(B=0.2),
        ChiralMagnet(B=0.2, K=0.5, dm="neel"),
        ChiralMagnet(boundary="open", mask=np.arange(8) % 3 < np.full((8, 1), 2)),
    ],
    ids=["bloch", "neel, easy axis", "open, masked"],
)
def test_the_kernel_counts_energy_as_the_magnet_does(magnet, random_spins):
    spins = random_spins(5, 8, dtype=torch.float32).numpy()
    batch = Replicas(magnet, 8, 0, range(5), spins)
    expected = magnet.energy_density(torch.from_numpy(batch.spins()).double()).sum((-2, -1))
    np.testing.assert_allclose(batch.energies(), expected, atol=1e-5)


def test_each_replica_is_swept_at_its_own_temperature():
    """Spins in a field: the mean of each replica follows its own temperature."""
    T = np.array([0.1, 0.5, 1.0, 2.0])
    batch = Replicas(ChiralMagnet(J=0, D=0, B=1), 32, 1, range(4))
    mz = np.empty((60, 4))
    for row in mz:
        batch.heat_bath(T[None])
        row[:] = batch.spins()[:, 2].mean((-2, -1))
    expected = 1 / np.tanh(1 / T) - T
    assert (abs(mz.mean(0) - expected) / stats.sem(mz) < SIGMAS).all()


def test_one_temperature_of_all_and_one_of_each_are_the_same_moves():
    a, b = (Replicas(ChiralMagnet(), 8, 3, range(6)) for _ in range(2))
    a.heat_bath(np.full(5, 0.4), 1)
    b.heat_bath(np.full((5, 6), 0.4), 1)
    np.testing.assert_array_equal(a.spins(), b.spins())


def test_exchanges_leave_each_rung_in_equilibrium():
    """Energies of the rungs against those of as many replicas that never exchange."""
    magnet, L = ChiralMagnet(D=0.6, B=0.2), 8
    ladder = Tempering(T_min=0.4, T_max=1.2, temperatures=12, rounds=1500, overrelaxation=1)
    found = ladder.sample(magnet, L, 5, range(8)).labels
    assert (found["round_trips"] > 0).all()
    runs = found["rung_energy"]
    plain = Replicas(magnet, L, 6, range(96))
    T = np.repeat(ladder.rungs(), 8)
    plain.heat_bath(np.tile(T, (500, 1)), 1)
    total = np.zeros(96)
    for _ in range(750):
        plain.heat_bath(T[None], 1)
        total += plain.energies() / (750 * L**2)
    alone = total.reshape(12, 8)
    error = np.hypot(stats.sem(runs, axis=0), stats.sem(alone, axis=1))
    assert (abs(runs.mean(0) - alone.mean(1)) / error < SIGMAS).all()


def test_a_run_depends_on_its_seed_and_number_alone():
    first, again, other = (SHORT.sample(ChiralMagnet(B=0.2), 8, 1, [run]) for run in (2, 2, 3))
    np.testing.assert_array_equal(first.spins, again.spins)
    assert first.labels.keys() == again.labels.keys()
    for name in first.labels:
        np.testing.assert_array_equal(first.labels[name], again.labels[name])
    assert not np.array_equal(first.spins, other.spins)


def test_it_finds_a_lower_state_than_annealing_does(energies):
    magnet, L = ChiralMagnet(D=0.6), 16
    bound = magnet.ground_state_energy(L)
    spins, labels = SHORT.sample(magnet, L, 1, [0])
    energy = energies(magnet, spins).item()
    assert bound - 1e-6 < energy < bound + 1e-4
    assert energy < energies(magnet, AT_ONCE.sample(magnet, L, 1, [0]).spins).item() - 1e-4
    assert (labels["acceptance"] > 0.1).all()


def test_ladders_that_make_no_sense_are_refused():
    for wrong in ({"T_min": 1.0}, {"temperatures": 1}, {"rounds": 0}, {"torque": -1}, {"T": 1}):
        with pytest.raises(ValidationError, match=next(iter(wrong))):
            Tempering(**wrong)
