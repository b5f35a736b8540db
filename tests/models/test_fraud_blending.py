"""Shares of several ways to grow: the guessed ones until the latest trades say otherwise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from models.fraud.blending import LEAST_SHARE, shares


def _market(rows: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """The true log-odds of trades and which of them are fraud."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(-3, 1.5, rows)
    return truth, (rng.random(rows) < expit(truth)).astype(float)


def _errs(truth: np.ndarray, seed: int, size: float = 1.0) -> np.ndarray:
    return truth + np.random.default_rng(seed).normal(0, size, len(truth))


def test_without_evidence_shares_are_the_guessed_ones():
    """Ways that answer the same, and trades too few to tell, leave the shares as they were guessed."""
    truth, fraud = _market(4_000)
    assert shares([truth, truth, truth], fraud, np.ones(4_000), guess=[1, 1, 1]) == pytest.approx([1 / 3] * 3)
    guessed = shares([truth, truth, truth], fraud, np.ones(4_000), guess=[3, 1, 2])
    assert guessed == pytest.approx([1 / 2, 1 / 6, 1 / 3])
    few = slice(0, 20)
    told = shares([truth[few], _errs(truth, 2)[few]], fraud[few], np.ones(20), guess=[1, 1])
    assert told == pytest.approx([0.5, 0.5], abs=0.1)


def test_the_better_way_gets_more_and_a_bad_one_nothing():
    """Where thousands of trades show one way to be better it has the larger share, and one without sense none."""
    truth, fraud = _market(20_000)
    fine, rough, nothing = _errs(truth, 2, 0.3), _errs(truth, 3, 1.5), _errs(np.full(20_000, -3.0), 4)
    told = shares([nothing, fine, rough], fraud, np.ones(20_000), guess=[1, 1, 1])
    assert told[0] == 0
    assert told[1] > 0.6 > told[2]
    assert told.sum() == pytest.approx(1)
    assert ((told == 0) | (told >= LEAST_SHARE)).all()


def test_ways_that_err_apart_are_better_together_on_fresh_trades():
    """Two equally good ways that err apart share about evenly, and foretell later trades better than either."""
    truth, fraud = _market(20_000)
    told = shares([_errs(truth, 2), _errs(truth, 3)], fraud, np.ones(20_000), guess=[1, 1])
    assert told == pytest.approx([0.5, 0.5], abs=0.1)
    truth, fraud = _market(20_000, seed=5)
    each = np.array([_errs(truth, 6), _errs(truth, 7)])
    loss = [(np.logaddexp(0, score) - fraud * score).mean() for score in (*each, told @ each)]
    assert loss[2] < min(loss[:2])


def test_heavy_trades_are_few_observations():
    """The same trades with a weight of a thousand each say no more than with one."""
    truth, fraud = _market(500)
    each = [truth, _errs(truth, 2)]
    assert shares(each, fraud, np.full(500, 1000.0), guess=[1, 1]) == pytest.approx(
        shares(each, fraud, np.ones(500), guess=[1, 1]), abs=1e-3
    )
