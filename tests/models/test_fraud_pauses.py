"""Trades as they look while labels pause: learned from where that foretells the latest ones better."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from models.evaluation.fraud import average_precision
from models.fraud.growing import Rows
from models.fraud.model import FraudModel
from models.fraud.pauses import SHARE, Paused, learned_with_pauses
from models.fraud.training import LABELS_PAUSED
from models.matrix import Encoding
from tests.models import fraud_market
from tests.models.fraud_market import NAMES, QUICK, Market, market

RATE = "device_fraud_rate_30d"
FREE = replace(QUICK, rising=())
"""A rate of nothing, as in a pause, may speak against a trade."""


def remembered(rows: int = 6000, seed: int = 3) -> tuple[Market, dict[str, np.ndarray]]:
    """A market in which the known rate of a device tells nearly all while labels come, and the amount half of that; and
    the rate while they pause, when most devices have none to show."""
    rng = np.random.default_rng(seed)
    plain = market(rows, seed)
    bad = rng.random(rows) < 0.1
    rate = np.where(bad, rng.uniform(0.3, 0.9, rows), rng.uniform(0.02, 0.1, rows))
    face = rng.lognormal(5.0 + 1.5 * bad, 0.7, rows)
    columns = plain.columns | {RATE: rate, "card_face_cny": face}
    truth = np.where(bad, 0.8, 0.01)
    trades = Market(columns, truth, rng.random(rows) < truth, plain.submitted_at)
    forgotten = rng.random(rows) < 0.9
    return trades, {RATE: np.where(forgotten, 0.0, rate)}


def fit(trades: Market, paused: dict[str, np.ndarray] | None, **changes: Any) -> FraudModel:
    settings = replace(changes.pop("settings", FREE), trees=60)
    return fraud_market.fit(trades, settings=settings, paused=paused, **changes)


def matrix_of(trades: Market) -> tuple[Rows, Encoding]:
    encoding = Encoding.fit(trades.columns, NAMES[:4])
    rows = Rows(encoding.matrix(trades.columns), trades.fraud.astype(float), np.ones(len(trades.fraud)))
    return rows, encoding


def precision(model: FraudModel, trades: Market, changes: dict[str, np.ndarray]) -> float:
    return average_precision(fraud=trades.fraud, probability=model.probability(trades.columns | changes))


def test_trees_that_saw_pauses_do_better_when_labels_stop_and_lose_little_while_they_come():
    """With the rates of a pause at hand half of the rows are learned so; later trades are told apart better in a pause,
    and hardly worse without one."""
    trades, paused = remembered()
    later, quiet = remembered(seed=4)
    plain, robust = fit(trades, None), fit(trades, paused)
    assert robust.metadata[LABELS_PAUSED] is True
    assert plain.metadata[LABELS_PAUSED] is False
    assert precision(robust, later, quiet) > precision(plain, later, quiet) + 0.02
    assert precision(robust, later, {}) > precision(plain, later, {}) - 0.02


def test_what_a_pause_costs_while_labels_come_is_not_paid():
    """Where a lower rate may never speak against a trade, learning of pauses would cost more, in the three times out of
    four that labels come, than it gains in the fourth."""
    trades, paused = remembered()
    assert fit(trades, paused).metadata[LABELS_PAUSED] is True
    assert fit(trades, paused, settings=QUICK).metadata[LABELS_PAUSED] is False


def test_where_pauses_change_nothing_that_matters_the_model_is_the_one_without_them():
    """An input that tells nothing, whatever it is in a pause: trees and calibrator are those of a fit without."""
    trades = market(4000)
    paused = {"seller_count_1h": trades.columns["seller_count_1h"] + 1}
    plain, same = fit(trades, None), fit(trades, paused)
    assert same.metadata[LABELS_PAUSED] is False
    assert same.booster.model_to_string() == plain.booster.model_to_string()
    assert same.calibrator == plain.calibrator


def test_rows_are_a_mixture_or_as_they_were():
    """Where pauses are learned, the drawn rows say what a pause would; where not, not a bit has changed."""
    trades, paused = remembered()
    rows, encoding = matrix_of(trades)
    before, column = rows.matrix.copy(), encoding.names.index(RATE)
    drawn = Paused.drawn(paused, encoding, rows=len(trades.fraud), seed=7)
    assert len(drawn.rows) == pytest.approx(SHARE * len(trades.fraud), rel=0.05)
    assert learned_with_pauses(rows, drawn, encoding, FREE)
    expected = before.copy()
    expected[drawn.rows, column] = paused[RATE][drawn.rows]
    assert np.array_equal(rows.matrix, expected, equal_nan=True)

    rows, encoding = matrix_of(trades)
    noise = Paused.drawn({"seller_count_1h": np.arange(6000.0)}, encoding, rows=6000, seed=7)
    assert not learned_with_pauses(rows, noise, encoding, FREE)
    assert np.array_equal(rows.matrix, before, equal_nan=True)


def test_too_few_frauds_or_no_difference_leave_the_rows_alone():
    """What cannot be judged is not learned, and what says the same is not tried."""
    trades, paused = remembered(rows=400)
    rows, encoding = matrix_of(trades)
    before = rows.matrix.copy()
    drawn = Paused.drawn(paused, encoding, rows=400, seed=7)
    assert not learned_with_pauses(rows, drawn, encoding, replace(QUICK, frauds_min=50))
    same = Paused.drawn({RATE: trades.columns[RATE]}, encoding, rows=400, seed=7)
    assert not learned_with_pauses(rows, same, encoding, QUICK)
    assert np.array_equal(rows.matrix, before, equal_nan=True)


def test_the_serving_fit_does_as_the_judged_model():
    """Rows of which the latest cannot judge are learned with pauses if, and only if, the judged model was."""
    trades, paused = remembered()
    robust, plain = fit(trades, paused), fit(trades, None)
    again, still = fit(trades, paused, judged=robust), fit(trades, paused, judged=plain)
    assert again.metadata[LABELS_PAUSED] is True
    assert still.metadata[LABELS_PAUSED] is False
    assert again.booster.model_to_string() == robust.booster.model_to_string()
    assert still.booster.model_to_string() == plain.booster.model_to_string()
