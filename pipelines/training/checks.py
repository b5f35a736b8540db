"""The Great Expectations suite of an input table, built from its definition, and run chunk by chunk.

What one row can show is checked here: presence, ranges, allowed words, order of times. What needs all rows
(keys, card types) is checked in :mod:`pipelines.training.merging`.
"""

# great_expectations fills these modules when it is imported; a type checker cannot see their names.
# pyright: reportPrivateImportUsage=false, reportArgumentType=false

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from datetime import UTC, datetime, time, timedelta
from typing import Any, NamedTuple, cast

import great_expectations as gx
import great_expectations.expectations as gxe
import numpy as np
import pyarrow as pa
from great_expectations.data_context import EphemeralDataContext
from great_expectations.data_context.types.base import ProgressBarsConfig
from great_expectations.expectations.row_conditions import Column as When

from features.tables import Column, NotBefore, Table, Together
from pipelines.training.casting_times import EARLIEST_DAY
from pipelines.training.import_problems import EXAMPLES, HIDDEN, Findings, Rule

EARLIEST = datetime.combine(EARLIEST_DAY, time(), UTC)
"""A moment before it is a unit error, which mostly ends in 1970."""

EARLY_WORDS = (
    "不早于 1980 年；数字时间请在映射文件中检查 unit 与 since",
    "not before the year 1980; of times that are numbers check unit and since in the mapping",
)

CLOCK_SKEW = timedelta(days=1)
"""So far after ``now`` a moment may lie; clocks and zones of exports differ."""

LISTS = ("unexpected_list", "unexpected_index_list", "unexpected_index_query", "partial_unexpected_counts")


class Check(NamedTuple):
    """A rule in words and the expectation that checks it on the stored column(s)."""

    rule: Rule
    column: Column
    expectation: gxe.Expectation


def table_checks(table: Table, *, given: Collection[str], now: datetime) -> list[Check]:
    """The expectations of ``table`` for a file that gives the columns ``given``: not null, in range, in set,
    no moment after ``now``, pairs in order. A column that the file lacks as a whole needs no check."""
    columns = [column for column in table.columns if column.name in given]
    checks = [check for column in columns for check in _column_checks(table, column, now)]
    checks += [
        _not_before(table, pair) for pair in table.not_before if {pair.later, pair.earlier} <= set(given)
    ]
    checks += [_together(table, pair) for pair in table.together if pair.column in given]
    return checks


def _column_checks(table: Table, column: Column, now: datetime) -> Iterator[Check]:
    def check(code: str, zh: str, en: str, expectation: gxe.Expectation) -> Check:
        return Check(Rule(table.name, column.name, code, zh, en), column, expectation)

    name = column.stored
    if column.required:
        yield check("missing_value", "必填", "must be given", gxe.ExpectColumnValuesToNotBeNull(column=name))
    if column.values is not None:
        words = ", ".join(column.values)
        expectation = gxe.ExpectColumnValuesToBeInSet(column=name, value_set=list(column.values))
        yield check("not_in_set", f"只能是 {words}", f"one of {words}", expectation)
    if column.low is not None or column.high is not None:
        unit = 100 if column.kind == "money" else 1
        expectation = gxe.ExpectColumnValuesToBeBetween(
            column=name,
            min_value=None if column.low is None else column.low * unit,
            max_value=None if column.high is None else column.high * unit,
        )
        yield check("out_of_range", *_range_words(column), expectation)
    if column.kind == "time" and column.required:
        expectation = gxe.ExpectColumnValuesToBeBetween(column=name, min_value=EARLIEST)
        yield check("out_of_range", *EARLY_WORDS, expectation)
    if column.kind == "time":
        latest = now + CLOCK_SKEW
        expectation = gxe.ExpectColumnValuesToBeBetween(column=name, max_value=latest)
        zh = "不晚于导入时刻（容许一天误差）；请检查时区"
        yield check(
            "future_time", zh, "not after the import (a day allowed); check the time zone", expectation
        )


def _range_words(column: Column) -> tuple[str, str]:
    low, high = column.low, column.high
    if high is None:
        zh, en = f"不小于 {low:,.12g}", f"at least {low:,.12g}"
    else:
        zh, en = f"介于 {low:,.12g} 与 {high:,.12g} 之间", f"between {low:,.12g} and {high:,.12g}"
    if column.kind == "money":
        zh += "；其他单位的金额请在映射文件中换算，如 { column = …, scale = 0.001, round = true }"
        en += "; amounts of another size a mapping can scale, by { column = …, scale = 0.001, round = true }"
    if column.name.endswith("rate"):
        zh += "；折扣率是面值的小数比例：0.92 而不是 92，百分数请除以 100"
        en += "; a rate is a fraction of face value, 0.92 and not 92: divide percentages by 100"
    return zh, en


def _not_before(table: Table, pair: NotBefore) -> Check:
    is_label = pair.later == "fraud_known_at"
    rule = Rule(
        table.name,
        pair.later,
        "label_before_trade" if is_label else "wrong_order",
        f"不早于（不小于）{pair.earlier}",
        f"not before (not below) {pair.earlier}",
    )
    expectation = gxe.ExpectColumnPairValuesAToBeGreaterThanB(
        column_A=pair.later, column_B=pair.earlier, or_equal=True, ignore_row_if="either_value_is_missing"
    )
    return Check(rule, table.column(pair.later), expectation)


def _together(table: Table, pair: Together) -> Check:
    zh, en = f"有 {pair.column} 时必填", f"must be given where {pair.column} is"
    rule = Rule(table.name, pair.needs, "missing_time", zh, en)
    expectation = gxe.ExpectColumnValuesToNotBeNull(
        column=pair.needs, row_condition=When(pair.column).is_not_null()
    )
    return Check(rule, table.column(pair.needs), expectation)


class ChunkChecker:
    """Runs the suite of one table over chunks; ``raw`` keeps each chunk's Great Expectations result.

    With ``all_rows`` the numbers of all failing rows are noted (to set them aside), else those of the first.
    """

    def __init__(self, table: Table, *, given: Collection[str], now: datetime, all_rows: bool) -> None:
        self.raw: list[dict[str, Any]] = []
        self._checks = table_checks(table, given=given, now=now)
        self._columns = sorted({name for check in self._checks for name in _columns_of(check.expectation)})
        self._format = {
            "result_format": "COMPLETE" if all_rows else "SUMMARY",
            "partial_unexpected_count": EXAMPLES,
        }
        for number, check in enumerate(self._checks):
            check.expectation.meta = {"check": number}
        context = _quiet_context()  # the suite belongs to it, so it comes first
        self._suite = gx.ExpectationSuite(
            name=table.name, expectations=[check.expectation for check in self._checks]
        )
        asset = context.data_sources.add_pandas("import").add_dataframe_asset(table.name)
        self._batches = asset.add_batch_definition_whole_dataframe("chunk")

    def check(self, chunk: pa.Table, rows: np.ndarray, findings: Findings) -> None:
        """Check rows already cast; ``rows`` are their numbers."""
        frame = chunk.select(self._columns).to_pandas()
        frame.index = rows
        batch = self._batches.get_batch({"dataframe": frame})
        outcome = batch.validate(self._suite, result_format=self._format)
        for result in outcome.results:
            config = result.expectation_config
            assert config is not None
            check = self._checks[config.meta["check"]]
            if result.exception_info.get("raised_exception"):
                raise RuntimeError(f"{check.rule}: {result.exception_info['exception_message']}")
            _note(check, result.result, findings)
        numbers = {"first_row": int(rows[0]), "last_row": int(rows[-1])}
        self.raw.append(numbers | _slim(cast(dict[str, Any], outcome.to_json_dict())))


def _note(check: Check, result: dict[str, Any], findings: Findings) -> None:
    examples = result.get("partial_unexpected_index_list") or []
    findings.note(
        check.rule,
        checked=result["element_count"] - result.get("missing_count", 0),
        failed=result["unexpected_count"],
        rows=result.get("unexpected_index_list") or examples,
        values=[_in_file_unit(check, value) for value in result["partial_unexpected_list"]],
    )


def _in_file_unit(check: Check, value: Any) -> str:
    if isinstance(value, (tuple, list)):
        return " < ".join(_in_file_unit(check, part) for part in value)
    if value is None or value != value:
        return ""
    if check.column.kind == "money":
        return f"{value / 100:.2f}"
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _columns_of(expectation: gxe.Expectation) -> list[str]:
    names = [getattr(expectation, key, None) for key in ("column", "column_A", "column_B")]
    condition = getattr(expectation, "row_condition", None)
    if condition is not None:
        names.append(condition.column.name)
    return [name for name in names if name]


def _slim(outcome: dict[str, Any]) -> dict[str, Any]:
    """A result without its long lists, and without values of columns that are never printed."""
    for result in outcome["results"]:
        for name in LISTS:
            result["result"].pop(name, None)
        if result["expectation_config"]["kwargs"].get("column") in HIDDEN:
            result["result"].pop("partial_unexpected_list", None)
    return outcome


def _quiet_context() -> EphemeralDataContext:
    for name in ("great_expectations", "great_expectations._docs_decorators"):
        logging.getLogger(name).setLevel(logging.ERROR)
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    return context
