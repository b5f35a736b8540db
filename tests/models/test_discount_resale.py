"""The resale estimate: close, in order, honest about its range, and steady when the market moves."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from models.discount.context import card_context
from models.discount.model import DiscountModel
from models.discount.resale import ResaleEstimate, ResaleModel
from tests.models.discount_market import (
    Market,
    card,
    cards,
    fit_market,
    fitted_model,
    later_market,
    make_market,
    stubborn_model,
)

BOUNDS = ("p05", "p10", "p50", "p90", "p95")
MODELS = pytest.mark.parametrize("model", [fitted_model, stubborn_model], ids=["usual", "stubborn"])


def estimate_of(market: Market, model: ResaleModel | None = None) -> ResaleEstimate:
    return (model or fitted_model().resale).estimate(columns=market.columns, context=market.context)


def of_cards(model: DiscountModel, columns: dict[str, np.ndarray]) -> ResaleEstimate:
    return model.resale_estimate(columns=columns, rows=len(columns["card_type"]))


def test_mean_is_close_to_the_truth() -> None:
    """On later trades the mean is within a point of the truth."""
    market = later_market()
    assert np.abs(estimate_of(market).mean - market.resale_expected).mean() < 0.006


@MODELS
def test_bounds_are_in_order(model) -> None:
    """p05 <= p10 <= p50 <= p90 <= p95 on every row, inside the bounds of a resale rate."""
    estimate = estimate_of(later_market(), model().resale)
    bounds = np.stack([getattr(estimate, name) for name in BOUNDS])
    assert np.all(np.diff(bounds, axis=0) >= 0)
    assert np.all((bounds >= 0) & (bounds <= 1.5))
    assert np.all(estimate.usual_width >= 0)


def test_ranges_cover_later_resales() -> None:
    """The 80 % and the 90 % range hold on weeks the model never saw, for valid cards of every category too."""
    market = make_market(rows=8_000, seed=12, from_day=61, days=20)
    estimate, sold = estimate_of(market), np.isfinite(market.resale_rate)
    inside80 = (market.resale_rate >= estimate.p10) & (market.resale_rate <= estimate.p90)
    inside90 = (market.resale_rate >= estimate.p05) & (market.resale_rate <= estimate.p95)
    assert 0.76 <= inside80[sold].mean() <= 0.85
    assert 0.87 <= inside90[sold].mean() <= 0.94
    for category in ("retail", "fuel"):
        assert inside80[sold & (market.columns["card_category"] == category)].mean() > 0.74


def test_recalibration_restores_the_range_after_a_shock() -> None:
    """When resale prices grow three times as noisy, ten days of resales bring most of the coverage back; the mean
    stays."""
    shocked = make_market(rows=3_000, seed=13, from_day=61, days=20)
    outcome = shocked.resale_expected + np.random.default_rng(0).normal(0, 0.03, 3_000)
    recent, later = shocked.rows(slice(0, 1_500)), shocked.rows(slice(1_500, None))
    rolled = fitted_model().resale.recalibrated(
        columns=recent.columns,
        context=recent.context,
        resale_rate=outcome[:1_500],
        submitted_at=recent.submitted_at,
        resold_at=recent.submitted_at + 1,
    )
    before, after = estimate_of(later), estimate_of(later, rolled)
    coverage = [
        ((outcome[1_500:] >= found.p10) & (outcome[1_500:] <= found.p90)).mean() for found in (before, after)
    ]
    assert coverage[0] < 0.6
    assert 0.70 <= coverage[1] <= 0.87
    assert np.array_equal(before.mean, after.mean)


@pytest.mark.parametrize(
    ("unknown", "anchor"),
    [
        ((), "buyer_best"),
        (("market_buyer_best",), "resale_mean"),
        (("market_buyer_best", "resale_mean_30d"), "category_mean"),
        (("market_buyer_best", "resale_mean_30d", "resale_category_mean_30d"), "band_middle"),
    ],
)
def test_type_never_seen_is_answered_and_flagged(unknown: tuple[str, ...], anchor: str) -> None:
    """A type without any resale gets an estimate near its anchor, and the answer says so."""
    columns = card(card_type="brand_new", **dict.fromkeys(unknown, np.nan))
    model = fitted_model().resale
    estimate = of_cards(fitted_model(), columns)
    assert model.never_seen(card_context(columns, 1))[0]
    assert not model.never_seen(card_context(card(), 1))[0]
    assert estimate.anchor[0] == anchor
    assert abs(estimate.mean[0] - estimate.anchor_rate[0]) < 0.04
    assert estimate.p05[0] < estimate.mean[0] < estimate.p95[0]


def market_with_a_rare_type() -> Market:
    """Of one fuel card type only twenty cards were offered, and all of them resold."""
    market = make_market(rows=6_000, seed=14)
    of_type = market.columns["card_type"] == "type_6"
    sold = np.flatnonzero(of_type & np.isfinite(market.resale_rate))[:20]
    return market.rows(np.sort(np.concatenate([sold, np.flatnonzero(~of_type)])))


def test_type_seen_twenty_times_is_pooled_with_its_category() -> None:
    """Twenty resales do not make a type of its own: its range is its category's, its mean follows its market."""
    model = fit_market(market_with_a_rare_type()).resale
    later = make_market(rows=2_000, seed=15, from_day=61, days=10)
    later = later.rows((later.columns["card_type"] == "type_6") & (later.columns["card_is_expired"] == 0))
    estimate = estimate_of(later, model)
    assert not model.never_seen(later.context).any()
    assert np.abs(estimate.mean - later.resale_expected).mean() < 0.01
    own, wider = model.ranges.of(later.context)[0][0], model.ranges.quantiles["category/fuel/valid"]
    np.testing.assert_allclose(own, wider, rtol=0.05, atol=0.05)


@MODELS
@pytest.mark.parametrize("fact", ["days", "face", "competitor"])
def test_mean_rises_with_days_face_and_bids(model, fact: str) -> None:
    """No step of the mean goes down along days to expiry, face value or competitors' bids."""
    for known in ({}, {"card_type": "type_6", "card_category": "fuel"}, {"market_buyer_best": np.nan}):
        line = {
            "days": {"card_days_to_expiry": np.arange(0.0, 700.0)},
            "face": {
                "card_face_cny": np.arange(10.0, 1_200.0),
                "card_face_of_max": np.arange(10.0, 1_200.0) / 1_000,
            },
            "competitor": {
                "market_competitor_best": np.linspace(0.7, 1.0, 600),
                "market_competitor_mean": np.linspace(0.69, 0.99, 600),
                "market_competitor_level": np.linspace(0.695, 0.995, 600),
                "market_competitor_momentum": np.linspace(-0.15, 0.15, 600),
            },
        }[fact]
        rows = len(next(iter(line.values())))
        same = {name: np.repeat(column, rows) for name, column in card(**known).items()}
        assert np.all(np.diff(of_cards(model(), same | line).mean) >= 0)


def test_days_and_face_are_read_where_they_matter() -> None:
    """Two points less for the last month, and more for a large card, as the market has it."""
    fresh = of_cards(fitted_model(), cards(card_days_to_expiry=np.array([10.0, 200.0]))).mean
    assert 0.008 < fresh[1] - fresh[0] < 0.028
    sizes = of_cards(
        fitted_model(), cards(card_face_cny=np.array([50.0, 1_000.0]), card_face_of_max=np.array([0.05, 1.0]))
    ).mean
    assert 0.004 < sizes[1] - sizes[0] < 0.02


def test_estimate_follows_the_market_down() -> None:
    """When every price falls by ten points after training, the estimate falls with it."""
    fallen = make_market(rows=500, seed=9, from_day=62, days=5, level=-0.10)
    known = np.isfinite(fallen.columns["market_buyer_best"]) & (fallen.columns["card_is_expired"] == 0)
    assert np.abs(estimate_of(fallen).mean - fallen.resale_expected)[known].mean() < 0.01


def test_expired_card_of_a_log_without_expired_cards() -> None:
    """A log that never saw an expired card does not value it as a valid one, and admits that it does not know."""
    market = make_market(rows=3_000, seed=5)
    model = fit_market(market.rows(market.columns["card_is_expired"] == 0))
    estimate = of_cards(model, card(card_is_expired=1.0, card_days_to_expiry=-20.0))
    assert estimate.anchor[0] == "expired"
    assert 0.02 < estimate.mean[0] < 0.10
    assert estimate.p95[0] - estimate.p05[0] > 0.02


def test_saved_model_answers_bit_for_bit(tmp_path: Path) -> None:
    """Loading gives the same estimate in every field, and knows which types it has seen."""
    model = fitted_model().resale
    model.save(tmp_path)
    again = ResaleModel.load(tmp_path)
    before, after = estimate_of(later_market(), model), estimate_of(later_market(), again)
    for field in fields(ResaleEstimate):
        np.testing.assert_array_equal(getattr(before, field.name), getattr(after, field.name))
    assert again.types == model.types
