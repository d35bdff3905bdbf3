"""Parallel tempering: replicas of one magnet at a ladder of temperatures that exchange places, for ground states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field, PositiveFloat, model_validator

from physics.chiral import ChiralMagnet
from physics.model import Curve, SpinModel
from physics.replicas import Replicas, relax
from physics.sampler import Device, Sampler, Samples, check_kind, not_at_rest


class Tempering(Sampler):
    """Parallel tempering (Hukushima and Nemoto, 1996): configuration i is the lowest state that run i found.

    Neighbours at temperatures T_a < T_b exchange with probability min(1, exp((1/T_a - 1/T_b)(E_a - E_b))), even
    pairs and odd pairs in turn.  What moves is the temperature; spins stay where they lie.

    Attributes:
        temperatures: rungs, geometric from T_min to T_max.
        rounds: each is a heat-bath sweep, ``overrelaxation`` sweeps, and an attempted exchange of neighbours.
        torque: largest torque of the state returned, once every replica has been relaxed at T = 0.
    """

    prefix: ClassVar[str] = "tempering-"
    labels: ClassVar[tuple[str, ...]] = ("acceptance", "rung_energy", "round_trips")
    about_curves: ClassVar[str] = (
        "Left, the share of exchanges accepted between neighbouring temperatures: replicas pass where it is well above "
        "0, best 0.2 and more. Right, the mean energy at each temperature in the second half of a run; it rises "
        "without gaps where the ladder is dense enough."
    )

    name: Literal["tempering"] = "tempering"
    T_min: PositiveFloat = 0.1
    T_max: PositiveFloat = 0.8
    temperatures: Annotated[int, Field(ge=2, le=10_000)] = 48
    rounds: Annotated[int, Field(gt=0, le=10**9)] = 10_000
    overrelaxation: Annotated[int, Field(ge=0, le=10**6)] = 4
    torque: PositiveFloat = 1e-4

    @model_validator(mode="after")
    def _rising(self) -> Tempering:
        if self.T_min >= self.T_max:
            raise ValueError(f"T_min: expected less than T_max = {self.T_max}, found {self.T_min}")
        return self

    def rungs(self) -> np.ndarray:
        """float64 ``(temperatures,)``, rising."""
        return np.geomspace(self.T_min, self.T_max, self.temperatures)

    def check(self, model: SpinModel, L: int) -> None:
        check_kind(self, model, ChiralMagnet)
        model.check(L)

    def spin_updates(self, L: int) -> float:
        return self.temperatures * self.rounds * (1 + self.overrelaxation) * L**2

    def curves(self, labels: Mapping[str, np.ndarray], model: SpinModel, L: int) -> list[tuple[Curve, np.ndarray]]:
        """Acceptance between neighbouring rungs, and mean energy at each from parallel spins on, by temperature."""
        T = self.rungs()
        parallel = float(model.site_energy(torch.zeros(model.components, L, L)).sum() / model.sites(L).sum())
        between, energy = labels["acceptance"].mean(0), labels["rung_energy"].mean(0) + parallel
        accepted = Curve(np.sqrt(T[:-1] * T[1:]), "share of exchanges accepted", "temperature (J)")
        return [(accepted, between), (Curve(T, "ε, mean (J per spin)", "temperature (J)"), energy)]

    def remarks(self, samples: Samples, model: SpinModel) -> list[str]:
        said = not_at_rest(samples.spins, model, self.torque, "Another seed may descend to rest.")
        T, none = self.rungs(), np.flatnonzero(samples.labels["acceptance"].max(0) == 0)
        if len(none):
            said.append(
                f"No exchange was accepted between {len(none)} of the {len(T) - 1} pairs of neighbouring temperatures, "
                f"first between {T[none[0]]:.4g} and {T[none[0] + 1]:.4g} J: replicas do not pass there. More "
                "temperatures (sampler.temperatures) or more rounds (sampler.rounds) help."
            )
        if not samples.labels["round_trips"].any():
            said.append(
                "No replica went from the coldest temperature to the hottest and back, so the states found may depend "
                "on the start. More rounds (sampler.rounds) help."
            )
        return said

    def sample(self, model: SpinModel, L: int, seed: int, indices: Sequence[int], device: Device = "cpu") -> Samples:
        """The lowest state of each run, relaxed, and how well the run mixed.

        The labels are ``acceptance`` ``(n, temperatures - 1)``, the share of exchanges accepted between neighbouring
        rungs; ``rung_energy`` ``(n, temperatures)``, mean E/N at each rung over the second half of the run; and
        ``round_trips`` ``(n,)``, how often a replica went from the coldest rung to the hottest and back.
        """
        self.check(model, L)
        assert isinstance(model, ChiralMagnet)
        runs = [_run(model, self, L, seed, index) for index in indices]
        spins, *labels = (np.stack(values) for values in zip(*runs, strict=True))
        return Samples(spins, dict(zip(self.labels, labels, strict=True)))


def _run(
    magnet: ChiralMagnet, ladder: Tempering, L: int, seed: int, run: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Lowest state ``(3, L, L)``, acceptance, mean energies and round trips of one run."""
    rungs, n = ladder.rungs(), ladder.temperatures
    replicas = Replicas(magnet, L, seed, range(run * n, (run + 1) * n))
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
    relaxed = relax(magnet, replicas.spins(), torque=ladder.torque)
    lowest = relaxed[Replicas(magnet, L, seed, range(n), relaxed).energies().argmin()]
    sites = magnet.sites(L).sum()
    measured = ladder.rounds - ladder.rounds // 2
    return lowest, accepted / np.maximum(tried, 1), energy / (measured * sites), round_trips
