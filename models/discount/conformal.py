"""Split-conformal correction of a resale range by tail (Romano, Patterson, Candès 2019, arXiv 1905.03222).

Raw tree quantiles are too narrow on the next month. On later rows the p10 is lowered (or raised) by what
puts a tenth of the outcomes below it, and the p90 likewise, so each bound is honest by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

TAIL = 0.10
"""Share of outcomes outside on either side: the range covers 80 %."""
MIN_GROUP_ROWS = 200
"""A category with fewer later rows than this uses the correction of all rows together."""


@dataclass(frozen=True)
class RangeCorrection:
    """How far p10 goes down and p90 goes up, in rate; per category, and overall for the others."""

    down: dict[str, float]
    up: dict[str, float]
    down_overall: float
    up_overall: float

    def apply(
        self, *, groups: np.ndarray, low: np.ndarray, high: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Corrected bounds; ``groups`` (n,) object names each row's category."""
        down = np.array([self.down.get(group, self.down_overall) for group in groups])
        up = np.array([self.up.get(group, self.up_overall) for group in groups])
        return low - down, high + up

    def to_dict(self) -> dict[str, object]:
        return {
            "down": self.down,
            "up": self.up,
            "down_overall": self.down_overall,
            "up_overall": self.up_overall,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, object]) -> RangeCorrection:
        return cls(**data)  # type: ignore[arg-type]


def fit_correction(
    *, groups: np.ndarray, outcome: np.ndarray, low: np.ndarray, high: np.ndarray
) -> RangeCorrection:
    """Learn the correction from rows later than those the bounds were fitted on; all arrays (n,), n > 0."""
    too_low, too_high = low - outcome, outcome - high
    names, counts = np.unique(groups.astype(str), return_counts=True)
    members = {str(name): groups.astype(str) == name for name in names[counts >= MIN_GROUP_ROWS]}
    return RangeCorrection(
        down={name: _conformal_quantile(too_low[rows]) for name, rows in members.items()},
        up={name: _conformal_quantile(too_high[rows]) for name, rows in members.items()},
        down_overall=_conformal_quantile(too_low),
        up_overall=_conformal_quantile(too_high),
    )


def _conformal_quantile(scores: np.ndarray) -> float:
    """The least correction that leaves at most TAIL outside, with the small-sample step up of (n + 1) / n."""
    rank = int(np.ceil((1 - TAIL) * (len(scores) + 1)))
    return float(np.sort(scores)[min(rank, len(scores)) - 1])
