"""``huika lists``: who and what is blocked, watched or allowed, and every change ever made to that."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serving.commands.rules import Since, TradesUntil, told_test
from serving.commands.train import parse_time
from serving.options import DEFAULT_HOME, Home
from serving.refusals import Refusal

if TYPE_CHECKING:
    from pipelines.screening.list_data import Entry, ListData


class Name(StrEnum):
    """The lists."""

    block = "block"
    watch = "watch"
    allow = "allow"


Kind = Annotated[
    str, typer.Argument(help="seller, device, ip, payout_account, card_prefix or card_fingerprint.")
]
Value = Annotated[str, typer.Argument(help="The id as it stands in the trades; never a card number.")]
OnList = Annotated[Name, typer.Option("--list", help="block: refused. watch: reviewed. allow: eased.")]
Search = Annotated[str, typer.Argument(help="Only entries whose kind, value, author or why has this.")]
OnlyList = Annotated[Name | None, typer.Option("--list", help="Only this list.")]
Author = Annotated[str, typer.Option("--author", help="Who says so.")]
Why = Annotated[str, typer.Option("--why", help="For what reason; kept with the entry.")]
Until = Annotated[str, typer.Option("--until", metavar="TIME", help="When it stops; never, unless given.")]
Json = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]

Shadow = Annotated[
    bool, typer.Option("--shadow", help="Record what it hits, for analysts, and change nothing.")
]
FILE_COLUMNS = ("list", "kind", "value", "until", "author", "why", "mode")
MODES = {"": "added", "live": "added", "shadow": "shadow"}
"""What a file says in ``mode`` -> the change that is written."""

lists = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Block, watch and allow lists. A running service knows a change within seconds; nothing is ever erased.",
)


@lists.command("add")
def add(
    kind: Kind,
    value: Value,
    on_list: OnList,
    author: Author,
    why: Why,
    until: Until = "",
    shadow: Shadow = False,
    home: Home = DEFAULT_HOME,
) -> None:
    """Put something on a list. Doing it again changes until when, and whether it counts or is in shadow."""
    row = _row(on_list, kind, value, author, why, until) | {"mode": "shadow" if shadow else "live"}
    _write([row], home=home)


@lists.command("remove")
def remove(
    kind: Kind, value: Value, on_list: OnList, author: Author, why: Why, home: Home = DEFAULT_HOME
) -> None:
    """Take something off a list; what was listed until now stays known."""
    _write([_row(on_list, kind, value, author, why, "")], home=home, removed=True)


@lists.command("import")
def import_file(
    source: Annotated[
        Path, typer.Argument(help=f"CSV with columns {', '.join(FILE_COLUMNS)}.", exists=True, dir_okay=False)
    ],
    author: Annotated[str, typer.Option("--author", help="Where the file names none.")] = "",
    why: Annotated[str, typer.Option("--why", help="Where the file names none.")] = "",
    until: Annotated[str, typer.Option("--until", metavar="TIME", help="Where the file names none.")] = "",
    shadow: Shadow = False,
    home: Home = DEFAULT_HOME,
) -> None:
    """Add every row of a file, or none where one cannot be taken."""
    defaults = {"author": author, "why": why, "until": until, "mode": "shadow" if shadow else "live"}
    _write(_file_rows(source, defaults), home=home, source=source)


def _file_rows(source: Path, defaults: Mapping[str, str]) -> list[dict[str, str]]:
    """The rows of a file. defaults: what stands where a row says nothing. Raises Refusal for other columns."""
    with source.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        unknown = sorted(set(reader.fieldnames or ()) - set(FILE_COLUMNS))
        absent = [name for name in FILE_COLUMNS[:3] if name not in (reader.fieldnames or ())]
        if unknown or absent:
            wrong = [f"no column {name}" for name in absent] + [f"unknown column {name}" for name in unknown]
            raise Refusal(f"{source}: {', '.join(wrong)}; the columns are {', '.join(FILE_COLUMNS)}")
        return [
            {name: (row.get(name) or "").strip() or defaults.get(name, "") for name in FILE_COLUMNS}
            for row in reader
        ]


@lists.command("export")
def export(
    target: Annotated[Path, typer.Argument(help="CSV that `huika lists import` reads.")],
    home: Home = DEFAULT_HOME,
) -> None:
    """Write what is on the lists now."""
    rows = _data(home).active(now=datetime.now(UTC))
    with target.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(FILE_COLUMNS)
        for row in rows:
            writer.writerow(_plain(row)[name] for name in FILE_COLUMNS)
    print(f"{len(rows):,} entries in {target}")


@lists.command("show")
def show(
    search: Search = "",
    on_list: OnlyList = None,
    history: Annotated[
        bool, typer.Option("--history", help="Every change, not only what holds now.")
    ] = False,
    as_json: Json = False,
    home: Home = DEFAULT_HOME,
) -> None:
    """Show what is on the lists now, or every change that was made."""
    data = _data(home)
    found = data.after(0) if history else data.active(now=datetime.now(UTC))
    rows = [_plain(row) for row in _chosen(found, search, on_list)]
    if as_json:
        return print(json.dumps(rows, ensure_ascii=False, indent=1))
    from rich.table import Table
    from rich.text import Text

    from serving.output import console

    table = Table(box=None, padding=(0, 1))
    headings = {"change": "变动 change"} if history else {"mode": "模式 mode"}
    headings |= {"list": "名单 list", "kind": "类型 kind", "value": "值 value", "at": "时间 at"}
    headings |= {"until": "到期 until", "author": "操作人 author", "why": "原因 why"}
    for heading in headings.values():
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*(Text(row[name]) for name in headings))
    console().print(table)
    print(f"{len(rows):,} {'changes' if history else 'entries'}")
    return None


@lists.command("test")
def try_on_history(
    search: Search = "",
    on_list: OnlyList = None,
    file: Annotated[
        Path | None,
        typer.Option("--file", help="Entries of this CSV instead, none of which is added.", dir_okay=False),
    ] = None,
    since: Since = "",
    until: TradesUntil = "",
    as_json: Json = False,
    home: Home = DEFAULT_HOME,
) -> None:
    """Try what is listed now, live and in shadow, on stored trades: what each list hits, how much of that is fraud,
    what the model would have stopped anyway, and what it saves or costs."""
    from dataclasses import asdict

    from pipelines.screening.lists_tried import lists_tried

    now = datetime.now(UTC)
    if file is None:
        rows = _data(home).active(now=now)
    else:
        defaults = {"author": "test", "why": "test"}
        entries = _checked(_file_rows(file, defaults), home=home, now=now, source=file)
        rows = [asdict(entry) | {"at": now, "change": "off"} for entry in entries]
    told_test(
        lists_tried(_chosen(rows, search, on_list)), home=home, since=since, until=until, as_json=as_json
    )


def _chosen(rows: Sequence[Mapping[str, Any]], search: str, on_list: Name | None) -> list[Mapping[str, Any]]:
    texts = ("kind", "value", "author", "why")
    return [
        row
        for row in rows
        if on_list in (None, row["list"]) and search in " ".join(row[name] for name in texts)
    ]


def _data(home: Path) -> ListData:
    from pipelines.application_data import ApplicationData
    from pipelines.screening.list_data import ListData
    from pipelines.workspace import Workspace

    return ListData.open(ApplicationData(Workspace.open(home).application_url))


def _row(on_list: Name, kind: str, value: str, author: str, why: str, until: str) -> dict[str, str]:
    row = {"list": on_list.value, "kind": kind, "value": value}
    return row | {"author": author, "why": why, "until": until}


def _plain(row: Mapping[str, Any]) -> dict[str, str]:
    """A stored change as texts, times in UTC."""
    from pipelines.screening.lists_tried import MODES as SAID

    times = {"at": row["at"], "until": row["expires_at"]}
    shown = {name: "" if time is None else time.isoformat(timespec="seconds") for name, time in times.items()}
    said = {name: row[name] for name in ("change", "list", "kind", "value", "author", "why")}
    return said | shown | {"mode": SAID.get(row["change"], "")}


def _write(
    rows: list[dict[str, str]], *, home: Path, removed: bool = False, source: Path | None = None
) -> None:
    """Check and write rows of FILE_COLUMNS. Raises Refusal naming every row that cannot be taken."""
    now = datetime.now(UTC)
    entries = _checked(rows, home=home, now=now, source=source, removed=removed)
    written = _data(home).write(entries, now=now)
    same = len(entries) - written
    unchanged = f", {same:,} changed nothing" if same else ""
    print(
        f"{written:,} {'removed' if removed else 'added'}{unchanged}; a running service knows it within seconds"
    )


def _checked(
    rows: list[dict[str, str]], *, home: Path, now: datetime, source: Path | None, removed: bool = False
) -> list[Entry]:
    """The rows as entries. Raises Refusal naming every row that cannot be taken."""
    from features.catalogue import workspace_catalogue
    from pipelines.screening.list_data import ListError, checked
    from pipelines.workspace import Workspace

    catalogue = workspace_catalogue(Workspace.open(home).tables)
    entries: list[Entry] = []
    problems: list[str] = []
    for number, row in enumerate(rows, start=2):
        try:
            entries.append(checked(_entry(row, removed=removed), catalogue=catalogue, now=now))
        except (ListError, Refusal) as error:
            problems.append(f"line {number}: {error}" if source else str(error))
    if problems:
        raise Refusal("\n  ".join([f"{source}: nothing was added", *problems]) if source else problems[0])
    return entries


def _entry(row: Mapping[str, str], *, removed: bool) -> Entry:
    from pipelines.screening.list_data import Entry

    mode = row.get("mode", "")
    if mode not in MODES:
        raise Refusal(f"mode: there is no {mode!r}; there are live and shadow")
    parts = {name: row[name] for name in ("list", "kind", "value", "author", "why")}
    change = "removed" if removed else MODES[mode]
    return Entry(**parts, expires_at=parse_time(row["until"]), change=change)
