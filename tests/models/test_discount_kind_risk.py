"""The fraud share of a card kind: learnt where labels carry it, never from labels that came too soon."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from models.discount.context import card_context
from models.discount.kind_risk import KindRisk, mature_labels
from models.discount.training import KIND_RISK_BY_TYPE, fit_discount
from tests.models.discount_market import DAY_MS, SETTINGS, Market, later_market, make_market


def fit_with_labels(market: Market, fraud: np.ndarray) -> tuple[KindRisk, tuple[str, ...]]:
    model = fit_discount(
        columns=market.columns,
        names=market.names,
        submitted_at=market.submitted_at,
        offered_rate=market.offered_rate,
        accepted=market.accepted,
        resale_rate=market.resale_rate,
        fraud=fraud,
        settings=replace(SETTINGS, min_frauds=50),
    )
    return model.kind_risk, model.training.fallbacks


def risky_market() -> tuple[Market, np.ndarray]:
    """Cards of 1,000 yuan are fraud in a tenth of the accepted trades, others in one of a hundred."""
    market = make_market(rows=8_000, seed=21)
    rate = np.where(market.columns["card_face_cny"] == 1000, 0.10, 0.01)
    fraud = (np.random.default_rng(3).random(8_000) < rate).astype(np.float64)
    return market, np.where(market.accepted == 1, fraud, np.nan)


def share_by_face(risk: KindRisk) -> tuple[float, float]:
    columns = later_market().columns
    share = risk.share(
        columns=columns, context=card_context(columns, 2_000), resale_mean=later_market().resale_expected
    )
    large = columns["card_face_cny"] == 1000
    return float(share[large].mean()), float(share[~large].mean())


def test_risk_of_the_kind_is_found_at_its_level() -> None:
    """The share is learnt per context of the card, and means what it says."""
    risk, fallbacks = fit_with_labels(*risky_market())
    large, others = share_by_face(risk)
    assert 0.06 < large < 0.14
    assert 0.003 < others < 0.02
    assert fallbacks == ()


def test_frauds_known_before_honest_trades_do_not_inflate_the_share() -> None:
    """In the newest weeks only fraud is known yet; those labels are left out."""
    market, fraud = risky_market()
    newest = market.submitted_at > market.submitted_at.max() - 20 * DAY_MS
    early = np.where(newest & (fraud == 0), np.nan, fraud)
    risk, _ = fit_with_labels(market, early)
    large, others = share_by_face(risk)
    assert large < 0.16
    assert others < 0.025


def test_mature_weeks_are_those_with_nearly_all_labels() -> None:
    """A week in which half of the trades wait for a label does not count, and an empty log has none."""
    submitted_at = np.repeat(np.arange(4) * 7 * DAY_MS, 100)
    labelled = np.ones(400, dtype=bool)
    labelled[250:] = False
    kept = mature_labels(submitted_at=submitted_at, labelled=labelled)
    assert np.array_equal(np.flatnonzero(kept), np.arange(200))
    nothing = np.zeros(0, dtype=bool)
    assert mature_labels(submitted_at=np.zeros(0, dtype=np.int64), labelled=nothing).size == 0


def test_few_or_one_sided_labels_leave_the_smoothed_rate_of_the_type() -> None:
    """Without labels, or with frauds alone, the card type's own rate is used and the model says so."""
    market, fraud = risky_market()
    for labels in (np.full(8_000, np.nan), np.where(fraud == 1, 1.0, np.nan)):
        risk, fallbacks = fit_with_labels(market, labels)
        assert fallbacks == (KIND_RISK_BY_TYPE,)
        np.testing.assert_allclose(share_by_face(risk), 0.01)


def test_saved_risk_is_the_same(tmp_path: Path) -> None:
    """Loading gives the same shares bit for bit."""
    risk, _ = fit_with_labels(*risky_market())
    risk.save(tmp_path)
    assert share_by_face(KindRisk.load(tmp_path)) == share_by_face(risk)
