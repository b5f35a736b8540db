"""What a ledger is made of: accounts, balances, transfers, and the reasons for which one is refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Side = Literal["debit", "credit", "both"]
Kind = Literal["posted", "pending", "settle", "void"]
Outcome = Literal["posted", "exists"]

SUMS = ("debits_posted", "credits_posted", "debits_pending", "credits_pending")


class LedgerRefusal(Exception):
    """A transfer cannot be posted; nothing of its call is. The subclasses say why."""


class IdReused(LedgerRefusal):
    """The transfer's id stands in the ledger with another body."""


class PartlyPosted(LedgerRefusal):
    """Some of the linked transfers are in the ledger and some are not: they were linked otherwise before."""


class Overdraft(LedgerRefusal):
    """The transfer would take an account beyond its limit."""


class UnknownPending(LedgerRefusal):
    """There is no pending transfer of this id to settle or void."""


class PendingEnded(LedgerRefusal):
    """The pending transfer was settled or voided already."""


class AbovePending(LedgerRefusal):
    """More would be settled than is pending."""


class MalformedTransfer(LedgerRefusal):
    """The amount is not a whole number of fen above zero, the sides are not two accounts, or an id is too long."""


@dataclass(frozen=True)
class Account:
    """An account by name. stays_on: the side on which its balance must stay; ``both``: it may stand on either."""

    name: str
    stays_on: Side


@dataclass(frozen=True)
class Balance:
    """What an account holds, in fen. Pending sums are of pending transfers that are neither settled nor voided."""

    name: str
    stays_on: Side
    debits_posted: int = 0
    credits_posted: int = 0
    debits_pending: int = 0
    credits_pending: int = 0

    @property
    def fen(self) -> int:
        """The posted balance on the account's own side; of an account without a limit, debits less credits."""
        owed = self.debits_posted - self.credits_posted
        return -owed if self.stays_on == "credit" else owed

    @property
    def available_fen(self) -> int:
        """What may still be taken: the balance less what is pending against it."""
        against = {"credit": self.debits_pending, "debit": self.credits_pending, "both": 0}
        return self.fen - against[self.stays_on]

    @property
    def within_limit(self) -> bool:
        return self.stays_on == "both" or self.available_fen >= 0


@dataclass(frozen=True)
class Transfer:
    """One debit and one credit of the same amount. reason: the business operation's name.

    A settle or void names its ``pending_id`` instead of accounts; a void has no amount of its own: it frees all.
    """

    transfer_id: str
    reason: str
    amount_fen: int = 0
    debit: Account | None = None
    credit: Account | None = None
    kind: Kind = "posted"
    pending_id: str | None = None
    trade_id: str | None = None


def check_form(transfer: Transfer) -> None:
    """Raises MalformedTransfer where a transfer could not be meant, whatever the ledger holds."""
    named = transfer.transfer_id
    lengths = ((named, 200), (transfer.reason, 64), (transfer.trade_id or "-", 128))
    if not all(0 < len(text) <= longest for text, longest in lengths):
        raise MalformedTransfer(f"{named[:200]}: id, reason or trade are empty or too long")
    if transfer.kind == "void":
        if transfer.amount_fen or transfer.debit or transfer.credit:
            raise MalformedTransfer(
                f"{named}: a void frees all of its pending transfer and has no amount or accounts"
            )
    elif type(transfer.amount_fen) is not int or not 0 < transfer.amount_fen < 2**62:
        raise MalformedTransfer(f"{named}: an amount is a whole number of fen above zero")
    ends = transfer.kind in ("settle", "void")
    if ends != (transfer.pending_id is not None) or ends == (transfer.debit is not None):
        raise MalformedTransfer(
            f"{named}: a settle or void names a pending transfer, the others name two accounts"
        )
    if not ends and (transfer.debit is None or transfer.credit is None or transfer.debit == transfer.credit):
        raise MalformedTransfer(f"{named}: debit and credit are two different accounts")
