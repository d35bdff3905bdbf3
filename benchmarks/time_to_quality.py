"""CPU seconds per configuration against mean energy: the default schedule beside a linear heat bath, one kernel.

    python benchmarks/time_to_quality.py [--n 96]

Both end with the same finish.  The last tables hold the default against the heat-bath schedule whose mean energy is
nearest: the CPU time of a heat bath tuned to the default's energy, and whether both draw from one ensemble.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from time import process_time

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table

from physics.annealing import Annealing
from physics.chiral import ChiralMagnet
from physics.observables import charge_density, magnetization, nodal_points, topological_charge
from physics.replicas import batch_size

L, MAGNET = 128, ChiralMagnet(D=0.3)
PAPER, TARGET = 40_000, -0.0423  # configurations and mean energy of the 2023 paper
DEFAULT = Annealing()
FAMILIES = {
    "default": [DEFAULT.model_copy(update={"sweeps": sweeps}) for sweeps in (12, 25, 50, DEFAULT.sweeps, 200)],
    "linear heat bath": [Annealing(sweeps=sweeps, overrelaxation=0) for sweeps in (100, 300, 1000, 2000, 4000, 8000)],
}


@dataclass
class Point:
    family: str
    schedule: Annealing
    seconds: float
    spins: torch.Tensor

    @property
    def energy(self) -> torch.Tensor:
        return MAGNET.energy(self.spins)


def measure(family: str, schedule: Annealing, n: int) -> Point:
    started = process_time()
    spins = schedule.sample(MAGNET, L, 1, range(n)).spins
    return Point(family, schedule, (process_time() - started) / n, torch.from_numpy(spins))


def standard_error(x: torch.Tensor) -> float:
    return (x.std() / math.sqrt(len(x))).item()


def ensemble(spins: torch.Tensor) -> dict[str, torch.Tensor]:
    """One number a configuration."""
    density = MAGNET.structure_factor(spins)
    k = 2 * math.pi * torch.fft.fftfreq(L)
    length = torch.hypot(k[:, None], k[None, :])
    weight = density / density.sum((-2, -1), keepdim=True)
    mean_k = (weight * length).sum((-2, -1))
    return {
        "energy": MAGNET.energy(spins),
        "|M_z|": magnetization(spins)[:, 2].abs(),
        "W": topological_charge(spins),
        "|W|": topological_charge(spins).abs(),
        "merons (sum |q|)": charge_density(spins).abs().sum((-2, -1)),
        "nodal points": nodal_points(spins, MAGNET).sum((-2, -1)).float(),
        "<k> of S(k)": mean_k,
        "width of S(k)": ((weight * length.square()).sum((-2, -1)) - mean_k**2).clamp(min=0).sqrt(),
        "largest of S(k)": weight.amax((-2, -1)),
    }


def curve(points: list[Point]) -> Table:
    table = Table(title=f"L = {L}, D = {MAGNET.D}, B = 0", title_justify="left")
    for column in ("schedule", "sweeps", "over-relaxation", "energy", "std", "largest torque", "CPU s"):
        table.add_column(column, justify="right")
    table.add_column(f"h for {PAPER:,} on 2 cores", justify="right")
    for p in points:
        torque = MAGNET.torque(p.spins).max().item()
        moves = (f"{p.schedule.sweeps:,}", f"{p.schedule.overrelaxation}")
        reached = (f"{p.energy.mean():.5f}", f"{p.energy.std():.5f}", f"{torque:.1e}")
        table.add_row(p.family, *moves, *reached, f"{p.seconds:.3f}", f"{PAPER * p.seconds / 7200:.2f}")
    return table


def seconds_at(points: list[Point], energy: float) -> float:
    """CPU seconds at which a family reaches an energy, log-linear between its points."""
    reached = [p.energy.mean().item() for p in points]
    return float(
        np.exp(np.interp(-energy, np.maximum.accumulate(np.negative(reached)), np.log([p.seconds for p in points])))
    )


def main(n: int = 96) -> None:
    torch.set_num_threads(1)
    console = Console(width=120)
    Annealing(sweeps=1, finish=1).sample(MAGNET, L, 0, range(batch_size(L)))  # compiles
    points = [measure(family, schedule, n) for family, schedules in FAMILIES.items() for schedule in schedules]
    console.print(curve(points))
    default = next(p for p in points if p.schedule == DEFAULT)
    slow = [p for p in points if p.family != "default"]
    energy = default.energy.mean().item()
    ratio = seconds_at(slow, energy) / default.seconds
    console.print(f"a linear heat bath tuned to the default's {energy:.5f} takes {ratio:.1f} times its CPU time")
    console.print(f"target {TARGET}: {'reached' if energy <= TARGET else 'missed'}")
    nearest = min(slow, key=lambda p: abs(p.energy.mean().item() - energy))
    table = Table(
        title=f"one ensemble? default beside {nearest.schedule.sweeps:,} heat-bath sweeps", title_justify="left"
    )
    for column in ("", "default", "std", "heat bath", "std", "difference / its standard error"):
        table.add_column(column, justify="right")
    ours, theirs = ensemble(default.spins), ensemble(nearest.spins)
    for name, a in ours.items():
        b = theirs[name]
        error = math.hypot(standard_error(a), standard_error(b))
        apart = f"{(a.mean() - b.mean()).item() / error:.1f}" if error else "0"
        table.add_row(name, *(f"{x:.5f}" for x in (a.mean(), a.std(), b.mean(), b.std())), apart)
    console.print(table)


if __name__ == "__main__":
    typer.run(main)
