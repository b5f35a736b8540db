"""How long a bought card waits for its buyer: days from paying the seller to being paid, by kind of card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property

import numpy as np

from models.discount.context import CardContext, Kind, Memo

POOLING_STRENGTH = 20.0
"""A card type's mean is drawn to its category's as if by so many sales, a category's to that of all."""
MOST_DAYS = 180.0


@dataclass(frozen=True)
class SaleTime:
    """Mean days by ``type/…/valid`` and ``category/…/valid``, and of all; None where nothing is known."""

    days: dict[str, float] = field(default_factory=dict)
    overall: float | None = None

    def expected(self, context: CardContext, *, usual: float) -> np.ndarray:
        """Expected days (n,); ``usual`` where no sale was ever seen."""
        if self.overall is None:
            return np.full(len(context), usual)
        return context.by_kind(self._found.__getitem__)

    @cached_property
    def _found(self) -> Memo:
        return Memo(self._of)

    def _of(self, kind: Kind) -> float | None:
        own, wider = _keys(kind)
        return self.days.get(own, self.days.get(wider, self.overall))

    def to_dict(self) -> dict[str, object]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, object]) -> SaleTime:
        return cls(**data)  # type: ignore[arg-type]


def fit_sale_time(*, context: CardContext, days: np.ndarray) -> SaleTime:
    """Learn from the days (n,) of cards bought so long ago that nearly all are sold; n = 0 teaches nothing."""
    if len(days) == 0:
        return SaleTime()
    days = np.clip(days, 0.0, MOST_DAYS)
    overall = float(days.mean())
    categories, of_category = context.named(lambda kind: _keys(kind)[1])
    wider = _pooled(categories, of_category, days, dict.fromkeys(categories, overall))
    types, of_type = context.named(lambda kind: _keys(kind)[0])
    own = dict(_keys(kind) for kind in context.kinds[0])
    return SaleTime(
        days=wider | _pooled(types, of_type, days, {name: wider[own[name]] for name in types}),
        overall=overall,
    )


def _keys(kind: Kind) -> tuple[str, str]:
    return f"type/{kind.type_state}", f"category/{kind.category}/{kind.state}"


def _pooled(
    names: list[str], position: np.ndarray, days: np.ndarray, towards: Mapping[str, float]
) -> dict[str, float]:
    total, count = np.bincount(position, days), np.bincount(position)
    prior = np.array([towards[name] for name in names])
    means = (total + POOLING_STRENGTH * prior) / (count + POOLING_STRENGTH)
    return dict(zip(names, means.tolist(), strict=True))
