"""What needs all rows at once: repeated keys, differences from the stored table, card types, the upsert.

DuckDB does it on Parquet files with bounded memory. A :class:`Join` sees three relations: ``incoming`` (rows
as cast, with their number ``_row``), ``fresh`` (those still to be imported) and ``stored``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.tables import Column, Table
from pipelines.training.import_problems import EXAMPLES, Findings, Rule

MEMORY_LIMIT = "2GB"
THREADS = 2
ROW_GROUP_ROWS = 131_072
FETCH_ROWS = 65_536


@dataclass(frozen=True)
class Changes:
    """What a merge does: keys not yet stored, keys whose values change, keys that stay as they are."""

    added: int
    updated: int
    unchanged: int


class Join:
    """One table's incoming rows beside its stored ones. Close it (or use ``with``) to free the memory."""

    def __init__(self, table: Table, *, incoming: Path, stored: Path | None, work: Path) -> None:
        self.table = table
        self._extras = _extras(table, incoming, stored)
        self._connection = duckdb.connect(
            config={"memory_limit": MEMORY_LIMIT, "threads": THREADS, "temp_directory": str(work / "spill")}
        )
        self._run("set timezone = 'UTC'")
        self._run("set enable_progress_bar = false")
        self._incoming = f"read_parquet({_text(incoming)})"
        self._run(f"create view incoming as from {self._incoming}")
        if stored is None:
            self._connection.register("stored", table.schema.empty_table())
        else:
            self._run(f"create view stored as from read_parquet({_text(stored)})")
        self._run("create table dropped (_row bigint)")
        self._run("create view fresh as from incoming anti join dropped using (_row)")

    def __enter__(self) -> Join:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def drop(self, rows: np.ndarray) -> None:
        """Leave these rows out of ``fresh``."""
        self._connection.register("bad", pa.table({"_row": rows}))
        self._run("insert into dropped from bad")
        self._connection.unregister("bad")

    def keep_label_moments(self) -> None:
        """For a file whose labels have no moments: where the stored row has the same label, its moment stays, as what
        the file is given for one is a guess that depends on the day of the import."""
        kept = "case when s.fraud = i.fraud then s.fraud_known_at end"
        self._run(
            f"create or replace view incoming as select i.* replace (coalesce({kept}, i.fraud_known_at) as "
            f"fraud_known_at) from {self._incoming} i left join stored s on {self._on('i', 's')}"
        )

    def drop_repeats(self, findings: Findings) -> None:
        """Keep the first of rows that repeat one key with the same content, and note keys whose rows differ
        (``conflicting_duplicate``, every row of such a key)."""
        keys = ", ".join(_names(self.table.key))
        given = " and ".join(f"{name} is not null" for name in _names(self.table.key))
        self._run(
            f"create table firsts as select {keys}, min(_row) as _first from fresh where {given} "
            f"group by {keys} having count(*) > 1"
        )
        self._run(
            f"create table repeats as select fresh._row, f._first from fresh join firsts f using ({keys}) "
            "where fresh._row <> f._first"
        )
        self._note_differences(
            "repeats r join incoming n on n._row = r._row join incoming o on o._row = r._first",
            self.table.columns,
            findings,
            in_file=True,
        )
        self._run("insert into dropped select _row from repeats where _row not in (from dropped)")
        for name in ("firsts", "repeats"):
            self._run(f"drop table {name}")

    def note_conflicts(self, findings: Findings) -> None:
        """Note rows that differ from the stored row of the same key in a column that cannot change."""
        free = {*self.table.updates, *self.table.key}
        fixed = [column for column in self.table.columns if column.name not in free]
        if fixed:
            pairs = f"fresh n join stored o on {self._on('n', 'o')}"
            self._note_differences(pairs, fixed, findings, in_file=False)

    def _note_differences(
        self, pairs: str, columns: Sequence[Column], findings: Findings, *, in_file: bool
    ) -> None:
        """Note for each column the rows ``n`` of ``pairs`` that differ from ``o``. What a later import leaves
        out is no difference from the stored row, for it erases nothing."""

        def differs(column: Column, new: str, old: str) -> str:
            name = _name(column.stored)
            test = f"{new}.{name} is distinct from {old}.{name}"
            return f"({test})" if in_file else f"({test} and {new}.{name} is not null)"

        anything = " or ".join(differs(column, "n", "o") for column in columns)
        other = "o._row" if in_file else "null::bigint"
        self._run(
            f"create table differing as select n._row as _row, {other} as _other, n as new, o as old "
            f"from {pairs} where {anything}"
        )
        compared = self._one(f"select count(*) from {pairs}")
        if not self._one("select count(*) from differing"):
            findings.note(_conflict_rule(self.table, ", ".join(self.table.key), in_file), checked=compared)
        for column in columns:
            self._note_column(column, differs(column, "new", "old"), compared, findings)
        self._run("drop table differing")

    def _note_column(self, column: Column, differs: str, compared: int, findings: Findings) -> None:
        found = f"from differing where {differs} order by _row"
        rows = self._table(f"select _row, _other {found}")
        if not rows.num_rows:
            return
        name = _name(column.stored)
        head = self._table(f"select new.{name} as new, old.{name} as old, _other {found} limit {EXAMPLES}")
        others = pc.unique(rows.column(1).drop_null())
        findings.note(
            _conflict_rule(self.table, column.name, in_file=len(others) > 0),
            checked=compared,
            failed=rows.num_rows,
            rows=np.concatenate([rows.column(0).to_numpy(), others.to_numpy()]),
            values=[_difference(column, *pair) for pair in _tuples(head)],
        )

    def note_unknown_card_types(
        self, known: Collection[str], findings: Findings, advice: Callable[[Sequence[str]], tuple[str, str]]
    ) -> None:
        """Note rows whose card type is not among ``known``; the examples list each unknown value once, and ``advice``
        says what may be meant by them."""
        self._connection.register("known", pa.table({"card_type": pa.array(list(known), pa.string())}))
        unknown = "from fresh anti join known using (card_type) where card_type is not null"
        kinds = self._table(f"select card_type, min(_row), count(*) {unknown} group by 1 order by 2")
        values = [f"{kind} ({count} rows)" for kind, _, count in _tuples(kinds)]
        firsts = [first for _, first, _ in _tuples(kinds)]
        rows = self._table(f"select _row {unknown} order by 1").column(0).to_numpy()
        findings.note(
            Rule(
                self.table.name,
                "card_type",
                "unknown_card_type",
                "卡种须在目录或 card_types 表中；或用 --add-card-types 登记",
                "in the catalogue or in card_types; or register it with --add-card-types",
                advice([kind for kind, _, _ in _tuples(kinds)]) if len(kinds) else ("", ""),
            ),
            checked=self._one("select count(*) from fresh"),
            failed=len(rows),
            rows=[*firsts, *rows.tolist()] if len(rows) else (),
            values=values,
        )
        self._connection.unregister("known")

    def card_types(self) -> list[str]:
        """The card types of the fresh rows, sorted."""
        query = "select distinct card_type from fresh where card_type is not null order by 1"
        return self._table(query).column(0).to_pylist()

    def changes(self) -> Changes:
        """Count what :meth:`write` will do."""
        new, old = self._columns("fresh"), self._columns("stored")
        names = [self.table.column(name).stored for name in self.table.updates]
        names += [name for name in self._extras.names if name.lower() in new]
        tests = [
            f"n.{_name(name)} is not null"
            + (f" and n.{_name(name)} is distinct from s.{_name(name)}" if name.lower() in old else "")
            for name in names
        ]
        changed = " or ".join(f"({test})" for test in tests) or "false"
        first = _name(self.table.key[0])
        query = (
            f"select count(*), count(s.{first}), "
            f"count(*) filter (where s.{first} is not null and ({changed})) "
            f"from fresh n left join stored s on {self._on('n', 's')}"
        )
        rows, matched, updated = self._tuple(query)
        return Changes(added=rows - matched, updated=updated, unchanged=matched - updated)

    def write(
        self,
        target: Path,
        *,
        on_rows: Callable[[int], None] = lambda count: None,
        whole: bool = False,
    ) -> None:
        """Write stored and fresh rows as one table, sorted, into ``target``; the same rows give the same
        bytes. A value that the fresh row lacks stays as it was stored, unless it said something about a value that
        the fresh row changes (``Table.belongs``) or, with ``whole``, the fresh row stands for all listed columns.
        ``on_rows`` is told the rows written.
        """
        schema = pa.unify_schemas([self.table.schema, self._extras])
        new, old = self._columns("fresh"), self._columns("stored")
        stale = {pair.column: self._changes_one_of(pair.to, old) for pair in self.table.belongs}
        if whole:
            told = f"n.{_name(self.table.key[0])} is not null"
            stale |= dict.fromkeys(self.table.schema.names, told)
        picks = [
            _pick(field, field.name.lower() in new, field.name.lower() in old, stale.get(field.name))
            for field in schema
        ]
        order = ", ".join(f"{name} nulls first" for name in _names(self.table.order))
        joined = f"fresh n full join stored s on {self._on('n', 's')}"
        query = f"select {', '.join(picks)} from {joined} order by {order}"
        reader = self._connection.sql(query).to_arrow_reader(FETCH_ROWS)
        with pq.ParquetWriter(target, schema, compression="zstd") as writer:
            for number, group in enumerate(_groups(reader, schema)):
                writer.write_table(group, row_group_size=ROW_GROUP_ROWS)
                on_rows(number * ROW_GROUP_ROWS + group.num_rows)

    def _changes_one_of(self, names: Sequence[str], stored: Collection[str]) -> str:
        """SQL that is true where the fresh row gives one of the columns another value than the stored one."""
        tests = [
            f"n.{_name(name)} is not null"
            + (f" and n.{_name(name)} is distinct from s.{_name(name)}" if name in stored else "")
            for name in names
        ]
        return " or ".join(f"({test})" for test in tests)

    def _on(self, left: str, right: str) -> str:
        return " and ".join(f"{left}.{name} = {right}.{name}" for name in _names(self.table.key))

    def _columns(self, relation: str) -> set[str]:
        """Names in lower case: SQL ignores case."""
        return {row[0].lower() for row in self._connection.execute(f"describe {relation}").fetchall()}

    def _run(self, query: str) -> None:
        self._connection.execute(query)

    def _table(self, query: str) -> pa.Table:
        return self._connection.sql(query).to_arrow_table()

    def _tuple(self, query: str) -> tuple[int, ...]:
        return self._connection.execute(query).fetchall()[0]

    def _one(self, query: str) -> int:
        return self._tuple(query)[0]


def _conflict_rule(table: Table, column: str, in_file: bool) -> Rule:
    key = ", ".join(table.key)
    zh, en = ("文件中另一行", "another row of the file") if in_file else ("已存储的行", "the stored row")
    zh, en = f"与{zh} {key} 相同时内容须一致", f"no other content than {en} with the same {key}"
    if not in_file:
        zh += "；换了映射文件后请用新的 --home"
        en += "; another mapping of the same rows needs a workspace of its own (--home)"
    return Rule(table.name, column, "conflicting_duplicate", zh, en)


def _difference(column: Column, new: Any, old: Any, other: int | None) -> str:
    if column.kind == "money":
        new, old = (None if fen is None else f"{fen / 100:.2f}" for fen in (new, old))
    return f"{new} ≠ {old}" + ("" if other is None else f" (row {other})")


def _pick(field: pa.Field, in_new: bool, in_old: bool, stale: str | None) -> str:
    """SQL for a column: the fresh value, else the stored one unless ``stale`` is true."""
    name = _name(field.name)
    sources = [f"{alias}.{name}" for alias, there in (("n", in_new), ("s", in_old)) if there]
    if pa.types.is_string(field.type):
        sources = [f"cast({source} as varchar)" for source in sources]
    value = f"coalesce({', '.join(sources)})"
    if stale is not None and in_new and in_old:
        value = f"case when {stale} then {sources[0]} else {value} end"
    return f"{value} as {name}"


def _extras(table: Table, incoming: Path, stored: Path | None) -> pa.Schema:
    """Columns behind the listed ones, by name as first stored (case is ignored); text where the stored and
    the incoming type differ."""
    listed = {*table.schema.names, "_row"}
    found: dict[str, pa.Field] = {}
    for path in filter(None, (stored, incoming)):
        for field in pq.read_schema(path):
            if field.name not in listed:
                old = found.setdefault(field.name.lower(), pa.field(field.name, field.type))
                if old.type != field.type:
                    found[field.name.lower()] = old.with_type(pa.string())
    return pa.schema([found[name] for name in sorted(found)])


def _groups(reader: pa.RecordBatchReader, schema: pa.Schema) -> Iterator[pa.Table]:
    """Row groups of a fixed size, so that the file does not depend on how the rows arrived."""
    held = schema.empty_table()
    for batch in reader:
        held = pa.concat_tables([held, pa.Table.from_batches([batch]).cast(schema)])
        while held.num_rows >= ROW_GROUP_ROWS:
            yield held.slice(0, ROW_GROUP_ROWS).combine_chunks()
            held = held.slice(ROW_GROUP_ROWS)
    if held.num_rows:
        yield held.combine_chunks()


def _tuples(table: pa.Table) -> list[tuple]:
    return list(zip(*(column.to_pylist() for column in table.columns), strict=True))


def _name(column: str) -> str:
    return '"' + column.replace('"', '""') + '"'


def _names(columns: Sequence[str]) -> list[str]:
    return [_name(column) for column in columns]


def _text(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"
