"""States in and out of the store: OVF 2.0, as mumax3 and OOMMF read it, and NumPy."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from orchestrator import datasets, models
from orchestrator.anneal import SHARD_BYTES
from orchestrator.config import DatasetConfig, load
from orchestrator.console import say
from orchestrator.errors import RequestError
from orchestrator.store import Kind, Store
from physics import ovf

OVF = (".ovf", ".omf", ".ohf")
Format = Literal["npy", "text", "binary4", "binary8"]


def checked_form(text: str) -> Format:
    """One of the formats, or RequestError."""
    for form in get_args(Format):
        if text == form:
            return form
    raise RequestError(f"--form {text}: expected one of {', '.join(get_args(Format))}")


def states(kind: Kind, name: str, store: Store, rows: slice) -> np.ndarray:
    """Spins ``(n, 3, L, L)`` of an artifact: a data set's, a model's generated ones, an optimum's winner."""
    if kind == "datasets":
        return datasets.read(name, store)[rows].tensor().numpy()
    if kind == "models":
        return models.generated(name, store)[rows]
    if kind == "optima":
        winner = pd.read_parquet(io.BytesIO(store.read(kind, name, "winner.parquet"))).iloc[0]
        return np.asarray(winner["spins"], np.float32).reshape(1, 3, winner["L"], winner["L"])[rows]
    raise RequestError(f"{kind}/{name}: expected a data set, a model or an optimum, which hold states")


def export(kind: Kind, name: str, store: Store, folder: Path, form: Format, rows: slice, cell: float) -> list[Path]:
    """Write states as one .npy file, or as one .ovf file each named by its row; nothing is overwritten.

    Args:
        form: "npy", or how an OVF file holds its data.
        cell: edge of a site in metres, for OVF.
    """
    spins = states(kind, name, store, rows)
    if not len(spins):
        raise RequestError(f"{kind}/{name}: no state among the rows asked for")
    first = rows.start or 0
    paths = [folder / (f"{name}.npy" if form == "npy" else f"{name}-{first + i:08d}.ovf") for i in range(len(spins))]
    if form == "npy":
        save_new(paths[0], spins)
        return paths[:1]
    for path in paths:
        check_new(path, ".ovf")
    for path, state in zip(paths, spins, strict=True):
        with _becoming(path) as temporary:
            ovf.write(temporary, state, form, cell, title=path.stem)
    return paths


def save_new(path: Path, spins: np.ndarray) -> None:
    """Write a .npy file; RequestError if there is one."""
    check_new(path, ".npy")
    with _becoming(path) as temporary, temporary.open("wb") as file:
        np.save(file, spins)


def check_new(path: Path, suffix: str) -> None:
    """Raise RequestError if there is such a file already, or its name does not end so."""
    if path.suffix != suffix:
        raise RequestError(f"{path}: expected a name that ends in {suffix}")
    if path.exists():
        raise RequestError(f"{path}: exists; expected a folder without it")


@contextlib.contextmanager
def _becoming(path: Path) -> Iterator[Path]:
    """A file that gets its name when it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def bring_in(files: Sequence[Path], settings: dict[str, Any], store: Store) -> tuple[str, dict[str, Any]]:
    """A data set of the states in OVF and .npy files, in the order given; sites of zero length become its mask.

    Args:
        settings: dotted keys of the data set's Hamiltonian.

    Raises:
        RequestError: a file that is not read, states of different shapes or vacancies, a lattice that is not square.
    """
    parts = [read_states(path) for path in files]
    L = parts[0].shape[-1]
    for path, part in zip(files, parts, strict=True):
        if part.shape[-1] != L:
            raise RequestError(f"{path}: expected L = {L} as in {files[0]}, found {part.shape[-1]}")
    spins = np.concatenate(parts)
    length = np.linalg.norm(spins, axis=1)
    if not np.isfinite(length).all():
        raise RequestError(f"{files[0]}: states hold values that are not finite numbers")
    present = length > 1e-6 * length.max()
    if not present[0].any() or (present != present[0]).any():
        raise RequestError("states to import: expected the same sites to be zero in all of them, and not all sites")
    spins = (spins / np.where(present, length, 1)[:, None] * present[:, None]).astype(np.float32)
    mask = {} if present.all() else {"hamiltonian.mask": present[0]}
    fixed = {"L": L, "configurations": len(spins), "imported": hashlib.sha256(spins.tobytes()).hexdigest()}
    config = load(DatasetConfig, settings={**settings, **mask, **fixed})
    if (card := store.card("datasets", config.name)) is not None and datasets.is_whole(card):
        say(f"found datasets/{config.name}")
        return config.name, card
    rows = max(1, SHARD_BYTES // (12 * L**2))
    entries = []
    for first in range(0, len(spins), rows):
        indices = range(first, min(first + rows, len(spins)))
        content = datasets.encode(config.hamiltonian, indices, spins[first : indices.stop])
        store.write_file(f"datasets/{config.name}/{datasets.shard_file(indices)}", content)
        entries.append(datasets.record(indices, content))
    card = datasets.write_manifest(config, store, entries)
    datasets.describe(config, store, f"{len(files)} imported files, {files[0]} the first.")
    return config.name, card


def read_states(path: Path) -> np.ndarray:
    """Spins ``(n, 3, L, L)`` of one OVF or .npy file.

    Raises:
        RequestError: it is missing, damaged, or of another shape.
    """
    try:
        if path.suffix.lower() in OVF:
            spins = ovf.read(path)
        elif path.suffix.lower() == ".npy":
            spins = np.load(path, allow_pickle=False)
        else:
            raise RequestError(f"{path}: expected {', '.join(OVF)} or .npy")
    except FileNotFoundError:
        raise RequestError(f"{path}: no such file") from None
    except (ValueError, EOFError, IsADirectoryError) as error:
        text = str(error)
        raise RequestError(text if text.startswith(str(path)) else f"{path}: {text}") from None
    spins = spins[None] if spins.ndim == 3 else spins
    if spins.ndim != 4 or spins.shape[1] != 3 or spins.shape[2] != spins.shape[3] or spins.dtype.kind != "f":
        raise RequestError(f"{path}: expected numbers of shape (3, L, L) or (n, 3, L, L), found {spins.shape}")
    return spins
