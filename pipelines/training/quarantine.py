"""Rows set aside by an import: as they stand in the user's file, with their number and what is wrong."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from pipelines.training.import_problems import Findings
from pipelines.training.import_sources import Chunk, CsvSource, RaggedRow, Source
from pipelines.training.mapping import OWN_COLUMNS


def set_aside(source: Source, findings: Findings, target: Path) -> Path:
    """Write the noted rows of ``source`` to ``target`` in the format of the source, with ``_row`` and
    ``_problem`` behind. A CSV row with the wrong number of fields stands in ``_problem`` as text.

    The file can be corrected and imported again: both added columns are left out then.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    writer: pq.ParquetWriter | pacsv.CSVWriter | None = None
    try:
        for table in _bad_parts(source, findings):
            if writer is None:
                is_csv = isinstance(source, CsvSource)
                writer = (pacsv.CSVWriter if is_csv else pq.ParquetWriter)(target, table.schema)
            writer.write_table(table)
    finally:
        if writer is not None:
            writer.close()
    return target


def _bad_parts(source: Source, findings: Findings) -> Iterator[pa.Table]:
    ragged: list[RaggedRow] = []
    schema: pa.Schema | None = None
    for chunk in source.chunks(ragged):
        part = _bad_part(chunk, findings)
        schema = part.schema
        yield part
    if ragged and schema is not None:
        texts = [f"wrong_column_count: {row.actual} fields, not {row.expected}: {row.text}" for row in ragged]
        nulls = [pa.nulls(len(ragged), kind) for kind in schema.types[:-2]]
        yield pa.table(
            [*nulls, pa.array([row.row for row in ragged], pa.int64()), pa.array(texts)], schema=schema
        )


def _bad_part(chunk: Chunk, findings: Findings) -> pa.Table:
    reasons: dict[int, set[str]] = defaultdict(set)
    for row, rule in findings.reasons(int(chunk.rows[0]), int(chunk.rows[-1])):
        reasons[row].add(f"{rule.column}: {rule.code}: {rule.en}")
    kept = [(place, row) for place, row in enumerate(chunk.rows.tolist()) if row in reasons]
    data = chunk.data.drop_columns([name for name in chunk.data.column_names if name in OWN_COLUMNS])
    part = data.take(pa.array([place for place, _ in kept], pa.int64()))
    part = part.append_column("_row", pa.array([row for _, row in kept], pa.int64()))
    return part.append_column(
        "_problem", pa.array(["; ".join(sorted(reasons[row])) for _, row in kept], pa.string())
    )
