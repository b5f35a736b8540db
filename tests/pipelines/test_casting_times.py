"""Moments and calendar days from the cells of a file, as a mapping says they are written."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.training.casting import reason
from tests.pipelines.test_mapping import cast


def test_iso_times() -> None:
    """The forms of ISO 8601 that exports use are one moment; more than microseconds are cut."""
    forms = [
        "2025-03-01T10:00:00Z",
        "2025-03-01 10:00:00+00:00",
        "2025-03-01T18:00:00+0800",
        "2025-03-01T18:00:00+08",
        "2025-03-01T10:00:00.000000999Z",
        None,
    ]
    moment = datetime(2025, 3, 1, 10, tzinfo=UTC)
    assert cast(forms, "time") == ([moment] * 5 + [None], {})


def test_naive_and_broken_times_are_told_apart() -> None:
    """Each cell has its own reason, and a zone of the mapping mends the naive ones only."""
    forms = ["2025-03-01T10:00:00Z", "2025-03-01 10:00", "01.03.2025", "2025-13-01T10:00:00Z"]
    assert cast(forms, "time")[1] == {"naive_time": [1], "wrong_type": [2, 3]}
    values, misses = cast(forms, "time", timezone="Asia/Shanghai")
    assert values[1] == datetime(2025, 3, 1, 2, tzinfo=UTC)
    assert misses == {"wrong_type": [2, 3]}


def test_own_formats() -> None:
    """format reads other ways to write times and days; cells that do not fit are named."""
    values, misses = cast(["01/03/2025 10:30", "x"], "time", format="%d/%m/%Y %H:%M", timezone="UTC")
    assert (values, misses) == ([datetime(2025, 3, 1, 10, 30, tzinfo=UTC), None], {"wrong_type": [1]})
    assert cast(["31/12/2025"], "date", format="%d/%m/%Y") == ([date(2025, 12, 31)], {})


def test_days_that_no_month_has_are_no_days() -> None:
    """The 31st of February is a miss, not the 3rd of March; the 29th is one but in leap years."""
    days = ["31/02/2027", "28/02/2027", "29/02/2028", "29/02/2027", "01/03/2027", "31/11/2027"]
    bad = {"wrong_type": [0, 3, 5]}
    values, misses = cast(days, "date", format="%d/%m/%Y")
    assert misses == bad
    assert values[1:3] == [date(2027, 2, 28), date(2028, 2, 29)]
    moments = [f"{day} 10:00" for day in days]
    assert cast(moments, "time", format="%d/%m/%Y %H:%M", timezone="UTC")[1] == bad


def test_numbers_that_are_days() -> None:
    """Whole numbers read by a format get their leading zeros back, for days and moments alike."""
    first, second = date(2009, 2, 1), date(2009, 12, 31)
    for numbers in (pa.array([1022009, 31122009, None]), pa.array([1022009.0, 31122009.0, None])):
        assert cast(numbers, "date", format="%d%m%Y") == ([first, second, None], {})
    values, misses = cast([11209, 99], "time", format="%d%m%y", timezone="UTC")
    assert (values[0], misses) == (datetime(2009, 12, 1, tzinfo=UTC), {"wrong_type": [1]})
    assert cast([20270201, 20270230], "date", format="%Y%m%d") == (
        [date(2027, 2, 1), None],
        {"wrong_type": [1]},
    )
    assert cast([1.5], "date", format="%Y%m%d")[1] == {"wrong_type": [0]}
    gaps = pa.array(np.array([20270201.0, np.nan]))
    assert cast(gaps, "date", format="%Y%m%d") == ([date(2027, 2, 1), None], {})
    exact = pa.array([Decimal("20270201"), None], pa.decimal128(10, 0))
    assert cast(exact, "date", format="%Y%m%d") == ([date(2027, 2, 1), None], {})


def test_days_before_any_card_are_named() -> None:
    """Years without their century, and days that stand for none, are no expiry."""
    assert cast(["07/12/27"], "date", format="%d/%m/%Y") == ([None], {"early_date": [0]})
    assert cast(["1900-01-01", "2027-01-01"], "date") == ([None, date(2027, 1, 1)], {"early_date": [0]})
    assert "%y" in reason("early_date", "date")[1]


def test_an_hour_that_clocks_skipped_is_the_jump() -> None:
    """Half past two of the night when summer time begins is its beginning."""
    values, misses = cast(["2024-03-10 02:30:00"], "time", timezone="America/New_York")
    assert (values, misses) == ([datetime(2024, 3, 10, 7, tzinfo=UTC)], {})


def test_months_count_by_the_calendar_of_the_zone() -> None:
    """A month later is the same day and clock of the zone, or the month's last day where it is too short."""
    zone: dict[str, Any] = {"unit": "months", "timezone": "Asia/Shanghai"}
    values, _ = cast([2, -1], "time", since=date(2021, 1, 1), **zone)
    assert values == [datetime(2021, 2, 28, 16, tzinfo=UTC), datetime(2020, 11, 30, 16, tzinfo=UTC)]
    values, _ = cast([1, 2, None], "time", since=date(2021, 1, 31), **zone)
    assert values == [datetime(2021, 2, 27, 16, tzinfo=UTC), datetime(2021, 3, 30, 16, tzinfo=UTC), None]
    summer, _ = cast([6], "time", unit="months", since=date(2021, 1, 1), timezone="Europe/Paris")
    assert summer == [datetime(2021, 6, 30, 22, tzinfo=UTC)]


def test_a_wrong_unit_is_named() -> None:
    """Milliseconds read as seconds, and months beyond the calendar, are no moments: the reason names the unit."""
    assert cast([1_700_000_000_000, 0], "time", unit="seconds") == (
        [None, datetime(1970, 1, 1, tzinfo=UTC)],
        {"far_time": [0]},
    )
    assert cast([110_000], "time", unit="months") == ([None], {"far_time": [0]})
    assert "unit" in reason("far_time", "time")[1]


def test_dates() -> None:
    """Days as ISO text, with or without midnight; plus_days moves them."""
    values, misses = cast(["2025-12-31", "2025-12-31 00:00:00", "2025-12-32", None], "date")
    assert values == [date(2025, 12, 31)] * 2 + [None] * 2
    assert misses == {"wrong_type": [2]}
    assert cast([date(2025, 12, 31)], "date", plus_days=1)[0] == [date(2026, 1, 1)]
