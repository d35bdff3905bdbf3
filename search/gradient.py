"""Single-code modification (2022): each code follows the gradient of its own score."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def ascend(
    score: Callable[[Tensor], Tensor], codes: Tensor, iterations: int, learning_rate: float = 1e-2
) -> tuple[Tensor, Tensor]:
    """Codes ``(n, d)`` after Adam on the sum of their scores, each the best that it passed through.

    Codes do not see one another: the gradient of a sum is each one's own.

    Args:
        score: differentiable, codes ``(n, d)`` to scores ``(n,)``, to be maximised.

    Returns:
        The codes ``(n, d)``, and the scores along the way, ``(iterations + 1, n)``.
    """
    z = codes.clone().requires_grad_()
    optimizer = torch.optim.Adam([z], learning_rate)
    best, best_score, history = codes.clone(), torch.full((len(codes),), -torch.inf), []
    for iteration in range(iterations + 1):
        value = score(z)
        history.append(value.detach().clone())
        better = history[-1] > best_score
        best = torch.where(better[:, None], z.detach(), best)
        best_score = torch.where(better, history[-1], best_score)
        if iteration < iterations:
            optimizer.zero_grad()
            (-value.sum()).backward(inputs=[z])
            optimizer.step()
    return best, torch.stack(history)
