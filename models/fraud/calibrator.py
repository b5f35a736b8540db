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

BLOCKS = 8
"""Stretches of time that judge a line in turn; frauds come in clusters, so rows are not independent."""

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
    counts = evidence(weight)
    rate = np.clip(np.average(fraud, weights=weight), 1e-6, 1 - 1e-6)
    centre = float(logit(rate))

    def loss(line: np.ndarray) -> tuple[float, np.ndarray]:
        level, tilt = line
        scores = raw_score + level + tilt * (raw_score - centre)
        misfit = counts @ (np.logaddexp(0.0, scores) - fraud * scores)
        prior = (level / LEVEL_SPREAD) ** 2 / 2 + (tilt / SLOPE_SPREAD) ** 2 / 2
        error = counts * (expit(scores) - fraud)
        slope_of_level = error.sum() + level / LEVEL_SPREAD**2
        slope_of_tilt = error @ (raw_score - centre) + tilt / SLOPE_SPREAD**2
        return float(misfit + prior), np.array([slope_of_level, slope_of_tilt])

    bounds = [(-3.0, 3.0), (-0.8, 4.0)]
    level, tilt = minimize(loss, x0=np.zeros(2), jac=True, method="L-BFGS-B", bounds=bounds).x
    return Calibrator(intercept=float(level - tilt * centre), slope=float(1 + tilt))


def fit_calibrator_if_it_helps(*, raw_score: np.ndarray, fraud: np.ndarray, weight: np.ndarray) -> Calibrator:
    """A line, if lines prove themselves in stretches of time they were not fitted on; else no change.

    Rows must be in time order and are cut into :data:`BLOCKS` stretches. The mean gain in log-likelihood of a
    left-out stretch has to exceed twice its standard error: correcting the noise of one week costs more than
    it repairs. The line kept is fitted on all rows.
    """
    block = _blocks(len(fraud))
    after = np.empty(len(fraud))
    for left_out in range(BLOCKS):
        inside, outside = block == left_out, block != left_out
        line = fit_calibrator(raw_score=raw_score[outside], fraud=fraud[outside], weight=weight[outside])
        after[inside] = line.log_odds(raw_score[inside])
    if not surely_better(before=raw_score, after=after, fraud=fraud, weight=weight):
        return Calibrator()
    return fit_calibrator(raw_score=raw_score, fraud=fraud, weight=weight)


def surely_better(
    *, before: np.ndarray, after: np.ndarray, fraud: np.ndarray, weight: np.ndarray, errors: float = 2.0
) -> bool:
    """Whether log-odds ``after`` (n,) predict better than ``before``, beyond what stretches of time differ in it: the
    mean gain of a stretch in log-likelihood exceeds ``errors`` standard errors. Rows must be in time order."""
    loss_before = np.logaddexp(0.0, before) - fraud * before
    loss_after = np.logaddexp(0.0, after) - fraud * after
    block = _blocks(len(fraud))
    gains = [
        float(evidence(weight[block == one]) @ (loss_before - loss_after)[block == one])
        for one in range(BLOCKS)
        if (block == one).any()
    ]
    return bool(np.mean(gains) > errors * np.std(gains, ddof=1) / np.sqrt(len(gains)))


def _blocks(rows: int) -> np.ndarray:
    """The stretch of time of each row (n,)."""
    return np.arange(rows) * BLOCKS // max(rows, 1)


def evidence(weight: np.ndarray) -> np.ndarray:
    """Weights (n,) scaled to add up to the effective number of rows (Kish): heavy rows are few observations."""
    return weight * (weight.sum() / (weight @ weight))
