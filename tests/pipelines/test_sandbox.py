"""The sandbox, asked through the adapters that ask the real partners."""

from __future__ import annotations

import asyncio
import json
import random
import socket
import threading
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.testclient import TestClient

from pipelines.partner_settings import AdapterSettings
from pipelines.recycling.adapters import Partners, connect
from pipelines.recycling.adapters.issuer import PresentedCard
from pipelines.recycling.payout_http import HttpPayouts
from pipelines.recycling.payouts import Accepted, NeverHeard
from pipelines.recycling.payouts import Refused as PayoutRefused
from pipelines.recycling.provider_signature import check_signed
from pipelines.recycling.secret import Secret
from pipelines.signing import SignatureRefused
from serving.sandbox.app import create_app

BASE = "http://localhost:8800"
PARTNERS = ("issuer", "identity", "device", "bureau", "credit", "logistics")
SECRET = "SECRETMARKER424242"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PAYOUT = {"payout_id": "p-1", "channel": "alipay", "account_ref": "acct-1001", "amount_fen": 46_000}


class World:
    """A sandbox in this process: seconds that it waited, callbacks that it sent."""

    def __init__(self, *, seed: int = 7) -> None:
        self.waited: list[float] = []
        self.called_back: list[dict[str, Any]] = []

        async def sleep(seconds: float) -> None:
            self.waited.append(seconds)

        async def post(url: str, body: bytes, headers: Mapping[str, str]) -> None:
            self.called_back.append({"url": url, "headers": headers, **json.loads(body)})

        app = create_app(seed=seed, sleep=sleep, now=lambda: NOW, post=post)
        self.client = TestClient(app, base_url=BASE)
        self.partners = partners(self.client, BASE)

    def scenario(self, **values: Any) -> httpx.Response:
        return self.client.post("/sandbox/scenario", json=values)

    def pay(self, **changed: Any) -> httpx.Response:
        return self.client.post("/payouts", json={**PAYOUT, **changed})


def partners(client: httpx.Client, base: str, *, timeout: float = 5.0, attempts: int = 1) -> Partners:
    settings = AdapterSettings(
        timeout_seconds=timeout, attempts=attempts, **{f"{name}_url": f"{base}/{name}" for name in PARTNERS}
    )
    return connect(settings, client=client, sleep=lambda seconds: None, rng=random.Random(1))


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    with world.client:
        yield world


def card(ending: str, *, secret: str = SECRET) -> PresentedCard:
    return PresentedCard(
        "china_mobile", Secret("1234567890123456"[: 17 - len(ending)] + ending), Secret(secret)
    )


@pytest.mark.parametrize(
    ("ending", "standing", "balance_fen"),
    [
        ("100", "active", 10_000),
        ("000", "active", 50_000),
        ("380", "active", 15_000),
        ("389", "active", 0),
        ("381", "used", 0),
        ("382", "frozen", 30_000),
        ("383", "inactive", 30_000),
        ("384", "expired", 30_000),
        ("385", "expired", 30_000),
        ("386", "in_process", 30_000),
        ("387", "fake", None),
        ("388", "wrong_secret", None),
        ("399", "active", 30_000),
    ],
)
def test_the_last_digits_choose_what_an_issuer_says(world, ending, standing, balance_fen):
    """Each ending of a number stands for one way a card can be."""
    found = world.partners.issuer.check(card(ending)).value
    assert found is not None
    assert (found.standing, found.balance_fen) == (standing, balance_fen)


@pytest.mark.parametrize(
    ("ending", "state"),
    [("91", "busy"), ("92", "busy"), ("93", "maintenance"), ("95", "garbled"), ("96", "busy")],
)
def test_the_last_digits_choose_trouble(world, ending, state):
    """Each trouble arrives as the named state that a trade can act on."""
    assert world.partners.issuer.check(card(ending)).state == state


def test_busy_once_is_overcome_by_asking_again(world):
    """A partner that is busy for one moment answers the second attempt."""
    again = partners(world.client, BASE, attempts=2).issuer.check(card("91"))
    assert (again.state, again.attempts) == ("ok", 2)


def test_maintenance_says_when_it_ends(world):
    """A maintenance window closes every partner and names the time to come back; then it ends."""
    world.scenario(maintenance=True)
    closed = world.partners.identity.verified("r-1")
    assert (closed.state, closed.retry_after_seconds) == ("maintenance", 1_800)
    world.scenario()
    assert world.partners.identity.verified("r-1").ok


def test_a_card_is_redeemed_once(world):
    """The same redemption again takes nothing more, another one with its id is refused, and the card is used."""
    issuer = world.partners.issuer
    first = issuer.redeem(card("100"), redemption_id="r-1", amount_fen=10_000)
    assert first.value is not None
    assert (first.value.state, first.value.amount_fen) == ("done", 10_000)
    assert issuer.redeem(card("100"), redemption_id="r-1", amount_fen=10_000).value == first.value
    assert issuer.redemption("r-1", card_type="jd_ecard").value == first.value
    conflict = issuer.redeem(card("100"), redemption_id="r-1", amount_fen=1)
    assert (conflict.state, conflict.code) == ("refused", "conflicting_redemption")
    late = issuer.redeem(card("100"), redemption_id="r-2", amount_fen=10_000).value
    assert late is not None
    assert (late.state, late.standing) == ("refused", "used")
    assert issuer.redemption("r-9", card_type="jd_ecard").code == "unknown_redemption"


def test_a_card_can_be_snatched_between_check_and_redemption(world):
    """99 is active when it is checked and used when it is redeemed."""
    issuer = world.partners.issuer
    checked = issuer.check(card("399")).value
    taken = issuer.redeem(card("399"), redemption_id="r-1", amount_fen=30_000).value
    assert checked is not None
    assert taken is not None
    assert (checked.standing, taken.state, taken.standing) == ("active", "refused", "used")


def test_a_known_card_answers_to_its_own_secret(world):
    """A card that was put in has its balance, date and secret."""
    put = {"number": "JDV00000000000000001", "secret": "AAAA", "face_value_fen": 20_000, "balance_fen": 5_000}
    assert world.client.post("/sandbox/cards", json=put).status_code == 200
    check = world.partners.issuer.check
    right = check(PresentedCard("jd_ecard", Secret("JDV00000000000000001"), Secret("AAAA"))).value
    wrong = check(PresentedCard("jd_ecard", Secret("JDV00000000000000001"), Secret("BBBB"))).value
    assert right is not None
    assert wrong is not None
    assert (right.balance_fen, right.expires_on, wrong.standing) == (
        5_000,
        date(2035, 12, 31),
        "wrong_secret",
    )


def test_references_choose_what_the_checks_say(world):
    """Real name, device, bureau and credit answer by the ending of the reference."""
    asked = world.partners
    assert [asked.identity.verified(f"r-10{n}").value for n in (1, 81, 82)] == ["yes", "no", "unknown"]
    assert asked.identity.verified("r-88").code == "unknown_reference"
    risky = asked.devices.risk("d-81").value
    assert risky is not None
    assert (risky.risk, risky.signals) == (0.95, ("emulator", "rooted"))
    grades = [asked.bureau.grade(f"r-{n}").value for n in (10, 81, 84)]
    assert [grade and (grade.grade, grade.listed) for grade in grades] == [
        ("A", False),
        ("E", True),
        ("none", False),
    ]
    credit = asked.credit.grade("r-82").value
    assert credit is not None
    assert credit.grade == "D"


def test_a_parcel_travels(world):
    """A label is made once for an id; each look finds the parcel a step further, one ending is lost."""
    carrier = world.partners.logistics
    ordered = carrier.order(shipment_id="s-1", address_ref="a-1", direction="to_us").value
    assert ordered == carrier.order(shipment_id="s-1", address_ref="a-1", direction="to_us").value
    places = [carrier.track("s-1").value for _ in range(4)]
    assert [place and place.whereabouts for place in places] == [
        "picked_up",
        "on_the_way",
        "delivered",
        "delivered",
    ]
    carrier.order(shipment_id="s-81", address_ref="a-1", direction="to_us")
    lost = [carrier.track("s-81").value for _ in range(2)][-1]
    assert lost is not None
    assert lost.whereabouts == "lost"
    assert carrier.order(shipment_id="s-2", address_ref="a-88", direction="to_us").code == "unknown_address"


def test_a_payout_is_paid_once(world):
    """The same payout again is the same payment; another amount under its id is refused; the statement has it once."""
    first = world.pay().json()
    assert (first["state"], world.pay().json()) == ("paid", first)
    assert world.pay(amount_fen=1).json()["code"] == "conflicting_payout"
    assert world.client.get("/payouts/p-1").json() == first
    assert world.client.get("/payouts/p-9").json()["code"] == "payout_not_found"
    statement = world.client.get("/statements/2026-03-01").json()
    assert statement["total_fen"] == 46_000
    assert [line["payout_id"] for line in statement["payments"]] == ["p-1"]
    assert world.client.get("/statements/2026-03-01?channel=bank").json()["payments"] == []
    assert world.client.get("/statements/2026-03-02").json()["payments"] == []


@pytest.mark.parametrize(
    ("ending", "code"), [("81", "account_closed"), ("82", "name_mismatch"), ("83", "limit_exceeded")]
)
def test_some_accounts_are_refused(world, ending, code):
    """A refused payout says why, now and later, and stands in no statement."""
    refused = world.pay(account_ref=f"acct-{ending}").json()
    assert (refused["state"], refused["reason"]) == ("refused", code)
    assert world.client.get("/payouts/p-1").json() == refused
    assert world.client.get("/statements/2026-03-01").json()["payments"] == []


def test_the_payout_adapter_and_the_sandbox_understand_each_other(world):
    """What the adapter sends is paid once, found again, refused by name, never heard of, and stated."""
    provider = HttpPayouts(world.client, answer_seconds=5, pause=lambda seconds: None)
    order: dict[str, Any] = {"channel": "bank", "account_ref": "a-1", "amount_fen": 500, "name_ref": "n-1"}
    paid = provider.submit(payout_id="q-1", **order)
    assert paid == Accepted("SBP00000001", paid=True) == provider.submit(payout_id="q-1", **order)
    assert provider.query("q-1", channel="bank", amount_fen=500) == paid
    assert provider.query("q-9", channel="bank", amount_fen=500) == NeverHeard()
    assert provider.submit(payout_id="q-2", **{**order, "account_ref": "a-82"}) == PayoutRefused(
        "name_mismatch"
    )
    assert [line.payout_id for line in provider.statement("2026-03-01", channel="bank")] == ["q-1"]


def test_a_payout_may_end_later_or_differ_in_the_statement(world):
    """Accepted and failed later; processing until the second look; missing or a fen too much in the statement."""
    for ending in ("84", "85", "98", "89"):
        world.pay(payout_id=f"p-{ending}", account_ref=f"acct-{ending}")
    looks = {
        ending: [world.client.get(f"/payouts/p-{ending}").json()["state"] for _ in range(2)]
        for ending in ("84", "85")
    }
    assert looks == {"84": ["refused", "refused"], "85": ["processing", "paid"]}
    lines = world.client.get("/statements/2026-03-01").json()["payments"]
    assert {line["payout_id"]: line["amount_fen"] for line in lines} == {"p-85": 46_000, "p-89": 46_001}


def test_it_pays_and_the_answer_is_lost(world):
    """A gateway time-out comes after the payment was made: the payout stands in the books."""
    lost = world.client.post("/payouts", json=PAYOUT, headers={"X-Sandbox": "fail=gateway_timeout"})
    assert lost.status_code == 504
    assert world.client.get("/payouts/p-1").json()["state"] == "paid"


def test_callbacks_come_and_come_again(world):
    """The provider tells what came of a payout, as often as the scenario says, twice for 97, with one event id."""
    world.scenario(callback_url="http://127.0.0.1:8700/callbacks", callback_copies=1)
    world.pay()
    world.pay(payout_id="p-2", account_ref="acct-97")
    assert [told["payout_id"] for told in world.called_back] == ["p-1", "p-2", "p-2"]
    assert len({told["event_id"] for told in world.called_back}) == 2


def test_calls_are_signed_late_or_forged_as_wanted(world):
    """With a secret they are signed, at the moment of the call; 87 with another one, 88 a minute later."""
    world.scenario(callback_url="http://127.0.0.1:8700/", callback_secret="s" * 32, callback_late=3)
    for number, ending in enumerate(("01", "87", "88")):
        world.pay(payout_id=f"p-{number}", account_ref=f"acct-{ending}")
    found = []
    for told in world.called_back:
        body = {name: value for name, value in told.items() if name not in ("url", "headers")}
        try:
            check_signed(told["headers"], json.dumps(body).encode(), ["s" * 32], now=NOW)
            found.append("good")
        except SignatureRefused as refusal:
            found.append(refusal.code)
    assert found == ["good", "changed", "good"]
    assert [seconds for seconds in world.waited if seconds] == [3, 3, 60]


def test_a_header_changes_one_request(world):
    """slow and fail of X-Sandbox hold for the request that carries them."""
    body = {"reference": "r-1"}
    slow = world.client.post(
        "/identity/identities/check", json=body, headers={"X-Sandbox": "slow=2,fail=error"}
    )
    assert slow.status_code == 500
    assert 2.0 in world.waited
    assert world.client.post("/identity/identities/check", json=body).status_code == 200


@pytest.mark.parametrize(
    "header", ["slow=-1", "slow=soon", "fail=everything", "callback_url=http://evil.example", "slow=1000"]
)
def test_a_header_that_means_nothing_is_refused(world, header):
    """What the sandbox does not do is a bad request, never ignored."""
    answer = world.client.post(
        "/identity/identities/check", json={"reference": "r-1"}, headers={"X-Sandbox": header}
    )
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_scenario")


@pytest.mark.parametrize(
    "scenario",
    [
        {"speed": 1},
        {"share": 2},
        {"slow": "2"},
        {"callback_url": "https://evil.example/"},
        {"callback_copies": 99},
    ],
)
def test_a_scenario_that_means_nothing_is_refused(world, scenario):
    """A scenario names what it may set, and callbacks stay on this machine."""
    assert world.scenario(**scenario).json()["code"] == "bad_scenario"


def test_chance_is_the_seeds():
    """Two sandboxes with one seed fail the same requests; another seed fails others; about the wanted share fails."""

    def states(seed: int) -> list[str]:
        world = World(seed=seed)
        with world.client:
            world.scenario(fail="refused", share=0.4)
            return [world.partners.identity.verified(f"r-{n}").state for n in range(40)]

    first = states(3)
    assert first == states(3)
    assert first != states(4)
    assert 8 <= first.count("refused") <= 26


def test_the_log_has_what_was_asked_without_secrets(world):
    """Every request stands in the log in order; numbers and secrets do not."""
    world.partners.issuer.check(card("92"))
    world.partners.issuer.redeem(card("100"), redemption_id="r-7", amount_fen=10_000)
    log = world.client.get("/sandbox/log")
    assert [(one["path"], one["trouble"], one["status"]) for one in log.json()["asked"]] == [
        ("/issuer/cards/check", "busy", 429),
        ("/issuer/redemptions", "", 200),
    ]
    assert log.json()["asked"][1]["idempotency_key"] == "r-7"
    assert SECRET not in log.text
    assert card("100").number.open() not in log.text


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"[" * 5_000, b"x" * 70_000, b'{"number": 5}'])
def test_nonsense_is_refused(world, content):
    """A body that is no JSON object of the contract is the caller's mistake, not a crash."""
    assert world.client.post("/issuer/cards/check", content=content).status_code in (400, 413, 422)


@pytest.fixture
def running() -> Iterator[str]:
    """A sandbox behind a real socket, whose hanging answers take two seconds."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = uvicorn.Server(
        uvicorn.Config(
            create_app(hang_seconds=2.0), host="127.0.0.1", port=port, log_level="error", lifespan="off"
        )
    )
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
    thread.start()
    base = f"http://127.0.0.1:{port}"
    with httpx.Client(transport=httpx.HTTPTransport(retries=5)) as client:
        client.get(f"{base}/sandbox/log")
    yield base
    server.should_exit = True
    thread.join(timeout=10)


def test_a_redemption_whose_answer_hangs_was_done_and_is_found(running):
    """Over a real socket: the time-out says that it may have been done, and looking it up shows that it was."""
    with httpx.Client() as client:
        issuer = partners(client, running, timeout=0.5).issuer
        outcome = issuer.redeem(card("394"), redemption_id="r-1", amount_fen=30_000)
        assert (outcome.state, outcome.maybe_done) == ("timeout", True)
        found = issuer.redemption("r-1", card_type="jd_ecard").value
    assert found is not None
    assert (found.state, found.amount_fen) == ("done", 30_000)


def test_nobody_there_is_unreachable():
    """A port where nobody listens gives a named state."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with httpx.Client() as client:
        outcome = partners(client, f"http://127.0.0.1:{port}").issuer.check(card("100"))
    assert (outcome.state, outcome.maybe_done) == ("unreachable", False)
