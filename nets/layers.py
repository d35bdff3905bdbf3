"""Layers of the spin networks: circular convolutions, batch norm over all workers, and unit spins."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.distributed.nn.functional import all_reduce
from torch.nn import functional as F


class _CircularPad(torch.autograd.Function):
    """Concatenation of periodic images, whose adjoint adds them back where they came from.

    Autograd's own adjoint of slices and concatenation fills, copies and adds the whole lattice once for each slice.
    """

    @staticmethod
    def forward(x: Tensor, width: int) -> Tensor:
        for axis in (-1, -2):
            size = x.shape[axis]
            x = torch.cat((x.narrow(axis, size - width, width), x, x.narrow(axis, 0, width)), axis)
        return x

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, int], output: Tensor) -> None:
        ctx.width = inputs[1]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (grad,), width = grads, ctx.width
        for axis in (-2, -1):
            size = grad.shape[axis] - 2 * width
            inner = grad.narrow(axis, width, size).clone()
            inner.narrow(axis, 0, width).add_(grad.narrow(axis, width + size, width))
            inner.narrow(axis, size - width, width).add_(grad.narrow(axis, 0, width))
            grad = inner
        return grad, None


def circular_pad(x: Tensor, width: int) -> Tensor:
    """Periodic images around ``(..., H, W)``, for ``width`` of any size, twice differentiable."""
    if width == 0:
        return x
    if width <= min(x.shape[-2:]):
        return _CircularPad.apply(x, width)
    for axis in (-1, -2):
        images = torch.arange(-width, x.shape[axis] + width, device=x.device) % x.shape[axis]
        x = x.index_select(axis, images)
    return x


class CircularConv2d(nn.Conv2d):
    """Convolution with an odd kernel on a torus: the output has the size of the input."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int):
        super().__init__(in_channels, out_channels, kernel_size)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(circular_pad(x, self.kernel_size[0] // 2))


class Halving(nn.Conv2d):
    """4x4 convolution with stride 2 on a torus."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__(in_channels, out_channels, 4, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(circular_pad(x, 1))


class UpsampleConv2d(nn.Conv2d):
    """Nearest-neighbour upsampling by 2, then a circular convolution, in one step on the small lattice.

    Each output site of one parity sees every input site through a fixed set of kernel entries, so the pair is
    a convolution of the input to 4 channels an output, shuffled into place: the same function of the same
    weights, with about a third of the arithmetic (5x5 becomes four 3x3) and of the memory traffic.
    """

    fold: Tensor

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int):
        super().__init__(in_channels, out_channels, kernel_size)
        reach = kernel_size // 2
        self.reach = (reach + 1) // 2  # in sites of the input
        fold = torch.zeros(2, 2 * self.reach + 1, kernel_size)
        for parity in range(2):
            for tap in range(kernel_size):
                fold[parity, (parity + tap - reach) // 2 + self.reach, tap] = 1.0
        self.register_buffer("fold", fold, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        weight = torch.einsum("aut,bvw,oitw->oabiuv", self.fold, self.fold, self.weight)
        assert self.bias is not None
        phases = F.conv2d(circular_pad(x, self.reach), weight.flatten(0, 2), self.bias.repeat_interleave(4))
        return F.pixel_shuffle(phases, 2)


def workers() -> int:
    """Processes that train together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


T = TypeVar("T")


def decided(decide: Callable[[], T]) -> T:
    """What the first worker finds by ``decide``, told to all of them; an error of its is raised in all of them.

    Where each found it by itself, one might go on alone and wait for the others for ever.
    """
    if workers() == 1:
        return decide()
    message: list[Any] = [None]
    if rank() == 0:
        try:
            message = [(decide(), None)]
        except Exception as error:
            message = [(None, error)]
        distributed.broadcast_object_list(message)
    while message[0] is None:
        distributed.broadcast_object_list(message)
    found, failure = message[0]
    if failure is not None:
        raise failure
    return found


def keep_waiting(*_: Any) -> None:
    """Called by the first worker while it is about to decide, so that the others do not give it up."""
    if workers() > 1:
        distributed.broadcast_object_list([None])


def rank() -> int:
    """The number of this one among them."""
    return distributed.get_rank() if distributed.is_initialized() else 0


class _OverWorkers(nn.modules.batchnorm._BatchNorm):
    """Batch norm over the batches of all workers, which must be of one size; on one worker torch's own.

    torch.nn.SyncBatchNorm does the same on GPUs only.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or workers() == 1:
            return super().forward(x)
        x = x.float() if x.dtype == torch.bfloat16 else x
        axes, shape = (0, *range(2, x.ndim)), (-1, *[1] * (x.ndim - 2))
        count = workers() * x.numel() // x.shape[1]
        mean = all_reduce(x.sum(axes)) / count
        centred = x - mean.view(shape)
        variance = all_reduce(centred.square().sum(axes)) / count
        assert self.running_mean is not None and self.running_var is not None
        assert self.num_batches_tracked is not None and self.momentum is not None
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * count / (count - 1), self.momentum)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return centred * scale.view(shape) + self.bias.view(shape)


class BatchNorm1d(_OverWorkers, nn.BatchNorm1d):
    """Of ``(B, channels)``."""


class BatchNorm2d(_OverWorkers, nn.BatchNorm2d):
    """Of ``(B, channels, L, L)``."""


def unit_spins(x: Tensor) -> Tensor:
    """Vectors ``(..., components, L, L)`` scaled to length one, in float32 at least.

    Of one component only the sign is left, which has no gradient; it is given that of tanh (Bengio et al., 2013).
    """
    x = x.float() if x.dtype == torch.bfloat16 else x
    if x.shape[-3] > 1:
        return F.normalize(x, dim=-3)
    soft = torch.tanh(x)
    return torch.where(x < 0, -1.0, 1.0).to(x) + (soft - soft.detach())
