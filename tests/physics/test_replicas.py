import numpy as np
import pytest
import torch

from physics.annealing import Annealing
from physics.chiral import ChiralMagnet
from physics.kernels import cpu, layout
from physics.replicas import FINISH_CHECK, RELAX_OMEGA, Replicas, relax
from physics.textures import spiral


@pytest.mark.parametrize("L", [4, 6, 20])
def test_split_and_merge_are_inverses_and_sublattices_are_checkers(L):
    y, x = np.mgrid[:L, :L]
    sites = np.random.default_rng(0).random((2, 3, L, L))
    np.testing.assert_array_equal(layout.merge(layout.split(sites)), sites)
    for p in range(2):
        assert (layout.split((x + y) % 2)[p] == p).all()


@pytest.mark.parametrize("replicas", [1, 3, 64])
@pytest.mark.parametrize("periodic_x", [True, False])
def test_pack_and_unpack_are_inverses(replicas, periodic_x, random_spins):
    spins = random_spins(replicas, 6, dtype=torch.float32).numpy()
    np.testing.assert_array_equal(layout.unpack(layout.pack(spins, periodic_x), replicas), spins)


def swept(magnet, spins, move, T=1.0, sweeps=1):
    """Spins ``(n, 3, L, L)`` after sweeps of one move, as the kernel leaves them."""
    n, L = len(spins), spins.shape[-1]
    h, sites = magnet, magnet.sites(L)
    packed = layout.pack(spins * sites, periodic_x=not h.open_x)
    rng = np.random.default_rng(0).integers(1, 2**32, (2, layout.lanes(L, n)), dtype=np.uint32)
    heat = np.stack((np.full(rng.shape[1], T), np.full(rng.shape[1], 1 / T))).astype(np.float32)
    for _ in range(sweeps):
        couplings = map(np.float32, (h.J, h.D, h.B, h.K, T))
        cpu.sweep(move, packed, rng, heat, layout.split(~sites), n, h.open_x, h.open_y, *couplings)
    return layout.unpack(packed, n)


MOVES = {
    "heat bath cold": (cpu.HEAT_BATH, 1e-3),
    "heat bath": (cpu.HEAT_BATH, 1.0),
    "heat bath hot": (cpu.HEAT_BATH, 1e3),
    "over-relaxation": (cpu.REFLECT, 1.0),
    "alignment": (cpu.ALIGN, 1.0),
    "over-relaxed alignment": (cpu.ALIGN, 1.9),
}


@pytest.mark.parametrize("move", MOVES)
def test_every_move_keeps_unit_length_and_vacancies(magnet_of, move, random_spins):
    magnet, spins = magnet_of(8), random_spins(5, 8, dtype=torch.float32).numpy()
    after, sites = swept(magnet, spins, *MOVES[move]), magnet.sites(8)
    np.testing.assert_allclose(np.linalg.norm(after, axis=1)[:, sites], 1, atol=1e-5)
    assert (after[..., ~sites] == 0).all()


@pytest.mark.parametrize("L", [4, 8, 20])
def test_over_relaxation_conserves_energy_and_moves_spins(magnet_of, L, random_spins, energies):
    magnet = magnet_of(L, K=0.0, dm="bloch")
    before = random_spins(5, L, dtype=torch.float32).numpy() * magnet.sites(L)
    after = swept(magnet, before, cpu.REFLECT, sweeps=20)
    np.testing.assert_allclose(energies(magnet, after), energies(magnet, before), atol=3e-6)
    assert np.linalg.norm(after - before, axis=1)[:, magnet.sites(L)].min() > 1e-3


def test_a_sequence_of_temperatures_may_be_cut_in_two(magnet_of):
    temperatures = np.linspace(1.0, 0.1, 20)
    whole, cut = (Replicas(magnet_of(8), 8, 5, range(3)) for _ in range(2))
    whole.heat_bath(temperatures, 1)
    cut.heat_bath(temperatures[:7], 1)
    cut.heat_bath(temperatures[7:], 1)
    np.testing.assert_array_equal(whole.spins(), cut.spins())


def test_replicas_start_from_the_spins_they_are_given(magnet_of, random_spins):
    magnet, spins = magnet_of(8), random_spins(3, 8, dtype=torch.float32).numpy()
    start = Replicas(magnet, 8, 1, range(3), 2 * spins).spins()
    np.testing.assert_allclose(start, spins * magnet.sites(8), atol=1e-6)


@pytest.mark.parametrize("omega", [1.0, 1.9])
def test_no_greedy_sweep_raises_the_energy(magnet_of, omega, energies):
    magnet = magnet_of(16)
    batch = Replicas(magnet, 16, 1, range(4))
    course = [energies(magnet, batch.spins())]
    for _ in range(60):
        batch.align(1, omega)
        course.append(energies(magnet, batch.spins()))
    assert np.diff(course, axis=0).max() < 1e-6
    assert (course[-1] < course[0] - 1).all()


def test_relaxed_states_are_at_rest_and_lower(magnet_of, random_spins, energies, torques):
    magnet = magnet_of(16)
    start = random_spins(4, 16, dtype=torch.float32).numpy() * magnet.sites(16)
    relaxed = relax(magnet, start, torque=1e-3)
    assert torques(magnet, relaxed).max() < 1e-3 < torques(magnet, start).min()
    assert (energies(magnet, relaxed) < energies(magnet, start)).all()


def test_a_state_at_rest_stays(magnet_of):
    magnet = magnet_of(16)
    rest = relax(magnet, Annealing(sweeps=30, finish=60).sample(magnet, 16, 1, range(2)).spins)
    np.testing.assert_allclose(relax(magnet, rest), rest, atol=1e-6)


def test_relaxing_one_state_does_not_depend_on_the_others(random_spins):
    magnet = ChiralMagnet(B=0.2)
    states = random_spins(3, 16, dtype=torch.float32).numpy()
    states[1] = spiral(magnet, 16, 1, 1)
    together = relax(magnet, states)
    for state, relaxed in zip(states, together, strict=True):
        np.testing.assert_array_equal(relax(magnet, state[None])[0], relaxed)


def test_relaxing_stops_after_the_sweeps_allowed(random_spins):
    magnet, start = ChiralMagnet(), random_spins(2, 16, dtype=torch.float32).numpy()
    batch = Replicas(magnet, 16, 0, range(2), start)
    batch.align(FINISH_CHECK + 3, RELAX_OMEGA)
    np.testing.assert_array_equal(relax(magnet, start, FINISH_CHECK + 3, 1e-9), batch.spins())


def test_the_finish_unpacks_each_configuration_once(random_spins, monkeypatch):
    """On a GPU, to unpack is to bring back."""
    unpacked, lattices = [], Replicas._lattices
    monkeypatch.setattr(Replicas, "_lattices", lambda batch: unpacked.append(batch.size) or lattices(batch))
    relax(ChiralMagnet(B=0.2), random_spins(8, 16, dtype=torch.float32).numpy(), torque=1e-3)
    assert len(unpacked) > 1
    assert sum(unpacked) == 8
