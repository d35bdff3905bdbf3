"""The protocol of an objective: configurations of a spin model to values, to be made large or small.

Every observable of a model is two objectives, ``mz_max`` and ``mz_min``.  To add another: a class of
:class:`Objective`, and a line in :data:`OBJECTIVES`; or name a function of (spins ``(B, components, L, L)``, model) to
values ``(B,)`` as ``module:function``.  An optimizer with gradients needs it differentiable in torch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated, Any, Literal

import torch
from pydantic import BeforeValidator, SerializeAsAny
from torch import Tensor

from physics.chiral import ChiralMagnet
from physics.model import SpinModel
from physics.observables import correlation, topological_charge
from physics.registry import Registry, Tagged, import_name, nearest, reason, shown

Direction = Literal["max", "min"]


class Objective(Tagged, ABC):
    """What a search looks for."""

    @property
    def direction(self) -> Direction:
        return "max"

    @property
    def differentiable(self) -> bool:
        return True

    def unit(self, model: SpinModel) -> str:
        """Of the values, "" for a pure number."""
        return ""

    def check(self, model: SpinModel) -> None:
        """Raise ValueError unless the model's configurations have such a value."""

    @abstractmethod
    def value(self, spins: Tensor, model: SpinModel) -> Tensor:
        """Of configurations ``(B, components, L, L)``, ``(B,)``."""

    def score(self, spins: Tensor, model: SpinModel) -> Tensor:
        """The value, or minus the value if it is to be small: what an optimizer maximises."""
        return self.value(spins, model) if self.direction == "max" else -self.value(spins, model)


class ObservableObjective(Objective):
    """An observable of the model, as large or as small as it gets: ``<observable>_max`` or ``<observable>_min``."""

    @property
    def _parts(self) -> tuple[str, str]:
        observable, _, direction = self.name.rpartition("_")
        return observable, direction

    @property
    def direction(self) -> Direction:
        return "min" if self._parts[1] == "min" else "max"

    def unit(self, model: SpinModel) -> str:
        return model.observables[self._parts[0]].unit

    def check(self, model: SpinModel) -> None:
        if self._parts[0] not in model.observables:
            known = [*OBJECTIVES.known, *(f"{name}_{end}" for name in model.observables for end in ("max", "min"))]
            raise ValueError(
                f"objective: expected one of {', '.join(known)} or module:function, found {self.name!r}"
                f"{nearest(self.name, dict.fromkeys(known), listed=False)}"
            )

    def value(self, spins: Tensor, model: SpinModel) -> Tensor:
        return model.observables[self._parts[0]].measure(spins)


class _OfChiralMagnets(Objective):
    def check(self, model: SpinModel) -> None:
        if not isinstance(model, ChiralMagnet):
            raise ValueError(f"objective {self.name}: expected a chiral magnet, found {type(model).__name__}")


class TopologicalChargeMax(_OfChiralMagnets):
    """|W|, the number of skyrmions, whichever way their cores point."""

    name: Literal["topological_charge_max"] = "topological_charge_max"

    def value(self, spins: Tensor, model: SpinModel) -> Tensor:
        assert isinstance(model, ChiralMagnet)
        return topological_charge(spins, model).abs()


class CorrelationMax(_OfChiralMagnets):
    """Correlation along the diagonal over a quarter of the spiral's period, the 2022 paper's C."""

    name: Literal["correlation_max"] = "correlation_max"

    def value(self, spins: Tensor, model: SpinModel) -> Tensor:
        assert isinstance(model, ChiralMagnet)
        step = max(1, round(min(model.period, spins.shape[-1]) / 4))
        return correlation(spins, (step, step))


class FunctionObjective(Objective):
    """A function of one's own, ``module:function``, to be maximised."""

    def defined_by(self) -> Any:
        return import_name(self.name)

    def check(self, model: SpinModel) -> None:
        spins = torch.nn.functional.normalize(torch.ones(2, model.components, 16, 16), dim=1)
        try:
            values = self.value(spins, model)
        except Exception as error:
            raise ValueError(
                f"objective {self.name}: fails on two configurations of 16 x 16: {reason(error)}"
            ) from None
        if not isinstance(values, Tensor) or values.shape != (2,):
            raise ValueError(
                f"objective {self.name}: expected a value for each of 2 configurations, found {shown(values)}"
            )

    def value(self, spins: Tensor, model: SpinModel) -> Tensor:
        return import_name(self.name)(spins, model)


OBJECTIVES: Registry[Objective] = Registry(
    Objective,
    "objective",
    {
        "topological_charge_max": "search.objectives:TopologicalChargeMax",
        "correlation_max": "search.objectives:CorrelationMax",
    },
)


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
