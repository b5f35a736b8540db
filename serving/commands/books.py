"""``huika books``: what the ledger holds, whether it is right, and whether the payout providers agree with it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serving.commands.books_breaks import breaks, resolve_break
from serving.commands.books_carrier import carrier_bill
from serving.commands.books_deposits import deposit, return_deposit
from serving.commands.books_parts import (
    ChannelName,
    book,
    day_of,
    fen_of,
    opened_books,
    plain,
    print_table,
    table_of,
    yuan_of,
)
from serving.options import DEFAULT_HOME, Home
from serving.refusals import Refusal

if TYPE_CHECKING:
    pass


Json = Annotated[bool, typer.Option("--json", help="Machine-readable output, amounts in fen.")]
Day = Annotated[str, typer.Option("--day", metavar="YYYY-MM-DD", help="The statement's day, in China.")]

books = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="The ledger: show, audit, fund, reconcile with a payout provider's statement, export for the tax office.",
)
books.command("breaks")(breaks)
books.command("resolve-break")(resolve_break)
books.command("carrier-bill")(carrier_bill)
books.command("deposit")(deposit)
books.command("return-deposit")(return_deposit)


@books.command("show")
def show(as_json: Json = False, home: Home = DEFAULT_HOME) -> None:
    """Balances by heading, payouts that have not ended, and what a statement did not agree with."""
    from pipelines.recycling.accounts import CHART
    from pipelines.recycling.ledger import balances
    from pipelines.recycling.ledger_audit import books_sum
    from pipelines.recycling.payout_tables import open_payouts
    from pipelines.recycling.reconciling import open_breaks

    with opened_books(home) as connection:
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
        told |= {"open_payouts": plain(waiting), "open_breaks": plain(breaks)}
        return print(json.dumps(told, ensure_ascii=False, indent=1))
    table = table_of("科目 heading", "账户 accounts", "余额 balance ¥", "可用 available ¥")
    for row in rows:
        heading = CHART[row["heading"]]
        figures = (yuan_of(row["balance_fen"]), yuan_of(row["available_fen"]))
        table.add_row(f"{heading.zh} {heading.en}", f"{row['accounts']:,}", *figures)
    print_table(table)
    _print_open(waiting, breaks)
    print(f"books sum: {yuan_of(total)}")
    return None


@books.command("audit")
def audit_command(as_json: Json = False, home: Home = DEFAULT_HOME) -> None:
    """Recompute every balance from the transfers; exits with 1 where anything differs."""
    from dataclasses import asdict

    from pipelines.recycling.ledger_audit import audit

    with opened_books(home) as connection:
        found = audit(connection)
    if as_json:
        print(json.dumps(asdict(found), ensure_ascii=False, indent=1))
    else:
        for item in found.differences:
            kept, again = yuan_of(item.kept_fen), yuan_of(item.recomputed_fen)
            print(f"{item.account}: {item.part} is kept as {kept} and adds up to {again}")
        for fault in found.faults:
            print(fault)
        print(
            f"{found.accounts:,} accounts, {found.transfers:,} transfers, sum {yuan_of(found.books_sum_fen)}"
        )
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
    with opened_books(home) as connection:
        held, rows = balance(connection, asked), transfers_of(connection, account=name, last=last)
    if as_json:
        told = {"account": name, "balance_fen": held.fen, "available_fen": held.available_fen}
        return print(json.dumps(told | {"transfers": plain(rows)}, ensure_ascii=False, indent=1))
    table = table_of(
        "时间 at", "转账 transfer", "类型 kind", "事由 reason", "对方 other account", "借 debit", "贷 credit"
    )
    for row in rows:
        debited = row["debit"] == name
        amount = yuan_of(row["amount_fen"])
        sides = (amount, "") if debited else ("", amount)
        other = row["credit"] if debited else row["debit"]
        told = (row["transfer_id"], row["kind"], row["reason"], other)
        table.add_row(row["happened_at"].isoformat(timespec="seconds"), *told, *sides)
    print_table(table)
    print(f"{name}: balance {yuan_of(held.fen)}, available {yuan_of(held.available_fen)}")
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

    transfers = bookings.fund(
        transfer_id=f"fund/{transfer_id}", channel=channel.value, amount_fen=fen_of(amount)
    )
    book(transfers, home, f"{transfer_id}: into {channel.value}")


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
    with opened_books(home) as connection:
        found = reconcile(connection, lines, channel=channel.value, day=day_of(day), now=datetime.now(UTC))
    if as_json:
        print(json.dumps(asdict(found), ensure_ascii=False, indent=1))
    else:
        for item in found.breaks:
            zh, en = BREAK_NAMES[item.kind]
            print(
                f"{item.payout_id}: {zh} {en}: ours {yuan_of(item.ours_fen)}, theirs {yuan_of(item.theirs_fen)}"
            )
        print(f"{found.matched:,} payouts agree, {yuan_of(found.matched_fen)} yuan")
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
        with opened_books(home) as connection:
            rows = seller_quarters(connection, quarter)
    except QuarterError as error:
        raise Refusal(str(error)) from None
    write_export(target, rows, quarter=quarter)
    total = sum(row.net_fen for row in rows)
    print(
        f"{len(rows):,} sellers, {sum(row.trades for row in rows):,} trades, {yuan_of(total)} yuan in {target}"
    )


def _print_open(waiting: list, breaks: list) -> None:
    for row in waiting:
        why = f" ({row['reason']})" if row["reason"] else ""
        print(
            f"payout {row['payout_id']}: {row['state']}{why}, {yuan_of(row['amount_fen'])} by {row['channel']}"
        )
    for row in breaks:
        figures = f"ours {yuan_of(row['ours_fen'])}, theirs {yuan_of(row['theirs_fen'])}"
        print(f"break {row['day']} {row['channel']} {row['payout_id']}: {row['kind']}, {figures}")
