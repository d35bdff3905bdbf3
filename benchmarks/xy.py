"""The XY system: its kernel, energies of held pairs, memory of chains, polish of generated fields and their reach.

    python benchmarks/xy.py kernel            CPU time per proposal beside a scalar kernel and the magnet's heat bath
    python benchmarks/xy.py pairs             energy of a held pair against its distance beside the Coulomb gas
    python benchmarks/xy.py memory            autocorrelation times in sweeps
    python benchmarks/xy.py polish STORE      time to equilibrium from generated fields and from the vortex field
    python benchmarks/xy.py beyond STORE      generated fields of larger lattices, more vortices, other temperatures

Times are CPU times of this process on one core, the median of several rounds in which every contestant takes its turn.
"""

from __future__ import annotations

import math
import statistics
import sys
from collections.abc import Callable
from time import process_time
from typing import Any

import numba as nb
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from physics import thermal
from physics.chiral import ChiralMagnet
from physics.metropolis import Metropolis, PlanarReplicas
from physics.replicas import Replicas, batch_size
from physics.vortices import charges, coulomb_energy, vortex_field
from physics.xy import XY

T, L, N = 0.1, 16, 256
MODEL = XY()
DISTANCES = (1, 1.414, 2, 2.236, 2.828, 3, 3.162, 3.606, 4, 4.123, 4.472, 5, 6, 7, 8)


def show(title: str, columns: tuple[str, ...], rows: list[tuple]) -> None:
    table = Table(title=title)
    for column in columns:
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(*(f"{cell:.5g}" if isinstance(cell, float) else str(cell) for cell in row))
    Console(width=150).print(table)


def chains(spins: np.ndarray, held: bool, seed: int = 0) -> PlanarReplicas:
    return PlanarReplicas(MODEL, [np.random.default_rng([seed, i]) for i in range(len(spins))], spins, held)


def columns(spins: np.ndarray) -> dict[str, np.ndarray]:
    states = torch.from_numpy(spins)
    return {name: o.measure(states).double().numpy() for name, o in MODEL.observables.items()}


# Kernel


@nb.njit(fastmath=True)
def scalar(angle: np.ndarray, sweeps: int, T: float, width: float) -> int:
    """Plain Metropolis on angles, site by site, as it is usually written; returns how many moves were accepted."""
    L = angle.shape[0]
    taken = 0
    for _ in range(sweeps):
        for y in range(L):
            for x in range(L):
                old = angle[y, x]
                new = old + width * (2 * np.random.random() - 1)
                rise = 0.0
                around = (angle[(y + 1) % L, x], angle[y - 1, x], angle[y, (x + 1) % L], angle[y, x - 1])
                for other in around:
                    rise += math.cos(old - other) - math.cos(new - other)
                if rise <= 0 or np.random.random() < math.exp(-rise / T):
                    angle[y, x] = new
                    taken += 1
    return taken


def kernel() -> None:
    rows = []
    for size in (16, 32, 64):
        replicas = batch_size(size)
        start = np.zeros((replicas, 2, size, size), np.float32)
        start[:, 0] = 1
        free, held = chains(start, False), chains(start, True)
        magnet = Replicas(ChiralMagnet(D=0.6), size, 1, range(replicas))
        temperatures, one = np.full(replicas, T), np.zeros((size, size))
        plain = 4 * replicas * size**2  # updates a round
        contestants: dict[str, tuple[Callable[[], object], int]] = {
            "scalar": (lambda one=one, size=size: scalar(one, 400, T, 0.5), 400 * size**2),
            "metropolis, free": (lambda b=free, t=temperatures: b.metropolis(t, 4), plain),
            "metropolis, held": (lambda b=held, t=temperatures: b.metropolis(t, 4), plain),
            "over-relaxation, held": (lambda b=held, t=temperatures: b.metropolis(t, 4, 16), plain),
            "heat bath of a magnet": (lambda b=magnet: b.heat_bath(np.full(4, T)), plain),
        }
        times: dict[str, list[float]] = {name: [] for name in contestants}
        for turn in range(8):
            for name, (work, updates) in contestants.items():
                begun = process_time()
                work()
                if turn:
                    times[name].append(1e9 * (process_time() - begun) / updates)
        found = {name: statistics.median(values) for name, values in times.items()}
        found["over-relaxation, held"] = (found["over-relaxation, held"] - found["metropolis, held"]) / 16
        rows.append((size, replicas, *found.values(), found["scalar"] / found["metropolis, held"]))
    show("ns of CPU per proposal", ("L", "replicas", *contestants, "scalar / held"), rows)


# Pairs


def pairs() -> None:
    """The internal energy of a vortex is U = F - T dF/dT, so its stiffness is Y - T dY/dT, which is J up to T^2."""
    for size, distances, n in ((16, DISTANCES, 1000), (32, (2, 3, 4, 6, 8, 10, 12, 14, 16), 400)):
        sampler = Metropolis(temperatures=[T], distances=[0, *distances], sweeps=150)
        samples = sampler.sample(MODEL, size, 1, range(n * (1 + len(distances))))
        labels, found = samples.labels, columns(samples.spins)
        energy, distance = size**2 * found["energy"], labels["distance"]
        coulomb = coulomb_energy(torch.from_numpy(labels["charges"])).numpy()
        still = thermal.mean(energy[distance == 0])
        rows = []
        for d in distances:
            here = np.isclose(distance, d, atol=1e-3)
            pair = thermal.mean(energy[here])
            rows.append((d, pair.value - still.value, math.hypot(pair.error, still.error), coulomb[here].mean()))
        r, excess, error, gas = np.array(rows).T
        far = r >= 4
        design = np.stack((np.ones(far.sum()), gas[far]), 1) / error[far, None]
        (core, stiffness), *_ = np.linalg.lstsq(design, excess[far] / error[far], rcond=None)
        spread = np.sqrt(np.diag(np.linalg.inv(design.T @ design)))
        shifted = excess - gas - (excess - gas)[far].mean()
        helicity = thermal.jackknife(
            MODEL.responses["helicity_modulus"], {k: v[distance == 0] for k, v in found.items()}, T, size**2
        )
        print(
            f"L = {size}: U(r) - U(0) = {core:.3f} + ({stiffness:.3f} ± {spread[1]:.3f}) Coulomb gas for r >= 4; "
            f"helicity modulus without a pair {helicity.value:.4f} ± {helicity.error:.4f}"
        )
        show(
            f"Energy of a held pair at T = {T}, L = {size}, in units of J",
            ("r", "U(r) - U(0)", "error", "Coulomb gas", "U - gas - mean", "2 pi ln r", "residual of the fit"),
            [
                (float(d), e, s, g, h, 2 * math.pi * math.log(d), e - core - stiffness * g)
                for d, e, s, g, h in zip(r, excess, error, gas, shifted, strict=True)
            ],
        )


# Memory of the chains


def memory() -> None:
    rows = []
    for T_, reflections in ((0.1, 0), (0.1, 4), (0.8929, 0), (0.8929, 4)):
        spins = Metropolis(temperatures=[T_], sweeps=100).sample(MODEL, L, 1, range(512)).spins
        batch, series = chains(spins, False), []
        for _ in range(600):
            batch.metropolis(np.full(512, T_), 1, reflections)
            series.append(list(columns(batch.spins()).values()))
        tau = [thermal.autocorrelation_time(part) for part in np.array(series).transpose(1, 0, 2)]
        rows.append((T_, reflections, *tau))
    show(
        f"Integrated autocorrelation times, in Metropolis sweeps each with its over-relaxation, L = {L}",
        ("T", "over-relaxation", *MODEL.observables),
        rows,
    )


# Polish

SWEEPS = (0, 1, 2, 4, 8, 16, 32, 64, 128)
STATED = {"energy": 1e-4, "heat_capacity": 0.02}


def decoder_in(store: str) -> Any:
    """The newest model of a store that takes charges."""
    from orchestrator.store import Store
    from orchestrator.training.trained import TrainedModel, conditioned_on

    place = Store(store)
    return TrainedModel(conditioned_on("charges", place), place).decoder


def generate(decoder: Any, given: torch.Tensor, n: int, T_: float = T) -> torch.Tensor:
    from nets.sampling import decode, prior

    labels = {"charges": given.expand(n, *given.shape), "temperature": torch.full((n,), T_)}
    return decode(decoder, prior(n, decoder.codes(given.shape[-1]), 1), labels, 64)


def equilibrium(given: torch.Tensor, n: int, T_: float = T, sweeps: int = 500) -> np.ndarray:
    """Independent fields whose charges are held, from the vortex field."""
    exact = chains(np.repeat(vortex_field(given).float()[None].numpy(), n, 0), True, 7)
    exact.metropolis(np.full(n, T_), sweeps, 4)
    return exact.spins()


def kept(spins: torch.Tensor, given: torch.Tensor) -> torch.Tensor:
    return (charges(spins) == given).flatten(1).all(1)


def starts(store: str, given: torch.Tensor, n: int) -> dict[str, tuple[np.ndarray, float]]:
    """Fields with the charges from each start, and the CPU seconds that one of them took."""
    decoder = decoder_in(store)
    labels = {"charges": given.expand(n, *given.shape), "temperature": torch.full((n,), T)}
    made: dict[str, Callable[[], torch.Tensor]] = {
        "vortex field": lambda: vortex_field(labels["charges"]).float(),
        "spin waves": lambda: MODEL.baselines(labels, 1)["spin waves"],
        "generated": lambda: generate(decoder, given, n),
    }
    found = {}
    for name, make in made.items():
        begun = process_time()
        spins = make()
        seconds = (process_time() - begun) / n
        found[name] = (spins[kept(spins, given)].numpy(), seconds)
    return found


def estimates(spins: np.ndarray, T_: float = T) -> dict[str, thermal.Estimate]:
    return thermal.estimates(columns(spins), MODEL.responses, T_, spins.shape[-1] ** 2)


def polish(store: str, n: int = 20_000) -> None:
    """Bias after some sweeps from each start, and the CPU time until E and C_v stay within the stated errors."""
    from physics.render import figure_of

    figure, axes = figure_of(2, 2, (11, 7))
    for row, steps in zip(axes, ((2, 0), (4, 1)), strict=True):
        given = torch.zeros(L, L, dtype=torch.int8)
        given[3, 3], given[3 + steps[1], 3 + steps[0]] = 1, -1
        true = estimates(equilibrium(given, 2 * n))
        for reflections in (0, 4):
            rows = []
            for name, (spins, seconds) in starts(store, given, n).items():
                batch, done, spent = chains(spins, True, reflections), 0, 0.0
                curve = []
                for end in SWEEPS:
                    begun = process_time()
                    batch.metropolis(np.full(len(spins), T), end - done, reflections)
                    spent += (process_time() - begun) / len(spins)
                    done = end
                    now = estimates(batch.spins())
                    curve.append((seconds + spent, *(now[key].value - true[key].value for key in STATED)))
                times, *biases = np.array(curve).T
                reached = []
                for axis, bias, (key, stated) in zip(row, biases, STATED.items(), strict=True):
                    noise = math.hypot(true[key].error, now[key].error)
                    within = np.abs(bias) < max(stated, 2 * noise)
                    first = len(within) - int(np.argmin(within[::-1])) if not within.all() else 0
                    reached.append(f"{1e6 * times[first]:.0f} ({SWEEPS[first]})" if first < len(times) else "not")
                    style = "o-" if reflections else "o--"
                    axis.loglog(1e6 * times, np.abs(bias), style, label=f"{name}, {reflections} over-relaxations")
                    axis.axhline(stated, color="k", lw=0.5)
                    axis.set(xlabel="CPU time a field, μs", title=f"|bias| of {key}, pair at {math.hypot(*steps):.2f}")
                rows.append((name, len(spins) / n, 1e6 * seconds, biases[0][0], biases[1][0], *reached))
            show(
                f"T = {T}, pair at {math.hypot(*steps):.3f}, {reflections} over-relaxations a sweep; reference "
                f"E = {true['energy'].value:.5f} ± {true['energy'].error:.5f}, "
                f"C_v = {true['heat_capacity'].value:.4f} ± {true['heat_capacity'].error:.4f}",
                (
                    "start",
                    "charges kept",
                    "μs a field",
                    "bias of E",
                    "bias of C_v",
                    "E: μs (sweeps)",
                    "C_v: μs (sweeps)",
                ),
                rows,
            )
    axes[0, 0].legend(fontsize="x-small")
    figure.savefig("xy_polish.png", dpi=110)


# Beyond what a model was trained on


def arrangement(size: int, pairs: int, rng: np.random.Generator) -> torch.Tensor:
    """Charges int8 ``(L, L)`` of pairs anywhere, no two vortices within two sites of each other."""
    places: list[np.ndarray] = []
    while len(places) < 2 * pairs:
        place = rng.integers(size, size=2)
        if all(np.hypot(*((place - other + size // 2) % size - size // 2)) > 2 for other in places):
            places.append(place)
    given = torch.zeros(size, size, dtype=torch.int8)
    for number, (x, y) in enumerate(places):
        given[y, x] = 1 - 2 * (number % 2)
    return given


def beyond(store: str, n: int = 1000, arrangements: int = 4) -> None:
    """Generated fields beside Metropolis's, the differences in standard errors of one arrangement's n fields."""
    decoder, rng, rows = decoder_in(store), np.random.default_rng(0), []
    cases = [(size, pairs, T) for size in (16, 32, 64) for pairs in (1, (size // 16) ** 2 * 3)]
    cases += [(16, 1, T_) for T_ in (0.2, 0.35, 0.5, 0.7, 0.8929)]
    for size, pairs, T_ in cases:
        found, share = [], []
        for _ in range(arrangements):
            given = arrangement(size, pairs, rng)
            made = generate(decoder, given, n, T_)
            share.append(kept(made, given).float().mean().item())
            found.append((estimates(equilibrium(given, n, T_), T_), estimates(made.numpy(), T_)))
        for name in found[0][0]:
            true, own = (np.array([part[which][name] for part in found]) for which in (0, 1))
            away = np.abs(own[:, 0] - true[:, 0])
            errors = np.hypot(own[:, 1], true[:, 1])
            rows.append(
                (size, pairs, T_, np.mean(share), name, true[:, 0].mean(), own[:, 0].mean(), (away / errors).max())
            )
    show(
        f"{arrangements} arrangements of {n} fields: means, and the largest difference in its standard errors",
        ("L", "pairs", "T", "charges kept", "figure", "Metropolis", "generated", "largest difference / error"),
        [tuple(float(c) if isinstance(c, np.floating) else c for c in row) for row in rows],
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    parts: dict[str, Callable[..., None]] = {
        "kernel": kernel,
        "pairs": pairs,
        "memory": memory,
        "polish": polish,
        "beyond": beyond,
    }
    parts[sys.argv[1]](*sys.argv[2:])
