"""Our payouts of a day against the provider's statement of that day: what agrees, and a table of what does not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Literal

import sqlalchemy as sa

from features.china import CHINA
from pipelines.recycling.accounts import Channel
from pipelines.recycling.break_resolving import BreakId, settled_before
from pipelines.recycling.payout_tables import payout_breaks, payout_matches, payouts
from pipelines.recycling.statements import StatementLine

BreakKind = Literal["missing_here", "missing_there", "amount_differs", "duplicate", "state_differs"]
BREAK_NAMES: dict[BreakKind, tuple[str, str]] = {
    "missing_here": ("我方无此打款", "not in our books"),
    "missing_there": ("对账单无此打款", "not on the statement"),
    "amount_differs": ("金额不符", "another amount"),
    "duplicate": ("重复付款", "paid more than once"),
    "state_differs": ("对方已付、我方未记为已付", "paid there, not paid here"),
}


@dataclass(frozen=True)
class Break:
    """Something that does not agree. Amounts in fen, 0 where that side has none."""

    kind: BreakKind
    payout_id: str
    provider_ref: str
    ours_fen: int
    theirs_fen: int


@dataclass(frozen=True)
class Reconciliation:
    """Payouts that agree, with their sum in fen, and all that does not."""

    matched: int
    matched_fen: int
    breaks: tuple[Break, ...]


def china_day(day: date) -> tuple[datetime, datetime]:
    """First moment of a day in China and of the next."""
    start = datetime(day.year, day.month, day.day, tzinfo=CHINA)
    return start, start + timedelta(days=1)


def reconcile(
    connection: sa.Connection, lines: Sequence[StatementLine], *, channel: Channel, day: date, now: datetime
) -> Reconciliation:
    """Compare, and keep what does not agree. Again with a later statement: what agrees by now is closed."""
    named = {line.payout_id: line for line in lines}
    times = Counter(line.payout_id for line in lines)
    theirs = _totals(lines)
    ours = {row["payout_id"]: row for row in _paid_on(connection, channel, day)}
    known = {row["payout_id"]: row for row in _named(connection, payouts, sorted(set(named) - set(ours)))}
    on = {row["payout_id"]: row["day"] for row in _named(connection, payout_matches, sorted({*named, *ours}))}
    breaks: list[Break] = []
    matched: list[str] = []
    for name, line in named.items():
        seen = times[name] + (on.get(name, day.isoformat()) != day.isoformat())
        found = _compared(
            line, ours.get(name) or known.get(name), channel, times=seen, theirs_fen=theirs[name]
        )
        breaks += [found] if found is not None else []
        matched += [name] if found is None else []
    breaks += [
        Break("missing_there", name, row["provider_ref"], row["amount_fen"], 0)
        for name, row in ours.items()
        if name not in named and name not in on
    ]
    breaks = [item for item in breaks if not _settled(connection, item, channel=channel, day=day)]
    _keep(connection, breaks, channel=channel, day=day, now=now)
    _keep_matches(connection, [name for name in matched if name not in on], channel=channel, day=day, now=now)
    return Reconciliation(len(matched), sum(theirs[name] for name in matched), tuple(breaks))


def _settled(connection: sa.Connection, item: Break, *, channel: Channel, day: date) -> bool:
    """Whether two people settled it, as it stands."""
    which = BreakId(channel, day.isoformat(), item.kind, item.payout_id)
    return settled_before(connection, which, ours_fen=item.ours_fen, theirs_fen=item.theirs_fen)


def _totals(lines: Sequence[StatementLine]) -> dict[str, int]:
    totals: dict[str, int] = {}
    for line in lines:
        totals[line.payout_id] = totals.get(line.payout_id, 0) + line.amount_fen
    return totals


def open_breaks(connection: sa.Connection) -> list[Mapping[str, Any]]:
    """What does not agree and has not been closed, by day."""
    chosen = sa.select(payout_breaks).where(payout_breaks.c.closed_at.is_(None))
    ordered = chosen.order_by(payout_breaks.c.day, payout_breaks.c.channel, payout_breaks.c.payout_id)
    return [dict(row) for row in connection.execute(ordered).mappings()]


def _compared(
    line: StatementLine, row: Mapping[str, Any] | None, channel: Channel, *, times: int, theirs_fen: int
) -> Break | None:
    """The gravest thing that does not agree about one payout. Paid on another day here is no break."""
    kind: BreakKind | None = None
    if row is None or row["channel"] != channel:
        kind, row = "missing_here", None
    elif times > 1:
        kind = "duplicate"
    elif row["amount_fen"] != line.amount_fen:
        kind = "amount_differs"
    elif row["state"] != "paid":
        kind = "state_differs"
    ours = 0 if row is None else row["amount_fen"]
    return None if kind is None else Break(kind, line.payout_id, line.provider_ref, ours, theirs_fen)


def _paid_on(connection: sa.Connection, channel: Channel, day: date) -> list[Mapping[str, Any]]:
    start, end = china_day(day)
    chosen = sa.select(payouts).where(
        payouts.c.channel == channel, payouts.c.paid_at >= start, payouts.c.paid_at < end
    )
    return [dict(row) for row in connection.execute(chosen.order_by(payouts.c.payout_id)).mappings()]


def _named(
    connection: sa.Connection, table: sa.Table, names: Sequence[str], *, at_once: int = 500
) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = []
    for start in range(0, len(names), at_once):
        chosen = sa.select(table).where(table.c.payout_id.in_(names[start : start + at_once]))
        found += [dict(row) for row in connection.execute(chosen).mappings()]
    return found


def _keep(
    connection: sa.Connection, breaks: Sequence[Break], *, channel: Channel, day: date, now: datetime
) -> None:
    columns = payout_breaks.c
    of_day = sa.and_(columns.channel == channel, columns.day == day.isoformat())
    connection.execute(
        sa.update(payout_breaks).where(of_day, columns.closed_at.is_(None)).values(closed_at=now)
    )
    for item in breaks:
        same = sa.and_(of_day, columns.kind == item.kind, columns.payout_id == item.payout_id)
        figures = {
            "provider_ref": item.provider_ref,
            "ours_fen": item.ours_fen,
            "theirs_fen": item.theirs_fen,
        }
        again = sa.update(payout_breaks).where(same).values(figures | {"closed_at": None})
        if connection.execute(again).rowcount == 0:
            key = {"channel": channel, "day": day.isoformat(), "kind": item.kind, "payout_id": item.payout_id}
            connection.execute(sa.insert(payout_breaks).values(key | figures | {"found_at": now}))


def _keep_matches(
    connection: sa.Connection, names: Sequence[str], *, channel: Channel, day: date, now: datetime
) -> None:
    """What was found on this day's statement is missing on no other's."""
    columns = payout_breaks.c
    for name in names:
        row = {"payout_id": name, "channel": channel, "day": day.isoformat(), "at": now}
        connection.execute(sa.insert(payout_matches).values(row))
        missing = sa.and_(
            columns.payout_id == name, columns.kind == "missing_there", columns.closed_at.is_(None)
        )
        connection.execute(sa.update(payout_breaks).where(missing).values(closed_at=now))
