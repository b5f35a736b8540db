"""The chart of accounts of the trade. An account's name is its heading, or heading and whose it is: ``seller:s-1001``.

Whose it is: an opaque reference, never a name, number of an account or identity document.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from pipelines.recycling.ledger_model import Account, Side

Channel = Literal["bank", "alipay", "wechat", "ecny"]
"""Ways by which money goes out and comes in."""

CHANNELS: tuple[Channel, ...] = get_args(Channel)
CHANNEL_NAMES: dict[Channel, tuple[str, str]] = {
    "bank": ("银行卡", "bank transfer"),
    "alipay": ("支付宝", "Alipay"),
    "wechat": ("微信支付", "WeChat Pay"),
    "ecny": ("数字人民币", "e-CNY"),
}

Tax = Literal["vat", "income"]
Party = Literal["buyer", "seller"]


@dataclass(frozen=True)
class Heading:
    """A row of the chart. stays_on: the side its accounts' balances must stay on; ``of``: whose each account is."""

    code: str
    zh: str
    en: str
    stays_on: Side
    of: str = ""


CHART: dict[str, Heading] = {
    heading.code: heading
    for heading in (
        Heading("cash", "平台资金", "platform cash", "debit", of="payout channel"),
        Heading("transit", "在途打款", "payouts under way", "debit", of="payout channel"),
        Heading("stock", "库存卡券（按成本）", "cards bought, at cost", "debit"),
        Heading("losses", "欺诈损失", "losses from fraud", "debit"),
        Heading("seller", "应付卖家", "owed to a seller", "credit", of="seller"),
        Heading("revenue", "平台收入", "platform revenue", "credit"),
        Heading("partner", "应付合作方分成", "owed to a partner", "credit", of="partner"),
        Heading("tax", "税款准备", "set aside for tax", "credit", of="kind of tax"),
        Heading("logistics", "应付物流费", "logistics fees owed", "credit"),
        Heading("carriage", "运费差额", "carriage not covered by postage", "debit"),
        Heading("deposit", "争议保证金", "deposit held for disputes", "credit", of="party and whose"),
        Heading("capital", "投入资金", "money put in", "credit"),
        Heading("suspense", "暂记", "suspense: to be explained", "both"),
    )
}


class AccountNameError(ValueError):
    """Whose the account is cannot be part of an account's name."""


def cash(channel: Channel) -> Account:
    return _account("cash", channel)


def transit(channel: Channel) -> Account:
    """Money on its way to sellers: gone from cash, not confirmed by the provider yet."""
    return _account("transit", channel)


def seller(seller_ref: str) -> Account:
    return _account("seller", seller_ref)


def partner(partner_ref: str) -> Account:
    return _account("partner", partner_ref)


def tax(kind: Tax) -> Account:
    return _account("tax", kind)


def deposit(party: Party, reference: str) -> Account:
    return _account("deposit", f"{party}:{reference}")


STOCK = Account("stock", "debit")
LOSSES = Account("losses", "debit")
REVENUE = Account("revenue", "credit")
LOGISTICS = Account("logistics", "credit")
CARRIAGE = Account("carriage", "debit")
CAPITAL = Account("capital", "credit")
SUSPENSE = Account("suspense", "both")


def heading_of(name: str) -> Heading | None:
    """The row of the chart that an account's name belongs to."""
    return CHART.get(name.partition(":")[0])


def account_named(name: str) -> Account:
    """The account of a name as it stands in the books. Raises AccountNameError where the chart has no such heading."""
    heading = heading_of(name)
    if heading is None or bool(heading.of) != (":" in name):
        raise AccountNameError(f"{name}: no such account; headings: {', '.join(CHART)}")
    return Account(name, heading.stays_on)


def _account(code: str, whose: str) -> Account:
    if not whose or len(whose) > 140 or not whose.isprintable():
        raise AccountNameError(f"{code}: whose account it is must be 1 to 140 printable characters")
    return Account(f"{code}:{whose}", CHART[code].stays_on)
