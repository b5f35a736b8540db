"""Dates of the festivals that move the gift-card market, from the `holidays` library."""

from __future__ import annotations

import datetime as dt
from functools import cache

import numpy as np

FESTIVALS = {"spring_festival": "Chinese New Year (Spring Festival)", "mid_autumn": "Mid-Autumn Festival"}
FIRST_YEAR, LAST_YEAR = 2008, 2050
"""Years for which the library knows the public holidays of China (Mid-Autumn is one since 2008)."""

_EPOCH = dt.date(1970, 1, 1).toordinal()


@cache
def festival_days(festival: str) -> np.ndarray:
    """First day of each year's festival, as sorted days since the epoch. Raises KeyError for another name."""
    import holidays

    name = FESTIVALS[festival]
    calendar = holidays.country_holidays("CN", years=range(FIRST_YEAR, LAST_YEAR + 1), language="en_US")
    first: dict[int, int] = {}
    for day, title in sorted(calendar.items()):
        if name in title and "observed" not in title:
            first.setdefault(day.year, day.toordinal() - _EPOCH)
    return np.array(sorted(first.values()), dtype=np.int64)


def days_until(festival: str, local_day: np.ndarray) -> np.ndarray:
    """Days from each local day (n,) to the next festival (0 on its first day); NaN beyond the known years."""
    days = festival_days(festival)
    index = np.searchsorted(days, local_day, side="left")
    known = index < len(days)
    return np.where(known, days[np.minimum(index, len(days) - 1)] - local_day, np.nan)
