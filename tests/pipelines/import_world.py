"""A store in a temporary folder and files to import into it, for the tests of the import."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from features.table_store import TableStore
from pipelines.training.import_problems import ImportRefused, RuleResult
from pipelines.training.importing import ImportResult, import_tables

NOW = datetime(2026, 1, 1, tzinfo=UTC)
KNOWN = {"jd_ecard": "shopping", "steam_usd": "gaming"}


def trades(count: int = 5, **columns: list[Any]) -> pa.Table:
    """A small good table of trades in file form; ``columns`` replace or add whole columns."""
    base: dict[str, Any] = {
        "trade_id": [f"t{number}" for number in range(1, count + 1)],
        "submitted_at": [f"2025-03-01T10:00:{number % 60:02d}+08:00" for number in range(count)],
        "seller_id": [f"s{number % 3}" for number in range(count)],
        "card_type": ["jd_ecard"] * count,
        "face_value_cny": ["100"] * count,
        "offered_rate": ["0.92"] * count,
    }
    return pa.table(base | columns)


def replaced(values: list[Any], row: int, value: Any) -> list[Any]:
    """``values`` with the 1-based ``row`` replaced."""
    return [value if place == row else old for place, old in enumerate(values, start=1)]


class World:
    """A store in a temporary folder, and files to import into it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = TableStore(folder / "tables")

    def csv(self, table: pa.Table, name: str = "trades.csv") -> Path:
        pacsv.write_csv(table, self.folder / name)
        return self.folder / name

    def parquet(self, table: pa.Table, name: str = "trades.parquet") -> Path:
        pq.write_table(table, self.folder / name)
        return self.folder / name

    def text(self, content: str | bytes, name: str = "trades.csv") -> Path:
        path = self.folder / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def load(self, path: Path, table: str = "trades", **options: Any) -> ImportResult:
        return self.load_all({table: path}, **options)

    def load_all(self, sources: dict[str, Path], **options: Any) -> ImportResult:
        defaults: dict[str, Any] = {"catalogue_types": KNOWN, "now": NOW}
        reports = self.folder / "reports"
        return import_tables(store=self.store, sources=sources, report_dir=reports, **(defaults | options))

    def refused(self, path: Path, **options: Any) -> tuple[RuleResult, ...]:
        """Import a bad file; whatever was stored before must stand unchanged."""
        before = {name: self.store.fingerprint(name) for name in ("trades", "market", "card_types")}
        with pytest.raises(ImportRefused) as caught:
            self.load(path, **options)
        assert {name: self.store.fingerprint(name) for name in before} == before
        assert caught.value.report.exists()
        assert not (self.store.root / "importing").exists()
        return caught.value.problems

    def refused_for(self, path: Path, code: str, column: str, row: int | None, **options: Any) -> RuleResult:
        """As :meth:`refused`, for exactly one broken rule, first broken in ``row``."""
        (problem,) = self.refused(path, **options)
        assert (problem.code, problem.column) == (code, column)
        assert (problem.examples[0].row if problem.examples else None) == row
        return problem

    def rows(self) -> list[dict[str, Any]]:
        return self.store.read("trades").to_pylist()
