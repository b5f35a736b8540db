"""What a card will be resold at: expected rate and honest range, learnt as the distance from the anchor."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import lightgbm
import numpy as np

from models.discount.anchor import DEFAULT_EXPIRED_RESALE_RATE, resale_anchor
from models.discount.boosters import (
    BoosterSettings,
    binned,
    fit_rounds,
    fit_with_early_stop,
    load_booster,
    save_booster,
)
from models.discount.context import CardContext, relative_matrix
from models.discount.directions import COMPETITOR_COLUMNS, OF_SELLERS, UNDIRECTED, constraints
from models.discount.ranges import RangeTable, fit_ranges
from models.discount.resale_errors import ResaleErrors, resale_errors
from models.matrix import Columns, Encoding, within
from models.trees import predict

ERROR_HEAD: dict[str, object] = {"objective": "gamma"}
LEAST_ERROR = 0.002
"""No resale rate is known better than a fifth of a point; also keeps the logarithm of an error finite."""
_LOG_LEAST_ERROR = np.log(LEAST_ERROR)
MIN_EXPIRED_ROWS = 30
"""Fewer resales of expired cards than this teach nothing: such a card keeps its anchor and a wide range."""
HIGHEST_RATE = 1.5
"""Bound of a resale rate in the trades table."""
USUAL_SHARE = 0.99
HEADS = ("mean", "error")
MORE_ROUNDS = 1.5
"""So many times the rounds that were best for later resales: these stop where the market has moved on, when what lasts,
as what a face value is worth, is not yet learned whole (docs/decisions.md)."""
ERRORS_FILE = "resale_errors.npz"
PAUSES_FOLDER = "in_pauses"


@dataclass(frozen=True)
class ResaleEstimate:
    """Resale rates of n cards, fractions of face value, p05 <= p10 <= p50 <= p90 <= p95.

    usual_width: distance from mean down to p10 that is usual for the kind of card. anchor_rate, anchor: the rate
    that the estimate starts from and its source (object).
    """

    mean: np.ndarray
    p05: np.ndarray
    p10: np.ndarray
    p50: np.ndarray
    p90: np.ndarray
    p95: np.ndarray
    usual_width: np.ndarray
    anchor_rate: np.ndarray
    anchor: np.ndarray

    def rows(self, rows: slice | np.ndarray) -> ResaleEstimate:
        return ResaleEstimate(**{name: values[rows] for name, values in vars(self).items()})

    def where(self, chosen: np.ndarray, other: ResaleEstimate) -> ResaleEstimate:
        """These of the chosen (n,) bool, and the other ones of the rest."""
        pairs = ((name, values, getattr(other, name)) for name, values in vars(self).items())
        return ResaleEstimate(**{name: np.where(chosen, own, others) for name, own, others in pairs})


@dataclass(frozen=True)
class ResaleModel:
    """Boosters for the mean of (resale rate - anchor) and for its expected absolute error, and the ranges.

    The mean rises with face value, days to expiry and competitors' bids (:mod:`models.discount.directions`).
    errors: of resales held back in training, kept for :meth:`recalibrated`. expired_learnt: whether training saw enough
    expired cards for the boosters to speak about them. types: card types with resales in training; another one is
    answered from its category, band and market. ceilings: highest distance from the anchor at which each competitor's
    column still counts. in_pauses: what has learned to do without news of resales; None: nothing has.
    """

    encoding: Encoding
    boosters: dict[str, lightgbm.Booster]
    ranges: RangeTable
    errors: ResaleErrors
    expired_rate: float
    expired_learnt: bool
    types: frozenset[str]
    ceilings: dict[str, float]
    in_pauses: ResaleModel | None = None

    def estimate(
        self, *, columns: Columns, context: CardContext, resales_stopped: np.ndarray | None = None
    ) -> ResaleEstimate:
        """Expected resale rate and range of each row. resales_stopped: bool (n,), see
        :class:`models.discount.news.Seen`; None: nowhere."""
        if self.in_pauses is None or resales_stopped is None or not resales_stopped.any():
            return self._estimate(columns, context)
        paused = self.in_pauses.estimate(columns=columns, context=context)
        if resales_stopped.all():
            return paused
        return paused.where(resales_stopped, self._estimate(columns, context))

    def _estimate(self, columns: Columns, context: CardContext) -> ResaleEstimate:
        anchor, source = resale_anchor(context, expired_rate=self.expired_rate)
        distance, error = self._predict(columns=columns, anchor=anchor)
        if not self.expired_learnt:
            distance[context.expired], error[context.expired] = 0.0, self.expired_rate
        mean = _possible(distance + anchor)
        quantiles, usual_width = self.ranges.of(context)
        bounds = mean[:, None] + error[:, None] * quantiles
        p05, p10, p50, p90, p95 = _possible(bounds).T
        return ResaleEstimate(
            mean=mean,
            p05=p05,
            p10=p10,
            p50=p50,
            p90=p90,
            p95=p95,
            usual_width=usual_width,
            anchor_rate=anchor,
            anchor=source,
        )

    def recalibrated(
        self,
        *,
        columns: Columns,
        context: CardContext,
        resale_rate: np.ndarray,
        submitted_at: np.ndarray,
        resold_at: np.ndarray,
    ) -> ResaleModel:
        """The same boosters with the ranges of newer resales (n,) beside those held back in training: a rolling
        conformal range. submitted_at, resold_at: int64 ms."""
        anchor, _ = resale_anchor(context, expired_rate=self.expired_rate)
        distance, error = self._predict(columns=columns, anchor=anchor)
        newer = resale_errors(
            context=context,
            submitted_at=submitted_at,
            resold_at=resold_at,
            residual=resale_rate - anchor - distance,
            error=error,
        )
        return replace(self, ranges=fit_ranges(self.errors.with_newer(newer), rolling=True))

    def never_seen(self, context: CardContext) -> np.ndarray:
        """Bool (n,): no card of this type was resold in training."""
        return np.array([str(name) not in self.types for name in context.card_type.tolist()], dtype=bool)

    def _predict(self, *, columns: Columns, anchor: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Distance of the mean from the anchor, and expected absolute error."""
        matrix = np.minimum(relative_matrix(columns, self.encoding, anchor), self._ceilings)
        return predict(self.boosters["mean"], matrix), _expected_error(self.boosters["error"], matrix)

    @cached_property
    def _ceilings(self) -> np.ndarray:
        return _ceiling_row(self.encoding.names, self.ceilings)

    def save(self, folder: Path) -> None:
        """LightGBM text files and ``resale.json``."""
        for name, booster in self.boosters.items():
            save_booster(booster, folder / f"resale_{name}.txt")
        self.errors.save(folder / ERRORS_FILE)
        data = {
            "encoding": self.encoding.to_dict(),
            "ranges": self.ranges.to_dict(),
            "expired_rate": self.expired_rate,
            "expired_learnt": self.expired_learnt,
            "types": sorted(self.types),
            "ceilings": self.ceilings,
            "in_pauses": self.in_pauses is not None,
        }
        if self.in_pauses is not None:
            (folder / PAUSES_FOLDER).mkdir()
            self.in_pauses.save(folder / PAUSES_FOLDER)
        (folder / "resale.json").write_text(json.dumps(data, ensure_ascii=False, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> ResaleModel:
        data = json.loads((folder / "resale.json").read_text(encoding="utf-8"))
        return cls(
            encoding=Encoding.from_dict(data["encoding"]),
            boosters={name: load_booster(folder / f"resale_{name}.txt") for name in HEADS},
            ranges=RangeTable.from_dict(data["ranges"]),
            errors=ResaleErrors.load(folder / ERRORS_FILE),
            expired_rate=data["expired_rate"],
            expired_learnt=data["expired_learnt"],
            types=frozenset(data["types"]),
            ceilings=data["ceilings"],
            in_pauses=cls.load(folder / PAUSES_FOLDER) if data["in_pauses"] else None,
        )


def fit_resale(
    *,
    columns: Columns,
    names: tuple[str, ...],
    context: CardContext,
    resale_rate: np.ndarray,
    submitted_at: np.ndarray,
    resold_at: np.ndarray,
    calibration_share: float,
    settings: BoosterSettings,
) -> ResaleModel:
    """Fit on n resold rows in time order. submitted_at, resold_at: int64 ms.

    The last ``calibration_share`` of them chooses the number of rounds and gives the ranges; then the boosters are
    fitted again on every row, so that the newest month is not lost to them.
    """
    expired_count = int(context.expired.sum())
    learnt = expired_count >= MIN_EXPIRED_ROWS
    expired_rate = float(resale_rate[context.expired].mean()) if learnt else DEFAULT_EXPIRED_RESALE_RATE
    anchor, _ = resale_anchor(context, expired_rate=expired_rate)
    known = tuple(name for name in names if name not in (*UNDIRECTED, *OF_SELLERS) and name in columns)
    encoding = Encoding.fit(columns, known)
    matrix = relative_matrix(columns, encoding, anchor)
    ceilings = _ceilings(matrix, encoding.names)
    matrix = np.minimum(matrix, _ceiling_row(encoding.names, ceilings))
    target = resale_rate - anchor
    data = binned(matrix=matrix, names=encoding.names, categorical=encoding.categorical, settings=settings)
    mean_head = {"objective": "regression", **constraints(encoding.names)}
    train_until = round(len(resale_rate) * (1 - calibration_share))
    early = {"data": data, "train_until": train_until, "settings": settings}
    mean = fit_with_early_stop(target=target, parameters=mean_head, **early)
    residual = target - predict(mean, matrix)
    size = np.maximum(np.abs(residual), LEAST_ERROR)
    error = fit_with_early_stop(target=size, parameters=ERROR_HEAD, **early)
    later = slice(train_until, None)
    held_back = resale_errors(
        context=context.rows(later),
        submitted_at=submitted_at[later],
        resold_at=resold_at[later],
        residual=residual[later],
        error=_expected_error(error, matrix[later]),
    )
    final = {"data": data, "settings": settings}
    return ResaleModel(
        encoding=encoding,
        boosters={
            "mean": fit_rounds(
                target=target, rounds=round(MORE_ROUNDS * mean.num_trees()), parameters=mean_head, **final
            ),
            "error": fit_rounds(target=size, rounds=error.num_trees(), parameters=ERROR_HEAD, **final),
        },
        ranges=fit_ranges(held_back, rolling=False),
        errors=held_back,
        expired_rate=expired_rate,
        expired_learnt=learnt,
        types=frozenset(np.unique(context.card_type.astype(str)).tolist()),
        ceilings=ceilings,
    )


def _possible(rate: np.ndarray) -> np.ndarray:
    return within(rate, 0.0, HIGHEST_RATE)


def _ceilings(matrix: np.ndarray, names: tuple[str, ...]) -> dict[str, float]:
    """A competitor's bid above nearly all others is a rumour about a resale: it counts as the highest usual one."""
    return {
        name: float(np.nanquantile(column, USUAL_SHARE))
        for name, column in zip(names, matrix.T, strict=True)
        if name in COMPETITOR_COLUMNS and np.isfinite(column).any()
    }


def _ceiling_row(names: tuple[str, ...], ceilings: Mapping[str, float]) -> np.ndarray:
    return np.array([ceilings.get(name, np.inf) for name in names])


def _expected_error(booster: lightgbm.Booster, matrix: np.ndarray) -> np.ndarray:
    """Expected absolute error (n,) of the mean, in rate."""
    return np.exp(within(predict(booster, matrix), _LOG_LEAST_ERROR, 0.0))
