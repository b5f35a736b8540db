"""Whole days of trades driven through the recycling flow by simulated sellers and people, without waiting.

The clock jumps from one thing that happens to the next: a seller brings a card, the machine is due, a person has
decided. What sellers and people do is a simple model of the author's, without a public source;
:class:`pipelines.simulation.trade_people.Habits` has its numbers.
"""

from __future__ import annotations

import hashlib
import heapq
import itertools
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

from pipelines.recycling import bookings, ledger
from pipelines.recycling.accounts import Channel
from pipelines.recycling.disputes import Complained, Disputes
from pipelines.recycling.durable import PHASES
from pipelines.recycling.intake import IntakeRefused, Offered
from pipelines.recycling.ledger_audit import audit
from pipelines.recycling.numbers import TradeNumbers, trade_numbers
from pipelines.recycling.opening import Recycling
from pipelines.recycling.payouts import PayoutDesk
from pipelines.recycling.people import People
from pipelines.recycling.policy import Name
from pipelines.recycling.ports import Pricing
from pipelines.recycling.secret import Secret
from pipelines.recycling.trade_tables import submissions
from pipelines.simulation.partners import (
    PlainRunner,
    SimulatedClock,
    SimulatedIdentity,
    SimulatedIssuer,
    SimulatedProvider,
)
from pipelines.simulation.sold_cards import SoldCard
from pipelines.simulation.trade_people import Clerk, Habits

CHANNELS: tuple[Channel, ...] = ("bank", "alipay", "wechat")
FUNDS_FEN = 10**12
LONGEST = timedelta(days=40)
"""So long after the last card a simulation ends, whatever is open still."""
GIVEN_UP = 100
"""Failures in a row after which a trade is left as it is, and counted as stuck."""
STAYED_PAID = ("paid", "disputed", "closed", "reversed")

Row = Mapping[str, Any]


@dataclass(frozen=True)
class DaysFound:
    """What came of the days. at_the_door: cards that were not taken in, by reason. stuck: trades whose work failed
    again and again, by trouble. fraud_loss_fen: paid to fraudsters and not stopped, known by the truth. people_hours:
    of reviewers, judges and unpackers. wrong: what is wrong with the books, in words."""

    profile: Name
    numbers: TradeNumbers
    offered: int
    stuck: dict[str, int]
    at_the_door: dict[str, int]
    fraud_loss_fen: int
    people_hours: float
    books_sum_fen: int
    wrong: tuple[str, ...]


@dataclass
class WholeDays:
    """One run. opened: the flow of an empty workspace of its own, whose partners are replaced by simulated ones."""

    opened: Recycling
    profile: Name
    cards: Sequence[SoldCard]
    clock: SimulatedClock
    pricing: Pricing
    seed: int
    habits: Habits = field(default_factory=Habits)
    progress: Callable[[int, int], None] = lambda done, total: None

    def __post_init__(self) -> None:
        _hurry(self.opened.engine, self.opened.flow.vault.engine)
        offers: dict[str, list[SoldCard]] = defaultdict(list)
        for card in self.cards:
            offers[card.number].append(card)
        engine, clock = self.opened.engine, self.clock
        flow = replace(
            self.opened.flow,
            pricing=self.pricing,
            issuer=SimulatedIssuer(clock, offers),
            identity=SimulatedIdentity(self.seed),
            payouts=PayoutDesk(provider=SimulatedProvider(self.seed), clock=clock),
            clock=clock,
        )
        self._flow, self._people, self._disputes = flow, People(flow, engine), Disputes(flow, engine)
        self._intake = replace(self.opened.intake, profile=self.profile, clock=clock)
        self._by_id = {card.trade_id: card for card in self.cards}
        self._agenda: list[tuple[datetime, int, Callable[[], None]]] = []
        self._numbered = itertools.count()
        self._clerks = {name: Clerk(self.habits, clock.now) for name in ("reviewer", "judge", "warehouse")}
        self._at_the_door: dict[str, int] = defaultdict(int)
        self._seen: dict[str, tuple[Any, ...]] = {}
        self._asked: set[tuple[str, str]] = set()

    def run(self) -> DaysFound:
        """Drive all trades to their ends."""
        with self.opened.engine.begin() as connection:
            for channel in CHANNELS:
                money = bookings.fund(transfer_id=f"start-{channel}", channel=channel, amount_fen=FUNDS_FEN)
                ledger.post(connection, money, now=self.clock.now)
        for number, card in enumerate(self.cards, start=1):
            self._at(card.at, lambda card=card, number=number: self._offer(card, number))
        until = max(card.at for card in self.cards) + LONGEST
        while (moment := self._next()) is not None and moment <= until:
            self.clock.now = max(self.clock.now, moment)
            while self._agenda and self._agenda[0][0] <= self.clock.now:
                heapq.heappop(self._agenda)[2]()
            self._work()
        return self._found()

    # --- time

    def _at(self, moment: datetime, act: Callable[[], None]) -> None:
        heapq.heappush(self._agenda, (moment, next(self._numbered), act))

    def _in(self, minutes: float, act: Callable[[], None]) -> None:
        self._at(self.clock.now + timedelta(minutes=minutes), act)

    def _next(self) -> datetime | None:
        due = [moment for moment, _, _ in self._due(limit=1)]
        return min([*due, *(moment for moment, _, _ in self._agenda[:1])], default=None)

    def _due(self, *, limit: int) -> list[tuple[datetime, str, str]]:
        """Trades that the machine will see to next, with when: a submission takes it a moment."""
        columns = submissions.c
        chosen = sa.select(columns.due_at, columns.submission_id, columns.state)
        chosen = chosen.where(columns.due_at.is_not(None), columns.failures < GIVEN_UP)
        chosen = chosen.order_by(columns.due_at, columns.submission_id)
        with self.opened.engine.connect() as connection:
            rows = connection.execute(chosen.limit(limit)).all()
        look = timedelta(seconds=self.habits.look)
        return [(due + look if state == "submitted" else due, one, state) for due, one, state in rows]

    def _work(self) -> None:
        """Let the machine do what is due, and let sellers and people see what came of it."""
        runner, busy = PlainRunner(self.opened.engine), True
        while busy:
            ready = [trade for trade in self._due(limit=50) if trade[0] <= self.clock.now]
            busy = bool(ready)
            for _, one, state in ready:
                PHASES[state](self._flow, runner, one)
                self._react(one)

    # --- sellers

    def _offer(self, card: SoldCard, number: int) -> None:
        offered = Offered(
            number=Secret(card.number),
            secret=Secret(card.secret),
            asked=card.asked,
            payee_ref=card.payee_ref,
            channel=CHANNELS[int(card.unseen * 1_000) % len(CHANNELS)],
            submission_id=card.trade_id,
        )
        try:
            self._intake.submit(offered, by="seller-app")
        except IntakeRefused as refusal:
            self._at_the_door[refusal.code] += 1
        else:
            patience = self._rng(card, "patience").expovariate(1 / self.habits.patience_hours)
            self._in(patience * 60, lambda: self._lose_patience(card.trade_id))
        self.progress(number, len(self.cards))

    def _react(self, one: str) -> None:
        """Whoever is concerned sees a trade's new state."""
        row, card = self._read(one), self._by_id[one]
        now_is = (row["state"], row["moved_at"], row["quote_id"])
        if self._seen.get(one) == now_is:
            return
        self._seen[one] = now_is
        habits, state = self.habits, row["state"]
        rng = self._rng(card, f"{state}/{row['version']}")
        if state == "quoted":
            wait = rng.expovariate(1 / habits.answer)
            self._in(wait, lambda: self._answer(one, row["quote_id"]))
        elif state == "lapsed" and rng.random() < habits.asks_again:
            self._in(rng.expovariate(1 / habits.answer), lambda: self._ask_again(one))
        elif state == "rejected" and row["decision"] == "refuse" and not card.is_fraud:
            if self._once(one, "appeal") and rng.random() < habits.appeals:
                self._in(rng.expovariate(1 / habits.answer), lambda: self._appeal(one))
        elif state == "person_needed":
            self._by("reviewer", habits.decision, lambda: self._review(one))
        elif state == "shipping":
            self._in(60 * rng.uniform(20, 72), lambda: self._unpack(one))
        elif state == "verified" and card.complaint and self._once(one, "complaint"):
            self._at(self.clock.now + card.complaint_after, lambda: self._complain(one))
        elif state == "payout_failed":
            self._by("reviewer", habits.decision, lambda: self._pay_again(one))
        elif state == "disputed":
            self._by("judge", habits.judging, lambda: self._judge(one, "judge-1"))

    def _answer(self, one: str, quote_id: str) -> None:
        row, card = self._read(one), self._by_id[one]
        if row["state"] != "quoted" or row["quote_id"] != quote_id or row["valid_until"] < self.clock.now:
            return
        if row["payout_fen"] >= card.least_rate * card.holds_fen(self.clock.now):
            self._intake.accept(one, quote_id=quote_id, by="seller-app")
        else:
            self._intake.decline(one, by="seller-app")
        self._react(one)

    def _ask_again(self, one: str) -> None:
        if self._read(one)["state"] == "lapsed":
            self._intake.ask_again(one, by="seller-app")
            self._react(one)

    def _appeal(self, one: str) -> None:
        if self._read(one)["state"] == "rejected":
            self._intake.ask_person(one, by="seller-app")
            self._react(one)

    def _lose_patience(self, one: str) -> None:
        if self._read(one)["state"] in ("submitted", "person_needed"):
            self._intake.cancel(one, by="seller-app")

    # --- people

    def _by(self, who: str, minutes: float, act: Callable[[], None]) -> None:
        self._at(self._clerks[who].done_at(self.clock.now, minutes), act)

    def _review(self, one: str) -> None:
        if self._read(one)["state"] != "person_needed":
            return
        card = self._by_id[one]
        share = self.habits.catches if card.is_fraud else self.habits.spurns
        decide = self._people.reject if card.unseen < share else self._people.approve
        decide(one, by="reviewer-1", reason="looked at seller and card")
        self._react(one)

    def _unpack(self, one: str) -> None:
        def opened() -> None:
            if self._read(one)["state"] == "shipping":
                film = hashlib.sha256(one.encode()).hexdigest()
                self._people.unpacked(one, by="warehouse-1", film_sha256=film)
                self._react(one)

        self._by("warehouse", self.habits.parcel, opened)

    def _pay_again(self, one: str) -> None:
        self._people.pay_again(one, by="reviewer-1", reason="account corrected with the seller")
        self._react(one)

    def _complain(self, one: str) -> None:
        """Somebody says that something is wrong: a payout that is held is stopped, one that was made is disputed."""
        row, card = self._read(one), self._by_id[one]
        if row["state"] == "verified":
            self._by("reviewer", self.habits.decision, lambda: self._stop(one))
        elif row["state"] == "paid" and card.complaint:
            said = Complained(card.complaint, "told by the buyer")
            self._disputes.complain(one, said, by="buyer-desk")
            self._react(one)
        elif row["state"] in ("paying", "payout_failed"):
            self._in(60, lambda: self._complain(one))

    def _stop(self, one: str) -> None:
        if self._read(one)["state"] != "verified":
            self._complain(one)
        elif self._by_id[one].is_fraud:
            self._people.stop_payout(one, by="reviewer-1", reason="reported before it was paid")

    def _judge(self, one: str, who: str) -> None:
        verdict = "against_trade" if self._by_id[one].is_fraud else "for_trade"
        self._disputes.judge(one, verdict=verdict, by=who, reason="looked at the evidence")
        if self._read(one)["state"] == "disputed":
            self._by("judge", self.habits.judging, lambda: self._judge(one, "judge-2"))

    # --- the same for all

    def _read(self, one: str) -> Row:
        with self.opened.engine.connect() as connection:
            return self._flow.book.read(connection, one)

    def _once(self, one: str, what: str) -> bool:
        is_first = (one, what) not in self._asked
        self._asked.add((one, what))
        return is_first

    def _rng(self, card: SoldCard, what: str) -> random.Random:
        return random.Random(f"{self.seed}/{card.trade_id}/{what}")

    def _found(self) -> DaysFound:
        paid = sa.select(submissions.c.submission_id, submissions.c.payout_fen)
        paid = paid.where(submissions.c.state.in_(STAYED_PAID))
        with self.opened.engine.connect() as connection:
            numbers, books = trade_numbers(connection), audit(connection)
            lost = sum(fen for one, fen in connection.execute(paid) if self._by_id[one].is_fraud)
            troubles = connection.execute(
                sa.select(submissions.c.trouble).where(submissions.c.failures >= GIVEN_UP)
            ).scalars()
            stuck = Counter(troubles)
        return DaysFound(
            profile=self.profile,
            numbers=numbers,
            offered=len(self.cards),
            stuck=dict(stuck),
            at_the_door=dict(self._at_the_door),
            fraud_loss_fen=lost,
            people_hours=sum(clerk.worked for clerk in self._clerks.values()) / 60,
            books_sum_fen=books.books_sum_fen,
            wrong=(*map(str, books.differences), *books.faults),
        )


def _hurry(*engines: sa.Engine) -> None:
    """A simulation's databases are thrown away: nothing waits for a disk."""
    for engine in engines:
        event.listen(
            engine, "connect", lambda connection, record: connection.execute("PRAGMA synchronous=OFF")
        )
        engine.dispose()
