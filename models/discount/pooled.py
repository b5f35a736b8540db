"""A logit of acceptance for all cards: the start of the trees, and the answer where a log is too small for them.

``z = a (r - m)/u + b (r - c)/u + d (r - o)/u + k (r - q)/u - e(x)`` with m the resale estimate, c what the best
competitor would bid for this very card, o what the log usually offers for it, q what it usually offers for its kind at
any face value and days to expiry (:func:`models.discount.offer_movement.fit_usual_offer`), u = RATE_UNIT, and e a sum
of weights of the card's inputs. Together they say what sellers of such a card expect; where all that is said of it is
blurred, sellers look less steep than they are (errors in variables). o less q is what the log's own prices take off for
face value and expiry: sellers may feel less of it, and e, which only rises, could not take it back. A competitor's bid
is for a fresh card of a usual value; for another one it counts as so much lower as that resells lower. Slopes and
weights are fitted together with the shape of the curve (:mod:`models.discount.link`), at the maximum of their
posterior; slopes are never negative, and e never falls with face value or days to expiry.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
import scipy.optimize
import scipy.sparse

from models.discount.context import HOUR_WAVES, CardContext
from models.discount.inputs import Group, Numbers, Weighing, design, kind_groups
from models.discount.link import PLAIN, SMALLEST, Link, Links
from models.discount.link_fit import fit_links
from models.discount.resale import ResaleEstimate

RATE_UNIT = 0.05
"""Slopes and places are counted in units of five points of face value."""
FACE_STEPS_CNY = (50, 100, 150, 200, 300, 500, 800, 1000, 2000)
EXPIRY_STEPS_DAYS = (0, 7, 15, 30, 45, 60, 90, 135, 180, 365, 730)
_FACE_EDGES, _EXPIRY_EDGES = np.array(FACE_STEPS_CNY)[:, None], np.array(EXPIRY_STEPS_DAYS)[:, None]
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
FIRST = 6
"""Numbers of the logit before its weights: intercept, four slopes, no competitor."""
SLOPES = slice(1, 5)
MIN_SLOPE = 0.3
"""Least believable slope, logits per RATE_UNIT; a log that shows less does not identify it."""
WEIGHT_PRECISION = 4.0
SLOPE_PRECISION = 1.0
SURE_PRECISION = 1e9
"""Precisions of the normal priors, around 0 for weights and around the usual slopes; a sure one does not move."""
MOST_ITERATIONS = 100
MOST_ROWS = 150_000
"""More decisions would not move a weight by as much as its prior does."""
SHAPES = 3
"""How often the shape is fitted, between two fits of the slopes and weights; a fourth time changes nothing."""
USUAL_INFORMATION = 0.2
"""Of a decision about its score, for the scale of the numbers that are searched."""


class UsualOffers(NamedTuple):
    """What the log usually offers (n,): for such a card, and for its kind at any face value and days to expiry."""

    of_card: np.ndarray
    of_kind: np.ndarray

    def rows(self, rows: slice | np.ndarray) -> UsualOffers:
        return UsualOffers(self.of_card[rows], self.of_kind[rows])


@dataclass(frozen=True)
class PooledLogit:
    """Slopes per RATE_UNIT of distance to the resale estimate, the best competitor and both usual offers, and weights
    by input.

    Where no competitor's bid is known the resale estimate takes its place and no_competitor is added. The defaults
    are the prior: half of the sellers accept five points under the resale estimate, and at a competitor's bid if it
    lies there.
    """

    intercept: float = 1.0
    resale_slope: float = 1.0
    competitor_slope: float = 1.5
    usual_slope: float = 0.0
    kind_slope: float = 0.0
    no_competitor: float = 1.5
    weights: dict[str, float] = field(default_factory=dict)

    @property
    def competitor_part(self) -> float:
        """How far the rate that half of the sellers take follows the best competitor's bid."""
        return self.competitor_slope / self.slope

    @property
    def slope(self) -> float:
        """How steeply sellers react to a rate, per RATE_UNIT."""
        return self.resale_slope + self.competitor_slope + self.usual_slope + self.kind_slope

    def curve(
        self, *, context: CardContext, resale: ResaleEstimate, usual: UsualOffers
    ) -> tuple[np.ndarray, np.ndarray]:
        """Rate of score 0, which about half of the sellers take, and log steepness per RATE_UNIT, (n,) each.

        The rate is a mean of resale estimate, best competitor's bid and usual offers plus what the card's inputs weigh,
        so it rises with all of them.
        """
        known, competitor = _competitor(context, resale)
        level = self.intercept + self.no_competitor * ~known
        if self.weights:
            level = level - self._weighing.sums(context, _steps(context))
        seen = self.resale_slope * resale.mean + self.competitor_slope * competitor
        seen = seen + self.usual_slope * usual.of_card + self.kind_slope * usual.of_kind
        location = (seen - RATE_UNIT * level) / self.slope
        return location, np.full(len(location), np.log(self.slope))

    @cached_property
    def _weighing(self) -> Weighing:
        return Weighing(self.weights, STEPS, lambda kind: kind.type_state)


def fit_pooled(
    *,
    context: CardContext,
    resale: ResaleEstimate,
    usual: UsualOffers,
    floor: np.ndarray,
    rate: np.ndarray,
    accepted: np.ndarray,
    slopes_known: bool,
) -> tuple[PooledLogit, Links]:
    """Fit on n decisions, or on MOST_ROWS evenly chosen, in turn with the shape. floor (n,): probability that the
    seller takes any rate.

    Slopes that the log cannot know (slopes_known), or too small together to be believed, are the prior's, the shape
    is the logistic curve's, and only the weights are fitted: what a log without price movement cannot tell is not
    guessed.
    """
    if len(rate) > MOST_ROWS:
        chosen = np.linspace(0, len(rate) - 1, MOST_ROWS).astype(np.int64)
        context, resale = context.rows(chosen), resale.rows(chosen)
        usual = usual.rows(chosen)
        floor, rate, accepted = (x[chosen] for x in (floor, rate, accepted))
    problem = _Problem.of(context, resale, usual, floor, rate, accepted)
    links, found = (
        Links(),
        problem.solve(PLAIN, slope_precision=SLOPE_PRECISION if slopes_known else SURE_PRECISION),
    )
    for again in range(SHAPES if slopes_known and found[SLOPES].sum() >= MIN_SLOPE else 0):
        if again:
            found = problem.solve(links.of(context), slope_precision=SLOPE_PRECISION, start=found)
        scores = problem.matrix @ found
        links = fit_links(scores=scores, floor=floor, accepted=accepted, type_state=context.type_state)
    if found[SLOPES].sum() < MIN_SLOPE:  # at once, or once a shape had taken over what slope there was
        links, found = Links(), problem.solve(PLAIN, slope_precision=SURE_PRECISION)
    intercept, resale_slope, competitor_slope, usual_slope, kind_slope, no_competitor = found[:FIRST].tolist()
    return PooledLogit(
        intercept=intercept,
        resale_slope=resale_slope,
        competitor_slope=competitor_slope,
        usual_slope=usual_slope,
        kind_slope=kind_slope,
        no_competitor=no_competitor,
        weights=dict(zip(problem.names, found[FIRST:].tolist(), strict=True)),
    ), links


def _competitor(context: CardContext, resale: ResaleEstimate) -> tuple[np.ndarray, np.ndarray]:
    """Where a competitor's bid is known (n,), and what the best one comes to for each card (n,)."""
    known = np.isfinite(context.competitor_best)
    condition = resale.mean - resale.anchor_rate
    return known, np.where(known, context.competitor_best + condition, resale.mean)


@dataclass(frozen=True)
class _Problem:
    """matrix (n, FIRST + k): intercept, four gaps, no competitor, and the inputs with their sign turned.

    The search moves the intercept at the mean card, and each number in units of its likely error: unlike sizes and a
    correlation of everything with the intercept would take it several times as many steps.
    """

    matrix: scipy.sparse.csr_matrix
    floor: np.ndarray
    accepted: np.ndarray
    names: list[str]
    mean: np.ndarray
    variance: np.ndarray

    @classmethod
    def of(
        cls,
        context: CardContext,
        resale: ResaleEstimate,
        usual: UsualOffers,
        floor: np.ndarray,
        rate: np.ndarray,
        accepted: np.ndarray,
    ) -> _Problem:
        known, competitor = _competitor(context, resale)
        gaps = [(rate - reference) / RATE_UNIT for reference in (resale.mean, competitor, *usual)]
        slopes = scipy.sparse.csr_matrix(np.stack([np.ones(len(rate)), *gaps, ~known], axis=1))
        names, inputs = design(context, Numbers(STEPS, _steps(context)), _groups(context))
        matrix = scipy.sparse.csr_matrix(scipy.sparse.hstack([slopes, -inputs]))
        mean = np.asarray(matrix.mean(axis=0)).ravel()
        square = np.asarray(matrix.multiply(matrix).mean(axis=0)).ravel()
        mean[0], square[0] = 0.0, 1.0
        return cls(matrix, floor, accepted, names, mean, np.maximum(square - mean**2, 0.0))

    def solve(self, link: Link, *, slope_precision: float, start: np.ndarray | None = None) -> np.ndarray:
        """Intercept, slopes and weights (FIRST + k,) at the maximum of their posterior, for a shape of the curve."""
        prior = PooledLogit()
        centre = np.zeros(len(self.names) + FIRST)
        centre[:FIRST] = (
            prior.intercept,
            prior.resale_slope,
            prior.competitor_slope,
            prior.usual_slope,
            prior.kind_slope,
            prior.no_competitor,
        )
        precision = np.full(len(centre), WEIGHT_PRECISION)
        precision[0], precision[SLOPES], precision[FIRST - 1] = 0.0, slope_precision, 1e-3
        unit = 1.0 / np.sqrt(precision + USUAL_INFORMATION * len(self.floor) * self.variance + SMALLEST)
        least = np.full(len(centre), -np.inf)
        rising = [place for place, name in enumerate(self.names, start=FIRST) if name.startswith(RISING)]
        least[SLOPES] = 0.0
        least[rising] = 0.0
        first = (centre if start is None else start).copy()
        first[0] += self.mean @ first
        found = scipy.optimize.minimize(
            self._loss,
            first / unit,
            args=(link, unit, centre, precision),
            jac=True,
            method="L-BFGS-B",
            bounds=[(low, None) for low in (least / unit).tolist()],
            options={"maxiter": MOST_ITERATIONS},
        )
        weights = np.asarray(found.x) * unit
        weights[0] -= self.mean @ weights
        return weights

    def _loss(
        self, numbers: np.ndarray, link: Link, unit: np.ndarray, centre: np.ndarray, precision: np.ndarray
    ) -> tuple[float, np.ndarray]:
        """Negative log posterior of ``P = f + (1 - f) F(z)``, and its gradient."""
        weights = numbers * unit
        honest, rise = link.with_slope(self.matrix @ weights - self.mean @ weights)
        p = np.clip(self.floor + (1.0 - self.floor) * honest, SMALLEST, 1.0 - SMALLEST)
        yes = self.accepted > 0.5
        loss = -np.where(yes, np.log(p), np.log1p(-p)).sum()
        by_z = -(yes - p) * (1.0 - self.floor) * rise / (p * (1.0 - p))
        away = weights - centre
        gradient = self.matrix.T @ by_z - self.mean * by_z.sum() + precision * away
        return float(loss + (precision * away**2).sum() / 2), gradient * unit


def _steps(context: CardContext) -> np.ndarray:
    """Values (k, n) of STEPS: face value and days to expiry as steps (1.0 from the edge on), no expiry, an odd face,
    and the hour."""
    days, faces, edges = context.days_to_expiry, len(_FACE_EDGES), len(_FACE_EDGES) + len(_EXPIRY_EDGES)
    values = np.empty((len(STEPS), len(days)))
    values[:faces] = context.face_cny >= _FACE_EDGES
    values[faces:edges] = context.days_left >= _EXPIRY_EDGES
    values[edges], values[edges + 1] = np.isnan(days), context.face_is_usual == 0
    values[edges + 2 :] = context.hour_waves
    return values


def _groups(context: CardContext) -> dict[str, Group]:
    """Card type and validity, category and form."""
    kinds, place = context.kinds
    return kind_groups(context) | {"type": Group([kind.type_state for kind in kinds], place)}
