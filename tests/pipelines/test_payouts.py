"""Payouts: a provider that is slow, down, wrong or forgetful never makes us pay twice, and nothing stays unseen."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta

import httpx
import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from pipelines.application_data import ApplicationData
from pipelines.recycling import bookings
from pipelines.recycling.accounts import Channel, cash, seller, transit
from pipelines.recycling.ledger import balance, post, take_turn
from pipelines.recycling.ledger_audit import audit
from pipelines.recycling.ledger_tables import make_ledger_tables
from pipelines.recycling.payout_http import (
    AT_ONCE,
    CROWDED_SECONDS,
    HttpPayouts,
    ProviderUnavailable,
    http_payouts,
)
from pipelines.recycling.payout_tables import (
    make_payout_tables,
    open_payouts,
    payout_changes,
    payouts,
    read_payout,
)
from pipelines.recycling.payouts import (
    NeverHeard,
    NotSent,
    Payout,
    PayoutIdReused,
    PayoutNotFunded,
    Unknown,
    UnknownPayout,
    create_payout,
)
from pipelines.recycling.reconciling import open_breaks, reconcile
from pipelines.recycling.statements import StatementError, StatementLine, parse_statement
from tests.pipelines.payout_desk import LoneDesk

START = datetime(2026, 10, 3, 4, 0, tzinfo=UTC)
DAY = date(2026, 10, 3)
PAYOUT = Payout(
    payout_id="p-1",
    trade_id="t-1",
    seller_ref="s-1",
    channel="alipay",
    account_ref="acct-ref-1",
    name_ref="name-ref-1",
    amount_fen=46_000,
)


@dataclass
class FakeProvider:
    """A provider that pays each payout id once and remembers it. ``behave``: what it does instead of answering, one for
    each request, then it answers."""

    paid: dict[str, dict] = field(default_factory=dict)
    payments: list[str] = field(default_factory=list)
    requests: list[httpx.Request] = field(default_factory=list)
    behave: list[Callable[[httpx.Request, FakeProvider], httpx.Response | None]] = field(default_factory=list)
    state: str = "paid"
    seconds: float = 0.0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if self.behave:
            answer = self.behave.pop(0)(request, self)
            if answer is not None:
                return answer
        return self.answer(request)

    def answer(self, request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            return httpx.Response(200, json=self.pay(request))
        if "/payouts/" in request.url.path:
            known = self.paid.get(request.url.path.rsplit("/", 1)[1])
            return httpx.Response(200, json=known) if known else not_found(request, self)
        rows = [f"{name},{said['provider_ref']},{said['amount_fen']}" for name, said in self.paid.items()]
        return httpx.Response(200, text="\n".join(["payout_id,provider_ref,amount_fen", *rows]))

    def pay(self, request: httpx.Request) -> dict:
        asked = json.loads(request.content)
        assert request.headers["Idempotency-Key"] == asked["payout_id"]
        if asked["payout_id"] not in self.paid:
            self.payments += [asked["payout_id"]] if self.state == "paid" else []
            said = {"payout_id": asked["payout_id"], "amount_fen": asked["amount_fen"], "state": self.state}
            self.paid[asked["payout_id"]] = said | {
                "provider_ref": f"ref-{len(self.paid)}",
                "reason": "closed",
            }
        return self.paid[asked["payout_id"]]

    def clock(self) -> float:
        self.seconds += 0.01
        return self.seconds

    @property
    def posts(self) -> int:
        return sum(request.method == "POST" for request in self.requests)


def not_found(request: httpx.Request, provider: FakeProvider) -> httpx.Response:
    return httpx.Response(404, json={"code": "payout_not_found"})


def pays_and_times_out(request: httpx.Request, provider: FakeProvider) -> None:
    provider.answer(request)
    raise httpx.ReadTimeout("slow", request=request)


def times_out(request: httpx.Request, provider: FakeProvider) -> None:
    raise httpx.ReadTimeout("slow", request=request)


def pays_and_hangs_up(request: httpx.Request, provider: FakeProvider) -> None:
    provider.answer(request)
    raise httpx.RemoteProtocolError("gone", request=request)


def is_down(request: httpx.Request, provider: FakeProvider) -> None:
    raise httpx.ConnectError("refused", request=request)


def answers(status: int, **said) -> Callable[[httpx.Request, FakeProvider], httpx.Response]:
    return lambda request, provider: httpx.Response(status, **said)


def pays_and_answers(status: int, **said) -> Callable[[httpx.Request, FakeProvider], httpx.Response]:
    def behave(request: httpx.Request, provider: FakeProvider) -> httpx.Response:
        provider.answer(request)
        return httpx.Response(status, **said)

    return behave


@dataclass
class Clock:
    now: datetime = START

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture(params=["sqlite", "postgresql"])
def data(request, tmp_path) -> ApplicationData:
    """Books in which the seller of trade t-1 is owed 460.00 yuan, taken out of 1,000.00 yuan at Alipay."""
    if request.param == "sqlite":
        data = ApplicationData(f"sqlite:///{tmp_path / 'huika.db'}")
    else:
        data = ApplicationData(request.getfixturevalue("postgres_url"))
    with data.transaction() as connection:
        make_ledger_tables(connection)
        make_payout_tables(connection)
        post(connection, bookings.fund(transfer_id="start", channel="alipay", amount_fen=100_000), now=START)
        owe(connection, "t-1", 46_000)
    return data


def owe(connection: sa.Connection, trade: str, fen: int) -> None:
    """Buy a card of s-1, so that its payout is on its way."""
    frozen = bookings.freeze_payout(
        transfer_id=f"{trade}/f", trade_id=trade, channel="alipay", amount_fen=fen
    )
    bought = bookings.settle_payout(
        transfer_id=f"{trade}/s",
        frozen_id=f"{trade}/f",
        trade_id=trade,
        seller_ref="s-1",
        price_fen=fen,
        payout_fen=fen,
    )
    post(connection, [*frozen, *bought], now=START)


@pytest.fixture
def provider() -> FakeProvider:
    return FakeProvider()


@pytest.fixture
def http(provider) -> HttpPayouts:
    client = httpx.Client(base_url="https://pay.example/v1/", transport=httpx.MockTransport(provider))
    return HttpPayouts(client, answer_seconds=5, clock=provider.clock, pause=lambda seconds: None)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def desk(data, http, clock) -> LoneDesk:
    """A desk with payout p-1 waiting."""
    with data.transaction() as connection:
        assert create_payout(connection, PAYOUT, now=START) == "created"
    return LoneDesk(http, clock, quiet_seconds=60, transaction=data.transaction)


def held(data: ApplicationData) -> tuple[int, int, int]:
    """In cash, under way, owed to the seller; the books are audited on the way."""
    with data.transaction() as connection:
        assert audit(connection).clean
        accounts = (cash("alipay"), transit("alipay"), seller("s-1"))
        cash_fen, transit_fen, owed_fen = (balance(connection, account).fen for account in accounts)
        return cash_fen, transit_fen, owed_fen


def changes(data: ApplicationData) -> list[tuple[str, str]]:
    rows = data.rows(sa.select(payout_changes).order_by(payout_changes.c.seq))
    return [(row["state"], row["reason"]) for row in rows]


PAID, UNDER_WAY, BACK = (54_000, 0, 0), (54_000, 46_000, 46_000), (100_000, 0, 46_000)


def test_a_payout_is_sent_and_booked_once(desk, data, provider):
    """Sent with its id as key, paid, booked; doing it again asks nobody and books nothing."""
    assert [desk.advance("p-1") for _ in range(3)] == ["paid"] * 3
    assert held(data) == PAID
    assert (provider.payments, len(provider.requests)) == (["p-1"], 1)
    assert changes(data) == [("created", ""), ("submitted", ""), ("paid", "")]
    with pytest.raises(UnknownPayout):
        desk.advance("nothing")


@pytest.mark.parametrize(
    "behave",
    [
        pays_and_times_out,
        pays_and_hangs_up,
        pays_and_answers(500, text="<html>oops</html>"),
        pays_and_answers(502, json={"code": "payout_not_found"}),
        pays_and_answers(200, text="rubbish"),
        pays_and_answers(200, json=[1]),
        pays_and_answers(200, json={"payout_id": "p-1", "amount_fen": "46000", "state": "paid"}),
        pays_and_answers(200, json={"payout_id": "p-2", "amount_fen": 46_000, "state": "refused"}),
        pays_and_answers(200, json={"payout_id": "p-1", "amount_fen": 46_001, "state": "paid"}),
        pays_and_answers(503, json={"payout_id": "p-1", "amount_fen": 46_000, "state": "refused"}),
        pays_and_answers(404, json={"code": "payout_not_found"}),
        pays_and_answers(302, headers={"location": "https://elsewhere.example"}),
        pays_and_answers(429, text="busy"),
    ],
)
def test_a_provider_that_pays_and_does_not_say_so_is_not_asked_to_pay_again(
    behave, desk, data, provider, http
):
    """The payout is visibly unknown, its money under way; a question resolves it; one payment, one request to pay."""
    provider.behave = [behave]
    assert desk.advance("p-1") == "unknown"
    assert held(data) == UNDER_WAY
    provider.seconds += 60  # the breaker has rested
    assert desk.advance("p-1") == "paid"
    assert held(data) == PAID
    assert (provider.payments, provider.posts) == (["p-1"], 1)


def test_a_payout_that_never_arrived_is_sent_again_only_after_a_while(desk, data, provider, clock):
    """Never heard of: not believed at once, for a slow request may still arrive; then sent again under the same id."""
    provider.behave = [times_out]
    assert desk.advance("p-1") == "unknown"
    provider.seconds += 60
    clock.now += timedelta(seconds=59)
    assert [desk.advance("p-1"), desk.advance("p-1")] == ["unknown", "unknown"]
    assert provider.posts == 1
    clock.now += timedelta(seconds=1)
    assert desk.advance("p-1") == "created"
    assert desk.advance("p-1") == "paid"
    assert (provider.payments, provider.posts) == (["p-1"], 2)
    assert held(data) == PAID


@pytest.mark.parametrize(
    "misleading",
    [
        answers(404, text="<html>not here</html>"),
        answers(404, json={"code": "not_found"}),
        answers(404, json=["payout_not_found"]),
        answers(502, json={"code": "payout_not_found"}),
        answers(200, json={"code": "payout_not_found"}),
        answers(401, json={"code": "unauthorized"}),
    ],
)
def test_only_the_provider_itself_can_say_that_it_never_heard(misleading, desk, data, provider, clock):
    """A page of whatever stands in front of it says nothing about money, however long ago the payout was sent."""
    provider.behave = [pays_and_times_out, misleading]
    assert desk.advance("p-1") == "unknown"
    provider.seconds += 60
    clock.now += timedelta(days=1)
    assert desk.advance("p-1") == "unknown"
    provider.seconds += 60
    assert desk.advance("p-1") == "paid"
    assert (provider.payments, provider.posts) == (["p-1"], 1)
    assert held(data) == PAID


def test_a_provider_that_answers_a_key_twice_pays_once(desk, data, provider, http):
    """The same id again gets the same answer; the books move once."""
    provider.behave = [pays_and_times_out]
    desk.advance("p-1")
    provider.seconds += 60
    again = http.submit(payout_id="p-1", channel="alipay", account_ref="a", amount_fen=46_000, name_ref="n")
    assert again == http.query("p-1", channel="alipay", amount_fen=46_000)
    assert desk.advance("p-1") == desk.advance("p-1") == "paid"
    assert provider.payments == ["p-1"]
    assert held(data) == PAID


def test_a_provider_that_is_down_leaves_the_payout_waiting(desk, data, provider):
    """Nothing left the house: three tries, then the payout waits as created, the provider is left alone, then paid."""
    provider.behave = [is_down] * 3
    assert desk.advance("p-1") == "created"
    assert len(provider.requests) == 3
    assert desk.advance("p-1") == "created"  # left alone: no further request
    assert len(provider.requests) == 3
    with data.transaction() as connection:
        waiting = open_payouts(connection)
    assert [(row["payout_id"], row["reason"], row["submissions"]) for row in waiting] == [
        ("p-1", "left_alone", 0)
    ]
    provider.seconds += 60
    assert desk.advance("p-1") == "paid"
    assert held(data) == PAID


def left_alone(found: object) -> bool:
    """Whether nobody was asked, and it is said for how long."""
    return isinstance(found, Unknown | NotSent) and found.reason == "left_alone" and found.rest_seconds > 0


def test_the_rest_after_failures_grows_and_one_answer_ends_it(http, provider):
    """Two seconds after three failures, doubled with each up to thirty; while it lasts nothing is sent and questions
    stay open."""
    for seconds in (2.0, 16.0, 30.0, 30.0):
        provider.behave = [is_down] * 3
        assert isinstance(http.query("p-1", channel="alipay", amount_fen=1), Unknown)
        provider.seconds += seconds - 1
        count = len(provider.requests)
        assert left_alone(http.query("p-1", channel="alipay", amount_fen=1))
        sent = http.submit(payout_id="x", channel="alipay", account_ref="a", amount_fen=1, name_ref="n")
        assert left_alone(sent)
        assert len(provider.requests) == count
        provider.seconds += 1000
    http.query("p-1", channel="alipay", amount_fen=1)
    assert http.breakers["alipay"].rest_seconds() == 0


def test_one_account_that_hangs_delays_no_other(http, provider):
    """A payout without an answer, again and again, counts once; three of them shut their channel and no other."""

    def hangs(request: httpx.Request, own: FakeProvider) -> None:
        raise httpx.ReadTimeout("hangs", request=request)

    def ask(payout_id: str, channel: Channel) -> object:
        return http.query(payout_id, channel=channel, amount_fen=1)

    provider.behave = [hangs] * 30
    for _ in range(5):
        assert ask("p-1", "alipay") == Unknown("timeout")
    assert http.breakers["alipay"].rest_seconds() == 0
    ask("p-2", "alipay")
    ask("p-3", "alipay")
    assert left_alone(ask("p-4", "alipay"))
    provider.behave = []
    assert ask("p-5", "bank") == NeverHeard()


def test_a_channel_that_hangs_holds_up_so_many_and_no_more(provider):
    """Beyond its places a request of the channel is turned away after a moment, and was never sent."""
    held, let_go = threading.Semaphore(0), threading.Event()

    def hang(request: httpx.Request) -> httpx.Response:
        held.release()
        let_go.wait(20)
        raise httpx.ReadTimeout("hangs", request=request)

    client = httpx.Client(base_url="https://pay.example/v1/", transport=httpx.MockTransport(hang))
    http = HttpPayouts(client, answer_seconds=5, room_seconds=0.01)
    order = {"account_ref": "a", "amount_fen": 1, "name_ref": "n"}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for number in range(AT_ONCE):
            pool.submit(http.submit, payout_id=f"p-{number}", channel="bank", **order)
            held.acquire()
        assert http.submit(payout_id="p-x", channel="bank", **order) == NotSent("crowded", CROWDED_SECONDS)
        let_go.set()
        assert http.submit(payout_id="p-y", channel="ecny", **order) == Unknown("timeout")


def test_a_slow_drip_is_given_up(provider):
    """An answer that arrives byte by byte without end is an unknown outcome, not a wait without end."""

    class Drip(httpx.SyncByteStream):
        def __iter__(self):
            while True:
                provider.seconds += 1
                yield b" "

    client = httpx.Client(
        base_url="https://pay.example/",
        transport=httpx.MockTransport(lambda request: httpx.Response(200, stream=Drip())),
    )
    http = HttpPayouts(client, answer_seconds=5, clock=provider.clock, pause=lambda seconds: None)
    said = http.submit(payout_id="p", channel="bank", account_ref="a", amount_fen=1, name_ref="n")
    assert said == Unknown("timeout")


def test_a_refusal_brings_the_money_back_and_the_seller_stays_owed(desk, data, provider):
    """Failed, with the provider's reason; cash has the money again, and it can go out once more another way."""
    provider.state = "refused"
    assert [desk.advance("p-1"), desk.advance("p-1")] == ["failed", "failed"]
    assert held(data) == BACK
    assert changes(data)[-1] == ("failed", "closed")
    second = replace(PAYOUT, payout_id="p-2")
    with data.transaction() as connection:
        with pytest.raises(PayoutNotFunded):
            create_payout(connection, second, now=START)
        again = bookings.send_again(transfer_id="again", trade_id="t-1", channel="alipay", amount_fen=46_000)
        post(connection, again, now=START)
        create_payout(connection, second, now=START)
    provider.state = "paid"
    assert desk.advance("p-2") == "paid"
    assert held(data) == PAID


def test_a_payout_under_way_is_asked_about_until_it_ends(desk, data, provider):
    """Processing is neither paid nor unknown; it stays submitted."""
    provider.state = "processing"
    assert [desk.advance("p-1"), desk.advance("p-1")] == ["submitted", "submitted"]
    assert held(data) == UNDER_WAY
    provider.paid["p-1"]["state"] = "paid"
    assert desk.advance("p-1") == "paid"
    assert held(data) == PAID


@pytest.mark.parametrize("data", ["postgresql"], indirect=True)
def test_what_came_of_a_payout_waits_for_the_ledger_before_it_locks_the_payout(data, desk):
    """Who posts at that moment can lock the payout as well: the two never wait for each other."""
    reached = sa.text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    mine = sa.select(payouts.c.state).where(payouts.c.payout_id == "p-1").with_for_update(nowait=True)
    with ThreadPoolExecutor(1) as pool:
        with data.transaction() as posting:
            take_turn(posting)
            ended = pool.submit(desk.advance, "p-1")
            while not posting.execute(reached).scalar_one():
                assert not ended.done()
            assert posting.execute(mine).scalar_one() == "submitted"
        assert ended.result(30) == "paid"
    assert held(data) == PAID


def test_a_crash_between_sending_and_hearing_is_resolved_by_asking(data, desk, http, provider, monkeypatch):
    """The process dies while the provider pays: another one asks first and pays nothing."""

    def die(self, connection, errand, answer):
        raise KeyboardInterrupt

    monkeypatch.setattr(LoneDesk, "note", die)
    with pytest.raises(KeyboardInterrupt):
        desk.advance("p-1")
    monkeypatch.undo()
    assert desk.advance("p-1") == "paid"
    assert (provider.payments, provider.posts) == (["p-1"], 1)
    assert held(data) == PAID


def test_an_answer_that_comes_late_changes_nothing_that_ended(data, desk, provider, http, clock):
    """While one worker waits for its answer, another asks and finds it paid; the first then hears a timeout."""

    def slow(request: httpx.Request, own: FakeProvider) -> None:
        own.answer(request)
        own.seconds += 60
        assert LoneDesk(http, clock, transaction=data.transaction).advance("p-1") == "paid"
        raise httpx.ReadTimeout("slow", request=request)

    provider.behave = [slow]
    assert desk.advance("p-1") == "paid"
    assert provider.payments == ["p-1"]
    assert held(data) == PAID


def test_a_payout_is_kept_once_and_only_with_its_money(data, desk):
    """The same order again changes nothing; another body, or money that is not under way for its trade, is refused."""
    with data.transaction() as connection:
        owe(connection, "t-2", 100)
        assert create_payout(connection, PAYOUT, now=START + timedelta(days=1)) == "created"
        for part in ({"amount_fen": 1}, {"account_ref": "other"}, {"channel": "bank"}):
            with pytest.raises(PayoutIdReused):
                create_payout(connection, replace(PAYOUT, **part), now=START)
        for part in ({}, {"trade_id": "t-2", "amount_fen": 101}, {"trade_id": "t-3"}, {"channel": "ecny"}):
            with pytest.raises(PayoutNotFunded):
                create_payout(connection, replace(PAYOUT, payout_id="p-9", **part), now=START)


def test_the_database_keeps_what_ended(data, desk):
    """A paid payout cannot be changed or deleted, an amount never."""
    statements = [
        sa.update(payouts).values(amount_fen=1),
        sa.delete(payouts),
    ]
    ended = [sa.update(payouts).values(state="created", paid_at=None)]
    for statement in statements:
        with pytest.raises(DBAPIError), data.transaction() as connection:
            connection.execute(statement)
    desk.advance("p-1")
    for statement in statements + ended:
        with pytest.raises(DBAPIError), data.transaction() as connection:
            connection.execute(statement)


def paid_payouts(data: ApplicationData, desk: LoneDesk, count: int) -> None:
    for number in range(2, count + 1):
        with data.transaction() as connection:
            owe(connection, f"t-{number}", 100 * number)
            order = replace(PAYOUT, payout_id=f"p-{number}", trade_id=f"t-{number}", amount_fen=100 * number)
            create_payout(connection, order, now=START)
    for number in range(1, count + 1):
        assert desk.advance(f"p-{number}") == "paid"


def test_a_statement_that_agrees_leaves_no_break(data, desk, http):
    """The provider's own statement matches to the fen."""
    paid_payouts(data, desk, 3)
    with data.transaction() as connection:
        lines = http.statement("2026-10-03", channel="alipay")
        found = reconcile(connection, lines, channel="alipay", day=DAY, now=START)
        assert (found.matched, found.matched_fen, found.breaks) == (3, 46_500, ())


def test_every_kind_of_break_is_found_kept_and_closed(data, desk, provider):
    """Missing on either side, another amount, twice, paid only there; a better statement closes what it explains."""
    paid_payouts(data, desk, 4)
    with data.transaction() as connection:
        owe(connection, "t-5", 700)
        create_payout(connection, replace(PAYOUT, payout_id="p-5", trade_id="t-5", amount_fen=700), now=START)
        lines = [
            StatementLine("p-1", "r", 46_000),
            StatementLine("p-2", "r", 201),
            StatementLine("p-3", "r", 300),
            StatementLine("p-3", "r", 299),
            StatementLine("p-5", "r", 700),
            StatementLine("x-1", "r", 5),
        ]
        found = reconcile(connection, lines, channel="alipay", day=DAY, now=START)
        assert found.matched == 1
        assert {(item.kind, item.payout_id, item.ours_fen, item.theirs_fen) for item in found.breaks} == {
            ("amount_differs", "p-2", 200, 201),
            ("duplicate", "p-3", 300, 599),
            ("missing_there", "p-4", 400, 0),
            ("state_differs", "p-5", 700, 700),
            ("missing_here", "x-1", 0, 5),
        }
        assert len(open_breaks(connection)) == 5
        better = [StatementLine(f"p-{n}", "r", fen) for n, fen in ((1, 46_000), (2, 200), (3, 300))]
        found = reconcile(connection, better, channel="alipay", day=DAY, now=START)
        assert [item.kind for item in found.breaks] == ["missing_there"]
        next_day = reconcile(
            connection,
            [StatementLine("p-4", "r", 400)],
            channel="alipay",
            day=DAY + timedelta(days=1),
            now=START,
        )
        assert next_day.breaks == ()
        assert open_breaks(connection) == []


def test_a_payout_on_two_days_statements_was_paid_twice(data, desk):
    """The second day's line is a duplicate, and the first day's stays matched."""
    desk.advance("p-1")
    line = [StatementLine("p-1", "r", 46_000)]
    with data.transaction() as connection:
        assert reconcile(connection, line, channel="alipay", day=DAY, now=START).breaks == ()
        again = reconcile(connection, line, channel="alipay", day=DAY + timedelta(days=1), now=START)
        assert [item.kind for item in again.breaks] == ["duplicate"]
        assert reconcile(connection, line, channel="alipay", day=DAY, now=START).breaks == ()
        other = reconcile(connection, line, channel="bank", day=DAY, now=START)
        assert [item.kind for item in other.breaks] == ["missing_here"]


@pytest.mark.parametrize(
    "text",
    [
        "payout_id,provider_ref,amount_fen\np-1,r,1234\n",
        "\ufeffpayout_id,provider_ref,amount_cny,extra\r\np-1,r,12.34,x\r\n",
        '[{"payout_id": "p-1", "provider_ref": "r", "amount_fen": 1234}]',
        '{"payments": [{"payout_id": "p-1", "provider_ref": "r", "amount_cny": 12.34}]}',
    ],
)
def test_statements_are_read_in_both_forms(text):
    """CSV and JSON, fen or yuan, to the fen."""
    assert parse_statement(text) == [StatementLine("p-1", "r", 1_234)]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "payout_id,amount\np-1,5\n",
        "payout_id,amount_fen\n,5\n",
        "payout_id,amount_fen\np-1,1.5\n",
        "payout_id,amount_fen\np-1,-5\n",
        "payout_id,amount_fen\np-1,NaN\n",
        "payout_id,amount_fen\np-1\n",
        "payout_id,amount_cny\np-1,0.001\n",
        "[1]",
        '{"payments": 5}',
        '[{"payout_id": 5, "amount_fen": 5}]',
        "[{",
    ],
)
def test_a_statement_that_cannot_be_read_is_refused_whole(text):
    """With the line and the column, and nothing is reconciled by half."""
    with pytest.raises(StatementError):
        parse_statement(text)


def test_a_statement_that_does_not_come_is_said_to_be(http, provider):
    """Tried three times, then named; the address is not in the message."""
    provider.behave = [answers(500), times_out, answers(500)]
    with pytest.raises(ProviderUnavailable, match="status_500") as error:
        http.statement("2026-10-03", channel="alipay")
    assert "pay.example" not in str(error.value)


def test_the_real_client_goes_to_one_place_only():
    """No redirects, no proxies of the environment, an end to every wait; the token is sent and not shown."""
    made = http_payouts(url="https://pay.example/v1/", token="marker-token", timeout_seconds=7)
    assert made.client.follow_redirects is False
    assert made.client.trust_env is False
    assert made.client.timeout.read == 7
    assert made.client.headers["Authorization"] == "Bearer marker-token"
    assert "marker-token" not in repr(made)


def test_a_payout_row_holds_references_only(data, desk):
    """What is stored of a person are the references that were handed in."""
    with data.transaction() as connection:
        row = read_payout(connection, "p-1")
    assert row is not None
    assert (row["account_ref"], row["name_ref"]) == ("acct-ref-1", "name-ref-1")
