"""Reads what else a platform knows about its trades: one JSON object a trade, from one column or from several."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.extras import ExtrasError, canonical_extras, extras_text
from pipelines.training.casting_times import FIRST, NAIVE_TIME, PAST_LAST, UTC_TIME, read_time
from pipelines.training.cells import Cast, as_plain, bare_numbers, misses_of, present
from pipelines.training.mapping import ColumnRule


def read_extras(values: pa.Array, rule: ColumnRule) -> Cast:
    """JSON objects in their one written form; an empty object is null."""
    if not pa.types.is_string(values.type):
        return pa.nulls(len(values), pa.string()), misses_of("wrong_type", np.asarray(values.is_valid()))
    found: list[str | None] = []
    bad = np.zeros(len(values), dtype=bool)
    for row, text in enumerate(values.to_pylist()):
        try:
            found.append(None if text is None else canonical_extras(text))
        except ExtrasError:
            found.append(None)
            bad[row] = True
    return pa.array(found, pa.string()), misses_of("wrong_type", bad)


def gathered_extras(columns: Mapping[str, pa.Array], rule: ColumnRule) -> Cast:
    """The columns as one object a row, under their own names: numbers and flags as numbers, all else as text. What
    is not a finite number, or empty, is left out. Moments become ISO 8601 of UTC: those of columns of times, texts that
    ``rule.formats`` says how to read, and ISO 8601 without a zone where the rule gives one. What any other text means
    is for the model to say, which sees all of them."""
    lists, misses = [], []
    for name, column in columns.items():
        values, bad = as_plain(column)
        if pa.types.is_timestamp(values.type) or pa.types.is_date(values.type):
            values = _iso(_read(values, rule))
        elif name in (rule.formats or {}):
            values, worse = _formatted(values, name, rule)
            bad = bad + worse
        elif rule.timezone and pa.types.is_string(values.type):
            zoneless = pc.match_substring_regex(values, ISO_WITHOUT_ZONE)
            times = _read(pc.if_else(zoneless, values, None), rule)
            values = pc.if_else(times.is_valid(), _iso(times), values)
        lists.append(_values(values, rule))
        misses += bad
    texts = [extras_text(dict(zip(columns, row, strict=True))) for row in zip(*lists, strict=True)]
    return pa.array(texts, pa.string()), misses


EARLIEST = np.datetime64("1901-01-01", "us")
"""A time read by a format that lies before it lacks its date, or its century."""

ISO_WITHOUT_ZONE = r"^\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d(\.\d+)?)?)?$"


def _read(values: pa.Array, rule: ColumnRule, *, written: str | None = None) -> pa.Array:
    """Moments; null where there is none."""
    times = ColumnRule(column="", format=written, timezone=rule.timezone or "UTC")
    return read_time(values, times)[0]


def _iso(times: pa.Array, *, first: np.datetime64 = FIRST) -> pa.Array:
    """ISO 8601 texts of moments; null for those before ``first`` and from the end of the calendar on, which stand for
    none."""
    low, high = (pa.scalar(bound.item(), NAIVE_TIME).cast(UTC_TIME) for bound in (first, PAST_LAST))
    told = pc.and_(pc.greater_equal(times, low), pc.less(times, high))
    texts = pc.strftime(pc.if_else(told, times, None), format="%Y-%m-%dT%H:%M:%SZ")
    return pc.replace_substring_regex(texts, r"\.0+Z$", "Z")


def _formatted(values: pa.Array, name: str, rule: ColumnRule) -> Cast:
    """Texts or numbers that are times; a cell that is not written as the rule says is a miss that names its column."""
    if pa.types.is_string(values.type):
        values = pa.array([_known(text) for text in values.to_pylist()], pa.string())
    texts = _iso(_read(values, rule, written=(rule.formats or {})[name]), first=EARLIEST)
    return texts, misses_of("other_format", present(values) & ~present(texts), column=name)


def _values(values: pa.Array, rule: ColumnRule) -> list[float | str | None]:
    kind = values.type
    if pa.types.is_decimal(kind) or pa.types.is_boolean(kind):
        values = values.cast(pa.float64())
    elif not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_string(kind)):
        values = pa.array(
            [None if value is None else str(value) for value in values.to_pylist()], pa.string()
        )
    elif rule.marked and pa.types.is_string(kind):
        bare = bare_numbers(values, thousands=rule.thousands, decimal=rule.point)
        values = pc.coalesce(bare, values)
    return [_known(value) for value in values.to_pylist()]


UNKNOWN_WORDS = frozenset({"null", "na", "n/a", "nan", "nat", "<na>", "none", "?", "-"})
"""Texts by which exports write that nothing is known (any case)."""


def _known(value: float | str | None) -> float | str | None:
    return None if isinstance(value, str) and value.lower() in UNKNOWN_WORDS else value
