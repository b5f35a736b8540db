"""Fitting: what a log cannot carry stands on a documented default, and the model says so."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.discount.training import (
    ACCEPTANCE_PRIOR,
    FRAUD_SHARE_BY_TYPE,
    RATE_TABLE_UNLOGGED,
    TooFewResales,
    fit_discount,
    spread,
)
from tests.models.discount_market import (
    DAY_MS,
    SETTINGS,
    Market,
    card,
    fit_market,
    fitted_model,
    later_market,
    make_market,
    price,
    price_cards,
)


def test_usual_log_carries_every_part_but_the_fraud_share() -> None:
    """A log with offers, decisions and resales but without labels falls back for fraud alone."""
    assert fitted_model().training.fallbacks == (FRAUD_SHARE_BY_TYPE,)
    assert fitted_model().training.offer_rows == 8_000


def test_entirely_unknown_columns_still_train_and_price() -> None:
    """A user without market or label data gets a model all the same."""
    market = make_market(rows=3_000, seed=3)
    for name in market.names:
        if name.startswith("market_") or name == "kind_fraud_rate_30d":
            market.columns[name][:] = np.nan
    model = fit_market(market)
    assert model.training.fallbacks == (FRAUD_SHARE_BY_TYPE,)
    assert np.isfinite(price(model, market).rate).all()


def test_log_without_offers_fits_resale_and_says_so() -> None:
    """Price data without offers: resale is learnt, acceptance and rate table stand on documented defaults."""
    market = make_market(rows=3_000, seed=3)
    market.offered_rate[:] = np.nan
    model = fit_market(market)
    assert model.training.fallbacks == (ACCEPTANCE_PRIOR, RATE_TABLE_UNLOGGED, FRAUD_SHARE_BY_TYPE)
    offers = price(model, later_market())
    assert np.isfinite(offers.rate).all()
    valid = later_market().columns["card_is_expired"] == 0
    assert 0.01 < np.mean((later_market().resale_expected - offers.rate)[valid]) < 0.12


def test_log_for_which_the_pooled_logit_is_best_has_not_fallen_back() -> None:
    """Where no tree improves on the pooled logit, acceptance was still learnt from the log."""
    market = make_market(rows=4_000, seed=3)
    no_trees = replace(SETTINGS.acceptance, min_rows_per_leaf=4_000)
    model = fit_market(market, replace(SETTINGS, acceptance=no_trees))
    assert model.acceptance.pooled.weights
    assert ACCEPTANCE_PRIOR not in model.training.fallbacks


@pytest.mark.parametrize("decisions", ["few", "one_sided"])
def test_too_few_decisions_leave_the_prior(decisions: str) -> None:
    """With few offers, or hardly any refusal among them, acceptance is not learnt."""
    market = make_market(rows=1_500, seed=3)
    market.accepted[:] = market.accepted if decisions == "few" else 1.0
    if decisions == "few":
        market.accepted[:600] = np.nan
    assert ACCEPTANCE_PRIOR in fit_market(market).training.fallbacks


def test_too_few_resales_are_refused() -> None:
    """Without resale rates there is nothing to learn a value from: a named refusal with the counts."""
    market = make_market(rows=500, seed=4)
    market.resale_rate[np.flatnonzero(np.isfinite(market.resale_rate))[27:]] = np.nan
    with pytest.raises(TooFewResales, match="27 trades with a resale rate, at least 200 needed"):
        fit_market(market)


def test_order_of_training_rows_does_not_matter() -> None:
    """The fit sorts by time itself."""
    market = make_market(rows=2_000, seed=6)
    shuffled = market.rows(np.random.default_rng(1).permutation(2_000))
    assert np.array_equal(
        price(fit_market(market), later_market()).rate, price(fit_market(shuffled), later_market()).rate
    )


def stretched(market: Market, days: int) -> Market:
    """The market with its submissions spread over so many days, and a distance to a festival beside the columns."""
    first = market.submitted_at[0]
    factor = days * DAY_MS / (market.submitted_at[-1] - first)
    submitted_at = first + ((market.submitted_at - first) * factor).astype(np.int64)
    resold_at = np.where(market.resold_at < 0, -1, submitted_at + market.resold_at - market.submitted_at)
    festival = (submitted_at // DAY_MS % 365).astype(np.float64)
    columns = market.columns | {"time_days_to_spring_festival": festival}
    return replace(market, submitted_at=submitted_at, resold_at=resold_at, columns=columns)


@pytest.mark.parametrize(("days", "known"), [(60, False), (800, True)])
def test_calendar_is_learnt_only_from_two_seasons(days: int, known: bool) -> None:
    """In a short log the days to a festival are only another name of the date, so they are left out."""
    model = fit_market(stretched(make_market(rows=2_000, seed=7), days))
    assert ("time_days_to_spring_festival" in model.training.names) == known


def test_expired_cards_are_priced_in_their_band_without_any_in_the_log() -> None:
    """A log that never saw an expired card does not value it as a valid one."""
    market = make_market(rows=3_000, seed=5)
    model = fit_market(market.rows(market.columns["card_is_expired"] == 0))
    offer = price_cards(card(card_is_expired=1.0, card_days_to_expiry=-20.0), model=model)
    assert 0.01 <= offer.rate[0] <= 0.05
    assert offer.anchor[0] == "expired"


def test_names_choose_the_inputs() -> None:
    """Columns that are not named are not learnt from, though they stand in the table."""
    market = make_market(rows=2_000, seed=6)
    market.columns["luck"] = np.nan_to_num(market.resale_rate)
    names = tuple(name for name in market.names if name != "luck")
    model = fit_discount(
        columns=market.columns,
        names=names,
        submitted_at=market.submitted_at,
        offered_rate=market.offered_rate,
        accepted=market.accepted,
        resale_rate=market.resale_rate,
        resold_at=market.resold_at,
        settings=SETTINGS,
    )
    assert model.training.names == names
    assert "luck" not in model.resale.encoding.names
    assert "market_spread" not in model.resale.encoding.names


def test_long_log_is_thinned_where_it_is_old() -> None:
    """The newest half stays whole, the other half lies evenly over all that is older; a short log stays as it is."""
    rows = np.arange(0, 20_000, 2)
    chosen = spread(rows, 1_000)
    assert len(np.unique(chosen)) == 1_000
    assert np.isin(chosen, rows).all()
    assert np.array_equal(chosen[-500:], rows[-500:])
    assert chosen[0] == 0
    assert np.ptp(np.diff(chosen[:500])) <= 2
    assert np.array_equal(spread(rows, 10_000), rows)


def test_thinned_log_still_fits() -> None:
    """A fit on a quarter of the log prices nearly as the whole log does, and says how much it had."""
    market = make_market(rows=8_000, seed=3)
    thin = fit_market(market, settings=replace(SETTINGS, most_rows=2_000))
    offers, usual = price(thin, later_market()), price(fit_market(market), later_market())
    assert thin.training.offer_rows == 8_000
    assert np.abs(offers.resale_mean - usual.resale_mean).mean() < 0.005
    assert np.abs(offers.rate - usual.rate).mean() < 0.012
