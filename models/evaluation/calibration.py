"""Does a probability of 3 % happen 3 times in 100? Reliability by bins of equal mass."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np


@dataclass(frozen=True)
class ReliabilityBin:
    """Trades of similar probability: how many, their mean probability and the rate that came true.

    weight: how many trades the rows stand for; the means are weighted by it.
    """

    rows: int
    weight: float
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
    *, probability: np.ndarray, outcome: np.ndarray, weight: np.ndarray | None = None, bins: int = 15
) -> tuple[ReliabilityBin, ...]:
    """Rows sorted by probability and cut into ``bins`` parts of equal size (to one row), the lowest first.

    probability (n,) in [0, 1], outcome (n,) bool or 0/1, weight (n,) how many trades a row stands for, None:
    one. Equal probabilities never fall into two bins: the cut moves behind the last of them, so the table does
    not depend on the order of rows. Rows of no weight are left out.
    """
    mass = np.ones(len(probability)) if weight is None else np.asarray(weight, dtype=np.float64)
    order = np.argsort(probability, kind="stable")
    order = order[mass[order] > 0]
    mass = mass[order]
    sorted_probability, sorted_outcome = probability[order], np.asarray(outcome, dtype=np.float64)[order]
    wanted = np.linspace(0, len(order), min(bins, max(len(order), 1)) + 1).round().astype(np.int64)[1:]
    cuts = np.unique(
        [np.searchsorted(sorted_probability, sorted_probability[cut - 1], "right") for cut in wanted if cut]
    )
    starts = np.concatenate([[0], cuts[:-1]]).astype(np.int64)
    return tuple(
        ReliabilityBin(
            rows=int(stop - start),
            weight=float(mass[start:stop].sum()),
            mean_probability=float(np.average(sorted_probability[start:stop], weights=mass[start:stop])),
            rate=float(np.average(sorted_outcome[start:stop], weights=mass[start:stop])),
        )
        for start, stop in zip(starts, cuts, strict=False)
    )


def expected_calibration_error(
    *, probability: np.ndarray, outcome: np.ndarray, weight: np.ndarray | None = None, bins: int = 15
) -> float:
    """Mean |mean probability − rate| over the bins of :func:`reliability_table`, by weight; NaN without rows."""
    table = reliability_table(probability=probability, outcome=outcome, weight=weight, bins=bins)
    if not table:
        return float("nan")
    error = sum(part.weight * abs(part.mean_probability - part.rate) for part in table)
    return error / sum(part.weight for part in table)


def calibration(
    *, probability: np.ndarray, outcome: np.ndarray, weight: np.ndarray | None = None, bins: int = 15
) -> Calibration:
    """Level and error of probabilities (n,) against outcomes (n,) bool or 0/1; NaN without rows.

    weight (n,): how many trades a row stands for; None: one.
    """
    if len(probability) == 0 or (weight is not None and not np.any(weight > 0)):
        return Calibration(*[float("nan")] * 5)
    happened = np.asarray(outcome, dtype=np.float64)
    mean_probability = float(np.average(probability, weights=weight))
    rate = float(np.average(happened, weights=weight))
    return Calibration(
        mean_probability=mean_probability,
        rate=rate,
        ratio=mean_probability / rate if rate > 0 else float("nan"),
        ece=expected_calibration_error(probability=probability, outcome=outcome, weight=weight, bins=bins),
        brier=float(np.average((probability - happened) ** 2, weights=weight)),
    )
