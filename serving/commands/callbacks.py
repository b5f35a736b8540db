"""``huika callbacks``: where partners are told that their trades moved, what waits, what is dead, sending again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serving.options import DEFAULT_HOME, Home
from serving.refusals import Refusal

if TYPE_CHECKING:
    import sqlalchemy as sa

ClientId = Annotated[
    str, typer.Argument(metavar="NAME", help="Whose: the name of keys in `huika keys list`.")
]

callbacks = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Signed callbacks to partners; `huika recycling run` sends them.",
)


@callbacks.command("set")
def set_command(
    client_id: ClientId,
    url: Annotated[str, typer.Argument(help="https://… with a public address, or this machine.")],
    home: Home = DEFAULT_HOME,
) -> None:
    """Tell a client at this address when its trades move, from now on."""
    import asyncio

    from pipelines.recycling.callback_address import AddressRefused, checked
    from pipelines.recycling.callback_outbox import set_address

    _check_is_client(home, client_id)
    try:
        asyncio.run(checked(url))
    except AddressRefused as refusal:
        raise Refusal(f"{refusal} ({refusal.code})") from None
    with _books(home) as connection:
        set_address(connection, client_id, url, now=datetime.now(UTC))
    print(f"{client_id} is told at {url}")


@callbacks.command("remove")
def remove(client_id: ClientId, home: Home = DEFAULT_HOME) -> None:
    """Tell a client nothing any more; what waits for it will be dead."""
    from pipelines.recycling.callback_outbox import remove_address

    with _books(home) as connection:
        known = remove_address(connection, client_id)
    if not known:
        raise Refusal(f"{client_id} has no callback address")
    print(f"{client_id} is told nothing any more")


@callbacks.command("list")
def list_command(
    state: Annotated[str, typer.Option(help="waiting, sent or dead only.")] = "",
    client: Annotated[str, typer.Option(help="Of this client only.")] = "",
    home: Home = DEFAULT_HOME,
) -> None:
    """The addresses, and the newest 200 callbacks."""
    from typing import get_args

    from rich.table import Table

    from pipelines.recycling.callback_outbox import CallbackState, all_addresses, kept
    from serving.output import console

    if state and state not in get_args(CallbackState):
        raise Refusal(f"there is no state {state}; there are {', '.join(get_args(CallbackState))}")
    with _books(home) as connection:
        known = all_addresses(connection)
        rows = kept(connection, state=state, client_id=client)
    table = Table("client", "address", "since")
    for row in known:
        table.add_row(row["client_id"], row["url"], f"{row['set_at']:%F %T}")
    console().print(table)
    _print(rows)


@callbacks.command("dead")
def dead(home: Home = DEFAULT_HOME) -> None:
    """Callbacks that nobody heard; `huika callbacks replay` sends them again. Exit code 1 while there are any."""
    from pipelines.recycling.callback_outbox import kept

    with _books(home) as connection:
        rows = kept(connection, state="dead")
    _print(rows)
    if rows:
        raise typer.Exit(1)


@callbacks.command("replay")
def replay_command(
    callback_id: Annotated[str, typer.Argument(help="A callback's id.")] = "",
    every: Annotated[bool, typer.Option("--dead", help="All dead ones.")] = False,
    home: Home = DEFAULT_HOME,
) -> None:
    """Send a callback again, under the same id, or all that are dead."""
    from pipelines.recycling.callback_outbox import NotDead, UnknownCallback, replay, replay_dead

    if bool(callback_id) == every:
        raise Refusal("name a callback, or all dead ones with --dead")
    with _books(home) as connection:
        now = datetime.now(UTC)
        try:
            count = (
                replay_dead(connection, now=now) if every else len([replay(connection, callback_id, now=now)])
            )
        except UnknownCallback:
            raise Refusal(f"there is no callback {callback_id}") from None
        except NotDead as error:
            raise Refusal(str(error)) from None
    print(f"{count} callbacks will be sent again")


def _print(rows: Sequence[Mapping[str, Any]]) -> None:
    from rich.table import Table

    from serving.output import console

    table = Table("callback", "client", "state", "trade is", "attempts", "problem", "next or sent")
    for row in rows:
        moment = row["sent_at"] if row["state"] == "sent" else row["due_at"]
        shown = "" if row["state"] == "dead" else f"{moment:%F %T}"
        trade = row["body"]["state"]
        table.add_row(
            row["callback_id"],
            row["client_id"],
            row["state"],
            trade,
            str(row["attempts"]),
            row["problem"],
            shown,
        )
    console().print(table)


def _check_is_client(home: Path, name: str) -> None:
    """Raises Refusal where no key in use has this name: nobody's trades would be told."""
    from pipelines.workspace import Workspace
    from serving.commands.access import keys_in_use

    _check_there(home)
    found = keys_in_use(Workspace.open(home), name)
    if not found:
        raise Refusal(f"no key in use has the name {name}; see `huika keys list`")
    if found[0].name != name:
        raise Refusal(f"{name} is one key of {found[0].name}: callbacks are told to a client, by that name")


def _check_there(home: Path) -> None:
    if not home.exists():
        raise Refusal(f"no workspace at {home}")


@contextmanager
def _books(home: Path) -> Iterator[sa.Connection]:
    """A transaction on the workspace's application database."""
    import pipelines.recycling.callback_tables  # noqa: F401 - so that its tables are made
    from pipelines.application_data import ApplicationData
    from pipelines.workspace import Workspace

    _check_there(home)
    with ApplicationData(Workspace.open(home).application_url).transaction() as connection:
        yield connection
