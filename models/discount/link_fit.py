"""The shape of reservation rates (:mod:`models.discount.link`), learnt from decisions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.optimize

from models.discount.link import KNOTS, PLAIN, SMALLEST, Link, Links, link_of, sigmoid

SMOOTHNESS, TYPE_SMOOTHNESS = 5.0, 10.0
"""Precision of the differences between neighbouring slopes, as shares of the prior's."""
PRIOR_PRECISION, TYPE_PRECISION = 3.0, 10.0
"""Of the slopes as shares of the prior's, and of the level: some dozens of decisions weigh as much."""
LEAST_SLOPE, MOST_SLOPE, MOST_LEVEL = 0.1, 8.0, 6.0
MOST_RISE = 0.95
"""Of a slope to the next knot, as a share of what keeps the logarithm of F concave; the rest is for the floor."""
MIN_TYPE_ROWS = 100
BIN_EDGES = np.linspace(-8.0, 8.0, 161)
"""Decisions of nearly the same score count together."""


def fit_links(
    *, scores: np.ndarray, floor: np.ndarray, accepted: np.ndarray, type_state: np.ndarray
) -> Links:
    """The most likely links of decisions (n,).

    floor (n,): probability that a seller takes any rate. The overall link has a weak prior at the plain logistic, a
    card type's link one at the overall link.
    """
    overall = fit_link(scores=scores, floor=floor, accepted=accepted, prior=PLAIN)
    names, position, counts = np.unique(type_state.astype(str), return_inverse=True, return_counts=True)
    members = np.split(np.argsort(position, kind="stable"), np.cumsum(counts)[:-1])
    of_type = {
        name: fit_link(
            scores=scores[rows],
            floor=floor[rows],
            accepted=accepted[rows],
            prior=overall,
            smoothness=TYPE_SMOOTHNESS,
            precision=TYPE_PRECISION,
        )
        for name, rows in zip(names.tolist(), members, strict=True)
        if len(rows) >= MIN_TYPE_ROWS
    }
    return Links(overall=overall, of_type=of_type)


def fit_link(
    *,
    scores: np.ndarray,
    floor: np.ndarray,
    accepted: np.ndarray,
    prior: Link,
    smoothness: float = SMOOTHNESS,
    precision: float = PRIOR_PRECISION,
) -> Link:
    """The most likely link of decisions (n,); its slopes, as shares of the prior's, are normal around 1 and smooth."""
    problem = _Problem.of(scores, floor, accepted, prior, smoothness, precision)
    limits = [(LEAST_SLOPE * slope, MOST_SLOPE) for slope in prior.slopes.tolist()]
    found = scipy.optimize.minimize(
        problem.loss,
        np.append(prior.slopes, prior.level),
        jac=True,
        method="L-BFGS-B",
        bounds=[*limits, (-MOST_LEVEL, MOST_LEVEL)],
    )
    return link_of(_tamed(found.x[:-1], float(found.x[-1])), float(found.x[-1]))


def _tamed(slopes: np.ndarray, level: float) -> np.ndarray:
    """The slopes, where most accept rising no faster than a concave logarithm allows.

    What few decisions in the upper tail make of it would else set the least score above the best rates.
    """
    tamed = slopes.copy()
    for knot in range(len(KNOTS) - 1):
        share = float(Link(slopes=tamed, level=np.float64(level)).probability(KNOTS[[knot]])[0])
        if share >= 0.5:
            tamed[knot + 1] = min(tamed[knot + 1], tamed[knot] + MOST_RISE * share * tamed[knot] ** 2)
    return tamed


@dataclass(frozen=True)
class _Problem:
    """g of each bin of scores is ``basis @ (slopes, level)``; yes, no: decisions in the bin; floor: their mean one."""

    basis: np.ndarray
    yes: np.ndarray
    no: np.ndarray
    floor: np.ndarray
    prior: np.ndarray
    precision: np.ndarray

    @classmethod
    def of(
        cls,
        scores: np.ndarray,
        floor: np.ndarray,
        accepted: np.ndarray,
        prior: Link,
        smoothness: float,
        precision: float,
    ) -> _Problem:
        place = np.digitize(scores, BIN_EDGES)
        rows = np.bincount(place, minlength=len(BIN_EDGES) + 1)
        there = rows > 0

        def total(values: np.ndarray) -> np.ndarray:
            return np.bincount(place, values, len(there))[there]

        rows = rows[there]
        middle, yes = total(scores) / rows, total(accepted > 0.5)
        nothing = np.float64(0.0)
        units = [Link(slopes=unit, level=nothing) for unit in np.eye(len(KNOTS))]
        columns = [unit.spline(middle)[0] for unit in units]
        steps = np.diff(np.eye(len(KNOTS)), axis=0)
        around = smoothness * steps.T @ steps + precision * np.eye(len(KNOTS))
        share = np.zeros((len(KNOTS) + 1, len(KNOTS) + 1))
        share[:-1, :-1] = around / np.outer(prior.slopes, prior.slopes)
        share[-1, -1] = precision
        return cls(
            basis=np.stack([*columns, np.ones(len(rows))], axis=1),
            yes=yes,
            no=rows - yes,
            floor=total(floor) / rows,
            prior=np.append(prior.slopes, prior.level),
            precision=share,
        )

    def loss(self, numbers: np.ndarray) -> tuple[float, np.ndarray]:
        """Negative log posterior of ``P = f + (1 - f) sigmoid(g)``, and its gradient."""
        honest = sigmoid(self.basis @ numbers)
        p = np.clip(self.floor + (1.0 - self.floor) * honest, SMALLEST, 1.0 - SMALLEST)
        lost = -(self.yes @ np.log(p) + self.no @ np.log1p(-p))
        by_p = self.no / (1.0 - p) - self.yes / p
        away = numbers - self.prior
        pull = self.precision @ away
        gradient = self.basis.T @ (by_p * (1.0 - self.floor) * honest * (1.0 - honest))
        return float(lost + away @ pull / 2.0), gradient + pull
