"""The GPU kernel beside the CPU's; without a GPU, in Triton's interpreter."""

import math

import numpy as np
import pytest
from scipy import stats

from physics.annealing import Annealing
from physics.chiral import ChiralMagnet
from physics.replicas import Replicas, relax, replicas_on

pytest.importorskip("triton")

SIGMAS = 4
Y, X = np.mgrid[:8, :8]
MAGNETS = {
    "bloch": ChiralMagnet(D=0.6, B=0.2),
    "neel, open": ChiralMagnet(D=-0.8, B=0.1, dm="neel", boundary="open"),
    "wire, masked, easy axis": ChiralMagnet(D=0.6, B=0.2, K=0.8, boundary="wire", mask=(X + 2 * Y) % 7 > 0),
    "easy plane": ChiralMagnet(D=0.6, B=0.3, K=-0.8),
}


@pytest.fixture(autouse=True)
def long_blocks(monkeypatch):
    monkeypatch.setattr("physics.kernels.gpu.BLOCK", 2**13)  # the interpreter's cost is by the block


@pytest.fixture(params=MAGNETS)
def magnet(request):
    return MAGNETS[request.param]


def both(magnet, size=4):
    spins = Replicas(magnet, 8, 1, range(size)).spins()
    return (replicas_on(device)(magnet, 8, 1, range(size), spins) for device in ("cpu", "gpu"))


def test_both_kernels_start_from_and_measure_the_same_states(magnet):
    cpu, gpu = both(magnet)
    np.testing.assert_array_equal(cpu.spins(), gpu.spins())
    np.testing.assert_allclose(cpu.energies(), gpu.energies(), atol=1e-4)
    np.testing.assert_allclose(cpu.largest_torque(), gpu.largest_torque(), rtol=1e-5)


@pytest.mark.parametrize("omega", [1.0, 1.9])
def test_moves_without_chance_are_the_same_to_rounding(magnet, omega):
    cpu, gpu = both(magnet)
    for batch in (cpu, gpu):
        batch.align(2, omega)
    np.testing.assert_allclose(cpu.spins(), gpu.spins(), atol=2e-5)


@pytest.mark.parametrize("name", ["bloch", "neel, open"])
def test_over_relaxation_is_the_same_and_keeps_the_energy(name):
    T = np.full(1, 1e-30)  # a heat bath that aligns, so that both kernels reflect one state
    cpu, gpu = both(MAGNETS[name])
    for batch in (cpu, gpu):
        batch.heat_bath(T)
    before = gpu.energies()
    np.testing.assert_allclose(cpu.energies(), before, rtol=1e-5)
    for batch in (cpu, gpu):
        batch.heat_bath(T, 3)
    np.testing.assert_allclose(cpu.spins(), gpu.spins(), atol=1e-3)


def test_random_starts_lie_evenly_on_the_sphere(magnet):
    present, spins = magnet.sites(8), replicas_on("gpu")(magnet, 8, 1, range(64)).spins()
    np.testing.assert_allclose(np.linalg.norm(spins, axis=1), np.broadcast_to(present, (64, 8, 8)), atol=1e-6)
    for component in np.moveaxis(spins, 1, 0):
        assert stats.chisquare(np.histogram(component[:, present], 16, (-1, 1))[0]).pvalue > 1e-4


def averages(batch, T, discard, kept):
    """Mean energy per site of each replica."""
    batch.heat_bath(np.full(discard, T), 1)
    total = np.zeros(batch.size)
    for _ in range(kept):
        batch.heat_bath(np.full(2, T), 1)
        total += batch.energies()
    return total / kept / batch.magnet.sites(batch.L).sum()


def check_equilibrium(magnet, T):
    gpu = averages(replicas_on("gpu")(magnet, 8, 2, range(128)), T, 60, 15)
    cpu = averages(Replicas(magnet, 8, 3, range(2048)), T, 200, 60)
    assert abs(gpu.mean() - cpu.mean()) < SIGMAS * math.hypot(stats.sem(gpu), stats.sem(cpu))
    assert stats.sem(gpu) < 0.006 * abs(cpu.mean())


@pytest.mark.slow
def test_energy_in_equilibrium_agrees_with_the_cpu_kernel():
    check_equilibrium(MAGNETS["bloch"], 0.5)


@pytest.mark.slow
@pytest.mark.parametrize("T", [0.5, 1.0])
def test_energies_in_equilibrium_agree_for_every_magnet(magnet, T):
    check_equilibrium(magnet, T)


def spin_in_field(T):
    batch = replicas_on("gpu")(ChiralMagnet(J=0, D=0, B=1), 32, 1, range(64))
    mz = []
    for _ in range(4):
        batch.heat_bath(np.full(1, T))
        mz.append(batch.spins()[:, 2].mean((1, 2)))
    return np.mean(mz, 0)


@pytest.mark.parametrize("T", [0.3, *(pytest.param(T, marks=pytest.mark.slow) for T in (0.05, 1.0))])
def test_one_spin_in_a_field_follows_langevin_and_two_percent_of_temperature_is_caught(T):
    expected = 1 / math.tanh(1 / T) - T
    for factor, caught in ((1.0, False), (1.02, True)):
        measured = spin_in_field(factor * T)
        assert (abs(measured.mean() - expected) / stats.sem(measured) > SIGMAS) == caught


def test_each_replica_is_swept_at_its_own_temperature():
    T = np.array([0.1, 0.5, 1.0, 2.0])
    batch = replicas_on("gpu")(ChiralMagnet(J=0, D=0, B=1), 32, 1, range(4))
    mz = np.empty((30, 4))
    for row in mz:
        batch.heat_bath(T[None])
        row[:] = batch.spins()[:, 2].mean((-2, -1))
    assert (abs(mz.mean(0) - (1 / np.tanh(1 / T) - T)) / stats.sem(mz) < SIGMAS).all()


def test_sites_and_sweeps_draw_independent_numbers():
    batch = replicas_on("gpu")(ChiralMagnet(J=0, D=0, B=0.01), 32, 1, range(32))
    batch.heat_bath(np.full(1, 10.0))
    a = batch.spins()[:, 2]
    batch.heat_bath(np.full(1, 10.0))
    b = batch.spins()[:, 2]
    pairs = ((a, b), (a, np.roll(a, 1, 2)), (a, np.roll(a, 1, 1)), (a, np.roll(a, 1, 0)), (a[:, ::2], a[:, 1::2]))
    for first, second in pairs:
        assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < SIGMAS / math.sqrt(second.size)
    assert stats.chisquare(np.histogram(a, 16, (-1, 1))[0]).pvalue > 1e-4


@pytest.mark.slow
def test_a_configuration_does_not_depend_on_its_batch():
    schedule = Annealing(sweeps=3, overrelaxation=1, finish=30)

    def made(seed, indices):
        return schedule.sample(MAGNETS["bloch"], 8, seed, indices, device="gpu").spins

    together = made(1, range(5))
    for i in (0, 3):
        np.testing.assert_array_equal(made(1, [i])[0], together[i])
    assert not np.array_equal(made(2, [0])[0], together[0])


@pytest.mark.parametrize(
    "name", ["wire, masked, easy axis", *(pytest.param(n, marks=pytest.mark.slow) for n in MAGNETS if "wire" not in n)]
)
def test_the_finish_is_the_cpu_kernels(name):
    """Relaxed states of both kernels, batch by batch taken out as they come to rest."""
    magnet = MAGNETS[name]
    start = relax(magnet, Replicas(magnet, 8, 1, range(6)).spins(), torque=3e-2)
    cpu, gpu = (replicas_on(device)(magnet, 8, 1, range(6), start).relax(200, 1e-2, 1.5) for device in ("cpu", "gpu"))
    np.testing.assert_allclose(cpu, gpu, atol=1e-3)
