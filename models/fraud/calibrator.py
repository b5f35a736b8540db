"""From a raw score to an honest probability: a straight line in log-odds, pulled towards "change nothing"."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, logit

LEVEL_SPREAD = 0.3
"""Prior standard deviation of the level: the rate of fraud moves by about a third between periods."""

SLOPE_SPREAD = 0.1
"""Prior standard deviation of the slope: unweighted boosting is seldom off by more than a tenth."""

LEAST_GAIN = 5.0
"""Gain in log-likelihood below which a line is taken for chance: about 1 in 150 for two free numbers."""

LOWEST_PROBABILITY = 1e-9
"""Bounds of every answer: no trade is certainly honest or certainly fraudulent."""


@dataclass(frozen=True)
class Calibrator:
    """``log-odds = intercept + slope · raw score``; intercept 0 and slope 1 change nothing."""

    intercept: float = 0.0
    slope: float = 1.0

    def log_odds(self, raw_score: np.ndarray) -> np.ndarray:
        """Calibrated log-odds (n,) of raw scores (n,)."""
        return self.intercept + self.slope * raw_score

    def probability(self, raw_score: np.ndarray) -> np.ndarray:
        """Calibrated probabilities (n,) of raw scores (n,)."""
        return np.clip(expit(self.log_odds(raw_score)), LOWEST_PROBABILITY, 1 - LOWEST_PROBABILITY)

    def to_dict(self) -> dict[str, float]:
        return {"intercept": self.intercept, "slope": self.slope}

    @classmethod
    def from_dict(cls, data: Mapping[str, float]) -> Calibrator:
        return cls(intercept=data["intercept"], slope=data["slope"])


def fit_calibrator(*, raw_score: np.ndarray, fraud: np.ndarray, weight: np.ndarray) -> Calibrator:
    """The most probable line under independent normal priors around "change nothing".

    raw_score (n,) log-odds of rows the trees have not seen, fraud (n,) 0/1, weight (n,). Platt scaling with
    shrinkage: few frauds leave the score as it is, many let the data speak. Level and slope are judged at the
    mean rate, where they hardly influence each other. The slope stays positive, so the order of trades never
    changes.
    """
    evidence = _evidence(weight)
    rate = np.clip(np.average(fraud, weights=weight), 1e-6, 1 - 1e-6)
    centre = float(logit(rate))

    def loss(line: np.ndarray) -> tuple[float, np.ndarray]:
        level, tilt = line
        scores = raw_score + level + tilt * (raw_score - centre)
        misfit = evidence @ (np.logaddexp(0.0, scores) - fraud * scores)
        prior = (level / LEVEL_SPREAD) ** 2 / 2 + (tilt / SLOPE_SPREAD) ** 2 / 2
        error = evidence * (expit(scores) - fraud)
        slope_of_level = error.sum() + level / LEVEL_SPREAD**2
        slope_of_tilt = error @ (raw_score - centre) + tilt / SLOPE_SPREAD**2
        return float(misfit + prior), np.array([slope_of_level, slope_of_tilt])

    bounds = [(-3.0, 3.0), (-0.8, 4.0)]
    level, tilt = minimize(loss, x0=np.zeros(2), jac=True, method="L-BFGS-B", bounds=bounds).x
    return Calibrator(intercept=float(level - tilt * centre), slope=float(1 + tilt))


def fit_calibrator_if_it_helps(*, raw_score: np.ndarray, fraud: np.ndarray, weight: np.ndarray) -> Calibrator:
    """A line, if the evidence for one is clear; otherwise nothing is changed.

    Rows must be in time order. A line fitted on the earlier half has to lower the later half's loss, and the
    line fitted on all rows, which is the one kept, has to gain more log-likelihood than chance does:
    correcting the noise of one week costs more than it repairs.
    """
    half = len(fraud) // 2
    early, late = slice(0, half), slice(half, None)
    trial = fit_calibrator(raw_score=raw_score[early], fraud=fraud[early], weight=weight[early])
    line = fit_calibrator(raw_score=raw_score, fraud=fraud, weight=weight)
    late_gain = _gain(trial, raw_score=raw_score[late], fraud=fraud[late], weight=weight[late])
    gain = _gain(line, raw_score=raw_score, fraud=fraud, weight=weight)
    return line if late_gain > 0 and gain >= LEAST_GAIN else Calibrator()


def _gain(line: Calibrator, *, raw_score: np.ndarray, fraud: np.ndarray, weight: np.ndarray) -> float:
    """Log-likelihood the line gains over the raw score."""
    after = line.log_odds(raw_score)
    loss_before = np.logaddexp(0.0, raw_score) - fraud * raw_score
    loss_after = np.logaddexp(0.0, after) - fraud * after
    return float(_evidence(weight) @ (loss_before - loss_after))


def _evidence(weight: np.ndarray) -> np.ndarray:
    """Weights scaled to add up to the effective number of rows (Kish): heavy rows are few observations."""
    return weight * (weight.sum() / (weight @ weight))
