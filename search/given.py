"""Objectives that hold states against one that a person gives: a boundary map, a target."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from PIL import Image
from pydantic import PrivateAttr, SerializationInfo, SerializerFunctionWrapHandler, model_serializer, model_validator
from torch import Tensor

from physics.model import SpinModel
from physics.registry import cut, reason
from search.objectives import Direction, Objective

SHAPES = ("ring", "square", "wire")
EDGE = 0.36  # distance of the strip's middle from the lattice's, in units of L
WIDTH = 0.08  # of the strip, in units of L


def strip(shape: str, L: int) -> np.ndarray:
    """Sites of a narrow strip along the edge of a shape, bool ``(L, L)``: a ring, a square, the two edges of a wire."""
    y, x = np.abs(np.indices((L, L)) - (L - 1) / 2)
    distance = {"ring": np.hypot(x, y), "square": np.maximum(x, y), "wire": y}[shape]
    return np.abs(distance - EDGE * L) <= max(0.5, 0.5 * WIDTH * L)


class Given(Objective):
    """Holds a state of a file: its content counts, not its name.

    Attributes:
        file_key: the key that may name a file.
        digest: SHA-256 of its content; another file of the name is refused.
    """

    file_key: ClassVar[str]
    digest: str = ""
    _state: np.ndarray | None = PrivateAttr(None)

    @model_serializer(mode="wrap")
    def _serialized(self, dump: SerializerFunctionWrapHandler, info: SerializationInfo) -> dict[str, Any]:
        content = Objective._serialized(self, dump, info)
        if self.digest and (info.context or {}).get("recipe"):
            del content[self.file_key]
        return content

    def _read(self) -> None:
        """Keep the state of the file, its digest, and where it lies.

        Raises:
            ValueError: it cannot be read, or is not the one that the digest is of.
        """
        key, path = self.file_key, getattr(self, self.file_key)
        try:
            content = Path(path).read_bytes()
            state = np.load(path, allow_pickle=False) if path.endswith(".npy") else _picture(path)
        except (OSError, ValueError, SyntaxError) as error:
            raise ValueError(
                f"{key}: expected a file of NumPy or a picture, found {cut(path)}: {reason(error)}"
            ) from None
        if state.ndim not in (2, 3) or state.dtype.kind not in "biuf" or not np.isfinite(state).all():
            raise ValueError(
                f"{key}: expected numbers (L, L) or (components, L, L), found {state.shape} in {cut(path)}"
            )
        if not state.any():
            raise ValueError(f"{key}: expected numbers, found zeros alone in {cut(path)}")
        found = hashlib.sha256(content).hexdigest()
        if self.digest not in ("", found):
            raise ValueError(f"{key}: expected the file that was searched with, found another in {cut(path)}")
        for name, value in ((key, str(Path(path).absolute())), ("digest", found)):
            object.__setattr__(self, name, value)
        self._state = state.astype(np.float32)

    def check_lattice(self, model: SpinModel, L: int) -> None:
        if self._state is not None and self._state.shape not in ((L, L), (model.components, L, L)):
            raise ValueError(
                f"objective {self.name}: expected {model.components} components or one on {L} x {L} sites, "
                f"found numbers {self._state.shape}"
            )

    def _given(self, model: SpinModel, L: int) -> np.ndarray:
        assert self._state is not None
        return self._state

    def _on(self, spins: Tensor, model: SpinModel) -> Tensor:
        """The state as spins ``(components, L, L)``: a map of one number a site is the last component."""
        found = torch.from_numpy(self._given(model, spins.shape[-1])).to(spins)
        if found.ndim == 2:
            found = torch.cat((found.new_zeros(model.components - 1, *found.shape), found[None]))
        return found


def _picture(path: str) -> np.ndarray:
    """White is 1, black -1, and where it is transparent 0; the first row of sites at the bottom."""
    with Image.open(path) as image:
        grey, alpha = np.moveaxis(np.asarray(image.convert("LA"), float) / 255, -1, 0)
    return ((2 * grey - 1) * alpha)[::-1]


class BoundaryMax(Given):
    """Correlation with a boundary map, C_BC = <S_BC(r) . S(r)> over the sites where the map is not zero.

    Attributes:
        shape: "ring", "square" or "wire", a strip of spins up; or a file: a picture, white for spins up, black for
            down, transparent for none, or an array ``(L, L)`` of their last component or ``(components, L, L)``.

    Source: latent optimization (2022), "Stochastic algorithm".
    """

    file_key: ClassVar[str] = "shape"
    name: Literal["boundary_max"] = "boundary_max"
    shape: str = "ring"

    @model_validator(mode="after")
    def _of_file(self) -> BoundaryMax:
        if self.shape not in SHAPES:
            self._read()
        return self

    def value(self, spins: Tensor, model: SpinModel) -> Tensor:
        if self.shape in SHAPES:
            there = torch.from_numpy(strip(self.shape, spins.shape[-1])).to(spins)
            return (spins[:, -1] * there).sum((1, 2)) / there.sum()
        wanted = self._on(spins, model)
        return (spins * wanted).sum((1, 2, 3)) / wanted.norm(dim=0).sum()


class DistanceMin(Given):
    """Distance from a given state, the mean of (S - S')^2 / 4 over the sites that exist: 0 of it, 1 of its reverse.

    Attributes:
        state: a file of NumPy ``(components, L, L)``, or one of the states at rest that the spin model knows.
    """

    file_key: ClassVar[str] = "state"
    name: Literal["distance_min"] = "distance_min"
    state: str = "lattice"

    @property
    def direction(self) -> Direction:
        return "min"

    @model_validator(mode="after")
    def _of_file(self) -> DistanceMin:
        if self.state.endswith(".npy"):
            self._read()
        return self

    def check(self, model: SpinModel) -> None:
        known = model.known_states(16)
        if self._state is None and self.state not in known:
            expected = " or ".join([*known, "a file .npy"])
            raise ValueError(f"objective {self.name}: state: expected {expected}, found {cut(self.state)!r}")

    def check_lattice(self, model: SpinModel, L: int) -> None:
        self._given(model, L)
        super().check_lattice(model, L)

    def _given(self, model: SpinModel, L: int) -> np.ndarray:
        if self._state is not None:
            return self._state
        return np.asarray(model.known_states(L)[self.state](), np.float32)

    def value(self, spins: Tensor, model: SpinModel) -> Tensor:
        there = int(model.sites(spins.shape[-1]).sum())
        return (spins - self._on(spins, model)).square().sum((1, 2, 3)) / (4 * there)
