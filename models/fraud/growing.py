"""How the trees of the fraud model are grown: settings, rows in, a booster out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import lightgbm
import numpy as np

from models.matrix import Encoding


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


@dataclass(frozen=True)
class Rows:
    """Training rows in time order: matrix (n, k) float64, fraud (n,) 0.0/1.0, weight (n,)."""

    matrix: np.ndarray
    fraud: np.ndarray
    weight: np.ndarray

    def part(self, rows: slice) -> Rows:
        return Rows(self.matrix[rows], self.fraud[rows], self.weight[rows])


def grow(
    rows: Rows,
    encoding: Encoding,
    settings: FraudFitSettings,
    *,
    trees: int,
    latest: Rows | None = None,
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


def _dataset(rows: Rows, encoding: Encoding, *, bins_of: lightgbm.Dataset | None = None) -> lightgbm.Dataset:
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
