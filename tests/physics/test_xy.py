"""The XY kernel against spin-wave theory, published figures, a plain sequential kernel, and filtered free samples."""

import math

import numba as nb
import numpy as np
import pytest
import torch
from scipy import stats

from physics import thermal
from physics.metropolis import Metropolis, PlanarReplicas
from physics.vortices import charges, coulomb_energy, place_pairs, turns, vortex_field
from physics.xy import XY

SIGMAS = 4
MODEL = XY()


def columns(spins):
    spins = torch.from_numpy(spins)
    return {name: o.measure(spins).double().numpy() for name, o in MODEL.observables.items()}


def averages(spins, T):
    """Means of the observables and the responses, each an Estimate."""
    found, N = columns(spins), spins.shape[-1] ** 2
    estimates = {name: thermal.mean(values) for name, values in found.items()}
    return estimates | {name: thermal.jackknife(r, found, T, N) for name, r in MODEL.responses.items()}


def apart(a, b, error=0.0):
    return abs(a.value - b) / math.hypot(a.error, error)


@pytest.fixture(scope="module")
def cold():
    return averages(Metropolis(temperatures=[0.1], sweeps=60).sample(MODEL, 16, 1, range(4096)).spins, 0.1)


COLD = {
    "energy": (2 - 1.94955, 1e-5),
    "heat_capacity": (0.5110, 1e-3),
    "magnetization": (0.97517, 1e-4),
    "susceptibility": (0.0528, 1e-3),
    "helicity_modulus": (0.97456, 1e-4),
}


@pytest.mark.parametrize("name", COLD)
def test_cold_fields_have_the_figures_of_an_independent_run(cold, name):
    assert apart(cold[name], *COLD[name]) < SIGMAS


def test_cold_fields_have_the_energy_of_spin_waves(cold):
    T, N = 0.1, 256
    assert apart(cold["energy"], T / 2 * (1 - 1 / N) + T**2 / 16, 2e-4) < SIGMAS


def test_two_percent_of_temperature_is_caught(cold):
    warm = averages(Metropolis(temperatures=[0.102], sweeps=50).sample(MODEL, 16, 2, range(4096)).spins, 0.102)
    assert apart(warm["energy"], cold["energy"].value, cold["energy"].error) > SIGMAS


@pytest.mark.parametrize(
    ("name", "expected", "error"),
    [("energy", 2 - 1.4503, 5e-4), ("heat_capacity", 0.934, 0.01), ("helicity_modulus", 0.648, 2e-3)],
)
def test_free_vortices_at_the_transition_have_the_figures_of_an_independent_run(critical, name, expected, error):
    assert apart(critical[name], expected, error) < SIGMAS


@pytest.fixture(scope="module")
def critical():
    return averages(Metropolis(temperatures=[0.8929], sweeps=400).sample(MODEL, 16, 1, range(4096)).spins, 0.8929)


def test_one_spin_among_fixed_neighbours_follows_von_mises():
    """<S.h | h> = |h| I_1(|h|/T) / I_0(|h|/T): given its field, a spin is distributed as exp(S.h / T)."""
    T, chains = 1.0, 4096
    spins = Metropolis(temperatures=[T], sweeps=100, overrelaxation=1).sample(MODEL, 4, 3, range(chains)).spins
    local = MODEL.effective_field(torch.from_numpy(spins)).norm(dim=1)[:, 0, 0].double()
    along = -2 * MODEL.energy_density(torch.from_numpy(spins))[:, 0, 0].double()
    ratio = torch.special.i1(local / T) / torch.special.i0(local / T)
    assert abs((along - local * ratio).mean()) < SIGMAS * stats.sem((along - local * ratio).numpy())


# Held vortices


def test_held_charges_are_kept_in_every_field_at_every_temperature():
    sampler = Metropolis(
        temperatures=[0.05, 0.4, 0.8929, 2.0], distances=[0, 1, 1.414, 3, 5], pairs=[1, 2, 3], sweeps=60
    )
    samples = sampler.sample(MODEL, 16, 1, range(240))
    kept = samples.labels["charges"]
    assert kept.dtype == np.int8
    assert (kept.sum((1, 2)) == 0).all()
    assert ((kept != 0).sum((1, 2)) == 2 * samples.labels["pairs"]).all()
    one = samples.labels["pairs"] == 1
    where = [np.argwhere(state == sign)[0] for state in kept[one] for sign in (1, -1)]
    step = np.abs(np.diff(np.reshape(where, (-1, 2, 2)), axis=1)[:, 0])
    np.testing.assert_allclose(np.hypot(*np.minimum(step, 16 - step).T), samples.labels["distance"][one], atol=1e-3)


@nb.njit
def turn(a, b):
    return (b - a + np.pi) % (2 * np.pi) - np.pi


@nb.njit
def charge(angle, y, x):
    L = len(angle)
    above, right = (y + 1) % L, (x + 1) % L
    total = turn(angle[y, x], angle[y, right]) + turn(angle[y, right], angle[above, right])
    total += turn(angle[above, right], angle[above, x]) + turn(angle[above, x], angle[y, x])
    return round(total / (2 * np.pi))


@nb.njit
def sequential(angle, T, sweeps, seed):
    """Plain Metropolis, site after site in rows, that refuses what changes the charge of a plaquette."""
    np.random.seed(seed)
    L = len(angle)
    for _ in range(sweeps):
        for y in range(L):
            for x in range(L):
                old, down, left = angle[y, x], (y - 1) % L, (x - 1) % L
                before = [charge(angle, b, a) for b in (y, down) for a in (x, left)]
                around = np.array([angle[(y + 1) % L, x], angle[down, x], angle[y, (x + 1) % L], angle[y, left]])
                energy = -np.cos(around - old).sum()
                angle[y, x] = old + np.random.uniform(-1.5, 1.5)
                rise = -np.cos(around - angle[y, x]).sum() - energy
                after = [charge(angle, b, a) for b in (y, down) for a in (x, left)]
                if np.random.random() >= np.exp(-rise / T) or before != after:
                    angle[y, x] = old


def local_figures(spins):
    """Ten numbers a field: energies and turns near the vortices of a field that all chains hold, and of all of it."""
    spins = torch.from_numpy(np.asarray(spins, np.float32))
    density, right, up = MODEL.energy_density(spins), turns(spins, -1), turns(spins, -2)
    return torch.stack(
        [
            MODEL.energy(spins),
            spins.mean((-2, -1)).norm(dim=-1),
            MODEL.current_squared(spins),
            density[:, 2, 2],
            density[:, 3, 3],
            density[:, 5, 0],
            right[:, 2, 2],
            up[:, 3, 4],
            right.abs().amax((-2, -1)),
            (right.square() + up.square()).mean((-2, -1)),
        ],
        1,
    ).numpy()


def held_pair(L=6):
    given = torch.zeros(L, L, dtype=torch.int8)
    given[2, 2], given[3, 4] = 1, -1
    return given


def test_two_orders_of_updates_agree_on_ten_figures_of_a_held_pair():
    T, chains = 0.5, 1000
    start = np.repeat(vortex_field(held_pair()).numpy()[None], chains, 0)
    replicas = PlanarReplicas(MODEL, [np.random.default_rng([5, i]) for i in range(chains)], start, held=True)
    replicas.metropolis(np.full(chains, T), 300, 1)
    angles = np.repeat(np.arctan2(start[0, 1], start[0, 0])[None], chains, 0)
    for i in range(chains):
        sequential(angles[i], T, 250, i)
    other = np.stack((np.cos(angles), np.sin(angles)), 1)
    assert (charges(torch.from_numpy(other)) == held_pair()).all()
    a, b = local_figures(replicas.spins()), local_figures(other)
    sigmas = np.abs(a.mean(0) - b.mean(0)) / np.hypot(stats.sem(a), stats.sem(b))
    assert (sigmas < SIGMAS).all(), sigmas


def test_held_fields_are_the_free_fields_that_have_their_charges():
    """The Boltzmann distribution given charges and winding, by throwing away the free fields that have others."""
    T, L = 1.4, 4
    given = torch.zeros(L, L, dtype=torch.int8)
    given[1, 1], given[2, 1] = 1, -1
    free = Metropolis(temperatures=[T], sweeps=150, overrelaxation=1).sample(MODEL, L, 1, range(60_000)).spins
    spins = torch.from_numpy(free)
    start = vortex_field(given).float()
    places = [torch.roll(given, (dy, dx), (0, 1)) for dy in range(L) for dx in range(L)]
    rows = [
        torch.roll(spins[(charges(spins) == place).flatten(1).all(1)], (-(i // L), -(i % L)), (-2, -1))
        for i, place in enumerate(places)
    ]
    found = torch.cat(rows)
    wound = (around(found, -1) == around(start[None], -1)) & (around(found, -2) == around(start[None], -2))
    found = found[wound].numpy()
    replicas = PlanarReplicas(
        MODEL, [np.random.default_rng([5, i]) for i in range(4096)], np.repeat(start[None].numpy(), 4096, 0), held=True
    )
    replicas.metropolis(np.full(4096, T), 300, 1)
    a, b = (MODEL.energy_density(torch.from_numpy(part)).double().numpy() for part in (replicas.spins(), found))
    assert len(found) > 500
    sigmas = np.abs(a.mean(0) - b.mean(0)) / np.hypot(stats.sem(a), stats.sem(b))
    assert (sigmas < SIGMAS).all(), sigmas


def around(spins, axis):
    """Whole turns of the first row or column."""
    first = turns(spins, axis).select(-1 if axis == -2 else -2, 0)
    return (first.sum(-1) / (2 * math.pi)).round()


# Energies of pairs


def test_energies_of_far_pairs_at_rest_are_those_of_the_coulomb_gas_with_one_core_energy():
    """Beyond ten sites the lattice pins a vortex against the pull of the other, 2 pi / r."""
    given = torch.zeros(4, 64, 64, dtype=torch.int8)
    for i, r in enumerate((12, 16, 20, 24)):
        given[i, 3, 2], given[i, 3, 2 + r] = 1, -1
    rest = MODEL.at_rest(given, 3000)
    assert MODEL.torque(rest).max() < 1e-2
    core = 64**2 * MODEL.energy(rest.double()) - coulomb_energy(given)
    assert core.mean() == pytest.approx(-2.1, abs=0.1)  # the harmonic energy of two cores is too high
    assert (core - core.mean()).abs().max() < 0.05  # of 2 pi ln 2 = 4.4 between the distances


def test_a_configuration_starts_in_the_sector_of_least_energy():
    rng = np.random.default_rng(1)
    for _ in range(20):
        given = torch.from_numpy(place_pairs(16, 8, 2, rng))
        least = coulomb_energy(given)
        right = turns(vortex_field(given), -1)
        for twist in (-1, 1):
            twisted = right + 2 * math.pi * twist / 16
            assert (twisted**2).sum() >= (right**2).sum() - 1e-6
        assert least > 0
