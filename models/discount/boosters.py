"""LightGBM as the discount model uses it: chosen rounds, fixed seeds, text files, one thread live."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import lightgbm
import numpy as np


@dataclass(frozen=True)
class BoosterSettings:
    """How trees are grown. ``threads`` 0: all cores. ``patience``: rounds without gain before stopping."""

    learning_rate: float = 0.06
    leaves: int = 8
    max_depth: int = 4
    min_rows_per_leaf: int = 60
    l2: float = 5.0
    max_rounds: int = 400
    patience: int = 30
    threads: int = 0
    seed: int = 7

    def parameters(self) -> dict[str, object]:
        return {
            "learning_rate": self.learning_rate,
            "num_leaves": self.leaves,
            "max_depth": self.max_depth,
            "min_data_in_leaf": self.min_rows_per_leaf,
            "lambda_l2": self.l2,
            "num_threads": self.threads,
            "seed": self.seed,
            "deterministic": True,
            "force_row_wise": True,
            "feature_pre_filter": False,
            "verbosity": -1,
        }


def binned(
    *, matrix: np.ndarray, names: Sequence[str], categorical: list[str], settings: BoosterSettings
) -> lightgbm.Dataset:
    """Inputs (n, k) in LightGBM's bins, once for all boosters that learn from them; see :func:`part_of`."""
    return lightgbm.Dataset(
        matrix,
        label=np.zeros(len(matrix), dtype=np.float32),
        feature_name=list(names),
        categorical_feature=categorical,
        params=settings.parameters(),
    ).construct()


def part_of(data: lightgbm.Dataset, rows: slice, target: np.ndarray) -> lightgbm.Dataset:
    """The chosen rows of binned inputs, with their target."""
    chosen = np.arange(data.num_data())[rows]
    return data.subset(chosen.tolist()).construct().set_label(target)


def fit_with_early_stop(
    *,
    data: lightgbm.Dataset,
    target: np.ndarray,
    train_until: int,
    parameters: dict[str, object],
    settings: BoosterSettings,
) -> lightgbm.Booster:
    """Fit on the rows before ``train_until``; it has as many trees as were best on the rows from there on."""
    before, later = slice(0, train_until), slice(train_until, None)
    train = part_of(data, before, target[before])
    booster = lightgbm.Booster({**settings.parameters(), **parameters}, train)
    booster.add_valid(part_of(data, later, target[later]), "later")
    best, least = 0, np.inf
    for done in range(1, settings.max_rounds + 1):
        finished = booster.update()
        loss = booster.eval_valid()[0][2]
        if loss < least:
            best, least = done, loss
        if finished or done - best >= settings.patience:
            break
    return _grown(booster, best)


def fit_rounds(
    *,
    data: lightgbm.Dataset,
    target: np.ndarray,
    rounds: int,
    parameters: dict[str, object],
    settings: BoosterSettings,
) -> lightgbm.Booster:
    """Fit on all rows with a number of rounds found before."""
    booster = lightgbm.Booster({**settings.parameters(), **parameters}, data.set_label(target))
    for _ in range(max(rounds, 1)):
        booster.update()
    return _grown(booster, max(rounds, 1))


def _grown(booster: lightgbm.Booster, rounds: int) -> lightgbm.Booster:
    """The booster's first rounds, without the data it learned from."""
    return lightgbm.Booster(model_str=booster.model_to_string(num_iteration=rounds))


def save_booster(booster: lightgbm.Booster, path: Path) -> None:
    path.write_text(booster.model_to_string(), encoding="utf-8")


def load_booster(path: Path) -> lightgbm.Booster:
    return lightgbm.Booster(model_str=path.read_text(encoding="utf-8"))
