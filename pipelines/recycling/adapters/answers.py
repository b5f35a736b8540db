"""Reads partners' JSON strictly: what does not have the promised shape is misread, never guessed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date
from typing import Any, TypeVar

from pipelines.recycling.adapters.http_adapter import Misread

Word = TypeVar("Word", bound=str)

MAX_FEN = 1_000_000_000_00
MAX_TEXT = 200


def one_of(answer: Mapping[str, Any], name: str, words: Collection[Word]) -> Word:
    """A word of the contract's list."""
    for word in words:
        if answer[name] == word:
            return word
    raise Misread(name)


def fen(answer: Mapping[str, Any], name: str) -> int | None:
    """An amount in fen, not negative; None where it is absent."""
    amount = answer.get(name)
    if amount is None:
        return None
    if type(amount) is not int or not 0 <= amount <= MAX_FEN:
        raise Misread(name)
    return amount


def day(answer: Mapping[str, Any], name: str) -> date | None:
    """A calendar date, ISO 8601; None where it is absent."""
    text = answer.get(name)
    return None if text is None else date.fromisoformat(text)


def flag(answer: Mapping[str, Any], name: str) -> bool | None:
    """True or false; None where it is absent."""
    found = answer.get(name)
    if found is not None and type(found) is not bool:
        raise Misread(name)
    return found


def share(answer: Mapping[str, Any], name: str) -> float:
    """A number from 0 to 1."""
    found = answer[name]
    if type(found) not in (int, float) or not 0 <= found <= 1:
        raise Misread(name)
    return float(found)


def text(answer: Mapping[str, Any], name: str) -> str:
    """A short printable text; empty where it is absent."""
    found = answer.get(name, "")
    if not isinstance(found, str) or len(found) > MAX_TEXT or not found.isprintable():
        raise Misread(name)
    return found


def echoed(answer: Mapping[str, Any], name: str, sent: str) -> None:
    """The answer must be about what was asked: an answer to somebody else's question is misread."""
    if answer[name] != sent:
        raise Misread(name)
