"""The rate table: learnt from a log, JSON, and an answer even when there is no model and no log."""

from __future__ import annotations

import json

import numpy as np

from models.discount.context import card_context
from models.discount.degraded import table_rates
from models.discount.rate_table import RateTable, fit_rate_table
from models.policy import Costs, PricePolicy
from tests.models.discount_market import Market, card, later_market, make_market


def learn(market: Market) -> RateTable:
    return fit_rate_table(
        context=card_context(market.columns, len(market.submitted_at)),
        offered_rate=market.offered_rate,
        submitted_at=market.submitted_at,
    )


def test_table_finds_the_policy_behind_the_log() -> None:
    """Levels, share of competitor match and width of the draw come back from a jittered log."""
    market = make_market(rows=20_000, seed=1)
    table = learn(market)
    unjittered = make_market(rows=20_000, seed=1, jitter=0.0)
    rate, source = table.rate(card_context(market.columns, 20_000))
    known = np.isfinite(market.columns["market_competitor_best"]) & (source == "type_expiry_form")
    assert known.mean() > 0.8
    assert np.abs(rate - unjittered.offered_rate)[known].mean() < 0.003
    assert abs(table.competitor_share - 0.3) < 0.03
    assert abs(table.spread - 0.02 / np.sqrt(3)) < 0.0015


def test_static_log_shows_no_spread() -> None:
    """A price list without movement is recognised as one."""
    assert learn(make_market(rows=8_000, seed=1, jitter=0.0)).spread < 0.002


def test_table_survives_json() -> None:
    """What was written answers the same when read."""
    table = learn(make_market(rows=4_000, seed=2))
    again = RateTable.from_dict(json.loads(json.dumps(table.to_dict())))
    context = card_context(later_market().columns, 2_000)
    assert np.array_equal(table.rate(context)[0], again.rate(context)[0])


def test_degraded_price_needs_no_model() -> None:
    """An empty table gives every card of the market a shown rate inside its band, under its resale value."""
    market = later_market()
    rate, source = table_rates(
        table=RateTable(),
        columns=market.columns,
        face_value_fen=market.face_value_fen,
        costs=Costs(),
        policy=PricePolicy(),
    )
    expired = market.columns["card_is_expired"] == 1
    assert np.all((rate[expired] >= 0.01) & (rate[expired] <= 0.05))
    assert np.all((rate[~expired] >= 0.60) & (rate[~expired] <= 0.97))
    assert np.all(rate < market.resale_expected)
    assert np.array_equal(rate, np.rint(rate * 10_000) / 10_000)
    assert set(source) == {"competitor", "band", "expired"}


def test_degraded_price_of_a_card_nothing_is_known_of() -> None:
    """No market, no catalogue, no log: a fixed rate, and the answer says so."""
    columns = card(
        market_competitor_best=np.nan,
        market_buyer_best=np.nan,
        resale_mean_30d=np.nan,
        resale_category_mean_30d=np.nan,
        card_min_rate=np.nan,
        card_max_rate=np.nan,
    )
    rate, source = table_rates(
        table=RateTable(),
        columns=columns,
        face_value_fen=np.array([50_000]),
        costs=Costs(),
        policy=PricePolicy(),
    )
    assert (rate[0], source[0]) == (0.85, "default")
