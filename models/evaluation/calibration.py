"""Does a probability of 3 % happen 3 times in 100? Reliability by bins of equal mass."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np


@dataclass(frozen=True)
class ReliabilityBin:
    """Trades of similar probability: how many, their mean probability and the rate that came true."""

    rows: int
    mean_probability: float
    rate: float


@dataclass(frozen=True)
class Calibration:
    """How honest probabilities are. ``ratio`` is mean probability / true rate, NaN where the rate is zero.

    ece: expected calibration error, the mean of |mean probability − rate| over the bins by their weight.
    brier: mean squared error of the probability.
    """

    mean_probability: float
    rate: float
    ratio: float
    ece: float
    brier: float

    def to_dict(self) -> dict[str, float]:
        return asdict(self)


def reliability_table(
    *, probability: np.ndarray, outcome: np.ndarray, bins: int = 15
) -> tuple[ReliabilityBin, ...]:
    """Rows sorted by probability and cut into ``bins`` parts of equal size (to one row), the lowest first.

    probability (n,) in [0, 1], outcome (n,) bool or 0/1. Equal probabilities never fall into two bins: the
    cut moves behind the last of them, so the table does not depend on the order of rows.
    """
    order = np.argsort(probability, kind="stable")
    sorted_probability, sorted_outcome = probability[order], np.asarray(outcome, dtype=np.float64)[order]
    wanted = np.linspace(0, len(order), min(bins, max(len(order), 1)) + 1).round().astype(np.int64)[1:]
    cuts = np.unique(
        [np.searchsorted(sorted_probability, sorted_probability[cut - 1], "right") for cut in wanted if cut]
    )
    starts = np.concatenate([[0], cuts[:-1]]).astype(np.int64)
    return tuple(
        ReliabilityBin(
            rows=int(stop - start),
            mean_probability=float(sorted_probability[start:stop].mean()),
            rate=float(sorted_outcome[start:stop].mean()),
        )
        for start, stop in zip(starts, cuts, strict=False)
    )


def expected_calibration_error(*, probability: np.ndarray, outcome: np.ndarray, bins: int = 15) -> float:
    """Mean |mean probability − rate| over bins of equal mass, by share of rows; NaN without rows."""
    table = reliability_table(probability=probability, outcome=outcome, bins=bins)
    if not table:
        return float("nan")
    return sum(part.rows * abs(part.mean_probability - part.rate) for part in table) / len(probability)


def calibration(*, probability: np.ndarray, outcome: np.ndarray, bins: int = 15) -> Calibration:
    """Level and error of probabilities (n,) against outcomes (n,) bool or 0/1; NaN without rows."""
    if len(probability) == 0:
        return Calibration(*[float("nan")] * 5)
    happened = np.asarray(outcome, dtype=np.float64)
    mean_probability, rate = float(probability.mean()), float(happened.mean())
    return Calibration(
        mean_probability=mean_probability,
        rate=rate,
        ratio=mean_probability / rate if rate > 0 else float("nan"),
        ece=expected_calibration_error(probability=probability, outcome=outcome, bins=bins),
        brier=float(np.mean((probability - happened) ** 2)),
    )
