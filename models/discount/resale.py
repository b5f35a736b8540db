"""What a card will be resold at: expected rate and honest range, learnt as the distance from the anchor."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import lightgbm
import numpy as np

from models.discount.anchor import DEFAULT_EXPIRED_RESALE_RATE, resale_anchor
from models.discount.boosters import (
    BoosterSettings,
    TrainingRows,
    fit_rounds,
    fit_with_early_stop,
    load_booster,
    predict,
    save_booster,
)
from models.discount.conformal import RangeCorrection, fit_correction
from models.discount.context import CardContext, relative_columns
from models.matrix import Columns, Encoding

HEADS: Mapping[str, dict[str, object]] = {
    "mean": {"objective": "regression"},
    "p10": {"objective": "quantile", "alpha": 0.1, "metric": "quantile"},
    "p50": {"objective": "quantile", "alpha": 0.5, "metric": "quantile"},
    "p90": {"objective": "quantile", "alpha": 0.9, "metric": "quantile"},
}
MIN_EXPIRED_ROWS = 30
"""Fewer resales of expired cards than this teach nothing: such a card keeps its anchor and a wide range."""
HIGHEST_RATE = 1.5
"""Bound of a resale rate in the trades table."""


@dataclass(frozen=True)
class ResaleEstimate:
    """Resale rates of n cards, fractions of face value: p10 <= p50 <= p90. anchor: its source, object."""

    mean: np.ndarray
    p10: np.ndarray
    p50: np.ndarray
    p90: np.ndarray
    anchor: np.ndarray


@dataclass(frozen=True)
class ResaleModel:
    """Boosters for the mean and three quantiles of (resale rate - anchor), and the range's correction.

    expired_learnt: whether training saw enough expired cards for the boosters to speak about them.
    """

    encoding: Encoding
    boosters: dict[str, lightgbm.Booster]
    correction: RangeCorrection
    expired_rate: float
    expired_learnt: bool

    def estimate(self, *, columns: Columns, context: CardContext) -> ResaleEstimate:
        """Expected resale rate and range of each row; a type never seen is answered from its anchor."""
        anchor, source = resale_anchor(context, expired_rate=self.expired_rate)
        raw = self._distances(columns=columns, anchor=anchor)
        if not self.expired_learnt:
            for name, flat in (("mean", 0.0), ("p10", -1.0), ("p50", 0.0), ("p90", 1.0)):
                raw[name][context.expired] = flat * self.expired_rate
        low, high = self.correction.apply(groups=context.category, low=raw["p10"], high=raw["p90"])
        ordered = np.sort(np.stack([low, raw["p50"], high]), axis=0)
        p10, p50, p90 = np.clip(ordered + anchor, 0.0, HIGHEST_RATE)
        mean = np.clip(raw["mean"] + anchor, 0.0, HIGHEST_RATE)
        return ResaleEstimate(mean=mean, p10=p10, p50=p50, p90=p90, anchor=source)

    def recalibrated(self, *, columns: Columns, context: CardContext, resale_rate: np.ndarray) -> ResaleModel:
        """The same boosters with the range corrected on newer resales (n,): a rolling conformal range."""
        anchor, _ = resale_anchor(context, expired_rate=self.expired_rate)
        raw = self._distances(columns=columns, anchor=anchor)
        correction = fit_correction(
            groups=context.category, outcome=resale_rate - anchor, low=raw["p10"], high=raw["p90"]
        )
        return replace(self, correction=correction)

    def _distances(self, *, columns: Columns, anchor: np.ndarray) -> dict[str, np.ndarray]:
        matrix = self.encoding.matrix(relative_columns(columns, self.encoding.names, anchor))
        return {name: predict(booster, matrix) for name, booster in self.boosters.items()}

    def save(self, folder: Path) -> None:
        """LightGBM text files and ``resale.json``."""
        for name, booster in self.boosters.items():
            save_booster(booster, folder / f"resale_{name}.txt")
        data = {
            "encoding": self.encoding.to_dict(),
            "correction": self.correction.to_dict(),
            "expired_rate": self.expired_rate,
            "expired_learnt": self.expired_learnt,
        }
        (folder / "resale.json").write_text(json.dumps(data, ensure_ascii=False, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> ResaleModel:
        data = json.loads((folder / "resale.json").read_text(encoding="utf-8"))
        return cls(
            encoding=Encoding.from_dict(data["encoding"]),
            boosters={name: load_booster(folder / f"resale_{name}.txt") for name in HEADS},
            correction=RangeCorrection.from_dict(data["correction"]),
            expired_rate=data["expired_rate"],
            expired_learnt=data["expired_learnt"],
        )


def fit_resale(
    *,
    columns: Columns,
    names: tuple[str, ...],
    context: CardContext,
    resale_rate: np.ndarray,
    calibration_share: float,
    settings: BoosterSettings,
) -> ResaleModel:
    """Fit on resold rows in time order.

    The last ``calibration_share`` of them chooses the number of rounds and corrects the range; then the
    boosters are fitted again on every row, so that the newest month is not lost to them.
    """
    expired_count = int(context.expired.sum())
    learnt = expired_count >= MIN_EXPIRED_ROWS
    expired_rate = float(resale_rate[context.expired].mean()) if learnt else DEFAULT_EXPIRED_RESALE_RATE
    anchor, _ = resale_anchor(context, expired_rate=expired_rate)
    relative = relative_columns(columns, names, anchor)
    encoding = Encoding.fit(relative, tuple(relative))
    rows = TrainingRows(encoding.matrix(relative), resale_rate - anchor, encoding.names, encoding.categorical)
    train_until = round(len(resale_rate) * (1 - calibration_share))
    earlier = {
        name: fit_with_early_stop(rows=rows, train_until=train_until, parameters=head, settings=settings)
        for name, head in HEADS.items()
    }
    later = rows.matrix[train_until:]
    correction = fit_correction(
        groups=context.category[train_until:],
        outcome=rows.target[train_until:],
        low=predict(earlier["p10"], later),
        high=predict(earlier["p90"], later),
    )
    boosters = {
        name: fit_rounds(rows=rows, rounds=earlier[name].best_iteration, parameters=head, settings=settings)
        for name, head in HEADS.items()
    }
    return ResaleModel(
        encoding=encoding,
        boosters=boosters,
        correction=correction,
        expired_rate=expired_rate,
        expired_learnt=learnt,
    )
