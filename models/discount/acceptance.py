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
from dataclasses import asdict, dataclass, field
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
START_FACTORS = (1.0, 2.0, 3.0)
MIN_SLOPE = 0.3
"""Least believable pooled slope, logits per RATE_UNIT; a log that shows less does not identify it."""
HESSIAN_FLOOR = 0.02
WEAK_PRECISION = np.array([1e-6, 1.0, 1.0, 1e-3])
FIXED_PRECISION = 1e9
"""Precisions of the normal prior of the pooled logit's four numbers; a fixed one does not move."""
NEWTON_ROUNDS = 100
LEVEL_PRECISION = 1.0
NO_LESS_THAN = np.array([-np.inf, 0.0, 0.0, -np.inf])


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

    Where no competitor's bid is known the resale estimate takes its place and no_competitor is added.
    type_levels: added by card type and validity, none for a type never seen. The defaults are the prior: half
    of the sellers accept five points under the resale estimate, and at a competitor's bid if it lies there.
    """

    intercept: float = 1.0
    resale_slope: float = 1.0
    competitor_slope: float = 1.5
    no_competitor: float = 1.5
    type_levels: dict[str, float] = field(default_factory=dict)

    def steeper(self, factor: float) -> PooledLogit:
        """The same curve locations, ``factor`` times as steep."""
        return PooledLogit(
            intercept=factor * self.intercept,
            resale_slope=factor * self.resale_slope,
            competitor_slope=factor * self.competitor_slope,
            no_competitor=factor * self.no_competitor,
            type_levels={name: factor * level for name, level in self.type_levels.items()},
        )

    def curve(self, *, context: CardContext, resale_mean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Location and log steepness (n,) of the pooled curve of each row."""
        competitor = context.competitor_best
        known = np.isfinite(competitor)
        slope = self.resale_slope + self.competitor_slope
        gap = np.where(known, (resale_mean - competitor) / RATE_UNIT, 0.0)
        level = self.intercept + self.competitor_slope * gap + self.no_competitor * ~known
        level = level + np.array([self.type_levels.get(key, 0.0) for key in context.type_state])
        return -level / slope, np.full(len(resale_mean), np.log(slope))


@dataclass(frozen=True)
class AcceptanceModel:
    """The pooled logit and, where the log was large enough, the trees that bend it per card."""

    pooled: PooledLogit
    encoding: Encoding | None = None
    booster: lightgbm.Booster | None = None

    def curve(self, *, columns: Columns, context: CardContext, resale_mean: np.ndarray) -> AcceptanceCurve:
        location, log_steepness = self.pooled.curve(context=context, resale_mean=resale_mean)
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
    """Fit on decided offers in time order.

    The last ``calibration_share`` chooses the number of rounds and how much steeper than the pooled logit the
    trees start: what sellers of different cards want flattens a curve drawn through all of them.
    """
    pooled = fit_pooled(context=context, resale_mean=resale_mean, rate=offered_rate, accepted=accepted)
    relative = relative_columns(columns, names, resale_mean)
    encoding = Encoding.fit(relative, tuple(relative))
    gap = (offered_rate - resale_mean) / RATE_UNIT
    until = round(len(accepted) * (1 - calibration_share))
    matrix = encoding.matrix(relative)
    attempts = []
    for factor in START_FACTORS:
        start = pooled.steeper(factor)
        scores = np.stack(start.curve(context=context, resale_mean=resale_mean), axis=1)
        rows = TrainingRows(matrix, accepted, encoding.names, encoding.categorical, scores)
        earlier = _fit_earlier(rows, gap, until, settings)
        attempts.append((earlier.best_score["valid_0"]["log_loss"], earlier.best_iteration, start, rows))
    _, rounds, start, rows = min(attempts, key=lambda attempt: attempt[0])
    parameters = _parameters(gap, _base(rows))
    booster = fit_rounds(rows=rows, rounds=rounds, parameters=parameters, settings=settings)
    return AcceptanceModel(pooled=start, encoding=encoding, booster=booster)


def fit_pooled(
    *, context: CardContext, resale_mean: np.ndarray, rate: np.ndarray, accepted: np.ndarray
) -> PooledLogit:
    """Maximum a posteriori logit; slopes have a weak normal prior at PooledLogit's defaults, type levels a
    normal prior around zero. Without the levels, differences between types would flatten the slopes.

    A slope that comes out negative is held at zero. Slopes too small together to be believed are replaced by
    the prior's and only the levels are kept: what a log without price movement cannot tell is not guessed.
    """
    known = np.isfinite(context.competitor_best)
    gap = (rate - resale_mean) / RATE_UNIT
    competitor_gap = np.where(known, (rate - context.competitor_best) / RATE_UNIT, gap)
    design = np.stack([np.ones(len(rate)), gap, competitor_gap, ~known], axis=1)
    types, group = np.unique(context.type_state.astype(str), return_inverse=True)
    prior = PooledLogit()
    centre = np.array([prior.intercept, prior.resale_slope, prior.competitor_slope, prior.no_competitor])
    found, level = _fit_levels(design, accepted, group, centre, WEAK_PRECISION)
    held = found < NO_LESS_THAN
    if held.any():
        precision = np.where(held, FIXED_PRECISION, WEAK_PRECISION)
        found, level = _fit_levels(design, accepted, group, np.where(held, 0.0, centre), precision)
    if found[1] + found[2] < MIN_SLOPE:
        precision = WEAK_PRECISION + np.array([0.0, FIXED_PRECISION, FIXED_PRECISION, 0.0])
        found, level = _fit_levels(design, accepted, group, centre, precision)
    intercept, resale_slope, competitor_slope, no_competitor = (float(value) for value in found)
    return PooledLogit(
        intercept=intercept,
        resale_slope=max(resale_slope, 0.0),
        competitor_slope=max(competitor_slope, 0.0),
        no_competitor=no_competitor,
        type_levels=dict(zip(types.tolist(), level.tolist(), strict=True)),
    )


def bounded(log_steepness: np.ndarray) -> np.ndarray:
    """The trees' change of the log steepness, held within a factor STEEPNESS_RANGE."""
    limit = np.log(STEEPNESS_RANGE)
    return np.clip(log_steepness, -limit, limit)


def sigmoid(logit: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-np.clip(logit, -500.0, 500.0)))


def _fit_levels(
    design: np.ndarray, target: np.ndarray, group: np.ndarray, centre: np.ndarray, precision: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Weights (k,) and the level of each group: Newton steps on the one and the other in turn."""
    weights, level = centre.copy(), np.zeros(int(group.max()) + 1)
    for _ in range(NEWTON_ROUNDS):
        p = sigmoid(design @ weights + level[group])
        gradient = design.T @ (p - target) + precision * (weights - centre)
        curvature = (design * (p * (1 - p))[:, None]).T @ design + np.diag(precision + 1e-9)
        step = np.clip(np.linalg.solve(curvature, gradient), -1.0, 1.0)
        weights = weights - step
        p = sigmoid(design @ weights + level[group])
        slope = np.bincount(group, target - p, len(level)) - LEVEL_PRECISION * level
        move = slope / (np.bincount(group, p * (1 - p), len(level)) + LEVEL_PRECISION)
        level = level + np.clip(move, -1.0, 1.0)
        if max(np.abs(step).max(), np.abs(move).max()) < 1e-6:
            break
    return weights, level


def _fit_earlier(
    rows: TrainingRows, gap: np.ndarray, until: int, settings: BoosterSettings
) -> lightgbm.Booster:
    """Fit on the rows before ``until``, stopped by the log-loss of the rows from there on."""
    base = _base(rows)
    return fit_with_early_stop(
        rows=rows,
        train_until=until,
        parameters=_parameters(gap[:until], base),
        settings=settings,
        metric=lambda scores, data: _log_loss(scores, data, gap[until:], base),
    )


def _base(rows: TrainingRows) -> float:
    """The log steepness all rows start from."""
    assert rows.start is not None
    return float(rows.start[0, 1])


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
