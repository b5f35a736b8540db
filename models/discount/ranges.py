"""Honest resale ranges: conformal quantiles of scaled residuals by card type, drawn to its category's.

A residual is divided by the error expected of such a card, so that one quantile fits cards of unlike certainty
(Lei, G'Sell, Rinaldo, Tibshirani, Wasserman 2018, arXiv 1604.04173, section 5.2). The quantiles come from resales
newer than those the model was fitted on, the newest of which weigh most, because markets move (Barber, Candès,
Ramdas, Tibshirani 2023, arXiv 2202.13415). Each tail is honest by itself, so the range is not pulled by a skew.
Rolling ranges also follow the run of large or small errors that a card type is in (:mod:`resale_errors`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np

from models.discount.context import CardContext, Kind, Memo
from models.discount.resale_errors import DAY_MS, ResaleErrors, runs

LEVELS = (0.05, 0.10, 0.50, 0.90, 0.95)
"""p10 to p90 covers 80 %, p05 to p95 covers 90 %."""
MIN_STATE_ROWS = 150
"""With fewer resales of expired cards (or of valid ones), theirs count together with the others."""
POOLED_RESALES = 500.0
"""A type is given the errors of its category as if they were so many of today's resales, a category those of all valid
or expired cards: how a type differs is mostly in the size of its errors, which is expected already."""
HALF_LIFE_DAYS = 7.0
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
        found = context.by_kind(self._found.__getitem__).reshape(len(context), len(LEVELS) + 1)
        return found[:, :-1], found[:, -1]

    @cached_property
    def _found(self) -> Memo:
        return Memo(self._of)

    def _of(self, kind: Kind) -> tuple[float, ...]:
        """Quantiles and width of the narrowest group."""
        name = next(name for name in groups_of(kind) if name in self.quantiles)
        return (*self.quantiles[name], self.widths[name])

    def to_dict(self) -> dict[str, object]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Mapping[str, Any]]) -> RangeTable:
        return cls(
            quantiles={name: tuple(values) for name, values in data["quantiles"].items()},
            widths=dict(data["widths"]),
        )


def groups_of(kind: Kind) -> tuple[str, ...]:
    """The groups of a kind of card, the narrowest first."""
    return group_names(type_state=kind.type_state, category=kind.category, expired=kind.expired)


def group_names(*, type_state: str, category: str, expired: bool) -> tuple[str, ...]:
    """Names of the groups of a card, the narrowest first."""
    state = "expired" if expired else "valid"
    return f"type/{type_state}", f"category/{category}/{state}", f"state/{state}", EVERYTHING


def fit_ranges(errors: ResaleErrors, *, rolling: bool) -> RangeTable:
    """Learn from n > 0 errors.

    rolling: whether the table is made anew every day or so. Then a type's range is wider or narrower by the run its
    errors are in now; a table that stays for weeks would keep a run that is long over.
    """
    then, now = runs(errors) if rolling else (np.ones(len(errors)), {})
    weight = np.exp2((errors.resold_at - errors.resold_at.max()) / (HALF_LIFE_DAYS * DAY_MS))
    order = np.argsort(errors.residual / errors.error / then, kind="stable")
    errors, then, weight = errors.rows(order), then[order], weight[order]
    scaled = errors.residual / errors.error / then
    quantiles: dict[str, tuple[float, ...]] = {}
    widths: dict[str, float] = {}
    for name, own in _groups(errors, weight).items():
        bounds = _quantiles(scaled, own)
        run = now.get(name.removeprefix("type/"), 1.0)
        quantiles[name] = tuple(float(run * bound) for bound in bounds)
        widths[name] = float(max(-bounds[1] * (own @ errors.error) / own.sum(), 0.0))
    return RangeTable(quantiles, widths)


def _groups(errors: ResaleErrors, weight: np.ndarray) -> dict[str, np.ndarray]:
    """Weights (n,) of the errors in each group: its own, and those of the next wider group as if POOLED_RESALES. Valid
    and expired cards have nothing in common, so each of the two stands by itself or not at all."""
    found = {EVERYTHING: weight}
    for expired, state in ((False, "valid"), (True, "expired")):
        if np.count_nonzero(errors.expired == expired) >= MIN_STATE_ROWS:
            found[f"state/{state}"] = np.where(errors.expired == expired, weight, 0.0)
    kinds = {
        (type_state, category, expired)
        for type_state, category, expired in zip(
            errors.type_state.tolist(), errors.category.tolist(), errors.expired.tolist(), strict=True
        )
    }
    for type_state, category, expired in sorted(kinds):
        names = group_names(type_state=type_state, category=category, expired=expired)
        members = (
            errors.type_state == type_state,
            (errors.category == category) & (errors.expired == expired),
        )
        for level in (1, 0):
            if names[level] not in found:
                wider = next(found[name] for name in names[level + 1 :] if name in found)
                own = np.where(members[level], weight, 0.0)
                found[names[level]] = own + POOLED_RESALES * wider / wider.sum()
    return found


def _quantiles(values: np.ndarray, weight: np.ndarray) -> tuple[float, ...]:
    """Weighted quantiles of ascending values at LEVELS: each leaves at most its tail outside, with one more resale of
    full weight out there (the next one): the conformal step up of a small sample. The median is the plain one."""
    rising, falling = np.cumsum(weight), np.cumsum(weight[::-1])

    def upper(level: float, extra: float) -> float:
        place = np.searchsorted(rising, level * (rising[-1] + extra))
        return float(values[min(int(place), len(values) - 1)])

    def lower(level: float) -> float:
        place = np.searchsorted(falling, (1.0 - level) * (falling[-1] + 1.0))
        return float(values[len(values) - 1 - min(int(place), len(values) - 1)])

    return tuple(
        lower(level) if level < 0.5 else upper(level, 0.0 if level == 0.5 else 1.0) for level in LEVELS
    )
