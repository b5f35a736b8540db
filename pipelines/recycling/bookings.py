"""The trade's business operations as transfers. They build only; :func:`pipelines.recycling.ledger.post` posts.

``transfer_id`` names the operation once and for all, for example trade id and step; linked transfers add to it. Amounts
come in fen. Only :func:`split_fen` divides, and it says who gets what is left over.
"""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.recycling.accounts import (
    CAPITAL,
    LOGISTICS,
    LOSSES,
    REVENUE,
    STOCK,
    Channel,
    Party,
    Tax,
    cash,
    deposit,
    partner,
    seller,
    tax,
    transit,
)
from pipelines.recycling.ledger_model import Account, Transfer

ONE_BPS = 10_000
"""Basis points in a whole."""

BUY, SETTLE, FEE, LOGISTICS_FEE, CONFIRM = (
    "buy_card",
    "settle_payout",
    "charge_fee",
    "charge_logistics",
    "confirm_payout",
)
FREEZE = "freeze_payout"
SET_ASIDE = "set_aside_tax"
COMPENSATE = "compensate_seller"
"""What a dispute found that a seller is still owed."""


class SplitError(ValueError):
    """The sum or the share cannot be divided."""


@dataclass(frozen=True)
class Split:
    """A sum divided without a fen lost: ``part_fen`` rounded down, ``rest_fen`` all that is left."""

    part_fen: int
    rest_fen: int


def split_fen(amount_fen: int, *, part_bps: int) -> Split:
    """A share of a sum in basis points; the other side gets what does not divide. Raises SplitError."""
    if amount_fen < 0 or not 0 <= part_bps <= ONE_BPS:
        raise SplitError("a split is of a sum from 0 fen up, at 0 to 10000 basis points")
    part = amount_fen * part_bps // ONE_BPS
    return Split(part_fen=part, rest_fen=amount_fen - part)


def fund(*, transfer_id: str, channel: Channel, amount_fen: int) -> list[Transfer]:
    """The platform puts money into a channel."""
    return [Transfer(transfer_id, "fund", amount_fen, cash(channel), CAPITAL)]


def move_cash(*, transfer_id: str, source: Channel, target: Channel, amount_fen: int) -> list[Transfer]:
    """Money goes from one channel to another."""
    return [Transfer(transfer_id, "move_cash", amount_fen, cash(target), cash(source))]


def freeze_payout(*, transfer_id: str, trade_id: str, channel: Channel, amount_fen: int) -> list[Transfer]:
    """The quote was accepted: reserve its payout, so that it cannot be spent on anything else."""
    sides = (transit(channel), cash(channel))
    return [Transfer(transfer_id, FREEZE, amount_fen, *sides, kind="pending", trade_id=trade_id)]


def settle_payout(
    *, transfer_id: str, frozen_id: str, trade_id: str, seller_ref: str, price_fen: int, payout_fen: int
) -> list[Transfer]:
    """The card was verified: it is bought, the seller is owed the price, and the payout leaves the frozen money.

    What was frozen beyond ``payout_fen`` (the price less fees and tax) is free again."""
    return [
        _buy(f"{transfer_id}/buy", trade_id, seller_ref, price_fen),
        Transfer(transfer_id, SETTLE, payout_fen, kind="settle", pending_id=frozen_id, trade_id=trade_id),
    ]


def void_payout(*, transfer_id: str, frozen_id: str, trade_id: str) -> list[Transfer]:
    """The trade ends without payment: what was frozen is free again."""
    return [Transfer(transfer_id, "void_payout", kind="void", pending_id=frozen_id, trade_id=trade_id)]


def send_again(*, transfer_id: str, trade_id: str, channel: Channel, amount_fen: int) -> list[Transfer]:
    """A payout failed and its money came back: take it out once more, perhaps by another channel."""
    sides = (transit(channel), cash(channel))
    return [Transfer(transfer_id, "send_again", amount_fen, *sides, trade_id=trade_id)]


def confirm_payout(
    *, transfer_id: str, trade_id: str, channel: Channel, seller_ref: str, amount_fen: int
) -> list[Transfer]:
    """The provider says that the seller has the money: it is owed no more."""
    return [
        Transfer(transfer_id, CONFIRM, amount_fen, seller(seller_ref), transit(channel), trade_id=trade_id)
    ]


def return_payout(*, transfer_id: str, trade_id: str, channel: Channel, amount_fen: int) -> list[Transfer]:
    """The provider says that it did not pay: the money is ours again, and the seller is still owed."""
    sides = (cash(channel), transit(channel))
    return [Transfer(transfer_id, "return_payout", amount_fen, *sides, trade_id=trade_id)]


def charge_fee(*, transfer_id: str, trade_id: str, seller_ref: str, amount_fen: int) -> list[Transfer]:
    """The platform's fee out of what the seller is owed."""
    return [Transfer(transfer_id, FEE, amount_fen, seller(seller_ref), REVENUE, trade_id=trade_id)]


def charge_logistics(*, transfer_id: str, trade_id: str, seller_ref: str, amount_fen: int) -> list[Transfer]:
    """Shipping of a physical card out of what the seller is owed; the carrier is owed it."""
    return [
        Transfer(transfer_id, LOGISTICS_FEE, amount_fen, seller(seller_ref), LOGISTICS, trade_id=trade_id)
    ]


def pay_carrier(*, transfer_id: str, channel: Channel, amount_fen: int) -> list[Transfer]:
    """The carrier's invoice is paid out of a channel's cash."""
    return [Transfer(transfer_id, "pay_carrier", amount_fen, LOGISTICS, cash(channel))]


def sell_card(
    *, transfer_id: str, trade_id: str, channel: Channel, cost_fen: int, proceeds_fen: int
) -> list[Transfer]:
    """A bought card is sold on: its cost leaves the stock; what it brought above is revenue, below is a loss."""
    covered = min(cost_fen, proceeds_fen)
    legs = [
        ("", cash(channel), STOCK, covered),
        ("/margin", cash(channel), REVENUE, proceeds_fen - covered),
        ("/loss", LOSSES, STOCK, cost_fen - covered),
    ]
    return [
        Transfer(transfer_id + suffix, "sell_card", fen, debit, credit, trade_id=trade_id)
        for suffix, debit, credit, fen in legs
        if fen
    ]


def split_revenue(
    *, transfer_id: str, trade_id: str, amount_fen: int, partner_ref: str, partner_bps: int
) -> list[Transfer]:
    """A partner's share of a revenue, rounded down; the platform keeps the rest. Empty where the share is nothing."""
    share = split_fen(amount_fen, part_bps=partner_bps).part_fen
    sides = (REVENUE, partner(partner_ref))
    return [Transfer(transfer_id, "split_revenue", share, *sides, trade_id=trade_id)] if share else []


def set_aside_tax(
    *, transfer_id: str, trade_id: str, kind: Tax, amount_fen: int, seller_ref: str | None = None
) -> list[Transfer]:
    """Keep an amount for the tax office: out of the platform's revenue, or out of what a seller is owed."""
    source = REVENUE if seller_ref is None else seller(seller_ref)
    return [Transfer(transfer_id, SET_ASIDE, amount_fen, source, tax(kind), trade_id=trade_id)]


def hold_deposit(
    *,
    transfer_id: str,
    party: Party,
    reference: str,
    amount_fen: int,
    other: Account,
    trade_id: str | None = None,
) -> list[Transfer]:
    """A deposit for disputes: paid in (other: cash of a channel), or kept from what a seller is owed."""
    sides = (other, deposit(party, reference))
    return [Transfer(transfer_id, "hold_deposit", amount_fen, *sides, trade_id=trade_id)]


def release_deposit(
    *,
    transfer_id: str,
    party: Party,
    reference: str,
    amount_fen: int,
    other: Account,
    trade_id: str | None = None,
) -> list[Transfer]:
    """A deposit goes back: out of the cash of a channel, or to what a seller is owed."""
    sides = (deposit(party, reference), other)
    return [Transfer(transfer_id, "release_deposit", amount_fen, *sides, trade_id=trade_id)]


def forfeit_deposit(
    *, transfer_id: str, trade_id: str, party: Party, reference: str, amount_fen: int, to: Account = REVENUE
) -> list[Transfer]:
    """A dispute was lost: the deposit goes to the platform, or to the account of who won."""
    return [
        Transfer(transfer_id, "forfeit_deposit", amount_fen, deposit(party, reference), to, trade_id=trade_id)
    ]


def write_off(*, transfer_id: str, trade_id: str, amount_fen: int) -> list[Transfer]:
    """A bought card turned out worthless: its cost leaves the stock as a loss."""
    return [Transfer(transfer_id, "write_off", amount_fen, LOSSES, STOCK, trade_id=trade_id)]


def _buy(transfer_id: str, trade_id: str, seller_ref: str, price_fen: int) -> Transfer:
    return Transfer(transfer_id, BUY, price_fen, STOCK, seller(seller_ref), trade_id=trade_id)
