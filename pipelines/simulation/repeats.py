"""Cards that come a second time: honest sellers who declined and think again, and cards already redeemed."""

from __future__ import annotations

import numpy as np

from pipelines.simulation.fraudsters import DOUBLE, Codes
from pipelines.simulation.history import would_accept
from pipelines.simulation.kinds import Kinds
from pipelines.simulation.people import Rows
from pipelines.simulation.seasons import HONEST_HOURS
from pipelines.simulation.world import DAY_US, HOUR_US, World, local_day

THINKS_AGAIN_DAYS = 4
REDEEMED_TWICE_DAYS = 14
SAME_SELLER = 0.5
"""Share of double redemptions by the seller who brought the card first; the others bring a card they
bought."""


def second_offers(world: World, kinds: Kinds, cards: Rows, codes: Codes, *, again: int, double: int) -> Rows:
    """``again`` cards whose seller declined and offers them once more, and ``double`` cards already redeemed.

    Both have the number of an earlier card, so a repeated number alone proves nothing. The seller of a card
    offered again decides afresh.
    """
    rng = world.rng("repeats")
    honest = (cards["fraud_kind"] == 0) & (_day(world, cards) < world.days - 1)
    declined = np.flatnonzero(honest & ~would_accept(cards))
    valid = np.flatnonzero(honest & (cards["days_left"] >= 0))
    preference = (kinds.fraud_popularity / kinds.popularity)[cards["kind"][valid]]
    sources = [
        rng.choice(declined, again, replace=len(declined) < again),
        rng.choice(valid, double, p=preference / preference.sum(), replace=True),
    ]
    repeats = {name: column[np.concatenate(sources)] for name, column in cards.items()}
    is_double = np.arange(again + double) >= again
    repeats["fraud_kind"] = np.where(is_double, DOUBLE, 0).astype(np.int8)
    repeats["ring"] = np.full(again + double, -1)
    repeats["lot"] = np.full(again + double, -1)
    repeats["temperament"] = rng.random(again + double)
    repeats["submitted_us"] = _later(rng, world, repeats, is_double)
    stranger = is_double & (rng.random(again + double) >= SAME_SELLER)
    for entity in ("seller", "device", "account", "ip"):
        repeats[entity] = np.where(stranger, codes.take(entity, again + double), repeats[entity])
    return repeats


def _day(world: World, cards: Rows) -> np.ndarray:
    return local_day(cards["submitted_us"]) - world.start_day


def _later(rng: np.random.Generator, world: World, cards: Rows, is_double: np.ndarray) -> np.ndarray:
    """A moment on one of the following days, at an hour of the day that fits who comes."""
    day = _day(world, cards)
    most = np.minimum(np.where(is_double, REDEEMED_TWICE_DAYS, THINKS_AGAIN_DAYS), world.days - 1 - day)
    day = day + 1 + (rng.random(len(day)) * most).astype(np.int64)
    count = len(day)
    hour = np.where(
        is_double, rng.choice(24, count, p=world.fraud_hours), rng.choice(24, count, p=HONEST_HOURS)
    )
    return world.start_us + day * DAY_US + ((hour + rng.random(count)) * HOUR_US).astype(np.int64)
