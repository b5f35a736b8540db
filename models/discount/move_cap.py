"""The cap of daily moves: how far a card's price may lie from what the day before would have made of it.

For each card type and day the platform remembers what the type's reference card was priced at last, and the market it
was priced in. What any card of the type would have been shown then follows with today's model::

    then(card) = model(card, market of then) + remembered(reference) − model(reference, market of then)

and today's price is held within ``move_cap`` above and ``move_cap_down`` below it, for each day that lies between. The
last two terms are what a new model, or a cap that held prices back already, leaves open. So the reference card moves by
at most the cap, and every other card by at most the cap from what it would have been shown.

Prices keep their order: what a card is worth today and what it would have been shown both rise with its face value and
its days to expiry, and so does the one held between bounds around the other. Competitors' bids of today move the first
and not the second. The cap never lifts an offer above what the margin floor admits: in a crash the price falls with
the floor, however fast. An expired card has a band of its own and is left alone.

Held is the price before exploration: two draws around it may lie further apart than the cap, by their widths. A price
held where nothing can be earned is no offer, and says that it waits. A reference card that is no offer is no price to
measure from: the last real one counts, with the cap of all days since.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from models.discount.guard_rails import GuardRails, shown
from models.discount.special import SpecialCards, ordinary_cards
from models.matrix import Columns
from models.policy import PricePolicy

REFERENCE_HOUR = 12.0
"""Of the day in China, at which reference cards are priced: the hour's own effect on prices is no daily move."""
PRICED = ("card_", "market_", "resale_", "stock_", "kind_", "time_")
"""Beginnings of the columns that a price may read; none says who sells."""


@dataclass(frozen=True)
class DayBefore:
    """What the daily moves of n cards are measured from.

    rate (n,): what the reference card of each one's type was priced at when it was last remembered, the cap on it
    already; NaN: not remembered, and no cap. days (n,): how many days ago. market: columns (n,) of the type's market
    as it was then. card: the columns (n,) of the reference card that are its own; face_value_fen (n,): int64, its.
    """

    rate: np.ndarray
    days: np.ndarray
    market: Columns
    card: Columns
    face_value_fen: np.ndarray

    def __len__(self) -> int:
        return len(self.rate)

    @property
    def known(self) -> np.ndarray:
        """Rows (k,) whose type is remembered."""
        return np.flatnonzero(np.isfinite(self.rate))

    def rows(self, rows: np.ndarray | slice) -> DayBefore:
        return DayBefore(
            rate=self.rate[rows],
            days=self.days[rows],
            market={name: column[rows] for name, column in self.market.items()},
            card={name: column[rows] for name, column in self.card.items()},
            face_value_fen=self.face_value_fen[rows],
        )

    def without(self, names: Collection[str]) -> DayBefore:
        """As if those columns of the market had not changed since."""
        kept = {name: column for name, column in self.market.items() if name not in names}
        return replace(self, market=kept)


def as_reference(columns: Columns, before: DayBefore) -> dict[str, np.ndarray]:
    """The columns of n cards with the reference card of its type in the place of each, at ``REFERENCE_HOUR``."""
    own = {**before.card, "time_hour": np.full(len(before), REFERENCE_HOUR)}
    return {name: own.get(name, columns[name]) for name in _priced(tuple(columns))}


def with_day_before(
    columns: Columns, cards: SpecialCards, before: DayBefore
) -> tuple[dict[str, np.ndarray], SpecialCards]:
    """Columns and cards (n + 2k,) of n cards: themselves, then the k known of ``before`` in the market of then, then
    the reference card of each of those in it."""
    rows, known, own, same = before.known, before, columns, cards
    if len(rows) < len(before):
        known, same = before.rows(rows), cards.rows(rows)
        own = {name: column[rows] for name, column in columns.items()}
    then = {name: known.market.get(name, own[name]) for name in _priced(tuple(columns))}
    reference = as_reference(then, known)
    parts = (cards, same, ordinary_cards(known.face_value_fen))
    return (
        {name: np.concatenate((columns[name], column, reference[name])) for name, column in then.items()},
        SpecialCards(
            **{name: np.concatenate([getattr(part, name) for part in parts]) for name in vars(cards)}
        ),
    )


@lru_cache(maxsize=8)
def _priced(names: tuple[str, ...]) -> tuple[str, ...]:
    """Those of the columns that a price may read."""
    return tuple(name for name in names if name.startswith(PRICED))


def capped(
    *,
    centre: np.ndarray,
    expired: np.ndarray,
    before: DayBefore,
    rails: GuardRails,
    policy: PricePolicy,
) -> tuple[np.ndarray, GuardRails]:
    """Rates (n,) held within the day's cap, and their rails, reaching as far as these lie.

    centre (n + 2k,): rates of the cards, then as :func:`with_day_before` lays them out. expired (n,): bool. rails:
    of the n cards.
    """
    rows, size = before.known, len(before)
    then, reference = np.split(centre[size:], 2)
    own = centre[:size]
    usual = then - (reference - before.rate[rows])
    days = before.days[rows]
    low, high = np.full(size, -np.inf), np.full(size, np.inf)
    if policy.move_cap_down > 0:
        low[rows] = usual - policy.move_cap_down * days
    if policy.move_cap > 0:
        high[rows] = usual + policy.move_cap * days
    held = np.minimum(np.maximum(own, low), high)
    held = np.minimum(np.maximum(held, rails.band_low), rails.most)
    held = np.where(expired, own, held)
    low = np.minimum(rails.low, shown(held, up=False))
    return held, replace(rails, low=low, high=np.maximum(rails.high, shown(held, up=True)))
