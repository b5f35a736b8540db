"""What the calendar does: to the price of cards, to how many are offered, and to the hour they are
offered."""

from __future__ import annotations

import numpy as np

from features.festivals import festival_days

FESTIVAL_SIZE = {"spring_festival": 1.0, "mid_autumn": 0.5}
DEMAND_RISE = 0.015
"""Buyers pay up to this much more of face value about ten days before the Spring Festival."""
GLUT_FALL = 0.014
"""… and this much less just after it, when received cards are sold; the glut fades in about twelve days."""
SALE_RISE = 0.006
"""Online shops' cards around the sales of 18 June and 11 November."""
GLUT_VOLUME = 0.7
"""Additional share of cards offered just after the Spring Festival."""
HOLIDAY_LULL = 0.45
"""Share of trades missing on the first three days of a festival."""

HONEST_HOURS = np.array(
    [
        1.6,
        0.9,
        0.5,
        0.4,
        0.4,
        0.5,
        1.0,
        2.0,
        3.6,
        5.2,
        6.0,
        6.1,
        6.6,
        6.0,
        5.4,
        5.3,
        5.4,
        5.2,
        5.0,
        5.6,
        6.6,
        7.0,
        6.0,
        3.6,
    ]
)
FRAUD_HOURS = np.array(
    [
        6.0,
        5.6,
        5.0,
        4.2,
        3.2,
        2.6,
        2.0,
        2.2,
        2.8,
        3.2,
        3.6,
        3.8,
        4.0,
        4.0,
        3.8,
        3.8,
        3.8,
        3.8,
        3.8,
        4.2,
        4.8,
        5.6,
        6.2,
        6.4,
    ]
)
HONEST_HOURS = HONEST_HOURS / HONEST_HOURS.sum()
FRAUD_HOURS = FRAUD_HOURS / FRAUD_HOURS.sum()
"""Share of submissions by hour of the day in China, (24,)."""


def price_season(*, day: np.ndarray, seasonal: np.ndarray, online: np.ndarray) -> np.ndarray:
    """Shift of the resale rate (k, n) on local days (n,) for k card types.

    seasonal: how much a type follows the festivals, 0–1 (k,). online: whether the sales move it (k,).
    """
    festive = np.zeros(len(day))
    for festival, size in FESTIVAL_SIZE.items():
        for first in _near(festival, day):
            since = day - first
            rise = DEMAND_RISE * np.exp(-(((since + 10.0) / 7.0) ** 2))
            fall = np.where(since >= 0, GLUT_FALL * np.exp(-np.maximum(since, 0) / 12.0), 0.0)
            festive += size * (rise - fall)
    return seasonal[:, None] * festive + online[:, None] * SALE_RISE * _near_sale(day)


def volume_season(day: np.ndarray) -> np.ndarray:
    """Relative number of cards offered on each local day (n,): weekends, festivals, and the glut after
    them."""
    weekend = (day + 3) % 7 >= 5
    volume = np.where(weekend, 1.12, 1.0)
    for festival, size in FESTIVAL_SIZE.items():
        for first in _near(festival, day):
            since = day - first
            volume *= 1 + np.where(
                since >= 3, size * GLUT_VOLUME * np.exp(-np.maximum(since - 3, 0) / 12.0), 0.0
            )
            volume *= np.where((since >= 0) & (since < 3), 1 - size * HOLIDAY_LULL, 1.0)
    return volume


def month_end(day: np.ndarray) -> np.ndarray:
    """Whether a local day is among the last three of its month, when cash is short (n,) bool."""
    months = day.astype("datetime64[D]").astype("datetime64[M]")
    return (day.astype("datetime64[D]") + 3).astype("datetime64[M]") != months


def _near(festival: str, day: np.ndarray) -> np.ndarray:
    dates = festival_days(festival)
    return dates[(dates > day.min() - 120) & (dates < day.max() + 60)]


def _near_sale(day: np.ndarray) -> np.ndarray:
    dates = day.astype("datetime64[D]")
    year = dates.astype("datetime64[Y]").astype("datetime64[D]").astype(np.int64)
    leap = (dates.astype("datetime64[Y]").astype(np.int64) + 1970) % 4 == 0
    of_year = day - year - leap
    return np.exp(-(((of_year - 168) / 5.0) ** 2)) + np.exp(-(((of_year - 314) / 5.0) ** 2))
