"""Fit the fraud model: unweighted trees on log loss, stopped and calibrated on the latest part of the log.

No class weights and no resampling without compensation: both cost precision and ruin the probabilities that
the decision is computed from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from models.fraud.calibrator import Calibrator, fit_calibrator_if_it_helps, surely_better
from models.fraud.extras import EXTRAS, ExtraInputs, learn_extras
from models.fraud.growing import FraudFitSettings, Rows, grow, grow_until
from models.fraud.model import FraudModel
from models.matrix import Columns, Encoding


class FraudTrainingError(ValueError):
    """The fraud model cannot be fitted on these rows. Kinds: NoLabels, TooFewFrauds, NoSignals."""


class NoLabels(FraudTrainingError):
    """There is no row with a known label."""


class TooFewFrauds(FraudTrainingError):
    """There are too few fraudulent (or too few honest) trades to learn the difference."""


class NoSignals(FraudTrainingError):
    """Every feature column is empty."""


LEAST_LEAF_L2, FRAUDS_PER_LEAF_L2 = 5.0, 12.0
"""See :func:`_shrinkage`."""

RICH: dict[str, float | int] = {
    "leaves": 16,
    "category_smoothing": 20.0,
    "category_l2": 20.0,
    "category_splits_max": 8,
}
LOOSE: dict[str, float | int] = {
    "leaf_rows_min": 20,
    "leaf_l2": LEAST_LEAF_L2,
    "feature_share": 1.0,
    "boosters": 1,
}
"""Trees that see all inputs at once and believe small leaves: where two or three columns tell nearly all there is to
tell, trees that may choose from half of the inputs seldom see them together. Kept as RICH are; one booster, for others
would be the same."""

LOOSE_LEAF_FRAUDS = 1.0
"""Tried where the least leaf is expected to hold so many frauds: where fraud is rarer, leaves believed so early
rank the trades without any sign by noise."""

ALONE: dict[str, float | int] = {**RICH, "feature_share": 1.0, "boosters": 1, "histories": False}
"""Trees that read what the trade says of itself, and no histories: where nobody comes again, two hundred columns about
who came before are two hundred chances to err. Kept as RICH are."""

FREE_ERRORS = 1.0
"""Known frauds may speak for a trade (a place that was abused and is clean again) where the latest rows are predicted
better so by this many standard errors. Few frauds cannot tell, and then the rule is worth more than what they seem to
say; where it is wrong it costs much, so one error is enough."""

RICH_FRAUDS = 100
"""Trees that see more of how signals work together, and of categories. Tried where the latest rows hold so many frauds,
kept where they predict those rows better in one stretch of time after the other."""


class _Reordered(Mapping[str, np.ndarray]):
    """Columns in another row order, copied one at a time: a second copy of them all may not fit. ``made`` are more,
    in that order already."""

    def __init__(self, columns: Columns, order: np.ndarray, made: Columns) -> None:
        self._columns = columns
        self._order = order
        self._made = made

    def __getitem__(self, name: str) -> np.ndarray:
        return self._made[name] if name in self._made else self._columns[name][self._order]

    def __iter__(self) -> Iterator[str]:
        return iter([*self._columns, *self._made])

    def __len__(self) -> int:
        return len(self._columns) + len(self._made)


def fit_fraud(
    *,
    columns: Columns,
    fraud: np.ndarray,
    submitted_at: np.ndarray,
    names: Sequence[str],
    families: Mapping[str, str],
    weight: np.ndarray | None = None,
    settings: FraudFitSettings | None = None,
    judged: FraudModel | None = None,
) -> FraudModel:
    """Fit trees and calibrator on trades whose label has matured.

    columns: feature columns (n,). fraud (n,) bool. submitted_at (n,) int64 milliseconds. names: the columns
    to use; empty ones are left out and listed in ``absent_signals``. families: family of every name. weight
    (n,) or None: how many trades a row stands for, such as 1 / share let through at random where labels of
    blocked trades are missing. judged: a model whose shape, number of trees and calibrator are taken over, for rows
    of which the latest cannot judge; None: the latest rows judge.

    The caller has already left out every row whose label was not known at the end of training, or is younger
    than the label delay: a young row without a confirmed fraud is not yet an honest one.

    Raises NoLabels, TooFewFrauds or NoSignals.
    """
    settings = settings or FraudFitSettings()
    weight = np.ones(len(fraud)) if weight is None else np.asarray(weight, dtype=np.float64)
    _check_labels(fraud, settings)
    chosen, chosen_weight = _thin(np.asarray(fraud, dtype=bool), weight, settings)
    order = chosen[np.argsort(submitted_at[chosen], kind="stable")]
    told = columns[EXTRAS][order] if EXTRAS in names else np.array([], dtype=object)
    extras = learn_extras(list(told))
    plain = [name for name in names if name != EXTRAS and _has_values(columns[name])]
    present = [*plain, *extras.names]
    if not present:
        raise NoSignals("every feature column is empty")
    seen = _Reordered(columns, order, extras.inputs(told))
    encoding = Encoding.fit(seen, present)
    rows = Rows(encoding.matrix(seen), fraud[order].astype(np.float64), chosen_weight[order])
    own = (*settings.own_facts, *extras.names)
    settings = replace(settings, leaf_l2=_shrinkage(rows.fraud, settings), own_facts=own)
    shape = _judge_on_latest(rows, encoding, settings) if judged is None else _as_judged(judged, settings)
    return FraudModel(
        encoding=encoding,
        booster=grow(rows, encoding, shape.settings, trees=shape.trees),
        calibrator=shape.calibrator,
        families={name: families[name] for name in plain} | dict.fromkeys(extras.names, EXTRAS),
        base_rate=float(np.average(rows.fraud, weights=rows.weight)),
        absent_signals=_absent(names, plain, extras),
        extras=extras,
        metadata={
            "rows": len(fraud),
            "rows_used": len(order),
            "frauds": int(np.sum(fraud)),
            "submitted_at_first_ms": int(submitted_at.min()),
            "submitted_at_last_ms": int(submitted_at.max()),
            "trees": shape.trees,
            "stopped_on_latest": shape.on_latest,
            "settings": _listed(shape.settings),
        },
    )


def _shrinkage(fraud: np.ndarray, settings: FraudFitSettings) -> float:
    """How strongly leaves are drawn to nothing: strong shrinkage keeps noise from ranking the trades without any sign,
    but where few frauds are known it keeps the trees from learning at all."""
    return min(settings.leaf_l2, max(LEAST_LEAF_L2, float(fraud.sum()) / FRAUDS_PER_LEAF_L2))


def _absent(names: Sequence[str], plain: Sequence[str], extras: ExtraInputs) -> tuple[str, ...]:
    """Features that the training rows know nothing of."""
    known = {*plain, *([EXTRAS] if extras.names else [])}
    return tuple(name for name in names if name not in known)


def _check_labels(fraud: np.ndarray, settings: FraudFitSettings) -> None:
    if len(fraud) == 0:
        raise NoLabels("no trade with a known fraud label")
    frauds = int(np.sum(fraud))
    if min(frauds, len(fraud) - frauds) < settings.frauds_min:
        raise TooFewFrauds(
            f"{frauds} fraudulent among {len(fraud)} labelled trades; at least {settings.frauds_min} "
            "fraudulent and as many honest ones are needed"
        )


def _has_values(column: np.ndarray) -> bool:
    if column.dtype == object:
        return any(value is not None for value in column)
    return not np.isnan(column).all()


def _thin(fraud: np.ndarray, weight: np.ndarray, settings: FraudFitSettings) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers to fit on and the weight of every row, after drawing honest rows where there are too many.

    Every honest row has the same chance and the drawn ones stand for the others, so that probabilities keep
    their level.
    """
    honest = np.flatnonzero(~fraud)
    keep = max(settings.rows_max - int(fraud.sum()), settings.rows_max // 2)
    if len(honest) <= keep:
        return np.arange(len(fraud)), weight
    rng = np.random.default_rng(settings.seed)
    drawn = rng.choice(honest, size=keep, replace=False)
    scaled = np.where(fraud, weight, weight * (len(honest) / keep))
    return np.sort(np.concatenate([np.flatnonzero(fraud), drawn])), scaled


@dataclass(frozen=True)
class _Shape:
    """What the latest rows, or another model, say of how to grow: settings, number of trees, calibrator; on_latest:
    whether the latest rows could judge."""

    settings: FraudFitSettings
    trees: int
    calibrator: Calibrator
    on_latest: bool


def _judge_on_latest(rows: Rows, encoding: Encoding, settings: FraudFitSettings) -> _Shape:
    """How to grow and how to calibrate, judged on the latest rows by trees that never saw them."""
    split = len(rows.fraud) - round(settings.valid_share * len(rows.fraud))
    early, late = rows.part(slice(0, split)), rows.part(slice(split, None))
    if any(_lacks_a_class(part.fraud, settings.frauds_min) for part in (early, late)):
        return _Shape(settings, min(settings.trees_unseen, settings.trees), Calibrator(), False)
    best = _stopped(early, late, encoding, settings)
    free = _stopped(early, late, encoding, replace(settings, rising=()))
    if _better(free, best, late, errors=FREE_ERRORS):
        best = free
    for change in _worth_trying(rows, late):
        other = _stopped(early, late, encoding, replace(best.settings, **change))
        if _better(other, best, late):
            best = other
    calibrator = fit_calibrator_if_it_helps(raw_score=best.score, fraud=late.fraud, weight=late.weight)
    return _Shape(best.settings, best.trees, calibrator, True)


def _worth_trying(rows: Rows, late: Rows) -> list[dict[str, float | int]]:
    """Other ways to grow, each to be judged beside the best one before it."""
    leaf_frauds = LOOSE["leaf_rows_min"] * np.average(rows.fraud, weights=rows.weight)
    loose = [LOOSE] if leaf_frauds >= LOOSE_LEAF_FRAUDS else []
    with_histories = [RICH, *loose] if late.fraud.sum() >= RICH_FRAUDS else []
    return [*with_histories, ALONE | loose[0] if loose else ALONE]


@dataclass(frozen=True)
class _Stopped:
    """Settings, the number of trees at which the later rows' loss is least, and their raw scores (n,) then."""

    settings: FraudFitSettings
    trees: int
    score: np.ndarray


def _stopped(early: Rows, late: Rows, encoding: Encoding, settings: FraudFitSettings) -> _Stopped:
    booster = grow_until(early, late, encoding, settings)
    score = booster.predict(late.matrix, raw_score=True, num_threads=settings.threads)
    return _Stopped(settings, max(booster.best_iteration, 1), np.asarray(score))


def _better(one: _Stopped, other: _Stopped, late: Rows, *, errors: float = 2.0) -> bool:
    """Whether one predicts the later rows better than the other."""
    return surely_better(
        before=other.score, after=one.score, fraud=late.fraud, weight=late.weight, errors=errors
    )


def _lacks_a_class(fraud: np.ndarray, least: int) -> bool:
    return min(fraud.sum(), len(fraud) - fraud.sum()) < least


def _listed(settings: FraudFitSettings) -> dict[str, Any]:
    """The settings as metadata keeps them."""
    told = asdict(settings)
    return told | {name: list(value) for name, value in told.items() if isinstance(value, tuple)}


def _as_judged(model: FraudModel, settings: FraudFitSettings) -> _Shape:
    """The same as another model, whose leaves are drawn to nothing as these rows ask for, if not loose."""
    told: dict = dict(model.metadata)
    was = told["settings"]
    own: dict = {"threads": settings.threads}
    if any(was[name] != value for name, value in LOOSE.items()):
        own["leaf_l2"] = settings.leaf_l2
    names = {"rising": tuple(was["rising"]), "own_facts": settings.own_facts}
    shape = FraudFitSettings(**was | own | names)
    return _Shape(shape, int(told["trees"]), model.calibrator, bool(told["stopped_on_latest"]))
