"""Ids that the service gives."""

from __future__ import annotations

from datetime import datetime
from secrets import token_hex

from features.rows import to_microseconds

_MILLISECOND = 1_000


def new_id(kind: str, *, at: datetime) -> str:
    """``kind``, the moment in milliseconds and 80 random bits, as 32 hexadecimal digits. Nobody guesses it, and what is
    stored together stands together in an index: of ids that are random from their first digit on, each row of a
    transaction changes pages of its own."""
    return f"{kind}-{to_microseconds(at) // _MILLISECOND:012x}{token_hex(10)}"
