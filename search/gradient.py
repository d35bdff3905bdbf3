"""Single-code modification (2022): each code follows the gradient of its own score."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import PositiveFloat
from torch import Tensor

from search.optimizer import Candidates, Evaluate, Optimizer, OptimizerSettings, State, check_names, numbers


class GradientSettings(OptimizerSettings):
    """Adam on the score of each code, from codes of the prior N(0, 1).

    Attributes:
        population: codes modified side by side; they do not see one another.
    """

    uses_gradient: ClassVar[bool] = True
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
        self._z = torch.tensor(codes, dtype=torch.float32)
        self._adam = torch.optim.Adam([self._z], learning_rate)
        self._best = self._z.clone()
        self._best_scores = torch.full((len(self._z),), -torch.inf)

    def ask(self) -> np.ndarray:
        return self._z.numpy().copy()

    def tell(self, codes: np.ndarray, scores: np.ndarray, gradients: np.ndarray | None = None) -> None:
        """One step of Adam.

        Raises:
            ValueError: there are no gradients.
        """
        if gradients is None:
            raise ValueError("gradient: expected gradients of the scores, found none")
        told = torch.as_tensor(np.nan_to_num(scores, nan=-np.inf), dtype=torch.float32)
        better = told > self._best_scores
        self._best = torch.where(better[:, None], self._z, self._best)
        self._best_scores = torch.where(better, told, self._best_scores)
        self._z.grad = -torch.as_tensor(np.nan_to_num(gradients, nan=0.0), dtype=torch.float32)
        self._adam.step()

    def result(self) -> Candidates:
        """The best of each code's way, the best code first."""
        order = torch.argsort(-self._best_scores, stable=True)
        return Candidates(self._best[order].numpy(), self._best_scores[order].double().numpy())

    def state(self) -> State:
        moments = {key: value.numpy().copy() for key, value in self._adam.state[self._z].items()}
        return {"codes": self.ask(), "best": self._best.numpy(), "best_scores": self._best_scores.numpy(), **moments}

    def restore(self, state: State) -> None:
        shape = tuple(self._z.shape)
        shapes: dict[str, tuple[int, ...]] = {"codes": shape, "best": shape, "best_scores": shape[:1]}
        if len(state) > len(shapes):  # Adam's moments, once there are any
            shapes |= {"step": (), "exp_avg": shape, "exp_avg_sq": shape}
        check_names(state, shapes)
        found = {name: torch.from_numpy(numbers(state, name, size)) for name, size in shapes.items()}
        self._z.copy_(found.pop("codes"))
        self._best, self._best_scores = found.pop("best"), found.pop("best_scores")
        groups = self._adam.state_dict()["param_groups"]
        self._adam.load_state_dict({"state": {0: found} if found else {}, "param_groups": groups})


def with_gradient(score: Callable[[Tensor], Tensor]) -> Evaluate:
    """Scores and their gradients from a differentiable function of codes ``(m, d)`` to scores ``(m,)``.

    Codes do not see one another: the gradient of a sum is each one's own.
    """

    def evaluate(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        z = torch.tensor(codes).requires_grad_()
        value = score(z)
        (slope,) = torch.autograd.grad(value.sum(), z)
        return value.detach().numpy(), slope.numpy()

    return evaluate
