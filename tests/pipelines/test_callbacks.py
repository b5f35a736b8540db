"""Partners hear of every move of their trades: signed, in order, at least once, and nowhere that they must not."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa

from pipelines.recycling import callback_outbox as outbox
from pipelines.recycling.callback_signature import ID, SIGNATURE, TIMESTAMP, check_callback
from pipelines.recycling.callbacks import Sender
from pipelines.recycling.trade_tables import steps
from pipelines.recycling.trades import Step
from pipelines.signing import SignatureRefused
from pipelines.signing_keys import SigningKeys
from tests.pipelines.recycling_world import NOW, World, offered, open_world

URL = "https://partner.example/hooks?x=1"
PUBLIC, PRIVATE = "93.184.215.14", "10.0.0.7"


@dataclass
class Partner:
    """Answers as the test says, by host; keeps what it got."""

    answer: Callable[[httpx.Request], int] = lambda request: 204
    got: list[httpx.Request] = field(default_factory=list)

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.got.append(request)
        status = self.answer(request)
        if status == 0:
            raise httpx.ConnectError("refused")
        if status == -1:
            await asyncio.sleep(60)
        return httpx.Response(status, headers={"Location": "http://10.0.0.7/"})

    def bodies(self) -> list[dict]:
        return [json.loads(request.content) for request in self.got]

    def states(self) -> list[str]:
        return [body["state"] for body in self.bodies()]


async def resolve(host: str, port: int) -> list[str]:
    return {"inside.example": [PRIVATE], "nowhere.example": []}.get(host, [PUBLIC])


@pytest.fixture
def world(tmp_path: Path) -> World:
    opened = open_world(tmp_path)
    with opened.engine.begin() as connection:
        outbox.set_address(connection, "seller-app", URL, now=NOW)
    return opened


@pytest.fixture
def partner() -> Partner:
    return Partner()


@pytest.fixture
def keys(tmp_path: Path) -> SigningKeys:
    return SigningKeys(folder=tmp_path / "quote_keys")


@pytest.fixture
def sender(world: World, partner: Partner, keys: SigningKeys) -> Sender:
    return Sender(world.engine, keys.signer, world.clock, httpx.MockTransport(partner), resolve, 0.2)


def kept(world: World, state: str = "") -> list[str]:
    with world.engine.connect() as connection:
        return [row["callback_id"] for row in reversed(outbox.kept(connection, state=state))]


def paid(world: World, number: int = 1) -> str:
    one = world.submit(number)
    world.work()
    world.accept(one)
    world.work()
    assert world.state(one) == "paid"
    return one


def test_every_move_is_told_once_and_in_order(world, sender, partner):
    """A trade from quote to payment: each state is heard once, in order, with nothing secret or personal in it."""
    one = paid(world)
    assert sender.send_until_idle() == 6
    assert partner.states() == ["quoted", "accepted", "frozen", "verified", "paying", "paid"]
    assert set(partner.bodies()[0]) == {
        "id",
        "submission_id",
        "version",
        "state",
        "quote_id",
        "payout_fen",
        "awarded_fen",
        "at",
    }
    assert {body["submission_id"] for body in partner.bodies()} == {one}
    told = b"".join(request.content for request in partner.got)
    for secret in (b"JDV0", b"TESTTEST", b"s-1", b"payee-1"):
        assert secret not in told
    assert sender.send_until_idle() == 0
    assert kept(world, "sent") == kept(world)


def test_a_partner_checks_what_it_gets(world, sender, partner, keys):
    """The signature holds for the body, key and time that were sent, and for nothing else."""
    paid(world)
    sender.send_until_idle()
    request, public = partner.got[0], keys.published()
    said = check_callback(request.headers, request.content, public, now=world.clock.now)
    assert said["id"] == request.headers[ID]
    wrong = {
        "changed": (request.headers, request.content.replace(b"45000", b"99000"), 0),
        "stale": (request.headers, request.content, 301),
        "unsigned": ({TIMESTAMP: "1"}, request.content, 0),
        "malformed": ({**request.headers, SIGNATURE.lower(): "*"}, request.content, 0),
    }
    endless = {**request.headers, TIMESTAMP.lower(): "9" * 400}
    for code, (headers, content, later) in (*wrong.items(), ("malformed", (endless, request.content, 0))):
        world.clock.forward(seconds=later)
        with pytest.raises(SignatureRefused) as refused:
            check_callback(headers, content, public, now=world.clock.now)
        assert refused.value.code == code
    moved = {**request.headers, TIMESTAMP.lower(): str(int(request.headers[TIMESTAMP]) + 301)}
    with pytest.raises(SignatureRefused) as refused:
        check_callback(moved, request.content, public, now=world.clock.now)
    assert refused.value.code == "changed"
    with pytest.raises(SignatureRefused) as refused:
        check_callback(request.headers, request.content, {}, now=world.clock.now)
    assert refused.value.code == "unknown_key"


def test_what_is_not_committed_is_never_told(world, sender, partner):
    """A move that is rolled back leaves nothing in the outbox."""
    one = world.submit()
    with world.engine.connect() as connection:
        transaction = connection.begin()
        row = world.flow.book.read(connection, one)
        world.flow.book.move(connection, row, Step("cancelled", "seller", "x", "taken_back", {}, {}), now=NOW)
        transaction.rollback()
    assert sender.send_until_idle() == 0
    assert world.state(one) == "submitted"


def test_a_client_without_an_address_is_told_nothing(world, sender, partner):
    """Only clients that asked for it have rows in the outbox."""
    world.intake.submit(offered(9), by="another-app")
    world.work()
    assert kept(world) == []


FAILURES = {0: "unreachable", -1: "timeout", 500: "http_500", 404: "http_404", 302: "http_302", 410: "gone"}


@pytest.mark.parametrize("status", [0, -1, 500, 404, 302])
def test_a_partner_that_does_not_hear_is_told_again_on_the_schedule(world, sender, partner, status):
    """Down, slow, broken or redirecting: the same body again after 5 s, 30 s, 2 min, 10 min, 1 h, 6 h and 24 h, then
    dead and visible; the trade goes on meanwhile. Redirects are not followed."""
    partner.answer = lambda request: status
    one = world.submit()
    world.work()
    sender.send_until_idle()
    for number, seconds in enumerate(outbox.RETRY_SECONDS, start=1):
        assert len(partner.got) == number
        world.clock.forward(seconds=seconds - 1)
        assert sender.send_until_idle() == 0
        assert len(partner.got) == number
        world.clock.forward(seconds=1)
        sender.send_until_idle()
    assert len({request.content for request in partner.got}) == 1
    assert {request.url.host for request in partner.got} == {PUBLIC}
    with world.engine.connect() as connection:
        (row,) = outbox.kept(connection, state="dead")
    assert (row["attempts"], row["problem"]) == (8, FAILURES[status])
    world.clock.forward(days=30)
    sender.send_until_idle()
    assert len(partner.got) == 8
    assert world.state(one) == "quoted"


def test_gone_is_believed(world, sender, partner):
    """410 says that nobody will ever hear: dead at once."""
    partner.answer = lambda request: 410
    world.submit()
    world.work()
    sender.send_until_idle()
    assert len(partner.got) == 1
    assert len(kept(world, "dead")) == 1


def test_later_moves_wait_for_earlier_ones(world, sender, partner):
    """While a trade's first callback is not heard its later ones wait, those of other trades do not."""
    one = world.submit(1)
    world.work()
    partner.answer = lambda request: 500
    sender.send_until_idle()
    world.accept(one)
    world.work()
    other = world.submit(2)
    world.work()
    partner.answer = lambda request: 200
    partner.got.clear()
    sender.send_until_idle()
    assert {body["submission_id"] for body in partner.bodies()} == {other}
    world.clock.forward(seconds=5)
    sender.send_until_idle()
    mine = [body["state"] for body in partner.bodies() if body["submission_id"] == one]
    assert mine == ["quoted", "accepted", "frozen", "verified", "paying", "paid"]


def test_a_partner_that_is_away_holds_up_nobody_else(world, sender, partner):
    """In one round the partner that is slow gets one attempt, and the other all of its callbacks."""
    with world.engine.begin() as connection:
        outbox.set_address(connection, "other-app", "https://other.example/", now=NOW)
    partner.answer = lambda request: -1 if request.headers["host"] == "partner.example" else 200
    for number in range(1, 6):
        world.submit(number)
        world.intake.submit(offered(number + 10), by="other-app")
    world.work()

    async def one_slice() -> tuple[int, int]:
        async with sender._client() as client:
            return await sender._slice(client)

    assert asyncio.run(one_slice()) == (6, 5)


def test_a_death_in_between_sends_twice_under_one_id(world, sender, partner):
    """The partner heard, and we died before that was noted: it hears again, with the same id and content."""
    world.submit()
    world.work()
    died = replace(sender, transport=httpx.MockTransport(_then_dies(partner)))
    with pytest.raises(KeyboardInterrupt):
        died.send_until_idle()
    assert sender.send_until_idle() == 0  # the schedule makes the next attempt
    world.clock.forward(seconds=5)
    assert sender.send_until_idle() == 1
    first, second = partner.got
    assert (first.headers[ID], first.content) == (second.headers[ID], second.content)


def _then_dies(partner: Partner) -> Callable[[httpx.Request], httpx.Response]:
    def handle(request: httpx.Request) -> httpx.Response:
        partner.got.append(request)
        raise KeyboardInterrupt

    return handle


def test_an_attempt_is_made_by_one(world):
    """Of two senders that saw the same callback one makes the attempt."""
    world.submit()
    world.work()
    with world.engine.begin() as connection:
        (row,) = outbox.due_of(connection, "seller-app", now=NOW, limit=9)
        assert outbox.claim(connection, row, now=NOW)
        assert not outbox.claim(connection, row, now=NOW)


def test_the_dead_and_the_heard_are_sent_again(world, sender, partner):
    """Replayed under the same id: one that is dead, one that was heard; one that waits is refused, an unknown too."""
    partner.answer = lambda request: 410
    world.submit()
    world.work()
    sender.send_until_idle()
    (one,) = kept(world, "dead")
    partner.answer = lambda request: 200
    with world.engine.begin() as connection:
        assert outbox.replay_dead(connection, now=world.clock.now) == 1
        with pytest.raises(outbox.NotDead):
            outbox.replay(connection, one, now=world.clock.now)
        with pytest.raises(outbox.UnknownCallback):
            outbox.replay(connection, "none", now=world.clock.now)
    assert sender.send_until_idle() == 1
    with world.engine.begin() as connection:
        outbox.replay(connection, one, now=world.clock.now)
    assert sender.send_until_idle() == 1
    assert [request.headers[ID] for request in partner.got] == [one] * 3


def test_without_an_address_what_waits_is_dead(world, sender, partner):
    """A client whose address was taken away: its waiting callbacks are dead, visibly, and nothing is sent."""
    world.submit()
    world.work()
    with world.engine.begin() as connection:
        assert outbox.remove_address(connection, "seller-app")
    sender.send_until_idle()
    assert (partner.got, len(kept(world, "dead"))) == ([], 1)


def test_a_name_that_moved_inside_is_not_followed(world, sender, partner):
    """Public when it was set, private when it is sent: nothing leaves; and what is sent goes to the address that was
    checked, under the partner's name."""
    world.submit()
    world.work()

    async def moved(host: str, port: int) -> list[str]:
        return [PRIVATE]

    assert replace(sender, resolve=moved).send_until_idle() == 0
    assert partner.got == []
    world.clock.forward(seconds=5)
    assert sender.send_until_idle() == 1
    (request,) = partner.got
    assert str(request.url) == f"https://{PUBLIC}/hooks?x=1"
    assert request.headers["host"] == "partner.example"
    assert request.extensions["sni_hostname"] == "partner.example"


def test_the_outbox_holds_as_many_rows_as_moves(world):
    """One row a move, whatever moved it, and the submission itself is none."""
    paid(world)
    with world.engine.connect() as connection:
        moves = connection.execute(
            sa.select(sa.func.count()).select_from(steps).where(steps.c.source != "")
        ).scalar()
    assert len(kept(world)) == moves


def test_the_worker_s_thread_tells_over_a_real_connection(world, keys):
    """Beside the trades, to a partner's app on this machine: heard, its signature good, and the thread stops when it is
    told to."""
    heard, stopping = list[tuple[dict[str, str], bytes]](), threading.Event()

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            heard.append((dict(self.headers.items()), body))
            self.send_response(204)
            self.end_headers()
            stopping.set()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Hook) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with world.engine.begin() as connection:
            url = f"http://localhost:{server.server_port}/hook"
            outbox.set_address(connection, "seller-app", url, now=NOW)
        world.submit()
        world.work()
        sending = threading.Thread(
            target=Sender(world.engine, keys.signer, world.clock).run, args=(stopping,)
        )
        sending.start()
        sending.join(timeout=30)
        server.shutdown()
    assert not sending.is_alive()
    headers, body = heard[0]
    assert check_callback(headers, body, keys.published(), now=NOW)["state"] == "quoted"
    assert headers["Host"] == f"localhost:{server.server_port}"
