import math
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from physics.annealing import FINISH_CHECK, RELAX_OMEGA, Replicas, Schedule, anneal, batch_size, relax
from physics.hamiltonian import Hamiltonian
from physics.kernels import cpu
from physics.textures import ground_state_energy, spiral, spiral_energy

QUICK = Schedule(sweeps=30, finish=60)


@pytest.fixture(params=["bloch", "neel", "open", "wire", "easy axis", "easy plane"])
def magnet(request):
    """``magnet(L)``: a Hamiltonian of each kind, the last four with a mask."""
    kinds = {
        "bloch": {"B": 0.2},
        "neel": {"B": 0.2, "dm": "neel"},
        "open": {"B": -0.2, "boundary": "open"},
        "wire": {"D": -0.6, "dm": "neel", "boundary": "wire"},
        "easy axis": {"B": 0.1, "K": 0.7},
        "easy plane": {"B": 0.1, "K": -0.7, "boundary": "wire"},
    }

    def make(L, **changes):
        y, x = np.mgrid[:L, :L]
        mask = None if request.param in ("bloch", "neel") else (x + 2 * y) % 7 > 0
        return Hamiltonian(**(kinds[request.param] | {"mask": mask} | changes))

    return make


def energies(hamiltonian, spins):
    return hamiltonian.energy(torch.from_numpy(spins).double()).numpy()


def torques(hamiltonian, spins):
    return hamiltonian.torque(torch.from_numpy(spins)).amax((-2, -1)).numpy()


@pytest.mark.parametrize("L", [4, 6, 20])
def test_split_and_merge_are_inverses_and_sublattices_are_checkers(L):
    y, x = np.mgrid[:L, :L]
    sites = np.random.default_rng(0).random((2, 3, L, L))
    np.testing.assert_array_equal(cpu.merge(cpu.split(sites)), sites)
    for p in range(2):
        assert (cpu.split((x + y) % 2)[p] == p).all()


@pytest.mark.parametrize("replicas", [1, 3, 64])
@pytest.mark.parametrize("periodic_x", [True, False])
def test_pack_and_unpack_are_inverses(replicas, periodic_x, random_spins):
    spins = random_spins(replicas, 6, dtype=torch.float32).numpy()
    np.testing.assert_array_equal(cpu.unpack(cpu.pack(spins, periodic_x), replicas), spins)


def swept(hamiltonian, spins, move, T=1.0, sweeps=1):
    """Spins ``(n, 3, L, L)`` after sweeps of one move, as the kernel leaves them."""
    n, L = len(spins), spins.shape[-1]
    h, sites = hamiltonian, hamiltonian.sites(L)
    packed = cpu.pack(spins * sites, periodic_x=not h.open_x)
    rng = np.random.default_rng(0).integers(1, 2**32, (2, cpu.lanes(L, n)), dtype=np.uint32)
    heat = np.stack((np.full(rng.shape[1], T), np.full(rng.shape[1], 1 / T))).astype(np.float32)
    for _ in range(sweeps):
        couplings = map(np.float32, (h.J, h.D, h.B, h.K, T))
        cpu.sweep(move, packed, rng, heat, cpu.split(~sites), n, h.open_x, h.open_y, *couplings)
    return cpu.unpack(packed, n)


MOVES = {
    "heat bath cold": (cpu.HEAT_BATH, 1e-3),
    "heat bath": (cpu.HEAT_BATH, 1.0),
    "heat bath hot": (cpu.HEAT_BATH, 1e3),
    "over-relaxation": (cpu.REFLECT, 1.0),
    "alignment": (cpu.ALIGN, 1.0),
    "over-relaxed alignment": (cpu.ALIGN, 1.9),
}


@pytest.mark.parametrize("move", MOVES)
def test_every_move_keeps_unit_length_and_vacancies(magnet, move, random_spins):
    hamiltonian, spins = magnet(8), random_spins(5, 8, dtype=torch.float32).numpy()
    after, sites = swept(hamiltonian, spins, *MOVES[move]), hamiltonian.sites(8)
    np.testing.assert_allclose(np.linalg.norm(after, axis=1)[:, sites], 1, atol=1e-5)
    assert (after[..., ~sites] == 0).all()


@pytest.mark.parametrize("L", [4, 8, 20])
def test_over_relaxation_conserves_energy_and_moves_spins(magnet, L, random_spins):
    hamiltonian = magnet(L, K=0.0, dm="bloch")
    before = random_spins(5, L, dtype=torch.float32).numpy() * hamiltonian.sites(L)
    after = swept(hamiltonian, before, cpu.REFLECT, sweeps=20)
    np.testing.assert_allclose(energies(hamiltonian, after), energies(hamiltonian, before), atol=3e-6)
    assert np.linalg.norm(after - before, axis=1)[:, hamiltonian.sites(L)].min() > 1e-3


@pytest.mark.parametrize("L", [8, 20, 32])
def test_a_configuration_is_the_same_to_the_last_bit_in_any_batch(magnet, L):
    hamiltonian = magnet(L)
    alone = anneal(hamiltonian, QUICK, L, 5, [3])[0]
    indices = [11, 3, 0, 7, 3, 10**9]
    together = anneal(hamiltonian, QUICK, L, 5, indices)
    for position, index in enumerate(indices):
        assert np.array_equal(together[position], alone) == (index == 3)


def test_a_configuration_is_the_same_in_a_batch_cut_in_two():
    L, hamiltonian = 64, Hamiltonian(B=0.2)
    indices = range(batch_size(L) + 2)
    seen = []
    together = anneal(hamiltonian, QUICK, L, 5, indices, progress=seen.append)
    np.testing.assert_array_equal(together[-2:], anneal(hamiltonian, QUICK, L, 5, indices[-2:]))
    assert seen == [batch_size(L), batch_size(L) + 2]


def test_configurations_differ_by_seed_and_by_index():
    made = [anneal(Hamiltonian(), QUICK, 8, seed, [index])[0] for seed in (0, 1, 2) for index in (0, 1, 2)]
    assert len({spins.tobytes() for spins in made}) == 9


def test_a_sequence_of_temperatures_may_be_cut_in_two(magnet):
    temperatures = np.linspace(1.0, 0.1, 20)
    whole, cut = (Replicas(magnet(8), 8, 5, range(3)) for _ in range(2))
    whole.heat_bath(temperatures, 1)
    cut.heat_bath(temperatures[:7], 1)
    cut.heat_bath(temperatures[7:], 1)
    np.testing.assert_array_equal(whole.spins(), cut.spins())


def test_annealed_spins_are_unit_float32_and_absent_sites_zero(magnet):
    hamiltonian = magnet(8)
    spins, sites = anneal(hamiltonian, QUICK, 8, 1, range(3)), hamiltonian.sites(8)
    assert spins.dtype == np.float32 and spins.shape == (3, 3, 8, 8)
    np.testing.assert_allclose(np.linalg.norm(spins, axis=1)[:, sites], 1, atol=1e-6)
    assert (spins[..., ~sites] == 0).all()


def test_replicas_start_from_the_spins_they_are_given(magnet, random_spins):
    hamiltonian, spins = magnet(8), random_spins(3, 8, dtype=torch.float32).numpy()
    start = Replicas(hamiltonian, 8, 1, range(3), 2 * spins).spins()
    np.testing.assert_allclose(start, spins * hamiltonian.sites(8), atol=1e-6)


@pytest.mark.parametrize("omega", [1.0, 1.9])
def test_no_greedy_sweep_raises_the_energy(magnet, omega):
    hamiltonian = magnet(16)
    batch = Replicas(hamiltonian, 16, 1, range(4))
    course = [energies(hamiltonian, batch.spins())]
    for _ in range(60):
        batch.align(1, omega)
        course.append(energies(hamiltonian, batch.spins()))
    assert np.diff(course, axis=0).max() < 1e-6
    assert (course[-1] < course[0] - 1).all()


def test_relaxed_states_are_at_rest_and_lower(magnet, random_spins):
    hamiltonian = magnet(16)
    start = random_spins(4, 16, dtype=torch.float32).numpy() * hamiltonian.sites(16)
    relaxed = relax(hamiltonian, start, torque=1e-3)
    assert torques(hamiltonian, relaxed).max() < 1e-3 < torques(hamiltonian, start).min()
    assert (energies(hamiltonian, relaxed) < energies(hamiltonian, start)).all()


def test_a_state_at_rest_stays(magnet):
    hamiltonian = magnet(16)
    rest = relax(hamiltonian, anneal(hamiltonian, QUICK, 16, 1, range(2)))
    np.testing.assert_allclose(relax(hamiltonian, rest), rest, atol=1e-6)


def test_relaxing_one_state_does_not_depend_on_the_others(random_spins):
    hamiltonian = Hamiltonian(B=0.2)
    states = random_spins(3, 16, dtype=torch.float32).numpy()
    states[1] = spiral(hamiltonian, 16, 1, 1)
    together = relax(hamiltonian, states)
    for state, relaxed in zip(states, together, strict=True):
        np.testing.assert_array_equal(relax(hamiltonian, state[None])[0], relaxed)


def test_relaxing_stops_after_the_sweeps_allowed(random_spins):
    hamiltonian, start = Hamiltonian(), random_spins(2, 16, dtype=torch.float32).numpy()
    batch = Replicas(hamiltonian, 16, 0, range(2), start)
    batch.align(FINISH_CHECK + 3, RELAX_OMEGA)
    np.testing.assert_array_equal(relax(hamiltonian, start, FINISH_CHECK + 3, 1e-9), batch.spins())


@pytest.mark.parametrize("dm", ["bloch", "neel"])
def test_annealing_comes_close_to_the_exact_ground_state_and_never_below(dm):
    L, hamiltonian = 32, Hamiltonian(D=0.6, dm=dm)
    bound = min(spiral_energy(hamiltonian, L, m, n) for m in range(L) for n in range(L))
    reached = energies(hamiltonian, anneal(hamiltonian, Schedule(sweeps=1000), L, 1, range(32)))
    assert bound - 1e-6 < reached.min() < 0.99 * bound
    assert reached.mean() < 0.95 * bound


KINDS = ("linear", "geometric", "quadratic")


@pytest.mark.parametrize("kind", KINDS)
def test_schedules_cool_monotonically_between_their_end_points(kind):
    T = Schedule(kind=kind, T_start=1.5, T_end=0.001, sweeps=3000).temperatures()
    assert T.dtype == np.float32 and T.shape == (3000,)
    assert T[[0, -1]].tolist() == pytest.approx([1.5, 0.001])
    assert (np.diff(T) < 0).all()


@pytest.mark.parametrize(("kind", "middle"), [*zip(KINDS, (1.0, 0.6, 0.6), strict=True)])
def test_schedules_pass_through_their_formula_half_way(kind, middle):
    assert Schedule(kind=kind, T_start=1.8, T_end=0.2, sweeps=11).temperatures()[5] == pytest.approx(middle)


@pytest.mark.parametrize("kind", KINDS)
def test_a_schedule_of_one_sweep_is_its_start_and_a_constant_one_is_constant(kind):
    assert Schedule(kind=kind, sweeps=1).temperatures().tolist() == [1.0]
    constant = Schedule(kind=kind, T_start=0.5, T_end=0.5, sweeps=9).temperatures()
    assert constant.tolist() == [0.5] * 9


def test_updates_per_spin_count_over_relaxation():
    assert Schedule(sweeps=100, overrelaxation=3).updates_per_spin == 400


@pytest.mark.parametrize(
    "wrong",
    [
        {"T_end": 1.1, "T_start": 1.0},
        {"T_end": -0.1},
        {"T_end": 0.0},
        {"T_start": math.nan},
        {"sweeps": 0},
        {"overrelaxation": -1},
        {"torque": 0.0},
        {"kind": "logarithmic"},
        {"omega": 1.5},
    ],
    ids=str,
)
def test_schedules_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        Schedule(**wrong)


@pytest.mark.parametrize("L", [7, 33, 2, 0, -4])
def test_lattices_that_are_odd_or_below_4_are_refused(L):
    for make in (lambda: anneal(Hamiltonian(), QUICK, L, 1, [0]), lambda: Replicas(Hamiltonian(), L, 1, [0])):
        with pytest.raises(ValueError, match=f"even number of at least 4, found {L}"):
            make()


def test_a_mask_of_another_size_is_refused(disk):
    with pytest.raises(ValueError, match="mask of 10 x 10 sites on a lattice of 8 x 8"):
        anneal(Hamiltonian(mask=disk(10)), QUICK, 8, 1, [0])


def test_compiled_now_or_read_from_the_cache_the_kernel_gives_the_same_bits(tmp_path):
    program = (
        "from physics.annealing import *; from physics.hamiltonian import Hamiltonian; import hashlib, sys\n"
        "K = float(sys.argv[1]); schedule = Schedule(sweeps=30, finish=20)\n"
        "print(hashlib.sha256(anneal(Hamiltonian(K=K), schedule, 16, 1, range(512)).tobytes()).hexdigest())"
    )
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}

    def run(K):
        command = [sys.executable, "-c", program, str(K)]
        return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout

    first = run(0.0)
    cached = list(tmp_path.rglob("*.nbc"))
    assert cached
    assert run(0.0) == first
    next(path for path in cached if "heat_bath" in path.name).unlink()
    assert run(0.0) == first
    assert run(0.3) != first


def test_the_default_schedule_ends_at_rest_between_the_papers_energy_and_the_bound():
    magnet, schedule = Hamiltonian(D=0.3), Schedule()
    spins = anneal(magnet, schedule, 128, 1, range(16))
    assert torques(magnet, spins).max() <= 1.01 * schedule.torque
    assert ground_state_energy(magnet, 128) - 1e-6 < energies(magnet, spins).min()
    assert energies(magnet, spins).mean() < -0.0423


def test_the_finish_reaches_its_torque_with_anisotropy_and_vacancies(disk):
    magnet = Hamiltonian(D=0.6, B=0.2, K=0.3, dm="neel", mask=disk(32))
    assert torques(magnet, anneal(magnet, Schedule(), 32, 1, range(16))).max() <= 1.01e-3
