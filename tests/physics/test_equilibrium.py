"""The kernel against exact averages, published energies and a plain Metropolis.

Every replica gives one number, so that standard errors need no autocorrelation time.
"""

import math

import numba as nb
import numpy as np
import pytest
import torch
from scipy import integrate, special, stats

from physics.chiral import ChiralMagnet
from physics.replicas import Replicas
from physics.textures import spiral

SIGMAS = 4
"""Standard errors allowed: eighty comparisons pass on any machine, an error of 2 % in T does not."""


def samples(magnet, L, T, observable, *, replicas=32, discard=100, kept=50, every=1, moves=1, start=None):
    """The time average of ``observable(spins)`` in each independent replica."""
    batch = Replicas(magnet, L, 1, range(replicas), start)
    batch.heat_bath(np.full(discard, T), moves)
    total = np.zeros(replicas)
    for _ in range(kept):
        batch.heat_bath(np.full(every, T), moves)
        total += np.asarray(observable(batch.spins()))
    return total / kept


def deviation(measured, expected, error=0.0):
    """Standard errors, combined with the error of what is expected."""
    return abs(np.mean(measured) - expected) / math.hypot(stats.sem(measured), error)


def energy_per_site(magnet):
    def measure(spins):
        density = magnet.energy_density(torch.from_numpy(spins).double())
        return density.sum((-2, -1)).numpy() / magnet.sites(spins.shape[-1]).sum()

    return measure


def only(L, row=None, column=None):
    """A mask that leaves one row or one column of sites."""
    mask = np.zeros((L, L), bool)
    mask[row if column is None else slice(None), slice(None) if column is None else column] = True
    return mask


def langevin(x):
    return 1 / math.tanh(x) - 1 / x


def spin_in_field(T, B):
    return samples(ChiralMagnet(J=0, D=0, B=B), 32, T, lambda s: s[:, 2].mean((-2, -1)), discard=1, moves=0)


@pytest.mark.parametrize("B", [1.0, -1.0])
@pytest.mark.parametrize("T", [0.05, 0.3, 1.0])
def test_one_spin_in_a_field_follows_langevin(T, B):
    assert deviation(spin_in_field(T, B), math.copysign(langevin(1 / T), B)) < SIGMAS


@pytest.mark.parametrize("T", [0.05, 0.3, 1.0])
def test_two_percent_of_temperature_is_caught_on_one_spin(T):
    assert deviation(spin_in_field(1.02 * T, 1.0), langevin(1 / T)) > SIGMAS


def test_spins_in_a_field_have_even_azimuths_and_are_independent():
    L, replicas, kept = 32, 64, 100
    batch = Replicas(ChiralMagnet(J=0, D=0, B=1.0), L, 1, range(replicas))
    total = np.empty((kept, replicas, 3))
    moments = np.zeros((replicas, 3, 3))
    for i in range(kept):
        batch.heat_bath([0.5])
        spins = batch.spins()
        total[i] = spins.sum((-2, -1))
        moments += np.einsum("rayx,rbyx->rab", spins, spins) / (kept * L**2)
    along = 1 - langevin(2.0)
    across = (1 - along) / 2
    for a, b, expected in ((0, 0, across), (1, 1, across), (2, 2, along), (0, 1, 0), (0, 2, 0), (1, 2, 0)):
        assert deviation(moments[:, a, b], expected) < SIGMAS
    variance = np.array([across, across, along - langevin(2.0) ** 2])
    assert (abs(total.var((0, 1)) / (L**2 * variance) - 1) < SIGMAS * math.sqrt(2 / (kept * replicas))).all()


CHAINS = {
    "open along x": ChiralMagnet(D=0, boundary="open", mask=only(16, row=5)),
    "open along y": ChiralMagnet(D=0, boundary="wire", mask=only(16, column=6)),
    "ring along x": ChiralMagnet(D=0, boundary="wire", mask=only(8, row=0)),
    "ring along y": ChiralMagnet(D=0, boundary="periodic", mask=only(8, column=7)),
}


def neighbours(name, T):
    """<S_i . S_i+1> in each replica."""
    chain = CHAINS[name]
    L = len(chain.mask)
    bonds_per_site = 1 if "ring" in name else (L - 1) / L
    measured = samples(chain, L, T, energy_per_site(chain), replicas=64, discard=200, kept=8000 // L)
    return measured / -bonds_per_site


def ring(n, x):
    """<S_i . S_i+1> on a ring of n spins at J/T = x: Z = sum over l of (2 l + 1) i_l(x)^n."""
    order = np.arange(40)
    i, slope = special.spherical_in(order, x), special.spherical_in(order, x, derivative=True)
    weight = 2 * order + 1
    return (weight * i ** (n - 1) * slope).sum() / (weight * i**n).sum()


def exact_neighbours(name, T):
    return ring(8, 1 / T) if "ring" in name else langevin(1 / T)


@pytest.mark.parametrize("T", [0.2, 0.5, 1.0])
@pytest.mark.parametrize("name", CHAINS)
def test_chains_and_rings_follow_fisher(name, T):
    assert deviation(neighbours(name, T), exact_neighbours(name, T)) < SIGMAS


@pytest.mark.parametrize("T", [0.2, 0.5, 1.0])
@pytest.mark.parametrize("name", ["open along x", "ring along y"])
def test_two_percent_of_temperature_is_caught_on_chains_and_rings(name, T):
    assert deviation(neighbours(name, 1.02 * T), exact_neighbours(name, T)) > SIGMAS


@pytest.mark.parametrize("dm", ["bloch", "neel"])
def test_energy_at_high_temperature_follows_the_series(dm):
    J, D, B, T = 1.0, 1.0, 0.8, 20.0
    magnet = ChiralMagnet(J=J, D=D, B=B, dm=dm)
    series = -2 / (9 * T) * (3 * J**2 + 2 * D**2) - B**2 / (3 * T) - 2 * J * B**2 / (3 * T**2)
    measured = samples(magnet, 64, T, energy_per_site(magnet), discard=20, kept=150, moves=0)
    assert deviation(measured, series, error=abs(series) / T**2) < SIGMAS
    assert stats.sem(measured) < 0.007 * abs(series)


EQUILIBRIUM = [
    (1.0, 0.0, -0.8089, 0.0006),  # two kernels
    (0.5, 0.0, -1.4915, 0.0001),  # a scalar C heat bath and UppASD
    (0.5, 0.05, -1.5072, 0.0001),  # a float64 heat bath and Vampire
    (1.0, 0.05, -0.8209, 0.0001),  # a float64 heat bath
]


@pytest.mark.parametrize(("T", "B", "energy", "error"), EQUILIBRIUM)
def test_equilibrium_energies_are_the_published_ones(T, B, energy, error):
    magnet = ChiralMagnet(D=0.3, B=B)
    measure = energy_per_site(magnet)
    measured = samples(magnet, 128, T, measure, replicas=16, discard=200, kept=40, every=5, moves=2)
    assert deviation(measured, energy, error) < SIGMAS
    assert stats.sem(measured) < 5e-4


def test_the_ordered_state_at_low_temperature_has_the_energy_of_a_float64_heat_bath():
    magnet = ChiralMagnet(D=0.3)
    start = np.stack([spiral(magnet, 128, 3, 5)] * 16)
    measure = energy_per_site(magnet)
    measured = samples(magnet, 128, 0.3, measure, replicas=16, discard=300, kept=20, every=10, moves=2, start=start)
    assert deviation(measured, -1.73014, 0.0001) < SIGMAS


def single_ion(B, K, T, power):
    def weight(z):
        return math.exp((B * z + K * z * z) / T)

    return integrate.quad(lambda z: z**power * weight(z), -1, 1)[0] / integrate.quad(weight, -1, 1)[0]


@pytest.mark.parametrize("moves", [0, 2])
@pytest.mark.parametrize("K", [1.5, -1.5])
@pytest.mark.parametrize("power", [1, 2])
def test_one_spin_with_anisotropy_follows_the_quadrature_within_four_percent(power, K, moves):
    B, T = 0.5, 0.7
    magnet = ChiralMagnet(J=0, D=0, B=B, K=K)
    measured = samples(magnet, 32, T, lambda s: (s[:, 2] ** power).mean((-2, -1)), discard=50, kept=400, moves=moves)
    assert deviation(measured, single_ion(B, K, T, power)) < SIGMAS
    assert deviation(measured, single_ion(B, 1.04 * K, T, power)) > SIGMAS


@pytest.mark.parametrize("K", [0.0, 1.5])
def test_one_spin_in_no_field_points_anywhere(K):
    magnet = ChiralMagnet(J=0, D=0, B=0, K=K)
    measured = samples(magnet, 16, 0.7, lambda s: (s[:, 2] ** 2).mean((-2, -1)))
    assert np.ptp(measured) > 0
    assert deviation(measured, single_ion(0, K, 0.7, 2)) < SIGMAS


@nb.njit(cache=True)
def energy_at(s, y, x, spins, sites, open_x, open_y, J, D, neel):
    """Energy of the bonds of a spin ``s`` at (x, y)."""
    L = len(sites)
    energy = 0.0
    for rx, ry in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        if (open_x and not 0 <= x + rx < L) or (open_y and not 0 <= y + ry < L):
            continue
        if not sites[(y + ry) % L, (x + rx) % L]:
            continue
        t = spins[(y + ry) % L, (x + rx) % L]
        dx, dy = (-ry, rx) if neel else (rx, ry)
        energy -= J * (s[0] * t[0] + s[1] * t[1] + s[2] * t[2])
        energy -= D * (dx * (s[1] * t[2] - s[2] * t[1]) + dy * (s[2] * t[0] - s[0] * t[2]))
    return energy


@nb.njit(cache=True)
def metropolis(sites, open_x, open_y, J, D, neel, B, K, T, discard, kept, seed):
    """Mean energy per site, spin by spin in float64."""
    np.random.seed(seed)
    L = len(sites)
    spins = np.zeros((L, L, 3))
    spins[:, :, 2] = 1.0
    total = 0.0
    for sweep in range(discard + kept):
        for y in range(L):
            for x in range(L):
                if not sites[y, x]:
                    continue
                s = spins[y, x]
                nx, ny, nz = s + math.sqrt(T) * np.random.standard_normal(3)
                norm = math.sqrt(nx * nx + ny * ny + nz * nz)
                new = (nx / norm, ny / norm, nz / norm)
                cost = energy_at(new, y, x, spins, sites, open_x, open_y, J, D, neel)
                cost -= energy_at(s, y, x, spins, sites, open_x, open_y, J, D, neel)
                cost -= B * (new[2] - s[2]) + K * (new[2] ** 2 - s[2] ** 2)
                if np.random.random() < math.exp(-cost / T):
                    s[0], s[1], s[2] = new
                if sweep >= discard:
                    total += energy_at(s, y, x, spins, sites, open_x, open_y, J, D, neel) / 2
                    total -= B * s[2] + K * s[2] ** 2
    return total / (kept * sites.sum())


MAGNETS = {
    "bloch": ChiralMagnet(D=0.6, B=0.2),
    "neel": ChiralMagnet(D=0.8, B=0.1, dm="neel"),
    "open": ChiralMagnet(D=-0.6, B=0.2, boundary="open"),
    "wire neel": ChiralMagnet(D=0.8, B=-0.3, dm="neel", boundary="wire"),
    "masked easy axis": ChiralMagnet(D=0.6, B=0.1, K=0.8, mask=np.arange(8) % 3 < np.full((8, 1), 2)),
    "wire easy plane": ChiralMagnet(D=-0.8, B=0.3, K=-0.8, boundary="wire"),
}


@pytest.mark.parametrize("T", [0.5, 0.7, 1.0, 1.5, 2.5])
@pytest.mark.parametrize("name", MAGNETS)
def test_energy_is_that_of_a_plain_metropolis(name, T):
    h = MAGNETS[name]
    plain = [
        metropolis(h.sites(8), h.open_x, h.open_y, h.J, h.D, h.dm == "neel", h.B, h.K, T, 500, 1500, seed)
        for seed in range(16)
    ]
    measured = samples(h, 8, T, energy_per_site(h), replicas=64, discard=300, kept=150, every=2)
    assert deviation(measured, np.mean(plain), stats.sem(plain)) < SIGMAS
