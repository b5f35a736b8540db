"""Fit the fraud model: unweighted trees on log loss, stopped and calibrated on the latest part of the log.

No class weights and no resampling without compensation: both cost precision and ruin the probabilities that
the decision is computed from.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import lightgbm
import numpy as np

from models.fraud.calibrator import Calibrator, fit_calibrator_if_it_helps
from models.fraud.extras import EXTRAS, ExtraInputs, learn_extras
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


@dataclass(frozen=True)
class FraudFitSettings:
    """How the trees are grown.

    leaf_l2: at most, see :func:`_shrinkage`. leaves: small trees are as precise as larger ones, keep the level
    of probabilities better, and are explained several times faster. bins: many, as frauds often sit just above
    a round amount. category_*: how strongly splits on card type, category and form are held back; with few
    frauds they memorise which kinds happened to be hit, and the kinds' smoothed rates are features anyway.
    trees: most trees. patience: trees without a lower log loss before stopping. valid_share: share of rows, the
    latest, that stop and calibrate. trees_unseen: number of trees when that slice holds too few frauds to
    judge. frauds_min: least frauds (and least honest trades) on each side. rows_max: above this, honest trades
    are drawn at random and weighted back up; all frauds stay. threads: 0 uses all cores.
    """

    trees: int = 600
    leaves: int = 8
    learning_rate: float = 0.05
    leaf_rows_min: int = 50
    leaf_l2: float = 50.0
    feature_share: float = 0.8
    bins: int = 1023
    category_smoothing: float = 300.0
    category_l2: float = 100.0
    category_splits_max: int = 4
    patience: int = 40
    valid_share: float = 0.2
    trees_unseen: int = 80
    frauds_min: int = 10
    rows_max: int = 3_000_000
    seed: int = 7
    threads: int = 0

    def parameters(self) -> dict[str, object]:
        """LightGBM parameters; ``deterministic`` with a fixed seed makes two fits bit-identical."""
        return {
            "objective": "binary",
            "metric": "binary_logloss",
            "num_leaves": self.leaves,
            "learning_rate": self.learning_rate,
            "min_data_in_leaf": self.leaf_rows_min,
            "lambda_l2": self.leaf_l2,
            "feature_fraction": self.feature_share,
            "max_bin": self.bins,
            "cat_smooth": self.category_smoothing,
            "cat_l2": self.category_l2,
            "max_cat_threshold": self.category_splits_max,
            "seed": self.seed,
            "num_threads": self.threads,
            "deterministic": True,
            "force_row_wise": True,
            "verbosity": -1,
        }


LEAST_LEAF_L2, FRAUDS_PER_LEAF_L2 = 5.0, 12.0
"""See :func:`_shrinkage`."""


@dataclass(frozen=True)
class _Rows:
    """Training rows in time order: matrix (n, k) float64, fraud (n,) 0.0/1.0, weight (n,)."""

    matrix: np.ndarray
    fraud: np.ndarray
    weight: np.ndarray

    def part(self, rows: slice) -> _Rows:
        return _Rows(self.matrix[rows], self.fraud[rows], self.weight[rows])


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
    blocked trades are missing. judged: a model whose number of trees and calibrator are taken over, for rows
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
    rows = _Rows(encoding.matrix(seen), fraud[order].astype(np.float64), chosen_weight[order])
    settings = replace(settings, leaf_l2=_shrinkage(rows.fraud, settings))
    trees, calibrator, on_latest = (
        _judge_on_latest(rows, encoding, settings) if judged is None else _as_judged(judged)
    )
    base_rate = float(np.average(rows.fraud, weights=rows.weight))
    return FraudModel(
        encoding=encoding,
        booster=_booster(rows, encoding, settings, trees=trees),
        calibrator=calibrator,
        families={name: families[name] for name in plain} | dict.fromkeys(extras.names, EXTRAS),
        base_rate=base_rate,
        absent_signals=_absent(names, plain, extras),
        extras=extras,
        metadata={
            "rows": len(fraud),
            "rows_used": len(order),
            "frauds": int(np.sum(fraud)),
            "submitted_at_first_ms": int(submitted_at.min()),
            "submitted_at_last_ms": int(submitted_at.max()),
            "trees": trees,
            "stopped_on_latest": on_latest,
            "settings": asdict(settings),
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


def _judge_on_latest(
    rows: _Rows, encoding: Encoding, settings: FraudFitSettings
) -> tuple[int, Calibrator, bool]:
    """How many trees to grow and how to calibrate, judged on the latest rows by trees that never saw them."""
    split = len(rows.fraud) - round(settings.valid_share * len(rows.fraud))
    early, late = rows.part(slice(0, split)), rows.part(slice(split, None))
    if any(_lacks_a_class(part.fraud, settings.frauds_min) for part in (early, late)):
        return min(settings.trees_unseen, settings.trees), Calibrator(), False
    booster = _booster(early, encoding, settings, trees=settings.trees, latest=late)
    raw_score = np.asarray(booster.predict(late.matrix, raw_score=True, num_threads=settings.threads))
    calibrator = fit_calibrator_if_it_helps(raw_score=raw_score, fraud=late.fraud, weight=late.weight)
    return max(booster.best_iteration, 1), calibrator, True


def _lacks_a_class(fraud: np.ndarray, least: int) -> bool:
    return min(fraud.sum(), len(fraud) - fraud.sum()) < least


def _as_judged(model: FraudModel) -> tuple[int, Calibrator, bool]:
    """The same as another model."""
    return model.booster.num_trees(), model.calibrator, bool(model.metadata["stopped_on_latest"])


def _booster(
    rows: _Rows,
    encoding: Encoding,
    settings: FraudFitSettings,
    *,
    trees: int,
    latest: _Rows | None = None,
) -> lightgbm.Booster:
    """Grow trees; with ``latest`` stop when its log loss no longer falls. Free of the training data."""
    data = _dataset(rows, encoding)
    watched = [] if latest is None else [_dataset(latest, encoding, bins_of=data)]
    stopping = [] if latest is None else [lightgbm.early_stopping(settings.patience, verbose=False)]
    booster = lightgbm.train(
        settings.parameters(), data, num_boost_round=trees, valid_sets=watched, callbacks=stopping
    )
    best = booster.best_iteration
    bare = lightgbm.Booster(model_str=booster.model_to_string())
    bare.best_iteration = best
    return bare


def _dataset(rows: _Rows, encoding: Encoding, *, bins_of: lightgbm.Dataset | None = None) -> lightgbm.Dataset:
    return lightgbm.Dataset(
        rows.matrix,
        label=rows.fraud,
        weight=rows.weight,
        reference=bins_of,
        feature_name=_tree_names(encoding.names),
        categorical_feature=encoding.categorical,
    )


def _tree_names(names: Sequence[str]) -> list[str]:
    """Names as LightGBM takes them, which knows neither blanks nor JSON's own signs."""
    return [
        f"{re.sub(r'[^A-Za-z0-9_.@]', '_', name)}"
        + ("" if name.isascii() and name.replace(".", "_").isidentifier() else f"_{place}")
        for place, name in enumerate(names)
    ]
