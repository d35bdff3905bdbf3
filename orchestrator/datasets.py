"""Data sets in the store: Parquet shards, the manifest that lists them, and what is read back from them."""

from __future__ import annotations

import hashlib
import io
import json
import mmap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from orchestrator import report
from orchestrator.config import DatasetConfig
from orchestrator.errors import RequestError
from orchestrator.store import CARD, Store
from physics.hamiltonian import Hamiltonian
from physics.observables import magnetization, topological_charge
from physics.textures import ground_state_energy

SAMPLED_SITES = 2**21  # of configurations that the data card looks at one by one
CACHED_SITES = 2**15  # whose observables are taken at a time: twice as fast as all of a shard's at once
REPORT = "report.html"


def shard_file(indices: range) -> str:
    return f"{indices.start:08d}.parquet"


def encode(hamiltonian: Hamiltonian, indices: range, spins: np.ndarray) -> bytes:
    """A Parquet file: index, energy, mz, topological_charge, spins (float32 bytes of shape (3, L, L)).

    Spins are one page of a fixed-size binary column, neither compressed nor nullable: their bytes lie in a row at
    the end of the column, where a memory map finds them.
    """
    n, L = len(spins), spins.shape[-1]
    in_cache = max(1, CACHED_SITES // L**2)
    parts = torch.from_numpy(spins).split(in_cache)
    columns: dict[str, Any] = {
        "index": pa.array(indices, pa.int64()),
        "energy": pa.array(torch.cat([hamiltonian.energy(part) for part in parts]).numpy()),
        "mz": pa.array(torch.cat([magnetization(part)[:, 2] for part in parts]).numpy()),
        "topological_charge": pa.array(torch.cat([topological_charge(part, hamiltonian) for part in parts]).numpy()),
        "spins": pa.FixedSizeBinaryArray.from_buffers(
            pa.binary(12 * L**2), n, [None, pa.py_buffer(np.ascontiguousarray(spins, np.float32))]
        ),
    }
    layout = {"spins": json.dumps({"dtype": "float32", "shape": [3, L, L]})}
    schema = pa.schema([pa.field(name, a.type, nullable=False) for name, a in columns.items()], metadata=layout)
    buffer = io.BytesIO()
    pq.write_table(
        pa.table(columns, schema=schema),
        buffer,
        compression="none",
        use_dictionary=False,
        write_statistics=False,
        row_group_size=n,
        data_page_size=2**30,
    )
    return buffer.getvalue()


def record(indices: range, content: bytes) -> dict[str, Any]:
    """A shard's entry in the manifest; its spins begin at the byte ``spins_at``."""
    group = pq.read_metadata(pa.BufferReader(content)).row_group(0)
    column = next(group.column(i) for i in range(group.num_columns) if group.column(i).path_in_schema == "spins")
    size = pq.read_schema(pa.BufferReader(content)).field("spins").type.byte_width
    return {
        "file": shard_file(indices),
        "start": indices.start,
        "rows": len(indices),
        "bytes": len(content),
        "spins_at": column.data_page_offset + column.total_compressed_size - size * len(indices),
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def write_manifest(
    config: DatasetConfig, store: Store, shards: list[dict[str, Any]], device: str = "cpu"
) -> dict[str, Any]:
    """The data set's card, listing whole shards and the device they were made on; written if it changes anything."""
    card = {
        "kind": "dataset",
        "config": config.model_dump(mode="json"),
        "parents": [],
        "configurations": config.configurations,
        "device": device,
        "shards": sorted(shards, key=lambda entry: entry["start"]),
    }
    if store.card("datasets", config.name) != card:
        store.write_file(f"datasets/{config.name}/{CARD}", json.dumps(card, indent=1).encode())
    return card


def is_whole(card: dict[str, Any]) -> bool:
    """Whether a data set has all of its configurations."""
    return sum(entry["rows"] for entry in card["shards"]) == card["configurations"]


class Spins:
    """Configurations of a data set, ``(n, 3, L, L)``, read from memory-mapped shards when they are asked for.

    A slice is a view that reads nothing; an array or tensor of indices gathers those rows into a new float32
    tensor.  Processes of one machine share what the system keeps of the files.
    """

    def __init__(self, shards: Sequence[np.ndarray], L: int, rows: range | None = None):
        self._shards, self.L = shards, L
        self._starts = np.cumsum([0, *map(len, shards)])
        self.rows = range(self._starts[-1]) if rows is None else rows

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return len(self), 3, self.L, self.L

    def __getitem__(self, wanted: slice | Tensor | np.ndarray) -> Any:
        if isinstance(wanted, slice):
            return Spins(self._shards, self.L, self.rows[wanted])
        wanted = np.asarray(wanted)
        if len(wanted) and not (-len(self) <= wanted.min() and wanted.max() < len(self)):
            raise IndexError(f"row of {len(self)}: found {wanted.min()} to {wanted.max()}")
        wanted = self.rows.start + self.rows.step * np.where(wanted < 0, wanted + len(self), wanted)
        shard = np.searchsorted(self._starts, wanted, side="right") - 1
        out = np.empty((len(wanted), 12 * self.L**2), np.uint8)
        for number in np.unique(shard):
            here = shard == number
            out[here] = self._shards[number][wanted[here] - self._starts[number]]
        return torch.from_numpy(out.view(np.float32).reshape(-1, 3, self.L, self.L))

    def tensor(self) -> Tensor:
        """All of it, in memory."""
        return self[np.arange(len(self))]


def read(name: str, store: Store) -> Spins:
    """The configurations of a data set, every shard checked against its SHA-256.

    Raises:
        RequestError: the data set is missing, not whole, or a shard of it is damaged.
    """
    card = store.card("datasets", name)
    if card is None or not is_whole(card):
        raise RequestError(f"{store.root}: data set {name} is {'not whole' if card else 'missing'}")
    L = card["config"]["L"]
    shards = []
    for entry in card["shards"]:
        content = (
            _mapped(store, name, entry) if store.local else store.read("datasets", name, entry["file"], entry["sha256"])
        )
        size = 12 * L**2 * entry["rows"]
        shards.append(np.frombuffer(content, np.uint8, size, entry["spins_at"]).reshape(entry["rows"], -1))
    return Spins(shards, L)


def _mapped(store: Store, name: str, entry: dict[str, Any]) -> mmap.mmap:
    path = Path(store.folder("datasets", name), entry["file"])
    try:
        with path.open("rb") as file:
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except FileNotFoundError:
        raise RequestError(f"{path}: missing, though its card lists it") from None
    except ValueError:
        raise RequestError(f"{path}: damaged: empty") from None
    if hashlib.sha256(content).hexdigest() != entry["sha256"]:
        raise RequestError(f"{path}: damaged: {len(content)} bytes that do not match its checksum")
    return content


def describe(config: DatasetConfig, store: Store, note: str) -> None:
    """Write the data card, report.html beside the shards: a page about the data and how they were made."""
    card = store.card("datasets", config.name)
    assert card is not None
    folder = store.folder("datasets", config.name)
    columns = []
    for entry in card["shards"]:
        with store.fs.open(f"{folder}/{entry['file']}", "rb") as file:
            columns.append(pq.read_table(file, columns=["energy", "mz", "topological_charge"]).to_pandas())
    spins = read(config.name, store)
    sampled = min(len(spins), max(16, SAMPLED_SITES // config.L**2))
    sample = spins[np.linspace(0, len(spins) - 1, sampled).astype(int)].numpy()
    bound = ground_state_energy(config.hamiltonian, config.L)
    page = report.dataset(config, pd.concat(columns), sample, bound, note)
    store.write_file(f"datasets/{config.name}/{REPORT}", page)
