"""Which offers of a log tell whether a fraudster took them, and how much those tell whose label may still come."""

from __future__ import annotations

import numpy as np

from features.windows import WEEK_MS

MATURE_SHARE = 0.95
LEAST_DELAYS = 30
"""Fewer known frauds do not say how soon a fraud becomes known."""
SLOWEST = 0.95
"""An offer older than the delay of this share of labels is not young: what it lacks may never come."""


def told(
    *, submitted_at: np.ndarray, accepted: np.ndarray, fraud: np.ndarray, known_at: np.ndarray
) -> np.ndarray:
    """How much each of n decided offers, in any order, tells of fraud: (n,) from 0, nothing, to 1.

    Offers of mature weeks (:func:`mature_offers`) tell all. Those since then tell as much as is known of them by the
    newest label: a fraud that is known counts as one, and any other offer by the probability with which its fraud
    would have become known, so that the share of fraud comes out as it will be. How soon frauds become known, and
    how many bought cards get a label at all, is measured on the mature weeks.
    submitted_at, known_at: int64 ms, the latter of labels only; accepted, fraud: 1, 0 or NaN.
    """
    mature = mature_offers(submitted_at=submitted_at, accepted=accepted, fraud=fraud)
    answer = mature.astype(np.float64)
    bought, labelled = accepted == 1, np.isfinite(fraud)
    bad = bought & (fraud == 1)
    delays = np.sort((known_at - submitted_at)[mature & bad])
    if len(delays) < LEAST_DELAYS:
        return answer
    now = known_at[labelled].max()  # labels may come in late, and then they say nothing of later offers
    shown = np.searchsorted(delays, now - submitted_at, side="right") / len(delays)
    week = _weeks(submitted_at)
    ever_labelled = labelled[bought & np.isin(week, np.unique(week[mature]))].mean()
    others = shown * np.where(bought, ever_labelled, 1.0)
    slowest = np.quantile((known_at - submitted_at)[mature & labelled], SLOWEST)
    young = (week > week[mature].max()) & (now - submitted_at <= slowest + WEEK_MS)
    answer[young] = np.where(bad, shown > 0, others)[young]
    return answer


def mature_offers(*, submitted_at: np.ndarray, accepted: np.ndarray, fraud: np.ndarray) -> np.ndarray:
    """Which of n decided offers, in any order, tell fraud from no fraud: bool (n,).

    Fraud becomes known sooner than honesty, so among the newest labels nearly all say fraud. Only weeks count in
    which almost as many accepted trades are labelled as in the best week. In these, declined offers count as no
    fraud, and accepted trades where they have a label. submitted_at: int64 ms; accepted, fraud: 1, 0 or NaN.
    """
    bought, labelled = accepted == 1, (accepted == 1) & np.isfinite(fraud)
    if not labelled.any():
        return labelled
    week = _weeks(submitted_at)
    rows = np.bincount(week, bought)
    share = np.bincount(week, labelled) / np.maximum(rows, 1)
    full = share >= MATURE_SHARE * share[rows >= np.median(rows[rows > 0])].max()
    return full[week] & (labelled | (accepted == 0))


def _weeks(submitted_at: np.ndarray) -> np.ndarray:
    """The place (n,) of each moment's week in the log."""
    return (submitted_at - submitted_at.min()) // WEEK_MS
