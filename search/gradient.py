"""Single-code modification (2022): each code follows the gradient of its own score."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import PositiveFloat
from torch import Tensor

from search.adam import Adam
from search.optimizer import (
    Candidates,
    Evaluate,
    Optimizer,
    OptimizerSettings,
    State,
    check_names,
    finite_or_last,
    numbers,
)


class GradientSettings(OptimizerSettings):
    """Adam on the score of each code, from codes of the prior N(0, 1).

    Attributes:
        population: codes modified side by side; they do not see one another.

    Source: latent optimization (2022), "Single-code modification".
    """

    uses_gradient: ClassVar[bool] = True
    takes_migrants: ClassVar[bool] = True
    recipe_version: ClassVar[int] = 2  # 1: Adam of torch, other roundings
    name: Literal["gradient"] = "gradient"
    learning_rate: PositiveFloat = 1e-2

    def start(self, latent_dim: int, seed: int) -> Gradient:
        codes = np.random.default_rng(seed).standard_normal((self.population, latent_dim), np.float32)
        return Gradient(codes, self.learning_rate)


class Gradient(Optimizer):
    """Codes on their way up, and the best that each has passed through.

    Args:
        codes: float32 ``(n, latent_dim)`` to start from.
    """

    def __init__(self, codes: np.ndarray, learning_rate: float):
        self._codes = np.array(codes, np.float32)
        self._adam = Adam(self._codes.shape, learning_rate)
        self._best, self._best_scores = self._codes, np.full(len(codes), -np.inf)

    def ask(self) -> np.ndarray:
        return self._codes.copy()

    def tell(self, codes: np.ndarray, scores: np.ndarray, gradients: np.ndarray | None = None) -> None:
        """One step of Adam.

        Raises:
            ValueError: there are no gradients.
        """
        if gradients is None:
            raise ValueError("tell: expected gradients of the scores, found none")
        told = finite_or_last(scores)
        better = told > self._best_scores
        self._best = np.where(better[:, None], self._codes, self._best)
        self._best_scores = np.where(better, told, self._best_scores)
        self._codes = self._codes + self._adam.step(gradients)

    def receive(self, codes: np.ndarray, scores: np.ndarray) -> None:
        worst = np.argsort(self._best_scores, kind="stable")[: len(codes)]
        self._codes, self._best, self._best_scores = self._codes.copy(), self._best.copy(), self._best_scores.copy()
        self._codes[worst], self._best[worst], self._best_scores[worst] = codes, codes, scores
        self._adam.forget(worst)

    def result(self) -> Candidates:
        """The best of each code's way, the best code first; without codes that have no score yet."""
        order = np.argsort(-self._best_scores, kind="stable")
        order = order[np.isfinite(self._best_scores[order])]
        return Candidates(self._best[order], self._best_scores[order])

    def state(self) -> State:
        return {
            "codes": self._codes,
            "best": self._best,
            "best_scores": self._best_scores,
            **self._adam.state(),
        }

    def restore(self, state: State) -> None:
        check_names(state, self.state())
        shape = self._codes.shape
        codes, best = (numbers(state, name, shape) for name in ("codes", "best"))
        scores, adam = numbers(state, "best_scores", shape[:1], np.float64), self._adam.restored(state)
        self._codes, self._best, self._best_scores, self._adam = codes, best, scores, adam


def with_gradient(score: Callable[[Tensor], Tensor], device: str = "cpu") -> Evaluate:
    """Scores and their gradients from a differentiable function of codes ``(m, d)`` to scores ``(m,)`` or ``(m, k)``.

    Codes do not see one another: the gradient of a sum is each one's own.

    Args:
        device: of the function's codes.
    """

    def evaluate(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        z = torch.tensor(codes, device=device).requires_grad_()
        value = score(z)
        columns = value.sum(0).reshape(-1)
        slopes = [torch.autograd.grad(column, z, retain_graph=True)[0] for column in columns]
        slope = slopes[0] if value.ndim == 1 else torch.stack(slopes, 1)
        return value.detach().cpu().numpy(), slope.cpu().numpy()

    return evaluate
