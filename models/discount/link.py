"""The shape of sellers' reservation rates: ``F(z) = 1 - (1 - sigmoid(z)^alpha)^beta``.

alpha = beta = 1 is the logistic curve; alpha and beta bend its lower and its upper tail apart (Kumaraswamy's
double-bounded distribution, 1980, of a logistic variable), for each card type. F rises strictly, and its logarithm is
concave from a share on that :func:`least_share` finds, which is what makes the best rate rise with a card's value and
with sellers' expectations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import Any

import numpy as np
import scipy.optimize

from models.matrix import along

PRIOR_PRECISION = 8.0
"""Of the log parameters around the plain logistic curve: some dozens of decisions weigh as much."""
MOST_BEND = 5.0
MOST_STRETCH = 4.0
MOST_SHIFT = 4.0
MIN_TYPE_ROWS = 100
MOST_ROWS = 30_000
"""Decisions that fix four numbers to a few hundredths."""
SMALLEST = 1e-12
TINY = float(np.finfo(float).tiny)
LEAST_SHARE = 0.10
"""Of honest sellers who take an offer; one that fewer would take is no offer."""
MOST_FLOOR = 0.0075
"""Largest odds of fraud that may move the best rate."""

Number = float | np.ndarray


@dataclass(frozen=True)
class Link:
    """stretch and shift: what the scores are multiplied by, and moved by, before the shape applies.

    Each of the four is one number, or an array (n,) with one for each card.
    """

    alpha: Number = 1.0
    beta: Number = 1.0
    stretch: Number = 1.0
    shift: Number = 0.0

    def probability(self, scores: np.ndarray) -> np.ndarray:
        """F at raw scores (n,) or (n, g)."""
        alpha, beta, stretch, shift = self._along(scores)
        _, log_rest = _logs(alpha, stretch * scores + shift)
        return -np.expm1(beta * log_rest)

    def with_slope(self, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """F and its derivative by the raw score."""
        alpha, beta, stretch, shift = self._along(scores)
        z = stretch * scores + shift
        log_u, log_rest = _logs(alpha, z)
        slope = np.exp(alpha * log_u + (beta - 1.0) * log_rest - np.logaddexp(0.0, _bounded(z)))
        return -np.expm1(beta * log_rest), stretch * alpha * beta * slope

    def score(self, probability: float) -> np.ndarray:
        """The raw score z with F(z) = probability: one number, or (n,)."""
        alpha, beta = np.asarray(self.alpha), np.asarray(self.beta)
        u = (1.0 - (1.0 - probability) ** (1.0 / beta)) ** (1.0 / alpha)
        return (np.log(u) - np.log1p(-u) - self.shift) / self.stretch

    def least_score(self) -> np.ndarray:
        """The raw score (n,) at the least share, see :func:`least_share`; (1,) for one number."""
        numbers = np.broadcast_arrays(*np.atleast_1d(*vars(self).values()))
        return np.array(list(map(_least_score, *(x.tolist() for x in numbers))))

    def rows(self, rows: slice | np.ndarray) -> Link:
        return Link(*(x[rows] if isinstance(x, np.ndarray) else x for x in vars(self).values()))

    def _along(self, scores: np.ndarray) -> tuple[Number, ...]:
        """The four numbers, shaped to go along scores."""
        return tuple(along(x, scores) if isinstance(x, np.ndarray) else x for x in vars(self).values())


@cache
def least_share(alpha: float, beta: float) -> float:
    """The smallest share, at least LEAST_SHARE, from which on log(F + MOST_FLOOR) is concave.

    A tenth for the logistic curve; a link whose tails are both long needs more.
    """
    scores = np.linspace(-60.0, 40.0, 5_001)
    share, slope = Link(alpha, beta).with_slope(scores)
    inside = (share >= LEAST_SHARE) & (share <= 1.0 - 1e-6)
    share, fall = share[inside], np.diff(slope[inside] / (share[inside] + MOST_FLOOR))
    rising = np.flatnonzero(fall > 0)
    return float(share[rising[-1] + 1]) if len(rising) else LEAST_SHARE


@cache
def _least_score(alpha: float, beta: float, stretch: float, shift: float) -> float:
    return float(Link(alpha, beta, stretch, shift).score(least_share(alpha, beta)))


PLAIN = Link()
"""The logistic curve itself."""


@dataclass(frozen=True)
class Links:
    """One link for all cards, and one for each card type and validity with decisions enough."""

    overall: Link = PLAIN
    of_type: dict[str, Link] = field(default_factory=dict)

    def of(self, type_state: np.ndarray) -> Link:
        """The links of cards (n,) as one, with arrays."""
        found = [self.of_type.get(name, self.overall) for name in type_state.tolist()]
        numbers = np.array([tuple(vars(link).values()) for link in found], dtype=np.float64)
        return Link(*numbers.reshape(-1, 4).T)

    def to_dict(self) -> dict[str, object]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Links:
        of_type = {name: Link(**numbers) for name, numbers in data["of_type"].items()}
        return cls(overall=Link(**data["overall"]), of_type=of_type)


def fit_links(
    *, scores: np.ndarray, floor: np.ndarray, accepted: np.ndarray, type_state: np.ndarray
) -> Links:
    """The most likely links of decisions (n,) on rows that the scores (n,) were not fitted on.

    floor (n,): probability that a seller takes any rate. The overall link has a weak prior at the plain logistic, a
    card type's link one at the overall link.
    """
    overall = fit_link(scores=scores, floor=floor, accepted=accepted, prior=PLAIN)
    names, position, counts = np.unique(type_state.astype(str), return_inverse=True, return_counts=True)
    members = np.split(np.argsort(position, kind="stable"), np.cumsum(counts)[:-1])
    of_type = {
        name: fit_link(scores=scores[rows], floor=floor[rows], accepted=accepted[rows], prior=overall)
        for name, rows in zip(names.tolist(), members, strict=True)
        if len(rows) >= MIN_TYPE_ROWS
    }
    return Links(overall=overall, of_type=of_type)


def fit_link(*, scores: np.ndarray, floor: np.ndarray, accepted: np.ndarray, prior: Link) -> Link:
    """The most likely link; the logarithms of its numbers have a normal prior around ``prior``.

    Of more than MOST_ROWS decisions it takes as many, evenly chosen.
    """
    if len(scores) > MOST_ROWS:
        chosen = np.linspace(0, len(scores) - 1, MOST_ROWS).astype(np.int64)
        scores, floor, accepted = scores[chosen], floor[chosen], accepted[chosen]
    numbers = np.array(list(vars(prior).values()), dtype=np.float64)
    centre = np.append(np.log(numbers[:3]), numbers[3])
    limits = np.log([MOST_BEND, MOST_BEND, MOST_STRETCH])
    bounds = [(-limit, limit) for limit in limits] + [(-MOST_SHIFT, MOST_SHIFT)]
    loss = _likelihood(scores, floor, accepted, centre)
    found = scipy.optimize.minimize(loss, centre, method="L-BFGS-B", bounds=bounds)
    return _link(np.asarray(found.x))


def _link(numbers: np.ndarray) -> Link:
    alpha, beta, stretch = np.exp(numbers[:3])
    return Link(alpha=float(alpha), beta=float(beta), stretch=float(stretch), shift=float(numbers[3]))


def _likelihood(
    scores: np.ndarray, floor: np.ndarray, accepted: np.ndarray, centre: np.ndarray
) -> Callable[[np.ndarray], float]:
    """Negative log posterior of (log alpha, log beta, log stretch, shift)."""

    def loss(numbers: np.ndarray) -> float:
        p = floor + (1.0 - floor) * _link(numbers).probability(scores)
        p = np.clip(p, SMALLEST, 1.0 - SMALLEST)
        lost = -np.where(accepted > 0.5, np.log(p), np.log1p(-p)).sum()
        away = numbers - centre
        return float(lost + PRIOR_PRECISION * (away @ away) / 2)

    return loss


def _logs(alpha: Number, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Logarithms of sigmoid(z) and of 1 - sigmoid(z)^alpha."""
    log_u = -np.logaddexp(0.0, -_bounded(z))
    return log_u, np.log(np.maximum(-np.expm1(alpha * log_u), TINY))


def _bounded(z: np.ndarray) -> np.ndarray:
    """Scores that exp can take. (np.clip takes several times as long for the few numbers of one card.)"""
    return np.minimum(np.maximum(z, -500.0), 500.0)
