"""A referee between two price models leans to the one that was right, and to neither one's wishes."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from models.discount.model import Known
from models.evaluation.profit import Outcomes
from models.evaluation.referee import NothingDecided, Referee, fit_referee
from models.policy import Costs, PricePolicy
from tests.models.discount_market import Market, fitted_model, make_market


@cache
def market() -> Market:
    return make_market(rows=6_000, seed=21, from_day=61, days=20)


@cache
def known() -> Known:
    return fitted_model().know(
        columns=market().columns,
        face_value_fen=market().face_value_fen,
        costs=Costs(),
        policy=PricePolicy(),
    )


def outcomes(**changed: np.ndarray) -> Outcomes:
    return replace(
        Outcomes(
            offered_rate=market().offered_rate,
            accepted=market().accepted,
            resale_rate=market().resale_rate,
            fraud=np.full(len(market()), np.nan),
            submitted_at=market().submitted_at,
        ),
        **changed,
    )


def wishful(points: float) -> Known:
    """The same model, but believing that sellers take so much less, whoever they are, and hardly look at the rate."""
    curve = known().curve
    return replace(
        known(),
        curve=replace(curve, location=curve.location - points, steepness=curve.steepness * 0.2),
    )


def referee(**changed: np.ndarray) -> Referee:
    return fit_referee(first=known(), second=wishful(0.05), outcomes=outcomes(**changed))


def true_acceptance(rate: np.ndarray) -> np.ndarray:
    steepness = np.where(market().columns["card_category"] == "fuel", 0.014, 0.026)
    return 1 / (1 + np.exp(-(rate - market().accept_at) / steepness))


def wished() -> Outcomes:
    """What the wishful model expects to happen."""
    chance = wishful(0.05).curve.honest(market().offered_rate)
    return outcomes(accepted=(np.random.default_rng(1).random(len(market())) < chance).astype(np.float64))


def test_acceptance_is_that_of_the_model_that_was_right() -> None:
    """The stack leans to the better curve: the referee is near the truth also at rates that nobody was offered."""
    found = referee()
    assert found.stack.weights[0] > 3 * found.stack.weights[1]
    valid = market().columns["card_is_expired"] == 0
    for move in (-0.03, 0.0, 0.03):
        rate = market().offered_rate + move
        error, wish = (
            abs((acceptance - true_acceptance(rate))[valid].mean())
            for acceptance in (found.honest(rate), wishful(0.05).curve.honest(rate))
        )
        assert error < min(0.04, wish / 2)


def test_a_wish_earns_nothing() -> None:
    """Rates cut by four points pay by the wishful model's own account, and lose by the referee's and the truth."""
    found = referee()
    cut, fair = market().offered_rate - 0.04, market().offered_rate
    believed = fit_referee(first=wishful(0.05), second=wishful(0.05), outcomes=wished())
    assert believed.value_fen(cut).mean() > believed.value_fen(fair).mean()
    assert found.value_fen(cut).mean() < found.value_fen(fair).mean()
    profit = found.economics.honest_profit_fen
    assert (true_acceptance(cut) * profit(cut)).mean() < (true_acceptance(fair) * profit(fair)).mean()


def test_resale_is_what_was_paid_or_a_corrected_estimate() -> None:
    """A resold card counts with its rate; the others with the estimate, its mean error taken out."""
    gloomy = replace(known(), resale=replace(known().resale, mean=known().resale.mean - 0.03))
    found = fit_referee(first=gloomy, second=gloomy, outcomes=outcomes()).economics.resale_mean
    resold = np.isfinite(market().resale_rate)
    np.testing.assert_array_equal(found[resold], market().resale_rate[resold])
    assert abs((found - market().resale_expected)[~resold].mean()) < 0.004


def test_known_fraud_is_lost_at_any_rate_and_known_honesty_is_safe() -> None:
    """In a week whose labels are complete, a card that was fraud loses its payout at any rate, and no other loses."""
    fraud = np.where(market().accepted == 1, 0.0, np.nan)
    row = int(np.flatnonzero(market().accepted == 1)[0])
    fraud[row] = 1.0
    found = referee(fraud=fraud)
    rate = market().offered_rate - 0.05
    assert found.pricing(rate).acceptance[row] == 1.0
    np.testing.assert_allclose(found.value_fen(rate)[row], -found.economics.fraud_loss_fen(rate)[row])
    assert found.economics.fraud_share.sum() == 1.0


def test_few_labels_are_not_taken_for_all() -> None:
    """Where only the frauds of a week are known yet, the share of fraud stays what the models expect."""
    fraud = np.where(np.arange(len(market())) % 50 == 0, 1.0, np.nan)
    np.testing.assert_array_equal(referee(fraud=fraud).economics.fraud_share, known().economics.fraud_share)


def test_pricing_and_value_say_the_same() -> None:
    """Acceptance, profit once accepted and the fixed part, as off-policy estimates take them, add up to the value."""
    found, rate = referee(), market().offered_rate
    priced = found.pricing(rate)
    value = priced.fixed_fen + priced.acceptance * priced.profit_fen
    np.testing.assert_allclose(value, found.value_fen(rate))


def test_no_offer_earns_nothing() -> None:
    """NaN as a rate means no offer."""
    rate = np.where(np.arange(len(market())) == 0, np.nan, market().offered_rate)
    assert referee().value_fen(rate)[0] == 0.0


def test_without_decisions_there_is_no_referee() -> None:
    """A log without answers of sellers is refused by name."""
    with pytest.raises(NothingDecided):
        referee(accepted=np.full(len(market()), np.nan))
