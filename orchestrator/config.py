"""What a person asks for: YAML and command line, validated before anything starts."""

from __future__ import annotations

import difflib
import itertools
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)

from nets.collapse import Stage
from nets.systems import SYSTEMS, SystemConfig
from nets.vae import VAEConfig
from orchestrator.errors import RequestError
from orchestrator.store import digest
from physics.annealing import Schedule, check_lattice
from physics.hamiltonian import Hamiltonian
from physics.tempering import Ladder

SPACES = Path(__file__).parent / "spaces"


class Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Magnet(Strict):
    """A magnet on a lattice that the kernels can sweep."""

    L: PositiveInt = 32
    hamiltonian: Hamiltonian = Hamiltonian()

    @model_validator(mode="after")
    def _lattice(self) -> Self:
        check_lattice(self.L)
        self.hamiltonian.sites(self.L)
        return self

    def _named(self, origin: str) -> str:
        h = self.hamiltonian
        return f"{origin}L{self.L}-D{h.D:g}-B{h.B:g}-{digest(self.model_dump(mode='json'))}"


class DatasetConfig(Magnet):
    """A data set: ``configurations`` annealed states, number i made from (everything here, i).

    Attributes:
        imported: SHA-256 of states that were brought in instead; the schedule then says nothing.
    """

    schedule: Schedule = Schedule()
    configurations: PositiveInt = 1000
    seed: NonNegativeInt = 0
    imported: str | None = None

    @property
    def name(self) -> str:
        return self._named("import-" if self.imported else "")


class ModelConfig(Strict):
    """A :class:`nets.vae.VAE`; its lattice is the data set's."""

    name: Literal["evae-2021", "vae-2022"] = "evae-2021"
    latent: PositiveInt = 100
    hidden: PositiveInt = 512

    def on(self, L: int, **training: Any) -> VAEConfig:
        return VAEConfig(name=self.name, L=L, latent=self.latent, hidden=self.hidden, **training)


class Training(Strict):
    """How each stage of a scan is trained: weights from the stage before, the optimizer's moments anew.

    Attributes:
        warmup_steps: steps of the first stage, from random weights.
        steps: steps of every other stage.
        validation: share of the data kept for validation, the last configurations.
    """

    batch: Annotated[int, Field(ge=2)] = 100
    learning_rate: PositiveFloat = 1e-3
    warmup_steps: PositiveInt = 1000
    steps: PositiveInt = 250
    validation: Annotated[float, Field(gt=0, lt=1)] = 0.1


class Scan(Strict):
    """A collapse scan: beta by decades from ``beta_start`` to ``beta``, then gamma along ``gammas``.

    Attributes:
        refine: halvings of the bracket of gamma_c, each a stage of its own.
    """

    beta: PositiveFloat = 1e-3
    beta_start: PositiveFloat = 1e-6
    gammas: tuple[NonNegativeFloat, ...] = (1, 10, 30, 100, 300, 1000, 3000, 1e4, 3e4, 1e5)
    refine: NonNegativeInt = 2

    @model_validator(mode="after")
    def _rising(self) -> Self:
        if self.beta < self.beta_start:
            raise ValueError(f"beta: expected at least beta_start = {self.beta_start:g}, found {self.beta:g}")
        if not self.gammas or any(a >= b for a, b in itertools.pairwise(self.gammas)):
            raise ValueError(f"gammas: expected rising values, at least one, found {list(self.gammas)}")
        return self


class Range(Strict):
    """Values that a swept key may take: exactly one of these."""

    fixed: Any = None
    choice: tuple[Any, ...] | None = None
    uniform: tuple[float, float] | None = None
    log_uniform: tuple[float, float] | None = None
    integer: tuple[int, int] | None = None

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        """A bare value is fixed, a bare list a choice."""
        if isinstance(value, list | tuple):
            return {"choice": value}
        return value if isinstance(value, Mapping | Range) else {"fixed": value}

    @model_validator(mode="after")
    def _one(self) -> Self:
        given = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"expected one of {', '.join(type(self).model_fields)}, found {given or 'none'}")
        if self.choice is not None and not self.choice:
            raise ValueError("choice: expected at least one value, found an empty range")
        for name in ("uniform", "log_uniform", "integer"):
            bounds = getattr(self, name)
            if bounds and not (bounds[0] < bounds[1] and all(map(math.isfinite, bounds))):
                raise ValueError(f"{name}: expected [low, high] with low < high, found {list(bounds)}")
        if self.log_uniform and self.log_uniform[0] <= 0:
            raise ValueError(f"log_uniform: expected low > 0, found {self.log_uniform[0]:g}")
        return self

    @property
    def values(self) -> tuple[Any, ...] | None:
        """All values of a finite range, None for a continuous one."""
        return self.choice if self.choice is not None else (self.fixed,) if self.fixed is not None else None


def _least_and_most(value: Any) -> Any:
    """A number of workers stands for both."""
    counts = value if isinstance(value, list | tuple) else (value, value)
    if len(counts) != 2 or not all(type(count) is int and count > 0 for count in counts) or counts[0] > counts[1]:
        raise ValueError(f"expected a positive number or [least, most], found {value}")
    return tuple(counts)


class Resources(Strict):
    """What one worker of a training takes, and how many train it together.

    Attributes:
        workers: least and most, of an elastic group that grows and shrinks with the cluster if they differ.
    """

    cpus: PositiveFloat = 1
    gpus: NonNegativeFloat = 0
    workers: Annotated[tuple[int, int], BeforeValidator(_least_and_most)] = (1, 1)

    @property
    def counts(self) -> range:
        """Every number of workers that there may be."""
        return range(self.workers[0], self.workers[1] + 1)

    def __str__(self) -> str:
        least, most = self.workers
        return f"workers {least}{f' to {most}' * (most > least)}, CPUs {self.cpus:g} and GPUs {self.gpus:g} each"

    def check_shares(self, batch: int) -> None:
        """
        Raises:
            ValueError: some number of workers does not divide the batch.
        """
        for count in self.counts:
            if batch % count:
                raise ValueError(f"resources.workers: expected numbers that divide the batch of {batch}, found {count}")


class TrainConfig(Strict):
    """A generative system and how it is trained; the system's L is the data set's.

    Attributes:
        batch: configurations a step, of all workers together.
        validation: share of the data kept apart, the last configurations.
        parent: a model of the store whose weights it starts from; random ones if None.
        checkpoint_seconds: between two checkpoints at least; what a death costs at most.
    """

    dataset: DatasetConfig = DatasetConfig()
    system: SystemConfig
    batch: Annotated[int, Field(ge=2)] = 50
    steps: PositiveInt = 4000
    validation: Annotated[float, Field(gt=0, lt=1)] = 0.1
    seed: NonNegativeInt = 0
    parent: str | None = None
    checkpoint_seconds: NonNegativeFloat = 30.0
    resources: Resources = Resources()

    @model_validator(mode="before")
    @classmethod
    def _same_lattice(cls, given: Any) -> Any:
        """A system that does not say its L takes the data set's; one without a name is the hybrid."""
        dataset, system = given.get("dataset", {}), given.get("system", {})
        L = dataset.L if isinstance(dataset, DatasetConfig) else dataset.get("L", DatasetConfig().L)
        return {**given, "system": {"name": "hybrid", "L": L, **system}} if isinstance(system, Mapping) else given

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.system.L != self.dataset.L:
            raise ValueError(f"system.L: expected the data set's {self.dataset.L}, found {self.system.L}")
        if self.kept < self.batch:
            raise ValueError(f"dataset.configurations: expected a batch of {self.batch} to train on, found {self.kept}")
        self.resources.check_shares(self.batch)
        return self

    @property
    def kept(self) -> int:
        """How many configurations are for training; the rest, at least two, are for validation."""
        rows = self.dataset.configurations
        return rows - max(2, round(self.validation * rows))

    @property
    def request(self) -> dict[str, Any]:
        """All that makes the networks."""
        dataset = {"dataset": self.dataset.name, "model": self.system.model_dump(mode="json")}
        return dataset | self.model_dump(mode="json", exclude={"dataset", "system", "checkpoint_seconds", "resources"})

    @property
    def name(self) -> str:
        """Of the model, with a hash of all that makes it."""
        return f"{self.system.label}-s{self.seed}-{digest(self.request)}"


class SweepConfig(Strict):
    """A sweep: one trial for each point of ``space`` and each seed, every trial a collapse scan.

    Attributes:
        space: dotted keys of ``model``, ``training`` and ``scan``, each with a :class:`Range`.
        trials: points to draw when the space is not finite; all of them, when it is.
        sampler: how they are drawn. "tpe" proposes ``batch`` points at a time from the ones before, and minimises
            gamma_c; "qmc" and "random" do not look at results.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")] = "evae"
    dataset: DatasetConfig = DatasetConfig()
    model: ModelConfig = ModelConfig()
    training: Training = Training()
    scan: Scan = Scan()
    space: dict[str, Range] = {}
    seeds: Annotated[tuple[NonNegativeInt, ...], Field(min_length=1)] = (0,)
    trials: PositiveInt | None = None
    sampler: Literal["tpe", "qmc", "random"] = "qmc"
    batch: PositiveInt = 4
    resources: Resources = Resources()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        self.model.on(self.dataset.L)
        self.resources.check_shares(self.training.batch)
        if self.dataset.configurations < 2 * self.training.batch:
            raise ValueError(
                f"dataset.configurations: expected at least two batches of {self.training.batch}, "
                f"found {self.dataset.configurations}"
            )
        if self.points() is None and self.trials is None:
            raise ValueError("trials: expected a number, since the space is not finite")
        for key, values in self.space.items():
            section = key.partition(".")[0]
            if section not in ("model", "training", "scan"):
                raise ValueError(f"space.{key}: expected a key of model, training or scan")
            bounds = values.uniform or values.log_uniform or values.integer
            for value in values.values or bounds or ():
                self.at({key: value})
        return self

    def at(self, point: Mapping[str, Any]) -> SweepConfig:
        """This configuration with the dotted keys of ``point`` set, and no space left.

        Raises:
            ValueError: a key that does not exist, or a value out of its range.
        """
        plain = self.model_dump(exclude={"space", "seeds", "trials"})
        for key, value in point.items():
            *sections, last = key.split(".")
            target = plain
            for section in sections:
                target = target.get(section, {})
            if last not in target:
                raise ValueError(f"space.{key}: unknown key{_nearest(last, target)}")
            target[last] = value
        try:
            return SweepConfig(**plain)
        except ValidationError as error:
            detail = error.errors()[0]
            raise ValueError(f"space.{'.'.join(map(str, detail['loc']))}: {_explain(detail)}") from None

    def stage(self, seed: int, stage: Stage, parent: str | None) -> TrainConfig:
        """The training of one stage of a collapse scan, from the weights of the model ``parent``."""
        training = self.training
        system = self.model.on(self.dataset.L, beta=stage.beta, gamma=stage.gamma, learning_rate=training.learning_rate)
        return TrainConfig(
            dataset=self.dataset,
            system=system,
            batch=training.batch,
            steps=training.steps if parent else training.warmup_steps,
            validation=training.validation,
            seed=seed,
            parent=parent,
        )

    def points(self) -> list[dict[str, Any]] | None:
        """Every point of a finite space, in the order given, or None."""
        values = [r.values for r in self.space.values()]
        if any(v is None for v in values):
            return None
        return [dict(zip(self.space, combination, strict=True)) for combination in itertools.product(*values)]  # type: ignore[arg-type]


class OptimizeConfig(Strict):
    """A search of a model's latent space.

    Attributes:
        population: codes a generation ("genetic") or codes modified side by side ("gradient").
        iterations: generations, or gradient steps.
        pressure: selection pressure of the roulette wheel, see :class:`search.genetic.Genetic`.
    """

    objective: str = "mz_max"
    method: Literal["genetic", "gradient"] = "genetic"
    population: Annotated[int, Field(ge=2)] = 100
    iterations: PositiveInt = 2000
    pressure: PositiveFloat = 8.0
    mutation: Annotated[float, Field(ge=0, le=1)] = 0.01
    elite: NonNegativeInt = 1
    learning_rate: PositiveFloat = 1e-2
    seed: NonNegativeInt = 0

    @model_validator(mode="after")
    def _elite(self) -> Self:
        if self.elite >= self.population:
            raise ValueError(f"elite: expected less than the population of {self.population}, found {self.elite}")
        return self


class SampleConfig(Strict):
    """Samples of a model: ``n`` codes of the prior, moved for ``steps`` steps to where the discriminator likes them.

    Attributes:
        langevin: with noise and the prior (Che et al., 2020) rather than gradient ascent (2023 paper).
    """

    n: Annotated[int, Field(ge=2)] = 1000
    steps: NonNegativeInt = 0
    step_size: PositiveFloat = 0.01
    langevin: bool = False
    seed: NonNegativeInt = 0


class MapConfig(Strict):
    """A map of the latent plane of two components, the others drawn from the prior with ``seed``.

    Attributes:
        reach: the components go from -reach to reach, in ``points`` steps.
    """

    axes: tuple[NonNegativeInt, NonNegativeInt] = (0, 1)
    reach: PositiveFloat = 2.0
    points: Annotated[int, Field(ge=21)] = 81
    seed: NonNegativeInt = 0


class Inversion(Strict):
    """How the code of a given state is looked for: ``starts`` codes, each moved by Adam."""

    starts: PositiveInt = 16
    iterations: PositiveInt = 500
    learning_rate: PositiveFloat = 0.05
    seed: NonNegativeInt = 0


class InvertConfig(Inversion):
    """The inverse mapping of a state."""

    state: str


class LineConfig(Inversion):
    """Straight lines between the codes of the states, each to the next."""

    states: Annotated[tuple[str, ...], Field(min_length=2)]
    points: Annotated[int, Field(ge=3)] = 61


class TemperConfig(Magnet):
    """A search for the ground state: ``runs`` of parallel tempering, number i made from (everything here, i)."""

    ladder: Ladder = Ladder()
    runs: PositiveInt = 10
    seed: NonNegativeInt = 0

    @property
    def name(self) -> str:
        return self._named("ground-")


Config = TypeVar("Config", bound=BaseModel)


def load(
    kind: type[Config],
    source: str | None = None,
    scale: str | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Config:
    """A validated configuration from a YAML file, one of its scales, and single keys.

    Args:
        source: a path, or else the name of a space shipped with the program; None for defaults alone.
        scale: a key of the file's ``scales``, whose content is laid over the file's; the file's own ``scale`` if None.
        settings: dotted keys and their values, laid over both.

    Raises:
        RequestError: one line for each thing that is wrong, with file, key, value and what is expected.
    """
    where = source or "command line"
    content = _read(source) if source else {}
    scales = content.pop("scales", {})
    scale = scale or content.pop("scale", None)
    content.pop("scale", None)
    if scale is not None:
        if not isinstance(scales, dict) or scale not in scales:
            raise RequestError(f"{where}: scale {scale!r}: expected one of {', '.join(scales) or 'none'}")
        content = _merge(content, scales[scale] or {})
    for key, value in (settings or {}).items():
        nested = value
        parts = key.split(".", 1) if key.startswith("space.") else key.split(".")  # the space's own keys are dotted
        for part in reversed(parts):
            nested = {part: nested}
        content = _merge(content, nested)
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        raise RequestError("\n".join(f"{where}: {line}" for line in _lines(error, kind))) from None


def space_path(name: str) -> Path:
    """A space file: the path itself, or else one shipped with the program."""
    path = Path(name).expanduser()
    if path.exists():
        return path
    shipped = SPACES / name
    if shipped.is_file():
        return shipped
    known = ", ".join(sorted(p.name for p in SPACES.glob("*.yaml")))
    raise RequestError(f"{name}: no such file; shipped with the program: {known}")


def assignment(text: str) -> tuple[str, Any]:
    """``key=value`` of a --set option, the value read as YAML."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise RequestError(f"--set {text}: expected key=value")
    try:
        return key, yaml.safe_load(value)
    except yaml.YAMLError:
        raise RequestError(f"--set {text}: the value is not YAML") from None


def _read(source: str) -> dict[str, Any]:
    path = space_path(source)
    try:
        content = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f" at line {mark.line + 1}" if mark else ""
        raise RequestError(f"{source}: not readable as YAML{line}") from None
    if not isinstance(content, dict):
        raise RequestError(f"{source}: expected keys and values, found {type(content).__name__}")
    return content


def _merge(base: Any, over: Any) -> Any:
    if isinstance(base, dict) and isinstance(over, dict):
        return {**base, **{key: _merge(base.get(key), value) for key, value in over.items()}}
    return over


def _lines(error: ValidationError, kind: type[BaseModel]) -> Iterator[str]:
    for detail in error.errors():
        key = ".".join(str(part) for part in detail["loc"] if part not in SYSTEMS)  # which tag a union, and are no keys
        yield f"{key}: {_explain(detail, kind)}".removeprefix(": ")


def _explain(detail: Any, kind: type[BaseModel] | None = None) -> str:
    if detail["type"] == "extra_forbidden":
        return "unknown key" + (_nearest(detail["loc"][-1], _fields(kind, detail["loc"][:-1])) if kind else "")
    if detail["type"] == "value_error":
        message = str(detail["ctx"]["error"])
        if isinstance(detail["input"], int | float | str):
            message += f", found {detail['input']!r}" if "found" not in message else ""
        return message
    message = (
        detail["msg"]
        .replace("Input should be", "expected")
        .replace("a valid integer", "an integer")
        .replace("a valid ", "a ")
    )
    return f"{message}, found {detail['input']!r}"


def _fields(kind: type[BaseModel] | None, path: tuple[Any, ...]) -> Mapping[str, Any]:
    for part in path:
        field = kind.model_fields.get(part) if kind else None
        kind = SYSTEMS.get(part) or (field.annotation if field and isinstance(field.annotation, type) else None)
    return kind.model_fields if kind and issubclass(kind, BaseModel) else {}


def _nearest(key: Any, known: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(str(key), known, n=1, cutoff=0.5)
    if close:
        return f", did you mean {close[0]}?"
    return f", expected one of {', '.join(known)}" if known else ""
