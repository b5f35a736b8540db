"""``huika books deposit`` and ``return-deposit``: what buyers and sellers put in for disputes."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serving.commands.books_parts import ChannelName, fen_of, opened_books, yuan_of
from serving.options import DEFAULT_HOME, Home
from serving.refusals import Refusal

if TYPE_CHECKING:
    from pipelines.recycling.ledger_model import Transfer


class PartyName(StrEnum):
    """Whose deposit it is."""

    seller = "seller"
    buyer = "buyer"


Reference = Annotated[str, typer.Argument(help="Whose: the seller's or buyer's reference, never a name.")]
Amount = Annotated[str, typer.Argument(help="In yuan, at most two decimals.")]
Party = Annotated[PartyName, typer.Option("--party", help="Whether a seller's or a buyer's.")]
By = Annotated[ChannelName, typer.Option("--channel", help="By which the money came or goes.")]
Id = Annotated[str, typer.Option("--id", help="Of this payment; the same again changes nothing.")]


def deposit(
    reference: Reference, amount: Amount, party: Party, channel: By, payment: Id, home: Home = DEFAULT_HOME
) -> None:
    """Book a deposit for disputes that came in."""
    from pipelines.recycling import bookings
    from pipelines.recycling.accounts import cash

    transfers = bookings.hold_deposit(
        transfer_id=f"deposit/{payment}",
        party=party.value,
        reference=reference,
        amount_fen=fen_of(amount),
        source=cash(channel.value),
    )
    _post(transfers, home, f"{payment}: deposit of {party.value} {reference}")


def return_deposit(
    reference: Reference, amount: Amount, party: Party, channel: By, payment: Id, home: Home = DEFAULT_HOME
) -> None:
    """Book that a deposit was paid back. What a dispute holds of it stays until that is decided."""
    from pipelines.recycling import bookings
    from pipelines.recycling.accounts import cash

    transfers = bookings.release_deposit(
        transfer_id=f"return-deposit/{payment}",
        party=party.value,
        reference=reference,
        amount_fen=fen_of(amount),
        to=cash(channel.value),
    )
    _post(transfers, home, f"{payment}: returned to {party.value} {reference}")


def _post(transfers: list[Transfer], home: Path, what: str) -> None:
    from pipelines.recycling.ledger import post
    from pipelines.recycling.ledger_model import LedgerRefusal

    try:
        with opened_books(home) as connection:
            outcome = post(connection, transfers, now=datetime.now(UTC))
    except LedgerRefusal as refusal:
        raise Refusal(str(refusal)) from None
    said = "booked" if outcome == "posted" else "was booked before; nothing was changed"
    print(f"{what}, {yuan_of(transfers[0].amount_fen)} yuan: {said}")
