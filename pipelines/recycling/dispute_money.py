"""Money of disputes: stakes out of the parties' deposits, what the card cost, and what a seller is still owed.

A party's deposit is money it has put in (``huika books deposit``). A dispute holds a stake of it as a pending transfer
to the other party's deposit: void for who is right, settled for who is not. Where no buyer is named the platform stands
in its place. A deposit that is too small is staked as far as it reaches, so nobody is kept from complaining.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import sqlalchemy as sa

from pipelines.recycling import bookings
from pipelines.recycling.accounts import LOSSES, REVENUE, STOCK, deposit, seller
from pipelines.recycling.charges import charges_of_trade
from pipelines.recycling.ledger import balance, transfers_of
from pipelines.recycling.ledger_model import Account, Transfer
from pipelines.recycling.policy import SHARE_ONE

Row = Mapping[str, Any]
Staker = Literal["seller", "buyer"]

STAKE = "stake_deposit"
COMPENSATE = bookings.COMPENSATE
NOT_RECEIVED = "not_received"
"""A complaint that what was paid did not come."""


def stake_id(dispute: Row, party: Staker) -> str:
    """The pending transfer that holds a party's stake."""
    return f"{dispute['submission_id']}/dispute-{dispute['number']}/stake/{party}"


def stakes(
    connection: sa.Connection, row: Row, dispute: Row, *, share_bps: int
) -> tuple[list[Transfer], dict[str, int]]:
    """The transfers that hold both parties' stakes, and the amounts by column of the dispute."""
    wanted = charges_of_trade(row).price_fen * share_bps // SHARE_ONE
    own, other = deposit("seller", row["seller_id"]), _other(dispute)
    pairs: list[tuple[Staker, Account, Account]] = [("seller", own, other)]
    if dispute["buyer_ref"]:
        pairs.append(("buyer", other, own))
    transfers: list[Transfer] = []
    held = {"seller_stake_fen": 0, "buyer_stake_fen": 0}
    for party, source, target in pairs:
        amount = min(wanted, balance(connection, source).available_fen)
        if amount > 0:
            held[f"{party}_stake_fen"] = amount
            transfers.append(
                Transfer(
                    stake_id(dispute, party),
                    STAKE,
                    amount,
                    source,
                    target,
                    kind="pending",
                    trade_id=row["submission_id"],
                )
            )
    return transfers, held


def ended_stakes(dispute: Row, *, seller_wins: bool) -> list[Transfer]:
    """What was staked goes back to who is right; the other side's goes to them."""
    transfers: list[Transfer] = []
    parties: tuple[Staker, ...] = ("seller", "buyer")
    for party in parties:
        amount, wins = dispute[f"{party}_stake_fen"], seller_wins == (party == "seller")
        if not amount:
            continue
        pending, trade_id = stake_id(dispute, party), dispute["submission_id"]
        end = {"pending_id": pending, "trade_id": trade_id}
        if wins:
            transfers.append(Transfer(f"{pending}/void", "release_stake", kind="void", **end))
        else:
            transfers.append(Transfer(f"{pending}/settle", "forfeit_stake", amount, kind="settle", **end))
    return transfers


def _other(dispute: Row) -> Account:
    return deposit("buyer", dispute["buyer_ref"]) if dispute["buyer_ref"] else REVENUE


def cost_of_card(connection: sa.Connection, trade_id: str) -> int:
    """What of the trade's card still stands in the stock; nothing once it was sold or written off."""
    rows = [row for row in transfers_of(connection, trade_id=trade_id) if row["kind"] == "posted"]
    bought = sum(row["amount_fen"] for row in rows if row["debit"] == STOCK.name)
    return bought - sum(row["amount_fen"] for row in rows if row["credit"] == STOCK.name)


def most_claimed(row: Row, kind: str, awards: Mapping[str, int]) -> int:
    """What a seller may still claim, in fen; zero or less: nothing. awards: given so far, by kind of complaint.

    What did not come is paid once more: awards for ``not_received`` add up to the payout at most. With those aside,
    payout and awards add up to the card's face value at most."""
    repeated = awards.get(NOT_RECEIVED, 0)
    if kind == NOT_RECEIVED:
        return row["payout_fen"] - repeated
    face = row["asked"]["card"]["face_value"]["amount_fen"]
    return face - row["payout_fen"] - (sum(awards.values()) - repeated)


def award(row: Row, dispute: Row, *, amount_fen: int) -> list[Transfer]:
    """A seller is right: owe what is missing, and take it out once more. A card that held more than was paid for cost
    more; money that never came is a loss."""
    name = f"{row['submission_id']}/dispute-{dispute['number']}/award"
    source = STOCK if dispute["kind"] == "wrong_value" else LOSSES
    owed = Transfer(
        name, COMPENSATE, amount_fen, source, seller(row["seller_id"]), trade_id=row["submission_id"]
    )
    return [
        owed,
        *bookings.send_again(
            transfer_id=f"{name}/again",
            trade_id=row["submission_id"],
            channel=row["channel"],
            amount_fen=amount_fen,
        ),
    ]
