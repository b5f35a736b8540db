"""``huika books deposit`` and ``return-deposit``: what buyers and sellers put in for disputes."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from serving.commands.books_parts import ChannelName, book, fen_of
from serving.options import DEFAULT_HOME, Home


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
    _book("deposit", reference, amount, party, channel, payment, home)


def return_deposit(
    reference: Reference, amount: Amount, party: Party, channel: By, payment: Id, home: Home = DEFAULT_HOME
) -> None:
    """Book that a deposit was paid back. What a dispute holds of it stays until that is decided."""
    _book("return-deposit", reference, amount, party, channel, payment, home)


def _book(
    what: str, reference: str, amount: str, party: PartyName, channel: ChannelName, payment: str, home: Path
) -> None:
    from pipelines.recycling import bookings
    from pipelines.recycling.accounts import cash

    is_back = what == "return-deposit"
    transfers = (bookings.release_deposit if is_back else bookings.hold_deposit)(
        transfer_id=f"{what}/{payment}",
        party=party.value,
        reference=reference,
        amount_fen=fen_of(amount),
        other=cash(channel.value),
    )
    book(
        transfers, home, f"{payment}: {'returned to' if is_back else 'deposit of'} {party.value} {reference}"
    )
