"""What a promotion of the fraud model asks of the challenger, on trades that neither model was fitted on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from models.evaluation.bootstrap import Difference, TooFewClusters, mean_difference, paired_bootstrap
from models.evaluation.fraud import Judged
from models.evaluation.fraud_slices import LEAST_FRAUDS, LEAST_TRADES, SliceMetrics, slice_masks
from pipelines.settings import Settings
from pipelines.training.discount_checks import MOST_ECE
from pipelines.training.examples import Examples
from pipelines.training.fraud_details import FraudDetails
from pipelines.training.promotion_checks import Check, check, clusters, not_judged, paired_gain

AP_TOLERANCE = 0.01
LEVEL = (0.9, 1.1)
"""Mean probability over rate, the least and the most."""
SURE_LEVEL = 0.998
"""Level of the interval by which a part of the trades is found costlier: some twenty parts are looked at."""


@dataclass(frozen=True)
class Candidate:
    """The newer trades as one model knows them, what it made of them, and its figures."""

    seen: Examples
    judged: Judged
    figures: Mapping[str, float]

    def weighted_cost_fen(self, settings: Settings) -> np.ndarray:
        """Cost of each trade's decision (n,), by its weight and so that the mean is the mean cost."""
        weights = self.judged.weights
        cost = self.judged.cost_fen(costs=settings.costs, decision=settings.decision)
        return cost * weights / weights.mean()


def fraud_checks(*, champion: Candidate, challenger: Candidate, settings: Settings) -> tuple[Check, ...]:
    """All conditions; both candidates are of the same trades in the same order."""
    old, new = champion.figures, challenger.figures
    gain = paired_gain(
        -champion.weighted_cost_fen(settings), -challenger.weighted_cost_fen(settings), examples=champion.seen
    )
    return (
        check(f"cost per trade falls: {gain}", gain.low >= 0),
        check(
            f"average precision {new['average_precision']:.3f} against {old['average_precision']:.3f}",
            new["average_precision"] >= old["average_precision"] - AP_TOLERANCE,
        ),
        check(f"calibration error {new['ece']:.4f} is at most {MOST_ECE}", new["ece"] <= MOST_ECE),
        _level_check(challenger),
        _parts_check(champion, challenger, settings),
    )


def _level_check(challenger: Candidate) -> Check:
    """Whether mean probability over rate lies inside LEVEL, or could by chance."""
    judged, low, high = challenger.judged, *LEVEL
    what = f"mean probability over rate {challenger.figures['calibration_ratio']:.2f}"
    if judged.fraud.sum() < LEAST_FRAUDS:
        return not_judged(what, f"{int(judged.fraud.sum())} frauds")
    promised, happened = judged.probability * judged.weights, judged.fraud * judged.weights
    found = _interval(
        lambda times: _ratio(float((promised * times).sum()), float((happened * times).sum())),
        challenger.seen,
        level=0.95,
    )
    return check(
        f"{what}, 95 % interval {found.low:.2f} to {found.high:.2f}, reaches into {low} to {high}",
        not (found.high < low or found.low > high),
    )


def _parts_check(champion: Candidate, challenger: Candidate, settings: Settings) -> Check:
    """Whether no part with enough trades has become costlier beyond chance: by fraud missed, or by honest trades
    stopped."""
    old, new = (one.weighted_cost_fen(settings) for one in (champion, challenger))
    masks = slice_masks(champion.seen.columns, face_value_fen=champion.seen.face_value_fen)
    enough = {name: rows for name, rows in masks.items() if rows.sum() >= LEAST_TRADES}
    if not enough:
        return not_judged("cost of the parts", "no part has enough trades")
    worse = []
    for name, rows in enough.items():
        gain = mean_difference(-old[rows], -new[rows])
        found = _interval(gain, champion.seen.rows(np.flatnonzero(rows)), level=SURE_LEVEL)
        if found.high < 0:
            worse.append(f"{name} by {-found.estimate / 100:.2f} CNY per trade")
    return check(
        f"{len(enough)} parts of the trades, costlier beyond chance: {', '.join(worse) or 'none'}", not worse
    )


def _ratio(promised: float, happened: float) -> float:
    return promised / happened if happened > 0 else float("nan")


def _interval(statistic: Callable[[np.ndarray], float], examples: Examples, *, level: float) -> Difference:
    try:
        return paired_bootstrap(
            difference=statistic,
            clusters=clusters(examples),
            rng=np.random.default_rng(0),
            level=level,
        )
    except TooFewClusters:
        return Difference(float("nan"), -np.inf, np.inf, 0)


def notes_on(details: Sequence[FraudDetails]) -> tuple[str, ...]:
    """A line for each part with enough frauds and for each week: of the one model, or of champion and challenger."""
    slices = [{part.name: part for part in one.slices if part.enough} for one in details]
    parts = [
        _part_line([own[name] for own in slices]) for name in slices[0] if all(name in own for own in slices)
    ]
    weeks = []
    for of_models in zip(*(one.weeks for one in details), strict=True):
        if of_models[0].enough:
            weeks.append(
                f"week {of_models[0].week}: {of_models[0].frauds} frauds, average precision "
                + _both([week.average_precision for week in of_models], ".3f")
                + ", recall at 1 % "
                + _both([week.recall_at_1pct_fpr for week in of_models], ".3f")
                + ", mean probability over rate "
                + _both([week.calibration_ratio for week in of_models], ".2f")
            )
    return (*parts, *weeks)


def _part_line(parts: Sequence[SliceMetrics]) -> str:
    return (
        f"{parts[0].name}: {parts[0].trades:,} trades, {parts[0].frauds} frauds, average precision "
        + _both([part.average_precision for part in parts], ".3f")
        + ", recall "
        + _both([part.recall for part in parts], ".3f")
        + ", CNY per 1,000 trades "
        + _both([part.cost_per_1000_fen / 100 for part in parts], ",.0f")
    )


def _both(values: Sequence[float], form: str) -> str:
    return " → ".join(format(value, form) for value in values)
