"""What is taken off a card's price before its seller is paid: fee, postage and what is set aside for tax.

It is worked out with the quote, so that the seller accepts what will be paid, and kept with the trade as plain values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from features.china import CHINA
from pipelines.recycling import bookings
from pipelines.recycling.ledger_model import Transfer
from pipelines.recycling.policy import FlowPolicy
from pipelines.recycling.taxes import Rates

Facts = dict[str, Any]


@dataclass(frozen=True)
class Charges:
    """A price and what comes off it, in fen. taxes: amounts out of what the seller is owed, by kind of tax."""

    price_fen: int
    fee_fen: int
    postage_fen: int
    taxes: tuple[Mapping[str, Any], ...]

    @property
    def tax_fen(self) -> int:
        return sum(tax["amount_fen"] for tax in self.taxes)

    @property
    def net_fen(self) -> int:
        """What the seller is paid; zero or less where nothing is left to pay."""
        return self.price_fen - self.fee_fen - self.postage_fen - self.tax_fen


def charged(price_fen: int, *, policy: FlowPolicy, rates: Rates, physical: bool, moment: datetime) -> Facts:
    """The charges of a card quoted at a moment, as plain values; :func:`charges_of` reads them. Tax is a share of the
    price."""
    day = moment.astimezone(CHINA).date()
    taxes = [
        {"rate": item.rate, "kind": item.kind, "amount_fen": item.amount_fen}
        for item in rates.set_aside(day=day, revenue_fen=0, payout_fen=price_fen)
    ]
    return {
        "price_fen": price_fen,
        "fee_fen": policy.fee_fen(price_fen, physical=physical),
        "postage_fen": policy.postage_fen if physical else 0,
        "taxes": taxes,
        "rates_version": rates.version,
    }


def charges_of(said: Mapping[str, Any]) -> Charges:
    """Charges from plain values."""
    return Charges(said["price_fen"], said["fee_fen"], said["postage_fen"], tuple(said["taxes"]))


def charges_of_trade(row: Mapping[str, Any]) -> Charges:
    """The charges of a trade's quote; none where it was quoted without."""
    said = row["facts"].get("charges")
    return charges_of(said) if said is not None else Charges(row["payout_fen"], 0, 0, ())


def settlement(row: Mapping[str, Any], *, frozen_id: str, rates: Rates, now: datetime) -> list[Transfer]:
    """The transfers that settle a verified trade: the card bought at its price, the payout out of the frozen money,
    and between the two what the seller was told. Tax on the platform's fee follows the rates of the day."""
    trade_id, seller_ref, charges = row["submission_id"], row["seller_id"], charges_of_trade(row)
    settle_id = f"{trade_id}/settle"
    transfers = bookings.settle_payout(
        transfer_id=settle_id,
        frozen_id=frozen_id,
        trade_id=trade_id,
        seller_ref=seller_ref,
        price_fen=charges.price_fen,
        payout_fen=row["payout_fen"],
    )
    whose = {"trade_id": trade_id, "seller_ref": seller_ref}
    if charges.fee_fen:
        transfers += bookings.charge_fee(transfer_id=f"{settle_id}/fee", amount_fen=charges.fee_fen, **whose)
    if charges.postage_fen:
        transfers += bookings.charge_logistics(
            transfer_id=f"{settle_id}/postage", amount_fen=charges.postage_fen, **whose
        )
    for tax in charges.taxes:
        transfers += bookings.set_aside_tax(
            transfer_id=f"{settle_id}/tax/{tax['rate']}",
            kind=tax["kind"],
            amount_fen=tax["amount_fen"],
            **whose,
        )
    day = now.astimezone(CHINA).date()
    for item in rates.set_aside(day=day, revenue_fen=charges.fee_fen, payout_fen=0):
        transfers += bookings.set_aside_tax(
            transfer_id=f"{settle_id}/tax/{item.rate}",
            trade_id=trade_id,
            kind=item.kind,
            amount_fen=item.amount_fen,
        )
    return transfers
