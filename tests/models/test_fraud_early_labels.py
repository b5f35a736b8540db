"""Fraud that is known early teaches, with the weight of what is not known yet."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from models.fraud.early_labels import LEAST_KNOWN, EarlyLabels, early_labels
from models.fraud.labels import lessons

DAY = 86_400_000_000
MATURE_DAYS, ALL_DAYS = 170, 200


@dataclass(frozen=True)
class Log:
    """A log of trades (n,): when submitted and labelled (-1: not yet), the label, the answer, the truth."""

    submitted_at: np.ndarray
    known_at: np.ndarray
    fraud: np.ndarray
    accepted: np.ndarray
    truth: np.ndarray

    def early(self, **changed) -> EarlyLabels:
        size = len(self.fraud)
        decision = changed.pop("decision", np.full(size, None, dtype=object))
        let_through = changed.pop("let_through", np.full(size, np.nan))
        source = np.full(size, None, dtype=object)
        told = {"fraud": self.fraud, "known_at": self.known_at, "accepted": self.accepted} | changed
        return early_labels(
            submitted_at=self.submitted_at,
            refused=(decision == "refuse") & np.isnan(let_through),
            taught=lessons(fraud=told["fraud"], decision=decision, source=source, let_through=let_through),
            mature=np.flatnonzero((self.submitted_at <= MATURE_DAYS * DAY) & np.isfinite(told["fraud"])),
            **told,
        )


def log(rows: int = 60_000, seed: int = 1) -> Log:
    """3 % fraud, known after 1 to 20 days; honesty is known after 30. A third declines and never gets a label."""
    rng = np.random.default_rng(seed)
    submitted = np.sort(rng.integers(0, ALL_DAYS * DAY, rows))
    truth = rng.random(rows) < 0.03
    accepted = np.where(truth | (rng.random(rows) < 0.66), 1.0, 0.0)
    delay = np.where(truth, np.clip(5 * rng.lognormal(0, 0.7, rows), 1, 20), 30.0 - rng.random(rows))
    known_at = submitted + (delay * DAY).astype(np.int64)
    unknown = (known_at >= ALL_DAYS * DAY) | (accepted == 0)
    known_at[unknown] = -1
    return Log(submitted, known_at, np.where(unknown, np.nan, truth), accepted, truth)


def test_known_frauds_stand_for_those_that_are_not_known_yet():
    """The weights of young known frauds sum to the number of all young frauds of their age."""
    trades = log()
    early = trades.early()
    youngest = trades.submitted_at[early.rows].max()
    meant = trades.truth & (trades.submitted_at > MATURE_DAYS * DAY) & (trades.submitted_at <= youngest)
    assert early.weight[early.fraud].sum() == pytest.approx(meant.sum(), rel=0.1)
    assert early.fraud.sum() < 0.95 * meant.sum()
    assert early.weight.max() <= 1 / LEAST_KNOWN


def test_only_trades_that_will_get_a_label_count_as_honest():
    """Who declined never gets a label and says nothing; neither does a refused trade, but for its known fraud."""
    trades = log()
    early = trades.early()
    assert (trades.accepted[early.rows] == 1).all()
    assert (trades.submitted_at[early.rows] > MATURE_DAYS * DAY).all()
    refused = np.where(np.arange(len(trades.fraud)) % 2 == 0, "refuse", None).astype(object)
    rows = trades.early(decision=refused).rows
    assert (trades.fraud[rows[refused[rows] == "refuse"]] == 1).all()


def test_who_was_let_through_stands_for_others_here_too():
    """The weight of a random let-through and that of an early label multiply."""
    trades = log()
    drawn = np.full(len(trades.fraud), 0.25)
    assert trades.early(let_through=drawn).weight == pytest.approx(4 * trades.early().weight)


def test_where_no_fraud_is_known_before_the_rest_nothing_is_learned_early():
    """All labels after the same delay: no young trade has one. And with few frauds their delay is not known."""
    trades = log()
    submitted = trades.submitted_at
    late = np.where(submitted + 30 * DAY < ALL_DAYS * DAY, submitted + 30 * DAY, -1)
    same = np.where(late < 0, np.nan, trades.truth)
    assert len(trades.early(known_at=late, fraud=same)) == 0
    few = np.where((np.arange(len(submitted)) > 500) & (trades.fraud == 1), 0.0, trades.fraud)
    assert len(trades.early(fraud=few)) == 0
