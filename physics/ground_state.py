"""How near states are to the ground state: at rest at T = 0, their textures, and what samplers find at a given cost."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from physics.annealing import TYPICAL_FINISH, Annealing
from physics.chiral import ChiralMagnet
from physics.model import SpinModel
from physics.observables import topological_charge, wave_angle
from physics.replicas import relax
from physics.sampler import Sampler
from physics.tempering import Tempering

REFERENCE_RUNS, REFERENCE_ROUNDS = 4, 2000  # each run finds -0.223309 at L = 32, D = 0.6, B = 0.2
EQUAL_RUNS = 2  # of tempering


class Search(NamedTuple):
    """A sampler that looks for a ground state, and how many configurations it makes."""

    sampler: Sampler
    runs: int

    def spin_updates(self, L: int) -> float:
        return self.runs * self.sampler.spin_updates(L)


def reference_search(model: SpinModel, L: int) -> Search:
    """Parallel tempering, temperatures in units of the model's energy scale.

    Raises:
        ValueError: it does not sample this model on a lattice of L x L.
    """
    return Search(_tempering(model, L, REFERENCE_ROUNDS), REFERENCE_RUNS)


def equal_searches(model: SpinModel, L: int, updates: float) -> dict[str, Search]:
    """Annealing and tempering by name, of about that many spin updates each.

    Of annealing there are twice as many configurations as are best made together, fewer if most of the updates were
    their descent to rest.  Sweeps and rounds are numbers of one digit, as a cost is not known better.

    Raises:
        ValueError: they do not sample this model on a lattice of L x L.
    """
    tempering = _tempering(model, L, 1)
    rounds = updates / (EQUAL_RUNS * tempering.spin_updates(L))
    J = model.energy_scale
    annealing = Annealing(T_start=J, T_end=0.001 * J)
    runs = min(2 * annealing.batch(L), one_digit(updates / (2 * TYPICAL_FINISH * L**2)))
    sweeps = (updates / (runs * L**2) - TYPICAL_FINISH) / (1 + annealing.overrelaxation)
    return {
        "annealing": Search(annealing.model_copy(update={"sweeps": one_digit(sweeps)}), runs),
        "tempering": Search(tempering.model_copy(update={"rounds": one_digit(rounds)}), EQUAL_RUNS),
    }


def _tempering(model: SpinModel, L: int, rounds: int) -> Tempering:
    usual = Tempering()
    usual.check(model, L)
    J = model.energy_scale
    return Tempering(T_min=usual.T_min * J, T_max=usual.T_max * J, rounds=rounds)


def one_digit(number: float) -> int:
    """The nearest whole number with one digit before its zeros, at least 1."""
    return int(float(f"{max(number, 1):.0e}"))


def at_rest(magnet: ChiralMagnet, spins: Tensor) -> dict[str, float]:
    """A state ``(3, L, L)`` as it is and after its descent to rest at T = 0: energies per spin, charges W, orientation.

    ``angle`` is that of the strongest wave vector of S_z at rest, in degrees modulo ``angle_modulo``: 60 of skyrmions,
    whose lattice has three such wave vectors, 180 of stripes.
    """
    rested = torch.from_numpy(relax(magnet, spins[None].cpu().numpy()))[0]
    states = torch.stack((spins.cpu(), rested)).double()
    energy, charge = magnet.energy(states).tolist(), topological_charge(states, magnet).tolist()
    modulo = 60 if abs(charge[1]) >= 0.5 else 180
    return {
        "energy": energy[0],
        "energy_at_rest": energy[1],
        "charge": charge[0],
        "charge_at_rest": charge[1],
        "angle": wave_angle(magnet.structure_factor(states[1])).item() % modulo,
        "angle_modulo": modulo,
    }
