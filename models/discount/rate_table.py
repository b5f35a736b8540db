"""The rate table: a price list by card type, time to expiry and form, partly following competitors.

It is the baseline every model must beat, the centre of the guard rails (where the log has support), and the
answer when no model can be loaded, without a log then: the fallback. Plain numbers, saved as JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property

import numpy as np
import scipy.optimize

from features.windows import DAY_MS
from models.discount.context import CardContext, Kind, Memo

MIN_CELL_ROWS = 30
HALF_LIFE_DAYS = 30.0
"""Offers lose half their weight in the table every so many days: it describes the latest price list."""
DEFAULT_RATE = 0.85
UNDER_COMPETITOR = 0.01
"""Without a log the table offers a point less than the best competitor."""
EXPIRED_RATE = 0.03
"""Middle of the 1-5 % of face at which the trade buys expired cards."""


DEFAULT, BAND, EXPIRED, CATEGORY, COMPETITOR = "default", "band", "expired", "category", "competitor"
TYPE, TYPE_EXPIRY, TYPE_EXPIRY_FORM = "type", "type_expiry", "type_expiry_form"
SOURCES = (DEFAULT, BAND, EXPIRED, CATEGORY, COMPETITOR, TYPE, TYPE_EXPIRY, TYPE_EXPIRY_FORM)
"""Where a rate of the table can come from, weakest first."""
_SOURCES = np.array(SOURCES, dtype=object)
LOGGED_SOURCES = (TYPE, TYPE_EXPIRY, TYPE_EXPIRY_FORM)
"""Sources that stand on logged offers of the card's own type."""
CELL_LEVELS = (CATEGORY, *LOGGED_SOURCES)
"""Levels of the table's cells, the coarsest first."""
VALID_BUCKETS = ("under_30_days", "30_to_90_days", "90_days_or_more")
"""Expiry buckets of valid cards, in the order in which the table's rates may not fall."""


@dataclass(frozen=True)
class RateTable:
    """Rates per cell of the log: ``type/jd_ecard/expiry/none/virtual`` and three coarser levels.

    A rate does not fall with more days to expiry, whatever a small cell of the log says.

    competitor_share: how much of a competitor's move since ``competitor_usual`` (per card type) is followed.
    An empty table answers from the
    competitor's bid, the band, or a fixed rate.
    """

    cells: dict[str, float] = field(default_factory=dict)
    competitor_usual: dict[str, float] = field(default_factory=dict)
    competitor_share: float = 0.0

    def rate(self, context: CardContext) -> tuple[np.ndarray, np.ndarray]:
        """Rates (n,) and where each came from (n,) object: see SOURCES."""
        found = context.by_kind(self._found.__getitem__).reshape(len(context), len(CELL_LEVELS)).T
        candidates = np.empty((len(SOURCES), len(context)))
        candidates[0] = DEFAULT_RATE
        candidates[1] = (context.min_rate + context.max_rate) / 2
        candidates[2] = np.where(context.expired, EXPIRED_RATE, np.nan)
        candidates[3] = found[0]
        candidates[4] = context.competitor_best - UNDER_COMPETITOR
        candidates[5:] = found[1:] + self.competitor_share * self.competitor_move(context)
        strongest = len(SOURCES) - 1 - np.isfinite(candidates[::-1]).argmax(axis=0)
        rate = candidates[strongest, np.arange(len(context))]
        return np.minimum(np.maximum(rate, 0.0), 1.0), _SOURCES[strongest]

    @cached_property
    def _found(self) -> Memo:
        """The cells of a kind of card, NaN where there is none."""
        return Memo(lambda kind: [self.cells.get(key, np.nan) for key in cells_of(kind)])

    def competitor_move(self, context: CardContext) -> np.ndarray:
        """Best competitor's bid less its usual one (n,), 0 where either is unknown."""
        usual = context.by_kind(lambda kind: self.competitor_usual.get(kind.card_type, np.nan))
        move = context.competitor_best - usual
        return np.where(np.isnan(move), 0.0, move)

    def to_dict(self) -> dict[str, object]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, object]) -> RateTable:
        return cls(**data)  # type: ignore[arg-type]


def cells_of(kind: Kind) -> tuple[str, ...]:
    """The cells of a kind of card, one for each of CELL_LEVELS.

    An expired card only ever reads cells of expired cards, whose price says nothing about the others.
    """
    by_expiry = f"type/{kind.card_type}/expiry/{kind.expiry}"
    return (
        f"category/{kind.category}/{kind.state}",
        f"type/{kind.type_state}",
        by_expiry,
        f"{by_expiry}/{kind.form}",
    )


def is_logged(source: np.ndarray) -> np.ndarray:
    """Which sources (n,) object stand on logged offers of the card's own type: bool (n,)."""
    return np.array([name in LOGGED_SOURCES for name in source.tolist()], dtype=bool)


def fit_rate_table(*, context: CardContext, offered_rate: np.ndarray, submitted_at: np.ndarray) -> RateTable:
    """Learn the table behind a log of offers (n,): recent weighted mean per cell, and the competitor share.

    The share is the slope of what the cells leave unexplained on the competitor's distance from its usual
    bid, held in [0, 1].
    """
    weight = 0.5 ** ((submitted_at.max() - submitted_at) / (HALF_LIFE_DAYS * DAY_MS))
    usual = _weighted_means(*context.named(lambda kind: kind.card_type), context.competitor_best, weight)
    move = RateTable(competitor_usual=usual).competitor_move(context)
    cells = {
        level: context.named(lambda kind, place=place: cells_of(kind)[place])
        for place, level in enumerate(CELL_LEVELS)
    }
    own_move = move - _own_mean(cells[TYPE_EXPIRY_FORM][1], move, weight)
    own_rate = offered_rate - _own_mean(cells[TYPE_EXPIRY_FORM][1], offered_rate, weight)
    slope = (weight * own_move) @ own_rate / max(float((weight * own_move) @ own_move), 1e-12)
    share = float(np.clip(slope, 0.0, 1.0))
    rest = offered_rate - share * move
    means: dict[str, float] = {}
    for names, position in cells.values():
        means |= _weighted_means(names, position, rest, weight)
    means = _in_order(means, _counts(*cells[TYPE_EXPIRY_FORM]) | _counts(*cells[TYPE_EXPIRY]), context)
    return RateTable(cells=means, competitor_usual=usual, competitor_share=share)


def _in_order(
    means: Mapping[str, float], counts: Mapping[str, int], context: CardContext
) -> dict[str, float]:
    """The cells of every logged card type and form, without gaps and not falling with the days to expiry."""
    ordered = dict(means)
    pairs = {(kind.card_type, kind.form) for kind in context.kinds[0]}
    for card_type, form in sorted({*pairs, *((card_type, "") for card_type, _ in pairs)}):
        keys = [f"type/{card_type}/expiry/{bucket}" for bucket in VALID_BUCKETS]
        wider = [means.get(key, means.get(f"type/{card_type}/valid", np.nan)) for key in keys]
        if form:
            keys = [f"{key}/{form}" for key in keys]
        rates = np.array([means.get(key, other) for key, other in zip(keys, wider, strict=True)])
        if np.isfinite(rates).all():
            weights = [counts.get(key, 0) + 1.0 for key in keys]
            found = scipy.optimize.isotonic_regression(rates, weights=weights).x
            ordered |= dict(zip(keys, found.tolist(), strict=True))
    return ordered


def _counts(names: list[str], position: np.ndarray) -> dict[str, int]:
    return dict(zip(names, np.bincount(position, minlength=len(names)).tolist(), strict=True))


def _weighted_means(
    names: list[str], position: np.ndarray, values: np.ndarray, weight: np.ndarray
) -> dict[str, float]:
    """Mean of the finite values of each name, for those with enough of them; position (n,): each value's name."""
    finite = np.isfinite(values)
    position, values, weight = position[finite], values[finite], weight[finite]
    total = np.bincount(position, weight * values, len(names))
    mass = np.bincount(position, weight, len(names))
    enough = np.flatnonzero(np.bincount(position, minlength=len(names)) >= MIN_CELL_ROWS)
    return {names[place]: float(total[place] / mass[place]) for place in enough}


def _own_mean(position: np.ndarray, values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Each row's weighted mean of its own cell (n,), small cells included."""
    return (np.bincount(position, weight * values) / np.bincount(position, weight))[position]
