"""One file of an import, read in chunks: cast, checked, and written to the work folder as stored columns."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.tables import ISSUED_FACE, Table
from pipelines.training.casting import cast_column, constant_column, extra_column, joined_texts, reason
from pipelines.training.casting_extras import gathered_extras
from pipelines.training.cells import Miss
from pipelines.training.checks import ChunkChecker
from pipelines.training.import_problems import EXAMPLES, Example, Findings, Rule, RuleResult, SourceProblem
from pipelines.training.import_sources import Chunk, RaggedRow, Source, open_source
from pipelines.training.mapping import Binding, TableMapping, bind

BALANCE = "balance_cny"
ABOVE_FACE = Rule(
    "trades",
    BALANCE,
    "balance_above_face",
    "余额不得高于面值；未使用过的卡请留空",
    "not above the face value; leave it empty for a card that was never used",
)

DIGEST_DIGITS = 12
"""Of a file's SHA-256, in the names of its rows: two of a million files share them once in 500 times."""

Progress = Callable[[str, float], None]
"""Called with a stage and the share of it that is done, 0 to 1."""


@dataclass
class Draft:
    """One file on its way: what was found so far and, in ``cast``, its readable rows in stored columns. label_days: as
    in :class:`pipelines.training.mapping.Binding`, once a label was seen."""

    table: Table
    path: Path
    cast: Path
    findings: Findings = field(default_factory=Findings)
    source: Source | None = None
    refusal: RuleResult | None = None
    ragged: list[RaggedRow] = field(default_factory=list)
    raw: list[dict[str, Any]] = field(default_factory=list)
    rows: int = 0
    label_days: int | None = None

    def results(self) -> list[RuleResult]:
        """Every rule's result, with the line numbers of a CSV file."""
        results = ([self.refusal] if self.refusal else []) + self.findings.results()
        rows = {example.row for result in results for example in result.examples}
        lines = self.source.lines(rows) if self.source else {}
        return [replace(result, examples=_with_lines(result.examples, lines)) for result in results]

    @property
    def broken(self) -> bool:
        """Whether any rule failed."""
        return self.refusal is not None or any(result.failed for result in self.findings.results())


def _with_lines(examples: Sequence[Example], lines: Mapping[int, int]) -> tuple[Example, ...]:
    return tuple(replace(example, line=lines.get(example.row)) for example in examples)


def read_file(
    draft: Draft, *, mapping: TableMapping, now: datetime, all_rows: bool, progress: Progress
) -> None:
    """Fill ``draft``. A file that cannot be used at all leaves a ``refusal``; ``all_rows`` notes every bad
    row rather than the first ones."""
    name = draft.table.name
    try:
        source = draft.source = open_source(draft.path)
        binding = _with_row_names(bind(draft.table, mapping, source.columns), draft.path)
        checker = ChunkChecker(draft.table, given=binding.rules, now=now, all_rows=all_rows)
        draft.raw = checker.raw
        _write_cast(draft, source, binding, checker, progress, now=now)
        _note_ragged(draft)
    except SourceProblem as problem:
        draft.refusal = problem.result(name)


def _with_row_names(binding: Binding, path: Path) -> Binding:
    """The binding with the file's digest behind each ``row`` text: rows keep their names when the same file is read
    again, and share none with another file."""
    named = {name: rule for name, rule in binding.rules.items() if rule.row is not None}
    if not named:
        return binding
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()[:DIGEST_DIGITS]
    rules = {name: rule.model_copy(update={"row": f"{rule.row}{digest}-"}) for name, rule in named.items()}
    return replace(binding, rules={**binding.rules, **rules})


def _write_cast(
    draft: Draft,
    source: Source,
    binding: Binding,
    checker: ChunkChecker,
    progress: Progress,
    *,
    now: datetime,
) -> None:
    stage = f"{draft.table.name}: read and check 读取并检查"
    progress(stage, 0.0)
    writer: pq.ParquetWriter | None = None
    try:
        for chunk in source.chunks(draft.ragged):
            cast = _settle_labels(binding, _cast_chunk(draft, binding, chunk), now=now)
            if binding.label_days is not None and cast["fraud"].null_count < cast.num_rows:
                draft.label_days = binding.label_days
            if cast.num_rows:
                checker.check(cast, cast.column("_row").to_numpy(), draft.findings)
                cast = _settle_balances(draft, binding, cast)
            writer = writer or pq.ParquetWriter(draft.cast, cast.schema)
            writer.write_table(cast)
            draft.rows += chunk.data.num_rows
            progress(stage, chunk.share)
    finally:
        if writer is not None:
            writer.close()
    if writer is None:
        raise SourceProblem(
            "not_a_table", "没有一行的字段数与表头一致", "no row has as many fields as the header"
        )


def _settle_balances(draft: Draft, binding: Binding, cast: pa.Table) -> pa.Table:
    """The rows of partly used cards with the balance as ``face_value_fen`` and the issued face value beside it; notes
    those whose balance is above the face value."""
    if BALANCE not in binding.rules or ISSUED_FACE not in cast.column_names:
        return cast
    face, balance = cast["face_value_fen"], cast[ISSUED_FACE]
    above = np.flatnonzero(pc.fill_null(pc.greater(balance, face), False).to_numpy())
    draft.findings.note(
        ABOVE_FACE,
        checked=len(balance) - balance.null_count,
        failed=len(above),
        rows=cast["_row"].to_numpy()[above],
        values=[f"{fen / 100:.2f}" for fen in balance.take(pa.array(above[:EXAMPLES])).to_pylist()],
    )
    partial = pc.less(balance, face)
    sold, issued = pc.if_else(partial, balance, face), pc.if_else(partial, face, None)
    for name, values in (("face_value_fen", pc.coalesce(sold, face)), (ISSUED_FACE, issued)):
        cast = cast.set_column(cast.column_names.index(name), name, values)
    return cast


def _settle_labels(binding: Binding, cast: pa.Table, *, now: datetime) -> pa.Table:
    """The rows with the moment at which their labels are taken as known, where the file has none: not after now.
    A stored moment of the same label replaces it when the rows are joined with the stored ones."""
    if binding.label_days is None or cast.num_rows == 0:
        return cast
    submitted = cast["submitted_at"]
    moment = pa.scalar(now, submitted.type)
    later = pc.add(submitted, pa.scalar(timedelta(days=binding.label_days), pa.duration("us")))
    known = pc.if_else(
        pc.less(later, moment), later, pc.if_else(pc.less(submitted, moment), moment, submitted)
    )
    place = cast.column_names.index("fraud_known_at")
    return cast.set_column(place, "fraud_known_at", pc.if_else(cast["fraud"].is_valid(), known, None))


def _note_ragged(draft: Draft) -> None:
    rule = Rule(
        draft.table.name,
        "",
        "wrong_column_count",
        "字段数须与表头一致",
        "as many fields as the header has",
    )
    if draft.ragged:
        draft.findings.note(
            rule,
            checked=draft.rows + len(draft.ragged),
            failed=len(draft.ragged),
            rows=[item.row for item in draft.ragged],
            values=[f"{item.actual} ≠ {item.expected}" for item in draft.ragged],
        )
        draft.rows += len(draft.ragged)


class CastColumn(NamedTuple):
    """A column of a chunk: its name in the file contract, its stored name, and what casting gave."""

    name: str
    stored: str
    kind: str
    source: pa.Array | None
    values: pa.Array
    misses: list[Miss]


def _cast_chunk(draft: Draft, binding: Binding, chunk: Chunk) -> pa.Table:
    """The chunk's readable rows in the stored columns, then the extras and ``_row``."""
    columns: dict[str, pa.Array] = {}
    readable = np.ones(chunk.data.num_rows, bool)
    for cast in _cast_columns(draft.table, binding, chunk):
        columns[cast.stored] = cast.values
        for miss in cast.misses:
            readable &= ~miss.mask
            _note_miss(draft, cast, miss, chunk.rows)
    columns["_row"] = pa.array(chunk.rows, pa.int64())
    table = pa.table(columns)
    return table if readable.all() else table.filter(pa.array(readable))


def _cast_columns(table: Table, binding: Binding, chunk: Chunk) -> Iterator[CastColumn]:
    data = chunk.data
    for column in table.columns:
        rule = binding.rules.get(column.name)
        source = None
        if rule is None:
            values, misses = pa.nulls(data.num_rows, column.arrow_type), []
        elif rule.columns is not None and column.kind == "object":
            values, misses = gathered_extras({name: _array(data, name) for name in rule.columns}, rule)
        elif rule.columns is not None:
            parts = [_array(data, name) for name in rule.columns]
            source, torn = joined_texts(parts, whole=column.kind != "text")
            values, misses = cast_column(source, kind=column.kind, rule=rule)
            misses = torn + misses
        elif rule.row is not None:
            values, misses = (
                pa.array([f"{rule.row}{row:09d}" for row in chunk.rows.tolist()], pa.string()),
                [],
            )
        elif rule.column is None:
            values, misses = constant_column(rule, data.num_rows, kind=column.kind)
        else:
            source = _array(data, rule.column)
            values, misses = cast_column(source, kind=column.kind, rule=rule)
        yield CastColumn(column.name, column.stored, column.kind, source, values, misses)
    for name in binding.extras:
        source = _array(data, name)
        yield CastColumn(name, name, "text", source, *extra_column(source))


def _array(data: pa.Table, name: str) -> pa.Array:
    values = data.column(name).combine_chunks()
    return pa.concat_arrays(values.chunks) if isinstance(values, pa.ChunkedArray) else values


def _note_miss(draft: Draft, cast: CastColumn, miss: Miss, rows: np.ndarray) -> None:
    positions = np.flatnonzero(miss.mask)
    zh, en = reason(miss.code, cast.kind)
    draft.findings.note(
        Rule(
            draft.table.name,
            cast.name,
            miss.code,
            f"{miss.column}：{zh}" if miss.column else zh,
            f"{miss.column}: {en}" if miss.column else en,
        ),
        checked=len(miss.mask),
        failed=len(positions),
        rows=rows[positions],
        values=_values_at(cast, positions[:EXAMPLES]) if miss.code != "bad_encoding" else [""] * EXAMPLES,
    )


def _values_at(cast: CastColumn, positions: np.ndarray) -> list[object]:
    if cast.source is None:
        return [""] * len(positions)
    values = cast.source.take(pa.array(positions)).to_pylist()
    return [value.decode() if isinstance(value, bytes) else value for value in values]
