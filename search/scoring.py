"""Scores of codes: what an objective makes of what a decoder makes of them."""

from __future__ import annotations

import itertools

import numpy as np
import torch
from torch import Tensor

from nets.sampling import CHUNK, repeated
from nets.system import Decoder, Labels
from physics.model import SpinModel
from search.gradient import with_gradient
from search.objectives import Objective


class Scorer:
    """A function of codes ``(m, d)`` to scores ``(m,)`` and, where the optimizer uses them, gradients ``(m, d)``.

    Args:
        labels: of one configuration, ``(1, ...)``, that all codes are decoded with.
    """

    def __init__(self, decoder: Decoder, model: SpinModel, objective: Objective, gradient: bool, labels: Labels):
        self.decoder, self.model, self.objective = decoder, model, objective
        self.gradient, self.labels = gradient, labels

    def score(self, z: Tensor) -> Tensor:
        return self.objective.score(self.decoder.decode(z, repeated(self.labels, len(z))), self.model)

    def evaluate(self, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        parts = [codes[i : i + CHUNK] for i in range(0, len(codes), CHUNK)]
        if self.gradient:
            scores, gradients = zip(*map(with_gradient(self.score), parts), strict=True)
            return np.concatenate(scores), np.concatenate(gradients)
        with torch.no_grad():
            return torch.cat([self.score(torch.tensor(part)) for part in parts]).numpy(), None


def shares(codes: np.ndarray, workers: int) -> list[np.ndarray]:
    """At most ``workers`` runs of codes, cut between the chunks that are decoded together.

    Every code is decoded in the same company whatever ``workers`` is, so scores do not depend on it.
    """
    chunks = -(-len(codes) // CHUNK)
    bounds = [CHUNK * (chunks * i // workers) for i in range(workers)] + [len(codes)]
    return [codes[a:b] for a, b in itertools.pairwise(bounds) if a < b]
