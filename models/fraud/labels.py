"""Who says that a trade was fraudulent, whom to believe, and what a label may teach.

A label comes from one of ``features.tables.LABEL_SOURCES``. A later one replaces an earlier one only if its source
ranks at least as high: the issuer who froze the card is believed before a chargeback, that before an analyst, the
analyst before a dispute of the seller, and anything before mere silence (``matured``). A label without a source ranks
as low as silence.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

import numpy as np

from features.tables import LABEL_SOURCES
from features.windows import DAY as DAY_US

DEFAULT_SOURCE: Final = "analyst"
"""Who speaks when the service is told of fraud without saying by whom."""

PROVING_SOURCES = ("issuer", "analyst")
"""Those who know that a trade was honest also where nobody was paid: they looked at it."""

MOST_WEIGHT = 50.0
"""A let-through trade stands for at most so many: one label shall not outweigh a day's trades."""


_RANKS = {source: len(LABEL_SOURCES) - place for place, source in enumerate(LABEL_SOURCES)}


@dataclass(frozen=True)
class Label:
    """A verdict on a trade. known_at: since when it holds. source: None where nobody was named."""

    fraud: bool
    source: str | None
    known_at: datetime


def rank(source: str | None) -> int:
    """How far a source is believed; a higher rank is believed more."""
    return _RANKS.get(source or "matured", _RANKS["matured"])


def label_of(
    told: Iterable[Label], *, held: Label | None = None, before: datetime | None = None
) -> Label | None:
    """The label that a trade has at a moment by what was told of it strictly before; None: at the end, or no label.

    ``held`` is the label that stands in the tables: it holds what was told up to its moment, so only later ones can
    replace it. Where two sources agree the label keeps the stronger one, and the moment since which its verdict is
    known: nothing that is known of the trade has changed.
    """
    after = [label for label in told if held is None or label.known_at > held.known_at]
    for label in sorted(after, key=lambda label: (label.known_at, rank(label.source))):
        if before is not None and label.known_at >= before:
            break
        if held is None:
            held = label
        elif rank(label.source) >= rank(held.source):
            held = replace(held, source=label.source) if label.fraud == held.fraud else label
    return held


@dataclass(frozen=True)
class Lessons:
    """Which of n trades' labels a model may learn from, and how many trades each stands for.

    A trade that was refused has no outcome of its own. "Not fraud" in its row proves nothing, and learning it as
    honest would teach that what was stopped is harmless; only its fraud, or the word of one of ``PROVING_SOURCES``,
    counts. Trades that would have been stopped but were let through at random stand for those that were not:
    ``weight`` (n,) is 1 / probability for them, at most MOST_WEIGHT, and 1 for all others.

    counts: labels to learn from (n,) bool. fair: those to judge on (n,) bool, of trades that were not refused: the
    known labels of refused trades were not known by chance.
    """

    counts: np.ndarray
    fair: np.ndarray
    weight: np.ndarray


def lessons(
    *, fraud: np.ndarray, decision: np.ndarray, source: np.ndarray, let_through: np.ndarray
) -> Lessons:
    """What n trades teach. fraud (n,): 1, 0 or NaN. decision, source (n,) object, None where unknown. let_through
    (n,): probability of the draw that let the trade through, NaN where there was none."""
    drawn = np.isfinite(let_through)
    refused = (decision == "refuse") & ~drawn
    known = np.isfinite(fraud)
    proven = (fraud == 1) | np.isin(source.astype(str), PROVING_SOURCES)
    share = np.where(drawn, let_through, 1.0)
    return Lessons(
        counts=known & (~refused | proven),
        fair=known & ~refused,
        weight=np.minimum(1.0 / share, MOST_WEIGHT),
    )


def label_figures(
    *,
    fraud: np.ndarray,
    decision: np.ndarray,
    source: np.ndarray,
    let_through: np.ndarray,
    delay_us: np.ndarray,
) -> dict[str, float]:
    """What the labels of n trades are worth, as plain figures; arguments as for :func:`lessons`, delay_us (n,) from
    submission to label.

    labels_known; labels_unproven: known but of refused trades, left out; labels_let_through: those that stand for
    others, labels_weight for how many in all, labels_weight_most what one counts at most, labels_capped how many were
    held to that. For each source, ``none`` without one: its share of the known labels and the median and 90 %
    quantile of its delay in days.
    """
    taught = lessons(fraud=fraud, decision=decision, source=source, let_through=let_through)
    known = np.isfinite(fraud)
    drawn = taught.counts & np.isfinite(let_through)
    figures = {
        "labels_known": int(known.sum()),
        "labels_unproven": int((known & ~taught.counts).sum()),
        "labels_let_through": int(drawn.sum()),
        "labels_weight": float(taught.weight[drawn].sum()),
        "labels_weight_most": MOST_WEIGHT,
        "labels_capped": int((drawn & (np.nan_to_num(let_through, nan=1.0) < 1.0 / MOST_WEIGHT)).sum()),
    }
    for name in (*LABEL_SOURCES, "none"):
        own = known & (source == (None if name == "none" else name))
        if own.any():
            median, late = np.quantile(delay_us[own] / DAY_US, (0.5, 0.9))
            figures |= {
                f"labels_share_{name}": float(own.sum() / known.sum()),
                f"labels_delay_days_median_{name}": float(median),
                f"labels_delay_days_p90_{name}": float(late),
            }
    return figures
