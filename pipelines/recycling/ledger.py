"""The ledger: a transfer debits one account and credits another with the same amount, so the books sum to zero.

Every function works on the caller's SQLAlchemy connection: what it posts is committed with the caller's own rows or not
at all. A transfer's id is chosen by the caller and makes repeating harmless. Amounts are integer fen.

One transaction posts at a time: on SQLite the first statement takes the write lock, on PostgreSQL a lock of the
ledger's own, since nearly all would meet at the channel's cash anyhow. So two that post on the same accounts in another
order do not wait for each other. What PostgreSQL ends all the same, ``pipelines.transactions`` does again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from pipelines.application_data import one_at_a_time
from pipelines.recycling.ledger_model import (
    SUMS,
    AbovePending,
    Account,
    Balance,
    IdReused,
    Kind,
    Outcome,
    Overdraft,
    PartlyPosted,
    PendingEnded,
    Transfer,
    UnknownPending,
    check_form,
)
from pipelines.recycling.ledger_tables import ledger_accounts, ledger_transfers

LEDGER_LOCK = 7_204_431
"""Number of the lock under which transfers are posted: :func:`take_turn`."""
CORRECT = "correct_"
"""Before the reason of what a correction takes back."""


@dataclass(frozen=True)
class _Line:
    """A transfer as it is stored, without its number and time."""

    transfer_id: str
    kind: Kind
    debit: str
    credit: str
    amount_fen: int
    pending_id: str | None
    reason: str
    trade_id: str | None


_INSERT = sa.insert(ledger_transfers)
_OPEN = {
    "sqlite": sqlite_insert(ledger_accounts).on_conflict_do_nothing(),
    "postgresql": postgres_insert(ledger_accounts).on_conflict_do_nothing(),
}
_NAMED = sa.bindparam("names", expanding=True)
_READ = sa.select(ledger_accounts).where(ledger_accounts.c.name.in_(_NAMED)).order_by(ledger_accounts.c.name)
_LOCK = _READ.with_for_update()
_STORED = sa.select(*(ledger_transfers.c[name] for name in _Line.__dataclass_fields__)).where(
    ledger_transfers.c.transfer_id.in_(_NAMED)
)
_ENDS = sa.select(ledger_transfers.c.pending_id).where(ledger_transfers.c.pending_id.in_(_NAMED))
_ADD = (
    sa.update(ledger_accounts)
    .where(ledger_accounts.c.name == sa.bindparam("account"))
    .values({part: ledger_accounts.c[part] + sa.bindparam(f"more_{part}") for part in SUMS})
)
"""Built once: building them costs more than running them on SQLite."""


def take_turn(connection: sa.Connection) -> None:
    """Let this transaction post, and no other until it ends: for whoever locks anything else before it posts."""
    one_at_a_time(connection, LEDGER_LOCK)


def post(connection: sa.Connection, transfers: Sequence[Transfer], *, now: datetime) -> Outcome:
    """Post linked transfers, all or none, in their order. ``exists``: all were posted before with the same bodies.

    Raises a LedgerRefusal before anything is written but empty accounts; the caller's transaction can go on.
    """
    for transfer in transfers:
        check_form(transfer)
    take_turn(connection)
    _open(connection, transfers)
    pendings = _pendings(connection, transfers)
    lines = _lines(transfers, pendings)
    balances = _locked(connection, {name for line in lines for name in (line.debit, line.credit)})
    if _posted_before(connection, lines):
        return "exists"
    ended = _ended(connection, [line.pending_id for line in lines if line.pending_id])
    before = dict(balances)
    for line in lines:
        _check_pending(line, pendings, ended)
        _move(balances, line, pendings)
    return _write(connection, lines, before, balances, now=now)


def balance(connection: sa.Connection, account: Account) -> Balance:
    """What an account holds; nothing where it was never used."""
    chosen = sa.select(ledger_accounts).where(ledger_accounts.c.name == account.name)
    row = connection.execute(chosen).mappings().first()
    return Balance(account.name, account.stays_on) if row is None else Balance(**row)


def balances(connection: sa.Connection, *, starting: str = "") -> list[Balance]:
    """All accounts by name, or those whose name starts so."""
    chosen = sa.select(ledger_accounts).where(ledger_accounts.c.name.startswith(starting, autoescape=True))
    return [Balance(**row) for row in connection.execute(chosen.order_by(ledger_accounts.c.name)).mappings()]


def transfers_of(
    connection: sa.Connection,
    *,
    trade_id: str | None = None,
    account: str | None = None,
    last: int | None = None,
) -> list[Mapping[str, Any]]:
    """The stored transfers of a trade or on an account, in their order; last: at most so many, the newest."""
    chosen = sa.select(ledger_transfers).order_by(ledger_transfers.c.seq.desc()).limit(last)
    if trade_id is not None:
        chosen = chosen.where(ledger_transfers.c.trade_id == trade_id)
    if account is not None:
        chosen = chosen.where(
            sa.or_(ledger_transfers.c.debit == account, ledger_transfers.c.credit == account)
        )
    rows: list[Mapping[str, Any]] = [dict(row) for row in connection.execute(chosen).mappings()]
    return rows[::-1]


def transfer(connection: sa.Connection, transfer_id: str) -> Mapping[str, Any] | None:
    """One stored transfer."""
    chosen = sa.select(ledger_transfers).where(ledger_transfers.c.transfer_id == transfer_id)
    row = connection.execute(chosen).mappings().first()
    return None if row is None else dict(row)


def correction(connection: sa.Connection, wrong_id: str) -> list[Transfer]:
    """The transfer that takes a posted or settled one back, once: its id is the wrong one's with ``/correct``.

    Taken back itself, it restores the first, whose reason it gets then. Raises UnknownPending where there is none.
    """
    wrong = transfer(connection, wrong_id)
    if wrong is None or wrong["kind"] not in ("posted", "settle"):
        raise UnknownPending(f"{wrong_id}: no posted transfer of this id to correct")
    sides = [wrong["credit"], wrong["debit"]]
    known = {row.name: row for row in _read(connection, set(sides))}
    debit, credit = (Account(name, known[name].stays_on) for name in sides)
    restored = wrong["reason"].removeprefix(CORRECT)
    reason = restored if restored != wrong["reason"] else CORRECT + wrong["reason"]
    return [
        Transfer(
            f"{wrong_id}/correct", reason, wrong["amount_fen"], debit, credit, trade_id=wrong["trade_id"]
        )
    ]


def _open(connection: sa.Connection, transfers: Sequence[Transfer]) -> None:
    """Make accounts that are missing. An insert comes first in any case: it takes SQLite's write lock, so that nothing
    read from here on can be overtaken."""
    named = {account for transfer in transfers for account in (transfer.debit, transfer.credit) if account}
    rows = [
        {"name": account.name, "stays_on": account.stays_on, **dict.fromkeys(SUMS, 0)}
        for account in sorted(named, key=lambda account: account.name)
    ]
    if rows:
        connection.execute(_OPEN[connection.dialect.name], rows)
    elif connection.dialect.name == "sqlite":
        connection.execute(sa.update(ledger_accounts).where(sa.false()).values(debits_posted=0))


def _pendings(connection: sa.Connection, transfers: Sequence[Transfer]) -> dict[str, _Line]:
    """The pending transfers that are settled or voided, from the ledger or from the same call."""
    wanted = {transfer.pending_id for transfer in transfers if transfer.pending_id}
    found = {line.transfer_id: line for line in _stored(connection, wanted)}
    own = {line.transfer_id: line for line in map(_line, transfers) if line is not None}
    return {name: line for name, line in (own | found).items() if line.kind == "pending"}


def _line(transfer: Transfer) -> _Line | None:
    if transfer.debit is None or transfer.credit is None:
        return None
    sides = (transfer.debit.name, transfer.credit.name)
    rest = (transfer.amount_fen, None, transfer.reason, transfer.trade_id)
    return _Line(transfer.transfer_id, transfer.kind, *sides, *rest)


def _lines(transfers: Sequence[Transfer], pendings: Mapping[str, _Line]) -> list[_Line]:
    lines: list[_Line] = []
    for transfer in transfers:
        line = _line(transfer)
        if line is None:
            pending = pendings.get(transfer.pending_id or "")
            if pending is None:
                raise UnknownPending(f"{transfer.transfer_id}: nothing is pending as {transfer.pending_id}")
            line = replace(
                pending,
                transfer_id=transfer.transfer_id,
                kind=transfer.kind,
                amount_fen=pending.amount_fen if transfer.kind == "void" else transfer.amount_fen,
                pending_id=pending.transfer_id,
                reason=transfer.reason,
                trade_id=transfer.trade_id or pending.trade_id,
            )
        lines.append(line)
    if len({line.transfer_id for line in lines}) < len(lines):
        raise IdReused("two of the linked transfers have one id")
    return lines


def _stored(connection: sa.Connection, ids: set[str]) -> list[_Line]:
    found = connection.execute(_STORED, {"names": sorted(ids)}).mappings() if ids else ()
    return [_Line(**row) for row in found]


def _read(connection: sa.Connection, names: set[str], *, lock: bool = False) -> list[Balance]:
    found = connection.execute(_LOCK if lock else _READ, {"names": sorted(names)})
    return [Balance(**row) for row in found.mappings()]


def _locked(connection: sa.Connection, names: set[str]) -> dict[str, Balance]:
    """The accounts' balances, which nobody else changes until this transaction ends."""
    return {found.name: found for found in _read(connection, names, lock=True)} if names else {}


def _posted_before(connection: sa.Connection, lines: Sequence[_Line]) -> bool:
    """Whether all lines stand in the ledger as they are. Raises IdReused, PartlyPosted."""
    found = {line.transfer_id: line for line in _stored(connection, {line.transfer_id for line in lines})}
    for line in lines:
        if found.get(line.transfer_id, line) != line:
            raise IdReused(f"{line.transfer_id}: in the ledger with another body")
    if found and len(found) < len(lines):
        raise PartlyPosted(f"{', '.join(sorted(found))}: in the ledger without what is linked to it now")
    return bool(lines) and len(found) == len(lines)


def _ended(connection: sa.Connection, pending_ids: Sequence[str]) -> set[str]:
    return set(connection.execute(_ENDS, {"names": pending_ids}).scalars()) if pending_ids else set()


def _check_pending(line: _Line, pendings: Mapping[str, _Line], ended: set[str]) -> None:
    """Raises PendingEnded, AbovePending; notes that the line ends its pending transfer."""
    if line.pending_id is None:
        return
    if line.pending_id in ended:
        raise PendingEnded(f"{line.transfer_id}: {line.pending_id} was settled or voided before")
    if line.amount_fen > pendings[line.pending_id].amount_fen:
        raise AbovePending(f"{line.transfer_id}: more than is pending as {line.pending_id}")
    ended.add(line.pending_id)


def _move(balances: dict[str, Balance], line: _Line, pendings: Mapping[str, _Line]) -> None:
    """Change both sides' sums. Raises Overdraft."""
    posted = line.amount_fen if line.kind in ("posted", "settle") else 0
    pending = line.amount_fen if line.kind == "pending" else 0
    if line.pending_id is not None:
        pending = -pendings[line.pending_id].amount_fen
    for side, name in (("debits", line.debit), ("credits", line.credit)):
        held = balances[name]
        sums = {
            f"{side}_posted": getattr(held, f"{side}_posted") + posted,
            f"{side}_pending": getattr(held, f"{side}_pending") + pending,
        }
        balances[name] = replace(held, **sums)
    for name in (line.debit, line.credit):
        if not balances[name].within_limit:
            raise Overdraft(f"{line.transfer_id}: {name} has not enough")


def _write(
    connection: sa.Connection,
    lines: Sequence[_Line],
    before: Mapping[str, Balance],
    after: Mapping[str, Balance],
    *,
    now: datetime,
) -> Outcome:
    _insert(connection, lines, now=now)
    _store(connection, before, after)
    return "posted"


def _insert(connection: sa.Connection, lines: Sequence[_Line], *, now: datetime) -> None:
    rows = [
        {name: getattr(line, name) for name in _Line.__dataclass_fields__} | {"happened_at": now}
        for line in lines
    ]
    if rows:
        connection.execute(_INSERT, rows)


def _store(connection: sa.Connection, before: Mapping[str, Balance], after: Mapping[str, Balance]) -> None:
    """Add what changed, rather than write what is thought to be there."""
    rows = [
        {f"more_{part}": getattr(held, part) - getattr(before[name], part) for part in SUMS}
        | {"account": name}
        for name, held in after.items()
    ]
    if rows:
        connection.execute(_ADD, rows)
