"""What a GPU makes of the kernel, of training at the papers' sizes, and of sampling.

    python benchmarks/gpu.py [--quick]

Times are by the wall clock, the median of several rounds, the GPU waited for.  Networks are trained on random spins.
Without a GPU, TRITON_INTERPRET=1 and --quick show that it runs.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from time import perf_counter

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from nets.sampling import ddls, decode, prior
from nets.system import Batch, build
from nets.training import Data, fit
from orchestrator.config import load, shipped, shipped_file
from orchestrator.data.request import DatasetConfig
from orchestrator.training.request import TrainConfig
from physics.annealing import Annealing
from physics.chiral import ChiralMagnet
from physics.replicas import batch_size, finish_omega, replicas_on

MAGNET = ChiralMagnet(D=0.3)
T = 1.0
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
ROUNDS = 3


def seconds(run: Callable[[], object], rounds: int = ROUNDS) -> float:
    """Median of several turns, after one that is not counted; the only turn, if ``rounds`` is 0."""
    times = []
    for _ in range(rounds + 1):
        started = perf_counter()
        run()
        if DEVICE == "cuda":
            torch.cuda.synchronize()
        times.append(perf_counter() - started)
    return statistics.median(times[1:] or times)


def table(title: str, columns: list[str]) -> Table:
    made = Table(title=title, title_justify="left", box=None)
    for column in columns:
        made.add_column(column, justify="right")
    return made


def copying(quick: bool) -> float:
    """Bytes a second of a copy on the device, read and written: what the memory gives."""
    numbers = torch.rand(2**20 if quick else 2**28, device=DEVICE)
    return 2 * numbers.nbytes / seconds(numbers.clone)


def kernel(quick: bool) -> Table:
    """Updates a second; E/N at T = 1 and L = 128 is -0.8089."""
    bandwidth = copying(quick)
    columns = ["L", "replicas", "heat bath", "of the memory's", "reflection", "of the memory's", "E/N"]
    made = table(f"spin updates a second; the memory copies {bandwidth / 1e12:.2f} TB/s", columns)
    for L in [8] if quick else [32, 64, 128]:
        full = 4 if quick else batch_size(L, "gpu")
        for replicas in (full, max(1, full // 8), max(1, full // 64)):
            batch = replicas_on("gpu")(MAGNET, L, 1, range(replicas))
            sweeps = 2 if quick else 100
            heat = seconds(lambda: batch.heat_bath(np.full(sweeps, T))) / sweeps  # noqa: B023
            reflected = (seconds(lambda: batch.heat_bath(np.full(1, T), sweeps)) - heat) / sweeps  # noqa: B023
            row = [f"{L}", f"{replicas}"]
            for taken, moved in ((heat, 24), (reflected, 36)):
                rate = L * L * replicas / taken
                row += [f"{rate:.3g}", f"{rate * moved / bandwidth:.0%}"]
            made.add_row(*row, f"{batch.energies().mean() / L**2:.4f}")
    return made


def annealing(quick: bool) -> Table:
    """One full batch of the default schedule, from nothing to spins in memory."""
    schedule, L = (Annealing(sweeps=2, finish=3), 8) if quick else (Annealing(), 128)
    size = 4 if quick else batch_size(L, "gpu")
    Annealing(sweeps=1, finish=1).sample(MAGNET, L, 0, range(16), "gpu")  # compiles
    batch = replicas_on("gpu")(MAGNET, L, 1, range(size))
    start = seconds(lambda: replicas_on("gpu")(MAGNET, L, 1, range(size)))
    moves = seconds(lambda: batch.heat_bath(schedule.temperatures(), schedule.overrelaxation), 0)
    found: list[np.ndarray] = []
    finish = seconds(lambda: found.append(batch.relax(schedule.finish, schedule.torque, finish_omega(L))), 0)
    energy = MAGNET.energy(torch.from_numpy(found[0])).mean()
    made = table(f"{size} configurations annealed, L = {L}, ε = {energy:.5f}", ["", "s", "ms a configuration"])
    for name, taken in {"start": start, "heat bath and reflections": moves, "finish, and back": finish}.items():
        made.add_row(name, f"{taken:.2f}", f"{1000 * taken / size:.2f}")
    return made


def configurations(quick: bool) -> dict[str, TrainConfig]:
    """Trainings at the papers' sizes, each in every precision that it knows."""
    found = {}
    for name in shipped("systems"):
        config = load(
            TrainConfig,
            shipped_file("systems", name),
            None if quick else "paper",
            {"batch": 4} if quick else None,
            {"dataset": lambda text, scale: load(DatasetConfig, f"{text}.yaml", scale).model_dump()},
        )
        known = ("float32", "bfloat16") if "precision" in type(config.system).model_fields else ("float32",)
        for precision in known:
            changed = {"precision": precision} if len(known) > 1 else {}
            system = config.system.model_copy(update=changed)
            found[f"{name}, {precision}"] = config.model_copy(update={"system": system})
    return found


def training(quick: bool) -> Table:
    """Seconds of a step as the loop makes it and of the networks by themselves, memory, hours of the whole."""
    columns = ["", "batch", "ms a step", "networks alone", "GiB", "steps", "hours", "loss"]
    made = table("training at the papers' sizes", columns)
    steps = 1 if quick else 50
    for name, config in configurations(quick).items():
        batch, L, losses = config.batch, config.dataset.L, {}
        system = build(config.system, config.dataset.hamiltonian, DEVICE)
        spins = torch.nn.functional.normalize(torch.randn(10 * batch, 3, L, L, device=DEVICE), dim=1)

        def draw(count: int, width: int) -> torch.Tensor:
            return torch.randn(count, width, device=DEVICE)

        def bare() -> None:
            for _ in range(steps):
                system.settings.step(system, Batch(spins[:batch]), draw)  # noqa: B023

        def loop() -> None:
            fit(system, Data(spins), batch, range(steps), 0, lambda done, means: losses.update(means))  # noqa: B023

        if DEVICE == "cuda":
            torch.cuda.reset_peak_memory_stats()
        whole, networks = seconds(loop) / steps, seconds(bare) / steps
        memory = torch.cuda.max_memory_allocated() / 2**30 if DEVICE == "cuda" else float("nan")
        row = [name, f"{batch}", f"{1000 * whole:.1f}", f"{1000 * networks:.1f}", f"{memory:.1f}", f"{config.steps}"]
        made.add_row(*row, f"{whole * config.steps / 3600:.1f}", f"{sum(losses.values()):.3g}")
    return made


def sampling(quick: bool) -> Table:
    """Samples a second of the hybrid, from the prior and after steps up its discriminator."""
    config = configurations(quick)["hybrid, float32"]
    system = build(config.system, config.dataset.hamiltonian, DEVICE)
    system.mode(training=False)
    count, steps = (4, 1) if quick else (1024, 10)
    codes = torch.from_numpy(prior(count, config.system.latent, 0)).to(DEVICE)
    made = table("samples of the hybrid", ["decoded together", "samples a second", "DDLS steps a second"])
    for chunk in (16, 256):
        decoded = seconds(lambda: decode(system.decoder, codes, chunk=chunk))  # noqa: B023
        judge = system.networks["discriminator"]
        refined = seconds(lambda: ddls(system.decoder, judge, codes, steps, 0.01, chunk=chunk))  # noqa: B023
        made.add_row(f"{chunk}", f"{count / decoded:.0f}", f"{count * steps / refined:.0f}")
    return made


def main(quick: bool) -> None:
    console = Console(width=None if sys.stdout.isatty() else 120)
    name = torch.cuda.get_device_name() if DEVICE == "cuda" else "no GPU"
    console.print(f"{name}, torch {torch.__version__}")
    for measure in (kernel, annealing, training, sampling):
        console.print(measure(quick))


if __name__ == "__main__":
    main(quick="--quick" in sys.argv[1:])
