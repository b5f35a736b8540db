"""One row of the catalogue, and its two written forms: the CSV file (yuan) and the stored table (fen)."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from features.tables import CARD_TYPES

FILES = Path(__file__).parent
FLAGS = {"true": True, "false": False, "": None}


@dataclass(frozen=True)
class CardType:
    """One kind of card. Amounts in fen, rates as fractions of face value; empty or None: unknown or any.

    ``number_pattern`` and ``secret_pattern`` must match the whole of the number or secret, written without
    separators (see :func:`features.catalogue.detect.normalised`). ``source`` and ``confidence`` say where the
    built-in row comes from; rows of the user's own have neither.
    """

    card_type: str
    name_zh: str
    name_en: str
    issuer: str
    category: str
    min_rate: float
    max_rate: float
    forms: tuple[str, ...] = ()
    face_values_fen: tuple[int, ...] = ()
    max_face_fen: int | None = None
    registered: bool | None = None
    validity_months: int | None = None
    number_pattern: str | None = None
    secret_pattern: str | None = None
    regions_off: tuple[str, ...] = ()
    source: tuple[str, ...] = ()
    confidence: str = ""


def csv_rows(path: Path) -> list[dict[str, str]]:
    """The rows of one of the catalogue's CSV files, every cell as text."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def from_file_row(row: Mapping[str, str]) -> CardType:
    """A row of ``card_types.csv``, the built-in data; a cell it cannot read is an error of that file."""
    stored: dict[str, Any] = {name: text or None for name, text in row.items()}
    stored["max_face_fen"] = _fen(row["max_face_cny"]) if row["max_face_cny"] else None
    stored["registered"] = FLAGS[row["registered"]]
    stored["validity_months"] = int(row["validity_months"]) if row["validity_months"] else None
    stored["min_rate"], stored["max_rate"] = float(row["min_rate"]), float(row["max_rate"])
    return from_stored_row(stored)


def from_stored_row(row: Mapping[str, Any]) -> CardType:
    """A row of the stored table. Raises ValueError naming the card type and the column."""
    plain = {
        name: row[name]
        for name in CARD_TYPES.schema.names
        if name not in ("forms", "face_values", "regions_off")
    }
    for name in ("number_pattern", "secret_pattern"):
        _check(row, name, re.compile, re.error)
    return CardType(
        **plain,
        forms=_parts(row["forms"]),
        face_values_fen=_check(row, "face_values", _faces, InvalidOperation),
        regions_off=_parts(row["regions_off"]),
        source=_parts(row.get("source")),
        confidence=row.get("confidence") or "",
    )


def to_stored_row(card: CardType) -> dict[str, Any]:
    """The row as the stored table holds it (``CARD_TYPES.schema``)."""
    row = {name: getattr(card, name, None) for name in CARD_TYPES.schema.names}
    row["forms"] = "|".join(card.forms) or None
    row["face_values"] = "|".join(yuan(fen) for fen in card.face_values_fen) or None
    row["regions_off"] = "|".join(card.regions_off) or None
    return row


def yuan(fen: int) -> str:
    """Fen as yuan for people: ``50000`` is "500", ``1250`` is "12.50"."""
    return f"{fen // 100}" if fen % 100 == 0 else f"{Decimal(fen) / 100:.2f}"


def _check(row: Mapping[str, Any], column: str, read: Any, error: type[Exception]) -> Any:
    try:
        return read(row[column] or "")
    except error as problem:
        raise ValueError(f"card type {row['card_type']!r}, column {column}: {problem}") from problem


def _faces(text: str) -> tuple[int, ...]:
    return tuple(_fen(part) for part in _parts(text))


def _fen(text: str) -> int:
    return int((Decimal(text) * 100).to_integral_value())


def _parts(text: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in (text or "").split("|") if part.strip())
