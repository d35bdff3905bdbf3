"""A sweep as a person asks for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import BaseModel, Field, PositiveInt, ValidationError, model_validator

from orchestrator.sweeps.program import AnyTrialProgram, Mode, TrialProgram
from orchestrator.sweeps.single import SingleTraining
from orchestrator.training.request import TrainConfig
from physics.registry import digest, explained, nearest, setting
from search.space import Range, grid_of, size_of

MOST_TRIALS = 10_000

Point = dict[str, Any]
"""Dotted keys of the sweep's request, each with the value that it has in a trial."""


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
        seeds: trials at each point, with the seeds ``seed``, ``seed`` + 1, ...
        trials: points to draw when the space is not finite; all of them, when it is.  At most 10,000 with either.
        search: how they are drawn. "tpe" proposes ``proposed`` points at a time from the metric of the ones before;
            "qmc" and "random" do not look at results.
        metric: of the figures that the program reports, which one is optimised; the program's own choice if None.
        mode: whether it is to be small or large.
    """

    label: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")] = "sweep"
    trial: AnyTrialProgram = SingleTraining()
    space: dict[str, Range] = Field(default_factory=dict)
    seeds: PositiveInt = 1
    trials: Annotated[int, Field(gt=0, le=MOST_TRIALS)] | None = None
    search: Literal["tpe", "qmc", "random"] = "qmc"
    proposed: PositiveInt = 4
    metric: str | None = None
    mode: Mode | None = None

    @model_validator(mode="after")
    def _varies(self) -> Self:
        size = size_of(self.space)
        if size is None and self.trials is None:
            raise ValueError("trials: expected a number, since the space is not finite")
        if (size or 1) * self.seeds > MOST_TRIALS:
            raise ValueError(
                f"space: expected at most {MOST_TRIALS} points times seeds, found {(size or 1) * self.seeds}"
            )
        for key, values in self.space.items():
            for value in values.examples:
                self.at({key: value})
        training, program = self.at({}).training, self.trial
        program.check(training)
        known = program.reported(training)
        if self.metric is not None and self.metric not in known:
            raise ValueError(
                f"metric: unknown figure{nearest(self.metric, dict.fromkeys(known))}, found {self.metric!r}"
            )
        return self

    @property
    def objective(self) -> tuple[str, Mode]:
        """The metric that is optimised, and its mode."""
        metric, mode = self.trial.metric(self.at({}).training)
        return self.metric or metric, self.mode or (mode if self.metric in (None, metric) else "min")

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
