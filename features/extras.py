"""Extras: what else a platform knew about a trade at submission, as one JSON object of numbers, texts and nulls.

They are kept in one written form, so that equal extras are equal texts: names sorted, no spaces, nothing that is null
or not finite, and null in place of an empty object.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from features.arithmetic import Value

MOST_EXTRAS = 500
LONGEST_NAME = 100
LONGEST_TEXT = 200

SECRET_WORDS = (
    "secret",
    "password",
    "passwd",
    "card_number",
    "cardnumber",
    "card_pin",
    "卡密",
    "密码",
    "卡号",
)
"""A name with one of these is refused: card numbers and secrets exist only in the vault."""

Extra = float | int | str | bool | None


A_TIME = re.compile(r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:?\d\d)?)?")
"""A date or a time of ISO 8601; one without a zone is taken as UTC."""
_MAY_HOLD_A_TIME = re.compile(r'"\d{4}-\d\d-\d\d')
_EPOCH, _MICROSECOND, _HOUR = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1), 3_600_000_000


class ExtrasError(ValueError):
    """Extras are not an object of names with numbers, texts and nulls, or too many of them."""


@lru_cache(maxsize=10_000)
def check_name(name: str) -> None:
    """Raises ExtrasError for a name that no extra can have. The same few come with every trade of a log."""
    if not 0 < len(name) <= LONGEST_NAME:
        raise ExtrasError(f"a name of extras has 1 to {LONGEST_NAME} characters")
    _check_characters(name)
    if any(word in name.lower() for word in SECRET_WORDS):
        raise ExtrasError(f"{name} looks like a card secret; those never belong into extras")


def _check_characters(text: str) -> None:
    r"""Raises ExtrasError for half of a character, such as a lone ``\ud800``, which no file can hold."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ExtrasError("holds half of a character") from None


def extras_text(values: Mapping[str, Extra]) -> str | None:
    """The one written form of extras; null where nothing is known. Texts are cut to ``LONGEST_TEXT``.

    Raises ExtrasError.
    """
    if len(values) > MOST_EXTRAS:
        raise ExtrasError(f"more than {MOST_EXTRAS} extras")
    known = {name: _plain(name, value) for name, value in values.items()}
    kept = {name: value for name, value in known.items() if value is not None}
    return _written(kept) if kept else None


_written = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode


def canonical_extras(text: str) -> str | None:
    """The one written form of a JSON text. Raises ExtrasError."""
    return extras_text(extras_of(text))


def extras_of(text: str | None) -> dict[str, Extra]:
    """The extras in a text. Raises ExtrasError."""
    if text is None:
        return {}
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise ExtrasError("not JSON") from None
    if not isinstance(found, dict):
        raise ExtrasError("not an object")
    return found


def _plain(name: str, value: object) -> float | str | None:
    check_name(name)
    if value is None or value == "":
        return None
    if isinstance(value, str):
        _check_characters(value)
        return value[:LONGEST_TEXT]
    if isinstance(value, bool | int | float):
        return _finite(value)
    raise ExtrasError(f"{name} is neither a number nor a text")


def _finite(value: float) -> float | None:
    try:
        number = float(value)
    except OverflowError:  # a whole number with hundreds of digits
        return None
    return number if math.isfinite(number) else None


def with_ages(text: Value, time: Value) -> Value:
    """Extras in their one written form, with the hours from every time in them to the submission (µs) in its place,
    negative for one ahead: when an account was opened tells one week from another, how long before the trade tells
    something of the trade."""
    # of one live trade; numpy is not asked: it is not loaded where nobody has columns
    if text is None or isinstance(text, str):
        return _aged(text, time)
    aged = text.copy()
    for row, written in enumerate(text):
        if written is not None and _MAY_HOLD_A_TIME.search(written):
            aged[row] = _aged(written, int(time[row]))
    return aged


def _aged(text: str | None, time: int) -> str | None:
    if text is None or not _MAY_HOLD_A_TIME.search(text):
        return text
    # What comes in the one written form has no more to be checked or left out.
    return _written({name: _age(value, time) for name, value in extras_of(text).items()})


def _age(value: Extra, time: int) -> Extra:
    """Hours from a time to the submission; anything else as it is."""
    if not isinstance(value, str) or A_TIME.fullmatch(value) is None:
        return value
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:  # the 30th of February
        return value
    known = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (time - (known - _EPOCH) // _MICROSECOND) / _HOUR
