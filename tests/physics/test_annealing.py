import math
import os
import subprocess
import sys

import numpy as np
import pytest
from pydantic import ValidationError

from physics.annealing import Annealing
from physics.chiral import ChiralMagnet
from physics.replicas import Replicas, batch_size
from physics.textures import spiral_energy

QUICK = Annealing(sweeps=30, finish=60)


@pytest.mark.parametrize("L", [8, 20, 32])
def test_a_configuration_is_the_same_to_the_last_bit_in_any_batch(magnet_of, L):
    magnet = magnet_of(L)
    alone = QUICK.sample(magnet, L, 5, [3]).spins[0]
    indices = [11, 3, 0, 7, 3, 10**9]
    together = QUICK.sample(magnet, L, 5, indices).spins
    for position, index in enumerate(indices):
        assert np.array_equal(together[position], alone) == (index == 3)


def test_a_configuration_is_the_same_in_a_batch_cut_in_two(monkeypatch):
    L, magnet, seen = 64, ChiralMagnet(B=0.2), []

    class Counted(Replicas):
        def __init__(self, magnet, L, seed, indices):
            seen.append(len(indices))
            super().__init__(magnet, L, seed, indices)

    monkeypatch.setattr("physics.annealing.replicas_on", lambda device: Counted)
    indices = range(QUICK.batch(L) + 2)
    together = QUICK.sample(magnet, L, 5, indices).spins
    assert seen == [batch_size(L), 2]
    np.testing.assert_array_equal(together[-2:], QUICK.sample(magnet, L, 5, indices[-2:]).spins)


def test_configurations_differ_by_seed_and_by_index():
    made = [QUICK.sample(ChiralMagnet(), 8, seed, [index]).spins[0] for seed in (0, 1, 2) for index in (0, 1, 2)]
    assert len({spins.tobytes() for spins in made}) == 9


def test_annealed_spins_are_unit_float32_and_absent_sites_zero(magnet_of):
    magnet = magnet_of(8)
    spins, sites = QUICK.sample(magnet, 8, 1, range(3)).spins, magnet.sites(8)
    assert spins.dtype == np.float32 and spins.shape == (3, 3, 8, 8)
    np.testing.assert_allclose(np.linalg.norm(spins, axis=1)[:, sites], 1, atol=1e-6)
    assert (spins[..., ~sites] == 0).all()


@pytest.mark.parametrize("dm", ["bloch", "neel"])
def test_annealing_comes_close_to_the_exact_ground_state_and_never_below(dm, energies):
    L, magnet = 32, ChiralMagnet(D=0.6, dm=dm)
    bound = min(spiral_energy(magnet, L, m, n) for m in range(L) for n in range(L))
    reached = energies(magnet, Annealing(sweeps=1000).sample(magnet, L, 1, range(32)).spins)
    assert bound - 1e-6 < reached.min() < 0.99 * bound
    assert reached.mean() < 0.95 * bound


KINDS = ("linear", "geometric", "quadratic")


@pytest.mark.parametrize("kind", KINDS)
def test_schedules_cool_monotonically_between_their_end_points(kind):
    T = Annealing(kind=kind, T_start=1.5, T_end=0.001, sweeps=3000).temperatures()
    assert T.dtype == np.float32 and T.shape == (3000,)
    assert T[[0, -1]].tolist() == pytest.approx([1.5, 0.001])
    assert (np.diff(T) < 0).all()


@pytest.mark.parametrize(("kind", "middle"), [*zip(KINDS, (1.0, 0.6, 0.6), strict=True)])
def test_schedules_pass_through_their_formula_half_way(kind, middle):
    assert Annealing(kind=kind, T_start=1.8, T_end=0.2, sweeps=11).temperatures()[5] == pytest.approx(middle)


@pytest.mark.parametrize("kind", KINDS)
def test_a_schedule_of_one_sweep_is_its_start_and_a_constant_one_is_constant(kind):
    assert Annealing(kind=kind, sweeps=1).temperatures().tolist() == [1.0]
    constant = Annealing(kind=kind, T_start=0.5, T_end=0.5, sweeps=9).temperatures()
    assert constant.tolist() == [0.5] * 9


def test_updates_per_spin_count_over_relaxation():
    assert Annealing(sweeps=100, overrelaxation=3).updates_per_spin == 400


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
        Annealing(**wrong)


@pytest.mark.parametrize("L", [7, 33, 2, 0, -4])
def test_lattices_that_are_odd_or_below_4_are_refused(L):
    for make in (lambda: QUICK.sample(ChiralMagnet(), L, 1, [0]), lambda: Replicas(ChiralMagnet(), L, 1, [0])):
        with pytest.raises(ValueError, match=f"even number of at least 4, found {L}"):
            make()


def test_a_mask_of_another_size_is_refused(disk):
    with pytest.raises(ValueError, match="mask of 10 x 10 sites on a lattice of 8 x 8"):
        QUICK.sample(ChiralMagnet(mask=disk(10)), 8, 1, [0])


@pytest.mark.slow
def test_compiled_now_or_read_from_the_cache_the_kernel_gives_the_same_bits(tmp_path):
    program = (
        "from physics.annealing import Annealing; from physics.chiral import ChiralMagnet; import hashlib, sys\n"
        "K = float(sys.argv[1]); schedule = Annealing(sweeps=30, finish=20)\n"
        "print(hashlib.sha256(schedule.sample(ChiralMagnet(K=K), 16, 1, range(512)).spins.tobytes()).hexdigest())"
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


def test_the_default_schedule_ends_at_rest_between_the_papers_energy_and_the_bound(energies, torques):
    magnet, schedule = ChiralMagnet(D=0.3), Annealing()
    spins = schedule.sample(magnet, 128, 1, range(16)).spins
    assert torques(magnet, spins).max() <= 1.01 * schedule.torque
    assert magnet.ground_state_energy(128) - 1e-6 < energies(magnet, spins).min()
    assert energies(magnet, spins).mean() < -0.0423


def test_the_finish_reaches_its_torque_with_anisotropy_and_vacancies(disk, torques):
    magnet = ChiralMagnet(D=0.6, B=0.2, K=0.3, dm="neel", mask=disk(32))
    assert torques(magnet, Annealing().sample(magnet, 32, 1, range(16)).spins).max() <= 1.01e-3
