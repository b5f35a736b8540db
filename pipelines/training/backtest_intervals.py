"""Sums and ratios over the trades of a backtest, with intervals of 95 % from resampling whole days.

Trades of one day share shocks, so that days and not trades are resampled. Fewer than LEAST_DAYS days give no interval.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from models.evaluation.bootstrap import paired_bootstrap

NAN = float("nan")
LEAST_DAYS = 5


@dataclass(frozen=True)
class Interval:
    """A figure with its interval, NaN where there is none."""

    estimate: float
    low: float = NAN
    high: float = NAN


def total(values: np.ndarray, day: np.ndarray) -> Interval:
    """A sum over trades (n,) with its interval over days."""
    days, index = np.unique(day, return_inverse=True)
    by_day = np.bincount(index, values, len(days))
    return _interval(lambda weight: float(weight @ by_day), len(days))


def ratio(top: np.ndarray, bottom: np.ndarray, day: np.ndarray) -> Interval:
    """A ratio of two sums over trades (n,) with its interval over days; NaN where the lower sum is not positive."""
    days, index = np.unique(day, return_inverse=True)
    above, below = np.bincount(index, top, len(days)), np.bincount(index, bottom, len(days))

    def divided(weight: np.ndarray) -> float:
        divisor = float(weight @ below)
        return float(weight @ above) / divisor if divisor > 0 else NAN

    return _interval(divided, len(days))


def _interval(measure: Callable[[np.ndarray], float], days: int) -> Interval:
    if days < LEAST_DAYS:
        return Interval(measure(np.ones(days)))
    found = paired_bootstrap(difference=measure, clusters=[np.arange(days)], rng=np.random.default_rng(0))
    return Interval(found.estimate, found.low, found.high)


def mean(values: np.ndarray) -> float:
    """Mean of (n,); NaN without any."""
    return float(values.mean()) if len(values) else NAN
