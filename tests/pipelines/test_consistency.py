"""What the consistency job takes for known at a moment."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pyarrow as pa

from features.events import Observed
from features.tables import MARKET
from pipelines.consistency import unobserved

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def observed(minutes: int, source: str = "a buyer", side: str = "buyer_bid") -> Observed:
    at = NOON + timedelta(minutes=minutes)
    return Observed(at=at, card_type="jd_ecard", source=source, side=side, rate=0.9)


def market_of(*events: Observed) -> pa.Table:
    rows = [
        {
            "observed_at": event.at,
            "card_type": event.card_type,
            "source": event.source,
            "side": event.side,
            "rate": event.rate,
        }
        for event in events
    ]
    return pa.Table.from_pylist(rows, schema=MARKET.schema)


def test_exactly_the_told_observations_are_taken_out() -> None:
    """Another source, side or minute of the same market stays, in its order."""
    first, other_source = observed(0), observed(0, source="another")
    other_side, later = observed(0, side="competitor_bid"), observed(1)
    market = market_of(first, other_source, other_side, later)
    assert unobserved(market, [first, later]).equals(market.take([1, 2]))
    assert unobserved(market, []).equals(market)
    assert unobserved(market.slice(1), [first]).num_rows == 3


def test_a_market_that_is_not_known_has_no_observations() -> None:
    """No market table at all is no fault."""
    assert unobserved(market_of(), []).num_rows == 0
    assert unobserved(market_of(), [observed(0)]).num_rows == 0
