"""Parallel tempering: replicas of one magnet at a ladder of temperatures that exchange places, for ground states."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from physics.annealing import Replicas, relax
from physics.hamiltonian import Hamiltonian


class Ladder(BaseModel):
    """A run of parallel tempering (Hukushima and Nemoto, 1996).

    Attributes:
        temperatures: rungs, geometric from T_min to T_max.
        rounds: each is a heat-bath sweep, ``overrelaxation`` sweeps, and an attempted exchange of neighbours.
        torque: largest torque of the state returned, once every replica has been relaxed at T = 0.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    T_min: PositiveFloat = 0.1
    T_max: PositiveFloat = 0.8
    temperatures: Annotated[int, Field(ge=2)] = 48
    rounds: PositiveInt = 10_000
    overrelaxation: NonNegativeInt = 4
    torque: PositiveFloat = 1e-4

    @model_validator(mode="after")
    def _rising(self) -> Ladder:
        if self.T_min >= self.T_max:
            raise ValueError(f"T_min: expected less than T_max = {self.T_max}, found {self.T_min}")
        return self

    def rungs(self) -> np.ndarray:
        """float64 ``(temperatures,)``, rising."""
        return np.geomspace(self.T_min, self.T_max, self.temperatures)


class Tempered(NamedTuple):
    """What a run found.

    Attributes:
        spins: the state of lowest energy after relaxation, ``(3, L, L)``.
        acceptance: share of exchanges accepted between neighbouring rungs, ``(temperatures - 1,)``.
        energy: mean E/N at each rung over the second half of the run, ``(temperatures,)``.
        round_trips: times that a replica went from the coldest rung to the hottest and back.
    """

    spins: np.ndarray
    acceptance: np.ndarray
    energy: np.ndarray
    round_trips: int


def temper(
    hamiltonian: Hamiltonian,
    ladder: Ladder,
    L: int,
    seed: int,
    run: int = 0,
    progress: Callable[[int], None] = lambda done: None,
) -> Tempered:
    """One run: a function of (hamiltonian, ladder, L, seed, run) alone.

    Neighbours at temperatures T_a < T_b exchange with probability min(1, exp((1/T_a - 1/T_b)(E_a - E_b))), even
    pairs and odd pairs in turn.  What moves is the temperature; spins stay where they lie.

    Args:
        progress: called with the rounds done, every hundredth of them.

    Raises:
        ValueError: L is odd or below 4, or the mask has another size.
    """
    rungs, n = ladder.rungs(), ladder.temperatures
    replicas = Replicas(hamiltonian, L, seed, range(run * n, (run + 1) * n))
    chance = np.random.default_rng([seed, run, 1])
    at = np.arange(n)  # the replica at each rung
    tried, accepted, energy = np.zeros(n - 1), np.zeros(n - 1), np.zeros(n)
    heading, round_trips = np.zeros(n, int), 0  # +1 on its way up from the coldest rung, -1 down from the hottest
    for done in range(1, ladder.rounds + 1):
        temperatures = np.empty((1, n))
        temperatures[0, at] = rungs
        replicas.heat_bath(temperatures, ladder.overrelaxation)
        energies = replicas.energies()[at]
        if done > ladder.rounds // 2:
            energy += energies
        pairs = np.arange(done % 2, n - 1, 2)
        gain = (1 / rungs[pairs] - 1 / rungs[pairs + 1]) * (energies[pairs] - energies[pairs + 1])
        swap = pairs[np.log(1 - chance.random(len(pairs))) < gain]
        tried[pairs] += 1
        accepted[swap] += 1
        at[swap], at[swap + 1] = at[swap + 1], at[swap]
        round_trips += int(heading[at[0]] == -1)
        heading[at[0]] = 1
        heading[at[-1]] = -abs(heading[at[-1]])
        if done % max(1, ladder.rounds // 100) == 0:
            progress(done)
    relaxed = relax(hamiltonian, replicas.spins(), torque=ladder.torque)
    lowest = relaxed[Replicas(hamiltonian, L, seed, range(n), relaxed).energies().argmin()]
    sites = hamiltonian.sites(L).sum()
    measured = ladder.rounds - ladder.rounds // 2
    return Tempered(lowest, accepted / np.maximum(tried, 1), energy / (measured * sites), round_trips)
