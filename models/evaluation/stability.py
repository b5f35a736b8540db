"""How steadily a model prices: what the quote for the same card does from one day to the next."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.windows import DAY_MS
from models.discount.context import card_context
from models.discount.model import DiscountModel
from models.matrix import Columns
from models.policy import Costs, PricePolicy

NAN = float("nan")
LEAST_DAYS = 3
"""A card type traded on fewer days tells nothing about daily moves."""
CARD_COLUMNS = ("card_", "time_hour")
"""Beginnings of the columns that stay those of the usual card; market, stock and calendar are the day's."""


@dataclass(frozen=True)
class StabilityMetrics:
    """Of the best rate before small test moves, for the usual card of each type, from one day to the next, in rate.

    types: card types followed; moves: pairs of days. mean_daily_move: mean absolute move; p95_daily_move: its 95 %
    quantile.
    """

    types: int = 0
    moves: int = 0
    mean_daily_move: float = NAN
    p95_daily_move: float = NAN


def stability_metrics(
    *,
    model: DiscountModel,
    columns: Columns,
    face_value_fen: np.ndarray,
    submitted_at: np.ndarray,
    costs: Costs,
    policy: PricePolicy,
) -> StabilityMetrics:
    """Follow the usual card of every type through the days of n trades. submitted_at: int64 ms (n,)."""
    day = submitted_at // DAY_MS
    first, usual = _days_and_cards(columns, face_value_fen, day)
    if len(first) == 0:
        return StabilityMetrics()
    offers = model.price(
        columns={
            name: column[usual if name.startswith(CARD_COLUMNS) else first]
            for name, column in columns.items()
        },
        face_value_fen=face_value_fen[usual],
        submitted_at=submitted_at[first],
        costs=costs,
        policy=policy.model_copy(update={"exploration_half_width": 0.0}),
    )
    next_day = (usual[1:] == usual[:-1]) & (np.diff(day[first]) == 1)
    move = np.abs(np.diff(offers.centre_rate))[next_day]
    if len(move) == 0:
        return StabilityMetrics()
    return StabilityMetrics(
        types=len(np.unique(usual[1:][next_day])),
        moves=len(move),
        mean_daily_move=float(move.mean()),
        p95_daily_move=float(np.quantile(move, 0.95)),
    )


def _days_and_cards(
    columns: Columns, face_value_fen: np.ndarray, day: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """For each card type and day, in that order: the day's first trade (m,) and the type's usual card (m,), as rows."""
    types = columns["card_type"].astype(str)
    firsts, cards = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
    context = card_context(columns, len(day))
    kind = np.char.add(context.form.astype(str), context.expiry_bucket.astype(str))
    for name in np.unique(types).tolist():
        own = np.flatnonzero((types == name) & ~context.expired)
        days, first = np.unique(day[own], return_index=True)
        if len(days) < LEAST_DAYS:
            continue
        alike = own[_most_frequent(np.char.add(kind[own], face_value_fen[own].astype(str)))]
        firsts.append(own[first])
        cards.append(np.full(len(days), alike[len(alike) // 2]))
    return np.concatenate(firsts), np.concatenate(cards)


def _most_frequent(values: np.ndarray) -> np.ndarray:
    """Bool (n,): where the most frequent value stands."""
    _, position, counts = np.unique(values, return_inverse=True, return_counts=True)
    return position == int(np.argmax(counts))
