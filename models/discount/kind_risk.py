"""The fraud share of a card's kind: how many of the accepted trades in such a card turn out fraudulent.

Learnt from the card, its market and the moment only. It is an average over everybody who brings such a card,
so it may be in the price; what is known of the person decides how to pay and is no input here. With too few
labels the smoothed rate of the card type stands in.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import lightgbm
import numpy as np

from models.discount.acceptance import sigmoid
from models.discount.boosters import (
    BoosterSettings,
    TrainingRows,
    fit_rounds,
    fit_with_early_stop,
    load_booster,
    predict,
    save_booster,
)
from models.discount.context import CardContext, relative_columns
from models.matrix import Columns, Encoding

WEEK_MS = 7 * 86_400_000
MATURE_SHARE = 0.95
HEAD: dict[str, object] = {"objective": "binary", "metric": "binary_logloss"}


@dataclass(frozen=True)
class KindRisk:
    """default: the share assumed for a card type without any known label, where there are no trees."""

    default: float
    encoding: Encoding | None = None
    booster: lightgbm.Booster | None = None

    def share(self, *, columns: Columns, context: CardContext, resale_mean: np.ndarray) -> np.ndarray:
        """Fraud share (n,) of accepted trades in such cards, in [0, 1]."""
        if self.booster is None or self.encoding is None:
            return np.clip(np.nan_to_num(context.kind_fraud_rate, nan=self.default), 0.0, 1.0)
        matrix = self.encoding.matrix(relative_columns(columns, self.encoding.names, resale_mean))
        return sigmoid(predict(self.booster, matrix))

    def save(self, folder: Path) -> None:
        """``kind_risk.json`` and, with trees, ``kind_risk.txt``."""
        encoding = None if self.encoding is None else self.encoding.to_dict()
        data = {"default": self.default, "encoding": encoding}
        (folder / "kind_risk.json").write_text(
            json.dumps(data, ensure_ascii=False, indent=1), encoding="utf-8"
        )
        if self.booster is not None:
            save_booster(self.booster, folder / "kind_risk.txt")

    @classmethod
    def load(cls, folder: Path) -> KindRisk:
        data = json.loads((folder / "kind_risk.json").read_text(encoding="utf-8"))
        if data["encoding"] is None:
            return cls(default=data["default"])
        return cls(
            default=data["default"],
            encoding=Encoding.from_dict(data["encoding"]),
            booster=load_booster(folder / "kind_risk.txt"),
        )


def mature_labels(*, submitted_at: np.ndarray, labelled: np.ndarray) -> np.ndarray:
    """Which of n accepted trades, in any order, have a label whose absence would mean something: bool (n,).

    Fraud becomes known sooner than honesty, so among the newest labels nearly all say fraud. Only weeks in
    which almost as many trades are labelled as in the best week count, and none after the last of them.
    """
    if not labelled.any():
        return labelled
    week = (submitted_at - submitted_at.min()) // WEEK_MS
    rows = np.bincount(week)
    share = np.bincount(week, labelled) / np.maximum(rows, 1)
    full = share >= MATURE_SHARE * share[rows >= np.median(rows[rows > 0])].max()
    return labelled & full[week]


def fit_kind_risk(
    *,
    columns: Columns,
    names: tuple[str, ...],
    resale_mean: np.ndarray,
    fraud: np.ndarray,
    default: float,
    calibration_share: float,
    settings: BoosterSettings,
) -> KindRisk:
    """Fit on accepted trades with a mature label (fraud: 0/1), in time order.

    The last ``calibration_share`` chooses the number of rounds; no resampling and no class weights, so the
    share keeps its level.
    """
    relative = relative_columns(columns, names, resale_mean)
    encoding = Encoding.fit(relative, tuple(relative))
    rows = TrainingRows(encoding.matrix(relative), fraud, encoding.names, encoding.categorical)
    train_until = round(len(fraud) * (1 - calibration_share))
    earlier = fit_with_early_stop(rows=rows, train_until=train_until, parameters=HEAD, settings=settings)
    booster = fit_rounds(rows=rows, rounds=earlier.best_iteration, parameters=HEAD, settings=settings)
    return KindRisk(default=default, encoding=encoding, booster=booster)
