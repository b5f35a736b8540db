"""The platform's own extras as model inputs: every name in them becomes one column."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from features.extras import Extra, extras_of
from models.matrix import Columns

EXTRAS = "extras"
"""The feature that holds them, and the family of the inputs made from it."""

LEAST_ROWS = 20
"""A name, or a word of a text, that fewer training rows have says too little."""

MOST_ROWS = 200_000
"""More training rows say nothing new about which names there are."""

NUMBER = r"[+-]?((0|[1-9]\d{0,300})(\.\d{0,300})?|\.\d{1,300})([eE][+-]?\d{1,2})?"
"""What reads as a number."""

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
        size, texts = len(values), {name: frozenset(words) for name, words in (self.texts or {}).items()}
        numbers = {name: np.full(size, np.nan) for name in self.numbers}
        found = {name: np.full(size, None, dtype=object) for name in texts}
        for row, written in enumerate(values):
            for name, value in extras_of(written).items():
                if name in numbers:
                    numbers[name][row] = number_of(value)
                elif name in found and (word := word_of(value)) in texts[name]:
                    found[name][row] = word
        return {input_name(name): column for name, column in {**numbers, **found}.items()}

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
    """The inputs that training rows (n,) have: numbers where every value reads as one, texts otherwise; a code with
    leading zeros is a text. At most ``MOST_ROWS`` of the rows are looked at, evenly spread."""
    kept: dict[str, list[Extra]] = {}
    for text in values[:: -(-len(values) // MOST_ROWS) or 1]:
        for name, value in extras_of(text).items():
            kept.setdefault(name, []).append(value)
    known = {name: found for name, found in sorted(kept.items()) if len(found) >= LEAST_ROWS}
    numbers = tuple(name for name, found in known.items() if all(map(_reads_as_number, found)))
    texts = {name: _words(found) for name, found in known.items() if name not in numbers}
    return ExtraInputs(numbers=numbers, texts={name: words for name, words in texts.items() if words})


def _words(found: list[Extra]) -> tuple[str, ...]:
    counts = Counter(word_of(value) for value in found)
    return tuple(sorted(word for word, n in counts.most_common(MOST_WORDS) if word and n >= LEAST_ROWS))


def _reads_as_number(value: Extra) -> bool:
    return not isinstance(value, str) or re.fullmatch(NUMBER, value) is not None


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
