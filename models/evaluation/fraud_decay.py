"""How fast does a fraud model age? Its figures week by week since it was trained."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

import numpy as np

from models.evaluation.calibration import calibration
from models.evaluation.fraud import DAY_MS, Judged, average_precision, recall_at_fpr
from models.evaluation.fraud_slices import LEAST_FRAUDS, LEAST_TRADES

WEEK_MS = 7 * DAY_MS


@dataclass(frozen=True)
class WeekMetrics:
    """Figures of the trades submitted in week ``week`` (1 is the first) after the model's training ended.

    trades, frauds: rows; the other figures weighted, NaN where not defined. calibration_ratio: mean_probability /
    rate. enough: whether there are enough of both to say something.
    """

    week: int
    trades: int
    frauds: int
    average_precision: float
    recall_at_1pct_fpr: float
    mean_probability: float
    rate: float
    calibration_ratio: float
    enough: bool

    def to_dict(self) -> dict[str, float]:
        """Figures for a log of numbers, ``week_1_ap`` and so on."""
        short = {key.replace("average_precision", "ap"): value for key, value in asdict(self).items()}
        return {f"week_{self.week}_{key}": float(value) for key, value in short.items() if key != "week"}


def evaluate_weeks(judged: Judged, *, trained_until_ms: int) -> tuple[WeekMetrics, ...]:
    """Every week with a trade, in order. trained_until_ms: the moment from which the model knew nothing; trades
    before it are left out."""
    week = (judged.submitted_at - trained_until_ms) // WEEK_MS + 1
    return tuple(_evaluate_week(int(one), judged.rows(week == one)) for one in np.unique(week[week >= 1]))


def flat(weeks: Iterable[WeekMetrics]) -> dict[str, float]:
    """All figures of all weeks, by name."""
    return {key: value for week in weeks for key, value in week.to_dict().items()}


def _evaluate_week(week: int, part: Judged) -> WeekMetrics:
    fraud = np.asarray(part.fraud, dtype=bool)
    ranking = {"fraud": fraud, "probability": part.probability, "weight": part.weight}
    level = calibration(probability=part.probability, outcome=fraud, weight=part.weight)
    return WeekMetrics(
        week=week,
        trades=len(fraud),
        frauds=int(fraud.sum()),
        average_precision=average_precision(**ranking),
        recall_at_1pct_fpr=recall_at_fpr(**ranking, fpr=0.01),
        mean_probability=level.mean_probability,
        rate=level.rate,
        calibration_ratio=level.ratio,
        enough=len(fraud) >= LEAST_TRADES and int(fraud.sum()) >= LEAST_FRAUDS,
    )
