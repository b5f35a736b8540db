"""Dates that move the gift-card market: Chinese festivals and days off from the `holidays` library, shopping days."""

from __future__ import annotations

import datetime as dt
from functools import cache, lru_cache
from typing import Any

import numpy as np

FESTIVALS = {
    "spring_festival": "Chinese New Year (Spring Festival)",
    "mid_autumn": "Mid-Autumn Festival",
    "national_day": "National Day",
}
SHOPPING_DAYS = {"618": (6, 18), "double_11": (11, 11)}
"""Days of large online sales, when shop credit is sought: month and day."""

FIRST_YEAR, LAST_YEAR = 2008, 2050
"""Years for which the library knows the public holidays of China (Mid-Autumn is one since 2008)."""

_EPOCH = dt.date(1970, 1, 1).toordinal()


@cache
def festival_days(festival: str) -> np.ndarray:
    """First day of each year's festival, as sorted days since the epoch. Raises KeyError for another name."""
    if festival in SHOPPING_DAYS:
        month, day = SHOPPING_DAYS[festival]
        years = range(FIRST_YEAR, LAST_YEAR + 1)
        return np.array([dt.date(year, month, day).toordinal() - _EPOCH for year in years], dtype=np.int64)
    name = FESTIVALS[festival]
    first: dict[int, int] = {}
    for day, title in sorted(_calendar().items()):
        if name in title and "observed" not in title:
            first.setdefault(day.year, day.toordinal() - _EPOCH)
    return np.array(sorted(first.values()), dtype=np.int64)


def days_until(festival: str, local_day: Any) -> Any:
    """Days from a local day to the next festival (0 on its first day); NaN beyond the known years."""
    return _by_day(_days_until, festival, local_day)


def days_since(festival: str, local_day: Any) -> Any:
    """Days from the last festival's first day to a local day; NaN before the known years."""
    return _by_day(_days_since, festival, local_day)


def is_day_off(local_day: Any) -> Any:
    """1.0 on a weekend or public holiday, 0.0 on a working day (weekends worked in exchange for a holiday included)."""
    return _by_day(_is_day_off, "", local_day)


def day_of_month(local_day: Any) -> Any:
    """1 to 31."""
    return _by_day(_day_of_month, "", local_day)


def _by_day(look_up: Any, festival: str, local_day: Any) -> Any:
    """One look-up a day: for a live trade, and for each different day of a column."""
    if not isinstance(local_day, np.ndarray):
        return look_up(festival, int(local_day))
    days, place = np.unique(local_day, return_inverse=True)
    return np.array([look_up(festival, int(day)) for day in days], dtype=np.float64)[place]


@lru_cache(maxsize=100_000)
def _days_until(festival: str, day: int) -> float:
    days = festival_days(festival)
    index = int(np.searchsorted(days, day, side="left"))
    return float(days[index] - day) if index < len(days) else float("nan")


@lru_cache(maxsize=100_000)
def _days_since(festival: str, day: int) -> float:
    days = festival_days(festival)
    index = int(np.searchsorted(days, day, side="right"))
    return float(day - days[index - 1]) if index > 0 else float("nan")


@lru_cache(maxsize=100_000)
def _day_of_month(_: str, day: int) -> float:
    return float(dt.date.fromordinal(day + _EPOCH).day)


@lru_cache(maxsize=100_000)
def _is_day_off(_: str, day: int) -> float:
    return 0.0 if _calendar().is_working_day(dt.date.fromordinal(day + _EPOCH)) else 1.0


@cache
def _calendar() -> Any:
    import holidays

    return holidays.country_holidays("CN", years=range(FIRST_YEAR, LAST_YEAR + 1), language="en_US")
