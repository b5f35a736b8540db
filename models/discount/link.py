"""The shape of sellers' reservation rates: ``F(z) = sigmoid(g(z))`` with a rising spline g.

The slope of g runs straight from knot to knot of the score z and stays as it is beyond the last ones, so g and F have a
continuous slope. All slopes 1 is the logistic curve. One shape for all cards, and one for each card type with decisions
enough, held near it: a shape of few numbers (a bent logistic with two) had too round a knee for sellers of whom most
take any rate near the usual one and few more.

F rises strictly. Its logarithm is concave from a share on that :func:`least_score` finds, which is what makes the best
rate rise with a card's value and with sellers' expectations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import scipy.optimize

from models.matrix import along

KNOTS = np.linspace(-4.0, 4.0, 9)
"""Scores, one apart: the log odds of acceptance that a logistic curve would have."""
MIDDLE = len(KNOTS) // 2
"""The knot at score 0."""
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
SMALLEST = 1e-12
LEAST_SHARE = 0.10
"""Of honest sellers who take an offer; one that fewer would take is no offer."""
MOST_FLOOR = 0.0075
"""Largest odds of fraud that may move the best rate."""


@dataclass(frozen=True)
class Link:
    """slopes: of g at the KNOTS, (k,), or (n, k) with a row for each card; level: g(0), one number or (n,).

    least: see :func:`least_score`, one number or (n,). known_heights: g at the knots like ``slopes``, where it
    was worked out before.
    """

    slopes: np.ndarray
    level: np.ndarray | np.float64
    least: np.ndarray | np.float64
    known_heights: np.ndarray | None = None

    def probability(self, scores: np.ndarray) -> np.ndarray:
        """F at raw scores (n,) or (n, g)."""
        return _sigmoid(self.spline(scores)[0])

    def with_slope(self, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """F and its derivative by the raw score."""
        value, slope = self.spline(scores)
        share = _sigmoid(value)
        return share, share * (1.0 - share) * slope

    def score(self, probability: float) -> np.ndarray:
        """The raw score z with F(z) = probability: one number, or (n,)."""
        slopes, heights = np.atleast_2d(self.slopes), np.atleast_2d(self.heights)
        target = np.log(probability) - np.log1p(-probability)
        row = np.arange(len(slopes))
        place = np.clip((heights <= target).sum(axis=1) - 1, 0, len(KNOTS) - 2)
        low, high, rest = slopes[row, place], slopes[row, place + 1], target - heights[row, place]
        inside = 2.0 * rest / (low + np.sqrt(np.maximum(low**2 + 2.0 * (high - low) * rest, 0.0)))
        above = 1.0 + (target - heights[row, -1]) / slopes[row, -1]
        step = np.where(rest < 0, rest / low, np.where(target > heights[row, -1], above, inside))
        found = KNOTS[place] + step
        return found if self.slopes.ndim == 2 else found[0]

    def rows(self, rows: slice | np.ndarray) -> Link:
        if self.slopes.ndim == 1:
            return self
        level, least = np.asarray(self.level)[rows], np.asarray(self.least)[rows]
        return Link(slopes=self.slopes[rows], level=level, least=least, known_heights=self.heights[rows])

    @cached_property
    def heights(self) -> np.ndarray:
        """g at the knots, like ``slopes``."""
        if self.known_heights is not None:
            return self.known_heights
        steps = np.cumsum((self.slopes[..., 1:] + self.slopes[..., :-1]) / 2.0, axis=-1)
        heights = np.concatenate([np.zeros_like(self.slopes[..., :1]), steps], axis=-1)
        return heights - heights[..., MIDDLE, None] + np.asarray(self.level)[..., None]

    def spline(self, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """g and its slope at raw scores (n,) or (n, g); NaN where the score is."""
        way = scores - KNOTS[0]
        place = np.fmin(np.fmax(way, 0.0), len(KNOTS) - 2).astype(np.intp)
        step, at = way - place, place
        if self.slopes.ndim == 2:
            at = place + along(np.arange(0, self.slopes.size, len(KNOTS)), scores)
        low = self.slopes.take(at)
        rise = self.slopes.take(at + 1) - low
        within = np.minimum(np.maximum(step, 0.0), 1.0)
        slope = low + rise * within
        value = self.heights.take(at) + low * within + rise * within**2 / 2.0 + slope * (step - within)
        return value, slope


def link_of(slopes: np.ndarray, level: float) -> Link:
    """The link of one kind of card, with its least score."""
    link = Link(slopes=np.asarray(slopes, dtype=np.float64), level=np.float64(level), least=np.float64(0.0))
    return Link(slopes=link.slopes, level=link.level, least=np.float64(least_score(link)))


def least_score(link: Link) -> float:
    """The score from which on log(F + MOST_FLOOR) is concave and F at least LEAST_SHARE."""
    scores = np.linspace(-60.0, 40.0, 5_001)
    share, slope = link.with_slope(scores)
    inside = (share >= LEAST_SHARE) & (share <= 1.0 - 1e-6)
    scores, fall = scores[inside], np.diff(slope[inside] / (share[inside] + MOST_FLOOR))
    rising = np.flatnonzero(fall > 0)
    return float(scores[rising[-1] + 1]) if len(rising) else float(link.score(LEAST_SHARE))


PLAIN = Link(
    slopes=np.ones(len(KNOTS)), level=np.float64(0.0), least=np.log(LEAST_SHARE / (1.0 - LEAST_SHARE))
)
"""The logistic curve itself."""


@dataclass(frozen=True)
class Links:
    """One link for all cards, and one for each card type and validity with decisions enough."""

    overall: Link = PLAIN
    of_type: dict[str, Link] = field(default_factory=dict)

    def of(self, type_state: np.ndarray) -> Link:
        """The links of cards (n,) as one, with arrays."""
        place = np.array([self._place.get(name, 0) for name in type_state.tolist()], dtype=np.intp)
        return self._table.rows(place)

    @cached_property
    def _place(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.of_type, start=1)}

    @cached_property
    def _table(self) -> Link:
        links = [self.overall, *self.of_type.values()]
        return Link(
            slopes=np.stack([link.slopes for link in links]),
            level=np.array([link.level for link in links]),
            least=np.array([link.least for link in links]),
        )

    def to_dict(self) -> dict[str, object]:
        return {
            "overall": _numbers(self.overall),
            "of_type": {name: _numbers(link) for name, link in self.of_type.items()},
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Links:
        of_type = {name: link_of(**numbers) for name, numbers in data["of_type"].items()}
        return cls(overall=link_of(**data["overall"]), of_type=of_type)


def _numbers(link: Link) -> dict[str, object]:
    return {"slopes": link.slopes.tolist(), "level": float(link.level)}


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
        share = float(
            Link(slopes=tamed, level=np.float64(level), least=PLAIN.least).probability(KNOTS[[knot]])[0]
        )
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
        units = [Link(slopes=unit, level=nothing, least=nothing) for unit in np.eye(len(KNOTS))]
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
        honest = _sigmoid(self.basis @ numbers)
        p = np.clip(self.floor + (1.0 - self.floor) * honest, SMALLEST, 1.0 - SMALLEST)
        lost = -(self.yes @ np.log(p) + self.no @ np.log1p(-p))
        by_p = self.no / (1.0 - p) - self.yes / p
        away = numbers - self.prior
        pull = self.precision @ away
        gradient = self.basis.T @ (by_p * (1.0 - self.floor) * honest * (1.0 - honest))
        return float(lost + away @ pull / 2.0), gradient + pull


def _sigmoid(logit: np.ndarray) -> np.ndarray:
    """(np.clip takes several times as long for the few numbers of one card.)"""
    return 1.0 / (1.0 + np.exp(-np.minimum(np.maximum(logit, -500.0), 500.0)))
