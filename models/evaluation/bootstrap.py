"""How sure is a difference between two models? Resampling whole days (and sellers), both models together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np


class TooFewClusters(ValueError):
    """There are fewer than two days (or sellers) to resample."""


@dataclass(frozen=True)
class Difference:
    """A difference with its bootstrap interval. ``low`` and ``high`` are percentiles of the resamples.

    rounds: resamples in which the difference was defined.
    """

    estimate: float
    low: float
    high: float
    rounds: int

    def to_dict(self) -> dict[str, float]:
        return asdict(self)


def paired_bootstrap(
    *,
    difference: Callable[[np.ndarray], float],
    clusters: Sequence[np.ndarray],
    rng: np.random.Generator,
    rounds: int = 500,
    level: float = 0.95,
) -> Difference:
    """Interval of ``difference``, a function of row weights (n,) that compares two models on the same rows.

    clusters: one or more label arrays (n,), such as the day, or the day and the seller. Each is resampled
    with replacement and a row weighs the product of its clusters' counts (Owen's pigeonhole bootstrap); with
    two arrays the interval is somewhat wider than needed, never narrower. Rows of one day share shocks, so
    rows are never resampled alone. ``difference`` may return NaN where a resample has no fraud; such rounds
    are left out.

    Raises TooFewClusters with fewer than two labels in an array.
    """
    codes = [np.unique(labels, return_inverse=True)[1] for labels in clusters]
    sizes = [int(code.max(initial=-1)) + 1 for code in codes]
    if not codes or min(sizes) < 2:
        raise TooFewClusters(f"a bootstrap needs at least two clusters of each kind, got {sizes}")
    values = np.empty(rounds)
    for turn in range(rounds):
        weight = np.ones(len(codes[0]))
        for code, size in zip(codes, sizes, strict=True):
            weight *= rng.multinomial(size, np.full(size, 1 / size))[code]
        values[turn] = difference(weight) if weight.any() else np.nan
    values = values[np.isfinite(values)]
    estimate = difference(np.ones(len(codes[0])))
    if len(values) == 0:
        return Difference(estimate, float("nan"), float("nan"), 0)
    tail = (1 - level) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return Difference(estimate, float(low), float(high), len(values))


def mean_difference(first: np.ndarray, second: np.ndarray) -> Callable[[np.ndarray], float]:
    """Weighted mean of ``second − first`` (n,): of profit per trade, or of cost per trade.

    Summed without BLAS: its threads, woken for every resample, are slow on a busy machine.
    """
    gain = np.asarray(second, dtype=np.float64) - np.asarray(first, dtype=np.float64)
    return lambda weight: float((gain * weight).sum() / weight.sum())
