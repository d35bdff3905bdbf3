"""Data sets in the store: Parquet shards, the manifest that lists them, and what is read back from them."""

from __future__ import annotations

import hashlib
import io
import json
import math
import mmap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from orchestrator.data.request import DatasetConfig, of_card
from orchestrator.errors import RequestError
from orchestrator.store import CARD, Store
from physics.model import SpinModel
from physics.sampler import Samples

CACHED_SITES = 2**15  # whose observables are taken at a time: twice as fast as all of a shard's at once


def shard_file(indices: range) -> str:
    return f"{indices.start:08d}.parquet"


def encode(model: SpinModel, indices: range, samples: Samples) -> bytes:
    """A Parquet file: index, every observable of the model, every label, spins (float32, ``(components, L, L)``).

    Spins are one page of a fixed-size binary column, neither compressed nor nullable: their bytes lie in a row at
    the end of the column, where a memory map finds them.
    """
    spins = samples.spins
    n, components, L, _ = spins.shape
    parts = torch.from_numpy(spins).split(max(1, CACHED_SITES // L**2))
    columns: dict[str, Any] = {"index": pa.array(indices, pa.int64())}
    for name, observable in model.observables.items():
        columns[name] = pa.array(torch.cat([observable.measure(part) for part in parts]).numpy())
    for name, values in samples.labels.items():
        columns[name] = _label_column(values)
    columns["spins"] = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(4 * components * L**2), n, [None, pa.py_buffer(np.ascontiguousarray(spins, np.float32))]
    )
    layout = {"spins": json.dumps({"dtype": "float32", "shape": [components, L, L]})}
    layout |= {name: json.dumps({"shape": values.shape[1:]}) for name, values in samples.labels.items()}
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


def _label_column(values: np.ndarray) -> pa.Array:
    """Numbers ``(n,)``, or lists of one length for ``(n, ...)``."""
    if values.ndim == 1:
        return pa.array(values)
    flat = values.reshape(len(values), -1)
    return pa.FixedSizeListArray.from_arrays(pa.array(flat.ravel()), flat.shape[1])


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
    """Configurations of a data set, ``(n, components, L, L)``, read from memory-mapped shards when they are asked for.

    A slice is a view that reads nothing; an array or tensor of indices gathers those rows into a new float32
    tensor.  Processes of one machine share what the system keeps of the files.
    """

    def __init__(self, shards: Sequence[np.ndarray], state: tuple[int, int, int], rows: range | None = None):
        self._shards, self.state = shards, state
        self._starts = np.cumsum([0, *map(len, shards)])
        self.rows = range(self._starts[-1]) if rows is None else rows

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return len(self), *self.state

    def __getitem__(self, wanted: slice | Tensor | np.ndarray) -> Any:
        if isinstance(wanted, slice):
            return Spins(self._shards, self.state, self.rows[wanted])
        wanted = np.asarray(wanted)
        if len(wanted) and not (-len(self) <= wanted.min() and wanted.max() < len(self)):
            raise IndexError(f"row of {len(self)}: found {wanted.min()} to {wanted.max()}")
        wanted = self.rows.start + self.rows.step * np.where(wanted < 0, wanted + len(self), wanted)
        shard = np.searchsorted(self._starts, wanted, side="right") - 1
        out = np.empty((len(wanted), 4 * math.prod(self.state)), np.uint8)
        for number in np.unique(shard):
            here = shard == number
            out[here] = self._shards[number][wanted[here] - self._starts[number]]
        return torch.from_numpy(out.view(np.float32).reshape(-1, *self.state))

    def tensor(self) -> Tensor:
        """All of it, in memory."""
        return self[np.arange(len(self))]


def read(name: str, store: Store) -> Spins:
    """The configurations of a data set, every shard checked against its SHA-256.

    Raises:
        RequestError: the data set is missing, not whole, or a shard of it is damaged.
    """
    card = whole_card(name, store)
    config = of_card(card)
    state = (config.hamiltonian.components, config.L, config.L)
    size = 4 * math.prod(state)
    shards = []
    for entry in card["shards"]:
        content = (
            _mapped(store, name, entry) if store.local else store.read("datasets", name, entry["file"], entry["sha256"])
        )
        rows = np.frombuffer(content, np.uint8, size * entry["rows"], entry["spins_at"])
        shards.append(rows.reshape(entry["rows"], -1))
    return Spins(shards, state)


def whole_card(name: str, store: Store) -> dict[str, Any]:
    """The card of a data set that has all of its configurations, or RequestError."""
    card = store.card("datasets", name)
    if card is None or not is_whole(card):
        raise RequestError(f"{store.root}: data set {name} is {'not whole' if card else 'missing'}")
    return card


def columns(name: str, store: Store, wanted: Sequence[str] | None = None) -> dict[str, np.ndarray]:
    """Numbers of every configuration by name, ``(n, ...)``: observables and labels; all of them if None are named.

    Raises:
        RequestError: the data set is not whole, or has no such column.
    """
    tables = []
    for entry in whole_card(name, store)["shards"]:
        with store.fs.open(f"{store.folder('datasets', name)}/{entry['file']}", "rb") as file:
            known = [column for column in pq.read_schema(file).names if column not in ("index", "spins")]
            for column in wanted or ():
                if column not in known:
                    raise RequestError(f"data set {name}: no column {column}; it has {', '.join(known)}")
            tables.append(pq.read_table(file, columns=known if wanted is None else list(wanted)))
    table = pa.concat_tables(tables)
    return {column: _numbers(table, column) for column in table.column_names}


def _numbers(table: pa.Table, name: str) -> np.ndarray:
    column = table[name].combine_chunks()
    if not pa.types.is_fixed_size_list(column.type):
        return column.to_numpy(zero_copy_only=False)
    shape = json.loads((table.schema.metadata or {})[name.encode()])["shape"]
    return column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), *shape)


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
