"""Data sets in the store: Parquet shards, the manifest that lists them, and what is read back from them.

Shards lie in a folder of their own, ``datasets/<name>/shards``, which any reader of Parquet takes as one table.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import mmap
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from orchestrator.data.mapping import cached, limit, mapped
from orchestrator.data.request import of_card
from orchestrator.errors import RequestError
from orchestrator.files import in_a_line
from orchestrator.store import Store, bytes_of
from physics.model import SpinModel
from physics.sampler import Samples

CACHED_SITES = 2**15  # whose observables are taken at a time: twice as fast as all of a shard's at once
FETCHED = 8  # shards of an object store at a time


class Shard(NamedTuple):
    """Where a shard lies, and what it is to be."""

    path: str
    sha256: str
    bytes: int


def shard_file(indices: range) -> str:
    """Relative to the data set."""
    return f"shards/{indices.start:08d}.parquet"


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


def is_whole(card: dict[str, Any]) -> bool:
    """Whether a data set has all of its configurations."""
    return sum(entry["rows"] for entry in records(card)) == card.get("configurations")


def records(card: dict[str, Any]) -> list[dict[str, Any]]:
    """What a card or a manifest says of its shards, see :func:`record`; nothing, where that makes no sense."""
    entries = card.get("shards")
    return entries if isinstance(entries, list) and all(map(_is_record, entries)) else []


def _is_record(entry: Any) -> bool:
    numbers, texts = ("start", "rows", "spins_at"), ("file", "sha256")
    return (
        isinstance(entry, dict)
        and all(type(entry.get(key)) is int and entry[key] >= 0 for key in numbers)
        and all(isinstance(entry.get(key), str) for key in texts)
    )


class Spins:
    """Configurations of a data set, ``(n, components, L, L)``, read from memory-mapped shards when they are asked for.

    A slice is a view that reads nothing; a number is one configuration, and an array or tensor of numbers gathers
    those rows into a new float32 tensor.  ``numpy.asarray`` gives all of them.  Processes of one machine share what
    the system keeps of the files.
    """

    dtype, ndim = np.dtype(np.float32), 4

    def __init__(self, shards: Sequence[np.ndarray], state: tuple[int, int, int], rows: range | None = None):
        self._shards, self.state = shards, state
        self._starts = np.cumsum([0, *map(len, shards)])
        self.rows = range(self._starts[-1]) if rows is None else rows

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return len(self), *self.state

    def __getitem__(self, wanted: int | slice | Tensor | np.ndarray) -> Any:
        if isinstance(wanted, slice):
            return Spins(self._shards, self.state, self.rows[wanted])
        rows = np.asarray(wanted)
        if rows.dtype == bool:
            rows = np.flatnonzero(rows)
        if rows.ndim == 0:
            return self[rows[None]][0]
        if len(rows) and not (-len(self) <= rows.min() and rows.max() < len(self)):
            raise IndexError(f"row of {len(self)}: found {rows.min()} to {rows.max()}")
        rows = self.rows.start + self.rows.step * np.where(rows < 0, rows + len(self), rows)
        shard = np.searchsorted(self._starts, rows, side="right") - 1
        out = np.empty((len(rows), 4 * math.prod(self.state)), np.uint8)
        for number in np.unique(shard):
            here = shard == number
            out[here] = self._shards[number][rows[here] - self._starts[number]]
        return torch.from_numpy(out.view(np.float32).reshape(-1, *self.state))

    def __iter__(self) -> Iterator[Tensor]:
        return (self[row] for row in range(len(self)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.tensor().numpy().astype(dtype or self.dtype, copy=False)

    def tensor(self) -> Tensor:
        """All of it, in memory."""
        return self[np.arange(len(self))]


def read(name: str, store: Store, manifest: dict[str, Any] | None = None) -> Spins:
    """The configurations of a data set; every shard is checked against its SHA-256 once in this process.

    Args:
        manifest: of a data set that has no card yet.

    Raises:
        RequestError: the data set is missing, not whole, or a shard of it is damaged.
    """
    card = manifest or whole_card(name, store)
    config = of_card(card)
    state = (config.hamiltonian.components, config.L, config.L)
    size = 4 * math.prod(state)
    listed = tuple(_shard(name, store, entry) for entry in records(card))
    contents: Sequence[mmap.mmap | bytes]
    contents = [mapped(shard.path, shard.sha256) for shard in listed] if store.local else _fetched(store.root, listed)
    try:
        shards = [
            np.frombuffer(content, np.uint8, size * entry["rows"], entry["spins_at"]).reshape(entry["rows"], -1)
            for content, entry in zip(contents, records(card), strict=True)
        ]
    except (ValueError, OverflowError):
        raise RequestError(f"{store.folder('datasets', name)}: damaged: its shards do not fit its card") from None
    return Spins(shards, state)


def _shard(name: str, store: Store, entry: dict[str, Any]) -> Shard:
    return Shard(store.inside("datasets", name, entry["file"]), entry["sha256"], bytes_of(entry))


def whole_card(name: str, store: Store) -> dict[str, Any]:
    """The card of a data set that has all of its configurations, or RequestError."""
    card = store.card("datasets", name)
    if card is None or not is_whole(card):
        raise RequestError(f"{store.root}: data set {name} is {'not whole' if card else 'missing'}")
    return card


def columns(
    name: str, store: Store, wanted: Sequence[str] | None = None, manifest: dict[str, Any] | None = None
) -> dict[str, np.ndarray]:
    """Numbers of every configuration by name, ``(n, ...)``: observables and labels; all of them if None are named.

    Args:
        manifest: of a data set that has no card yet.

    Raises:
        RequestError: the data set is not whole, a shard is damaged, or there is no such column.
    """
    tables, listed = [], [_shard(name, store, entry) for entry in records(manifest or whole_card(name, store))]
    fetch = None if store.local else _reader(store, listed)
    for shard in listed:
        try:
            with Path(shard.path).open("rb") if fetch is None else pa.BufferReader(fetch(shard)) as file:
                known = [column for column in pq.read_schema(file).names if column not in ("index", "spins")]
                for column in wanted or ():
                    if column not in known:
                        raise RequestError(f"data set {name}: no column {column}; it has {', '.join(known)}")
                tables.append(pq.read_table(file, columns=known if wanted is None else list(wanted)))
        except (pa.ArrowInvalid, OSError) as error:
            if isinstance(error, OSError) and not store.local:
                raise
            raise RequestError(f"{shard.path}: damaged: {in_a_line(error)}") from None
    table = pa.concat_tables(tables)
    return {column: _numbers(table, column) for column in table.column_names}


def _numbers(table: pa.Table, name: str) -> np.ndarray:
    column = table[name].combine_chunks()
    if not pa.types.is_fixed_size_list(column.type):
        return column.to_numpy(zero_copy_only=False)
    shape = json.loads((table.schema.metadata or {})[name.encode()])["shape"]
    return column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), *shape)


@lru_cache(maxsize=1)
def _fetched(root: str, shards: tuple[Shard, ...]) -> list[mmap.mmap | bytes]:
    """Shards of an object store; if the cache is smaller they are kept in memory, of the last data set asked for."""
    with ThreadPoolExecutor(FETCHED) as pool:
        return list(pool.map(_reader(Store(root), shards), shards))


def _reader(store: Store, shards: Sequence[Shard]) -> Callable[[Shard], mmap.mmap | bytes]:
    """The content of a shard of an object store: from the cache, past it if all of them do not fit into it."""
    if sum(shard.bytes for shard in shards) <= limit():
        return partial(_cached, store)
    return lambda shard: store.read_checked(shard.path, shard.sha256)


def _cached(store: Store, shard: Shard) -> mmap.mmap | bytes:
    return cached(shard.sha256, shard.bytes, partial(store.read_checked, shard.path, shard.sha256))
