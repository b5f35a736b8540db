"""The stored tables of a workspace: one sorted Parquet snapshot each, replaced whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from features.tables import TABLES, Table


class Snapshot:
    """One state of a stored table. The file stays open, so its columns are of one table whatever is published."""

    def __init__(self, table: Table, path: Path | None) -> None:
        self._table = table
        self._file = None if path is None else pq.ParquetFile(path)
        self.fingerprint = "" if path is None else path.stem

    def __len__(self) -> int:
        return 0 if self._file is None else self._file.metadata.num_rows

    def column(self, name: str) -> pa.ChunkedArray:
        """One column (``Table.schema``), in the table's order."""
        return self.table([name])[name]

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """All rows, all listed columns when ``columns`` is None."""
        schema = _schema(self._table, columns)
        return schema.empty_table() if self._file is None else _whole(self._file.read(schema.names), schema)

    def rows(self, places: Sequence[int]) -> list[dict[str, Any]]:
        """Whole rows at some places of the order, read from the parts of the file that hold them."""
        if self._file is None:
            return []
        sizes = [
            self._file.metadata.row_group(number).num_rows for number in range(self._file.num_row_groups)
        ]
        ends = np.cumsum(sizes)
        found = []
        for place in places:
            group = int(np.searchsorted(ends, place, side="right"))
            part = _whole(self._file.read_row_group(group, self._table.schema.names), self._table.schema)
            found += part.slice(place - int(ends[group]) + sizes[group], 1).to_pylist()
        return found


class TableStore:
    """Parquet snapshots ``ROOT/<table>/<fingerprint>.parquet`` and ``ROOT/<table>/current.json`` naming one.

    A reader opens the file that ``current.json`` names; :meth:`publish` moves that name in one atomic step,
    so a reader sees the old table or the new one and a killed import changes nothing.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, name: str) -> Path | None:
        """The current snapshot's file, or None where nothing was imported yet."""
        pointer = self._pointer(name)
        if not pointer.exists():
            return None
        return self.root / name / json.loads(pointer.read_text())["file"]

    def rows(self, name: str) -> int:
        path = self.path(name)
        return 0 if path is None else pq.ParquetFile(path).metadata.num_rows

    def fingerprint(self, name: str) -> str:
        """Content name of the current snapshot; equal tables have equal fingerprints. Empty when absent."""
        path = self.path(name)
        return "" if path is None else path.stem

    def read(self, name: str, columns: Sequence[str] | None = None) -> pa.Table:
        """The stored table in its order (``Table.order``), all listed columns when ``columns`` is None."""
        schema, path = _schema(TABLES[name], columns), self.path(name)
        if path is None:
            return schema.empty_table()
        there = pq.read_schema(path).names
        found = pq.read_table(path, columns=[name for name in schema.names if name in there])
        return _whole(found, schema)

    def snapshot(self, name: str) -> Snapshot:
        """The stored table as it is now, also when another one is published meanwhile."""
        return Snapshot(TABLES[name], self.path(name))

    def staging(self, name: str) -> Path:
        """A fresh file name on the same file system, for :meth:`publish`."""
        folder = self.root / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"staging-{os.getpid()}.parquet"

    def publish(self, name: str, staged: Path) -> str:
        """Make ``staged`` (sorted, in ``Table.schema``) the current snapshot; returns its fingerprint."""
        fingerprint = _digest(staged)
        target = self.root / name / f"{fingerprint}.parquet"
        old = self.path(name)
        os.replace(staged, target)
        temporary = self._pointer(name).with_suffix(f".{os.getpid()}.tmp")
        temporary.write_text(json.dumps({"file": target.name}))
        os.replace(temporary, self._pointer(name))
        if old is not None and old != target:
            old.unlink(missing_ok=True)
        return fingerprint

    def _pointer(self, name: str) -> Path:
        return self.root / name / "current.json"


def _schema(table: Table, columns: Sequence[str] | None) -> pa.Schema:
    """The listed columns of the table, all of them when ``columns`` is None."""
    return table.schema if columns is None else pa.schema([table.schema.field(name) for name in columns])


def _whole(found: pa.Table, schema: pa.Schema) -> pa.Table:
    """``found`` with every column of ``schema``: null where it was stored before that column existed."""
    columns = [
        found[field.name] if field.name in found.column_names else pa.nulls(len(found), field.type)
        for field in schema
    ]
    return pa.table(columns, names=schema.names)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
