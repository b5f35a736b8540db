"""A platform in a folder: book, vault, ledger, evidence, and partners that do what a test tells them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from features.catalogue import load_catalogue
from pipelines.application_data import ApplicationData
from pipelines.databases import immediate_engine
from pipelines.recycling import bookings, ledger
from pipelines.recycling.adapters.issuer import CardCheck, PresentedCard, Redemption
from pipelines.recycling.adapters.outcomes import Outcome
from pipelines.recycling.blind_index import BlindIndex
from pipelines.recycling.disputes import Disputes
from pipelines.recycling.evidence import EvidenceLog
from pipelines.recycling.flow import Flow, expires_on, priced_as, value_fen
from pipelines.recycling.intake import Intake, Offered
from pipelines.recycling.payouts import Accepted, NeverHeard, NotSent, PayoutDesk, Refused, Unknown
from pipelines.recycling.people import People
from pipelines.recycling.policy import PROFILES
from pipelines.recycling.ports import Priced
from pipelines.recycling.secret import Secret
from pipelines.recycling.trades import TradeBook
from pipelines.recycling.vault import Vault
from pipelines.recycling.vault_keys import LocalKeys
from pipelines.recycling.vault_tables import open_vault_database
from pipelines.signing_keys import SigningKeys
from pipelines.simulation.partners import PlainRunner

NOW = datetime(2026, 3, 1, 2, tzinfo=UTC)
FUNDS_FEN = 10_000_000


@dataclass
class Clock:
    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **parts: float) -> None:
        self.now += timedelta(**parts)


@dataclass
class FakePricing:
    """Quotes 90 % of what is sold, 1 % where it has expired. ``decision`` and ``trouble`` are for the test to set."""

    clock: Clock
    decision: str = "pay"
    trouble: str = ""
    told: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    quotes: dict[str, Priced] = field(default_factory=dict)
    cards: dict[str, Any] = field(default_factory=dict)

    def quote(self, submission: Mapping[str, Any], *, key: str) -> Outcome[Priced]:
        if self.trouble:
            return Outcome(self.trouble)  # pyright: ignore[reportArgumentType]
        card, trade_id = submission["card"], submission["trade_id"]
        if (
            self.cards.setdefault(trade_id, card) != card
        ):  # as the service: one trade is one card with one value
            return Outcome("refused", code="trade_id_reused")
        value = card.get("balance", card["face_value"])["amount_fen"]
        is_expired = card.get("expires_on", "9999") < self.clock.now.date().isoformat()
        priced = Priced(
            quote_id=f"q-{len(self.quotes)}",
            payout_fen=value // 100 if is_expired else value * 9 // 10,
            decision=self.decision,
            no_offer=False,
            valid_until=self.clock.now + timedelta(minutes=30),
            law_version="law-1",
            reasons=(),
            degraded=(),
        )
        return Outcome("ok", self.quotes.setdefault(key, priced))

    def tell(self, event: Mapping[str, Any]) -> Outcome[str]:
        self.told[event["event_id"]] = event
        return Outcome("ok", "recorded")


@dataclass
class FakeIssuer:
    """Knows cards by number; what it does not know is active with the balance ``balance_fen``."""

    balance_fen: int = 50_000
    standing: str = "active"
    trouble: str = ""
    expires_on: date | None = None
    reactivatable: bool | None = None
    taken: dict[str, int] = field(default_factory=dict)
    emptied: set[str] = field(default_factory=set)
    wrong_secrets: set[str] = field(default_factory=set)

    def check(self, card: PresentedCard) -> Outcome[CardCheck]:
        if self.trouble:
            return Outcome(self.trouble)  # pyright: ignore[reportArgumentType]
        if card.secret.open() in self.wrong_secrets:
            return Outcome("refused", code="wrong_secret")
        if card.number.open() in self.emptied:
            return Outcome("ok", CardCheck("used", balance_fen=0))
        found = CardCheck(
            self.standing,  # pyright: ignore[reportArgumentType]
            balance_fen=self.balance_fen,
            expires_on=self.expires_on,
            reactivatable=self.reactivatable,
        )
        return Outcome("ok", found)

    def redeem(self, card: PresentedCard, *, redemption_id: str, amount_fen: int) -> Outcome[Redemption]:
        if self.trouble:
            return Outcome(self.trouble)  # pyright: ignore[reportArgumentType]
        self.taken.setdefault(redemption_id, amount_fen)
        self.emptied.add(card.number.open())
        return self.redemption(redemption_id, card_type=card.card_type)

    def redemption(self, redemption_id: str, *, card_type: str) -> Outcome[Redemption]:
        fen = self.taken.get(redemption_id)
        if fen is None:
            return Outcome("refused", code="unknown_redemption")
        return Outcome("ok", Redemption(redemption_id, "done", fen, "active"))


@dataclass
class FakeIdentity:
    verified_as: str = "yes"

    def verified(self, reference: str) -> Outcome[Any]:
        return Outcome("ok", self.verified_as)


@dataclass
class FakeProvider:
    """Pays once per id. ``mood``: pays, refuses, pays and does not answer (``silent``), or pays, does not answer and is
    not asked again for two seconds at a time (``left_alone``), or is not even sent anything (``not_sent``)."""

    mood: str = "pays"
    paid: dict[str, int] = field(default_factory=dict)
    asked: int = 0

    def submit(
        self, *, payout_id: str, channel: str, account_ref: str, amount_fen: int, name_ref: str
    ) -> Any:
        if self.mood == "not_sent":
            return NotSent("left_alone", rest_seconds=2)
        self.asked += 1
        if self.mood == "refuses":
            return Refused("account_closed")
        self.paid.setdefault(payout_id, amount_fen)
        silent = self.mood in ("silent", "left_alone")
        return Unknown("timeout") if silent else Accepted(f"p-{payout_id}", paid=True)

    def query(self, payout_id: str, *, channel: str, amount_fen: int) -> Any:
        if self.mood == "silent":
            return Unknown("timeout")
        if self.mood == "left_alone":
            return Unknown("left_alone", rest_seconds=2)
        return Accepted(f"p-{payout_id}", paid=True) if payout_id in self.paid else NeverHeard()

    def statement(self, day: str, *, channel: str) -> list[Any]:
        return []


@dataclass(frozen=True)
class World:
    """Everything of one platform, and its partners."""

    data: ApplicationData
    engine: sa.Engine
    clock: Clock
    pricing: FakePricing
    issuer: FakeIssuer
    identity: FakeIdentity
    provider: FakeProvider
    flow: Flow
    intake: Intake
    people: People

    @property
    def disputes(self) -> Disputes:
        return Disputes(self.flow, self.engine)

    def submit(self, number: int = 1, **card: Any) -> str:
        """Submit a card; its submission's id."""
        return self.intake.submit(offered(number, **card), by="seller-app")["submission_id"]

    def work(self) -> None:
        """Do what is due until nothing is."""
        from pipelines.recycling.durable import PHASES
        from pipelines.recycling.trades import due

        while True:
            with self.engine.connect() as connection:
                found = due(connection, now=self.clock.now, limit=100)
            if not found:
                return
            for trade in found:
                PHASES[trade["state"]](self.flow, PlainRunner(self.engine), trade["submission_id"])

    def trade(self, submission_id: str) -> Mapping[str, Any]:
        with self.engine.connect() as connection:
            return self.flow.book.read(connection, submission_id)

    def state(self, submission_id: str) -> str:
        return self.trade(submission_id)["state"]

    def known_as(self, submission_id: str) -> str:
        """The trade_id that the pricing API knows it under."""
        row = self.trade(submission_id)
        return priced_as(row, value_fen=value_fen(row), expires_on=expires_on(row))

    def accept(self, submission_id: str) -> None:
        self.intake.accept(submission_id, quote_id=self.trade(submission_id)["quote_id"], by="seller-app")


def offered(number: int = 1, *, submission_id: str = "", face_fen: int = 50_000, **card: Any) -> Offered:
    """A JD card; its number and secret look like nothing real."""
    return Offered(
        number=Secret(f"JDV{number:017d}"),
        secret=Secret(f"TESTTEST{number:08d}"),
        asked={
            "card": {"card_type": "jd_ecard", "card_form": "virtual", "face_value": {"amount_fen": face_fen}}
            | card,
            "seller": {"seller_id": f"s-{number % 7}", "device_id": "d-1"},
        },
        payee_ref=f"payee-{number % 7}",
        channel="bank",
        submission_id=submission_id,
    )


def open_world(folder: Path, *, profile: str = "head", url: str = "") -> World:
    """A platform in a folder, with money in the bank. url: of its database; empty: in the folder."""
    url = url or f"sqlite:///{folder / 'huika.db'}"
    data, engine = ApplicationData(url), immediate_engine(url)
    clock = Clock()
    evidence = EvidenceLog.open(engine, keys=SigningKeys(folder=folder / "keys"), origin="test.example/huika")
    vault = Vault(
        engine=open_vault_database(f"sqlite:///{folder / 'vault.db'}"),
        keys=LocalKeys(folder / "vault_keys"),
        index=BlindIndex(b"k" * 32),
        two_person_fen=100_000,
        on_reveal=lambda reveal: None,
    )
    pricing, issuer = FakePricing(clock), FakeIssuer()
    identity, provider = FakeIdentity(), FakeProvider()
    book = TradeBook(evidence)
    flow = Flow(
        book=book,
        vault=vault,
        pricing=pricing,
        issuer=issuer,
        identity=identity,
        payouts=PayoutDesk(provider=provider, clock=clock),
        policies=PROFILES,
        clock=clock,
    )
    intake = Intake(engine, book, vault, load_catalogue(), profile, clock)  # pyright: ignore[reportArgumentType]
    with engine.begin() as connection:
        funds = bookings.fund(transfer_id="start", channel="bank", amount_fen=FUNDS_FEN)
        ledger.post(connection, funds, now=clock.now)
    return World(data, engine, clock, pricing, issuer, identity, provider, flow, intake, People(flow, engine))
