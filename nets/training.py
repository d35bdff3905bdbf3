"""The training loop: model, data, settings -> losses as it goes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Protocol

import torch
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt
from torch import Tensor

from nets.losses import kl_divergence, reconstruction
from nets.vae import VAE
from physics.hamiltonian import Hamiltonian

LOSSES = ("reconstruction", "kl", "energy")


class Training(BaseModel):
    """How each stage of a scan is trained: Adam (0.9, 0.999), weights from the stage before, moments anew.

    Attributes:
        warmup_steps: steps of the first stage, from random weights.
        steps: steps of every other stage.
        validation: share of the data kept for validation, the last configurations.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    batch: Annotated[int, Field(ge=2)] = 100
    learning_rate: PositiveFloat = 1e-3
    warmup_steps: PositiveInt = 1000
    steps: PositiveInt = 250
    validation: Annotated[float, Field(gt=0, lt=1)] = 0.1

    def split(self, configurations: int) -> int:
        """How many configurations are for training; the rest, at least two, are for validation."""
        return configurations - max(2, round(self.validation * configurations))


class Rows(Protocol):
    """Configurations ``(n, 3, L, L)``: a tensor, or something that gathers rows from a file."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Any, /) -> Any: ...


class DivergedError(ArithmeticError):
    """The loss is no longer a finite number."""


def losses(model: VAE, spins: Tensor, hamiltonian: Hamiltonian, generator: torch.Generator) -> Tensor:
    """(L_RC, L_KL, L_H) of a batch, ``(3,)``."""
    output, mean, log_variance = model(spins, generator)
    return torch.stack(
        (reconstruction(output, spins), kl_divergence(mean, log_variance), hamiltonian.energy(output).mean())
    )


def batches(count: int, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Indices of whole batches without end, every one of ``count`` once an epoch, in a new order each time."""
    while True:
        order = torch.randperm(count, generator=generator, device=generator.device)
        yield from order[: count // size * size].view(-1, size)


def train(
    model: VAE,
    spins: Rows,
    hamiltonian: Hamiltonian,
    training: Training,
    beta: float,
    gamma: float,
    steps: int,
    seed: int,
    progress: Callable[[int], None] = lambda done: None,
) -> list[tuple[float, ...]]:
    """Minimise L_RC + beta L_KL + gamma L_H over ``spins`` ``(n, 3, L, L)``, in place, on the model's device.

    Returns:
        (step, L_RC, L_KL, L_H) averaged over ten equal parts of the stage.

    Raises:
        DivergedError: the loss became infinite or not a number.
    """
    device = next(model.parameters()).device
    generator = torch.Generator(device).manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), training.learning_rate)
    weights = torch.tensor((1.0, beta, gamma), device=device)
    every = math.ceil(steps / 10)
    history, total, counted = [], torch.zeros(3, device=device), 0
    model.train()
    for step, batch in zip(range(1, steps + 1), batches(len(spins), training.batch, generator), strict=False):
        parts = losses(model, spins[batch], hamiltonian, generator)
        optimizer.zero_grad(set_to_none=True)
        (weights * parts).sum().backward()
        optimizer.step()
        total, counted = total + parts.detach(), counted + 1
        if step % every == 0 or step == steps:
            mean = (total / counted).tolist()
            if not all(map(math.isfinite, mean)):
                raise DivergedError(
                    f"loss is not finite by step {step} at beta = {beta:g}, gamma = {gamma:g}: "
                    + ", ".join(f"{name} = {value:g}" for name, value in zip(LOSSES, mean, strict=True))
                    + "; a smaller learning_rate may help"
                )
            history.append((float(step), *mean))
            total, counted = torch.zeros_like(total), 0
            progress(step)
    return history


@torch.no_grad()
def validate(model: VAE, spins: Rows, hamiltonian: Hamiltonian, batch: int, seed: int) -> dict[str, float]:
    """L_RC, L_KL, L_H over held-out ``spins``, in evaluation mode."""
    model.eval()
    device = next(model.parameters()).device
    generator = torch.Generator(device).manual_seed(seed)
    total = torch.zeros(3, device=device)
    for rows in torch.arange(len(spins)).split(batch):
        part = spins[rows]
        total += len(part) * losses(model, part, hamiltonian, generator)
    return dict(zip(LOSSES, (total / len(spins)).tolist(), strict=True))
