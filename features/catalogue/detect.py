"""Which card types a number and its secret could belong to. Candidates, never one forced answer.

Formats overlap (15 digits may be four different cards), so the result is a ranking for a person or a form to
choose from. Nothing here logs, and no message contains a number.
"""

from __future__ import annotations

import math
import re
import string
import unicodedata
from dataclasses import dataclass
from typing import Literal

from features.catalogue.catalogue import Catalogue
from features.catalogue.rows import CardType

Why = Literal["number_and_secret", "number", "secret"]

WHY: dict[Why, tuple[str, str]] = {
    "number_and_secret": ("卡号与卡密格式均符合", "number and secret have its format"),
    "number": ("卡号格式符合", "the number has its format"),
    "secret": ("卡密格式符合", "the secret has its format"),
}
"""Each reason in Chinese and in English."""

MAX_LENGTH = 64
"""No card number is longer; what is longer is not tried."""

_ALPHABET = string.digits + string.ascii_uppercase
_FLAGS = re.ASCII | re.IGNORECASE


@dataclass(frozen=True)
class Candidate:
    """A card type whose format fits; ``specificity``: bits by which the format narrows down random text."""

    card_type: str
    why: Why
    specificity: float


def normalised(text: str) -> str:
    """A number or secret as the patterns expect it: half-width, upper case, no spaces or dashes."""
    kept = (mark for mark in unicodedata.normalize("NFKC", text) if not _is_separator(mark))
    return "".join(kept).upper()


def detect(number: str, *, secret: str | None = None, catalogue: Catalogue) -> tuple[Candidate, ...]:
    """Card types whose format fits, the most specific first; empty when none does.

    A given part that contradicts a card type's pattern rules it out. ``number`` may be empty where a seller
    has only a secret. A card type without patterns is never a candidate.
    """
    number, secret = normalised(number), normalised(secret or "")
    if max(len(number), len(secret)) > MAX_LENGTH:
        return ()
    found = [candidate for row in catalogue if (candidate := _candidate(row, number, secret)) is not None]
    return tuple(sorted(found, key=lambda one: (-one.specificity, one.card_type)))


def _candidate(row: CardType, number: str, secret: str) -> Candidate | None:
    parts = [(row.number_pattern, number), (row.secret_pattern, secret)]
    fits = [_fit(pattern, text) for pattern, text in parts]
    if any(pattern and text and fit is None for (pattern, text), fit in zip(parts, fits, strict=True)):
        return None
    number_bits, secret_bits = fits
    if number_bits is not None and secret_bits is not None:
        return Candidate(row.card_type, "number_and_secret", round(number_bits + secret_bits, 1))
    if number_bits is not None:
        return Candidate(row.card_type, "number", round(number_bits, 1))
    if secret_bits is not None:
        return Candidate(row.card_type, "secret", round(secret_bits, 1))
    return None


def _fit(pattern: str | None, text: str) -> float | None:
    """Bits by which ``pattern`` narrows down ``text``, place by place; None where it does not match.

    At each place every letter and digit is tried: of 36, those that still match stay open. A digit is worth
    1.8 bits, a fixed character 5.2, any letter or digit none.
    """
    if not pattern or not text:
        return None
    compiled = re.compile(pattern, _FLAGS)
    if compiled.fullmatch(text) is None:
        return None
    bits = 0.0
    for place in range(len(text)):
        before, after = text[:place], text[place + 1 :]
        still = sum(compiled.fullmatch(before + mark + after) is not None for mark in _ALPHABET)
        bits += math.log2(len(_ALPHABET) / max(still, 1))
    return bits


def _is_separator(mark: str) -> bool:
    """White space, any dash (the minus sign too), control and zero-width marks."""
    return mark.isspace() or mark == "−" or unicodedata.category(mark) in ("Pd", "Cf", "Cc")
