"""Reading users' files in chunks: Parquet, or CSV as text. The content decides, not the name alone."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from pipelines.training.import_problems import SourceProblem

CHUNK_ROWS = 500_000
CSV_BLOCK_BYTES = 8 << 20
HEAD_BYTES = 1 << 16
DELIMITERS = (",", "\t", ";")


class Chunk(NamedTuple):
    """Some rows of a file: their 1-based numbers, their columns, and the share of the file read so far."""

    rows: np.ndarray
    data: pa.Table
    share: float


class RaggedRow(NamedTuple):
    """A CSV row with too few or too many fields."""

    row: int
    text: str
    expected: int
    actual: int


@dataclass(frozen=True)
class ParquetSource:
    """A Parquet file."""

    path: Path
    columns: tuple[str, ...]
    rows: int
    suffix = ".parquet"

    def chunks(self, ragged: list[RaggedRow]) -> Iterator[Chunk]:
        """All rows in order; ``ragged`` stays empty. Raises SourceProblem where a page cannot be read."""
        done = 0
        try:
            with pq.ParquetFile(self.path, memory_map=True) as file:
                for batch in file.iter_batches(batch_size=CHUNK_ROWS):
                    numbers = np.arange(done + 1, done + 1 + batch.num_rows)
                    done += batch.num_rows
                    data = pa.Table.from_batches([batch]).rename_columns(list(self.columns))
                    yield Chunk(numbers, data, done / max(self.rows, 1))
        except (pa.ArrowException, OSError) as error:
            raise _unreadable(error, after=done) from error

    def lines(self, rows: Collection[int]) -> dict[int, int]:
        """Parquet has no lines."""
        return {}


@dataclass(frozen=True)
class CsvSource:
    """A CSV file in UTF-8, with a header; every column is read as bytes and decoded later, row by row."""

    path: Path
    columns: tuple[str, ...]
    delimiter: str
    suffix = ".csv"

    def chunks(self, ragged: list[RaggedRow]) -> Iterator[Chunk]:
        """All well-formed rows in order; the others are appended to ``ragged``.

        Raises SourceProblem ``truncated_file`` where the file ends within a row.
        """

        def keep(row: pacsv.InvalidRow) -> str:
            ragged.append(RaggedRow(row.number - 1, row.text, row.expected_columns, row.actual_columns))
            return "skip"

        with self.path.open("rb") as file:
            size = max(self.path.stat().st_size, 1)
            done = 0
            try:
                for table in _rechunk(self._open(file, keep)):
                    skipped = [item.row for item in ragged]
                    numbers = _next_numbers(done, table.num_rows, skipped)
                    done = int(numbers[-1])
                    yield Chunk(numbers, table, file.tell() / size)
            except pa.ArrowException as error:
                raise _unreadable(error, after=done) from error
        self._refuse_cut(done, ragged)

    def _open(self, file: io.BufferedReader, keep: object) -> pacsv.CSVStreamingReader:
        return pacsv.open_csv(
            file,
            read_options=pacsv.ReadOptions(
                use_threads=False, block_size=CSV_BLOCK_BYTES, column_names=list(self.columns), skip_rows=1
            ),
            parse_options=pacsv.ParseOptions(
                delimiter=self.delimiter, newlines_in_values=True, invalid_row_handler=keep
            ),
            convert_options=pacsv.ConvertOptions(
                column_types=dict.fromkeys(self.columns, pa.binary()),
                strings_can_be_null=True,
                null_values=[""],
            ),
        )

    def _refuse_cut(self, last: int, ragged: list[RaggedRow]) -> None:
        """A file without a final line break whose last row is short, or in open quotes, was cut off."""
        if _ends_with_newline(self.path):
            return
        short = bool(ragged) and ragged[-1].row > last and ragged[-1].actual < ragged[-1].expected
        if short or _quotes(self.path) % 2:
            row = ragged[-1].row if short else last
            raise SourceProblem(
                "truncated_file",
                f"文件在第 {row} 行数据中途结束，可能未传完",
                f"the file ends in the middle of data row {row}; was it copied completely?",
            )

    def lines(self, rows: Collection[int]) -> dict[int, int]:
        """The line on which each data row starts; rows may span lines, so the file is read once more."""
        if not rows:
            return {}
        wanted, last, found, row, start = set(rows), max(rows), {}, 0, 1
        with self.path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            reader = csv.reader(file, delimiter=self.delimiter)
            for record in reader:
                if record:
                    if row in wanted:
                        found[row] = start
                    row += 1
                if row > last:
                    break
                start = reader.line_num + 1
        return found


Source = ParquetSource | CsvSource


def open_source(path: Path) -> Source:
    """Open a user's file. Raises SourceProblem: not_found, unreadable_file, empty_file, not_a_table,
    truncated_file, bad_encoding or duplicate_column."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except FileNotFoundError as error:
        raise SourceProblem("not_found", f"找不到文件 {path}", f"there is no file {path}") from error
    except OSError as error:
        raise _unreadable(error, after=0) from error
    if not head.strip():
        raise SourceProblem("empty_file", "文件为空", "the file is empty")
    source = _open_parquet(path) if head.startswith(b"PAR1") else _open_csv(path, head)
    repeated = {name for name in source.columns if source.columns.count(name) > 1}
    if repeated:
        name = min(repeated)
        raise SourceProblem(
            "duplicate_column",
            f"列 {name} 出现多次",
            f"column {name} stands there more than once",
            column=name,
        )
    return source


def _open_parquet(path: Path) -> ParquetSource:
    try:
        with pq.ParquetFile(path) as file:
            names, rows = _named(file.schema_arrow.names), file.metadata.num_rows
    except (pa.ArrowException, OSError) as error:
        raise SourceProblem(
            "truncated_file",
            "Parquet 文件不完整：读不到文件尾，可能未传完",
            "the Parquet file is not whole: its footer cannot be read; was it copied completely?",
        ) from error
    if rows == 0:
        raise SourceProblem("empty_file", "文件没有数据行", "the file has no rows")
    return ParquetSource(path=path, columns=names, rows=rows)


def _open_csv(path: Path, head: bytes) -> CsvSource:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise _not_utf8()
    if b"\0" in head or head.startswith(b"PK\x03\x04") or path.suffix.lower() in {".parquet", ".pq"}:
        raise SourceProblem(
            "not_a_table", "既不是 Parquet 也不是 CSV 文件", "the content is neither Parquet nor CSV"
        )
    first = head.splitlines()[0]
    try:
        header = first.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _not_utf8() from error
    delimiter = max(DELIMITERS, key=header.count)
    columns = _named(next(csv.reader([header], delimiter=delimiter), []))
    if len(head.rstrip(b"\r\n")) <= len(first):
        raise SourceProblem("empty_file", "文件只有表头，没有数据行", "the file has a header and no rows")
    return CsvSource(path=path, columns=columns, delimiter=delimiter)


def _named(header: Iterable[str]) -> tuple[str, ...]:
    """The names of a file's columns; one without a name, as the row numbers of many exports, gets that of its place."""
    names = [name.strip() for name in header]
    return tuple(name or f"column_{place}" for place, name in enumerate(names, start=1))


def _not_utf8() -> SourceProblem:
    return SourceProblem(
        "bad_encoding",
        "表头不是 UTF-8 编码；请另存为“CSV UTF-8”",
        "the header is not UTF-8; save the file as CSV UTF-8",
    )


def _unreadable(error: Exception, *, after: int) -> SourceProblem:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return SourceProblem(
        "unreadable_file",
        f"第 {after} 行数据之后无法读取：{reason}",
        f"cannot be read after data row {after}: {reason}",
    )


def _rechunk(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Join small batches to chunks of about CHUNK_ROWS."""
    held: list[pa.RecordBatch] = []
    count = 0
    for batch in batches:
        held.append(batch)
        count += batch.num_rows
        if count >= CHUNK_ROWS:
            yield pa.Table.from_batches(held)
            held, count = [], 0
    if count:
        yield pa.Table.from_batches(held)


def _next_numbers(done: int, count: int, skipped: list[int]) -> np.ndarray:
    """The next ``count`` row numbers after ``done`` that were not skipped."""
    passed = [row for row in skipped if row > done]
    candidates = np.arange(done + 1, done + 1 + count + len(passed))
    return candidates[~np.isin(candidates, passed)][:count]


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, io.SEEK_END)
        return file.read(1) in b"\r\n"


def _quotes(path: Path) -> int:
    with path.open("rb") as file:
        return sum(block.count(b'"') for block in iter(lambda: file.read(CSV_BLOCK_BYTES), b""))
