"""Tables of a report: the same rows on the page and in a CSV file."""

from __future__ import annotations

import base64
import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from features.china import CHINA
from pipelines.reporting.numbers import NOTHING, count, percent, ratio, yuan

Kind = Literal["text", "words", "count", "yuan", "share", "number", "days", "time", "day"]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""A text that begins so would be run as a formula by a spreadsheet."""

FEW = 30
"""A share or a rate that rests on fewer trades is marked."""


@dataclass(frozen=True)
class Words:
    """One text in Chinese and English."""

    zh: str
    en: str


Value = str | Words | int | float | None


@dataclass(frozen=True)
class Column:
    """One column. key: its name in the CSV file, with its unit last. words: its heading.

    Values by kind: text str; words Words (two columns in the file); count a number; yuan fen (yuan in the file);
    share, number and days floats, NaN where undefined; time and day int µs UTC (shown and written in China's time).
    None: nothing.
    """

    key: str
    words: Words
    kind: Kind = "count"


@dataclass(frozen=True)
class Table:
    """Rows under columns. name: of the CSV file, without its ending. few: rows that rest on few trades, none marked
    where empty. shown: how many rows the page shows; the file has all."""

    name: str
    words: Words
    columns: tuple[Column, ...]
    rows: tuple[tuple[Value, ...], ...]
    few: tuple[bool, ...] = ()
    shown: int | None = None

    def __post_init__(self) -> None:
        assert all(len(row) == len(self.columns) for row in self.rows), self.name
        assert not self.few or len(self.few) == len(self.rows), self.name

    @property
    def csv(self) -> bytes:
        """The table as a file that a spreadsheet opens: UTF-8 with a byte order mark."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\r\n")
        writer.writerow([*_headings(self.columns), *(["few"] if self.few else [])])
        for number, row in enumerate(self.rows):
            values = [
                part for column, value in zip(self.columns, row, strict=True) for part in _file(column, value)
            ]
            writer.writerow([*values, *([int(self.few[number])] if self.few else [])])
        return text.getvalue().encode("utf-8-sig")

    @property
    def link(self) -> str:
        """The file as a ``data:`` address."""
        return f"data:text/csv;charset=utf-8;base64,{base64.b64encode(self.csv).decode('ascii')}"


def write_csv(tables: Sequence[Table], folder: Path) -> list[Path]:
    """Write one file a table, each whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for table in tables:
        path = folder / f"{table.name}.csv"
        temporary = path.with_name(f".{path.name}.tmp")
        temporary.write_bytes(table.csv)
        temporary.replace(path)
        written.append(path)
    return written


def shown(column: Column, value: Value) -> Words:
    """A value as the page shows it."""
    if isinstance(value, Words):
        return value
    text = _text(column.kind, value)
    return Words(text, text)


def _text(kind: Kind, value: str | int | float | None) -> str:
    if value is None:
        return NOTHING
    if isinstance(value, str):
        return value
    match kind:
        case "yuan":
            return yuan(value)
        case "share":
            return percent(value)
        case "number":
            return ratio(value)
        case "days":
            return f"{value:.1f}" if math.isfinite(value) else NOTHING
        case "time":
            return f"{china_time(int(value)):%Y-%m-%d %H:%M}"
        case "day":
            return f"{china_time(int(value)):%Y-%m-%d}"
        case _:
            return count(value)


def _headings(columns: Sequence[Column]) -> list[str]:
    headings = []
    for column in columns:
        languages = ("_zh", "_en") if column.kind == "words" else ("",)
        headings += [column.key + language for language in languages]
    return headings


def _file(column: Column, value: Value) -> list[str]:
    """The cells of the file that a value fills."""
    if column.kind == "words":
        words = value if isinstance(value, Words) else Words(str(value or ""), str(value or ""))
        return [_safe(words.zh), _safe(words.en)]
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return [""]
    if isinstance(value, Words):
        return [_safe(value.zh)]
    if isinstance(value, str):
        return [_safe(value)]
    match column.kind:
        case "yuan":
            return [f"{value / 100:.2f}"]
        case "share" | "number" | "days":
            return [f"{value:.6g}"]
        case "time":
            return [china_time(int(value)).isoformat()]
        case "day":
            return [f"{china_time(int(value)):%Y-%m-%d}"]
        case _:
            return [f"{value:g}" if isinstance(value, float) else str(value)]


def _safe(text: str) -> str:
    """A text that no spreadsheet takes for a formula: an id is chosen by whoever sells."""
    return f"'{text}" if text.startswith(FORMULA) else text


def utc(time_us: int) -> datetime:
    """An int64 µs as an aware UTC time."""
    return EPOCH + timedelta(microseconds=int(time_us))


def china_time(time_us: int) -> datetime:
    """An int64 µs as China's time."""
    return utc(time_us).astimezone(CHINA)
