"""Intervals of the fraud figures, against scikit-learn and published values."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from models.evaluation.fraud import DAY_MS, Judged
from models.evaluation.fraud_intervals import Ranked, average_precision_interval, effective_rows, wilson


def _judged(rows: int, *, days: int, seed: int = 0) -> Judged:
    rng = np.random.default_rng(seed)
    fraud = rng.random(rows) < 0.1
    return Judged(
        fraud=fraud,
        probability=np.clip(rng.normal(0.2 + 0.2 * fraud, 0.15), 0.01, 0.99),
        submitted_at=rng.integers(0, days, rows) * DAY_MS,
        seller_id=rng.integers(0, rows // 3, rows).astype(str).astype(object),
        action=np.full(rows, "pay", dtype=object),
        payout_fen=np.full(rows, 9_000),
        face_value_fen=np.full(rows, 10_000),
    )


def test_average_precision_of_ranked_trades_equals_scikit_learn() -> None:
    """Under any weights, ties and zeros included."""
    rng = np.random.default_rng(1)
    fraud, probability = rng.random(500) < 0.2, np.round(rng.random(500), 2)
    ranked = Ranked(fraud=fraud, probability=probability)
    for weight in (np.ones(500), rng.integers(0, 4, 500).astype(float), rng.random(500)):
        expected = average_precision_score(fraud, probability, sample_weight=weight)
        assert ranked.average_precision(weight) == pytest.approx(expected)


def test_average_precision_without_a_class_is_not_a_number() -> None:
    """No fraud, only fraud, or no row at all: NaN."""
    for fraud in (np.zeros(3, dtype=bool), np.ones(3, dtype=bool), np.zeros(0, dtype=bool)):
        ranked = Ranked(fraud=fraud, probability=np.linspace(0, 1, len(fraud)))
        assert np.isnan(ranked.average_precision(np.ones(len(fraud))))


def test_the_interval_holds_the_estimate_and_narrows_with_rows() -> None:
    """More days and sellers, a narrower interval around the estimate."""
    small = average_precision_interval(_judged(600, days=10), rng=np.random.default_rng(0))
    large = average_precision_interval(_judged(12_000, days=60), rng=np.random.default_rng(0))
    assert small.low < small.estimate < small.high
    assert large.low < large.estimate < large.high
    assert large.high - large.low < 0.5 * (small.high - small.low)


def test_one_day_has_an_estimate_and_no_interval() -> None:
    """A single day cannot show how days differ: the bounds are NaN, the estimate stays."""
    judged = _judged(300, days=1)
    found = average_precision_interval(judged, rng=np.random.default_rng(0))
    assert found.estimate == pytest.approx(average_precision_score(judged.fraud, judged.probability))
    assert np.isnan(found.low)
    assert np.isnan(found.high)


def test_wilson_by_published_values() -> None:
    """0 of 10, 5 of 10 and 10 of 10, by the textbook formula; no rows give no interval."""
    assert wilson(0.0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert wilson(0.5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)
    assert wilson(1.0, 10) == pytest.approx((0.7225, 1.0), abs=1e-4)
    assert np.isnan(wilson(float("nan"), 0)).all()


def test_unequal_weights_tell_less_than_as_many_rows() -> None:
    """Equal weights count every row; one heavy row among light ones counts as little more than one."""
    assert effective_rows(np.full(8, 3.0)) == pytest.approx(8)
    assert effective_rows(np.array([100.0, 1, 1, 1])) < 1.1
    assert effective_rows(np.zeros(3)) == 0
