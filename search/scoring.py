"""Scores of codes: what an objective within its limits makes of what a decoder makes of them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from nets.sampling import repeated
from nets.system import Decoder, Labels
from physics.model import SpinModel
from search.constraint import Penalised
from search.gradient import with_gradient
from search.prior import on_shell

SITES = 2**16  # decoded together at most: more fall out of a CPU's cache
PIECES = 8  # that a population is cut into, so that as many actors have work, unless they were smaller than
SMALLEST = 16  # codes, whose overhead would show
LARGEST = 64  # chunks in a run of codes: what is lost with an actor


def chunk_of(population: int, L: int) -> int:
    """How many codes of a population are decoded together, on lattices of L x L; whatever the number of actors."""
    return max(1, min(SITES // L**2, max(SMALLEST, population // PIECES)))


class Scorer:
    """A function of codes ``(m, d)`` to scores ``(m,)`` and, where the optimizer uses them, gradients ``(m, d)``.

    Args:
        chunk: codes that are decoded together.
        observables: names of what an optimizer is told beside the score, see
            :attr:`search.optimizer.OptimizerSettings.observables`.
        labels: of one configuration, ``(1, ...)``, that all codes are decoded with.
        free: codes are decoded where they are, and not in the shell of the prior.
        device: of decoder, objective and labels.
    """

    def __init__(
        self,
        decoder: Decoder,
        model: SpinModel,
        penalised: Penalised,
        gradient: bool,
        labels: Labels,
        chunk: int,
        observables: Sequence[str] = (),
        free: bool = False,
        device: str = "cpu",
    ):
        self.decoder, self.model, self.penalised = decoder, model, penalised
        self.gradient, self.labels, self.chunk = gradient, labels, chunk
        self.observables, self.free, self.device = observables, free, device

    def score(self, z: Tensor) -> Tensor:
        spins = self.decoder.decode(z if self.free else on_shell(z), repeated(self.labels, len(z)))
        score = self.penalised.score(spins, self.model)
        if not self.observables:
            return score
        measured = (self.model.observables[name].measure(spins) for name in self.observables)
        return torch.stack([score, *measured], 1)

    def evaluate(self, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """A chunk at a time: what is decoded is not kept.

        Raises:
            ValueError: the objective fails; the message has the code that it failed at, or the first of its chunk.
        """
        whole: list[np.ndarray] = []
        for first in range(0, len(codes), self.chunk):
            parts = [part for part in self._evaluated(codes[first : first + self.chunk]) if part is not None]
            if not whole:  # all at once: results of a chunk would lie between the states that are freed
                whole = [np.empty((len(codes), *part.shape[1:]), part.dtype) for part in parts]
            for array, part in zip(whole, parts, strict=True):
                array[first : first + self.chunk] = part
        scores, *gradients = whole
        return scores, gradients[0] if gradients else None

    def _evaluated(self, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        try:
            if self.gradient:
                return with_gradient(self.score, self.device)(codes)
            with torch.no_grad():
                return self.score(torch.tensor(codes, device=self.device)).cpu().numpy(), None
        except ValueError as error:
            start = ", ".join(f"{component:.4g}" for component in codes[0, :4])
            raise ValueError(f"{error}, at the code [{start}, ...]") from error


def shares(codes: np.ndarray, workers: int, chunk: int) -> list[np.ndarray]:
    """Runs of codes, one a worker or as many as none is larger than ``LARGEST`` chunks, cut between chunks.

    Every code is decoded in the same company whatever ``workers`` is, so scores do not depend on it.
    """
    chunks = -(-len(codes) // chunk)
    runs = max(workers, -(-chunks // LARGEST))
    bounds = [chunk * (chunks * i // runs) for i in range(runs)] + [len(codes)]
    return [codes[a:b] for a, b in itertools.pairwise(bounds) if a < b]
