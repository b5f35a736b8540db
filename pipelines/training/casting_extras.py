"""Reads what else a platform knows about its trades: one JSON object a trade, from one column or from several."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.extras import ExtrasError, canonical_extras, extras_text
from pipelines.training.casting_times import UTC_TIME, read_time
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
    is not a finite number, or empty, is left out. What a text means is for the model to say, which sees all of them;
    times become those of ISO 8601 where ``rule.formats`` says how they are written."""
    lists, misses = [], []
    for name, column in columns.items():
        values, bad = as_plain(column)
        if name in (rule.formats or {}):
            values, worse = _iso_times(values, name, rule)
            bad = bad + worse
        lists.append(_values(values, rule))
        misses += bad
    texts = [extras_text(dict(zip(columns, row, strict=True))) for row in zip(*lists, strict=True)]
    return pa.array(texts, pa.string()), misses


EARLIEST = pa.scalar(datetime(1901, 1, 1, tzinfo=UTC), UTC_TIME)
"""A time before it lacks its date, or its century."""


def _iso_times(values: pa.Array, name: str, rule: ColumnRule) -> Cast:
    """Times as ISO 8601 texts of UTC; a cell that is not written as the rule says is a miss that names its column."""
    if pa.types.is_temporal(values.type):
        return values, []
    if pa.types.is_string(values.type):
        values = pa.array([_known(text) for text in values.to_pylist()], pa.string())
    written = ColumnRule(column=name, format=(rule.formats or {})[name], timezone=rule.timezone or "UTC")
    times, _ = read_time(values, written)
    times = pc.if_else(pc.greater_equal(times, EARLIEST), times, None)
    texts = pc.strftime(times.cast(pa.timestamp("s", "UTC")), format="%Y-%m-%dT%H:%M:%SZ")
    return texts, misses_of("other_format", present(values) & ~present(times), column=name)


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
