"""A logit of acceptance for all cards: the start of the trees, and the answer where a log is too small for them.

``logit = a (r - m)/u + b (r - c)/u - e(x)`` with m the resale estimate, c the best competitor's bid, u = RATE_UNIT,
and e a sum of weights of the card's inputs: what sellers of such a card expect. Slopes and weights are fitted
together, at the maximum of their posterior; slopes are never negative, and e never falls with face value or days to
expiry.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import scipy.optimize
import scipy.sparse

from models.discount.context import HOUR_WAVES, CardContext
from models.discount.inputs import Group, Numbers, design, kind_groups, weighted

RATE_UNIT = 0.05
"""Slopes and places are counted in units of five points of face value."""
FACE_STEPS_CNY = (50, 100, 150, 200, 300, 500, 800, 1000, 2000)
EXPIRY_STEPS_DAYS = (0, 7, 15, 30, 45, 60, 90, 135, 180, 365, 730)
STEPS = (
    *(f"face>={edge}" for edge in FACE_STEPS_CNY),
    *(f"days>={edge}" for edge in EXPIRY_STEPS_DAYS),
    "no_expiry",
    "odd_face",
    *HOUR_WAVES,
)
"""Names of the inputs that are numbers."""
RISING = ("face>=", "days>=", "face_of/")
"""Inputs with which sellers' expectations may only rise."""
MIN_SLOPE = 0.3
"""Least believable slope, logits per RATE_UNIT; a log that shows less does not identify it."""
WEIGHT_PRECISION = 4.0
SLOPE_PRECISION = 1.0
SURE = 1e9
"""Precisions of the normal priors, around 0 for weights and around the usual slopes; a sure one does not move."""
MOST_ITERATIONS = 300
MOST_ROWS = 150_000
"""More decisions would not move a weight by as much as its prior does."""


@dataclass(frozen=True)
class PooledLogit:
    """Slopes per RATE_UNIT of distance to the resale estimate and to the best competitor, and weights by input.

    Where no competitor's bid is known the resale estimate takes its place and no_competitor is added. The defaults
    are the prior: half of the sellers accept five points under the resale estimate, and at a competitor's bid if it
    lies there.
    """

    intercept: float = 1.0
    resale_slope: float = 1.0
    competitor_slope: float = 1.5
    no_competitor: float = 1.5
    weights: dict[str, float] = field(default_factory=dict)

    @property
    def competitor_part(self) -> float:
        """How far the rate that half of the sellers take follows the best competitor's bid."""
        return self.competitor_slope / (self.resale_slope + self.competitor_slope)

    def curve(self, *, context: CardContext, resale_mean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rate that half of the sellers take, and log steepness per RATE_UNIT, (n,) each.

        The rate is a mean of resale estimate and best competitor's bid plus what the card's inputs weigh, so it
        rises with both.
        """
        known = np.isfinite(context.competitor_best)
        slope = self.resale_slope + self.competitor_slope
        gap = np.where(known, context.competitor_best - resale_mean, 0.0)
        level = self.intercept + self.no_competitor * ~known
        if self.weights:
            level = level - weighted(context, _steps(context), _groups(context), self.weights)
        location = resale_mean + self.competitor_part * gap - RATE_UNIT * level / slope
        return location, np.full(len(resale_mean), np.log(slope))


def fit_pooled(
    *,
    context: CardContext,
    resale_mean: np.ndarray,
    floor: np.ndarray,
    rate: np.ndarray,
    accepted: np.ndarray,
    slopes_known: bool,
) -> PooledLogit:
    """Fit on n decisions, or on MOST_ROWS evenly chosen. floor (n,): probability that the seller takes any rate.

    Slopes that the log cannot know (slopes_known), or too small together to be believed, are the prior's and only
    the weights are fitted: what a log without price movement cannot tell is not guessed.
    """
    if len(rate) > MOST_ROWS:
        chosen = np.linspace(0, len(rate) - 1, MOST_ROWS).astype(np.int64)
        context = context.rows(chosen)
        resale_mean, floor, rate, accepted = (x[chosen] for x in (resale_mean, floor, rate, accepted))
    known = np.isfinite(context.competitor_best)
    gap = (rate - resale_mean) / RATE_UNIT
    competitor_gap = np.where(known, (rate - context.competitor_best) / RATE_UNIT, gap)
    slopes = scipy.sparse.csr_matrix(np.stack([np.ones(len(rate)), gap, competitor_gap, ~known], axis=1))
    names, inputs = design(context, _steps(context), _groups(context))
    matrix = scipy.sparse.csr_matrix(scipy.sparse.hstack([slopes, -inputs]))
    problem = _Problem(matrix, floor, accepted, names)
    found = problem.solve(slope_precision=SLOPE_PRECISION if slopes_known else SURE)
    if found[1] + found[2] < MIN_SLOPE:
        found = problem.solve(slope_precision=SURE)
    intercept, resale_slope, competitor_slope, no_competitor = found[:4].tolist()
    return PooledLogit(
        intercept=intercept,
        resale_slope=resale_slope,
        competitor_slope=competitor_slope,
        no_competitor=no_competitor,
        weights=dict(zip(names, found[4:].tolist(), strict=True)),
    )


def sigmoid(logit: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-np.clip(logit, -500.0, 500.0)))


@dataclass(frozen=True)
class _Problem:
    """matrix (n, 4 + k): intercept, two gaps, no competitor, and the inputs with their sign turned."""

    matrix: scipy.sparse.csr_matrix
    floor: np.ndarray
    accepted: np.ndarray
    names: list[str]

    def solve(self, *, slope_precision: float) -> np.ndarray:
        prior = PooledLogit()
        centre = np.zeros(len(self.names) + 4)
        centre[:4] = prior.intercept, prior.resale_slope, prior.competitor_slope, prior.no_competitor
        precision = np.full(len(centre), WEIGHT_PRECISION)
        precision[:4] = 1e-6, slope_precision, slope_precision, 1e-3
        bounds: list[tuple[float | None, float | None]]
        bounds = [(None, None), (0.0, None), (0.0, None), (None, None)]
        bounds += [(0.0, None) if name.startswith(RISING) else (None, None) for name in self.names]
        found = scipy.optimize.minimize(
            self._loss,
            centre,
            args=(centre, precision),
            jac=True,
            method="L-BFGS-B",
            bounds=bounds,
            options={"maxiter": MOST_ITERATIONS},
        )
        return np.asarray(found.x)

    def _loss(
        self, weights: np.ndarray, centre: np.ndarray, precision: np.ndarray
    ) -> tuple[float, np.ndarray]:
        """Negative log posterior of ``P = f + (1 - f) sigmoid(z)``, and its gradient."""
        honest = sigmoid(self.matrix @ weights)
        p = np.clip(self.floor + (1.0 - self.floor) * honest, 1e-12, 1.0 - 1e-12)
        yes = self.accepted > 0.5
        loss = -np.where(yes, np.log(p), np.log1p(-p)).sum()
        by_z = -(yes - p) * (1.0 - self.floor) * honest * (1.0 - honest) / (p * (1.0 - p))
        away = weights - centre
        return (
            float(loss + (precision * away**2).sum() / 2),
            self.matrix.T @ by_z + precision * away,
        )


def _steps(context: CardContext) -> Numbers:
    """Face value and days to expiry as steps (1.0 from the edge on), an odd face, no expiry, and the hour."""
    days = context.days_to_expiry
    values = np.concatenate(
        [
            context.face_cny >= np.array(FACE_STEPS_CNY)[:, None],
            days >= np.array(EXPIRY_STEPS_DAYS)[:, None],
            np.stack([np.isnan(days), context.face_is_usual == 0]),
            context.hour_waves,
        ]
    )
    return Numbers(STEPS, values)


def _groups(context: CardContext) -> dict[str, Group]:
    """Card type and validity, category and form."""
    kinds, place = context.kinds
    return kind_groups(context) | {"type": Group([kind.type_state for kind in kinds], place)}
