"""What is logged with a fraud model beside its headline figures: intervals, parts of the trades, week by week."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

import numpy as np

from models.evaluation import fraud_decay, fraud_slices
from models.evaluation.bootstrap import Difference
from models.evaluation.fraud import Judged
from models.evaluation.fraud_decay import WeekMetrics, evaluate_weeks
from models.evaluation.fraud_intervals import average_precision_interval
from models.evaluation.fraud_slices import SliceMetrics, evaluate_profiles, evaluate_slices, slice_masks
from models.fraud.profiles import handle, high_stakes
from models.matrix import Columns
from models.policy import Profile
from pipelines.settings import Settings


@dataclass(frozen=True)
class FraudDetails:
    """Parts and weeks of the judged trades, and the interval of the average precision over days and sellers."""

    interval: Difference
    slices: tuple[SliceMetrics, ...]
    weeks: tuple[WeekMetrics, ...]

    def to_dict(self) -> dict[str, float]:
        """Figures by name: average_precision_low, slice_new_sellers_ap, week_1_recall_at_1pct_fpr and so on."""
        return {
            "average_precision_low": self.interval.low,
            "average_precision_high": self.interval.high,
            **fraud_slices.flat(self.slices),
            **fraud_decay.flat(self.weeks),
        }


def fraud_details(
    judged: Judged, *, columns: Columns, trained_until_us: int, settings: Settings
) -> FraudDetails:
    """columns: features (n,) of the judged trades. trained_until_us: the moment from which the model knew nothing."""
    rng = np.random.default_rng(settings.training.seed)
    policy = {"costs": settings.costs, "decision": settings.decision}
    masks = slice_masks(columns, face_value_fen=judged.face_value_fen)
    actions = profile_actions(judged, columns=columns, settings=settings)
    return FraudDetails(
        interval=average_precision_interval(judged, rng=rng),
        slices=(
            *evaluate_slices(judged, masks, **policy, rng=rng),
            *evaluate_profiles(judged, actions, **policy, rng=rng),
        ),
        weeks=evaluate_weeks(judged, trained_until_ms=trained_until_us // 1000),
    )


def profile_actions(judged: Judged, *, columns: Columns, settings: Settings) -> dict[str, np.ndarray]:
    """What each profile would make of the model's decisions: profile -> actions (n,)."""
    stakes = high_stakes(face_value_fen=judged.face_value_fen, columns=columns, decision=settings.decision)
    return {
        profile: handle(
            action=judged.action,
            probability=judged.probability,
            payout_fen=judged.payout_fen,
            stakes=stakes,
            profile=profile,
            decision=settings.decision,
        ).action
        for profile in get_args(Profile)
    }
