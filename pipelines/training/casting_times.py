"""Moments and calendar days from the cells of a file."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.tables import ARROW_TYPES
from features.windows import DAY as DAY_US
from pipelines.training.cells import (
    NUMBER,
    Cast,
    cast_where_possible,
    mask_of,
    misses_of,
    nothing_fits,
    parse,
    present,
    without,
)
from pipelines.training.mapping import ColumnRule

UTC_TIME = ARROW_TYPES["time"]
NAIVE_TIME = pa.timestamp("us")

ZONED = r":\d\d\S*([Zz]|[+-]\d\d(:?\d\d)?)$"
ISO_DATE = r"^\d{4}-\d\d-\d\d"
MIDNIGHT = r"[ T]00:00(:00)?(\.0+)?$"


def read_time(values: pa.Array, rule: ColumnRule) -> Cast:
    """Moments in UTC: timestamps with a zone, ISO 8601 texts with a zone; without one ``rule.timezone``. Numbers where
    the rule gives their unit."""
    if rule.unit is not None:
        moments, misses = _from_numbers(values, rule)
    elif rule.format and _is_written(values):
        moments, misses = _with_format(values, rule)
    elif pa.types.is_string(values.type):
        moments, misses = _read_time_text(values, rule)
    elif pa.types.is_timestamp(values.type):
        moments, misses = _read_timestamp(values, rule)
    elif pa.types.is_date(values.type):
        moments, misses = _localise(values.cast(NAIVE_TIME), rule)
    else:
        return nothing_fits(values, UTC_TIME)
    return _shift(moments, rule.plus_days), misses


UNITS_US = {
    "milliseconds": 1_000,
    "seconds": 1_000_000,
    "minutes": 60_000_000,
    "hours": 3_600_000_000,
    "days": DAY_US,
    "weeks": 7 * DAY_US,
}
FIRST, PAST_LAST = np.datetime64("0001-01-02", "us"), np.datetime64("9999-12-31", "us")
"""A moment further away than that is a unit error. A day from the ends of Python's calendar, for its zones."""

LONGEST_US = 2**62
"""Further away a moment does not even fit its integer."""

MOST_MONTHS = 120_000
"""More months than the calendar of Python has."""


def _from_numbers(values: pa.Array, rule: ColumnRule) -> Cast:
    """Moments so many units after ``rule.since``; months are those of the calendar, so they must be whole."""
    if pa.types.is_string(values.type):
        numbers, bad = parse(values, pa.float64(), NUMBER)
    elif pa.types.is_integer(values.type) or pa.types.is_floating(values.type):
        numbers, bad = values.cast(pa.float64(), safe=False), np.zeros(len(values), bool)
    else:
        return nothing_fits(values, UTC_TIME)
    count = numbers.to_numpy(zero_copy_only=False)
    fits = np.isfinite(count)
    if rule.unit == "months":
        fits &= (count == np.floor(count)) & (np.abs(count) < MOST_MONTHS)
        moments = _after_months(np.where(fits, count, 0).astype(np.int64), rule)
    else:
        length = UNITS_US[rule.unit or "days"]
        fits &= np.abs(count) < LONGEST_US / length
        moments = _utc(_start(rule)) + np.rint(np.where(fits, count, 0) * length).astype(np.int64)
    near = (moments >= FIRST) & (moments < PAST_LAST)
    cast = pa.array(moments, mask=~(fits & near)).cast(UTC_TIME)
    misses = misses_of("wrong_type", bad | (present(values) & ~fits))
    return cast, misses + misses_of("far_time", fits & ~near)


def _after_months(count: np.ndarray, rule: ColumnRule) -> np.ndarray:
    """The moments (UTC, µs) so many months after the rule's start by the calendar and the clock of its zone; the last
    day of a month that is too short."""
    start = _start(rule)
    local = np.datetime64(start.replace(tzinfo=None), "us")
    month = local.astype("datetime64[M]")
    day, clock = (
        local.astype("datetime64[D]") - month.astype("datetime64[D]"),
        local - local.astype("datetime64[D]"),
    )
    moved = month + count
    last = (moved + 1).astype("datetime64[D]") - 1
    days = np.minimum(moved.astype("datetime64[D]") + day, last)
    there = (days >= FIRST) & (days < PAST_LAST)
    moments, back = np.unique(np.where(there, days + clock, local), return_inverse=True)
    utc = [_utc(moment.replace(tzinfo=start.tzinfo)) for moment in moments.tolist()]
    return np.where(there, np.array(utc, "datetime64[us]")[back], days + clock)


def _utc(moment: datetime) -> np.datetime64:
    return np.datetime64(moment.astimezone(UTC).replace(tzinfo=None), "us")


def _start(rule: ColumnRule) -> datetime:
    """The moment that a rule's numbers count from, in the rule's zone or else its own or UTC."""
    since, zone = rule.since or date(1970, 1, 1), ZoneInfo(rule.timezone or "UTC")
    moment = since if isinstance(since, datetime) else datetime.combine(since, time.min)
    if moment.tzinfo is None:
        return moment.replace(tzinfo=zone)
    return moment.astimezone(zone) if rule.timezone else moment


def _read_timestamp(values: pa.Array, rule: ColumnRule) -> Cast:
    naive = values.type.tz is None
    if values.type.unit == "ns":
        cast = values.cast(NAIVE_TIME if naive else UTC_TIME, safe=False)
        return _localise(cast, rule) if naive else (cast, [])
    cast, bad = cast_where_possible(values, NAIVE_TIME if naive else UTC_TIME)
    moments, misses = _localise(cast, rule) if naive else (cast, [])
    return moments, misses + misses_of("wrong_type", bad)


def _read_time_text(texts: pa.Array, rule: ColumnRule) -> Cast:
    try:
        return texts.cast(UTC_TIME), []
    except pa.ArrowInvalid:
        texts = pc.replace_substring_regex(texts, r"(\.\d{6})\d+", r"\1")
    zoned = pc.match_substring_regex(texts, ZONED)
    aware, bad_aware = parse(pc.if_else(zoned, texts, None), UTC_TIME, ISO_DATE)
    naive, bad_naive = parse(pc.if_else(zoned, None, texts), NAIVE_TIME, ISO_DATE)
    local, misses = _localise(naive, rule)
    return pc.coalesce(aware, local), misses_of("wrong_type", bad_aware | bad_naive) + misses


def _with_format(values: pa.Array, rule: ColumnRule) -> Cast:
    naive, bad = _parsed(values, rule)
    moments, misses = _localise(naive, rule)
    return moments, bad + misses


def _is_written(values: pa.Array) -> bool:
    """Whether a format can read them: texts, and numbers such as 20240501."""
    tests = (pa.types.is_string, pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal)
    return any(test(values.type) for test in tests)


def _parsed(values: pa.Array, rule: ColumnRule) -> Cast:
    """Times without a zone, as ``rule.format`` reads texts or numbers."""
    written = rule.format or ""
    if pa.types.is_floating(values.type):
        values = pc.if_else(pc.is_nan(values), None, values)
    texts = values if pa.types.is_string(values.type) else _digits(values, written)
    naive = pc.strptime(texts, format=written, unit="us", error_is_null=True)
    unreal = _not_in_calendar(texts, naive, written)
    if unreal:
        naive = pc.if_else(pc.is_in(texts, value_set=pa.array(unreal)), None, naive)
    return naive, misses_of("wrong_type", present(values) & ~present(naive))


FOLLOW_SHORT_MONTHS = pa.array([3, 5, 7, 10, 12])


def _not_in_calendar(texts: pa.Array, naive: pa.Array, written: str) -> list[str]:
    """The different texts of days that no month has: Arrow reads the 31st of February as the 3rd of March."""
    behind = pc.is_in(pc.cast(pc.month(naive), pa.int64()), value_set=FOLLOW_SHORT_MONTHS)
    suspects = texts.filter(pc.and_(behind, pc.less_equal(pc.day(naive), 3)))
    return [text for text in suspects.unique().to_pylist() if not _is_in_calendar(text, written)]


def _is_in_calendar(text: str, written: str) -> bool:
    try:
        datetime.strptime(text, written).replace(tzinfo=UTC)
    except ValueError as error:
        return "out of range" not in str(error)  # what Python reads otherwise than Arrow is Arrow's to say
    return True


DIGITS = {"Y": 4, "y": 2, "m": 2, "d": 2, "j": 3, "H": 2, "M": 2, "S": 2}


def _digits(values: pa.Array, written: str) -> pa.Array:
    """Whole numbers as texts, null where one is not whole. A format of digits alone says how many there are: numbers
    lose their leading zeros."""
    numbers = values.cast(pa.float64(), safe=False)
    whole = pc.and_(pc.equal(pc.floor(numbers), numbers), pc.less(pc.abs(numbers), 2.0**53))
    texts = pc.if_else(whole, numbers, None).cast(pa.int64()).cast(pa.string())
    digits = [DIGITS.get(letter, 0) for letter in written[1::2]]
    alone = re.fullmatch("(%[A-Za-z])+", written) and all(digits)
    return pc.utf8_lpad(texts, sum(digits), "0") if alone else texts


def _localise(naive: pa.Array, rule: ColumnRule) -> Cast:
    """Give times without zone the rule's zone; without one each is a miss. A repeated hour is the earlier,
    a skipped one the moment of the jump."""
    if rule.timezone is None:
        return pa.nulls(len(naive), UTC_TIME), misses_of("naive_time", present(naive))
    zoned = pc.assume_timezone(naive, rule.timezone, ambiguous="earliest", nonexistent="latest")
    return zoned.cast(UTC_TIME), []


def _shift(moments: pa.Array, days: float) -> pa.Array:
    return pc.add(moments, pa.scalar(round(days * DAY_US), pa.duration("us"))) if days else moments


EARLIEST_DAY = date(1980, 1, 1)
"""Before any table of trades: a day before it stands for none, or lacks its century."""


def read_date(values: pa.Array, rule: ColumnRule) -> Cast:
    """Calendar days from 1980 on; of a timestamp with a zone the day in that zone."""
    days, misses = _read_days(values, rule)
    early = mask_of(pc.less(days, pa.scalar(EARLIEST_DAY, pa.date32())))
    return without(days, early), misses + misses_of("early_date", early)


def _read_days(values: pa.Array, rule: ColumnRule) -> Cast:
    if rule.format and _is_written(values):
        naive, misses = _parsed(values, rule)
        days = naive.cast(pa.date32(), safe=False)
    elif pa.types.is_string(values.type):
        days, bad = parse(pc.replace_substring_regex(values, MIDNIGHT, ""), pa.date32(), ISO_DATE)
        misses = misses_of("wrong_type", bad)
    elif pa.types.is_timestamp(values.type):
        local = pc.local_timestamp(values) if values.type.tz else values
        days, misses = local.cast(pa.date32(), safe=False), []
    elif pa.types.is_date(values.type):
        days, misses = values.cast(pa.date32(), safe=False), []
    else:
        return nothing_fits(values, pa.date32())
    if rule.plus_days:
        days = pc.add(
            days.cast(pa.timestamp("s")), pa.scalar(round(rule.plus_days) * 86_400, pa.duration("s"))
        )
    return days.cast(pa.date32(), safe=False), misses
