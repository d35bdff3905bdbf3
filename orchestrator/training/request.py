"""A training as a person asks for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import (
    BeforeValidator,
    Field,
    NonNegativeFloat,
    model_validator,
)

from nets.system import SYSTEMS, AnySystem
from nets.training import Schedule
from orchestrator.config import stored
from orchestrator.data.request import DatasetConfig
from physics.registry import Later, Seed, Settings, digest, shown

DEFAULT_SYSTEM = "hybrid"


def _least_and_most(value: Any) -> Any:
    """A number of workers stands for both."""
    counts = value if isinstance(value, list | tuple) else (value, value)
    if len(counts) != 2 or not all(type(count) is int and count > 0 for count in counts) or counts[0] > counts[1]:
        raise ValueError(f"expected a positive number or [least, most], found {shown(value)}")
    return tuple(counts)


class Resources(Settings):
    """What one worker of a training takes, and how many train it together.

    Attributes:
        workers: least and most, of an elastic group that grows and shrinks with the cluster if they differ.
    """

    cpus: Annotated[float, Field(ge=1e-4, le=10**6)] = 1
    gpus: Annotated[float, Field(ge=0, le=10**6)] = 0
    workers: Annotated[tuple[int, int], BeforeValidator(_least_and_most)] = (1, 1)

    @model_validator(mode="after")
    def _whole_gpus(self) -> Self:
        if self.gpus % 1 and (self.gpus > 1 or self.gpus < 1e-4):
            raise ValueError(f"gpus: expected a whole number or a share of one GPU, found {self.gpus:g}")
        return self

    def __str__(self) -> str:
        least, most = self.workers
        return f"workers {least}{f' to {most}' * (most > least)}, CPUs {self.cpus:g} and GPUs {self.gpus:g} each"

    def check_shares(self, batch: int) -> None:
        """Raise ValueError unless every number of workers divides the batch."""
        for count in range(self.workers[0], self.workers[1] + 1):
            if batch % count:
                raise ValueError(f"resources.workers: expected numbers that divide the batch of {batch}, found {count}")


class TrainConfig(Settings):
    """A generative system and how it is trained; the system's L is the data set's.

    Attributes:
        batch: configurations a step, of all workers together.
        steps: updates of every network.
        validation: share of the data kept apart, the last configurations.
        augment: whether each configuration of a batch is first moved by a random symmetry of its spin model, see
            :func:`physics.symmetry.draw_powers`.
        schedule: of the learning rates; "cosine" takes them to zero at the last step; "settled" keeps them until the
            loss has settled, takes them to zero and ends there, with ``steps`` the most; see :func:`nets.training.fit`.
        parent: a model of the store whose weights it starts from; random ones if None.
        checkpoint_seconds: between two checkpoints at least; what a death costs at most. They take a twentieth of the
            time at most: where writing is slow, they are farther apart.
    """

    dataset: DatasetConfig = DatasetConfig()
    system: AnySystem
    batch: Annotated[int, Field(ge=2)] = 50
    steps: Annotated[int, Field(gt=0, le=10**9)] = 4000
    validation: Annotated[float, Field(gt=0, lt=1)] = 0.1
    seed: Seed = 0
    augment: Annotated[bool, Later()] = False
    schedule: Annotated[Schedule, Later()] = "constant"
    parent: Annotated[str, Field(pattern=r"^[^./\\][^/\\]*$")] | None = None
    checkpoint_seconds: NonNegativeFloat = 30.0
    resources: Resources = Resources()

    @model_validator(mode="before")
    @classmethod
    def _same_lattice(cls, given: Any) -> Any:
        """A system that does not say its L takes the data set's."""
        if not isinstance(given, Mapping):
            return given
        dataset, system = given.get("dataset", {}), given.get("system", {})
        if not isinstance(system, Mapping):
            return given
        default = DatasetConfig().L
        L = dataset.get("L", default) if isinstance(dataset, Mapping) else getattr(dataset, "L", default)
        L = L if isinstance(L, int | str) else default
        return {**given, "system": {"name": DEFAULT_SYSTEM, "L": L, **system}}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.system.L != self.dataset.L:
            raise ValueError(f"system.L: expected the data set's {self.dataset.L}, found {self.system.L}")
        self.system.check(self.dataset.hamiltonian)
        known = () if self.dataset.imported else self.dataset.sampler.labels
        for label in self.system.labels:
            if label not in known:
                raise ValueError(
                    f"dataset.sampler: expected one that labels configurations with {label}, as {self.system.name} "
                    f"wants, found {self.dataset.sampler.name}"
                )
        if self.schedule == "settled" and not self.system.loss_weights:
            raise ValueError(
                f"schedule: expected constant or cosine, as {self.system.name} has no one loss that could settle, "
                f"found {self.schedule}"
            )
        if self.augment:
            self._check_symmetries()
        if self.kept < self.batch:
            raise ValueError(f"dataset.configurations: expected a batch of {self.batch} to train on, found {self.kept}")
        self.resources.check_shares(self.batch)
        each, workers = self.system.smallest_batch, self.resources.workers[1]
        if self.batch < each * workers:
            raise ValueError(f"batch: expected {each} or more a worker for {self.system.name}, found {self.batch}")
        return self

    def _check_symmetries(self) -> None:
        if self.system.labels:
            raise ValueError(
                f"augment: expected a system without labels, which do not move along, found {self.system.name} with "
                f"{', '.join(self.system.labels)}"
            )
        if not self.dataset.hamiltonian.symmetries(self.dataset.L):
            raise ValueError(f"augment: expected a spin model with symmetries, found {self.dataset.hamiltonian.name}")

    @property
    def kept(self) -> int:
        """How many configurations are for training; the rest are for validation."""
        return kept(self.dataset.configurations, self.validation)

    def recipe(self) -> dict[str, Any]:
        recipe = super().recipe()
        for key in ("checkpoint_seconds", "resources"):
            recipe.pop(key)
        recipe["model"] = recipe.pop("system")  # the key that the names of all models were made with
        return {**recipe, "dataset": self.dataset.name}

    @property
    def name(self) -> str:
        """Of the model, with a hash of all that makes it."""
        return f"{self.system.label}-s{self.seed}-{digest(self.recipe())}"

    @property
    def random_seed(self) -> int:
        """What weights, batches and noise are drawn from: another for every recipe."""
        return int(digest(self.recipe()), 16)


def kept(configurations: int, validation: float) -> int:
    """How many are for training where that share of them, at least two, is for validation."""
    return configurations - max(2, round(validation * configurations))


def system_of(card: dict[str, Any]) -> Any:
    """The settings of the system of a model in the store, or RequestError."""
    return stored(lambda config: SYSTEMS.of_recipe(config["model"]), card.get("config"), "card of a model")
