"""Calls of providers: signed or refused, heard once, in any order, and believed in nothing until they are asked."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from pipelines.partner_settings import AdapterSettings
from pipelines.recycling.adapters import connect
from pipelines.recycling.adapters.wallets import IssuerByKind, WalletIssuer
from pipelines.recycling.payout_http import HttpPayouts
from pipelines.recycling.payouts import PayoutDesk
from pipelines.recycling.provider_callbacks import (
    Call,
    EventReused,
    Partner,
    ProviderCallbacks,
    UnknownSubject,
    provider_calls,
)
from pipelines.recycling.provider_signature import SIGNATURE, TIMESTAMP, check_signed, signed_headers
from pipelines.signing import SignatureRefused
from serving.sandbox.app import create_app
from tests.pipelines.recycling_world import Clock, World, offered, open_world
from tests.pipelines.test_flow import assert_books
from tests.pipelines.test_wallets import sold

SECRET, FORMER = "s" * 40, "f" * 40


def is_wallet(card_type: str) -> bool:
    return card_type == "ecny_balance"


@dataclass
class Bank:
    """A platform whose payouts and wallets are the sandbox's, and the calls that came and were not yet let in."""

    world: World
    sandbox: TestClient
    callbacks: ProviderCallbacks
    calls: list[tuple[bytes, Mapping[str, str]]] = field(default_factory=list)

    def paying(self, account: str, number: int = 1) -> str:
        """A trade whose payout to this account was sent; its first answer is noted."""
        one = self.world.intake.submit(replace(offered(number), payee_ref=account), by="app")["submission_id"]
        self.world.work()
        self.world.accept(one)
        self.world.work()
        return one

    def let_in(self, *numbers: int) -> list[str]:
        """Deliver these calls, in this order; what each came to, or why it was refused."""
        return [self._deliver(*self.calls[number]) for number in numbers]

    def _deliver(self, body: bytes, headers: Mapping[str, str]) -> str:
        try:
            check_signed(headers, body, self.callbacks.secrets["payout"], now=self.world.clock.now)
        except SignatureRefused as refusal:
            return refusal.code
        said = json.loads(body)
        partner = "payout" if "payout_id" in said else "wallet"
        about = said.get("payout_id") or said["collection_id"]
        return self.callbacks.heard(Call(partner, said["event_id"], about, said["state"]))

    def stands(self, one: str) -> tuple[str, str]:
        row = self.world.trade(one)
        return row["state"], row["trouble"]


@pytest.fixture
def bank(tmp_path: Path) -> Iterator[Bank]:
    calls: list[tuple[bytes, Mapping[str, str]]] = []

    async def post(url: str, body: bytes, headers: Mapping[str, str]) -> None:
        calls.append((body, headers))

    async def sleep(seconds: float) -> None:
        return None

    clock = Clock()
    with TestClient(
        create_app(post=post, sleep=sleep, now=lambda: clock.now), base_url="http://localhost:8800"
    ) as client:
        scenario = {"callback_url": "http://127.0.0.1:1/", "wallet_callback_url": "http://127.0.0.1:1/"}
        client.post("/sandbox/scenario", json=scenario | {"callback_secret": SECRET})
        world = open_world(tmp_path)
        clock.now = world.clock.now
        wallets = connect(AdapterSettings(wallet_url="http://localhost:8800/wallet"), client=client).wallets
        flow = replace(
            world.flow,
            payouts=PayoutDesk(HttpPayouts(client, answer_seconds=5), world.clock),
            issuer=IssuerByKind(world.issuer, WalletIssuer(wallets), is_wallet),
        )
        secrets = {"payout": (SECRET, FORMER), "wallet": (SECRET,)}
        callbacks = ProviderCallbacks(world.engine, flow.book, world.clock, secrets, is_wallet)  # pyright: ignore[reportArgumentType]
        yield Bank(replace(world, flow=flow), client, callbacks, calls)


def test_a_call_brings_the_money_forward_once(bank):
    """A payout that is under way ends when its provider calls, instead of at the next look; the call again, and again
    after the end, changes nothing."""
    one = bank.paying("acct-85")
    assert bank.stands(one) == ("paying", "payout_submitted")
    bank.world.work()
    assert bank.stands(one) == ("paying", "payout_submitted")  # not yet time to look
    assert bank.let_in(0, 0) == ["noted", "known"]
    bank.world.work()
    assert bank.stands(one) == ("paid", "")
    assert bank.let_in(0) == ["known"]
    with bank.world.engine.connect() as connection:
        assert len(connection.execute(sa.select(provider_calls)).all()) == 1
    leaves = bank.world.flow.book.evidence.leaves_of(one)
    assert [leaf.said["state"] for leaf in leaves if leaf.leaf.kind == "provider_called"] == ["paid"]
    assert_books(bank.world)


def test_without_a_call_the_next_look_finds_it(bank):
    """Polling stays: a call that never comes costs time and nothing else."""
    one = bank.paying("acct-85")
    bank.world.clock.forward(minutes=1)
    bank.world.work()
    assert bank.stands(one) == ("paid", "")
    assert bank.let_in(0) == ["nothing_waits"]


def test_what_a_call_says_moves_no_money(bank):
    """A signed call that lies, that money went out or that it did not: the provider's own answer decides."""
    one = bank.paying("acct-85")
    for number, state in enumerate(("refused", "paid", "nonsense")):
        call = Call("payout", f"lie-{number}", f"{one}-payout-1", state)
        assert bank.callbacks.heard(call) == "noted"
    with bank.world.engine.connect() as connection:
        row = bank.world.flow.book.read(connection, one)
    assert row["state"] == "paying"  # until the worker has asked
    bank.world.work()
    assert bank.stands(one) == ("paid", "")
    other = bank.paying("acct-84", number=2)
    assert bank.callbacks.heard(Call("payout", "lie-9", f"{other}-payout-1", "paid")) == "noted"
    bank.world.work()
    assert bank.stands(other)[0] == "payout_failed"
    assert_books(bank.world)


def test_calls_come_in_any_order_and_twice(bank):
    """Of two trades, the second's first, each twice; a provider that calls twice by itself about one that was paid at
    once: each is paid once."""
    trades = [
        bank.paying(account, number) for number, account in enumerate(("a-85", "b-85", "c-97"), start=1)
    ]
    assert bank.let_in(1, 0, 1, 0) == ["noted", "noted", "known", "known"]
    assert bank.let_in(3, 2) == ["nothing_waits", "known"]
    bank.world.work()
    assert [bank.stands(one)[0] for one in trades] == ["paid"] * 3
    assert_books(bank.world)


def test_a_wallet_calls_when_its_holder_agreed(bank):
    """The transfer of a wallet balance that was waited for: the call lets it be looked at, and the seller is paid."""
    one = sold(bank.world, "wallet-1084")
    assert bank.stands(one) == ("frozen", "card_in_process")
    assert bank.let_in(0) == ["noted"]
    bank.world.work()
    assert bank.stands(one) == ("paid", "")
    assert_books(bank.world)


@pytest.mark.parametrize(
    ("account", "wait", "why"),
    [("acct-87", 0, "changed"), ("acct-85", 301, "stale"), ("acct-85", -301, "stale")],
)
def test_a_call_that_is_signed_wrongly_or_late_is_refused(bank, account, wait, why):
    """With another secret, or five minutes from now: nothing of it is kept."""
    bank.paying(account)
    bank.world.clock.now += timedelta(seconds=wait)
    assert bank.let_in(0) == [why]
    with bank.world.engine.connect() as connection:
        assert connection.execute(sa.select(provider_calls)).all() == []


def test_a_signature_is_of_these_bytes_this_time_and_one_of_the_secrets(bank):
    """One byte, one second, no header, no secret at all: refused by name; the former secret serves until it is gone."""
    now, body = bank.world.clock.now, b'{"event_id":"1"}'
    for secret in (SECRET, FORMER):
        check_signed(signed_headers(secret, body, now=now), body, (SECRET, FORMER), now=now)
    good = signed_headers(SECRET, body, now=now)
    later = {**good, TIMESTAMP: str(int(good[TIMESTAMP]) + 1)}
    cases: list[tuple[Mapping[str, str], bytes, tuple[str, ...], str]] = [
        (good, body + b" ", (SECRET,), "changed"),
        (later, body, (SECRET,), "changed"),
        (good, body, (), "changed"),
        (good, body, (FORMER,), "changed"),
        ({TIMESTAMP: good[TIMESTAMP]}, body, (SECRET,), "unsigned"),
        ({**good, SIGNATURE: "***"}, body, (SECRET,), "malformed"),
        *(
            ({**good, TIMESTAMP: moment}, body, (SECRET,), "malformed")
            for moment in ("yesterday", "9" * 400, "-1", "1e9", " 1", "1_0", "１", "1\n")
        ),
    ]
    for headers, content, secrets, why in cases:
        with pytest.raises(SignatureRefused) as refused:
            check_signed(headers, content, secrets, now=now)
        assert refused.value.code == why


def test_what_nobody_knows_and_what_is_reused_is_refused(bank):
    """An unknown payout or transfer, and an id of an event that came about something else."""
    one, other = bank.paying("acct-85"), bank.paying("acct-1", number=2)
    wallet = sold(bank.world, "wallet-1084")
    unknown: list[Any] = [
        Call("wallet", "e", wallet, "done"),  # a trade is no transfer
        Call("wallet", "e", f"{other}-take", "done"),  # nor does its provider know of cards
        Call("payout", "e", "nothing", "paid"),
        Call("payout", "e", one, "paid"),
        Call("wallet", "e", "nothing-take", "done"),
    ]
    for call in unknown:
        with pytest.raises(UnknownSubject):
            bank.callbacks.heard(call)
    bank.callbacks.heard(Call("payout", "e", f"{one}-payout-1", "paid"))
    with pytest.raises(EventReused):
        bank.callbacks.heard(Call("payout", "e", f"{other}-payout-1", "paid"))


def test_a_call_while_the_provider_is_asked_is_not_lost(bank):
    """It comes after the provider answered that nothing came of it yet, and before that is noted: the provider is asked
    once more, at once."""
    one = bank.paying("acct-85")
    desk = bank.world.flow.payouts
    bank.world.clock.forward(minutes=1)

    class Slow:
        def query(self, payout_id: str, **asked: Any) -> Any:
            bank.callbacks.heard(Call("payout", "meanwhile", payout_id, "paid"))
            slow.asked += 1
            said = desk.provider.query(payout_id, **asked)
            return replace(said, paid=False) if slow.asked == 1 else said

        asked = 0

    slow = Slow()
    flow = replace(bank.world.flow, payouts=replace(desk, provider=slow))  # pyright: ignore[reportArgumentType]
    replace(bank.world, flow=flow).work()
    assert slow.asked == 2
    assert bank.stands(one) == ("paid", "")


def test_a_call_that_meets_the_worker_is_not_lost(tmp_path, postgres_url):
    """On PostgreSQL the worker concludes its look, and would not look again for minutes, while the call is being kept:
    the call waits for that and wakes the trade up then."""
    world = open_world(tmp_path, url=postgres_url)
    world.provider.mood = "silent"
    one = world.submit()
    world.work()
    world.accept(one)
    world.work()
    later = world.clock.now + timedelta(minutes=5)
    secrets: dict[Partner, tuple[str, ...]] = {"payout": (), "wallet": ()}
    callbacks = ProviderCallbacks(world.engine, world.flow.book, world.clock, secrets, is_wallet)
    waits = sa.text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    with ThreadPoolExecutor(1) as pool, world.engine.connect() as watching:
        with world.engine.begin() as worker:
            world.flow.book.change(worker, world.flow.book.read(worker, one), {"due_at": later})
            heard = pool.submit(callbacks.heard, Call("payout", "ev-1", f"{one}-payout-1", "paid"))
            while not watching.execute(waits).scalar_one():
                assert not heard.done()
        assert heard.result(30) == "noted"
    assert world.trade(one)["due_at"] == world.clock.now
    world.engine.dispose()
