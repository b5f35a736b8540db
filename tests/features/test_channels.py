"""Best and worst channel of a card type: the same live and for the rows of a file, absurd and stale bids left out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from features.catalogue import load_catalogue
from features.channels import Extremes, best_and_worst, channels_of, extremes_at
from features.events import Record
from features.rows import to_microseconds
from tests.features.replay import live
from tests.features.test_credibility import (
    BANDED,
    BANDLESS,
    NOON,
    ROWS,
    Row,
    market_of,
    observed,
    probes,
)


def of_rows(
    rows: Sequence[Row], moments: Sequence[datetime], card_type: str = BANDED
) -> list[Extremes | None]:
    """Extremes at each moment, from the market table."""
    return extremes_at(
        market_of(rows, card_type),
        card_types=np.array([card_type] * len(moments), dtype=object),
        moments=np.array([to_microseconds(moment) for moment in moments], dtype=np.int64),
        catalogue=load_catalogue(),
    )


@settings(max_examples=100, deadline=None)
@given(rows=ROWS, card_type=st.sampled_from([BANDED, BANDLESS]))
def test_rows_of_a_file_and_a_live_trade_see_the_same_extremes(rows, card_type):
    """At any moment the file's extremes are those of the live answer and those of the channels shown to people."""
    market = market_of(rows, card_type)
    seen = market["observed_at"].to_pylist()
    moments = sorted({NOON, *(at + timedelta(microseconds=nudge) for at in seen for nudge in (0, 1))})
    found = of_rows(rows, moments, card_type)
    features, told = live(), observed(market)
    for trade, extremes in zip(probes(moments, card_type).to_pylist(), found, strict=True):
        while told and told[0].at < trade["submitted_at"]:
            features.apply([Record(len(rows) - len(told) + 1, told[0])], now=NOON)
            told.pop(0)
        assert features.answer(trade, names=()).extremes == extremes
        shown = channels_of(market, card_type=card_type, at=trade["submitted_at"], catalogue=load_catalogue())
        assert extremes == (best_and_worst(shown, "buyer_bid") or best_and_worst(shown, "competitor_bid"))


def test_stale_and_absurd_bids_are_neither_best_nor_worst():
    """A bid of last week, one ten times too low and one far from the others do not count; the rest are named."""
    rows: list[Row] = [
        (200.0, "stale", "buyer_bid", 0.99),
        (1.0, "slip", "buyer_bid", 0.094),
        (2.0, "far", "buyer_bid", 0.59),
        (3.0, "high", "buyer_bid", 0.95),
        (3.0, "middle", "buyer_bid", 0.93),
        (3.0, "low", "buyer_bid", 0.91),
        (1.0, "rival", "competitor_bid", 0.97),
    ]
    (found,) = of_rows(rows, [NOON])
    assert found is not None
    assert (found.best.source, found.best.rate, found.best.side) == ("high", 0.95, "buyer_bid")
    assert (found.worst.source, found.worst.rate) == ("low", 0.91)
    assert found.spread == 0.95 - 0.91
    assert found.best.observed_at == NOON - timedelta(hours=3)


def test_competitors_are_shown_where_no_buyer_bids():
    """Without a credible buyer best and worst are those of the competitors; without anybody there are none."""
    alone: list[Row] = [(1.0, "rival", "competitor_bid", 0.9), (300.0, "gone", "buyer_bid", 0.95)]
    (found,) = of_rows(alone, [NOON])
    assert found is not None
    assert found.best == found.worst
    assert (found.best.side, found.spread) == ("competitor_bid", 0.0)
    assert of_rows(alone, [NOON + timedelta(days=9)]) == [None]
    assert of_rows([], [NOON]) == [None]
    assert of_rows(alone, []) == []


def test_each_row_of_a_file_is_as_of_its_own_moment():
    """Rows in any order, of several card types, each see what was told before them and nothing of later."""
    rows: list[Row] = [(5.0, "first", "buyer_bid", 0.90), (3.0, "second", "buyer_bid", 0.94)]
    moments = [NOON, NOON - timedelta(hours=4), NOON - timedelta(hours=6)]
    latest, between, before = of_rows(rows, moments)
    assert latest is not None
    assert between is not None
    assert (latest.best.source, latest.worst.source, between.best.source) == ("second", "first", "first")
    assert before is None
    other = extremes_at(
        market_of(rows),
        card_types=np.array(["sinopec_fuel", BANDED], dtype=object),
        moments=np.full(2, to_microseconds(NOON)),
        catalogue=load_catalogue(),
    )
    assert other == [None, latest]
