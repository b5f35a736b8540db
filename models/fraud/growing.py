"""How the trees of the fraud model are grown: settings, rows in, a booster out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import lightgbm
import numpy as np
from lightgbm.basic import _safe_call
from lightgbm.libpath import _LIB

from models.matrix import Encoding

FEW_FRAUDS = 3_000
"""Up to so many are few: more of them leave little to the seed."""


@dataclass(frozen=True)
class FraudFitSettings:
    """How the trees are grown.

    The defaults are the careful way of :data:`models.fraud.judging.WAYS`, which says what others change.
    leaf_l2: at most, see :func:`models.fraud.judging.shrunk`. leaves: small trees are as precise as larger ones,
    keep the level of probabilities better, and are explained several times faster. bins: many, as frauds often sit
    just above a round amount. category_*: how strongly splits on card type, category and form are held back; with few
    frauds they memorise which kinds happened to be hit, and the kinds' smoothed rates are features anyway.
    rising: inputs of which more may only make a trade riskier (:meth:`features.registry.Registry.rising_risks`).
    own_facts: inputs that speak of the trade itself, as of :meth:`features.registry.Registry.own_facts`; histories:
    whether the trees may read any others.
    boosters: grown with as many seeds and averaged where frauds are few, for which input speaks for one of them is much
    chance; feature_share: inputs that a tree may choose from, which makes them differ. trees: most trees of each; some
    hundred are enough for rare signs of fraud, tables that tell it nearly surely take more.
    patience: trees without a lower log loss before stopping. valid_share: share of rows, the latest, that stop and
    calibrate. trees_unseen: number of trees when that slice holds too few frauds to judge. frauds_min: least frauds
    (and least honest trades) on each side. rows_max: above this, honest trades are drawn at random and weighted back
    up; all frauds stay. threads: 0 uses all cores.
    """

    trees: int = 1200
    boosters: int = 3
    rising: tuple[str, ...] = ()
    own_facts: tuple[str, ...] = ()
    histories: bool = True
    leaves: int = 8
    learning_rate: float = 0.1
    leaf_rows_min: int = 50
    leaf_l2: float = 50.0
    feature_share: float = 0.5
    bins: int = 1023
    category_smoothing: float = 300.0
    category_l2: float = 100.0
    category_splits_max: int = 4
    patience: int = 40
    valid_share: float = 0.2
    trees_unseen: int = 40
    frauds_min: int = 10
    rows_max: int = 3_000_000
    seed: int = 7
    threads: int = 0

    def parameters(self, names: Sequence[str]) -> dict[str, object]:
        """LightGBM parameters for inputs of these names; ``deterministic`` with a fixed seed makes two fits
        bit-identical."""
        rises = [int(name in self.rising) for name in names]
        worth = [float(self.histories or name in self.own_facts) for name in names]
        return {
            "objective": "binary",
            "metric": "binary_logloss",
            "num_leaves": self.leaves,
            "learning_rate": self.learning_rate,
            "min_data_in_leaf": self.leaf_rows_min,
            "lambda_l2": self.leaf_l2,
            "feature_fraction": self.feature_share,
            "feature_contri": worth,
            "max_bin": self.bins,
            "monotone_constraints": rises,
            "monotone_constraints_method": "basic",
            "cat_smooth": self.category_smoothing,
            "cat_l2": self.category_l2,
            "max_cat_threshold": self.category_splits_max,
            "seed": self.seed,
            "num_threads": self.threads,
            "deterministic": True,
            "force_col_wise": True,
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

    def early_and_late(self, settings: FraudFitSettings) -> tuple[Rows, Rows]:
        """All but the latest ``valid_share``, and those; both look into the same matrix."""
        split = len(self.fraud) - round(settings.valid_share * len(self.fraud))
        return self.part(slice(0, split)), self.part(slice(split, None))

    def lacks_a_class(self, settings: FraudFitSettings) -> bool:
        """Whether there are too few fraudulent or too few honest ones to judge by."""
        frauds = self.fraud.sum()
        return min(frauds, len(self.fraud) - frauds) < settings.frauds_min


def grow(rows: Rows, encoding: Encoding, settings: FraudFitSettings, *, trees: int) -> lightgbm.Booster:
    """Grow so many trees for each booster; where frauds are few, several are averaged. Free of the training data."""
    data = _dataset(rows, encoding)
    count = settings.boosters if rows.fraud.sum() <= FEW_FRAUDS else 1
    parameters = settings.parameters(encoding.names)
    grown = [
        lightgbm.train(
            parameters | {"feature_fraction_seed": settings.seed + number}, data, num_boost_round=trees
        )
        for number in range(count)
    ]
    return blended(grown, [1 / count] * count)


def grow_until(early: Rows, latest: Rows, encoding: Encoding, settings: FraudFitSettings) -> lightgbm.Booster:
    """Grow one booster on the earlier rows until the log loss of the latest no longer falls."""
    data = _dataset(early, encoding)
    return lightgbm.train(
        settings.parameters(encoding.names),
        data,
        num_boost_round=settings.trees,
        valid_sets=[_dataset(latest, encoding, bins_of=data)],
        callbacks=[lightgbm.early_stopping(settings.patience, verbose=False)],
    )


def blended(boosters: Sequence[lightgbm.Booster], shares: Sequence[float]) -> lightgbm.Booster:
    """One booster whose raw score is the weighted mean of theirs: all their trees, with leaves times their shares,
    which add up to 1."""
    mean, *others = (_scaled(booster, share) for booster, share in zip(boosters, shares, strict=True))
    for other in others:
        _safe_call(_LIB.LGBM_BoosterMerge(mean._handle, other._handle))
    return lightgbm.Booster(model_str=mean.model_to_string())


def _scaled(booster: lightgbm.Booster, share: float) -> lightgbm.Booster:
    text = booster.model_to_string()
    scaled = lightgbm.Booster(model_str=text)
    leaves = [int(found) for found in re.findall(r"^num_leaves=(\d+)$", text, re.MULTILINE)]
    for tree, count in enumerate(leaves):
        for leaf in range(count):
            scaled.set_leaf_output(tree, leaf, share * scaled.get_leaf_output(tree, leaf))
    return scaled


def _dataset(rows: Rows, encoding: Encoding, *, bins_of: lightgbm.Dataset | None = None) -> lightgbm.Dataset:
    return lightgbm.Dataset(
        rows.matrix,
        label=rows.fraud,
        weight=rows.weight,
        reference=bins_of,
        feature_name=_tree_names(encoding.names),
        categorical_feature=[encoding.names.index(name) for name in encoding.categorical],
    )


def _tree_names(names: Sequence[str]) -> list[str]:
    """Names as LightGBM takes them, which knows neither blanks nor JSON's own signs: changed ones end in ``@`` and
    their place, which no other name does."""
    return [
        f"{re.sub(r'[^A-Za-z0-9_.@]', '_', name)}"
        + ("" if name.isascii() and name.replace(".", "_").isidentifier() else f"@{place}")
        for place, name in enumerate(names)
    ]
