"""What the commands of ``huika books`` share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from serving.refusals import Refusal

if TYPE_CHECKING:
    import sqlalchemy as sa
    from rich.table import Table

    from pipelines.recycling.ledger_model import Transfer


class ChannelName(StrEnum):
    """Ways by which money goes out."""

    bank = "bank"
    alipay = "alipay"
    wechat = "wechat"
    ecny = "ecny"


@contextmanager
def opened_books(home: Path) -> Iterator[sa.Connection]:
    """A transaction on the application database of an existing workspace."""
    from pipelines.application_data import ApplicationData
    from pipelines.recycling.ledger_tables import make_ledger_tables
    from pipelines.recycling.payout_tables import make_payout_tables
    from pipelines.workspace import Workspace

    if not home.exists():
        raise Refusal(f"no workspace at {home}")
    with ApplicationData(Workspace.open(home).application_url).transaction() as connection:
        make_ledger_tables(connection)
        make_payout_tables(connection)
        yield connection


def book(transfers: list[Transfer], home: Path, what: str) -> None:
    """Post linked transfers, once, and say what was done. Raises Refusal."""
    from pipelines.recycling.ledger import post
    from pipelines.recycling.ledger_model import LedgerRefusal

    try:
        with opened_books(home) as connection:
            outcome = post(connection, transfers, now=datetime.now(UTC))
    except LedgerRefusal as refusal:
        raise Refusal(str(refusal)) from None
    said = "booked" if outcome == "posted" else "was booked before; nothing was changed"
    print(f"{what}, {yuan_of(transfers[0].amount_fen)} yuan: {said}")


def day_of(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise Refusal(f"--day {text}: write a day as 2026-10-03") from None


def fen_of(text: str) -> int:
    from decimal import Decimal, InvalidOperation

    try:
        fen = Decimal(text.replace(",", "")) * 100
    except InvalidOperation:
        raise Refusal(f"{text}: write an amount as 1234.05") from None
    if not fen.is_finite() or fen <= 0 or fen != fen.to_integral_value():
        raise Refusal(f"{text}: an amount is above zero and whole in fen")
    return int(fen)


def yuan_of(fen: int) -> str:
    from pipelines.recycling.receipts import yuan

    return yuan(fen)


def plain(rows: list) -> list[dict[str, object]]:
    """Rows with times as text."""
    return [
        {name: value.isoformat() if isinstance(value, datetime) else value for name, value in row.items()}
        for row in rows
    ]


def table_of(*headings: str) -> Table:
    from rich.table import Table

    table = Table(box=None, padding=(0, 1))
    for heading in headings:
        table.add_column(heading, justify="right" if heading.endswith(("¥", "debit", "credit")) else "left")
    return table


def print_table(table: Table) -> None:
    from serving.output import console

    console().print(table)
