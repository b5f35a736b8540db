"""The fraud share of a card kind: found at its level, and never from labels that came too soon."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from models.discount.context import CardContext, card_context
from models.discount.fraud_share import FraudShare, Taken, fit_fraud_share
from models.discount.labelled_offers import WEEK_MS
from models.discount.training import FRAUD_SHARE_BY_TYPE
from tests.models.discount_market import DAY_MS, SETTINGS, Market, fit_market, later_market, make_market

ROWS = 60_000
TYPE_SHARES = {"safe": 0.004, "usual": 0.015, "hunted": 0.06}
NIGHT = 3.0
"""Fraudsters bring so many times as many cards from one to five in the night."""


def context_of(card_type: np.ndarray, hour: np.ndarray, face: np.ndarray | None = None) -> CardContext:
    rows = len(card_type)
    columns = {
        "card_type": card_type.astype(object),
        "card_category": np.full(rows, "retail", dtype=object),
        "time_hour": hour.astype(np.float64),
        "card_face_cny": np.full(rows, 300.0) if face is None else face,
    }
    return card_context(columns, rows)


def true_share(card_type: np.ndarray, hour: np.ndarray) -> np.ndarray:
    night = (hour >= 1) & (hour <= 5)
    return np.array([TYPE_SHARES[name] for name in card_type]) * np.where(night, NIGHT, 1.0)


def moments() -> np.ndarray:
    return np.linspace(0, 20 * WEEK_MS, ROWS).astype(np.int64)


def fitted(context: CardContext, taken: np.ndarray) -> FraudShare:
    """Of a log all of whose labels are known."""
    return fit_fraud_share(
        context=context, taken_by_fraud=taken, told=np.ones(ROWS), submitted_at=moments(), default=0.5
    )


@cache
def learnt() -> FraudShare:
    rng = np.random.default_rng(0)
    card_type = rng.choice(np.array(list(TYPE_SHARES), dtype=object), ROWS)
    hour = rng.integers(0, 24, ROWS)
    taken = (rng.random(ROWS) < true_share(card_type, hour)).astype(np.float64)
    return fitted(context_of(card_type, hour), taken)


def test_share_of_each_type_is_found() -> None:
    """Types fifteen times apart come back within a fifth of their share, and their order holds."""
    hour = np.tile(np.arange(24), 3)
    card_type = np.repeat(np.array(list(TYPE_SHARES), dtype=object), 24)
    share = learnt().share(context_of(card_type, hour)).reshape(3, 24).mean(axis=1)
    truth = true_share(card_type, hour).reshape(3, 24).mean(axis=1)
    assert np.all(np.abs(share[1:] / truth[1:] - 1) < 0.2)
    assert share[0] < share[1] < share[2]
    assert share[0] < 0.012


def test_hours_of_fraud_are_found() -> None:
    """Night offers carry a multiple of the share of a day's."""
    night, noon = learnt().share(context_of(np.array(["hunted"] * 2, dtype=object), np.array([3, 13])))
    assert 1.8 < night / noon < 4.5


def test_mean_share_is_the_share_of_the_log() -> None:
    """Over all offers the share adds up to the frauds, overall and for each type."""
    assert abs(learnt().overall - np.mean(list(TYPE_SHARES.values())) * (1 + (NIGHT - 1) * 5 / 24)) < 0.003
    assert set(learnt().of_type) == {f"{name}/valid" for name in TYPE_SHARES}


def test_frauds_in_bursts_say_less_about_their_type() -> None:
    """One ring's twenty cards at a time are found as such, and leave a type nearer to the others than as many frauds
    that came one by one."""
    rng = np.random.default_rng(4)
    card_type = rng.choice(np.array(["hit", "spared"], dtype=object), ROWS)
    context, hit = context_of(card_type, np.full(ROWS, 12)), card_type == "hit"
    alone = (rng.random(ROWS) < np.where(hit, 0.02, 0.005)).astype(np.float64)
    week = moments() // WEEK_MS
    in_bursts = np.where((hit & (week % 10 == 0)) | (~hit & (week == 5)), rng.random(ROWS) < 0.15, 0.0)
    shares, sizes = [], []
    for taken in (alone, in_bursts):
        usual = np.where(hit, taken[hit].mean(), taken[~hit].mean())
        sizes.append(Taken(taken, np.ones(ROWS), 2 * week + hit).burst_size(usual))
        both = context_of(np.array(["hit", "spared"], dtype=object), np.full(2, 12))
        hit_share, spared_share = fitted(context, taken).share(both)
        shares.append(hit_share / spared_share)
    assert sizes[0] < 1.5
    assert sizes[1] > 20
    assert 1.0 < shares[1] < shares[0]


def test_a_week_far_beyond_what_is_usual_counts_only_so_far() -> None:
    """Frauds that stay within what is expected count as they are; one week's flood counts less, and all others more, so
    that all together count as many."""
    week = np.repeat(np.arange(10), 100)
    taken = np.tile(np.r_[np.ones(4), np.zeros(96)], 10)
    expected = np.full(1_000, 0.04)
    told = np.ones(1_000)
    np.testing.assert_array_equal(Taken(taken, told, week).counted(expected, burst=1.0), 1.0)
    taken[:80] = 1.0
    weight = Taken(taken, told, week).counted(expected, burst=4.0)
    assert weight[taken == 1].sum() == pytest.approx(taken.sum())
    assert weight[0] * 6 < weight[900]
    np.testing.assert_array_equal(weight[taken == 0], 1.0)


def test_the_fit_is_at_the_top_of_its_likelihood() -> None:
    """With few frauds a solver that stops early leaves weights half-way: here the frauds that the fit expects of every
    hour and type are those of the log, as at the maximum, and only the prior pulls a little."""
    rng = np.random.default_rng(9)
    card_type = rng.choice(np.array(["hit", "spared"], dtype=object), ROWS)
    hour = rng.integers(0, 24, ROWS)
    night = hour < 5
    taken = (rng.random(ROWS) < np.where(night, 0.012, 0.002)).astype(np.float64)
    context = context_of(card_type, hour)
    share = fitted(context, taken).share(context)
    assert share.sum() == pytest.approx(taken.sum(), rel=0.002)
    assert share[night].sum() == pytest.approx(taken[night].sum(), rel=0.15)


def test_young_offers_count_with_what_is_known_of_them() -> None:
    """Where half of the newest offers' frauds are known, and offers without one tell half, the share is the true one:
    the newest weeks' higher share is learned of, neither halved nor overlooked."""
    rng = np.random.default_rng(11)
    newest = np.arange(ROWS) >= ROWS // 2
    context = context_of(np.full(ROWS, "hit", dtype=object), rng.integers(0, 24, ROWS))
    share = np.where(newest, 0.05, 0.01)
    taken = (rng.random(ROWS) < share * np.where(newest, 0.5, 1.0)).astype(np.float64)
    told = np.where(newest & (taken == 0), 0.5, 1.0)
    found = fit_fraud_share(
        context=context, taken_by_fraud=taken, told=told, submitted_at=moments(), default=0.5
    )
    means = np.average(share, weights=told)
    assert found.overall == pytest.approx(means, rel=0.06)
    assert found.of_type["hit/valid"] == pytest.approx(means, rel=0.06)


def by_hours(name: str) -> np.ndarray:
    """The share that prices of a card type at each hour of the day."""
    return learnt().share_of_type(context_of(np.full(24, name, dtype=object), np.arange(24)))


def test_unseen_type_gets_the_share_of_its_like() -> None:
    """A type never seen weighs nothing of its own: between the safest and the worst, and its mean is overall's."""
    context = context_of(np.array(["new"], dtype=object), np.array([12]))
    assert TYPE_SHARES["safe"] < learnt().share(context)[0] < TYPE_SHARES["hunted"]
    assert by_hours("new").mean() == pytest.approx(learnt().overall, rel=0.05)


def test_share_of_type_ignores_face_and_follows_the_hour() -> None:
    """The share that prices is one number per type, validity and hour: the type's mean, more at the thieves' hours."""
    rng = np.random.default_rng(1)
    faces = rng.uniform(10, 1_000, 50)
    context = context_of(np.full(50, "hunted", dtype=object), np.full(50, 3), faces)
    assert len(set(learnt().share_of_type(context).tolist())) == 1
    hunted = by_hours("hunted")
    assert hunted.mean() == pytest.approx(learnt().of_type["hunted/valid"], rel=0.05)
    assert hunted[3] > 2 * hunted[14]


def test_without_labels_the_share_is_the_types_smoothed_rate() -> None:
    """No weights: the known rate of the kind, the default where none is known, never outside 0 to 1."""
    columns = {"kind_fraud_rate_30d": np.array([0.03, np.nan, 1.7])}
    share = FraudShare(default=0.02)
    np.testing.assert_array_equal(share.share(card_context(columns, 3)), (0.03, 0.02, 1.0))
    np.testing.assert_array_equal(share.share_of_type(card_context(columns, 3)), (0.03, 0.02, 1.0))


@cache
def risky_market() -> tuple[Market, np.ndarray]:
    """Cards of 1,000 yuan are fraud in a tenth of the accepted trades, others in one of a hundred."""
    market = make_market(rows=8_000, seed=21)
    rate = np.where(market.columns["card_face_cny"] == 1000, 0.10, 0.01)
    fraud = (np.random.default_rng(3).random(8_000) < rate).astype(np.float64)
    return market, np.where(market.accepted == 1, fraud, np.nan)


def share_by_face(share: FraudShare) -> tuple[float, float]:
    """Mean share of offers for large cards and for the others."""
    market = later_market()
    large = market.columns["card_face_cny"] == 1000
    found = share.share(market.context)
    return float(found[large].mean()), float(found[~large].mean())


def offers_taken(market: Market, fraud: np.ndarray) -> tuple[float, float]:
    large = market.columns["card_face_cny"] == 1000
    taken = fraud == 1
    return float(taken[large].mean()), float(taken[~large].mean())


def test_large_cards_that_are_hit_more_are_found_in_training() -> None:
    """The share is that of offers, not of accepted trades, and a model with it says that nothing fell back."""
    market, fraud = risky_market()
    model = fit_market(market, replace(SETTINGS, min_frauds=50), fraud)
    large, others = share_by_face(model.fraud_share)
    true_large, true_others = offers_taken(market, fraud)
    assert 0.6 * true_large < large < 1.4 * true_large
    assert 0.4 * true_others < others < 2.5 * true_others
    assert FRAUD_SHARE_BY_TYPE not in model.training.fallbacks


def test_frauds_known_before_honest_trades_do_not_inflate_the_share() -> None:
    """In the newest weeks only fraud is known yet; those labels are left out."""
    market, fraud = risky_market()
    newest = market.submitted_at > market.submitted_at.max() - 20 * DAY_MS
    early = np.where(newest & (fraud == 0), np.nan, fraud)
    large, others = share_by_face(fit_market(market, replace(SETTINGS, min_frauds=50), early).fraud_share)
    true_large, true_others = offers_taken(market, fraud)
    assert large < 1.6 * true_large
    assert others < 2.5 * true_others


def test_few_or_one_sided_labels_leave_the_smoothed_rate_of_the_type() -> None:
    """Without labels, or with too few frauds, the type's own rate is used and the model says so."""
    market, fraud = risky_market()
    few = np.where(np.cumsum(fraud == 1) <= 20, fraud, np.where(fraud == 1, np.nan, fraud))
    for labels in (np.full(8_000, np.nan), few):
        model = fit_market(market, SETTINGS, labels)
        assert model.training.fallbacks == (FRAUD_SHARE_BY_TYPE,)
        np.testing.assert_allclose(share_by_face(model.fraud_share), 0.01)


def test_saved_share_is_the_same(tmp_path: Path) -> None:
    """Loading gives the same shares bit for bit, with weights and without."""
    context = later_market().context
    for share in (learnt(), FraudShare(default=0.02)):
        share.save(tmp_path)
        again = FraudShare.load(tmp_path)
        assert again == share
        assert np.array_equal(again.share(context), share.share(context))
