"""A data set as a person asks for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from orchestrator.config import load, shipped, shipped_file, stored
from orchestrator.store import Store
from physics.annealing import Annealing
from physics.chiral import ChiralMagnet
from physics.masks import disk
from physics.model import AnySpinModel
from physics.registry import Seed, Settings, digest
from physics.sampler import AnySampler

LARGEST = 4096  # lattice
MOST_BYTES = 1e14  # of the spins of a data set


class DatasetConfig(Settings):
    """``configurations`` of a spin model from a sampler, number i made from (everything here, i).

    Attributes:
        hamiltonian: the spin model; ``name`` chooses which, "chiral" by default.  Its mask may be "disk".
        sampler: ``name`` chooses which, "annealing" by default.
        imported: SHA-256 of states that were imported instead; the sampler then says nothing.
    """

    L: Annotated[int, Field(gt=0, le=LARGEST)] = 32
    hamiltonian: AnySpinModel = ChiralMagnet()
    sampler: AnySampler = Annealing()
    configurations: Annotated[int, Field(gt=0, le=10**7)] = 1000
    seed: Seed = 0
    imported: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _schedule(cls, given: Any) -> Any:
        """``schedule`` is what files and cards before version 0.4 call the sampler."""
        if isinstance(given, dict) and "schedule" in given and "sampler" not in given:
            return {"sampler" if key == "schedule" else key: value for key, value in given.items()}
        return given

    @model_validator(mode="before")
    @classmethod
    def _disk(cls, given: Any) -> Any:
        """The mask of a spin model may be named: "disk"."""
        model = given.get("hamiltonian") if isinstance(given, Mapping) else None
        if not isinstance(model, Mapping) or not isinstance(model.get("mask"), str) or model["mask"] != "disk":
            return given
        L = given.get("L", cls.model_fields["L"].default)
        if type(L) is not int or not 0 < L <= LARGEST:
            return given
        return {**given, "hamiltonian": {**model, "mask": disk(L)}}

    @model_validator(mode="after")
    def _fits(self) -> Self:
        self.hamiltonian.check(self.L)
        self.sampler.check(self.hamiltonian, self.L)
        most = int(MOST_BYTES / (4 * self.hamiltonian.components * self.L**2))
        if self.configurations > most:
            raise ValueError(f"configurations: expected at most {most} of L = {self.L}, found {self.configurations}")
        return self

    def recipe(self) -> dict[str, Any]:
        recipe = super().recipe()
        recipe["schedule"] = recipe.pop("sampler")  # the key that the names of all data sets were made with
        return recipe

    @property
    def name(self) -> str:
        """Of the data set, with a hash of all that makes it."""
        origin = "import-" if self.imported else self.sampler.prefix
        return f"{origin}L{self.L}-{self.hamiltonian.label}-{digest(self.recipe())}"


def dataset_named(text: str, scale: str | None, store: Store) -> DatasetConfig:
    """A data set from a YAML file, a shipped name, or else one of the store.

    Raises:
        RequestError: there is none.
    """
    if text in shipped("data") or text.endswith(".yaml"):
        return load(DatasetConfig, shipped_file("data", text), scale)
    return of_card(store.find(text, "datasets")[2])


def of_card(card: dict[str, Any]) -> DatasetConfig:
    """The request of a data set in the store, or RequestError."""
    return stored(DatasetConfig.model_validate, card.get("config"), "card of a data set")
