"""The protocol of an optimizer of codes: ask for codes, tell their scores, which are maximised.

To add one: a file with settings of :class:`OptimizerSettings` and an :class:`Optimizer`, and a line in
:data:`OPTIMIZERS`.  An optimizer knows neither networks nor physics, and not where codes are scored.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from typing import Annotated, Any, ClassVar, NamedTuple

import numpy as np
import pandas as pd
from pydantic import BeforeValidator, Field, SerializeAsAny

from physics.registry import Registry, Tagged, cut

State = dict[str, np.ndarray]
"""Arrays of numbers or text: a checkpoint that needs no pickle."""


class Candidates(NamedTuple):
    """What a search found, the best first: one winner, a front, or an archive.

    Attributes:
        codes: float32 ``(m, latent_dim)``.
        scores: float64 ``(m,)``.
    """

    codes: np.ndarray
    scores: np.ndarray


class Optimizer(ABC):
    """A search in progress."""

    @abstractmethod
    def ask(self) -> np.ndarray:
        """Codes to score next, float32 ``(m, latent_dim)``."""

    @abstractmethod
    def tell(self, codes: np.ndarray, scores: np.ndarray, gradients: np.ndarray | None = None) -> None:
        """Scores ``(m,)`` of the codes asked for, and where the settings say so their gradients ``(m, latent_dim)``.

        A score that is not finite ranks last.
        """

    @abstractmethod
    def result(self) -> Candidates: ...

    def receive(self, codes: np.ndarray, scores: np.ndarray) -> None:
        """Codes of another search with their scores take the place of the worst, where settings say it takes them."""
        raise NotImplementedError

    @abstractmethod
    def state(self) -> State:
        """All that the search goes on from; :meth:`restore` takes it."""

    @abstractmethod
    def restore(self, state: State) -> None:
        """Go on from a state.

        Raises:
            ValueError: it is not of such a search, or holds what is no number; the search stays as it was.
        """


class OptimizerSettings(Tagged, ABC):
    """Settings of an optimizer, which start it.

    Attributes:
        uses_gradient: whether it is told gradients.
        takes_migrants: whether it has :meth:`Optimizer.receive`.
        population: codes that are scored together.
    """

    uses_gradient: ClassVar[bool] = False
    takes_migrants: ClassVar[bool] = False
    population: Annotated[int, Field(ge=2, le=10**7)] = 100

    @property
    def observables(self) -> tuple[str, ...]:
        """Names of what it is told beside the score: then scores are ``(m, 1 + k)``, gradients ``(m, 1 + k, d)``."""
        return ()

    def over(self, data: Mapping[str, pd.Series]) -> OptimizerSettings:
        """The settings with what they leave open, by the observables of the data."""
        return self

    @abstractmethod
    def start(self, latent_dim: int, seed: int) -> Optimizer: ...


Evaluate = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray | None]]
"""Codes ``(m, latent_dim)`` to scores ``(m,)`` and gradients, None where they are not asked for."""


def advance(optimizer: Optimizer, evaluate: Evaluate) -> np.ndarray:
    """One iteration; returns the scores that it was told."""
    codes = optimizer.ask()
    scores, gradients = evaluate(codes)
    optimizer.tell(codes, scores, gradients)
    return scores


class Best:
    """The best code of a search so far ``(d,)`` and its score, for those that do not keep their best.

    Attributes:
        NAMES: in a state.
    """

    NAMES = ("best", "best_score")

    def __init__(self, latent_dim: int):
        self.code, self.score = np.zeros(latent_dim, np.float32), -np.inf

    def meet(self, codes: np.ndarray, scores: np.ndarray) -> None:
        """Codes ``(m, d)`` with their scores, the best first."""
        if scores[0] > self.score:
            self.code, self.score = codes[0], float(scores[0])

    def and_last(self, codes: np.ndarray, scores: np.ndarray) -> Candidates:
        """Itself before the codes that were told last, best first, unless it is among them."""
        if not len(scores) or self.score <= scores[0]:
            return Candidates(codes, scores)
        return Candidates(np.concatenate((self.code[None], codes)), np.append(self.score, scores))

    def state(self) -> State:
        return dict(zip(self.NAMES, (self.code, np.array(self.score)), strict=True))

    def restored(self, state: State) -> Best:
        """One of a state; ValueError if it has none that fits."""
        twin = Best(len(self.code))
        twin.code, twin.score = numbers(state, "best", self.code.shape), float(numbers(state, "best_score", (), float))
        return twin


def finite_or_last(scores: np.ndarray) -> np.ndarray:
    """Scores as float64, minus infinity where one is not finite."""
    return np.where(np.isfinite(scores), scores, -np.inf).astype(float)


def numbers(state: State, name: str, shape: tuple[int, ...], dtype: Any = np.float32) -> np.ndarray:
    """A copy of the array of that name.

    Raises:
        ValueError: there is none, it has another shape, or holds what is no real number.
    """
    if name not in state:
        raise ValueError(f"{name}: expected an array of shape {shape}, found none")
    found = np.asarray(state[name])
    if found.shape != shape or found.dtype.kind not in "iuf":
        raise ValueError(f"{name}: expected numbers of shape {shape}, found {found.dtype} of shape {found.shape}")
    if np.isnan(found).any():
        raise ValueError(f"{name}: expected numbers, found nan")
    return found.astype(dtype)


def together(states: Iterable[State]) -> State:
    """The states of several parts in one, each under its number; :func:`part_of` takes them out."""
    return {f"{number}.{name}": value for number, state in enumerate(states) for name, value in state.items()}


def part_of(state: State, number: int) -> State:
    """The state of the part of that number, see :func:`together`."""
    start = f"{number}."
    return {name.removeprefix(start): value for name, value in state.items() if name.startswith(start)}


def generator_state(rng: np.random.Generator) -> np.ndarray:
    """Of NumPy's generator, as text."""
    return np.array(json.dumps(rng.bit_generator.state))


def generator_of(state: State, name: str = "generator") -> np.random.Generator:
    """The generator whose :func:`generator_state` has that name; ValueError if it is not of one."""
    rng = np.random.default_rng()
    try:
        rng.bit_generator.state = json.loads(str(state[name]))
    except Exception:  # JSON and NumPy have several of their own
        raise ValueError(f"{name}: expected the state of one as JSON, found something else") from None
    return rng


def check_names(state: State, names: Collection[str]) -> None:
    """Raise ValueError unless a state has arrays of these names and no others."""
    if set(state) != set(names):
        raise ValueError(
            f"expected a state of {', '.join(names)}, found one of {cut(', '.join(map(str, state))) or 'nothing'}"
        )


OPTIMIZERS: Registry[OptimizerSettings] = Registry(
    OptimizerSettings,
    "optimizer",
    {
        "memetic": "search.memetic:MemeticSettings",
        "genetic": "search.genetic:GeneticSettings",
        "gradient": "search.gradient:GradientSettings",
        "stochastic": "search.stochastic:StochasticSettings",
        "cma-es": "search.cma_es:CMASettings",
        "sep-cma-es": "search.cma_es:SepCMASettings",
        "archive": "search.archive:ArchiveSettings",
        "islands": "search.islands:IslandsSettings",
        "pareto": "search.pareto:ParetoSettings",
    },
)

AnyOptimizer = Annotated[
    SerializeAsAny[OptimizerSettings], BeforeValidator(partial(OPTIMIZERS.parse, default="memetic"))
]
"""A field of settings that holds any optimizer; the memetic algorithm, if it names none."""
