"""A sweep as a person asks for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import BaseModel, BeforeValidator, Field, PositiveFloat, PositiveInt, ValidationError, model_validator

from orchestrator.data.request import DatasetConfig
from orchestrator.sweeps.program import AnyTrialProgram, Mode, TrialProgram
from orchestrator.sweeps.single import SingleTraining
from orchestrator.training.request import TrainConfig
from physics.registry import Later, digest, explained, nearest, setting, shown
from search.space import Range, check_conditions, grid_of, point_of, size_of

MOST_TRIALS = 10_000
Search = Literal["qmc", "random", "tpe", "gp", "cmaes", "boundary"]
Pruner = Literal["none", "asha", "hyperband", "median"]

Point = dict[str, Any]
"""Dotted keys of the sweep's request, each with the value that it has in a trial."""


def _metrics(given: Any) -> Any:
    """A name, or several of them."""
    names = given if isinstance(given, list | tuple) else [given]
    if given is not None and (not names or len(set(map(str, names))) < len(names)):
        raise ValueError(f"expected a figure, or a list of several, found {shown(given)}")
    if given is not None and not all(isinstance(name, str) for name in names):
        raise ValueError(f"expected the name of a figure, found {shown(given)}")
    return tuple(names) if isinstance(given, list | tuple) else given


def _modes(given: Any) -> Any:
    """min or max, or a list of them."""
    modes = given if isinstance(given, list | tuple) else [given]
    if given is not None and not (modes and all(mode in ("min", "max") for mode in modes)):
        raise ValueError(f"expected 'min' or 'max', found {shown(given)}")
    return tuple(modes) if isinstance(given, list | tuple) else given


class Trial(NamedTuple):
    """A point of the space with a seed, and what is done there."""

    point: Point
    training: TrainConfig
    program: TrialProgram


class SweepConfig(TrainConfig):
    """A training, and what of it varies: one trial for each point of ``space`` and each seed.

    Attributes:
        label: the beginning of the sweep's name.
        trial: what is done at each point; ``name`` chooses which program, "training" by default.
        space: any dotted keys of this request, each with a :class:`Range`.
        seeds: trials at each point of a finite space, with the seeds ``seed``, ``seed`` + 1, ...;
            where points are drawn, each trial draws one of them.
        trials: points to draw when the space is not finite; all of a finite one are taken.  At most 10,000 with either.
        search: how they are drawn.  "qmc" and "random" do not look at results; Optuna's "tpe", "gp" and "cmaes" propose
            ``proposed`` points at a time from the metric of the ones before, and "boundary" those where the metric
            crosses ``level``, see :mod:`search.level_set`.
        level: of "boundary" alone.
        pruner: one of Optuna's, that ends a trial whose metric after some trainings is worse than that of earlier
            trials; a trial is held against those of the batches of ``proposed`` before its own.
        time_limit: seconds of a trial, which ends there with the trainings that it has finished.
        metric: of the figures that the program reports, which one is optimised; the program's own choice if None.
            A list of several asks for their Pareto front.
        mode: whether it is to be small or large; of several, a list.
    """

    label: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")] = "sweep"
    trial: AnyTrialProgram = SingleTraining()
    space: dict[str, Range] = Field(default_factory=dict)
    seeds: PositiveInt = 1
    trials: Annotated[int, Field(gt=0, le=MOST_TRIALS)] | None = None
    search: Search = "qmc"
    level: Annotated[float | None, Later()] = None
    pruner: Annotated[Pruner, Later()] = "none"
    proposed: PositiveInt = 4
    time_limit: Annotated[PositiveFloat | None, Later()] = None
    metric: Annotated[str | tuple[str, ...] | None, BeforeValidator(_metrics)] = None
    mode: Annotated[Mode | tuple[Mode, ...] | None, BeforeValidator(_modes)] = None

    @model_validator(mode="after")
    def _varies(self) -> Self:
        size = size_of(self.space)
        if size is None and self.trials is None:
            raise ValueError("trials: expected a number, since the space is not finite")
        if (size or 1) * self.seeds > MOST_TRIALS:
            raise ValueError(
                f"space: expected at most {MOST_TRIALS} points times seeds, found {(size or 1) * self.seeds}"
            )
        check_conditions(self.space)
        for key, values in self.space.items():
            for value in values.examples:
                self.at(point_of(self.space, key, value))
        training, program = self.at({}).training, self.trial
        program.check(training)
        known = program.reported(training)
        for metric in self._given_metrics:
            if metric not in known:
                raise ValueError(f"metric: unknown figure{nearest(metric, dict.fromkeys(known))}, found {metric!r}")
        self._check_modes()
        self._check_search()
        self._check_pruner(training)
        return self

    @property
    def _given_metrics(self) -> tuple[str, ...]:
        return () if self.metric is None else (self.metric,) if isinstance(self.metric, str) else self.metric

    def _check_modes(self) -> None:
        several = isinstance(self.metric, tuple)
        count = len(self.mode) if isinstance(self.mode, tuple) else 0
        if count != (len(self._given_metrics) if several else 0):
            expected = f"a list of {len(self._given_metrics)}, one of each metric" if several else "'min' or 'max'"
            raise ValueError(f"mode: expected {expected}, found {shown(self.mode)}")

    def _check_search(self) -> None:
        """Raise ValueError unless what proposes points can do so in this space."""
        ranges = [values for values in self.space.values() if values.bounds]
        if not ranges:
            for key, default in (("trials", None), ("search", "qmc")):
                if (found := getattr(self, key)) != default:
                    raise ValueError(f"{key}: expected none, as all points of a finite space are taken, found {found}")
        if len(self._given_metrics) > 1 and self.search in ("cmaes", "boundary"):
            raise ValueError(f"search: expected qmc, random, tpe or gp for several metrics, found {self.search}")
        if self.search == "cmaes" and len(ranges) < 2:
            raise ValueError(f"search: cmaes expects two ranges of numbers or more, found {len(ranges)}")
        if (self.search == "boundary") != (self.level is not None):
            expected = "a number" if self.level is None else "none without search: boundary"
            raise ValueError(f"level: expected {expected}, found {self.level}")
        if self.search == "boundary":
            for key, values in self.space.items():
                if values.when:
                    raise ValueError(
                        f"space.{key}.when: expected none for search: boundary, found {shown(values.when)}"
                    )
                if not values.bounds and len(values.values or ()) > 1:
                    raise ValueError(f"space.{key}: expected a range of numbers for search: boundary, found a choice")

    def _check_pruner(self, training: TrainConfig) -> None:
        if self.pruner == "none":
            return
        if self.trial.length(training) == 1:
            raise ValueError(
                f"pruner: expected none, as a trial of one training reports once, at its end; found {self.pruner}"
            )
        if len(self._given_metrics) > 1:
            raise ValueError(f"pruner: expected none for several metrics, found {self.pruner}")

    @property
    def objectives(self) -> dict[str, Mode]:
        """The metrics that are optimised, and whether each is to be small or large."""
        metric, mode = self.trial.metric(self.at({}).training)
        if isinstance(self.mode, tuple):
            return dict(zip(self._given_metrics, self.mode, strict=True))
        name = self.metric if isinstance(self.metric, str) else metric
        return {name: self.mode or (mode if name == metric else "min")}

    @property
    def objective(self) -> tuple[str, Mode]:
        """The metric that is optimised, the first of several, and its mode."""
        return next(iter(self.objectives.items()))

    @property
    def datasets(self) -> list[DatasetConfig]:
        """What is known beforehand of the data of the trials: all of it, unless keys of it vary without end."""
        points = self.points()
        if points is None:
            varies = any(key.startswith("dataset.") for key in self.space)
            return [] if varies else [self.at({}).training.dataset]
        return list({trial.training.dataset.name: trial.training.dataset for trial in self.grid()}.values())

    def at(self, point: Mapping[str, Any], number: int = 0) -> Trial:
        """The trial at a point, with the ``number``-th of the seeds.

        Raises:
            ValueError: a key that does not exist, or a value out of its range.
        """
        plain = self.model_dump(exclude=set(SweepConfig.model_fields) - set(TrainConfig.model_fields) - {"trial"})
        plain["system"].pop("L")  # the data set's
        for key, value in point.items():
            *sections, last = key.split(".")
            target: Any = plain
            for section in sections:
                target = target.get(section) if isinstance(target, dict) else None
            if not isinstance(target, dict) or last not in target:
                known = target if isinstance(target, dict) else plain
                raise ValueError(f"space.{key}: unknown key{nearest(last, known)}")
            target[last] = value
        if isinstance(plain["seed"], int):
            plain["seed"] += number
        program = plain.pop("trial")
        try:
            trial = type(self.trial).model_validate(program)
            training = TrainConfig.model_validate(plain)
            trial.check(training)
        except ValidationError as error:
            raise ValueError(f"space.{next(explained(error))}") from None
        read = {
            key: setting(trial, key.removeprefix("trial.")) if key.startswith("trial.") else setting(training, key)
            for key in point
        }
        for key, value in read.items():
            if isinstance(value, BaseModel):
                raise ValueError(f"space.{key}: expected the key of a value, found that of a section")
        return Trial({**read, "seed": training.seed}, training, trial)

    def points(self) -> list[Point] | None:
        """Every point of a finite space, in the order given, or None."""
        return grid_of(self.space)

    def grid(self) -> Iterator[Trial]:
        """Every trial of a finite space."""
        for point in self.points() or ():
            for number in range(self.seeds):
                yield self.at(point, number)

    def recipe(self) -> dict[str, Any]:
        recipe = super().recipe()
        recipe.pop("label")
        return recipe

    @property
    def name(self) -> str:
        return f"{self.label}-{digest(self.recipe())}"
