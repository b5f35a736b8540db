"""Partners that live in a simulation: issuer, real-name check, payout provider and a price, without a network.

They obey a simulated clock, and draw what happens by chance from the seed and from what they are asked about: the same
question gets the same answer in every run.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from pipelines.databases import reading
from pipelines.recycling.accounts import Channel
from pipelines.recycling.adapters.checks import Verified
from pipelines.recycling.adapters.issuer import CardCheck, PresentedCard, Redemption, Standing
from pipelines.recycling.adapters.outcomes import Outcome
from pipelines.recycling.flow import PRICED_APART
from pipelines.recycling.payouts import Accepted, Found, NeverHeard, Refused, Submission
from pipelines.recycling.ports import Priced
from pipelines.recycling.statements import StatementLine
from pipelines.simulation.sold_cards import SoldCard

RATE_PERCENT, QUOTE_MINUTES = 90, 30
UNKNOWN_NAMES, WRONG_NAMES = 0.01, 0.002
"""Shares of sellers whose real name the partner does not know, or knows to be another."""
REFUSED_PAYOUTS, SLOW_PAYOUTS = 0.01, 0.1
"""Shares of first payouts that the provider refuses, and of payouts that arrive at the second look only."""


@dataclass
class SimulatedClock:
    """The time of a simulation; whoever runs it sets ``now``."""

    now: datetime

    def __call__(self) -> datetime:
        return self.now


class PlainRunner:
    """Runs a phase's parts one after another, each transaction by itself: a simulation is never cut off."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def read(self, work: Callable[[sa.Connection], Mapping[str, Any]]) -> Mapping[str, Any]:
        with reading(self._engine).connect() as connection:
            return work(connection)

    def step(self, name: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        return work()

    def transaction(self, name: str, work: Callable[[sa.Connection], dict[str, Any]]) -> dict[str, Any]:
        with self._engine.begin() as connection:
            return work(connection)


def chance(seed: int, *words: str) -> float:
    """A number of 0–1 that the seed and the words decide alone."""
    digest = hashlib.sha256("\n".join((str(seed), *words)).encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


@dataclass
class SimulatedIssuer:
    """Knows the cards of a simulation; what it does not know is fake. A card that was offered more than once is as its
    newest offer says."""

    clock: Callable[[], datetime]
    offers: Mapping[str, Sequence[SoldCard]]
    taken: dict[str, Redemption] = field(default_factory=dict)
    emptied: set[str] = field(default_factory=set)

    def check(self, card: PresentedCard) -> Outcome[CardCheck]:
        standing, balance = self._stands(card.number.open())
        return Outcome("ok", CardCheck(standing, balance_fen=balance, reactivatable=True))

    def redeem(self, card: PresentedCard, *, redemption_id: str, amount_fen: int) -> Outcome[Redemption]:
        if redemption_id not in self.taken:
            number = card.number.open()
            standing, balance = self._stands(number)
            is_done = balance == amount_fen
            if is_done:
                self.emptied.add(number)
            state, fen = ("done", amount_fen) if is_done else ("refused", 0)
            self.taken[redemption_id] = Redemption(redemption_id, state, fen, standing)
        return Outcome("ok", self.taken[redemption_id])

    def redemption(self, redemption_id: str, *, card_type: str) -> Outcome[Redemption]:
        known = self.taken.get(redemption_id)
        return Outcome("refused", code="unknown_redemption") if known is None else Outcome("ok", known)

    def _stands(self, number: str) -> tuple[Standing, int | None]:
        now = self.clock()
        offered = [card for card in self.offers.get(number, ()) if card.at <= now]
        if not offered:
            return "fake", None
        card = offered[-1]
        balance = card.holds_fen(now)
        if number in self.emptied or not balance:
            return "used", 0
        return ("expired" if card.is_expired(now) else "active"), balance


@dataclass(frozen=True)
class SimulatedIdentity:
    """Knows nearly every seller's real name."""

    seed: int

    def verified(self, reference: str) -> Outcome[Verified]:
        drawn = chance(self.seed, "identity", reference)
        if drawn < WRONG_NAMES:
            return Outcome("ok", "no")
        return Outcome("ok", "unknown" if drawn < WRONG_NAMES + UNKNOWN_NAMES else "yes")


@dataclass
class SimulatedProvider:
    """Pays once per id: most at once, some at the second look; refuses some first payouts, and pays them when they are
    sent again."""

    seed: int
    paid: dict[str, int] = field(default_factory=dict)
    under_way: set[str] = field(default_factory=set)

    def submit(
        self, *, payout_id: str, channel: Channel, account_ref: str, amount_fen: int, name_ref: str
    ) -> Submission:
        drawn = chance(self.seed, "payout", payout_id)
        if drawn < REFUSED_PAYOUTS and payout_id.endswith("-payout-1"):
            return Refused("account_closed")
        if payout_id not in self.paid and 1 - drawn < SLOW_PAYOUTS:
            self.under_way.add(payout_id)
        self.paid.setdefault(payout_id, amount_fen)
        return Accepted(f"sim-{payout_id}", paid=payout_id not in self.under_way)

    def query(self, payout_id: str, *, channel: Channel, amount_fen: int) -> Found:
        self.under_way.discard(payout_id)
        return Accepted(f"sim-{payout_id}", paid=True) if payout_id in self.paid else NeverHeard()

    def statement(self, day: str, *, channel: Channel) -> list[StatementLine]:
        return []


@dataclass
class StatedPricing:
    """Stands in for the two models: ``RATE_PERCENT`` of what a card holds, 3 % where it has expired, for half an hour.
    alarms: by trade, what is decided about it in place of ``pay``."""

    clock: Callable[[], datetime]
    alarms: Mapping[str, str]
    quotes: dict[str, Priced] = field(default_factory=dict)

    def quote(self, submission: Mapping[str, Any], *, key: str) -> Outcome[Priced]:
        if key not in self.quotes:
            self.quotes[key] = self._priced(submission, key)
        return Outcome("ok", self.quotes[key])

    def _priced(self, submission: Mapping[str, Any], key: str) -> Priced:
        card, now = submission["card"], self.clock()
        value = card.get("balance", card["face_value"])["amount_fen"]
        is_expired = card.get("expires_on", "9999") < now.date().isoformat()
        return Priced(
            quote_id=f"q-{hashlib.sha256(key.encode()).hexdigest()[:32]}",
            payout_fen=value * (3 if is_expired else RATE_PERCENT) // 100,
            decision=self.alarms.get(submission["trade_id"].partition(PRICED_APART)[0], "pay"),
            no_offer=False,
            valid_until=now + timedelta(minutes=QUOTE_MINUTES),
            law_version="simulated",
            reasons=(),
            degraded=(),
        )

    def tell(self, event: Mapping[str, Any]) -> Outcome[str]:
        return Outcome("ok", "recorded")


def stated_alarms(cards: Sequence[SoldCard], *, seed: int) -> dict[str, str]:
    """What the stand-in for the fraud model says of cards: of 60 % of the fraudulent and 1.5 % of the honest, that they
    are refused (two of five) or reviewed (the others)."""
    found = {}
    for card in cards:
        rng = random.Random(f"{seed}/{card.trade_id}/alarm")
        if rng.random() < (0.6 if card.is_fraud else 0.015):
            found[card.trade_id] = "refuse" if rng.random() < 0.4 else "review"
    return found
