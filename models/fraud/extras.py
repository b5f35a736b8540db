"""The platform's own extras as model inputs: every name in them becomes one column."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from features.extras import Extra, extras_of
from models.matrix import Columns

EXTRAS = "extras"
"""The feature that holds them, and the family of the inputs made from it."""

LEAST_ROWS = 20
"""A name, or a word of a text, that fewer training rows have says too little."""

MOST_ROWS = 200_000
"""More training rows say nothing new about which names there are."""

MOST_ODD, MANY = 0.05, 50
"""A name with more than ``MANY`` different numbers holds numbers also where up to ``MOST_ODD`` of its rows are words
instead, such as "unknown"; these say as much as nothing. Of fewer values each can be told apart as a word."""

NUMBER = r"[+-]?((0|[1-9]\d{0,300})(\.\d{0,300})?|\.\d{1,300})([eE][+-]?\d{1,2})?"
"""What reads as a number."""

_is_number = re.compile(NUMBER).fullmatch
_is_code = re.compile(r"0\d+").fullmatch

AT_ONCE = 2_000
"""Rows whose extras are held apart at a time: as objects they take twenty times the room of their text."""

MOST_WORDS = 500
"""Words kept of one text, the most frequent ones; others count as unknown."""


@dataclass(frozen=True)
class ExtraInputs:
    """Which extras a model reads. numbers: names that hold numbers. texts: name -> the words it tells apart."""

    numbers: tuple[str, ...] = ()
    texts: Mapping[str, tuple[str, ...]] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Inputs, in order: ``extras.NAME``."""
        return tuple(input_name(name) for name in (*self.numbers, *(self.texts or {})))

    def expand(self, columns: Columns) -> Columns:
        """The columns with one more for each input, (n,) float64 or object; the very same where there is none."""
        if not self.names or EXTRAS not in columns:
            return columns
        return {**columns, **self.inputs(columns[EXTRAS])}

    def inputs(self, values: np.ndarray) -> dict[str, np.ndarray]:
        """The inputs (n,) of extras (n,)."""
        size, texts = len(values), self.texts or {}
        numbers = {name: np.full(size, np.nan) for name in self.numbers}
        found = {name: np.full(size, None, dtype=object) for name in texts}
        for start in range(0, size, AT_ONCE):
            rows = slice(start, start + AT_ONCE)
            read = [extras_of(written) for written in values[rows]]
            for name, column in numbers.items():
                column[rows] = [number_of(extras.get(name)) for extras in read]
            for name, column in found.items():
                known = self._known[name]
                column[rows] = [known.get(word_of(extras.get(name))) for extras in read]
        return {input_name(name): column for name, column in {**numbers, **found}.items()}

    @cached_property
    def _known(self) -> dict[str, dict[str | None, str]]:
        """Of each text the words it tells apart, by themselves."""
        return {name: {word: word for word in words} for name, words in (self.texts or {}).items()}

    def to_dict(self) -> dict[str, object]:
        return {"numbers": list(self.numbers), "texts": {k: list(v) for k, v in (self.texts or {}).items()}}

    @classmethod
    def from_dict(cls, data: Mapping) -> ExtraInputs:
        return cls(
            numbers=tuple(data["numbers"]), texts={name: tuple(v) for name, v in data["texts"].items()}
        )


def input_name(name: str) -> str:
    return f"{EXTRAS}.{name}"


def learn_extras(values: Sequence[str | None]) -> ExtraInputs:
    """The inputs that training rows (n,) have: numbers where every value reads as one, or nearly every one of many
    (``MOST_ODD``), texts otherwise; a code with leading zeros is a text. At most ``MOST_ROWS`` of the rows are looked
    at, evenly spread."""
    looked_at = values[:: -(-len(values) // MOST_ROWS) or 1]
    count: Counter[str] = Counter()
    odd: Counter[str] = Counter()
    codes: set[str] = set()
    for text in looked_at:
        extras = extras_of(text)
        count.update(extras.keys())
        odd.update(name for name, value in extras.items() if not _reads_as_number(value))
        codes.update(name for name, value in extras.items() if isinstance(value, str) and _is_code(value))
    words: dict[str, Counter[str | None]] = {name: Counter() for name in odd}
    if words:
        for text in looked_at:
            extras = extras_of(text)
            for name, counter in words.items():
                if name in extras:
                    counter[word_of(extras[name])] += 1
    for name, rows in odd.items():
        if name not in codes and rows <= MOST_ODD * count[name] and _numbers_among(words[name]) > MANY:
            del words[name]
    known = sorted(name for name, rows in count.items() if rows >= LEAST_ROWS)
    texts = {name: _frequent(words[name]) for name in known if name in words}
    return ExtraInputs(
        numbers=tuple(name for name in known if name not in words),
        texts={name: frequent for name, frequent in texts.items() if frequent},
    )


def _numbers_among(words: Iterable[str | None]) -> int:
    return sum(word is not None and _reads_as_number(word) for word in words)


def _frequent(counts: Counter[str | None]) -> tuple[str, ...]:
    return tuple(sorted(word for word, n in counts.most_common(MOST_WORDS) if word and n >= LEAST_ROWS))


def _reads_as_number(value: Extra) -> bool:
    return not isinstance(value, str) or _is_number(value) is not None


def number_of(value: Extra) -> float:
    """A value as a number, NaN where it is none: a file of texts and a client that sends texts mean the same."""
    if value is None or not _reads_as_number(value):
        return np.nan
    return float(value)


def word_of(value: Extra) -> str | None:
    """A value as a text: a whole number without a decimal point, however it was written."""
    if value is None or isinstance(value, str):
        return value
    return str(int(value)) if float(value).is_integer() else repr(float(value))
