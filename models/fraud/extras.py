"""The platform's own extras as model inputs: every name in them becomes one column."""

from __future__ import annotations

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
        rows = [extras_of(text) for text in columns[EXTRAS]]
        found: dict[str, np.ndarray] = {
            input_name(name): np.array([_number(row.get(name)) for row in rows]) for name in self.numbers
        }
        for name, words in (self.texts or {}).items():
            known = frozenset(words)
            texts = [_text(row.get(name)) for row in rows]
            found[input_name(name)] = np.array([text if text in known else None for text in texts], object)
        return {**columns, **found}

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
    """The inputs that training rows (n,) have: numbers where every value is one, texts otherwise."""
    kept: dict[str, list[Extra]] = {}
    for text in values:
        for name, value in extras_of(text).items():
            kept.setdefault(name, []).append(value)
    known = {name: found for name, found in sorted(kept.items()) if len(found) >= LEAST_ROWS}
    numbers = tuple(name for name, found in known.items() if not any(isinstance(v, str) for v in found))
    texts = {name: _words(found) for name, found in known.items() if name not in numbers}
    return ExtraInputs(numbers=numbers, texts={name: words for name, words in texts.items() if words})


def _words(found: list[Extra]) -> tuple[str, ...]:
    counts = Counter(_text(value) for value in found)
    return tuple(sorted(word for word, n in counts.most_common(MOST_WORDS) if word and n >= LEAST_ROWS))


def _number(value: Extra) -> float:
    return np.nan if value is None or isinstance(value, str) else float(value)


def _text(value: Extra) -> str | None:
    return value if value is None or isinstance(value, str) else f"{value:g}"
