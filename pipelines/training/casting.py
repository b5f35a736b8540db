"""From the cells of a file to stored values: one reader per kind of column.

A reader takes an Arrow array and a :class:`ColumnRule` and returns the cast array, null where a value could
not be read, with a :class:`Miss` for each reason. A cell is null when it was null or an empty text.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.tables import ARROW_TYPES, Kind
from pipelines.training.casting_extras import read_extras
from pipelines.training.casting_times import NAIVE_TIME, UTC_TIME, read_date, read_time
from pipelines.training.cells import (
    NUMBER,
    Cast,
    Miss,
    as_plain,
    bare_numbers,
    cast_where_possible,
    mask_of,
    misses_of,
    nothing_fits,
    parse,
    present,
    without,
)
from pipelines.training.mapping import ColumnRule

NUMERIC = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal)

MAX_FEN = 9e15
"""Beyond this a float no longer holds every fen."""

DECIMALS_TOLERANCE_FEN = 1e-4
"""Noise of amounts kept as floats: 1e-6 yuan."""


TRUE_WORDS, FALSE_WORDS = ("true", "1", "yes", "y", "t", "是"), ("false", "0", "no", "n", "f", "否")

MARKS_ZH = '；$1,234.50 之类的写法请在映射文件中给出 thousands = ","'
MARKS_EN = '; for writings like $1,234.50 give thousands = "," in the mapping'

REASONS: dict[tuple[str, str], tuple[str, str]] = {
    ("wrong_type", "text"): ("不是文本", "not a text"),
    ("wrong_type", "number"): (f"不是数字{MARKS_ZH}", f"not a number{MARKS_EN}"),
    ("wrong_type", "money"): (f"不是金额{MARKS_ZH}", f"not an amount of money{MARKS_EN}"),
    ("wrong_type", "integer"): ("不是整数", "not a whole number"),
    ("wrong_type", "flag"): (
        "不是 true、false、1、0、yes、no、是 或 否；其他写法请在映射文件中给出 true",
        "not true, false, 1, 0, yes, no, 是 or 否; for other words give true in the mapping",
    ),
    ("wrong_type", "date"): ("不是 2024-05-01 这样的日期", "not a date like 2024-05-01"),
    ("wrong_type", "object"): (
        '不是由数字、文本或 null 组成的 JSON 对象，如 {"score": 0.7}',
        'not a JSON object of numbers, texts and nulls like {"score": 0.7}',
    ),
    ("other_format", "object"): (
        "不是 formats 中给出的写法",
        "not written as formats says in the mapping",
    ),
    ("wrong_type", "time"): (
        "不是 2024-05-01T12:00:00+08:00 这样的时间；其他写法请在映射文件中给出 format，"
        '如 "%d/%m/%Y %H:%M"；数字请给出 unit',
        "not a time like 2024-05-01T12:00:00+08:00; for others give format in the mapping, such as "
        '"%d/%m/%Y %H:%M"; for numbers unit',
    ),
    ("early_date", "date"): (
        "早于 1980 年；没有日期请留空，缺世纪的年份请用 %y",
        "before the year 1980; leave it empty where there is none, and write years without their century as %y",
    ),
    ("far_time", "time"): (
        "不在公元 1 至 9999 年之间；请检查映射文件中的 unit",
        "not within the years 1 to 9999; check unit in the mapping",
    ),
    ("naive_time", "time"): (
        "时间没有时区；请加上时区，或在映射文件中给出 timezone",
        "a time without zone; add the zone, or give timezone in the mapping",
    ),
}
ANY_KIND = {
    "bad_encoding": ("不是 UTF-8 编码；请另存为“CSV UTF-8”", "not UTF-8; save the file as CSV UTF-8"),
    "not_finite": ("不是有限数字；没有值请留空", "not a finite number; leave it empty where there is none"),
    "too_many_decimals": (
        "金额超过两位小数；可在映射文件中写 round = true",
        "an amount of money with more than two decimals; round = true in the mapping rounds them",
    ),
    "out_of_range": ("数值过大", "too large to be an amount of money"),
}


def reason(code: str, kind: str) -> tuple[str, str]:
    """The reason behind a Miss, in Chinese and English."""
    return REASONS.get((code, kind)) or ANY_KIND[code]


def cast_column(values: pa.Array, *, kind: Kind, rule: ColumnRule) -> Cast:
    """Read a column of a file as ``kind``; money in yuan becomes integer fen."""
    plain, misses = as_plain(values)
    cast, more = READERS[kind](plain, rule)
    return cast.cast(ARROW_TYPES[kind]), misses + more


def constant_column(rule: ColumnRule, length: int, *, kind: Kind) -> Cast:
    """A column that holds the rule's constant in every row."""
    texts = pa.array([_text_of(rule.constant)], pa.string())
    cast, misses = cast_column(texts, kind=kind, rule=rule)
    filled = pa.repeat(cast[0], length)
    return filled, [Miss(miss.code, np.repeat(miss.mask, length)) for miss in misses]


def joined_texts(parts: Sequence[pa.Array], *, whole: bool) -> Cast:
    """The texts of several columns, joined by spaces. A cell is null where nothing is known or, of a ``whole`` such as
    a date, where any part is missing."""
    texts: list[pa.Array] = []
    misses: list[Miss] = []
    for part in parts:
        plain, bad = as_plain(part)
        text, worse = read_text(plain, ColumnRule(column=""))
        texts.append(text)
        misses += bad + worse
    if whole:
        return pc.binary_join_element_wise(*texts, " "), misses
    joined = pc.binary_join_element_wise(*texts, " ", null_handling="replace", null_replacement="")
    joined = pc.utf8_trim_whitespace(joined)
    return pc.if_else(pc.equal(joined, ""), None, joined), misses


def extra_column(values: pa.Array) -> Cast:
    """A column that is kept as it is: plain types stay, everything else becomes text."""
    plain, misses = as_plain(values)
    kind = plain.type
    if pa.types.is_timestamp(kind):
        return plain.cast(UTC_TIME if kind.tz else NAIVE_TIME, safe=False), misses
    keeps = (pa.types.is_string, pa.types.is_boolean, pa.types.is_integer, pa.types.is_date32)
    if any(test(kind) for test in keeps):
        return plain, misses
    if pa.types.is_floating(kind):
        return plain.cast(pa.float64()), misses
    return pa.array(
        [None if value is None else str(value) for value in plain.to_pylist()], pa.string()
    ), misses


def _text_of(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def read_text(values: pa.Array, rule: ColumnRule) -> Cast:
    """Texts as they are or as ``rule.words`` has them; whole numbers without a decimal point, so that an id read
    as a float stays an id."""
    if pa.types.is_floating(values.type):
        numbers, misses = read_number(values, ColumnRule(column=""))
        whole = pc.and_(pc.equal(pc.round(numbers), numbers), pc.less(pc.abs(numbers), 2.0**53))
        integers = pc.if_else(whole, numbers, None).cast(pa.int64()).cast(pa.string())
        return _reworded(pc.coalesce(integers, numbers.cast(pa.string())), rule), misses
    if pa.types.is_nested(values.type):
        return nothing_fits(values, pa.string())
    texts, bad = cast_where_possible(values, pa.string())
    return _reworded(texts, rule), misses_of("wrong_type", bad)


def _reworded(texts: pa.Array, rule: ColumnRule) -> pa.Array:
    if not rule.words:
        return texts
    place = pc.index_in(texts, value_set=pa.array(list(rule.words), pa.string()))
    ours = pa.array([word or None for word in rule.words.values()], pa.string())
    return pc.if_else(place.is_valid(), ours.take(place), texts)


def read_number(values: pa.Array, rule: ColumnRule) -> Cast:
    """Finite numbers times ``rule.scale``."""
    target = pa.float64()
    if pa.types.is_string(values.type):
        texts = bare_numbers(values, thousands=rule.thousands, decimal=rule.point) if rule.marked else values
        numbers, bad = parse(texts, target, NUMBER)
        bad |= present(values) & ~present(texts)
    elif (
        pa.types.is_integer(values.type)
        or pa.types.is_floating(values.type)
        or pa.types.is_decimal(values.type)
    ):
        numbers, bad = values.cast(target, safe=False), np.zeros(len(values), bool)
    else:
        return nothing_fits(values, target)
    infinite = mask_of(pc.invert(pc.is_finite(numbers)))
    numbers = without(numbers, infinite)
    if rule.scale != 1.0:
        numbers = pc.multiply(numbers, rule.scale)
    return numbers, misses_of("wrong_type", bad) + misses_of("not_finite", infinite)


def read_integer(values: pa.Array, rule: ColumnRule) -> Cast:
    """Whole numbers."""
    numbers, misses = read_number(values, rule)
    broken = mask_of(
        pc.or_(pc.not_equal(pc.round(numbers), numbers), pc.greater_equal(pc.abs(numbers), 2.0**53))
    )
    return without(numbers, broken).cast(pa.int64()), misses + misses_of("wrong_type", broken)


def read_money(values: pa.Array, rule: ColumnRule) -> Cast:
    """Yuan with at most two decimals as integer fen, more where ``rule.round`` says so; float noise up to 1e-6 yuan is
    forgiven."""
    yuan, misses = read_number(values, rule)
    exact = pc.multiply(yuan, 100.0)
    huge = mask_of(pc.greater(pc.abs(exact), MAX_FEN))
    exact = without(exact, huge)
    fen = pc.round(exact)
    if rule.round:
        return fen.cast(pa.int64()), misses + misses_of("out_of_range", huge)
    noise = pc.add(DECIMALS_TOLERANCE_FEN, pc.multiply(pc.abs(exact), 4 * math.ulp(1.0)))
    fractions = mask_of(pc.greater(pc.abs(pc.subtract(exact, fen)), noise))
    misses = misses + misses_of("out_of_range", huge) + misses_of("too_many_decimals", fractions)
    return without(fen, fractions).cast(pa.int64()), misses


def read_flag(values: pa.Array, rule: ColumnRule) -> Cast:
    """true/false/1/0 and their like, or the values that the rule lists; with only ``true`` given all others are false.
    A number means the same with and without a decimal point: exports write 1.0 where a cell of the column is empty."""
    if pa.types.is_boolean(values.type) and rule.true is None and rule.false is None:
        return values, []
    texts, misses = read_text(values, ColumnRule(column=""))
    lower = _as_words(texts)
    yes = pc.is_in(lower, value_set=_words(rule.true, TRUE_WORDS))
    no = pc.is_in(lower, value_set=_words(rule.false, FALSE_WORDS))
    if rule.true is not None and rule.false is None:
        no = pc.and_(pc.invert(yes), texts.is_valid())
    known = pc.or_(yes, no)
    unknown = present(texts) & ~mask_of(known)
    return pc.if_else(known, yes, None), misses + misses_of("wrong_type", unknown)


def _words(values: Sequence[object] | None, default: tuple[str, ...]) -> pa.Array:
    return _as_words(
        pa.array(default if values is None else [_text_of(value) for value in values], pa.string())
    )


def _as_words(texts: pa.Array) -> pa.Array:
    """Texts as they are compared: in small letters, whole numbers without a decimal point."""
    return pc.replace_substring_regex(pc.utf8_lower(texts), r"^([+-]?\d+)\.0+$", r"\1")


READERS: dict[Kind, Callable[[pa.Array, ColumnRule], Cast]] = {
    "text": read_text,
    "time": read_time,
    "date": read_date,
    "money": read_money,
    "number": read_number,
    "flag": read_flag,
    "integer": read_integer,
    "object": read_extras,
}
