"""The rate table: a static price list by card type, time to expiry and form, partly following competitors.

It is the baseline every model must beat, the centre of the guard rails (where the log has support), and the
answer when no model can be loaded. Plain numbers, saved as JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

import numpy as np

from models.discount.context import CardContext

MIN_CELL_ROWS = 30
HALF_LIFE_DAYS = 30.0
"""Offers lose half their weight in the table every so many days: it describes the latest price list."""
DAY_MS = 86_400_000
WEEK_MS = 7 * DAY_MS
DEFAULT_RATE = 0.85
UNDER_COMPETITOR = 0.01
"""Without a log the table offers a point less than the best competitor."""
EXPIRED_RATE = 0.03
"""Middle of the 1-5 % of face at which the trade buys expired cards."""


DEFAULT, BAND, EXPIRED, CATEGORY, COMPETITOR = "default", "band", "expired", "category", "competitor"
TYPE, TYPE_EXPIRY, TYPE_EXPIRY_FORM = "type", "type_expiry", "type_expiry_form"
SOURCES = (DEFAULT, BAND, EXPIRED, CATEGORY, COMPETITOR, TYPE, TYPE_EXPIRY, TYPE_EXPIRY_FORM)
"""Where a rate of the table can come from, weakest first."""
LOGGED_SOURCES = (TYPE, TYPE_EXPIRY, TYPE_EXPIRY_FORM)
"""Sources that stand on logged offers of the card's own type."""


@dataclass(frozen=True)
class RateTable:
    """Rates per cell of the log: ``type/jd_ecard/expiry/none/virtual`` and three coarser levels.

    competitor_share: how much of a competitor's move since ``competitor_usual`` (per card type) is followed.
    spread: how far, as a standard deviation, offers for like cards (one cell, one face value, one week) lay
    apart: what the log can say about sellers' reaction to the price. An empty table answers from the
    competitor's bid, the band, or a fixed rate.
    """

    cells: dict[str, float] = field(default_factory=dict)
    competitor_usual: dict[str, float] = field(default_factory=dict)
    competitor_share: float = 0.0
    spread: float = 0.0

    def rate(self, context: CardContext) -> tuple[np.ndarray, np.ndarray]:
        """Rates (n,) and where each came from (n,) object: see SOURCES."""
        cells = cell_keys(context)
        found = {
            level: np.array([self.cells.get(key, np.nan) for key in keys]) for level, keys in cells.items()
        }
        usual = np.array([self.competitor_usual.get(name, np.nan) for name in context.card_type])
        follow = self.competitor_share * np.nan_to_num(context.competitor_best - usual)
        candidates = {
            BAND: (context.min_rate + context.max_rate) / 2,
            EXPIRED: np.where(context.expired, EXPIRED_RATE, np.nan),
            CATEGORY: found[CATEGORY],
            COMPETITOR: context.competitor_best - UNDER_COMPETITOR,
            **{level: found[level] + follow for level in LOGGED_SOURCES},
        }
        rate, source = np.full(len(context), DEFAULT_RATE), np.full(len(context), DEFAULT, dtype=object)
        for name, values in candidates.items():
            known = np.isfinite(values)
            rate[known], source[known] = values[known], name
        return np.clip(rate, 0.0, 1.0), source

    def to_dict(self) -> dict[str, object]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, object]) -> RateTable:
        return cls(**data)  # type: ignore[arg-type]


def cell_keys(context: CardContext) -> dict[str, np.ndarray]:
    """Source name -> cell key (n,) object of each row.

    An expired card only ever reads cells of expired cards, whose price says nothing about the others.
    """
    card_type, category = context.card_type.astype(str), context.category.astype(str)
    bucket, form = context.expiry_bucket.astype(str), context.form.astype(str)
    state = np.where(context.expired, "expired", "valid")
    return {
        CATEGORY: _join("category", category, state),
        TYPE: _join("type", card_type, state),
        TYPE_EXPIRY: _join("type", card_type, "expiry", bucket),
        TYPE_EXPIRY_FORM: _join("type", card_type, "expiry", bucket, form),
    }


def fit_rate_table(*, context: CardContext, offered_rate: np.ndarray, submitted_at: np.ndarray) -> RateTable:
    """Learn the table behind a log of offers (n,): recent weighted mean per cell, and the competitor share.

    The share is the slope of what the cells leave unexplained on the competitor's distance from its usual
    bid, held in [0, 1].
    """
    weight = 0.5 ** ((submitted_at.max() - submitted_at) / (HALF_LIFE_DAYS * DAY_MS))
    usual = _weighted_means(context.card_type.astype(str), context.competitor_best, weight)
    own_usual = np.array([usual.get(name, np.nan) for name in context.card_type.astype(str)])
    move = np.nan_to_num(context.competitor_best - own_usual)
    cells = cell_keys(context)
    own_move = move - _own_mean(cells[TYPE_EXPIRY_FORM], move, weight)
    own_rate = offered_rate - _own_mean(cells[TYPE_EXPIRY_FORM], offered_rate, weight)
    slope = (weight * own_move) @ own_rate / max(float((weight * own_move) @ own_move), 1e-12)
    share = float(np.clip(slope, 0.0, 1.0))
    rest = offered_rate - share * move
    means: dict[str, float] = {}
    for keys in cells.values():
        means |= _weighted_means(keys, rest, weight)
    alike = _join(
        cells[TYPE_EXPIRY_FORM], context.face_cny.astype(str), (submitted_at // WEEK_MS).astype(str)
    )
    spread = _spread_within(alike, rest)
    return RateTable(cells=means, competitor_usual=usual, competitor_share=share, spread=spread)


def _spread_within(keys: np.ndarray, rate: np.ndarray) -> float:
    """Standard deviation of the rate among rows of one key; 0 where too few rows share a key to say."""
    _, group, count = np.unique(keys.astype(str), return_inverse=True, return_counts=True)
    if int((count - 1).sum()) < MIN_CELL_ROWS:
        return 0.0
    deviation = rate - (np.bincount(group, rate) / count)[group]
    return float(np.sqrt(deviation @ deviation / (count - 1).sum()))


def _join(*parts: str | np.ndarray) -> np.ndarray:
    joined: str | np.ndarray = parts[0]
    for part in parts[1:]:
        joined = joined + "/" + (part if isinstance(part, str) else part.astype(object))
    return np.asarray(joined, dtype=object)


def _weighted_means(keys: np.ndarray, values: np.ndarray, weight: np.ndarray) -> dict[str, float]:
    """Mean of the finite values per key, for keys with enough of them."""
    finite = np.isfinite(values)
    names, position = np.unique(keys[finite].astype(str), return_inverse=True)
    total = np.bincount(position, weight[finite] * values[finite], len(names))
    mass = np.bincount(position, weight[finite], len(names))
    enough = np.bincount(position, minlength=len(names)) >= MIN_CELL_ROWS
    return {str(name): float(mean) for name, mean in zip(names[enough], (total / mass)[enough], strict=True)}


def _own_mean(keys: np.ndarray, values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Each row's weighted mean of its own cell (n,), small cells included."""
    _, position = np.unique(keys.astype(str), return_inverse=True)
    return (np.bincount(position, weight * values) / np.bincount(position, weight))[position]
