"""The calibrator repairs a wrong level where there is evidence, and else leaves the score alone."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from models.fraud.calibrator import Calibrator, fit_calibrator, fit_calibrator_if_it_helps


def _scores(rows: int, shift: float) -> tuple[np.ndarray, np.ndarray]:
    """Raw scores and outcomes whose true log-odds are the score plus ``shift``."""
    rng = np.random.default_rng(3)
    raw = rng.normal(-3, 1.2, rows)
    return raw, (rng.random(rows) < expit(raw + shift)).astype(float)


def test_a_wrong_level_is_repaired() -> None:
    """With plenty of rows, the calibrated mean matches the rate that came true."""
    raw, fraud = _scores(40_000, shift=0.5)
    line = fit_calibrator_if_it_helps(raw_score=raw, fraud=fraud, weight=np.ones(40_000))
    assert line.probability(raw).mean() == pytest.approx(fraud.mean(), rel=0.03)
    assert expit(raw).mean() < 0.75 * fraud.mean()


def test_little_evidence_changes_little() -> None:
    """A hundred rows move an average score by less than a fifth, and are no reason to keep a line."""
    raw, fraud = _scores(100, shift=0.5)
    line = fit_calibrator(raw_score=raw, fraud=fraud, weight=np.ones(100))
    assert abs(line.log_odds(np.array([-3.0]))[0] + 3.0) < 0.2
    assert fit_calibrator_if_it_helps(raw_score=raw, fraud=fraud, weight=np.ones(100)) == Calibrator()


def test_a_shock_of_one_stretch_is_not_a_wrong_level() -> None:
    """When one eighth of the time has most of the fraud, the average is off but no line is learned."""
    raw, fraud = _scores(8000, shift=0.0)
    raw, fraud = raw.copy(), fraud.copy()
    fraud[3000:4000] = np.maximum(fraud[3000:4000], np.random.default_rng(1).random(1000) < 0.5)
    assert fraud.mean() > 1.3 * expit(raw).mean()
    assert fit_calibrator_if_it_helps(raw_score=raw, fraud=fraud, weight=np.ones(8000)) == Calibrator()


def test_extreme_scores_stay_inside_zero_and_one() -> None:
    """No score gives a probability of exactly 0 or 1."""
    answer = Calibrator().probability(np.array([-1e3, 1e3]))
    assert 0 < answer[0] < 1e-8
    assert 1 - 1e-8 < answer[1] < 1
