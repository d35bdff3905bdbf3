"""States in and out of the store: OVF 2.0, as mumax3 and OOMMF read it, and NumPy."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from orchestrator.config import load
from orchestrator.data import shards
from orchestrator.data.request import DatasetConfig
from orchestrator.data.run import place, seal
from orchestrator.data.run import shards as shards_of
from orchestrator.errors import RequestError
from orchestrator.lease import Lease, made
from orchestrator.store import Kind, Store
from orchestrator.training import trained
from physics import ovf
from physics.registry import Settings, cut, reason
from physics.sampler import Samples
from physics.states import read_together

Format = Literal["npy", "text", "binary4", "binary8"]


class ExportConfig(Settings):
    """How states are written.

    Attributes:
        form: "npy", or how an OVF file holds its data.
        rows: FIRST:END, either of which may be left out.
        cell: edge of a site in metres, for OVF.
    """

    form: Format = "binary4"
    rows: Annotated[str, Field(pattern=r"^[0-9]{0,9}:[0-9]{0,9}$")] = ":"
    cell: Annotated[float, Field(ge=1e-15, le=1)] = 1e-9

    @property
    def wanted(self) -> slice:
        first, _, end = self.rows.partition(":")
        return slice(int(first) if first else 0, int(end) if end else None)


def states(kind: Kind, name: str, store: Store, rows: slice) -> np.ndarray:
    """Spins ``(n, components, L, L)`` of an artifact: a data set's, a model's generated ones, an optimum's winner."""
    if kind == "datasets":
        return shards.read(name, store)[rows].tensor().numpy()
    if kind == "models":
        return trained.generated(name, store)[rows]
    if kind == "optima":
        return trained.winner(name, store)["spins"][None][rows]
    raise RequestError(f"{kind}/{name}: expected a data set, a model or an optimum, which hold states")


def export(config: ExportConfig, kind: Kind, name: str, store: Store, folder: Path) -> list[Path]:
    """Write states as one .npy file, or as one .ovf file each named by its row; nothing is overwritten."""
    spins = states(kind, name, store, config.wanted)
    if not len(spins):
        raise RequestError(f"{kind}/{name}: no state among the rows {config.rows}")
    first = config.wanted.start
    if config.form == "npy":
        path = folder / f"{name}.npy"
        save_new(path, spins)
        return [path]
    paths = [folder / f"{name}-{first + i:08d}.ovf" for i in range(len(spins))]
    for path in paths:
        check_new(path, ".ovf")
    for path, state in zip(paths, spins, strict=True):
        with _whole(path) as temporary:
            ovf.write(temporary, state, config.form, config.cell, title=path.stem)
    return paths


def save_new(path: Path, spins: np.ndarray) -> None:
    """Write a .npy file; RequestError if there is one."""
    check_new(path, ".npy")
    with _whole(path) as temporary, temporary.open("wb") as file:
        np.save(file, spins)


def check_new(path: Path, suffix: str) -> None:
    """Raise RequestError if there is such a file already, or its name does not end so."""
    if path.suffix != suffix:
        raise RequestError(f"{cut(path)}: expected a name that ends in {suffix}")
    try:
        exists = path.exists() or path.is_symlink()
    except OSError as error:
        raise RequestError(f"{cut(path)}: cannot be written: {reason(error)}") from None
    if exists:
        raise RequestError(f"{path}: exists; expected a folder without it")


@contextlib.contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """A file that gets its name when it is whole.

    Raises:
        RequestError: it cannot be written.
    """
    temporary = path.with_name(f".{path.name[:200]}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise RequestError(f"{cut(path)}: cannot be written: {reason(error)}") from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def read_import(
    files: Sequence[Path], source: str | None, scale: str | None, settings: dict[str, Any]
) -> tuple[DatasetConfig, np.ndarray]:
    """The data set that the states in OVF and .npy files make, in the order given, and their unit spins.

    Sites of zero length become the spin model's mask.

    Args:
        source, scale, settings: of the data set's spin model, as in :func:`orchestrator.config.load`.

    Raises:
        RequestError: a file that is not read, states of different shapes or vacancies, a lattice that is not square,
            a setting that says something else than the files.
    """
    try:
        spins, present = read_together(files)
    except ValueError as error:
        raise RequestError(str(error)) from None
    L = spins.shape[-1]
    mask = {} if present.all() else {"hamiltonian.mask": present}
    fixed = {"L": L, "configurations": len(spins), "imported": hashlib.sha256(spins.tobytes()).hexdigest()}
    for key, found in fixed.items():
        if settings.get(key, found) != found:
            raise RequestError(f"--set {key}={cut(settings[key])}: expected {cut(found)}, as the files have it")
    config = load(DatasetConfig, source, scale, {**settings, **mask, **fixed})
    if spins.shape[1] != config.hamiltonian.components:
        model = type(config.hamiltonian).__name__
        raise RequestError(
            f"{files[0]}: expected {config.hamiltonian.components} components of a {model}, found {spins.shape[1]}"
        )
    return config, spins * config.hamiltonian.sites(L)


def import_states(config: DatasetConfig, spins: np.ndarray, store: Store, note: str) -> tuple[str, dict[str, Any]]:
    """Name and card of a data set of states that were read, written unless it is in the store."""

    def write(_: Lease) -> None:
        found = []
        for indices in shards_of(config):
            part = Samples(spins[indices.start : indices.stop], {})
            found.append(place(config, store, indices, shards.encode(config.hamiltonian, indices, part)))
        seal(config, store, found, "cpu", note)

    made(store, "datasets", config.name, write)
    return config.name, shards.whole_card(config.name, store)
