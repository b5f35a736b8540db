"""China's days. China has one time zone, UTC+8, without summer time since 1991."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, timezone

CHINA_OFFSET = 8 * 3_600_000_000
"""µs that its clocks are before UTC."""
CHINA = timezone(timedelta(microseconds=CHINA_OFFSET))


def day_in_china(moment: datetime) -> date:
    """The day that it is in China."""
    return moment.astimezone(CHINA).date()


def midnight_in_china(day: date) -> datetime:
    """The moment at which a day begins in China, in UTC."""
    return datetime.combine(day, time(), CHINA).astimezone(UTC)
