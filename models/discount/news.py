"""What is nearly always known of a card type, and what to think where news of it have stopped.

A file may be priced weeks after the last import, and a feed may break. The models have learned from a log in which
resales and bids kept coming in: to them a missing one means nothing, or the wrong thing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np

from models.discount.context import RATE_COLUMNS
from models.matrix import Columns, getter

MARKET = "market_"
"""How the names of the market's columns begin."""
RESALES = ("resale_mean_7d", "resale_mean_30d")
LEVEL = "resale_mean_30d"
NEARLY_ALWAYS = 0.99
"""Share of a card type's trades that know something: from here on its want says that no news come in."""
LEAST_ROWS = 100
"""Of fewer trades nothing is said about a card type."""


class Seen(NamedTuple):
    """What is known of n cards. columns: with missing bids as they usually are. resales_stopped, outdated: bool (n,),
    no news of the type's resales come in; of these or of its market."""

    columns: Columns
    resales_stopped: np.ndarray
    outdated: np.ndarray


@dataclass(frozen=True)
class UsualNews:
    """names: columns of the market and of resales that are nearly always known of some card type. of_type: card type ->
    the mean of each, NaN where it is not nearly always known; rates of the market as distances from ``LEVEL``."""

    names: tuple[str, ...] = ()
    of_type: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    def seen(self, columns: Columns, rows: int) -> Seen:
        """What is known of n cards: the very same columns where nothing is missing."""
        none = np.zeros(rows, dtype=bool)
        if not self.names or any(name not in columns for name in self.names):
            return Seen(columns, none, none)
        values = np.concatenate(self._values(columns)).reshape(len(self.names), rows)
        absent = np.isnan(values)
        if not absent.any():
            return Seen(columns, none, none)
        usual = self._table[[self._places.get(name, -1) for name in columns["card_type"].tolist()]].T
        missing: np.ndarray = absent & np.isfinite(usual)
        outdated = np.logical_or.reduce(missing, axis=0)
        if not outdated.any():
            return Seen(columns, none, none)
        stopped = np.logical_or.reduce(missing[self._is_resale], axis=0)
        return Seen(self._filled(columns, values, usual, missing), stopped, outdated)

    def _filled(
        self, columns: Columns, values: np.ndarray, usual: np.ndarray, missing: np.ndarray
    ) -> Columns:
        """Columns with missing bids beside the last known level of resales, or else the usual one."""
        level = np.full(values.shape[1], np.nan)
        if LEVEL in self.names:
            place = self.names.index(LEVEL)
            level = np.where(np.isnan(values[place]), usual[place], values[place])
        told = dict(columns)
        for place, name in enumerate(self.names):
            if name not in RESALES and missing[place].any():
                guess = usual[place] + level if name in RATE_COLUMNS else usual[place]
                told[name] = np.where(missing[place], guess, values[place])
        return told

    @cached_property
    def _values(self) -> Callable[[Columns], tuple[np.ndarray, ...]]:
        return getter(self.names)

    @cached_property
    def _is_resale(self) -> np.ndarray:
        return np.array([name in RESALES for name in self.names])

    @cached_property
    def _places(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.of_type)}

    @cached_property
    def _table(self) -> np.ndarray:
        """Usual values (types + 1, k); the last row is that of a type of which nothing is said."""
        unknown = [np.nan] * len(self.names)
        return np.array([*self.of_type.values(), unknown], dtype=np.float64)

    def to_dict(self) -> dict[str, object]:
        plain = {
            name: [None if np.isnan(value) else value for value in values]
            for name, values in self.of_type.items()
        }
        return {"names": list(self.names), "of_type": plain}

    @classmethod
    def from_dict(cls, data: Mapping[str, object]) -> UsualNews:
        names, of_type = data["names"], data["of_type"]
        assert isinstance(names, Sequence)
        assert isinstance(of_type, Mapping)
        return cls(
            names=tuple(names),
            of_type={
                name: tuple(np.nan if value is None else value for value in values)
                for name, values in of_type.items()
            },
        )


def usual_news(columns: Columns, names: Sequence[str], rows: int) -> UsualNews:
    """What n trades of a log knew of their card types' markets and resales. names: the model's columns."""
    wanted = [name for name in names if (name.startswith(MARKET) or name in RESALES) and name in columns]
    level = columns[LEVEL] if LEVEL in wanted else np.full(rows, np.nan)
    types, place = np.unique(columns["card_type"].astype(str), return_inverse=True)
    size = np.bincount(place)
    means = np.full((len(types), len(wanted)), np.nan)
    for number, name in enumerate(wanted):
        relative = name in RATE_COLUMNS and name not in RESALES
        values = columns[name] - level if relative else columns[name]
        known, sure = np.isfinite(values), np.isfinite(columns[name])
        share = np.bincount(place, weights=sure) / size
        count = np.bincount(place, weights=known)
        enough = (size >= LEAST_ROWS) & (share >= NEARLY_ALWAYS) & (count > 0)
        total = np.bincount(place, weights=np.where(known, values, 0.0))
        means[enough, number] = total[enough] / count[enough]
    told = np.flatnonzero(np.logical_or.reduce(np.isfinite(means), axis=0))
    said = np.flatnonzero(np.logical_or.reduce(np.isfinite(means), axis=1))
    of_type = {str(types[row]): tuple(means[row, told].tolist()) for row in said}
    return UsualNews(tuple(wanted[number] for number in told), of_type)
