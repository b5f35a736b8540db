"""One comparison of one column: what rules and legal limits are made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from models.matrix import Columns

Value = float | str | bool | tuple[float, ...] | tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """How a column (n,) is compared with a value, and how that is written; ``{}`` stands for the value."""

    compare: Callable[[np.ndarray, Value], np.ndarray]
    zh: str
    en: str


def _equals(values: np.ndarray, value: Value) -> np.ndarray:
    return np.asarray(values == value, dtype=bool)


def _is_in(values: np.ndarray, value: Value) -> np.ndarray:
    assert isinstance(value, tuple)
    found = np.zeros(len(values), dtype=bool)
    for one in value:
        found |= _equals(values, one)
    return found


def _missing(values: np.ndarray, value: Value) -> np.ndarray:
    unknown = (
        np.array([one is None for one in values], dtype=bool) if values.dtype == object else np.isnan(values)
    )
    return unknown == value


COMPARISONS: dict[str, Comparison] = {
    "at_least": Comparison(np.greater_equal, "≥ {}", "≥ {}"),
    "above": Comparison(np.greater, "> {}", "> {}"),
    "at_most": Comparison(np.less_equal, "≤ {}", "≤ {}"),
    "below": Comparison(np.less, "< {}", "< {}"),
    "equals": Comparison(_equals, "= {}", "= {}"),
    "is_in": Comparison(_is_in, "为 {} 之一", "is one of {}"),
    "missing": Comparison(_missing, "{}", "{}"),
}
"""Name in a rule file -> what it does. The first four are for numbers; an unknown value satisfies none but
``missing = true``."""

ORDERED = frozenset({"at_least", "above", "at_most", "below"})


@dataclass(frozen=True)
class Condition:
    """``column`` compared with ``value`` by one of :data:`COMPARISONS`."""

    column: str
    comparison: str
    value: Value

    def holds(self, columns: Columns, rows: int) -> np.ndarray:
        """Where the condition holds, (rows,) bool; nowhere in a column that is not there."""
        values = columns.get(self.column)
        if values is None:
            return np.zeros(rows, dtype=bool)
        return COMPARISONS[self.comparison].compare(values, self.value)

    def words(self, language: str) -> str:
        """The condition as it is read aloud, in ``zh`` or ``en``."""
        pattern = getattr(COMPARISONS[self.comparison], language)
        return f"{self.column} {pattern.format(_shown(self.value, language))}"


def _shown(value: Value, language: str) -> str:
    if isinstance(value, bool):
        return {"zh": ("已知", "未知"), "en": ("is known", "is unknown")}[language][value]
    if isinstance(value, tuple):
        return ", ".join(_shown(one, language) for one in value)
    return f"{value:,.12g}" if isinstance(value, float) else str(value)
