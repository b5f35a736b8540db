"""``huika keys``, ``huika token`` and ``huika audit``: who may ask the service, and who did what."""

from __future__ import annotations

import getpass
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serving.api.access.roles import KEY_PREFIX, PERSON_PREFIX, Role
from serving.commands.train import parse_time
from serving.options import DEFAULT_HOME, Home
from serving.refusals import Refusal

if TYPE_CHECKING:
    from pipelines.access_data import AccessData, AuditRow, StoredKey
    from pipelines.workspace import Workspace

MOST_MINUTES = 24 * 60
MOST_NAME = 64

Roles = Annotated[list[Role], typer.Option("--role", help="What it may do; may be given more than once.")]
Json = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]

keys = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="API keys of machines. A running service knows a change within seconds.",
)


@keys.command("add")
def add(
    name: Annotated[
        str,
        typer.Argument(help="Whose key it is: a site, an app, a partner. Keys of one name are one client."),
    ],
    role: Roles,
    home: Home = DEFAULT_HOME,
) -> None:
    """Make a key and print it, this once: only a hash of its secret is kept."""
    from pipelines.workspace import Workspace

    workspace, name = Workspace.open(home), _checked_key_name(name)
    others = [key.key_id for key in keys_in_use(workspace, name)]
    key = make_key(workspace, name=name, roles=role, now=datetime.now(UTC))
    if others:
        print(f"{name} has {', '.join(others)} too: one client, who owns the same with each", file=sys.stderr)
    print("keep it now, it is not shown again:", file=sys.stderr)
    print(key)


def make_key(workspace: Workspace, *, name: str, roles: Sequence[Role], now: datetime) -> str:
    """A new key of a workspace, as its owner gets it."""
    from serving.api.access.keys import new_key

    key, kept = new_key(name=name, roles=roles, now=now)
    _data(workspace).add_key(kept, audit=_change("key_added", kept, now))
    return key


@keys.command("list")
def list_keys(as_json: Json = False, home: Home = DEFAULT_HOME) -> None:
    """Show all keys ever made, never their secrets."""
    rows = [_shown(key) for key in _data_of(home).all_keys()]
    _show(rows, ("key_id", "name", "roles", "created_at", "revoked_at"), as_json=as_json)


@keys.command("revoke")
def revoke(
    which: Annotated[str, typer.Argument(help="A key's id, or the name of a client that has one key.")],
    every: Annotated[bool, typer.Option("--all", help="Every key of that name.")] = False,
    home: Home = DEFAULT_HOME,
) -> None:
    """End a key for ever. What its client owns stays the client's."""
    from pipelines.workspace import Workspace

    workspace = Workspace.open(home)
    found = [key.key_id for key in keys_in_use(workspace, which)]
    if not found:
        raise Refusal("no key in use has this id or name; see `huika keys list`")
    if len(found) > 1 and not every:
        raise Refusal(f"{which} has {len(found)} keys: name one of {', '.join(found)}, or give --all")
    ended = end_keys(workspace, which, now=datetime.now(UTC))
    print(f"revoked {', '.join(ended)}; a running service knows it within seconds")


def keys_in_use(workspace: Workspace, which: str) -> list[StoredKey]:
    """The keys of this id or name that open something, oldest first."""
    known = _data(workspace).all_keys()
    return [key for key in known if which in (key.key_id, key.name) and key.revoked_at is None]


def end_keys(workspace: Workspace, which: str, *, now: datetime) -> list[str]:
    """End the keys of this id or name that are in use; their ids."""
    found = keys_in_use(workspace, which)
    ids = [key.key_id for key in found]
    if ids:
        _data(workspace).revoke_keys(ids, at=now, audit=[_change("key_revoked", key, now) for key in found])
    return ids


def token(
    name: Annotated[str, typer.Argument(help="Whom the token is for.")],
    role: Roles,
    minutes: Annotated[int, typer.Option(help="How long it lasts.", min=1, max=MOST_MINUTES)] = 60,
    home: Home = DEFAULT_HOME,
) -> None:
    """Print a token of the workspace's own issuer, for development: people log in at an issuer of yours."""
    from pipelines.workspace import Workspace
    from serving.api.access.issuer import ISSUER_FOLDER, LocalIssuer

    workspace = Workspace.open(home)
    access = workspace.settings.access
    if access.issuer:
        raise Refusal("the settings name an issuer under [access]; tokens come from there")
    printed = LocalIssuer(workspace.home / ISSUER_FOLDER).token(
        subject=_checked_name(name),
        roles=role,
        audience=access.audience,
        lasts=timedelta(minutes=minutes),
        now=datetime.now(UTC),
    )
    print(f"valid for {minutes} minutes:", file=sys.stderr)
    print(printed)


def audit(
    since: Annotated[str, typer.Option("--since", metavar="TIME", help="Only from then on.")] = "",
    as_json: Json = False,
    home: Home = DEFAULT_HOME,
) -> None:
    """Show who did what: explanations shown, denials, keys made and revoked, tokens first seen."""
    rows = [
        {**row, "at": row["at"].isoformat(timespec="seconds")}
        for row in _data_of(home).audit(since=parse_time(since))
    ]
    columns = ("at", "client_id", "roles", "action", "route", "object_id", "outcome")
    _show([{name: str(row[name]) for name in columns} for row in rows], columns, as_json=as_json)


def _data(workspace: Workspace) -> AccessData:
    from pipelines.access_data import AccessData
    from pipelines.application_data import ApplicationData

    return AccessData.open(ApplicationData(workspace.application_url))


def _data_of(home: Path) -> AccessData:
    from pipelines.workspace import Workspace

    return _data(Workspace.open(home))


def _checked_name(name: str) -> str:
    name = name.strip()
    if not 0 < len(name) <= MOST_NAME or not name.isprintable():
        raise Refusal(f"a name has 1 to {MOST_NAME} printable characters")
    return name


def _checked_key_name(name: str) -> str:
    name = _checked_name(name)
    if name.startswith((KEY_PREFIX, PERSON_PREFIX)):
        raise Refusal(
            f"a name does not begin with {KEY_PREFIX} or {PERSON_PREFIX}: ids of keys and people do"
        )
    return name


def _change(action: str, key: StoredKey, now: datetime) -> AuditRow:
    """That somebody at this machine made or ended a key."""
    from pipelines.access_data import AuditRow

    return AuditRow(
        at=now,
        client_id=f"local:{getpass.getuser()}"[:64],
        roles=",".join(key.roles),
        action=action,
        object_id=key.key_id,
    )


def _shown(key: StoredKey) -> dict[str, str]:
    times = {"created_at": key.created_at, "revoked_at": key.revoked_at}
    return {
        "key_id": key.key_id,
        "name": key.name,
        "roles": ",".join(key.roles),
        **{name: "" if at is None else at.isoformat(timespec="seconds") for name, at in times.items()},
    }


def _show(rows: Sequence[dict[str, str]], columns: Sequence[str], *, as_json: bool) -> None:
    if as_json:
        return print(json.dumps(list(rows), ensure_ascii=False, indent=1))
    from rich.table import Table
    from rich.text import Text

    from serving.output import console

    table = Table(box=None, padding=(0, 1))
    for name in columns:
        table.add_column(name.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*(Text(row[name]) for name in columns))
    console().print(table)
    return None
