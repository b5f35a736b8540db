"""The rate table: learnt from a log, JSON, and an answer even when there is no model and no log."""

from __future__ import annotations

import json

import numpy as np
import pytest

from models.discount.context import card_context
from models.discount.degraded import table_rates
from models.discount.rate_table import RateTable, fit_rate_table
from models.policy import Costs, PricePolicy
from tests.models.discount_market import Market, card, cards, later_market, make_market


def learn(market: Market) -> RateTable:
    return fit_rate_table(
        context=card_context(market.columns, len(market.submitted_at)),
        offered_rate=market.offered_rate,
        submitted_at=market.submitted_at,
    )


def test_table_finds_the_policy_behind_the_log() -> None:
    """Levels and the share of competitor match come back from a jittered log."""
    market = make_market(rows=20_000, seed=1)
    table = learn(market)
    unjittered = make_market(rows=20_000, seed=1, jitter=0.0)
    rate, source = table.rate(card_context(market.columns, 20_000))
    known = np.isfinite(market.columns["market_competitor_best"]) & (source == "type_expiry_form")
    assert known.mean() > 0.8
    assert np.abs(rate - unjittered.offered_rate)[known].mean() < 0.003
    assert abs(table.competitor_share - 0.3) < 0.03


def logged(*, days: np.ndarray, rate: np.ndarray, form: str | None = "virtual") -> RateTable:
    """The table of a log of one card type."""
    rows = len(days)
    columns = cards(card_days_to_expiry=days) | {"card_form": np.full(rows, form, dtype=object)}
    return fit_rate_table(
        context=card_context(columns, rows), offered_rate=rate, submitted_at=np.zeros(rows, dtype=np.int64)
    )


def rates_of(table: RateTable, days: np.ndarray, **known: object) -> np.ndarray:
    same = cards(card_days_to_expiry=days)
    changed = {
        name: np.full(len(days), value, dtype=object if isinstance(value, str) else np.float64)
        for name, value in known.items()
    }
    return table.rate(card_context(same | changed, len(days)))[0]


@pytest.mark.parametrize("form", ["virtual", "physical", "never_logged"])
def test_rates_do_not_fall_with_days_to_expiry(form: str) -> None:
    """Whatever the log says: an odd cell, a small one, one that is missing, or an order turned round."""
    rng = np.random.default_rng(0)
    days = np.concatenate([rng.integers(0, 30, 500), rng.integers(30, 90, 40), rng.integers(90, 900, 2_000)])
    for shift in (0.03, 0.0, -0.03):
        rate = np.where(days < 30, 0.80 + shift, np.where(days < 90, 0.74, 0.80)) + rng.uniform(
            -0.02, 0.02, len(days)
        )
        table = logged(days=days.astype(np.float64), rate=rate)
        found = rates_of(table, np.arange(0.0, 900.0), card_form=form)
        assert np.all(np.diff(found) >= 0)
        assert 0.74 < found[0] <= found[-1] < 0.84
    only_fresh = logged(days=np.full(200, 400.0), rate=np.full(200, 0.8))
    np.testing.assert_allclose(rates_of(only_fresh, np.array([5.0, 50.0, 500.0]), card_form=form), 0.8)


def test_cells_in_order_are_left_alone() -> None:
    """A log whose rates rise with the days keeps its means."""
    days = np.repeat([10.0, 60.0, 400.0], 100)
    table = logged(days=days, rate=np.repeat([0.70, 0.75, 0.80], 100))
    np.testing.assert_allclose(rates_of(table, np.array([10.0, 60.0, 400.0])), (0.70, 0.75, 0.80))


def test_expired_cards_never_lend_their_price() -> None:
    """Cheap expired cards in the log change no rate of valid ones, and an expired card reads only theirs."""
    days = np.concatenate([np.full(300, -5.0), np.full(300, 200.0)])
    table = logged(days=days, rate=np.where(days < 0, 0.03, 0.8))
    np.testing.assert_allclose(rates_of(table, np.array([-20.0, 10.0, 200.0])), (0.03, 0.8, 0.8))


def test_rate_rises_with_the_competitors_bid() -> None:
    """The followed share of a competitor's move is never negative, with a log and without."""
    bids = np.linspace(0.7, 0.95, 200)
    for table in (learn(make_market(rows=4_000, seed=2)), RateTable()):
        columns = cards(market_competitor_best=bids)
        assert np.all(np.diff(table.rate(card_context(columns, 200))[0]) >= 0)


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
