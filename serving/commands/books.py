"""``huika books``: what the ledger holds, whether it is right, and whether the payout providers agree with it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serving.options import DEFAULT_HOME, Home
from serving.refusals import Refusal

if TYPE_CHECKING:
    import sqlalchemy as sa
    from rich.table import Table


class ChannelName(StrEnum):
    """Ways by which money goes out."""

    bank = "bank"
    alipay = "alipay"
    wechat = "wechat"
    ecny = "ecny"


Json = Annotated[bool, typer.Option("--json", help="Machine-readable output, amounts in fen.")]
Day = Annotated[str, typer.Option("--day", metavar="YYYY-MM-DD", help="The statement's day, in China.")]

books = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="The ledger: show, audit, fund, reconcile with a payout provider's statement, export for the tax office.",
)


@books.command("show")
def show(as_json: Json = False, home: Home = DEFAULT_HOME) -> None:
    """Balances by heading, payouts that have not ended, and what a statement did not agree with."""
    from pipelines.recycling.accounts import CHART
    from pipelines.recycling.ledger import balances
    from pipelines.recycling.ledger_audit import books_sum
    from pipelines.recycling.payout_tables import open_payouts
    from pipelines.recycling.reconciling import open_breaks

    with _books(home) as connection:
        held, total = balances(connection), books_sum(connection)
        waiting, breaks = open_payouts(connection), open_breaks(connection)
    rows = [
        {
            "heading": heading.code,
            "accounts": len(own),
            "balance_fen": sum(row.fen for row in own),
            "available_fen": sum(row.available_fen for row in own),
        }
        for heading in CHART.values()
        if (own := [row for row in held if row.name.partition(":")[0] == heading.code])
    ]
    if as_json:
        told = {"headings": rows, "books_sum_fen": total}
        told |= {"open_payouts": _plain(waiting), "open_breaks": _plain(breaks)}
        return print(json.dumps(told, ensure_ascii=False, indent=1))
    table = _table("科目 heading", "账户 accounts", "余额 balance ¥", "可用 available ¥")
    for row in rows:
        heading = CHART[row["heading"]]
        figures = (_yuan(row["balance_fen"]), _yuan(row["available_fen"]))
        table.add_row(f"{heading.zh} {heading.en}", f"{row['accounts']:,}", *figures)
    _print(table)
    _print_open(waiting, breaks)
    print(f"books sum: {_yuan(total)}")
    return None


@books.command("audit")
def audit_command(as_json: Json = False, home: Home = DEFAULT_HOME) -> None:
    """Recompute every balance from the transfers; exits with 1 where anything differs."""
    from dataclasses import asdict

    from pipelines.recycling.ledger_audit import audit

    with _books(home) as connection:
        found = audit(connection)
    if as_json:
        print(json.dumps(asdict(found), ensure_ascii=False, indent=1))
    else:
        for item in found.differences:
            kept, again = _yuan(item.kept_fen), _yuan(item.recomputed_fen)
            print(f"{item.account}: {item.part} is kept as {kept} and adds up to {again}")
        for fault in found.faults:
            print(fault)
        print(f"{found.accounts:,} accounts, {found.transfers:,} transfers, sum {_yuan(found.books_sum_fen)}")
    if not found.clean:
        raise Refusal("the books are not right; nothing was changed")


@books.command("account")
def account(
    name: Annotated[str, typer.Argument(help="For example cash:bank, seller:s-1001, revenue.")],
    last: Annotated[int, typer.Option("--last", min=1, help="At most so many transfers, the newest.")] = 50,
    as_json: Json = False,
    home: Home = DEFAULT_HOME,
) -> None:
    """One account: what it holds and its newest transfers."""
    from pipelines.recycling.accounts import AccountNameError, account_named
    from pipelines.recycling.ledger import balance, transfers_of

    try:
        asked = account_named(name)
    except AccountNameError as error:
        raise Refusal(str(error)) from None
    with _books(home) as connection:
        held, rows = balance(connection, asked), transfers_of(connection, account=name, last=last)
    if as_json:
        told = {"account": name, "balance_fen": held.fen, "available_fen": held.available_fen}
        return print(json.dumps(told | {"transfers": _plain(rows)}, ensure_ascii=False, indent=1))
    table = _table(
        "时间 at", "转账 transfer", "类型 kind", "事由 reason", "对方 other account", "借 debit", "贷 credit"
    )
    for row in rows:
        debited = row["debit"] == name
        amount = _yuan(row["amount_fen"])
        sides = (amount, "") if debited else ("", amount)
        other = row["credit"] if debited else row["debit"]
        told = (row["transfer_id"], row["kind"], row["reason"], other)
        table.add_row(row["happened_at"].isoformat(timespec="seconds"), *told, *sides)
    _print(table)
    print(f"{name}: balance {_yuan(held.fen)}, available {_yuan(held.available_fen)}")
    return None


@books.command("fund")
def fund_command(
    amount: Annotated[str, typer.Argument(help="In yuan, at most two decimals.")],
    channel: Annotated[ChannelName, typer.Option("--channel", help="Where the money now is.")],
    transfer_id: Annotated[
        str, typer.Option("--id", help="Of this payment; the same again changes nothing.")
    ],
    home: Home = DEFAULT_HOME,
) -> None:
    """Book money that the platform put into a payout channel."""
    from pipelines.recycling import bookings
    from pipelines.recycling.ledger import post
    from pipelines.recycling.ledger_model import LedgerRefusal

    transfers = bookings.fund(
        transfer_id=f"fund/{transfer_id}", channel=channel.value, amount_fen=_fen(amount)
    )
    try:
        with _books(home) as connection:
            outcome = post(connection, transfers, now=datetime.now(UTC))
    except LedgerRefusal as refusal:
        raise Refusal(str(refusal)) from None
    said = "booked" if outcome == "posted" else "was booked before; nothing was changed"
    print(f"{transfer_id}: {_yuan(transfers[0].amount_fen)} yuan into {channel.value} {said}")


@books.command("reconcile")
def reconcile_command(
    statement: Annotated[
        Path, typer.Argument(help="The provider's statement, CSV or JSON.", exists=True, dir_okay=False)
    ],
    channel: Annotated[ChannelName, typer.Option("--channel", help="By which the money went out.")],
    day: Day,
    as_json: Json = False,
    home: Home = DEFAULT_HOME,
) -> None:
    """Compare the payouts of a day with a provider's statement; exits with 1 where anything does not agree."""
    from dataclasses import asdict

    from pipelines.recycling.reconciling import BREAK_NAMES, reconcile
    from pipelines.recycling.statements import StatementError, parse_statement

    try:
        lines = parse_statement(statement.read_text(encoding="utf-8"))
    except (StatementError, UnicodeDecodeError) as error:
        raise Refusal(f"{statement}: {error}") from None
    with _books(home) as connection:
        found = reconcile(connection, lines, channel=channel.value, day=_day(day), now=datetime.now(UTC))
    if as_json:
        print(json.dumps(asdict(found), ensure_ascii=False, indent=1))
    else:
        for item in found.breaks:
            zh, en = BREAK_NAMES[item.kind]
            print(
                f"{item.payout_id}: {zh} {en}: ours {_yuan(item.ours_fen)}, theirs {_yuan(item.theirs_fen)}"
            )
        print(f"{found.matched:,} payouts agree, {_yuan(found.matched_fen)} yuan")
    if found.breaks:
        raise Refusal(f"{len(found.breaks):,} do not agree; `huika books show` lists what is open")


@books.command("export-tax")
def export_tax(
    target: Annotated[Path, typer.Argument(help="CSV, one row per seller reference.")],
    quarter: Annotated[str, typer.Option("--quarter", metavar="2026Q4", help="Of the calendar in China.")],
    home: Home = DEFAULT_HOME,
) -> None:
    """What each seller received in a quarter, for the report platform operators owe the tax office."""
    from pipelines.recycling.tax_export import QuarterError, seller_quarters, write_export

    try:
        with _books(home) as connection:
            rows = seller_quarters(connection, quarter)
    except QuarterError as error:
        raise Refusal(str(error)) from None
    write_export(target, rows, quarter=quarter)
    total = sum(row.net_fen for row in rows)
    print(
        f"{len(rows):,} sellers, {sum(row.trades for row in rows):,} trades, {_yuan(total)} yuan in {target}"
    )


@contextmanager
def _books(home: Path) -> Iterator[sa.Connection]:
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


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise Refusal(f"--day {text}: write a day as 2026-10-03") from None


def _fen(text: str) -> int:
    from decimal import Decimal, InvalidOperation

    try:
        fen = Decimal(text.replace(",", "")) * 100
    except InvalidOperation:
        raise Refusal(f"{text}: write an amount as 1234.05") from None
    if not fen.is_finite() or fen <= 0 or fen != fen.to_integral_value():
        raise Refusal(f"{text}: an amount is above zero and whole in fen")
    return int(fen)


def _yuan(fen: int) -> str:
    from pipelines.recycling.receipts import yuan

    return yuan(fen)


def _plain(rows: list) -> list[dict[str, object]]:
    """Rows with times as text."""
    return [
        {name: value.isoformat() if isinstance(value, datetime) else value for name, value in row.items()}
        for row in rows
    ]


def _table(*headings: str) -> Table:
    from rich.table import Table

    table = Table(box=None, padding=(0, 1))
    for heading in headings:
        table.add_column(heading, justify="right" if heading.endswith(("¥", "debit", "credit")) else "left")
    return table


def _print(table: Table) -> None:
    from serving.output import console

    console().print(table)


def _print_open(waiting: list, breaks: list) -> None:
    for row in waiting:
        why = f" ({row['reason']})" if row["reason"] else ""
        print(
            f"payout {row['payout_id']}: {row['state']}{why}, {_yuan(row['amount_fen'])} by {row['channel']}"
        )
    for row in breaks:
        figures = f"ours {_yuan(row['ours_fen'])}, theirs {_yuan(row['theirs_fen'])}"
        print(f"break {row['day']} {row['channel']} {row['payout_id']}: {row['kind']}, {figures}")
