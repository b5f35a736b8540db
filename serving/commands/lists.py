"""``huika lists``: who and what is blocked, watched or allowed, and every change ever made to that."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

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
Author = Annotated[str, typer.Option("--author", help="Who says so.")]
Why = Annotated[str, typer.Option("--why", help="For what reason; kept with the entry.")]
Until = Annotated[str, typer.Option("--until", metavar="TIME", help="When it stops; never, unless given.")]
Json = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]

FILE_COLUMNS = ("list", "kind", "value", "until", "author", "why")

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
    home: Home = DEFAULT_HOME,
) -> None:
    """Put something on a list. Doing it again changes until when."""
    _write([_row(on_list, kind, value, author, why, until)], home=home, change="added")


@lists.command("remove")
def remove(
    kind: Kind, value: Value, on_list: OnList, author: Author, why: Why, home: Home = DEFAULT_HOME
) -> None:
    """Take something off a list; what was listed until now stays known."""
    _write([_row(on_list, kind, value, author, why, "")], home=home, change="removed")


@lists.command("import")
def import_file(
    source: Annotated[
        Path, typer.Argument(help=f"CSV with columns {', '.join(FILE_COLUMNS)}.", exists=True, dir_okay=False)
    ],
    author: Annotated[str, typer.Option("--author", help="Where the file names none.")] = "",
    why: Annotated[str, typer.Option("--why", help="Where the file names none.")] = "",
    until: Annotated[str, typer.Option("--until", metavar="TIME", help="Where the file names none.")] = "",
    home: Home = DEFAULT_HOME,
) -> None:
    """Add every row of a file, or none where one cannot be taken."""
    with source.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        unknown = sorted(set(reader.fieldnames or ()) - set(FILE_COLUMNS))
        absent = [name for name in FILE_COLUMNS[:3] if name not in (reader.fieldnames or ())]
        if unknown or absent:
            wrong = [f"no column {name}" for name in absent] + [f"unknown column {name}" for name in unknown]
            raise Refusal(f"{source}: {', '.join(wrong)}; the columns are {', '.join(FILE_COLUMNS)}")
        defaults = {"author": author, "why": why, "until": until}
        rows = [
            {name: (row.get(name) or "").strip() or defaults.get(name, "") for name in FILE_COLUMNS}
            for row in reader
        ]
    _write(rows, home=home, change="added", source=source)


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
    search: Annotated[
        str, typer.Argument(help="Only entries whose kind, value, author or why has this.")
    ] = "",
    on_list: Annotated[Name | None, typer.Option("--list", help="Only this list.")] = None,
    history: Annotated[
        bool, typer.Option("--history", help="Every change, not only what holds now.")
    ] = False,
    as_json: Json = False,
    home: Home = DEFAULT_HOME,
) -> None:
    """Show what is on the lists now, or every change that was made."""
    data = _data(home)
    found = data.after(0) if history else data.active(now=datetime.now(UTC))
    rows = [_plain(row) for row in found if on_list is None or row["list"] == on_list.value]
    rows = [row for row in rows if search in " ".join((row["kind"], row["value"], row["author"], row["why"]))]
    if as_json:
        return print(json.dumps(rows, ensure_ascii=False, indent=1))
    from rich.table import Table
    from rich.text import Text

    from serving.output import console

    table = Table(box=None, padding=(0, 1))
    headings = {"change": "变动 change"} if history else {}
    headings |= {"list": "名单 list", "kind": "类型 kind", "value": "值 value", "at": "时间 at"}
    headings |= {"until": "到期 until", "author": "操作人 author", "why": "原因 why"}
    for heading in headings.values():
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*(Text(row[name]) for name in headings))
    console().print(table)
    print(f"{len(rows):,} {'changes' if history else 'entries'}")
    return None


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
    times = {"at": row["at"], "until": row["expires_at"]}
    shown = {name: "" if time is None else time.isoformat(timespec="seconds") for name, time in times.items()}
    return {name: row[name] for name in ("change", "list", "kind", "value", "author", "why")} | shown


def _write(rows: list[dict[str, str]], *, home: Path, change: str, source: Path | None = None) -> None:
    """Check and write rows of FILE_COLUMNS. Raises Refusal naming every row that cannot be taken."""
    from features.catalogue import workspace_catalogue
    from pipelines.screening.list_data import ListError, checked
    from pipelines.workspace import Workspace

    data = _data(home)
    catalogue = workspace_catalogue(Workspace.open(home).tables)
    now = datetime.now(UTC)
    entries: list[Entry] = []
    problems: list[str] = []
    for number, row in enumerate(rows, start=2):
        try:
            entries.append(checked(_entry(row, change), catalogue=catalogue, now=now))
        except (ListError, Refusal) as error:
            problems.append(f"line {number}: {error}" if source else str(error))
    if problems:
        raise Refusal("\n  ".join([f"{source}: nothing was added", *problems]) if source else problems[0])
    written = data.write(entries, now=now)
    same = len(entries) - written
    unchanged = f", {same:,} changed nothing" if same else ""
    print(f"{written:,} {change}{unchanged}; a running service knows it within seconds")


def _entry(row: Mapping[str, str], change: str) -> Entry:
    from pipelines.screening.list_data import Entry

    parts = {name: row[name] for name in ("list", "kind", "value", "author", "why")}
    return Entry(**parts, expires_at=parse_time(row["until"]), change=change)
