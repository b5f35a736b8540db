"""A provider's statement of one day, as CSV or JSON.

Columns or keys: ``payout_id``, ``provider_ref`` and the amount as ``amount_fen`` (a whole number) or ``amount_cny`` (at
most two decimals). Others are ignored. JSON is a list of such objects, or has one under ``payments``.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any


class StatementError(ValueError):
    """A statement cannot be read; the message names line and column."""


@dataclass(frozen=True)
class StatementLine:
    """A payment on a provider's statement. payout_id: ours, as the provider was given it."""

    payout_id: str
    provider_ref: str
    amount_fen: int


def parse_statement(text: str) -> list[StatementLine]:
    """The payments of a statement, in its order. Raises StatementError; nothing is read in part."""
    return [_line(number, row) for number, row in _rows(text)]


def _rows(text: str) -> list[tuple[int, Mapping[str, Any]]]:
    text = text.removeprefix("\ufeff")
    if text.lstrip().startswith(("[", "{")):
        try:
            found = json.loads(text, parse_float=Decimal)
        except ValueError as error:
            raise StatementError(f"not valid JSON: {error}") from error
        payments = found.get("payments") if isinstance(found, dict) else found
        if not isinstance(payments, list) or not all(isinstance(row, dict) for row in payments):
            raise StatementError(
                "JSON: a list of payments, or an object with one under payments, is expected"
            )
        return list(enumerate(payments, start=1))
    reader = csv.DictReader(io.StringIO(text))
    names = set(reader.fieldnames or ())
    if "payout_id" not in names or not names & {"amount_fen", "amount_cny"}:
        raise StatementError("CSV: the columns payout_id and amount_fen or amount_cny are expected")
    try:
        return list(enumerate(reader, start=2))
    except csv.Error as error:
        raise StatementError(f"not valid CSV: {error}") from error


def _line(number: int, row: Mapping[str, Any]) -> StatementLine:
    payout_id, reference = row.get("payout_id"), row.get("provider_ref") or ""
    if not isinstance(payout_id, str) or not 0 < len(payout_id.strip()) <= 128:
        raise StatementError(f"line {number}: payout_id must be 1 to 128 characters")
    if not isinstance(reference, str) or len(reference) > 128:
        raise StatementError(f"line {number}: provider_ref must be at most 128 characters")
    return StatementLine(payout_id.strip(), reference.strip(), _amount(number, row))


def _amount(number: int, row: Mapping[str, Any]) -> int:
    name, factor = ("amount_fen", 1) if row.get("amount_fen") not in (None, "") else ("amount_cny", 100)
    try:
        fen = Decimal(str(row.get(name)).strip()) * factor
    except InvalidOperation:
        raise StatementError(f"line {number}: {name} is not a number") from None
    if not fen.is_finite() or fen != fen.to_integral_value() or not 0 < fen < 2**62:
        raise StatementError(f"line {number}: {name} must be above zero and whole in fen")
    return int(fen)
