"""Extras: what else a platform knew about a trade at submission, as one JSON object of numbers, texts and nulls.

They are kept in one written form, so that equal extras are equal texts: names sorted, no spaces, nothing that is null
or not finite, and null in place of an empty object.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

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


class ExtrasError(ValueError):
    """Extras are not an object of names with numbers, texts and nulls, or too many of them."""


def check_name(name: str) -> None:
    """Raises ExtrasError for a name that no extra can have."""
    if not 0 < len(name) <= LONGEST_NAME:
        raise ExtrasError(f"a name of extras has 1 to {LONGEST_NAME} characters")
    if any(word in name.lower() for word in SECRET_WORDS):
        raise ExtrasError(f"{name} looks like a card secret; those never belong into extras")


def extras_text(values: Mapping[str, Extra]) -> str | None:
    """The one written form of extras; null where nothing is known. Texts are cut to ``LONGEST_TEXT``.

    Raises ExtrasError.
    """
    if len(values) > MOST_EXTRAS:
        raise ExtrasError(f"more than {MOST_EXTRAS} extras")
    known = {name: _plain(name, value) for name, value in values.items()}
    kept = {name: value for name, value in known.items() if value is not None}
    return json.dumps(kept, sort_keys=True, ensure_ascii=False, separators=(",", ":")) if kept else None


def canonical_extras(text: str) -> str | None:
    """The one written form of a JSON text. Raises ExtrasError."""
    return extras_text(extras_of(text))


def extras_of(text: str | None) -> dict[str, Extra]:
    """The extras in a text. Raises ExtrasError."""
    if text is None:
        return {}
    try:
        found = json.loads(text)
    except ValueError:
        raise ExtrasError("not JSON") from None
    if not isinstance(found, dict):
        raise ExtrasError("not an object")
    return found


def _plain(name: str, value: object) -> float | str | None:
    check_name(name)
    if value is None or value == "":
        return None
    if isinstance(value, str):
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
