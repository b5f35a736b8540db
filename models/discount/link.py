"""The shape of sellers' reservation rates: ``F(z) = sigmoid(g(z))`` with a rising spline g.

The slope of g runs straight from knot to knot of the score z and stays as it is beyond the last ones, so g and F have a
continuous slope. All slopes 1 is the logistic curve. One shape for all cards, and one for each card type with decisions
enough, held near it: a shape of few numbers (a bent logistic with two) had too round a knee for sellers of whom most
take any rate near the usual one and few more.

F rises strictly. What makes the best rate rise with a card's value and with sellers' expectations is a concave
logarithm, which F has from some score on. Where some sellers are in a hurry and others are not, it may have one on a
stretch below that too (:func:`on_lower_hill`), with a best rate of its own. Beyond the stretch a price is decided by
the straight continuation of the logarithm (:meth:`Link.deciding`), as far as that lies below the truth.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from models.discount.context import CardContext, Kind
from models.matrix import along, within

KNOTS = np.linspace(-4.0, 4.0, 9)
"""Scores, one apart: the log odds of acceptance that a logistic curve would have."""
MIDDLE = len(KNOTS) // 2
"""The knot at score 0."""
SMALLEST = 1e-12
LEAST_SHARE = 0.10
"""Of honest sellers who take an offer; one that fewer would take is no offer."""
MOST_FLOOR = 0.0075
"""Largest odds of fraud that may move the best rate."""
UNLIMITED = np.float64(np.inf)
STEP = 0.02
GRID = np.linspace(-60.0, 40.0, 5_001)
"""Scores at which a logarithm is looked at."""
NEAR = 3 * STEP
"""So near the end of a concave stretch the slope is still about what it is there."""
NUMBERS = "level", "least", "most", "start", "end"
"""The fields of a link that are one number for each card."""


def sigmoid(logit: np.ndarray) -> np.ndarray:
    """(np.clip takes several times as long for the few numbers of one card.)"""
    return 1.0 / (1.0 + np.exp(-np.minimum(np.maximum(logit, -500.0), 500.0)))


@dataclass(frozen=True)
class Link:
    """slopes: of g at the KNOTS, (k,), or (n, k) with a row for each card; level: g(0), one number or (n,).

    start, end: scores between which log(F + MOST_FLOOR) is concave, one number or (n,); least, most: those between
    which the best rate is looked for. known_heights: g at the knots like ``slopes``, where it was worked out before.
    """

    slopes: np.ndarray
    level: np.ndarray | np.float64
    least: np.ndarray | np.float64 = -UNLIMITED
    most: np.ndarray | np.float64 = UNLIMITED
    start: np.ndarray | np.float64 = -UNLIMITED
    end: np.ndarray | np.float64 = UNLIMITED
    known_heights: np.ndarray | None = None

    def probability(self, scores: np.ndarray) -> np.ndarray:
        """F at raw scores (n,) or (n, g)."""
        return sigmoid(self.spline(scores)[0])

    def with_slope(self, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """F and its derivative by the raw score."""
        value, slope = self.spline(scores)
        share = sigmoid(value)
        return share, share * (1.0 - share) * slope

    def deciding(self, scores: np.ndarray) -> np.ndarray:
        """F at raw scores (n,) or (n, g), with a logarithm continued straight beyond its concave stretch."""
        start, end = (x if x.ndim == 0 else along(x, scores) for x in (self.start, self.end))
        inner = within(scores, start, end)
        beyond = scores - inner
        if not beyond.any():
            return self.probability(scores)
        share, slope = self.with_slope(inner)
        lifted = share + MOST_FLOOR
        return np.where(beyond == 0.0, share, lifted * np.exp(slope / lifted * beyond) - MOST_FLOOR)

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
        parts = {name: np.asarray(getattr(self, name))[rows] for name in NUMBERS}
        return Link(slopes=self.slopes[rows], known_heights=self.heights[rows], **parts)

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
    """The link of one kind of card, with its uppermost hill."""
    link = Link(slopes=np.asarray(slopes, dtype=np.float64), level=np.float64(level))
    rise = _rise(link, GRID)
    start, _ = _hills(link, rise)[-1]
    return _limited(replace(link, start=np.float64(start)), rise)


def on_lower_hill(link: Link) -> Link | None:
    """The same link of one kind of card, searched on its widest hill below the uppermost one; None without one."""
    rise = _rise(link, GRID)
    below = _hills(link, rise)[:-1]
    if not below:
        return None
    start, end = max(below, key=lambda hill: hill[1] - hill[0])
    return _limited(replace(link, start=np.float64(start), end=np.float64(end)), rise)


def _limited(link: Link, rise: np.ndarray) -> Link:
    """The link with the limits of the search: where ``deciding`` is LEAST_SHARE, and where the slope beyond the concave
    stretch is again what it is at its ends. rise: of the GRID."""
    at_start, at_end = _rise(link, np.array([link.start, link.end]))
    below = GRID[(link.start - GRID > NEAR) & (rise >= at_start)]
    above = GRID[(GRID - link.end > NEAR) & (rise <= at_end)]
    share = link.probability(np.array([link.start]))[0] + MOST_FLOOR
    tenth = link.start + np.log((LEAST_SHARE + MOST_FLOOR) / share) / at_start
    least = max(tenth, below[-1]) if len(below) else tenth
    return replace(link, least=np.float64(least), most=above[0] if len(above) else UNLIMITED)


def _rise(link: Link, scores: np.ndarray) -> np.ndarray:
    """The slope of log(F + MOST_FLOOR) at scores (g,)."""
    share, slope = link.with_slope(scores)
    return slope / (share + MOST_FLOOR)


def _hills(link: Link, rise: np.ndarray) -> list[tuple[float, float]]:
    """The stretches of scores, ascending, on which log(F + MOST_FLOOR) is concave and F at least LEAST_SHARE; there is
    one at least, for the logarithm is concave in the end. rise: of the GRID. A step is left out where one begins or
    ends, for that lies between two scores of the grid."""
    low, high = float(link.score(LEAST_SHARE)), float(link.score(1.0 - 1e-6))
    inside = (low <= GRID) & (high >= GRID)
    scores, last = GRID[inside], np.count_nonzero(inside) - 1
    rising = np.flatnonzero(np.diff(rise[inside]) > 0)
    starts = [low, *scores[np.minimum(rising + 2, last)].tolist()]
    ends = [*scores[np.maximum(rising - 1, 0)].tolist(), np.inf]
    return [(start, end) for start, end in zip(starts, ends, strict=True) if end - start > STEP]


PLAIN = link_of(np.ones(len(KNOTS)), 0.0)
"""The logistic curve itself."""


@dataclass(frozen=True)
class Links:
    """One link for all cards, and one for each card type and validity with decisions enough.

    on_lower: the kinds of cards (:func:`cell_name`) whose best rate is looked for on the lower hill of their link.
    """

    overall: Link = PLAIN
    of_type: dict[str, Link] = field(default_factory=dict)
    on_lower: frozenset[str] = frozenset()

    def of(self, context: CardContext) -> Link:
        """The links of n cards as one, with arrays."""
        return self._table.rows(context.by_kind(self._place_of).astype(np.intp))

    def of_type_state(self, name: str) -> Link:
        """The link of one card type and validity, with its uppermost hill."""
        return self.of_type.get(name, self.overall)

    def _place_of(self, kind: Kind) -> int:
        names = self._place
        return names.get(cell_name(kind), names.get(kind.type_state, 0))

    @cached_property
    def _place(self) -> dict[str, int]:
        return {name: place for place, name in enumerate([*self.of_type, *self._lowered], start=1)}

    @cached_property
    def _lowered(self) -> dict[str, Link]:
        links = {name: self.of_type_state(_type_state(name)) for name in sorted(self.on_lower)}
        return {name: on_lower_hill(link) or link for name, link in links.items()}

    @cached_property
    def _table(self) -> Link:
        links = [self.overall, *self.of_type.values(), *self._lowered.values()]
        numbers = {name: np.array([getattr(link, name) for link in links]) for name in NUMBERS}
        return Link(slopes=np.stack([link.slopes for link in links]), **numbers)

    def to_dict(self) -> dict[str, object]:
        return {
            "overall": _numbers(self.overall),
            "of_type": {name: _numbers(link) for name, link in self.of_type.items()},
            "on_lower": sorted(self.on_lower),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Links:
        of_type = {name: link_of(**numbers) for name, numbers in data["of_type"].items()}
        return cls(overall=link_of(**data["overall"]), of_type=of_type, on_lower=frozenset(data["on_lower"]))


def cell_name(kind: Kind) -> str:
    """What chooses a hill: card type, validity and form. None of them has an order that prices must keep."""
    return f"{kind.type_state}/{kind.form}"


def _type_state(cell: str) -> str:
    return cell.rpartition("/")[0]


def _numbers(link: Link) -> dict[str, object]:
    return {"slopes": link.slopes.tolist(), "level": float(link.level)}
