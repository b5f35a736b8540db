"""The outbox of callbacks: filled in the transaction that moves a trade, so that nothing is told before it is true.

At least once, in the order of a trade's moves: a callback waits for the earlier ones of its trade, until those were
heard or given up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

import sqlalchemy as sa

from pipelines.recycling.callback_tables import addresses, outbox
from pipelines.recycling.dispute_tables import awarded_fen

RETRY_SECONDS = (5, 30, 120, 600, 3_600, 21_600, 86_400)
"""How long a callback rests after its first, second, … attempt that was not heard; then it is dead."""

MOST_ATTEMPTS = len(RETRY_SECONDS) + 1

CallbackState = Literal["waiting", "sent", "dead"]
Row = Mapping[str, Any]


_ADDRESS = sa.select(addresses.c.url).where(addresses.c.client_id == sa.bindparam("client_id"))


class UnknownCallback(LookupError):
    """There is no callback of this id."""


class NotDead(ValueError):
    """The callback waits to be sent already."""


def note_move(connection: sa.Connection, trade: Row, *, now: datetime) -> None:
    """Put a trade's new state into the outbox, if its client wants to hear of it. Call it in the move's transaction."""
    if address_of(connection, trade["client_id"]) is None:
        return
    callback_id = f"{trade['submission_id']}-{trade['version']}"
    body = {
        "id": callback_id,
        "submission_id": trade["submission_id"],
        "version": trade["version"],
        "state": trade["state"],
        "quote_id": trade["quote_id"],
        "payout_fen": trade["payout_fen"],
        "awarded_fen": awarded_fen(connection, trade),
        "at": now.isoformat(),
    }
    connection.execute(
        sa.insert(outbox).values(
            callback_id=callback_id,
            client_id=trade["client_id"],
            submission_id=trade["submission_id"],
            body=body,
            state="waiting",
            attempts=0,
            due_at=now,
            problem="",
            created_at=now,
        )
    )


# --- addresses


def address_of(connection: sa.Connection, client_id: str) -> str | None:
    """Where a client wants to be told, None where it does not."""
    return connection.execute(_ADDRESS, {"client_id": client_id}).scalar_one_or_none()


def set_address(connection: sa.Connection, client_id: str, url: str, *, now: datetime) -> None:
    """Tell a client there from now on; check the address first
    (:func:`pipelines.recycling.callback_address.checked`)."""
    remove_address(connection, client_id)
    connection.execute(sa.insert(addresses).values(client_id=client_id, url=url, set_at=now))


def remove_address(connection: sa.Connection, client_id: str) -> bool:
    """Tell a client nothing any more; whether it was told before. What waits for it will be dead."""
    return connection.execute(sa.delete(addresses).where(addresses.c.client_id == client_id)).rowcount > 0


def all_addresses(connection: sa.Connection) -> list[Row]:
    """Every client that is told, by its id."""
    return [
        dict(row)
        for row in connection.execute(sa.select(addresses).order_by(addresses.c.client_id)).mappings()
    ]


# --- sending


def clients_due(connection: sa.Connection, *, now: datetime) -> list[str]:
    """Clients with something to be sent now."""
    chosen = sa.select(outbox.c.client_id).where(outbox.c.state == "waiting", outbox.c.due_at <= now)
    return list(connection.execute(chosen.distinct()).scalars())


def due_of(connection: sa.Connection, client_id: str, *, now: datetime, limit: int) -> list[Row]:
    """What a client is to be told now, oldest first: of each trade the first that waits."""
    earlier = outbox.alias("earlier")
    blocked = sa.exists().where(
        earlier.c.submission_id == outbox.c.submission_id,
        earlier.c.state == "waiting",
        earlier.c.seq < outbox.c.seq,
    )
    chosen = sa.select(outbox).where(
        outbox.c.client_id == client_id, outbox.c.state == "waiting", outbox.c.due_at <= now, ~blocked
    )
    rows = connection.execute(chosen.order_by(outbox.c.due_at, outbox.c.seq).limit(limit)).mappings()
    return [dict(row) for row in rows]


def claim(connection: sa.Connection, row: Row, *, now: datetime) -> bool:
    """Count an attempt before it is made; whether it is ours to make. If we die in it, the schedule makes the next."""
    rest = RETRY_SECONDS[min(row["attempts"], len(RETRY_SECONDS) - 1)]
    done = connection.execute(
        sa.update(outbox)
        .where(
            outbox.c.seq == row["seq"],
            outbox.c.attempts == row["attempts"],
            outbox.c.state == "waiting",
        )
        .values(attempts=row["attempts"] + 1, due_at=now + timedelta(seconds=rest))
    )
    return done.rowcount == 1


def conclude(
    connection: sa.Connection, row: Row, *, problem: str, now: datetime, final: bool = False
) -> CallbackState:
    """Note what came of a claimed attempt. problem: empty where it was heard; final: no attempt will be heard."""
    attempts = row["attempts"] + 1
    state: CallbackState = (
        "sent" if not problem else "dead" if final or attempts >= MOST_ATTEMPTS else "waiting"
    )
    heard = {"sent_at": now} if state == "sent" else {}
    connection.execute(
        sa.update(outbox)
        .where(outbox.c.seq == row["seq"], outbox.c.attempts == attempts)
        .values(state=state, problem=problem, **heard)
    )
    return state


# --- looking, and sending again


def kept(connection: sa.Connection, *, state: str = "", client_id: str = "", limit: int = 200) -> list[Row]:
    """Callbacks, newest first; of one state or client only."""
    chosen = sa.select(outbox)
    if state:
        chosen = chosen.where(outbox.c.state == state)
    if client_id:
        chosen = chosen.where(outbox.c.client_id == client_id)
    rows = connection.execute(chosen.order_by(outbox.c.seq.desc()).limit(limit)).mappings()
    return [dict(row) for row in rows]


def one(connection: sa.Connection, callback_id: str) -> Row:
    """A callback. Raises UnknownCallback."""
    found = (
        connection.execute(sa.select(outbox).where(outbox.c.callback_id == callback_id)).mappings().first()
    )
    if found is None:
        raise UnknownCallback(callback_id)
    return dict(found)


def replay(connection: sa.Connection, callback_id: str, *, now: datetime) -> Row:
    """Send a callback again, from its first attempt on, under the same id. Raises UnknownCallback, and NotDead where
    it waits already."""
    row = one(connection, callback_id)
    if row["state"] == "waiting":
        raise NotDead(f"callback {callback_id} waits to be sent already")
    _again(connection, [callback_id], now=now)
    return one(connection, callback_id)


def replay_dead(connection: sa.Connection, *, now: datetime) -> int:
    """Send all dead callbacks again; how many."""
    dead = list(connection.execute(sa.select(outbox.c.callback_id).where(outbox.c.state == "dead")).scalars())
    for start in range(0, len(dead), 500):
        _again(connection, dead[start : start + 500], now=now)
    return len(dead)


def _again(connection: sa.Connection, callback_ids: Sequence[str], *, now: datetime) -> None:
    connection.execute(
        sa.update(outbox)
        .where(outbox.c.callback_id.in_(callback_ids))
        .values(state="waiting", attempts=0, due_at=now, problem="", sent_at=None)
    )
