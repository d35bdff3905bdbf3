"""Milliseconds a training step of the E-VAE, with each choice of its layers undone in turn, in one run.

python benchmarks/training.py [--l 32]
"""

import statistics
import time
from collections.abc import Callable
from unittest import mock

import torch
import typer
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn import functional as F

from nets import layers
from nets.training import losses
from nets.vae import VAE, VAEConfig
from physics.hamiltonian import Hamiltonian


def plain_pad(x: Tensor, width: int) -> Tensor:
    return F.pad(x, (width,) * 4, mode="circular")


def plain_upsample(self: layers.UpsampleConv2d, x: Tensor) -> Tensor:
    reach = self.kernel_size[0] // 2
    return F.conv2d(layers.circular_pad(F.interpolate(x, scale_factor=2), reach), self.weight, self.bias)


PLAIN = {
    "as it is": {},
    "upsampling not folded": {"nets.layers.UpsampleConv2d.forward": plain_upsample},
    "torch's circular padding": {"nets.layers.circular_pad": plain_pad},
}


def stepper(L: int, batch: int, channels_last: bool) -> Callable[[], None]:
    """One step of Adam on all three losses."""
    torch.manual_seed(0)
    model = VAE(VAEConfig(L=L))
    if not channels_last:
        model.to(memory_format=torch.contiguous_format)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    spins = layers.unit_spins(torch.randn(batch, 3, L, L))
    generator = torch.Generator().manual_seed(0)
    weights = torch.tensor((1.0, 1e-3, 10.0))

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        (weights * losses(model, spins, Hamiltonian(), generator)).sum().backward()
        optimizer.step()

    return step


def main(l: int = 32, batch: int = 100, threads: int = 1, rounds: int = 7, steps: int = 3) -> None:  # noqa: E741
    torch.set_num_threads(threads)
    contestants = {name: (patches, True) for name, patches in PLAIN.items()} | {"weights contiguous": ({}, False)}
    made = {name: stepper(l, batch, last) for name, (_, last) in contestants.items()}
    times: dict[str, list[float]] = {name: [] for name in made}
    for _ in range(rounds + 1):
        for name, step in made.items():
            patches = [mock.patch(target, new) for target, new in contestants[name][0].items()]
            for patch in patches:
                patch.start()
            started = time.process_time()
            for _ in range(steps):
                step()
            times[name].append((time.process_time() - started) / steps)
            for patch in patches:
                patch.stop()
    medians = {name: statistics.median(seconds[1:]) for name, seconds in times.items()}
    table = Table(title=f"L = {l}, batch {batch}, {threads} thread(s), CPU time", title_justify="left")
    for column in ("", "ms a step", "times as it is"):
        table.add_column(column, justify="right")
    for name, seconds in medians.items():
        table.add_row(name, f"{1000 * seconds:.1f}", f"{seconds / medians['as it is']:.2f}")
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
