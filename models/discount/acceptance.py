"""The probability that a seller accepts a rate: a logistic curve placed and shaped by the card.

``logit P(accept | r, x) = e^b(x) * ((r - m(x)) / 0.05 - a(x))`` with m the expected resale rate. The two
outputs a and b come from one LightGBM model grown from a pooled logit. The rate itself is no input of the
trees, so P rises strictly with r whatever they learnt; an argmax on a tree's own curve would chase its steps.

A log in which the rate hardly moves for like cards says little about steepness. The early stop on later rows
then ends the boosting soon, which leaves the pooled logit; the pooled slopes in turn are held near usual ones
by a weak prior, and e^b(x) never leaves a factor STEEPNESS_RANGE around them.
"""

from __future__ import annotations

import json
from dataclasses import asdict, astuple, dataclass
from pathlib import Path

import lightgbm
import numpy as np

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

RATE_UNIT = 0.05
STEEPNESS_RANGE = 4.0
MIN_SLOPE = 0.3
"""Least believable pooled slope, logits per RATE_UNIT; a log that shows less does not identify it."""
HESSIAN_FLOOR = 0.02
WEAK_PRECISION = np.array([1e-6, 1.0, 1.0, 1e-3])
FIXED_PRECISION = 1e9
"""Precisions of the normal prior of the pooled logit's four numbers; a fixed one does not move."""
NEWTON_STEPS = 30


@dataclass(frozen=True)
class AcceptanceCurve:
    """Curves of n sellers' decisions. location (n,): half accept at resale_mean + 0.05 * location."""

    resale_mean: np.ndarray
    location: np.ndarray
    steepness: np.ndarray

    def probability(self, rate: np.ndarray) -> np.ndarray:
        """P(accept) at rates (n,) or a grid of them (n, g); strictly increasing along the grid."""
        shape = (-1,) + (1,) * (np.ndim(rate) - 1)
        gap = (rate - self.resale_mean.reshape(shape)) / RATE_UNIT
        return sigmoid(self.steepness.reshape(shape) * (gap - self.location.reshape(shape)))

    def rows(self, rows: slice) -> AcceptanceCurve:
        return AcceptanceCurve(self.resale_mean[rows], self.location[rows], self.steepness[rows])


@dataclass(frozen=True)
class PooledLogit:
    """One logit for all cards, slopes per RATE_UNIT of distance to the resale estimate and best competitor.

    no_competitor is added where no competitor's bid is known. The defaults are the prior: half of the sellers
    accept at a competitor's bid, or six points under the resale value where none is known.
    """

    intercept: float = 1.0
    resale_slope: float = 1.0
    competitor_slope: float = 1.5
    no_competitor: float = 1.5

    def curve(self, *, resale_mean: np.ndarray, competitor: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Location and log steepness (n,) of the pooled curve of each row."""
        known = np.isfinite(competitor)
        slope = self.resale_slope + self.competitor_slope
        gap = np.where(known, (resale_mean - competitor) / RATE_UNIT, 0.0)
        level = self.intercept + self.competitor_slope * gap + self.no_competitor * ~known
        return -level / slope, np.full(len(resale_mean), np.log(slope))


@dataclass(frozen=True)
class AcceptanceModel:
    """The pooled logit and, where the log was large enough, the trees that bend it per card."""

    pooled: PooledLogit
    encoding: Encoding | None = None
    booster: lightgbm.Booster | None = None

    def curve(self, *, columns: Columns, context: CardContext, resale_mean: np.ndarray) -> AcceptanceCurve:
        location, log_steepness = self.pooled.curve(
            resale_mean=resale_mean, competitor=context.competitor_best
        )
        if self.booster is not None and self.encoding is not None:
            matrix = self.encoding.matrix(relative_columns(columns, self.encoding.names, resale_mean))
            scores = predict(self.booster, matrix)
            location = location + scores[:, 0]
            log_steepness = log_steepness + bounded(scores[:, 1])
        return AcceptanceCurve(resale_mean=resale_mean, location=location, steepness=np.exp(log_steepness))

    def save(self, folder: Path) -> None:
        """``acceptance.json`` and, with trees, ``acceptance.txt``."""
        encoding = None if self.encoding is None else self.encoding.to_dict()
        data = {"pooled": asdict(self.pooled), "encoding": encoding}
        (folder / "acceptance.json").write_text(
            json.dumps(data, ensure_ascii=False, indent=1), encoding="utf-8"
        )
        if self.booster is not None:
            save_booster(self.booster, folder / "acceptance.txt")

    @classmethod
    def load(cls, folder: Path) -> AcceptanceModel:
        data = json.loads((folder / "acceptance.json").read_text(encoding="utf-8"))
        pooled = PooledLogit(**data["pooled"])
        if data["encoding"] is None:
            return cls(pooled=pooled)
        return cls(
            pooled=pooled,
            encoding=Encoding.from_dict(data["encoding"]),
            booster=load_booster(folder / "acceptance.txt"),
        )


def fit_acceptance(
    *,
    columns: Columns,
    names: tuple[str, ...],
    context: CardContext,
    resale_mean: np.ndarray,
    offered_rate: np.ndarray,
    accepted: np.ndarray,
    calibration_share: float,
    settings: BoosterSettings,
) -> AcceptanceModel:
    """Fit on decided offers in time order; the last ``calibration_share`` chooses the number of rounds."""
    pooled = fit_pooled(
        resale_mean=resale_mean, competitor=context.competitor_best, rate=offered_rate, accepted=accepted
    )
    relative = relative_columns(columns, names, resale_mean)
    encoding = Encoding.fit(relative, tuple(relative))
    start = np.stack(pooled.curve(resale_mean=resale_mean, competitor=context.competitor_best), axis=1)
    rows = TrainingRows(encoding.matrix(relative), accepted, encoding.names, encoding.categorical, start)
    gap = (offered_rate - resale_mean) / RATE_UNIT
    train_until = round(len(accepted) * (1 - calibration_share))
    base = float(start[0, 1])
    earlier = fit_with_early_stop(
        rows=rows,
        train_until=train_until,
        parameters=_parameters(gap[:train_until], base),
        settings=settings,
        metric=lambda scores, data: _log_loss(scores, data, gap[train_until:], base),
    )
    booster = fit_rounds(
        rows=rows, rounds=earlier.best_iteration, parameters=_parameters(gap, base), settings=settings
    )
    return AcceptanceModel(pooled=pooled, encoding=encoding, booster=booster)


def fit_pooled(
    *, resale_mean: np.ndarray, competitor: np.ndarray, rate: np.ndarray, accepted: np.ndarray
) -> PooledLogit:
    """Maximum a posteriori logit by Newton steps; slopes have a weak normal prior at PooledLogit's defaults.

    A slope that comes out negative is held at zero. Slopes too small together to be believed are replaced by
    the prior's and only the levels are kept: what a log without price movement cannot tell is not guessed.
    """
    known = np.isfinite(competitor)
    design = np.stack(
        [
            np.ones(len(rate)),
            (rate - resale_mean) / RATE_UNIT,
            np.where(known, (rate - competitor) / RATE_UNIT, 0.0),
            ~known,
        ],
        axis=1,
    ).astype(np.float64)
    prior = np.array(astuple(PooledLogit()))
    found = _newton_logit(design, accepted, prior, WEAK_PRECISION)
    if min(found[1], found[2]) < 0:
        held = found < np.array([-np.inf, 0.0, 0.0, -np.inf])
        found = _newton_logit(
            design, accepted, np.where(held, 0.0, prior), np.where(held, FIXED_PRECISION, WEAK_PRECISION)
        )
    if found[1] + found[2] < MIN_SLOPE:
        fixed = np.array([0.0, FIXED_PRECISION, FIXED_PRECISION, 0.0])
        found = _newton_logit(design, accepted, prior, WEAK_PRECISION + fixed)
    return PooledLogit(*(float(value) for value in found))


def bounded(log_steepness: np.ndarray) -> np.ndarray:
    """The trees' change of the log steepness, held within a factor STEEPNESS_RANGE."""
    limit = np.log(STEEPNESS_RANGE)
    return np.clip(log_steepness, -limit, limit)


def sigmoid(logit: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-np.clip(logit, -500.0, 500.0)))


def _newton_logit(
    design: np.ndarray, target: np.ndarray, centre: np.ndarray, precision: np.ndarray
) -> np.ndarray:
    weights = centre.copy()
    for _ in range(NEWTON_STEPS):
        p = sigmoid(design @ weights)
        gradient = design.T @ (p - target) + precision * (weights - centre)
        curvature = (design * (p * (1 - p) + 1e-9)[:, None]).T @ design + np.diag(precision)
        step = np.linalg.solve(curvature, gradient)
        weights = weights - np.clip(step, -1.0, 1.0)
        if np.abs(step).max() < 1e-8:
            break
    return weights


def _parameters(gap: np.ndarray, base: float) -> dict[str, object]:
    """LightGBM parameters with the location-scale objective for rows whose (r - m) / RATE_UNIT is ``gap``.

    For z = e^b (gap - a): dL/da = -(p - y) e^b and dL/db = (p - y) z; the second derivatives are the Fisher
    terms p(1 - p) e^2b and p(1 - p) z^2, with a floor where a row says next to nothing.
    """

    def objective(scores: np.ndarray, data: lightgbm.Dataset) -> tuple[np.ndarray, np.ndarray]:
        z, steepness = _logit(scores, gap, base)
        p = sigmoid(z)
        error, spread = p - np.asarray(data.get_label()), p * (1 - p)
        gradient = np.stack([-error * steepness, error * z], axis=1)
        hessian = np.stack([spread * steepness**2, spread * z**2], axis=1) + HESSIAN_FLOOR
        return gradient, hessian

    return {"objective": objective, "num_class": 2}


def _log_loss(
    scores: np.ndarray, data: lightgbm.Dataset, gap: np.ndarray, base: float
) -> tuple[str, float, bool]:
    z, _ = _logit(scores, gap, base)
    signed = np.where(np.asarray(data.get_label()) > 0.5, -z, z)
    return "log_loss", float(np.logaddexp(0.0, signed).mean()), False


def _logit(scores: np.ndarray, gap: np.ndarray, base: float) -> tuple[np.ndarray, np.ndarray]:
    """Logit and steepness (n,) of raw scores (n, 2) that include the start."""
    steepness = np.exp(base + bounded(scores[:, 1] - base))
    return steepness * (gap - scores[:, 0]), steepness
