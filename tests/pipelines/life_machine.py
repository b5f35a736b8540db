"""The life of trades under random use: sellers, people, partners in every mood, timers, crashes and races in the middle
of a phase. What must hold after each step is checked against the books and against what partners say."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import sqlalchemy as sa
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from pipelines.databases import reading
from pipelines.recycling import ledger
from pipelines.recycling.durable import PHASES
from pipelines.recycling.intake import IntakeRefused
from pipelines.recycling.ledger_audit import audit, books_sum
from pipelines.recycling.ledger_model import LedgerRefusal
from pipelines.recycling.people import DecisionRefused
from pipelines.recycling.states import MOVES, ForbiddenMove
from pipelines.recycling.trade_tables import submissions
from pipelines.recycling.trades import MovedMeanwhile, Step, due, steps_of
from pipelines.simulation.partners import PlainRunner
from tests.pipelines.recycling_world import World, open_world

ARROWS = {(move.source, move.target, move.actor) for move in MOVES}
RESERVED = ("frozen", "shipping", "received", "verified")
"""States in which the payout of the trade's quote is reserved and no more."""
HOLD_HOURS = 24
REFUSALS = (ForbiddenMove, IntakeRefused, DecisionRefused, MovedMeanwhile, LedgerRefusal)
BY = {"by": "person-1", "reason": "because"}

ACTS: Mapping[str, Callable[[World, str], Any]] = {
    "accept": lambda world, one: world.accept(one),
    "decline": lambda world, one: world.intake.decline(one, by="app"),
    "cancel": lambda world, one: world.intake.cancel(one, by="app"),
    "ask_again": lambda world, one: world.intake.ask_again(one, by="app"),
    "ask_person": lambda world, one: world.intake.ask_person(one, by="app"),
    "approve": lambda world, one: world.people.approve(one, **BY),
    "reject": lambda world, one: world.people.reject(one, **BY),
    "good": lambda world, one: world.people.looked_at(one, is_good=True, **BY),
    "bad": lambda world, one: world.people.looked_at(one, is_good=False, **BY),
    "stop": lambda world, one: world.people.stop_payout(one, **BY),
    "pay_again": lambda world, one: world.people.pay_again(one, **BY),
}
ISSUER = ("active", "used", "not_connected", "timeout", "less")
INDEX = st.integers(0, 2)


class Crashed(Exception):
    """The process died here."""


class BrokenRunner(PlainRunner):
    """Dies after so many parts of phases, or lets somebody act just before that part's transaction."""

    def __init__(self, engine: sa.Engine, *, parts: int, meanwhile: Callable[[], None] | None) -> None:
        super().__init__(engine)
        self._left, self._meanwhile = parts, meanwhile

    def step(self, name: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        done = work()
        self._part()
        return done

    def transaction(self, name: str, work: Callable[[sa.Connection], dict[str, Any]]) -> dict[str, Any]:
        done = super().transaction(name, work)
        self._part()
        return done

    def _part(self) -> None:
        self._left -= 1
        if self._left == 0:
            if self._meanwhile is None:
                raise Crashed
            self._meanwhile()


class LifeMachine(RuleBasedStateMachine):
    """Up to three trades of a platform."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = TemporaryDirectory()
        self.world = open_world(Path(self._folder.name))
        for engine in (self.world.engine, self.world.flow.vault.engine):
            engine.dispose()
            sa.event.listen(engine, "connect", lambda raw, record: raw.execute("PRAGMA synchronous=OFF"))
        self.reader = reading(self.world.engine)
        self.trades: list[str] = []

    def teardown(self) -> None:
        self.world.engine.dispose()
        self.world.flow.vault.engine.dispose()
        self._folder.cleanup()

    @rule(decision=st.sampled_from(("pay", "hold", "review", "refuse")))
    def submit(self, decision: str) -> None:
        self.world.pricing.decision = decision
        if len(self.trades) < 3:
            self.trades.append(self.world.submit(len(self.trades) + 1))

    @rule(mood=st.sampled_from(ISSUER))
    def issuer_is(self, mood: str) -> None:
        issuer = self.world.issuer
        issuer.trouble = mood if mood in ("not_connected", "timeout") else ""
        issuer.standing = "used" if mood == "used" else "active"
        issuer.balance_fen = 30_000 if mood == "less" else 50_000

    @rule(mood=st.sampled_from(("pays", "refuses", "silent")))
    def provider_is(self, mood: str) -> None:
        self.world.provider.mood = mood

    @rule(minutes=st.sampled_from((1, 10, 45, 60 * 25, 60 * 24 * 8)))
    def later(self, minutes: int) -> None:
        self.world.clock.forward(minutes=minutes)

    @rule(name=st.sampled_from(sorted(ACTS)), which=INDEX)
    def act(self, name: str, which: int) -> None:
        if which < len(self.trades):
            try:
                ACTS[name](self.world, self.trades[which])
            except REFUSALS:
                return

    @rule(which=INDEX)
    def act_on_old_knowledge(self, which: int) -> None:
        """Somebody takes back what another one has accepted since it was read."""
        if which >= len(self.trades):
            return
        seen = self.world.trade(self.trades[which])
        self.act("accept", which)
        step = Step("cancelled", "seller", "app", "taken_back", {}, {})
        try:
            with self.world.engine.begin() as connection:
                self.world.flow.book.move(connection, seen, step, now=self.world.clock.now)
        except REFUSALS:
            return

    @rule()
    def work(self) -> None:
        self._work(PlainRunner(self.world.engine))

    @rule(parts=st.integers(1, 8))
    def work_and_crash(self, parts: int) -> None:
        self._work(BrokenRunner(self.world.engine, parts=parts, meanwhile=None))

    @rule(parts=st.integers(1, 8), name=st.sampled_from(sorted(ACTS)), which=INDEX)
    def work_and_race(self, parts: int, name: str, which: int) -> None:
        meanwhile = lambda: self.act(name, which)  # noqa: E731
        self._work(BrokenRunner(self.world.engine, parts=parts, meanwhile=meanwhile))

    def _work(self, runner: PlainRunner) -> None:
        for _ in range(12):
            with self.reader.connect() as connection:
                found = due(connection, now=self.world.clock.now, limit=10)
            if not found:
                return
            for trade in found:
                try:
                    PHASES[trade["state"]](self.world.flow, runner, trade["submission_id"])
                except Crashed:
                    return
                except MovedMeanwhile:
                    continue

    # --- what must hold

    @invariant()
    def the_books_are_whole(self) -> None:
        with self.reader.connect() as connection:
            assert audit(connection).clean
            assert books_sum(connection) == 0

    @invariant()
    def money_is_where_the_state_says(self) -> None:
        world, paid = self.world, Counter(name.rpartition("-payout-")[0] for name in self.world.provider.paid)
        taken = Counter(name.split("-take")[0] for name in world.issuer.taken)
        with self.reader.connect() as connection:
            for row in connection.execute(sa.select(submissions)).mappings():
                one, moved = (
                    row["submission_id"],
                    ledger.transfers_of(connection, trade_id=row["submission_id"]),
                )
                ended = {line["pending_id"] for line in moved if line["pending_id"]}
                frozen = [
                    line for line in moved if line["kind"] == "pending" and line["transfer_id"] not in ended
                ]
                assert len(frozen) == (row["state"] in RESERVED), row["state"]
                assert paid[one] <= 1, "paid twice"
                assert taken[one] <= 1, "taken twice"
                stopped = any(step["why"] == "stopped" for step in steps_of(connection, one))
                assert not (taken[one] and row["state"] == "returned") or stopped, "taken and not paid"
                if row["state"] in ("paid", "closed"):
                    assert sum(fen for name, fen in world.provider.paid.items() if name.startswith(f"{one}-"))
                    assert paid[one] == 1

    @invariant()
    def steps_follow_the_arrows(self) -> None:
        with self.reader.connect() as connection:
            for one in self.trades:
                found = steps_of(connection, one)
                assert [step["source"] for step in found[1:]] == [step["target"] for step in found[:-1]]
                assert all((s["source"], s["target"], s["actor"]) in ARROWS for s in found[1:])
                assert [step["version"] for step in found] == sorted({step["version"] for step in found})
                assert len(self.world.flow.book.evidence.leaves_of(one)) >= len(found)
                self._held_long_enough(self.world.trade(one), found)

    def _held_long_enough(self, row: Mapping[str, Any], found: list[Mapping[str, Any]]) -> None:
        if row["decision"] != "hold":
            return
        for before, after in itertools.pairwise(found):
            if (before["target"], after["target"]) == ("verified", "paying"):
                assert (after["at"] - before["at"]).total_seconds() >= HOLD_HOURS * 3_600
