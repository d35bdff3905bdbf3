"""CPU time per spin update: the kernel beside a plain heat bath in numba and one in C.

    python benchmarks/annealing.py [--quick]

Times are CPU times of this process (so a busy machine matters little), the median of several rounds in which
every contestant takes its turn.  All run at T = 1 from random spins, and must agree on the energy.
"""

from __future__ import annotations

import ctypes
import math
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import process_time

import numba as nb
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from physics.chiral import ChiralMagnet
from physics.replicas import Replicas, batch_size

MAGNET = ChiralMagnet(D=0.3)
T = 1.0
REFLECTIONS = 4


@nb.njit(fastmath=True)
def numba_heat_bath(spins, sweeps, J, D, B, T):
    """Heat-bath sweeps over float64 ``(L, L, 3)``, Bloch, periodic."""
    L = len(spins)
    for _ in range(sweeps):
        for y in range(L):
            for x in range(L):
                r, l = spins[y, (x + 1) % L], spins[y, (x - 1) % L]  # noqa: E741
                u, d = spins[(y + 1) % L, x], spins[(y - 1) % L, x]
                hx = J * (r[0] + l[0] + u[0] + d[0]) - D * (u[2] - d[2])
                hy = J * (r[1] + l[1] + u[1] + d[1]) + D * (r[2] - l[2])
                hz = J * (r[2] + l[2] + u[2] + d[2]) + D * (u[0] - d[0] - r[1] + l[1]) + B
                h = math.sqrt(hx * hx + hy * hy + hz * hz)
                a = np.random.random()
                cos = 1 + T / h * math.log(a + (1 - a) * math.exp(-2 * h / T))
                sin = math.sqrt(max(0.0, 1 - cos * cos))
                phi = 2 * math.pi * np.random.random()
                c, s = sin * math.cos(phi), sin * math.sin(phi)
                hx, hy, hz = hx / h, hy / h, hz / h
                across = math.sqrt(hx * hx + hy * hy) + 1e-30
                ex, ey = -hy / across, hx / across
                spins[y, x, 0] = cos * hx + c * ex - s * hz * ey
                spins[y, x, 1] = cos * hy + c * ey + s * hz * ex
                spins[y, x, 2] = cos * hz + s * (hx * ey - hy * ex)


C_SOURCE = r"""
#include <math.h>
#include <stdint.h>
static uint64_t state = 88172645463325252u;
static double uniform(void) {
    state ^= state >> 12; state ^= state << 25; state ^= state >> 27;
    return ((state * 2685821657736338717u) >> 11) * 0x1p-53;
}
void heat_bath(double *spins, int L, int sweeps, double J, double D, double B, double T) {
    double (*S)[L][3] = (double (*)[L][3])spins;
    for (int sweep = 0; sweep < sweeps; sweep++)
        for (int y = 0; y < L; y++)
            for (int x = 0; x < L; x++) {
                const double *r = S[y][(x + 1) % L], *l = S[y][(x + L - 1) % L];
                const double *u = S[(y + 1) % L][x], *d = S[(y + L - 1) % L][x];
                double hx = J * (r[0] + l[0] + u[0] + d[0]) - D * (u[2] - d[2]);
                double hy = J * (r[1] + l[1] + u[1] + d[1]) + D * (r[2] - l[2]);
                double hz = J * (r[2] + l[2] + u[2] + d[2]) + D * (u[0] - d[0] - r[1] + l[1]) + B;
                double h = sqrt(hx * hx + hy * hy + hz * hz);
                double a = uniform();
                double cos_h = 1 + T / h * log(a + (1 - a) * exp(-2 * h / T));
                double sin_h = sqrt(fmax(0, 1 - cos_h * cos_h));
                double phi = 2 * M_PI * uniform();
                double c = sin_h * cos(phi), s = sin_h * sin(phi);
                hx /= h; hy /= h; hz /= h;
                double across = sqrt(hx * hx + hy * hy) + 1e-30;
                double ex = -hy / across, ey = hx / across;
                S[y][x][0] = cos_h * hx + c * ex - s * hz * ey;
                S[y][x][1] = cos_h * hy + c * ey + s * hz * ex;
                S[y][x][2] = cos_h * hz + s * (hx * ey - hy * ex);
            }
}
"""

HeatBath = Callable[[np.ndarray, int], None]


def plain_numba(spins: np.ndarray, sweeps: int) -> None:
    numba_heat_bath(spins, sweeps, MAGNET.J, MAGNET.D, MAGNET.B, T)


def plain_c() -> HeatBath | None:
    """The C source compiled on the spot; None without a compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        source, library = Path(folder, "heat_bath.c"), Path(folder, "heat_bath.so")
        source.write_text(C_SOURCE)
        flags = ("-O3", "-march=native", "-ffast-math", "-shared", "-fPIC")
        subprocess.run([compiler, *flags, source, "-o", library, "-lm"], check=True)
        function = ctypes.CDLL(str(library)).heat_bath
    function.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_int, *[ctypes.c_double] * 4]

    def run(spins: np.ndarray, sweeps: int) -> None:
        function(spins.ctypes.data, len(spins), sweeps, MAGNET.J, MAGNET.D, MAGNET.B, T)

    return run


def cpu_seconds(run: Callable[[], object]) -> float:
    start = process_time()
    run()
    return process_time() - start


def medians(contestants: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median CPU seconds of each, one turn a round, after one turn that is not counted."""
    for run in contestants.values():
        run()
    times = [{name: cpu_seconds(run) for name, run in contestants.items()} for _ in range(rounds)]
    return {name: statistics.median(time[name] for time in times) for name in contestants}


def random_spins(L: int) -> np.ndarray:
    spins = np.random.default_rng(0).standard_normal((L, L, 3))
    return spins / np.linalg.norm(spins, axis=-1, keepdims=True)


def energy(spins: np.ndarray) -> float:
    """E/N of spins ``(..., 3, L, L)``."""
    return MAGNET.energy(torch.from_numpy(spins)).mean().item() - 2


def race(L: int, updates: int, c: HeatBath | None, rounds: int) -> tuple[list[str], list[str]]:
    """Table rows of one lattice size: ns per update of every contestant, and the energies they reach."""
    replicas, sites = batch_size(L), L * L
    batch = Replicas(MAGNET, L, 1, range(replicas))
    sweeps, plain_sweeps = max(2, 10 * updates // (sites * replicas)), max(2, updates // sites)
    temperatures = np.full(sweeps, T)
    plain = {"numba": plain_numba} | ({"C": c} if c else {})
    spins = {name: random_spins(L) for name in plain}
    contestants: dict[str, Callable[[], object]] = {
        "heat bath": lambda: batch.heat_bath(temperatures),
        "with reflections": lambda: batch.heat_bath(temperatures, REFLECTIONS),
    }
    for name, heat_bath in plain.items():
        contestants[name] = partial(heat_bath, spins[name], plain_sweeps)
    seconds = medians(contestants, rounds)

    ns = 1e9 / (sites * replicas)
    kernel = seconds["heat bath"] * ns / sweeps
    reflection = (seconds["with reflections"] - seconds["heat bath"]) * ns / (sweeps * REFLECTIONS)
    plain_ns = [seconds[name] * 1e9 / (sites * plain_sweeps) for name in plain]
    reached = [energy(np.moveaxis(state, -1, 0).copy()) for state in spins.values()]
    row = [f"{L}", f"{replicas}", f"{kernel:.2f}", f"{reflection:.2f}"]
    row += [f"{t:.1f}" for t in plain_ns] + [f"{t / kernel:.1f}" for t in plain_ns]
    return row, [f"{L}", *(f"{e:.4f}" for e in (energy(batch.spins()), *reached))]


def sizes(lattices: list[int], updates: int, rounds: int) -> tuple[Table, Table]:
    c = plain_c()
    names = ["numba", "C"] if c else ["numba"]
    speed = Table(title="ns of CPU time per spin update", title_justify="left")
    ratios = [f"{name} / kernel" for name in names]
    for column in ("L", "replicas", "heat bath", "over-relaxation", *names, *ratios):
        speed.add_column(column, justify="right")
    energies = Table(title=f"E/N at T = {T:g} after the last round", title_justify="left")
    for column in ("L", "kernel", *names):
        energies.add_column(column, justify="right")
    for L in lattices:
        times, reached = race(L, updates, c, rounds)
        speed.add_row(*times)
        energies.add_row(*reached)
    return speed, energies


def variants(L: int, updates: int, rounds: int) -> Table:
    """ns per heat-bath update of the kernel's other rows: anisotropy, open edges, a mask."""
    y, x = np.mgrid[:L, :L] - (L - 1) / 2
    magnets = {
        "periodic": MAGNET,
        "K = 0.5": MAGNET.model_copy(update={"K": 0.5}),
        "open": MAGNET.model_copy(update={"boundary": "open"}),
        "masked to a disk": ChiralMagnet(D=0.3, mask=np.hypot(x, y) < L / 2),
    }
    replicas = batch_size(L)
    sweeps = max(2, 10 * updates // (L * L * replicas))

    def contestant(magnet: ChiralMagnet) -> Callable[[], None]:
        batch = Replicas(magnet, L, 1, range(replicas))
        return lambda: batch.heat_bath(np.full(sweeps, T))

    seconds = medians({name: contestant(magnet) for name, magnet in magnets.items()}, rounds)
    table = Table(title=f"ns per heat-bath update at L = {L}, {replicas} replicas", title_justify="left")
    table.add_column("magnet")
    table.add_column("per lattice site", justify="right")
    table.add_column("per spin present", justify="right")
    for name, magnet in magnets.items():
        per_site = seconds[name] / (sweeps * L * L * replicas) * 1e9
        table.add_row(name, f"{per_site:.2f}", f"{per_site / magnet.sites(L).mean():.2f}")
    return table


def cpu_model() -> str:
    try:
        found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    return found[1] if found else platform.processor() or platform.machine()


def main(quick: bool) -> None:
    torch.set_num_threads(1)
    updates, rounds = (10**5, 3) if quick else (2 * 10**6, 7)
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(f"{cpu_model()}, {platform.platform()}, numba {nb.__version__} ({nb.config.CPU_NAME or 'host'})")
    for table in sizes([32, 64, 128, 256], updates, rounds):
        console.print(table)
    console.print(variants(128, updates, rounds))


if __name__ == "__main__":
    main(quick="--quick" in sys.argv[1:])
