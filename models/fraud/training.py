"""Fit the fraud model: unweighted trees on log loss, stopped and calibrated on the latest part of the log.

No class weights and no resampling without compensation: both cost precision and ruin the probabilities that
the decision is computed from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from models.fraud.extras import EXTRAS, ExtraInputs, learn_extras
from models.fraud.growing import FraudFitSettings, Rows
from models.fraud.judging import as_judged, judged_on_latest, shrunk
from models.fraud.model import FraudModel
from models.fraud.pauses import Paused, learned_with_pauses
from models.matrix import Columns, Encoding, Taken

LABELS_PAUSED = "labels_paused"
"""Key of a model's metadata: whether it has learned what trades look like while labels pause."""


class FraudTrainingError(ValueError):
    """The fraud model cannot be fitted on these rows. Kinds: NoLabels, TooFewFrauds, NoSignals."""


class NoLabels(FraudTrainingError):
    """There is no row with a known label."""


class TooFewFrauds(FraudTrainingError):
    """There are too few fraudulent (or too few honest) trades to learn the difference."""


class NoSignals(FraudTrainingError):
    """Every feature column is empty."""


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
    paused: Columns | None = None,
) -> FraudModel:
    """Fit trees and calibrator on trades whose label has matured.

    columns: feature columns (n,). fraud (n,) bool. submitted_at (n,) int64 milliseconds. names: the columns
    to use; empty ones are left out and listed in ``absent_signals``. families: family of every name. weight
    (n,) or None: how many trades a row stands for, such as 1 / share let through at random where labels of
    blocked trades are missing. judged: a model whose shape, number of trees and calibrator are taken over, for rows
    of which the latest cannot judge; None: the latest rows judge. paused: those of the columns that known labels go
    into, as they would be had these come in a few batches; half of the rows are learned so where the latest ones are
    foretold better by it (``labels_paused`` in the metadata). None: it is not tried.

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
    seen = Taken(columns, order, beside=extras.inputs(told))
    encoding = Encoding.fit(seen, present)
    rows = Rows(encoding.matrix(seen), fraud[order].astype(np.float64), chosen_weight[order])
    own = (*settings.own_facts, *extras.names)
    settings = replace(shrunk(settings, rows.fraud), own_facts=own)
    pauses = paused is not None and _learn_pauses(
        rows, Taken(paused, order), encoding, settings=settings, judged=judged
    )
    shape = judged_on_latest(rows, encoding, settings) if judged is None else as_judged(judged, settings)
    return FraudModel(
        encoding=encoding,
        booster=shape.grow(rows, encoding),
        calibrator=shape.calibrator,
        families={name: families[name] for name in plain} | dict.fromkeys(extras.names, EXTRAS),
        base_rate=float(np.average(rows.fraud, weights=rows.weight)),
        absent_signals=_absent(names, plain, extras),
        extras=extras,
        metadata=shape.facts()
        | {
            LABELS_PAUSED: pauses,
            "rows": len(fraud),
            "rows_used": len(order),
            "frauds": int(np.sum(fraud)),
            "submitted_at_first_ms": int(submitted_at.min()),
            "submitted_at_last_ms": int(submitted_at.max()),
        },
    )


def _learn_pauses(
    rows: Rows, paused: Columns, encoding: Encoding, *, settings: FraudFitSettings, judged: FraudModel | None
) -> bool:
    """Whether half of the rows have become what they are while labels pause: as with the judged model, if there is
    one."""
    drawn = Paused.drawn(paused, encoding, rows=len(rows.fraud), seed=settings.seed)
    if judged is None:
        return learned_with_pauses(rows, drawn, encoding, settings)
    if judged.metadata.get(LABELS_PAUSED):
        drawn.swap(rows.matrix)
        return True
    return False


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
