"""How much of the trade happens without a person: three profiles of one flow."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

Name = Literal["small", "medium", "head"]

SHARE_ONE = 10_000


@dataclass(frozen=True)
class FlowPolicy:
    """name: the profile. fixed_bps: a rate for every card in basis points of face value, 0: the engine's. all_by_hand:
    a person approves every quote. payout_days: when a paid trade is paid, in days after the card was verified;
    hold_hours: what a held trade waits at least. by_hand_from_fen: payouts that a person approves in any case, 0: none.
    confirm_days: how long complaints are taken. second_person_fen: disputes that two people decide. fee_bps: the
    platform's fee as a share of the price; physical_fee_bps: of physical cards instead, 0: the same. postage_fen: what
    the seller of a physical card pays for its label. answer_days: within how many days a complaint is answered,
    decide_days: decided; then rules decide. stake_bps: what a dispute holds of each party's deposit, as a share of the
    price."""

    name: Name
    fixed_bps: int = 0
    all_by_hand: bool = False
    payout_days: int = 0
    hold_hours: int = 24
    by_hand_from_fen: int = 0
    confirm_days: int = 7
    second_person_fen: int = 100_000
    fee_bps: int = 0
    physical_fee_bps: int = 0
    postage_fen: int = 0
    answer_days: int = 7
    decide_days: int = 21
    stake_bps: int = 1_000

    def needs_person(self, *, decision: str, payout_fen: int) -> bool:
        """Whether a person looks before a seller gets this quote."""
        large = bool(self.by_hand_from_fen) and payout_fen >= self.by_hand_from_fen
        return self.all_by_hand or large or decision == "review"

    @property
    def confirm_window(self) -> timedelta:
        return timedelta(days=self.confirm_days)

    def pay_at(self, *, decision: str, verified_at: datetime) -> datetime:
        """When the money goes out."""
        wait = timedelta(days=self.payout_days)
        return verified_at + (max(wait, timedelta(hours=self.hold_hours)) if decision == "hold" else wait)

    def fee_fen(self, price_fen: int, *, physical: bool) -> int:
        """The platform's fee of a price, rounded down."""
        bps = (self.physical_fee_bps if physical else 0) or self.fee_bps
        return price_fen * bps // SHARE_ONE

    def payout_fen(self, *, value_fen: int, quoted_fen: int) -> int:
        """What is offered: the engine's payout, or the fixed share of what is sold, rounded down, if that is less."""
        if not self.fixed_bps:
            return quoted_fen
        return min(quoted_fen, value_fen * self.fixed_bps // SHARE_ONE)


PROFILES: dict[Name, FlowPolicy] = {
    "small": FlowPolicy("small", fixed_bps=8_500, all_by_hand=True, payout_days=3),
    "medium": FlowPolicy("medium", by_hand_from_fen=100_000, payout_days=1),
    "head": FlowPolicy("head"),
}
"""Small: everything by hand, fixed 85 %, T+3. Medium: rules and people, T+1. Head: automatic, paid at once."""


def policy_of(name: Name, *, fixed_bps: int | None = None) -> FlowPolicy:
    """The policy of a profile, perhaps with another fixed rate."""
    found = PROFILES[name]
    return found if fixed_bps is None else replace(found, fixed_bps=fixed_bps)
