"""The pooled logit finds what moves sellers, in believable directions, and guesses nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.discount.context import CardContext, card_context
from models.discount.link import sigmoid
from models.discount.pooled import MIN_SLOPE, PooledLogit, UsualOffers, fit_pooled
from models.discount.resale import ResaleEstimate

ROWS = 12_000
PRIOR = PooledLogit()


def always(rows: int) -> np.ndarray:
    return np.full(rows, 0.85)


def context_of(rows: int, **columns: np.ndarray) -> CardContext:
    plain = {"card_type": np.full(rows, "any", dtype=object), "card_face_cny": np.full(rows, 300.0)}
    return card_context(plain | columns, rows)


def resale_of(mean: np.ndarray, anchor: np.ndarray | None = None) -> ResaleEstimate:
    """Resale estimates of cards in the condition that the anchor rate is for, unless it is given."""
    anchor = mean if anchor is None else anchor
    source = np.full(len(mean), "any", dtype=object)
    return ResaleEstimate(*[mean] * 6, usual_width=np.zeros(len(mean)), anchor_rate=anchor, anchor=source)


def decide(logit: np.ndarray, *, floor: float = 0.0) -> np.ndarray:
    chance = floor + (1 - floor) * sigmoid(logit)
    return (np.random.default_rng(9).random(len(logit)) < chance).astype(np.float64)


def curve(
    model: PooledLogit, context: CardContext, resale: ResaleEstimate, usual: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    return model.curve(context=context, resale=resale, usual=offers_of(len(context), usual))


def offers_of(rows: int, usual: np.ndarray | None, kind: np.ndarray | None = None) -> UsualOffers:
    """Usual offers, of which nobody told that cards of a kind differ."""
    of_card = always(rows) if usual is None else usual
    return UsualOffers(of_card, of_card if kind is None else kind)


def fit(
    context: CardContext,
    *,
    resale: np.ndarray,
    rate: np.ndarray,
    accepted: np.ndarray,
    usual: np.ndarray | None = None,
    kind: np.ndarray | None = None,
    floor: float = 0.0,
    slopes_known: bool = True,
) -> PooledLogit:
    return fit_pooled(
        context=context,
        resale=resale_of(resale),
        usual=offers_of(len(rate), usual, kind),
        floor=np.full(len(rate), floor),
        rate=rate,
        accepted=accepted,
        slopes_known=slopes_known,
    )[0]


def test_known_slopes_and_levels_come_back() -> None:
    """With prices that move, the fit finds the slopes and the place of each type, fraudsters set aside."""
    rng = np.random.default_rng(0)
    resale, competitor = rng.normal(0.9, 0.03, ROWS), rng.normal(0.85, 0.03, ROWS)
    rate = 0.85 + rng.uniform(-0.05, 0.05, ROWS)
    kind, level = rng.integers(0, 6, ROWS), 1.2 * rng.normal(size=6)
    logit = 0.8 + level[kind] + 1.2 * (rate - resale) / 0.05 + 0.9 * (rate - competitor) / 0.05
    names = np.array([f"type_{number}" for number in kind], dtype=object)
    context = context_of(ROWS, market_competitor_best=competitor, card_type=names)
    found = fit(context, resale=resale, rate=rate, accepted=decide(logit, floor=0.05), floor=0.05)
    np.testing.assert_allclose((found.resale_slope, found.competitor_slope), (1.2, 0.9), atol=0.15)
    location, log_steepness = curve(found, context, resale_of(resale))
    truth = (1.2 * resale + 0.9 * competitor - 0.05 * (0.8 + level[kind])) / 2.1
    assert np.abs(location - truth).mean() < 0.004
    np.testing.assert_allclose(np.exp(log_steepness), 2.1, atol=0.15)


def test_usual_offers_say_what_sellers_expect_where_bids_and_resales_are_noisy() -> None:
    """With the usual offer beside two blurred views of the market, the reaction to a rate is as steep as it is."""
    rng = np.random.default_rng(3)
    market = rng.normal(0.85, 0.03, ROWS)
    resale, competitor = market + 0.05 + rng.normal(0, 0.01, ROWS), market + rng.normal(0, 0.01, ROWS)
    usual = market + 0.01
    rate = usual + rng.uniform(-0.02, 0.02, ROWS)
    context = context_of(ROWS, market_competitor_best=competitor)
    accepted = decide(3.0 * (rate - market) / 0.05)
    seen = fit(context, resale=resale, usual=usual, rate=rate, accepted=accepted)
    blind = fit(context, resale=resale, rate=rate, accepted=accepted)
    assert blind.slope < 2.6
    assert seen.slope == pytest.approx(3.0, abs=0.25)
    assert np.abs(curve(seen, context, resale_of(resale), usual)[0] - market).mean() < 0.002


def test_sellers_may_feel_less_of_a_short_validity_than_the_log_took_off_for_it() -> None:
    """The log takes eight points off for cards that soon expire, sellers expect four less: what it offers for the kind
    is followed, and of the difference half; the order of prices stays."""
    rng = np.random.default_rng(4)
    market, days = rng.normal(0.85, 0.03, ROWS), rng.integers(1, 200, ROWS).astype(np.float64)
    short = days < 30
    kind, usual, place = market, market - 0.08 * short, market - 0.04 * short
    rate = usual + rng.uniform(-0.02, 0.02, ROWS)
    context = context_of(ROWS, card_days_to_expiry=days)
    resale = market + rng.normal(0, 0.02, ROWS)
    accepted = decide(3.0 * (rate - place) / 0.05)
    found = fit(context, resale=resale, usual=usual, kind=kind, rate=rate, accepted=accepted)
    assert found.usual_slope / (found.usual_slope + found.kind_slope) == pytest.approx(0.5, abs=0.1)
    seen, _ = found.curve(context=context, resale=resale_of(resale), usual=UsualOffers(usual, kind))
    assert np.abs(seen - place)[short].mean() < 0.005
    blind = fit(context, resale=resale, usual=usual, rate=rate, accepted=accepted)
    taken, _ = curve(blind, context, resale_of(resale), usual)
    assert np.abs(taken - place)[short].mean() > 0.015


def log_with(face_effect: float, days_effect: float) -> tuple[CardContext, PooledLogit]:
    """A log in which sellers' rate rises by so much with ten times the face value, and with 90 days to go."""
    rng = np.random.default_rng(1)
    face, days = rng.choice([50.0, 100.0, 500.0, 1000.0], ROWS), rng.integers(0, 400, ROWS).astype(np.float64)
    resale, rate = np.full(ROWS, 0.9), 0.86 + rng.uniform(-0.04, 0.04, ROWS)
    place = 0.86 + face_effect * np.log10(face / 300) + days_effect * (days >= 90)
    context = context_of(ROWS, card_face_cny=face, card_days_to_expiry=days)
    accepted = decide(2.5 * (rate - place) / 0.05)
    return context, fit(context, resale=resale, rate=rate, accepted=accepted)


def places(model: PooledLogit, **columns: np.ndarray) -> np.ndarray:
    rows = len(next(iter(columns.values())))
    return curve(model, context_of(rows, **columns), resale_of(np.full(rows, 0.9)))[0]


def test_effect_of_face_and_days_is_found() -> None:
    """Where sellers of large cards and of fresh cards ask for more, the place says by how much."""
    _, found = log_with(0.02, 0.03)
    face = places(found, card_face_cny=np.array([100.0, 1000.0]), card_days_to_expiry=np.full(2, 200.0))
    days = places(found, card_days_to_expiry=np.array([60.0, 200.0]))
    assert 0.013 < face[1] - face[0] < 0.027
    assert 0.022 < days[1] - days[0] < 0.036


@pytest.mark.parametrize("effect", [0.02, 0.0, -0.03])
def test_place_never_falls_with_face_or_days(effect: float) -> None:
    """Even where the log says that sellers of large or fresh cards ask for less, the place does not fall."""
    _, found = log_with(effect, effect)
    faces, days = np.arange(10.0, 3_000.0, 5.0), np.arange(0.0, 800.0)
    assert np.all(np.diff(places(found, card_face_cny=faces)) >= 0)
    assert np.all(np.diff(places(found, card_days_to_expiry=days)) >= 0)


@settings(deadline=None)
@given(resale=st.floats(0.5, 1.1), competitor=st.floats(0.5, 1.1), step=st.floats(0.0, 0.1))
def test_place_follows_resale_and_competitor(resale: float, competitor: float, step: float) -> None:
    """The place lies between both, a level aside, and rises with either."""
    model = replace(PRIOR, resale_slope=1.3, competitor_slope=0.7)

    def place(resale: float, competitor: float) -> float:
        context = context_of(1, market_competitor_best=np.array([competitor]))
        return curve(model, context, resale_of(np.array([resale])))[0][0]

    assert place(resale + step, competitor) >= place(resale, competitor)
    assert place(resale, competitor + step) >= place(resale, competitor)
    both = place(resale + step, competitor + step) - place(resale, competitor)
    assert both == pytest.approx(step, abs=1e-12)


def test_a_bid_counts_for_the_card_in_its_condition() -> None:
    """A card that resells three points under its like is compared with a bid three points lower."""
    context = context_of(2, market_competitor_best=np.array([0.86, 0.83]))
    worn = resale_of(np.full(2, 0.87), anchor=np.array([0.9, 0.87]))
    location = curve(PRIOR, context, worn)[0]
    assert location[0] == pytest.approx(location[1], abs=1e-12)


def test_log_without_price_movement_keeps_usual_slopes() -> None:
    """One rate for all: the slopes stay near the prior's, or at it, and the level fits the share of acceptances."""
    rate = np.full(4_000, 0.85)
    context = context_of(4_000, market_competitor_best=np.full(4_000, 0.86))
    accepted = decide(np.full(4_000, 0.7))
    for slopes_known, tolerance in ((True, 0.8), (False, 1e-3)):
        found = fit(
            context, resale=np.full(4_000, 0.9), rate=rate, accepted=accepted, slopes_known=slopes_known
        )
        assert found.slope == pytest.approx(2.5, abs=tolerance)
        location, steepness = curve(found, context, resale_of(np.full(4_000, 0.9)))
        chance = sigmoid(np.exp(steepness) * (rate - location) / 0.05)
        assert chance.mean() == pytest.approx(accepted.mean(), abs=0.01)


def test_log_that_turns_the_reaction_round_gets_the_usual_slopes() -> None:
    """Higher offers were refused more often: such slopes are not believed, the prior's are used as they are."""
    rng = np.random.default_rng(2)
    rate = rng.uniform(0.8, 0.9, 4_000)
    context = context_of(4_000, market_competitor_best=np.full(4_000, 0.86))
    accepted = decide(np.where(rate > 0.85, -1.5, 1.0))
    found = fit(context, resale=np.full(4_000, 0.9), rate=rate, accepted=accepted)
    assert found.resale_slope == pytest.approx(PRIOR.resale_slope, abs=1e-3)
    assert found.competitor_slope == pytest.approx(PRIOR.competitor_slope, abs=1e-3)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000), spread=st.sampled_from([0.0, 0.001, 0.05]), effect=st.floats(-3, 3))
def test_slopes_are_never_negative(seed: int, spread: float, effect: float) -> None:
    """Whatever the log, all slopes are at least 0 and their sum is believable."""
    rng = np.random.default_rng(seed)
    resale, competitor = rng.normal(0.9, 0.02, 1_500), rng.normal(0.86, 0.02, 1_500)
    rate = 0.5 * (resale + competitor) - 0.03 + rng.uniform(-1, 1, 1_500) * spread
    context = context_of(1_500, market_competitor_best=np.where(rng.random(1_500) < 0.2, np.nan, competitor))
    found = fit(context, resale=resale, rate=rate, accepted=decide(effect * (rate - 0.85) / 0.05))
    assert min(found.resale_slope, found.competitor_slope, found.usual_slope, found.kind_slope) >= 0
    assert found.slope >= MIN_SLOPE
    assert np.isfinite([found.intercept, *found.weights.values()]).all()


def test_card_never_seen_weighs_nothing() -> None:
    """A type, category and form that the log never had get the place of the common inputs alone."""
    context, found = log_with(0.02, 0.02)
    unseen = replace(context, card_type=np.full(ROWS, "new", dtype=object), category=np.full(ROWS, "new"))
    location, _ = curve(found, unseen, resale_of(np.full(ROWS, 0.9)))
    usual, _ = curve(found, context, resale_of(np.full(ROWS, 0.9)))
    assert np.isfinite(location).all()
    assert np.abs(location - usual).max() < 0.05


def test_prior_puts_half_of_the_acceptances_where_it_says() -> None:
    """Half accept at the competitor's bid if it lies five points under resale, and five points under it without one."""
    context = context_of(2, market_competitor_best=np.array([0.85, np.nan]))
    location, log_steepness = curve(PRIOR, context, resale_of(np.full(2, 0.9)))
    np.testing.assert_allclose(location, (0.85, 0.85), atol=0.001)
    np.testing.assert_allclose(np.exp(log_steepness), 2.5)
