"""One training loop for every generative system: networks, data, settings -> losses as it goes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, distributed, nn

from nets.layers import rank, workers

Draw = Callable[[int, int], Tensor]
"""Gaussian numbers ``(count, width)``."""


class System(NamedTuple):
    """Networks that are trained together, an optimizer for each, and what a step does.

    Attributes:
        networks: by name; all are there that are trained.
        optimizers: by the names of the networks.
        decoder: of the networks the one that makes spins of codes.
        step: one update of every network on a batch ``(B, 3, L, L)``; returns the losses before it, as tensors.
        autoencode: the losses of a batch encoded and decoded again, for systems that encode.
    """

    networks: dict[str, nn.Module]
    optimizers: dict[str, torch.optim.Optimizer]
    decoder: str
    step: Callable[[System, Tensor, Draw], dict[str, Tensor]]
    autoencode: Callable[[System, Tensor, Draw], dict[str, Tensor]] | None

    @property
    def device(self) -> torch.device:
        return next(self.networks[self.decoder].parameters()).device

    def mode(self, training: bool) -> None:
        for network in self.networks.values():
            network.train(training)


class Rows(Protocol):
    """Configurations ``(n, 3, L, L)``: a tensor, or something that gathers rows from a file."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Any, /) -> Any: ...


class DivergedError(ArithmeticError):
    """The loss is no longer a finite number."""


def adam(networks: dict[str, nn.Module], rate: float, betas: tuple[float, float]) -> dict[str, torch.optim.Optimizer]:
    """An Adam for each network."""
    return {name: torch.optim.Adam(network.parameters(), rate, betas) for name, network in networks.items()}


def update(system: System, *minimised: tuple[Tensor, list[str]]) -> None:
    """Step of the named networks, each down the gradient of the loss beside it, all at the same weights."""
    for number, (loss, names) in enumerate(minimised, 1):
        weights = [weight for name in names for weight in system.networks[name].parameters()]
        for weight in weights:
            weight.grad = None
        loss.backward(inputs=weights, retain_graph=number < len(minimised))
        _average([weight.grad for weight in weights if weight.grad is not None])
    for _, names in minimised:
        for name in names:
            system.optimizers[name].step()


def _average(tensors: list[Tensor]) -> None:
    """Over all workers, in place, in one message."""
    if workers() > 1:
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        distributed.all_reduce(flat)
        flat /= workers()
        for tensor, part in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(part.view_as(tensor))


def _generator(*key: int) -> torch.Generator:
    seed = np.random.SeedSequence(key).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(seed) % 2**63)


def fit(
    system: System,
    spins: Rows,
    batch: int,
    steps: range,
    seed: int,
    progress: Callable[[int, dict[str, float]], None] = lambda done, losses: None,
    every: int = 100,
) -> None:
    """The given ``steps`` of training on ``spins`` ``(n, 3, L, L)``, in place; every row once an epoch.

    Rows and noise of a step depend on (seed, its number) alone, so training goes on from any step, with any number of
    workers, each of which takes its share of the batch.

    Args:
        batch: configurations a step, of all workers together.
        progress: called after every ``every`` steps, and the last, with the mean losses since the call before.

    Raises:
        DivergedError: a loss is no longer a finite number.
        ValueError: the batch cannot be shared out evenly, or there are fewer configurations.
    """
    shares, share = workers(), rank()
    if batch % shares or batch > len(spins):
        raise ValueError(f"batch: expected a multiple of {shares} workers and at most {len(spins)}, found {batch}")
    device = system.device
    epoch_steps = len(spins) // batch
    epoch, order = -1, torch.empty(0)
    total: dict[str, Tensor] = {}
    counted = 0
    system.mode(training=True)
    for number in steps:
        if number // epoch_steps != epoch:
            epoch = number // epoch_steps
            order = torch.randperm(len(spins), generator=_generator(seed, 0, epoch))
        first = number % epoch_steps * batch
        noise = _generator(seed, 1, number)

        def draw(count: int, width: int, noise: torch.Generator = noise) -> Tensor:
            return torch.randn(shares * count, width, generator=noise)[share::shares].to(device)

        rows = order[first : first + batch][share::shares]
        for name, loss in system.step(system, spins[rows].to(device), draw).items():
            total[name] = total.get(name, 0) + loss.detach()
        counted += 1
        if (number + 1) % every == 0 or number == steps[-1]:
            means = [loss / counted for loss in total.values()]
            _average(means)
            values = {name: mean.item() for name, mean in zip(total, means, strict=True)}
            if not all(map(math.isfinite, values.values())):
                listed = ", ".join(f"{name} = {value:g}" for name, value in values.items())
                raise DivergedError(f"loss is not finite by step {number + 1}: {listed}")
            progress(number + 1, values)
            system.mode(training=True)
            total, counted = {}, 0


@torch.no_grad()
def validate(system: System, spins: Rows, batch: int, seed: int) -> dict[str, float]:
    """Losses of reconstructing held-out ``spins``, in evaluation mode; none of a system that does not encode."""
    if system.autoencode is None:
        return {}
    system.mode(training=False)
    noise = _generator(seed, 2)
    total: dict[str, float] = {}
    for rows in torch.arange(len(spins)).split(batch):
        part = spins[rows].to(system.device)
        draw: Draw = lambda count, width: torch.randn(count, width, generator=noise).to(system.device)  # noqa: E731
        for name, loss in system.autoencode(system, part, draw).items():
            total[name] = total.get(name, 0.0) + len(part) * loss.item()
    return {name: value / len(spins) for name, value in total.items()}


def state(system: System) -> dict[str, Tensor]:
    """Weights, buffers and the optimizers' moments, by name: all that training goes on from."""
    tensors: dict[str, Tensor] = {}
    for name, network in system.networks.items():
        tensors |= {f"{name}.{key}": value for key, value in network.state_dict().items()}
        for number, moments in system.optimizers[name].state_dict()["state"].items():
            tensors |= {f"{name}.adam.{number}.{key}": value for key, value in moments.items()}
    return {key: value.detach().cpu().contiguous() for key, value in tensors.items()}


def restore(system: System, tensors: dict[str, Tensor]) -> None:
    """The inverse of :func:`state`, in place.

    Raises:
        KeyError, RuntimeError: tensors of another architecture.
    """
    for name, network in system.networks.items():
        mine = {key.removeprefix(f"{name}."): value for key, value in tensors.items() if key.startswith(f"{name}.")}
        moments: dict[int, dict[str, Tensor]] = {}
        for key in [key for key in mine if key.startswith("adam.")]:
            _, number, quantity = key.split(".")
            moments.setdefault(int(number), {})[quantity] = mine.pop(key)
        network.load_state_dict(mine)
        optimizer = system.optimizers[name]
        optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})
