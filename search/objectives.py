"""The protocol of an objective: configurations of a spin model to values, to be made large or small.

Every observable of a model is two objectives, ``mz_max`` and ``mz_min``.  To add another: a class of
:class:`Objective`, and a line in :data:`OBJECTIVES`; or name a function of (spins ``(B, components, L, L)``, model) to
values ``(B,)`` as ``module:function``.  An optimizer with gradients needs it differentiable in torch.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import BeforeValidator, PrivateAttr, SerializeAsAny
from torch import Tensor

from physics.chiral import ChiralMagnet
from physics.model import SpinModel
from physics.observables import correlation, topological_charge, topological_charge_continuum
from physics.registry import Registry, Tagged, cut, import_name, nearest, reason, shown

Direction = Literal["max", "min"]


class Objective(Tagged, ABC):
    """What a search looks for.

    Attributes:
        needs: names of networks of the searched system that it is given before it is asked for values.
    """

    needs: ClassVar[tuple[str, ...]] = ()

    @property
    def direction(self) -> Direction:
        return "max"

    @property
    def differentiable(self) -> bool:
        return True

    def unit(self, model: SpinModel) -> str:
        """Of the values, "" for a pure number."""
        return ""

    def has_gradient(self, model: SpinModel) -> bool:
        """Whether torch follows the value to the spins."""
        return self.differentiable

    def check(self, model: SpinModel) -> None:
        """Raise ValueError unless the model's configurations have such a value."""

    def check_lattice(self, model: SpinModel, L: int) -> None:
        """Raise ValueError unless configurations of L x L have such a value."""

    def given_networks(self, networks: Mapping[str, Callable[[Tensor], Tensor]]) -> Objective:
        """The same with the networks that it needs, by name."""
        return self

    @abstractmethod
    def value(self, spins: Tensor, model: SpinModel) -> Tensor:
        """Of configurations ``(B, components, L, L)``, ``(B,)``."""

    @property
    def sign(self) -> int:
        """Of the score over the value: 1 if it is to be large, -1 if it is to be small."""
        return 1 if self.direction == "max" else -1

    def score(self, spins: Tensor, model: SpinModel) -> Tensor:
        """What an optimizer maximises."""
        return self.sign * self.value(spins, model)


class ObservableObjective(Objective):
    """An observable of the model, or its defects, as many as can be: ``<observable>_max`` or ``<observable>_min``."""

    @property
    def _parts(self) -> tuple[str, str]:
        observable, _, direction = self.name.rpartition("_")
        return observable, direction

    @property
    def direction(self) -> Direction:
        return "min" if self._parts[1] == "min" else "max"

    def unit(self, model: SpinModel) -> str:
        observable = model.observables.get(self._parts[0])
        return observable.unit if observable else ""

    def check(self, model: SpinModel) -> None:
        names = [*model.observables, model.defect_column]
        if self._parts[0] not in names:
            known = [*OBJECTIVES.known, *(f"{name}_{end}" for name in names for end in ("max", "min"))]
            raise ValueError(
                f"objective: expected one of {', '.join(known)} or module:function, found {self.name!r}"
                f"{nearest(self.name, dict.fromkeys(known), listed=False)}"
            )

    def value(self, spins: Tensor, model: SpinModel) -> Tensor:
        if self._parts[0] == model.defect_column:  # a count has no gradient, but one that is zero
            return model.count_defects(spins).to(spins) + 0 * spins.sum((-3, -2, -1))
        return model.observables[self._parts[0]].measure(spins)


class _OfChiralMagnets(Objective):
    def check(self, model: SpinModel) -> None:
        if not isinstance(model, ChiralMagnet):
            raise ValueError(f"objective {self.name}: expected a chiral magnet, found {type(model).__name__}")


class _Charge(_OfChiralMagnets):
    """W of the 2022 paper's integral, close to a whole number of skyrmions, with a gradient.

    On a lattice with edges it is that of the plaquettes, which is whole but has none.
    """

    recipe_version: ClassVar[int] = 2  # 1: of the plaquettes everywhere

    def value(self, spins: Tensor, model: SpinModel) -> Tensor:
        assert isinstance(model, ChiralMagnet)
        if _is_torus(model):
            return topological_charge_continuum(spins)
        return topological_charge(spins, model)


class TopologicalChargeMax(_Charge):
    """|W|, whichever way the skyrmions' cores point."""

    name: Literal["topological_charge_max"] = "topological_charge_max"

    def value(self, spins: Tensor, model: SpinModel) -> Tensor:
        return super().value(spins, model).abs()


class TopologicalChargeMin(_Charge):
    """W as far below zero as can be: skyrmions whose cores point down."""

    name: Literal["topological_charge_min"] = "topological_charge_min"

    @property
    def direction(self) -> Direction:
        return "min"


def _is_torus(model: ChiralMagnet) -> bool:
    return model.boundary == "periodic" and model.mask is None


class CorrelationMax(_OfChiralMagnets):
    """C(a), largest for stripes along a.

    Attributes:
        a: in sites along x and y, whole or not; by default the unit vector along the diagonal.

    Source: latent optimization (2022), "Genetic algorithm".
    """

    recipe_version: ClassVar[int] = 2  # 1: a quarter of the spiral's period along the diagonal
    name: Literal["correlation_max"] = "correlation_max"
    a: tuple[float, float] = (math.sqrt(0.5), math.sqrt(0.5))

    def check(self, model: SpinModel) -> None:
        super().check(model)
        if isinstance(model, ChiralMagnet) and not _is_torus(model):
            found = f"boundary {model.boundary}" if model.mask is None else "a mask"
            raise ValueError(f"objective {self.name}: expected a magnet without edges, found {found}")

    def value(self, spins: Tensor, model: SpinModel) -> Tensor:
        return correlation(spins, self.a)


class LogitMax(Objective):
    """The discriminator's logit: how real a state looks to it."""

    needs: ClassVar[tuple[str, ...]] = ("discriminator",)
    name: Literal["logit_max"] = "logit_max"
    _discriminator: Callable[[Tensor], Tensor] | None = PrivateAttr(None)

    def given_networks(self, networks: Mapping[str, Callable[[Tensor], Tensor]]) -> LogitMax:
        twin = self.model_copy()
        twin._discriminator = networks["discriminator"]
        return twin

    def value(self, spins: Tensor, model: SpinModel) -> Tensor:
        assert self._discriminator is not None
        return self._discriminator(spins)


class WeightedSum(Objective):
    """A sum of scores, each with its sign and weight, to be maximised: ``"mz_max + 0.5 * energy_min"``."""

    @property
    def terms(self) -> list[tuple[float, Objective]]:
        return [_term(text) for text in self.name.split("+")]

    @property
    def differentiable(self) -> bool:
        return all(objective.differentiable for _, objective in self.terms)

    def has_gradient(self, model: SpinModel) -> bool:
        return all(objective.has_gradient(model) for _, objective in self.terms)

    def version(self) -> int:
        return self.recipe_version + sum(objective.version() - 1 for _, objective in self.terms)

    def defined_by(self) -> list[Any]:
        return [source for _, objective in self.terms for source in objective.defined_by()]

    def check(self, model: SpinModel) -> None:
        for _, objective in self.terms:
            if objective.needs:
                raise ValueError(f"objective: expected no {objective.name} in a sum, found {self.name!r}")
            objective.check(model)

    def check_lattice(self, model: SpinModel, L: int) -> None:
        for _, objective in self.terms:
            objective.check_lattice(model, L)

    def value(self, spins: Tensor, model: SpinModel) -> Tensor:
        return torch.stack([weight * objective.score(spins, model) for weight, objective in self.terms]).sum(0)


def _term(text: str) -> tuple[float, Objective]:
    """Weight and objective of "weight * name" or "name"."""
    weight, times, name = text.rpartition("*")
    try:
        return (float(weight) if times else 1.0), parse_objective(name.strip())
    except ValueError as error:
        raise ValueError(f"{cut(text.strip())}: expected WEIGHT * OBJECTIVE: {error}") from None


class FunctionObjective(Objective):
    """A function of one's own, ``module:function``, to be maximised."""

    def defined_by(self) -> list[Any]:
        return [import_name(self.name)]

    def check(self, model: SpinModel) -> None:
        spins = torch.nn.functional.normalize(torch.ones(2, model.components, 16, 16), dim=1)
        try:
            values = self.value(spins, model)
        except Exception as error:
            raise ValueError(
                f"objective {self.name}: fails on two configurations of 16 x 16: {reason(error)}"
            ) from None
        if not isinstance(values, Tensor) or values.shape != (2,) or not values.is_floating_point():
            raise ValueError(
                f"objective {self.name}: expected a real number for each of 2 configurations, found {shown(values)}"
            )

    def has_gradient(self, model: SpinModel) -> bool:
        spins = torch.nn.functional.normalize(torch.ones(2, model.components, 16, 16), dim=1).requires_grad_()
        return bool(self.value(spins, model).requires_grad)

    def value(self, spins: Tensor, model: SpinModel) -> Tensor:
        return import_name(self.name)(spins, model)


OBJECTIVES: Registry[Objective] = Registry(
    Objective,
    "objective",
    {
        "topological_charge_max": "search.objectives:TopologicalChargeMax",
        "topological_charge_min": "search.objectives:TopologicalChargeMin",
        "correlation_max": "search.objectives:CorrelationMax",
        "boundary_max": "search.given:BoundaryMax",
        "distance_min": "search.given:DistanceMin",
        "logit_max": "search.objectives:LogitMax",
    },
)


def checked_value(objective: Objective, spins: Tensor, model: SpinModel) -> Tensor:
    """The value of states ``(B, components, L, L)``.

    Raises:
        ValueError: it fails, or is not a real number for each; a number may be nan.
    """
    try:
        value = objective.value(spins, model)
    except Exception as error:  # a person's function may fail in any way
        raise ValueError(f"objective {objective.name}: {type(error).__name__}: {reason(error)}") from error
    if not isinstance(value, Tensor) or value.shape != (len(spins),) or not value.is_floating_point():
        found = f"{value.dtype} of shape {tuple(value.shape)}" if isinstance(value, Tensor) else shown(value)
        raise ValueError(f"objective {objective.name}: expected {len(spins)} real numbers, found {found}")
    return value


def parse_objective(given: Any) -> Objective:
    """An objective from its name, or from settings with a ``name``.

    Raises:
        ValueError: there is none of that name.
    """
    if isinstance(given, Objective):
        return given
    settings = {"name": given} if isinstance(given, str) else dict(given) if isinstance(given, dict) else {}
    name = settings.get("name")
    if not isinstance(name, str):
        raise ValueError(f"expected a name, or keys and values with a name, found {shown(given)}")
    if name in OBJECTIVES.known:
        return OBJECTIVES.parse(settings)
    if "+" in name or "*" in name:
        weighted = WeightedSum.model_validate(settings)
        assert weighted.terms
        return weighted
    if ":" in name:
        found = import_name(name)
        if isinstance(found, type) and issubclass(found, Objective):
            return OBJECTIVES.parse(settings)
        if not callable(found):
            raise ValueError(f"expected a function of spins and model, found {shown(name)}, which is {shown(found)}")
        return FunctionObjective.model_validate(settings)
    if name.endswith(("_max", "_min")):
        return ObservableObjective.model_validate(settings)
    known = ", ".join(OBJECTIVES.known)
    raise ValueError(f"expected <observable>_max, <observable>_min, {known} or module:function, found {shown(name)}")


AnyObjective = Annotated[SerializeAsAny[Objective], BeforeValidator(parse_objective)]
"""A field of settings that holds any objective."""
