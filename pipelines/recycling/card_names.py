"""Which card type a card says it is: names of the catalogue in the text of the photo, then the format of its codes."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from features.catalogue import Catalogue, detect

Because = Literal["name_and_format", "name", "format"]
NEARLY = 0.75
"""How alike a line must be to a name (difflib's ratio) when the name does not stand in it letter by letter."""
MAX_CANDIDATES = 5

_TAIL = re.compile(r"(电子)?(购物|礼品|充值|储值|预付)?(卡|券)$|一卡通$")
_BRACKETS = re.compile(r"[((].*?[))]")


@dataclass(frozen=True)
class TypeCandidate:
    """A card type that the photo could show; ``because`` says of what, ``likeness`` 0 to 1 of the name."""

    card_type: str
    because: Because
    likeness: float


def type_candidates(
    lines: Sequence[str], *, number: str, secret: str, catalogue: Catalogue
) -> tuple[TypeCandidate, ...]:
    """Candidates, best first: a name that is printed and a format that fits before either alone.

    A name whose format the codes contradict stays, behind those that fit, for a digit may have been misread.
    """
    texts = [_folded(line) for line in lines]
    printed = {row.card_type: like for row in catalogue if (like := _likeness(row.name_zh, texts)) >= NEARLY}
    fitting = {one.card_type: one for one in detect(number, secret=secret, catalogue=catalogue)}
    best = max(printed.values(), default=0.0)
    named = [
        TypeCandidate(slug, "name_and_format" if slug in fitting else "name", round(like, 2))
        for slug, like in printed.items()
        if like > best - 0.15
    ]
    named.sort(key=lambda one: (-one.likeness, one.because != "name_and_format", one.card_type))
    if named:
        return tuple(named[:MAX_CANDIDATES])
    return tuple(TypeCandidate(slug, "format", 0.0) for slug in list(fitting)[:MAX_CANDIDATES])


def _likeness(name: str, texts: Sequence[str]) -> float:
    """1 where the whole name is printed, less where only its brand is or some letters differ."""
    whole = _folded(_BRACKETS.sub("", name))
    brand = _TAIL.sub("", whole)
    best = 0.0
    for text in texts:
        if whole in text:
            return 1.0
        if len(brand) >= 2 and brand in text:
            best = max(best, 0.76 + 0.2 * len(brand) / max(len(whole), 1))
        elif abs(len(text) - len(whole)) <= 2:
            best = max(best, difflib.SequenceMatcher(None, whole, text, autojunk=False).ratio())
    return best


def _folded(text: str) -> str:
    return re.sub(r"\s+", "", unicodedata.normalize("NFKC", text)).casefold()
