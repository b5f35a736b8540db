"""Honest resale ranges: conformal quantiles of scaled residuals, by card type where there is enough to say.

A residual is divided by the error expected of such a card, so that one quantile fits cards of unlike certainty
(Lei, G'Sell, Rinaldo, Tibshirani, Wasserman 2018, arXiv 1604.04173, section 5.2). The quantiles come from resales
newer than those the model was fitted on, the newest of which weigh most, because markets move (Barber, Candès,
Ramdas, Tibshirani 2023, arXiv 2202.13415). Each tail is honest by itself, so the range is not pulled by a skew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from models.discount.context import CardContext

LEVELS = (0.05, 0.10, 0.50, 0.90, 0.95)
"""p10 to p90 covers 80 %, p05 to p95 covers 90 %."""
MIN_GROUP_ROWS = 150
"""A group with fewer newer resales uses the quantiles of the wider group: type, category, valid or expired, all."""
HALF_LIFE_DAYS = 14.0
DAY_MS = 86_400_000
EVERYTHING = "all"


@dataclass(frozen=True)
class RangeTable:
    """By group (``type/…``, ``category/…``, ``state/…``, ``all``).

    quantiles: scaled residuals at LEVELS. widths: mean distance from the expected rate down to p10, in rate; it does
    not change with the single card.
    """

    quantiles: dict[str, tuple[float, ...]]
    widths: dict[str, float]

    def of(self, context: CardContext) -> tuple[np.ndarray, np.ndarray]:
        """Of each card's narrowest group: scaled residuals (n, levels), and the usual distance (n,) from the expected
        rate down to p10."""
        names = self._group_of(context)
        quantiles = np.array([self.quantiles[name] for name in names]).reshape(len(context), len(LEVELS))
        return quantiles, np.array([self.widths[name] for name in names])

    def _group_of(self, context: CardContext) -> list[str]:
        groups = zip(*(keys.tolist() for keys in group_keys(context)), strict=True)
        return [next(name for name in names if name in self.quantiles) for names in groups]

    def to_dict(self) -> dict[str, object]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Mapping[str, Any]]) -> RangeTable:
        return cls(
            quantiles={name: tuple(values) for name, values in data["quantiles"].items()},
            widths=dict(data["widths"]),
        )


def group_keys(context: CardContext) -> tuple[np.ndarray, ...]:
    """Keys (n,) object of each card's groups, the narrowest first."""
    state = np.where(context.expired, "expired", "valid").astype(object)
    return (
        "type/" + context.type_state,
        "category/" + context.category.astype(str).astype(object) + "/" + state,
        "state/" + state,
        np.full(len(context), EVERYTHING, dtype=object),
    )


def fit_ranges(
    *, context: CardContext, residual: np.ndarray, error: np.ndarray, resold_at: np.ndarray
) -> RangeTable:
    """Learn from n > 0 resales newer than those the model was fitted on.

    residual: resale rate less the expected one; error: its expected size, > 0; resold_at: int64 ms; all (n,).
    """
    weight = 0.5 ** ((resold_at.max() - resold_at) / (HALF_LIFE_DAYS * DAY_MS))
    scaled = residual / error
    quantiles: dict[str, tuple[float, ...]] = {}
    widths: dict[str, float] = {}
    for keys in group_keys(context):
        names, position, counts = np.unique(keys.astype(str), return_inverse=True, return_counts=True)
        members = np.split(np.argsort(position, kind="stable"), np.cumsum(counts)[:-1])
        for name, rows in zip(names.tolist(), members, strict=True):
            if len(rows) >= MIN_GROUP_ROWS or name == EVERYTHING:
                quantiles[name] = tuple(_quantile(scaled[rows], weight[rows], level) for level in LEVELS)
                widths[name] = float(max(-quantiles[name][1] * error[rows].mean(), 0.0))
    return RangeTable(quantiles, widths)


def _quantile(values: np.ndarray, weight: np.ndarray, level: float) -> float:
    """The weighted quantile that leaves at most the tail outside, with one more resale of full weight out there
    (the next one): the conformal step up of a small sample. The median is the plain one."""
    if level == 0.5:
        return _upper(values, weight, level, extra=0.0)
    if level > 0.5:
        return _upper(values, weight, level, extra=1.0)
    return -_upper(-values, weight, 1.0 - level, extra=1.0)


def _upper(values: np.ndarray, weight: np.ndarray, level: float, *, extra: float) -> float:
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weight[order])
    place = np.searchsorted(reached, level * (reached[-1] + extra * weight.max()))
    return float(values[order[min(int(place), len(order) - 1)]])
