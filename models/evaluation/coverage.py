"""Are resale ranges honest? Coverage overall, by tail, by card type and by week."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.discount.ranges import LEVELS
from models.discount.resale import ResaleEstimate

NAN = float("nan")
JUDGED_ROWS = 300
"""A card type with as many resales is held to its coverage."""
SMALLEST_GROUP = 50
"""A card type or a week needs as many resales before a coverage is named at all."""


@dataclass(frozen=True)
class RangeMetrics:
    """Shares of resold trades. coverage_90: inside [p05, p95]; coverage_80: inside [p10, p90].

    below_p05, below_p10, above_p90, above_p95: outside on that side. width_80, width_90: mean, in rate. pinball: mean
    loss of the five quantiles, in rate: what honest and narrow ranges make small.
    …_worst_type: of the card type where it is lowest, among those with JUDGED_ROWS resales; …_worst_small_type: among
    those with SMALLEST_GROUP; …_worst_week: of the week of submission where it is lowest, which shows a market that
    moved away. worst_type: its name for coverage_90, "" where none has JUDGED_ROWS.
    """

    coverage_80: float = NAN
    coverage_90: float = NAN
    below_p05: float = NAN
    below_p10: float = NAN
    above_p90: float = NAN
    above_p95: float = NAN
    width_80: float = NAN
    width_90: float = NAN
    pinball: float = NAN
    coverage_80_worst_type: float = NAN
    coverage_80_worst_small_type: float = NAN
    coverage_80_worst_week: float = NAN
    coverage_90_worst_type: float = NAN
    coverage_90_worst_small_type: float = NAN
    coverage_90_worst_week: float = NAN
    worst_type: str = ""


def range_metrics(
    estimate: ResaleEstimate, resale_rate: np.ndarray, card_type: np.ndarray, week: np.ndarray
) -> RangeMetrics:
    """Arrays (n,); rows with a resale rate are judged. week: any number of the week."""
    resold = np.isfinite(resale_rate)
    if not resold.any():
        return RangeMetrics()
    actual, types, weeks = resale_rate[resold], card_type[resold].astype(str), week[resold]
    p05, p10, p90, p95 = (bound[resold] for bound in (estimate.p05, estimate.p10, estimate.p90, estimate.p95))
    in_80, in_90 = (actual >= p10) & (actual <= p90), (actual >= p05) & (actual <= p95)
    worst_80, worst_90 = worst_share(in_80, types, JUDGED_ROWS), worst_share(in_90, types, JUDGED_ROWS)
    return RangeMetrics(
        coverage_80=float(in_80.mean()),
        coverage_90=float(in_90.mean()),
        below_p05=float((actual < p05).mean()),
        below_p10=float((actual < p10).mean()),
        above_p90=float((actual > p90).mean()),
        above_p95=float((actual > p95).mean()),
        width_80=float((p90 - p10).mean()),
        width_90=float((p95 - p05).mean()),
        pinball=sum(
            pinball(actual, bound, level)
            for bound, level in zip((p05, p10, estimate.p50[resold], p90, p95), LEVELS, strict=True)
        )
        / len(LEVELS),
        coverage_80_worst_type=worst_80[0],
        coverage_80_worst_small_type=worst_share(in_80, types, SMALLEST_GROUP)[0],
        coverage_80_worst_week=worst_share(in_80, weeks, SMALLEST_GROUP)[0],
        coverage_90_worst_type=worst_90[0],
        coverage_90_worst_small_type=worst_share(in_90, types, SMALLEST_GROUP)[0],
        coverage_90_worst_week=worst_share(in_90, weeks, SMALLEST_GROUP)[0],
        worst_type=worst_90[1],
    )


def pinball(actual: np.ndarray, quantile: np.ndarray, level: float) -> float:
    """Mean quantile loss at ``level``."""
    gap = actual - quantile
    return float(np.maximum(level * gap, (level - 1) * gap).mean())


def share_by_group(inside: np.ndarray, group: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels (g,) ascending, the share of ``inside`` (n,) bool of each, and its rows."""
    labels, position, counts = np.unique(group, return_inverse=True, return_counts=True)
    return labels, np.bincount(position, inside) / counts, counts


def worst_share(inside: np.ndarray, group: np.ndarray, least_rows: int) -> tuple[float, str]:
    """The lowest share of any group with ``least_rows``, and its label; NaN and "" where no group has."""
    labels, share, counts = share_by_group(inside, group)
    share = np.where(counts >= least_rows, share, np.nan)
    if np.isnan(share).all():
        return NAN, ""
    worst = int(np.nanargmin(share))
    return float(share[worst]), str(labels[worst])
