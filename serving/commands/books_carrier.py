"""``huika books carrier-bill``: the carrier's bill against its labels, booked and paid."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from serving.commands.books_parts import ChannelName, opened_books, print_table, table_of, yuan_of
from serving.options import DEFAULT_HOME, Home
from serving.refusals import Refusal


def carrier_bill(
    bill: Annotated[
        Path, typer.Argument(help="CSV: shipment_id, fee_fen or fee_cny.", exists=True, dir_okay=False)
    ],
    invoice: Annotated[str, typer.Option("--invoice", help="Its number; the same again changes nothing.")],
    accept: Annotated[
        list[str] | None, typer.Option("--accept", help="A parcel whose other fee is accepted.")
    ] = None,
    by: Annotated[str, typer.Option("--by", help="Who accepts.")] = "",
    pay: Annotated[
        ChannelName | None, typer.Option("--pay", help="Book that it was paid, by this channel.")
    ] = None,
    home: Home = DEFAULT_HOME,
) -> None:
    """Compare a carrier's bill with what it asked for each label, book what agrees; exits with 1 where a line waits."""
    from pipelines.recycling.carrier_bills import OPEN, WORDS, BillError, book_bill, parse_bill, pay_carrier
    from pipelines.recycling.ledger_model import LedgerRefusal

    if accept and not by:
        raise Refusal("say with --by who accepts another fee")
    try:
        lines = parse_bill(bill.read_text(encoding="utf-8"))
        with opened_books(home) as connection:
            now = datetime.now(UTC)
            found = book_bill(connection, lines, invoice=invoice, now=now, accept=accept or (), by=by)
            waiting = [item for item in found if item.verdict in OPEN]
            paid = (0, False)
            if pay is not None and not waiting:
                paid = pay_carrier(connection, invoice=invoice, channel=pay.value, now=now)
    except (BillError, UnicodeDecodeError, LedgerRefusal) as error:
        raise Refusal(f"{bill}: {error}") from None
    table = table_of("parcel", "asked ¥", "billed ¥", "is")
    for item in found:
        figures = (yuan_of(item.asked_fen), yuan_of(item.line.fee_fen))
        table.add_row(item.line.shipment_id, *figures, " ".join(WORDS[item.verdict]))
    print_table(table)
    if paid[0]:
        print(f"{yuan_of(paid[0])} yuan by {pay}: " + ("booked" if paid[1] else "was booked before"))
    if waiting:
        raise Refusal(f"{len(waiting):,} of {len(found):,} lines wait; nothing was paid")
