"""Arrow arrays with marks: what the readers of :mod:`pipelines.training.casting` have in common."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

NUMBER = r"(?i)^-?((\d+\.?\d*|\.\d+)(e[+-]?\d+)?|nan|inf(inity)?)$"
"""What reads as a number."""


CODES = (
    "AUD|BRL|CAD|CHF|CNY|DKK|EUR|GBP|HKD|IDR|INR|JPY|KRW|MOP|MXN|"
    "MYR|NOK|NZD|PHP|PLN|RMB|RUB|SEK|SGD|THB|TRY|TWD|USD|VND|ZAR"
)
SIGNS = rf"(\p{{Sc}}|%|元|(?i:{CODES}))"
"""What stands before or behind an amount: a currency's sign or code, a percent sign."""


class Miss(NamedTuple):
    """Cells (boolean mask) that could not be read, and the code of the reason. column: which of the user's columns,
    where several make up one of ours."""

    code: str
    mask: np.ndarray
    column: str = ""


Cast = tuple[pa.Array, list[Miss]]


def as_plain(values: pa.Array) -> Cast:
    """Without dictionaries; every text-like type as trimmed UTF-8 text, empty ones null."""
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if pa.types.is_null(values.type):
        return values.cast(pa.string()), []
    if _is_text_like(values.type):
        texts, bad = cast_where_possible(values.cast(pa.binary()), pa.string())
        texts = pc.utf8_trim_whitespace(texts)
        return pc.if_else(pc.equal(texts, ""), None, texts), misses_of("bad_encoding", bad)
    return values, []


def _is_text_like(kind: pa.DataType) -> bool:
    tests = (
        pa.types.is_string,
        pa.types.is_large_string,
        pa.types.is_string_view,
        pa.types.is_binary,
        pa.types.is_large_binary,
        pa.types.is_binary_view,
    )
    return any(test(kind) for test in tests)


def cast_where_possible(values: pa.Array, target: pa.DataType) -> tuple[pa.Array, np.ndarray]:
    """Cast; what cannot be cast becomes null and is marked. Halving finds a few bad cells among many."""
    try:
        return values.cast(target), np.zeros(len(values), bool)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        if len(values) == 1:
            return pa.nulls(1, target), np.ones(1, bool)
    half = len(values) // 2
    left, left_bad = cast_where_possible(values.slice(0, half), target)
    right, right_bad = cast_where_possible(values.slice(half), target)
    return pa.concat_arrays([left, right]), np.concatenate([left_bad, right_bad])


def parse(texts: pa.Array, target: pa.DataType, pattern: str) -> tuple[pa.Array, np.ndarray]:
    """Parse texts; those that do not even look like ``pattern`` are sorted out at once."""
    try:
        return texts.cast(target), np.zeros(len(texts), bool)
    except pa.ArrowInvalid:
        fits = pc.match_substring_regex(texts, pattern)
        parsed, bad = cast_where_possible(pc.if_else(fits, texts, None), target)
        return parsed, bad | mask_of(pc.invert(fits))


def bare_numbers(texts: pa.Array, *, thousands: str | None, decimal: str) -> pa.Array:
    """Numbers as people write them, such as ``$1,234.50``, as NUMBER reads them: without a currency's or percent sign
    around them and without ``thousands`` between digits, ``decimal`` as a point. Null where a text is no such number,
    as ``12,50`` where the comma stands between thousands."""
    bare = pc.replace_substring_regex(texts, rf"^(-?)\s*{SIGNS}?\s*(-?)", r"\1\3")
    bare = pc.replace_substring_regex(bare, rf"\s*{SIGNS}?$", "")
    if thousands is not None:
        mark, point = re.escape(thousands), re.escape(decimal)
        group = r"\d{2,3}" if thousands == "," else r"\d{3}"  # lakhs have two digits, and a comma
        groups = rf"^-?[1-9]\d{{0,2}}({mark}{group})*{mark}\d{{3}}({point}\d*)?$"
        whole = pc.replace_substring(bare, thousands, "")
        bare = pc.if_else(pc.match_substring_regex(bare, groups), whole, bare)
    if decimal != ".":
        pointed = pc.replace_substring(bare, decimal, ".", max_replacements=1)
        bare = pc.if_else(pc.match_substring(bare, "."), None, pointed)
    return pc.if_else(pc.match_substring_regex(bare, NUMBER), bare, None)


def mask_of(values: pa.Array | pa.BooleanScalar) -> np.ndarray:
    """A boolean Arrow array as numpy, null as False."""
    return pc.fill_null(values, False).to_numpy(zero_copy_only=False)


def present(values: pa.Array) -> np.ndarray:
    return values.is_valid().to_numpy(zero_copy_only=False)


def misses_of(code: str, mask: np.ndarray, *, column: str = "") -> list[Miss]:
    return [Miss(code, mask, column)] if mask.any() else []


def nothing_fits(values: pa.Array, target: pa.DataType) -> Cast:
    return pa.nulls(len(values), target), misses_of("wrong_type", present(values))


def without(values: pa.Array, mask: np.ndarray) -> pa.Array:
    return pc.if_else(pa.array(~mask), values, None) if mask.any() else values
