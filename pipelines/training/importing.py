"""`huika import`: users' files become checked, stored tables, all of them or none.

Every file is read in chunks, cast and checked into a work folder; then its keys are joined with the stored
table. Only when all files pass, or their bad rows are set aside, are the new tables published.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from features.catalogue import Catalogue, workspace_catalogue
from features.table_store import TableStore
from features.tables import CARD_TYPES, TABLES
from pipelines.training.card_type_advice import card_type_advice
from pipelines.training.import_problems import ImportRefused, Rule
from pipelines.training.import_reading import Draft, Progress, read_file
from pipelines.training.mapping import ImportMapping
from pipelines.training.merging import Changes, Join
from pipelines.training.quarantine import set_aside
from pipelines.training.validation_report import Section, report_stem, write_report
from pipelines.training.work_folder import work_folder

ORDER = ("card_types", "market", "trades")
"""Card types first: whatever is published then names only card types that are there, even after a crash."""


@dataclass(frozen=True)
class TableResult:
    """What an import did to one table. ``rows`` = added + updated + unchanged + repeated + quarantined.

    ``repeated`` rows say again what an earlier row of the file said; ``quarantine`` is the file of the rows
    set aside, None where there are none. label_days: how long after their trade labels that have no moment are taken
    as known; None: they have one. reasons: broken rules of the rows set aside, each with how many, most rows first.
    """

    name: str
    rows: int
    added: int
    updated: int
    unchanged: int
    repeated: int
    quarantined: int
    quarantine: Path | None
    label_days: int | None = None
    reasons: tuple[tuple[Rule, int], ...] = ()


@dataclass(frozen=True)
class ImportResult:
    """One result per imported table, the card types registered on the way, and the page that shows it all."""

    tables: tuple[TableResult, ...]
    new_card_types: tuple[str, ...]
    report: Path


@dataclass(frozen=True)
class Request:
    """What one import was asked to do; see :func:`import_tables`."""

    store: TableStore
    mapping: ImportMapping
    catalogue_types: Mapping[str, str]
    add_card_types: bool
    quarantine: bool
    report_dir: Path
    now: datetime
    progress: Progress

    @property
    def stem(self) -> str:
        """Report and quarantine files start like this."""
        return report_stem(self.now)


def import_tables(
    *,
    store: TableStore,
    sources: Mapping[str, Path],
    mapping: ImportMapping | None = None,
    catalogue_types: Mapping[str, str],
    add_card_types: bool = False,
    quarantine: bool = False,
    report_dir: Path,
    now: datetime,
    progress: Progress = lambda stage, share: None,
) -> ImportResult:
    """Check the files of ``sources`` (table name -> Parquet or CSV) and merge them into ``store``.

    ``catalogue_types`` maps known card types to their category; unknown ones are refused, or registered with
    ``add_card_types``. ``now`` (with a zone) bounds all moments. With ``quarantine`` rows that break a rule
    are written beside the report and the others imported. Raises ImportRefused with every problem found
    (nothing is imported then) and ImportLocked.
    """
    request = Request(
        store=store,
        mapping=mapping or {},
        catalogue_types=catalogue_types,
        add_card_types=add_card_types,
        quarantine=quarantine,
        report_dir=report_dir,
        now=now,
        progress=progress,
    )
    with work_folder(store.root) as work:
        drafts = [
            Draft(TABLES[name], sources[name], work / f"{name}.parquet")
            for name in sorted(sources, key=ORDER.index)
        ]
        for draft in drafts:
            read_file(
                draft,
                mapping=request.mapping.get(draft.table.name, {}),
                now=now,
                all_rows=quarantine,
                progress=progress,
            )
        return _join_and_publish(drafts, request, work)


class Joined(NamedTuple):
    """A file joined with its stored table: its card types and, where it may be imported, the merged table."""

    card_types: frozenset[str]
    changes: Changes | None
    merged: Path | None


def _join_and_publish(drafts: list[Draft], request: Request, work: Path) -> ImportResult:
    """Join each file with its stored table, report, and publish all tables or none."""
    known = set(request.catalogue_types) | set(_stored_card_types(request.store))
    joined: dict[str, Joined] = {}
    for draft in drafts:
        if draft.refusal is None:
            joined[draft.table.name] = part = _join(draft, request, work, known)
            known |= part.card_types if draft.table is CARD_TYPES else set()
    if any(draft.refusal or (draft.broken and not request.quarantine) for draft in drafts):
        raise _refusal(drafts, request)
    merged = {name: part.merged for name, part in joined.items() if part.merged}
    new_types = tuple(sorted(set().union(*(part.card_types for part in joined.values())) - known))
    if new_types:
        merged[CARD_TYPES.name] = _register(new_types, merged.get(CARD_TYPES.name), request, work)
    tables = tuple(_table_result(draft, joined[draft.table.name].changes, request) for draft in drafts)
    report = _report(drafts, request, tables)
    for name in filter(merged.__contains__, ORDER):
        request.store.publish(name, merged[name].rename(request.store.staging(name)))
    return ImportResult(tables=tables, new_card_types=new_types, report=report)


def _join(draft: Draft, request: Request, work: Path, known: set[str]) -> Joined:
    stored = request.store.path(draft.table.name)
    with Join(draft.table, incoming=draft.cast, stored=stored, work=work) as join:
        if draft.label_days is not None:
            join.keep_label_moments()
        _check_keys(join, draft, request, known)
        card_types = frozenset(join.card_types())
        if draft.broken and not request.quarantine:
            return Joined(card_types, None, None)
        changes, merged = join.changes(), work / f"{draft.table.name}-merged.parquet"
        _write(join, merged, changes, request)
        return Joined(card_types, changes, merged)


def _write(join: Join, target: Path, changes: Changes, request: Request) -> None:
    name = join.table.name
    total = max(changes.added + request.store.rows(name), 1)
    join.write(target, on_rows=lambda count: request.progress(f"{name}: write 写入", count / total))


def _check_keys(join: Join, draft: Draft, request: Request, known: set[str]) -> None:
    """Note repeated keys, conflicts and unknown card types; afterwards ``join`` holds the rows to import."""
    request.progress(f"{draft.table.name}: keys 查重", 0.0)
    if request.quarantine:
        join.drop(draft.findings.bad_rows())
    join.drop_repeats(draft.findings)
    join.note_conflicts(draft.findings)
    if draft.table is not CARD_TYPES and not request.add_card_types:
        join.note_unknown_card_types(known, draft.findings, partial(_card_type_advice, draft, request, known))
    if request.quarantine:
        join.drop(draft.findings.bad_rows())
    request.progress(f"{draft.table.name}: keys 查重", 1.0)


def _card_type_advice(
    draft: Draft, request: Request, known: set[str], kinds: Sequence[str]
) -> tuple[str, str]:
    rows = [row for row in workspace_catalogue(request.store) if row.card_type in known]
    rule = request.mapping.get(draft.table.name, {}).get("card_type")
    column = "card_type" if rule is None or rule.column is None else rule.column
    return card_type_advice(kinds, catalogue=Catalogue.of(rows, {}), column=column)


def _stored_card_types(store: TableStore) -> list[str]:
    return store.read(CARD_TYPES.name, ["card_type"]).column(0).to_pylist()


def _register(card_types: tuple[str, ...], staged: Path | None, request: Request, work: Path) -> Path:
    """Stage the card types table with these added under category ``other``, named by their slug."""
    rows = [
        {
            "card_type": slug,
            "name_zh": slug,
            "name_en": slug,
            "issuer": "unknown",
            "category": "other",
            "min_rate": 0.0,
            "max_rate": 1.0,
            "_row": number,
        }
        for number, slug in enumerate(card_types, start=1)
    ]
    schema = CARD_TYPES.schema.append(pa.field("_row", pa.int64()))
    incoming, target = work / "registered.parquet", work / "registered-merged.parquet"
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), incoming)
    stored = staged or request.store.path(CARD_TYPES.name)
    with Join(CARD_TYPES, incoming=incoming, stored=stored, work=work) as join:
        join.write(target)
    return target


def _table_result(draft: Draft, changes: Changes | None, request: Request) -> TableResult:
    assert changes is not None, "a refused file has no result"
    bad = draft.findings.bad_rows() if request.quarantine else ()
    written = None
    if len(bad) and draft.source is not None:
        request.progress(f"{draft.table.name}: set bad rows aside 隔离", 0.0)
        target = request.report_dir / f"{request.stem}-{draft.table.name}-quarantine{draft.source.suffix}"
        written = set_aside(draft.source, draft.findings, target)
        request.progress(f"{draft.table.name}: set bad rows aside 隔离", 1.0)
    kept = changes.added + changes.updated + changes.unchanged
    return TableResult(
        name=draft.table.name,
        rows=draft.rows,
        added=changes.added,
        updated=changes.updated,
        unchanged=changes.unchanged,
        repeated=draft.rows - len(bad) - kept,
        quarantined=len(bad),
        quarantine=written,
        label_days=draft.label_days,
        reasons=tuple(draft.findings.rows_of_rules()) if len(bad) else (),
    )


def _refusal(drafts: list[Draft], request: Request) -> ImportRefused:
    report = _report(drafts, request, ())
    problems = [result for draft in drafts for result in draft.results() if result.failed]
    return ImportRefused(problems, report)


def _report(drafts: list[Draft], request: Request, tables: tuple[TableResult, ...]) -> Path:
    figures = {table.name: table for table in tables}
    sections = [
        Section(
            table=draft.table.name,
            file=draft.path.name,
            rows=draft.rows,
            figures=_figures(figures.get(draft.table.name)),
            results=tuple(draft.results()),
            raw=tuple(draft.raw),
        )
        for draft in drafts
    ]
    return write_report(sections, imported=bool(tables), folder=request.report_dir, now=request.now)


def _figures(table: TableResult | None) -> dict[str, int]:
    names = ("added", "updated", "unchanged", "repeated", "quarantined")
    return {} if table is None else {name: getattr(table, name) for name in names}
