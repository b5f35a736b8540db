"""What a seller typed or a file holds, as the catalogue writes it: numbers, secrets, amounts, dates.

Spaces, dashes and full-width marks are removed, as they carry nothing. A letter that looks like a digit is never
changed: what was probably meant is offered as a suggestion, and a person takes it or not. No message holds a code.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Literal

from features.catalogue import CardType, normalised
from features.catalogue.detect import MAX_LENGTH

Problem = Literal[
    "missing", "too_long", "rounded_by_a_spreadsheet", "strange_characters", "wrong_format", "checksum"
]

WORDS: dict[Problem, tuple[str, str]] = {
    "missing": ("未填写", "it is missing"),
    "too_long": (f"超过 {MAX_LENGTH} 位", f"it is longer than {MAX_LENGTH} characters"),
    "rounded_by_a_spreadsheet": (
        "被表格软件写成了科学计数，后几位已丢失；请把该列设为文本后重新导出",
        "a spreadsheet wrote it as a rounded number and its last digits are lost; export the column as text",
    ),
    "strange_characters": (
        "含有字母和数字以外的字符",
        "it holds characters that are neither letters nor digits",
    ),
    "wrong_format": ("与该卡种的格式不符", "it does not have the format of this card type"),
    "checksum": ("校验位不符，可能输错了一位", "its check digit does not fit: a digit may be wrong"),
}

LOOKALIKES = {
    "O": "0",
    "0": "O",
    "Q": "0",
    "I": "1",
    "L": "1",
    "1": "I",
    "B": "8",
    "8": "B",
    "S": "5",
    "5": "S",
    "Z": "2",
    "2": "Z",
}
MAX_SWAPS, MAX_SUGGESTIONS = 8, 3
CONFUSED = frozenset("O0I1")
"""Marks that people and cameras take for each other."""

_ROUNDED = re.compile(r"\d(?:[.,]\d+)?E\+?\d+", re.IGNORECASE)
_DATE = re.compile(r"(?<!\d)(20\d\d)\s*[-/.年]\s*(\d{1,2})\s*[-/.月]\s*(\d{1,2})(?!\d)")
_BARE_DATE = re.compile(r"(?<!\d)(20\d\d)(\d\d)(\d\d)(?!\d)")


@dataclass(frozen=True)
class Code:
    """A number or secret in its plain form, and what is wrong with it.

    ``by_pattern`` is true where the catalogue has a pattern and it matched; without a pattern nothing could be checked.
    ``suggestions`` are other readings that would match; they are for a person to choose from.
    """

    value: str = field(repr=False)
    problem: Problem | None = None
    by_pattern: bool = False
    suggestions: tuple[str, ...] = field(default=(), repr=False)


def check_number(text: str, *, card: CardType) -> Code:
    """The card number as typed, against the card type's pattern and, for UnionPay numbers, their check digit."""
    code = _check(text, pattern=card.number_pattern)
    if code.problem is None and has_check_digit(code.value, card=card) and not luhn(code.value):
        return Code(code.value, "checksum", code.by_pattern)
    return code


def check_secret(text: str, *, card: CardType) -> Code:
    """The card secret as typed, against the card type's pattern."""
    return _check(text, pattern=card.secret_pattern)


def _check(text: str, *, pattern: str | None) -> Code:
    bare = text.strip().strip("'\"=")
    if len(bare) > 4 * MAX_LENGTH:
        return Code("", "too_long")
    value = normalised(bare)
    if not value:
        return Code("", "missing")
    if len(value) > MAX_LENGTH:
        return Code(value, "too_long")
    if _ROUNDED.fullmatch(bare) and not (pattern and fits(pattern, value)):
        return Code(value, "rounded_by_a_spreadsheet")
    if not (value.isascii() and value.isalnum()):
        return Code(value, "strange_characters")
    if pattern is None:
        return Code(value)
    if not fits(pattern, value):
        return Code(value, "wrong_format", suggestions=suggestions(value, pattern=pattern))
    return Code(value, by_pattern=True)


def fits(pattern: str, value: str) -> bool:
    """Whether ``value`` is wholly of the catalogue's ``pattern``."""
    return re.fullmatch(pattern, value, re.ASCII | re.IGNORECASE) is not None


def suggestions(value: str, *, pattern: str) -> tuple[str, ...]:
    """Readings with as few letters and digits swapped for their lookalikes as it takes to match, three at most."""
    places = [place for place, mark in enumerate(value) if mark in LOOKALIKES]
    for swaps in range(1, min(len(places), MAX_SWAPS) + 1):
        tried = itertools.islice(itertools.combinations(places, swaps), 500)
        found = [other for chosen in tried if fits(pattern, other := _swapped(value, chosen))]
        if found:
            return tuple(found[:MAX_SUGGESTIONS])
    return ()


def _swapped(value: str, places: tuple[int, ...]) -> str:
    return "".join(LOOKALIKES[mark] if place in places else mark for place, mark in enumerate(value))


def is_confusable(value: str, *, pattern: str | None) -> bool:
    """Whether a look-alike in ``value`` could be its other as well: the pattern would take both."""
    return any(
        mark in CONFUSED and (pattern is None or fits(pattern, _swapped(value, (place,))))
        for place, mark in enumerate(value)
    )


def has_check_digit(number: str, *, card: CardType) -> bool:
    """Whether a Luhn digit is due: prepaid cards with a UnionPay number (62…, 16 to 19 digits, ISO/IEC 7812)."""
    return card.category == "prepaid_bank" and re.fullmatch(r"62\d{14,17}", number) is not None


def luhn(number: str) -> bool:
    """Whether the last digit of ``number`` (digits only) is its Luhn check digit."""
    doubled = (int(mark) * 2 for mark in number[-2::-2])
    return (sum(int(mark) for mark in number[::-2]) + sum(n - 9 if n > 9 else n for n in doubled)) % 10 == 0


def read_fen(text: str) -> int | None:
    """Yuan as people write them (``500``, ``500.00``, ``¥500``, ``500元``, ``1,000``) in fen; None where it is none."""
    bare = re.sub(r"[\s,¥元]|人民币|RMB|CNY", "", unicodedata.normalize("NFKC", text).upper())
    if not re.fullmatch(r"\d{1,7}(\.\d{1,2})?", bare, re.ASCII):
        return None
    return int(Decimal(bare) * 100) or None


def read_date(text: str) -> date | None:
    """The first calendar date of this century in ``text``, year first, in any of the usual forms; None without one."""
    plain = unicodedata.normalize("NFKC", text)
    for pattern in (_DATE, _BARE_DATE):
        for year, month, day in pattern.findall(plain):
            found = _calendar(int(year), int(month), int(day))
            if found is not None:
                return found
    return None


def _calendar(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:
        return None
