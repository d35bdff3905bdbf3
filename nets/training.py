"""One training loop for every generative system, and the state that it goes on from."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, distributed

from nets.layers import rank, workers
from nets.system import Batch, Draw, Labels, System
from physics.registry import cut
from physics.symmetry import draw_powers, transformed

Schedule = Literal["constant", "cosine", "settled"]
SETTLED = 0.05  # of what a training has brought: less than this from the last windows is nothing more
WINDOWS = 3  # that are compared with as many before them
WARM = 50  # steps in which a settled training's rates rise: Adam's first steps have the full rate whatever the gradient
MOMENT = re.compile(r"adam\.([0-9]{1,9})\.([a-z_]+)")  # of a weight by its number, as an optimizer names it


class Rows(Protocol):
    """Configurations ``(n, components, L, L)``: a tensor, or something that gathers rows from a file."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Any, /) -> Any: ...


class Data(NamedTuple):
    """What is trained on: configurations, and by name the labels ``(n, ...)`` that the system is conditioned on."""

    spins: Rows
    labels: Labels = MappingProxyType({})

    def __len__(self) -> int:
        return len(self.spins)

    def rows(self, wanted: Tensor, device: torch.device) -> Batch:
        """The configurations of those numbers."""
        labels = {name: values[wanted].to(device) for name, values in self.labels.items()}
        return Batch(self.spins[wanted].to(device), labels)

    def part(self, wanted: slice) -> Data:
        """Consecutive configurations, as a view."""
        return Data(self.spins[wanted], {name: values[wanted] for name, values in self.labels.items()})


class DivergedError(ArithmeticError):
    """The loss is no longer a finite number, or a weight no number."""


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
    data: Data,
    batch: int,
    steps: range,
    seed: int,
    progress: Callable[[int, dict[str, float]], None] = lambda done, losses: None,
    every: int = 100,
    augment: bool = False,
    schedule: Schedule = "constant",
    history: Sequence[Mapping[str, float]] = (),
) -> None:
    """The given ``steps`` of training on ``data``, in place; every configuration once an epoch.

    Rows, noise and symmetries of a step depend on (seed, its number) alone, so training goes on from any step, with any
    number of workers, each of which takes its share of the batch.

    Args:
        batch: configurations a step, of all workers together.
        progress: called after every ``every`` steps, and the last, with the mean losses since the call before.
        augment: whether each configuration is shown after a random symmetry of the spin model.
        schedule: of the learning rates; "cosine" takes them to zero at the last step, as (1 + cos(pi done)) / 2;
            "settled" raises them over the first 50 steps, keeps them until the loss has settled, see
            :func:`settled_step`, or for half of the steps, and takes them to zero along a cosine in as many steps
            again, which ends the training.
        history: mean losses, each with its "step", of the windows before the first step: what "settled" judges by.

    Raises:
        DivergedError: a loss is no longer a finite number, or a weight no number.
        ValueError: the batch cannot be shared out evenly, or there are fewer configurations.
    """
    if batch % workers() or batch > len(data):
        raise ValueError(f"batch: expected a multiple of {workers()} workers and at most {len(data)}, found {batch}")
    total: dict[str, Tensor] = {}
    counted, windows = 0, [*history]
    falls, end = _fall_of_rates(system, windows, schedule, steps.stop)
    system.mode(training=True)
    for number, rows in _batches(len(data), batch, steps, seed):
        if number >= end:
            break
        draw = _noise(_generator(seed, 1, number), system.device)
        shown = data.rows(rows, system.device)._replace(done=number / steps.stop)
        if augment:
            shown = shown._replace(spins=_moved(shown.spins, system, batch, _generator(seed, 3, number)))
        if schedule != "constant":
            fallen = (1 + math.cos(math.pi * max(0, number - falls) / (end - falls))) / 2
            _scale_rates(system, fallen * min(1.0, (number + 1) / WARM) if schedule == "settled" else fallen)
        for name, loss in system.settings.step(system, shown, draw).items():
            total[name] = total.get(name, 0) + loss.detach()
        counted += 1
        if (number + 1) % every == 0 or number + 1 == end:
            losses = _finite_means(total, counted, number + 1)
            _check_weights(system, number + 1)
            windows.append({"step": number + 1, **losses})
            falls, end = _fall_of_rates(system, windows, schedule, steps.stop)
            progress(number + 1, losses)
            system.mode(training=True)
            total, counted = {}, 0


def _batches(n: int, batch: int, steps: range, seed: int) -> Iterator[tuple[int, Tensor]]:
    """Number of each step and the rows of its batch that this worker takes, of ``n`` in a new order each epoch."""
    epoch, order, epoch_steps = -1, torch.empty(0), n // batch
    for number in steps:
        if number // epoch_steps != epoch:
            epoch = number // epoch_steps
            order = torch.randperm(n, generator=_generator(seed, 0, epoch))
        first = number % epoch_steps * batch
        yield number, order[first : first + batch][rank() :: workers()]


def settled_step(steps: Sequence[float], losses: Sequence[float], first: float = 0.0) -> int | None:
    """The step by which a loss had settled; None if it has not yet.

    It has when the mean of three windows lies below that of the three before them by less than 5 % of all that it has
    fallen since the first window.

    Args:
        steps: at the end of each window.
        losses: mean of each window.
        first: step from which it may have settled.
    """
    for last in range(2 * WINDOWS, len(losses) + 1):
        recent = sum(losses[last - WINDOWS : last]) / WINDOWS
        before = sum(losses[last - 2 * WINDOWS : last - WINDOWS]) / WINDOWS
        if steps[last - 1] >= first and before - recent <= SETTLED * max(losses[0] - recent, 0.0):
            return int(steps[last - 1])
    return None


def _fall_of_rates(
    system: System, windows: Sequence[Mapping[str, float]], schedule: Schedule, last: int
) -> tuple[int, int]:
    """Step at which the learning rates begin to fall, and the one at which they are zero, which ends the training."""
    if schedule == "constant":
        return last, last
    if schedule == "cosine":
        return 0, last
    weights = system.settings.loss_weights
    losses = [sum(weight * window[name] for name, weight in weights.items()) for window in windows]
    found = settled_step([window["step"] for window in windows], losses, system.settings.ramp * last)
    falls = last // 2
    return (falls, last) if found is None or found > falls else (found, 2 * found)


def _scale_rates(system: System, share: float) -> None:
    """Learning rates as a share of those that the optimizers were made with."""
    for optimizer in system.optimizers.values():
        for group in optimizer.param_groups:
            group["lr"] = share * group.setdefault("initial_lr", group["lr"])


def _noise(generator: torch.Generator, device: torch.device) -> Draw:
    """Gaussian numbers of a step, of which each worker takes its share."""
    shares, share = workers(), rank()

    def draw(count: int, width: int) -> Tensor:
        return torch.randn(shares * count, width, generator=generator)[share::shares].to(device)

    return draw


def _moved(spins: Tensor, system: System, batch: int, generator: torch.Generator) -> Tensor:
    """Configurations after a symmetry each, this worker's share of those drawn for the whole batch."""
    powers = draw_powers(system.model, spins.shape[-1], batch, generator)
    return transformed(spins, system.model, {name: times[rank() :: workers()] for name, times in powers.items()})


def _finite_means(total: dict[str, Tensor], counted: int, step: int) -> dict[str, float]:
    """Mean losses of all workers, or DivergedError."""
    means = [loss / counted for loss in total.values()]
    _average(means)
    values = {name: mean.item() for name, mean in zip(total, means, strict=True)}
    if not all(map(math.isfinite, values.values())):
        listed = ", ".join(f"{name} = {value:g}" for name, value in values.items())
        raise DivergedError(f"loss is not finite by step {step}: {listed}")
    return values


def _check_weights(system: System, step: int) -> None:
    """Raise DivergedError, in all workers alike, if a weight is not a number: nothing could go on from there."""
    for name, network in system.networks.items():
        if any(value.isnan().any() for value in network.state_dict().values()):
            raise DivergedError(f"weights of {name} are not numbers by step {step}")


@torch.no_grad()
def validate(system: System, data: Data, batch: int, seed: int) -> dict[str, float]:
    """Means of the held-out losses over ``data``, in evaluation mode; none of a system that does not encode."""
    if not system.settings.held_out:
        return {}
    system.mode(training=False)
    noise = _generator(seed, 2)
    total: dict[str, float] = {}
    for rows in torch.arange(len(data)).split(batch):
        part = data.rows(rows, system.device)
        draw: Draw = lambda count, width: torch.randn(count, width, generator=noise).to(system.device)  # noqa: E731
        for name, loss in system.settings.held_out_losses(system, part, draw).items():
            total[name] = total.get(name, 0.0) + len(rows) * loss.item()
    return {name: value / len(data) for name, value in total.items()}


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
        ValueError: tensors of another architecture, or that hold what is no number.
    """
    weights, moments = _split(system, tensors)
    for name, network in system.networks.items():
        _check_like(name, weights[name], network.state_dict())
        moved = [weight for group in system.optimizers[name].param_groups for weight in group["params"]]
        for number, found in moments[name].items():
            if number >= len(moved) or set(found) != set(next(iter(moments[name].values()))):
                raise ValueError(f"{name}.adam.{number}: expected the moments of one of {len(moved)} weights")
            like = {key: moved[number] if value.ndim else value for key, value in found.items()}
            _check_like(f"{name}.adam.{number}", found, like)
    for name, network in system.networks.items():
        network.load_state_dict(weights[name])
        optimizer = system.optimizers[name]
        optimizer.load_state_dict({"state": moments[name], "param_groups": optimizer.state_dict()["param_groups"]})


def _split(
    system: System, tensors: dict[str, Tensor]
) -> tuple[dict[str, dict[str, Tensor]], dict[str, dict[int, dict[str, Tensor]]]]:
    """Weights and moments of each network, by the names that :func:`state` gives them."""
    weights: dict[str, dict[str, Tensor]] = {name: {} for name in system.networks}
    moments: dict[str, dict[int, dict[str, Tensor]]] = {name: {} for name in system.networks}
    for key, value in tensors.items():
        name, _, rest = key.partition(".")
        if name not in weights:
            raise ValueError(f"{cut(key)}: expected a tensor of {', '.join(weights)}")
        if moment := MOMENT.fullmatch(rest):
            moments[name].setdefault(int(moment[1]), {})[moment[2]] = value
        else:
            weights[name][rest] = value
    return weights, moments


def _check_like(name: str, found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Raise ValueError unless tensors have the names, shapes and types of those expected, and are numbers."""
    if different := set(found) ^ set(expected):
        raise ValueError(f"{name}.{cut(min(different))}: {'missing' if min(different) in expected else 'unknown'}")
    for key, value in found.items():
        like = expected[key]
        if value.shape != like.shape or value.dtype != like.dtype:
            raise ValueError(
                f"{name}.{key}: expected {like.dtype} of shape {tuple(like.shape)}, "
                f"found {value.dtype} of {tuple(value.shape)}"
            )
        if value.isnan().any():
            raise ValueError(f"{name}.{key}: expected numbers, found nan")


@dataclass
class TrainingState:
    """How far a training has come: steps done, losses on the way, and states generated on the way."""

    done: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    pictures: dict[int, Tensor] = field(default_factory=dict)


def checkpoint(system: System, progress: TrainingState) -> bytes:
    """Networks, optimizers, position, losses and pictures so far, as a safetensors file."""
    tensors = state(system) | {f"pictures.{step}": spins for step, spins in progress.pictures.items()}
    return save_tensors(tensors, {"step": str(progress.done), "history": json.dumps(progress.history)})


def checkpoint_step(content: bytes) -> int:
    """Steps done by a :func:`checkpoint`; 0 if it is damaged."""
    try:
        return int(_metadata(content)["step"])
    except (KeyError, OverflowError, RecursionError, TypeError, ValueError):
        return 0


def _metadata(content: bytes) -> dict[str, str]:
    size = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + size])["__metadata__"]


def restore_checkpoint(system: System, content: bytes) -> TrainingState:
    """The inverse of :func:`checkpoint`: its state, whose weights and moments are put into ``system``.

    Raises:
        ValueError: it is damaged or of another architecture.
    """
    try:
        tensors = load_tensors(content)
        metadata = _metadata(content)
        done, history = int(metadata["step"]), json.loads(metadata["history"])
        pictures = {int(key.split(".")[1]): tensors.pop(key) for key in list(tensors) if key.startswith("pictures.")}
        if done < 0 or not all(isinstance(losses, dict) and "step" in losses for losses in history):
            raise ValueError("expected a number of steps, and a list of losses with the step of each")
        if any(spins.ndim != 4 for spins in pictures.values()):
            raise ValueError("pictures: expected spins of shape (n, components, L, L)")
        restore(system, tensors)
    except Exception as error:  # safetensors, JSON and torch have many of their own
        raise ValueError(cut(error, 200)) from None
    return TrainingState(done, history, dict(sorted(pictures.items())))
