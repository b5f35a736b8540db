"""The numbers of the trade over HTTP, and trades by state and trouble as metrics."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

import pytest
import sqlalchemy as sa
from prometheus_client import values

from pipelines.recycling.numbers import TradeNumbers, trade_numbers
from pipelines.recycling.trade_money import trade_money
from serving.api import submission_examples as examples
from serving.api.metrics import Metrics
from serving.api.trade_numbers import RecyclingNumbers
from serving.api.trade_watch import TradeWatch
from serving.cli import main
from serving.commands.recycling_numbers import TITLES, shown
from tests.pipelines.recycling_world import open_world

MINE = examples.NEW["a JD e-card"]


def test_numbers_stand_by_profile_and_null_where_there_is_none(client):
    """A submitted card counts under its profile; what nothing can be divided by is null, money is money."""
    assert client.post("/v1/submissions", json=MINE).status_code == 200
    body = client.get("/v1/recycling/numbers").json()
    told = RecyclingNumbers.model_validate(body)
    assert set(told.profiles) == {"small", "medium", "head"}
    head, small = told.profiles["head"], told.profiles["small"]
    assert (head.trades, head.states, head.refused_share) == (1, {"submitted": 1}, 0)
    assert head.response_seconds_p50 is None
    assert (small.trades, small.refused_share) == (0, None)
    assert body["profiles"]["head"]["stock"] == {"amount_fen": 0, "currency": "CNY"}
    assert set(examples.NUMBERS["profiles"]["head"]) == set(body["profiles"]["head"])


def test_the_command_names_each_number_in_words(client, live_workspace, capsys):
    """Every number but the states has a row; none is named in fen, and a median is told in a unit that fits it."""
    assert client.post("/v1/submissions", json=MINE).status_code == 200
    with pytest.raises(SystemExit) as ended:
        main(["recycling", "numbers", "--home", str(live_workspace.home)])
    assert ended.value.code in (0, None)
    told = capsys.readouterr().out
    assert "fen" not in told
    assert "库存成本 stock, at cost" in told
    assert {part.name for part in fields(TradeNumbers)} - {"states"} == set(TITLES)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("response_seconds_p50", 0.0573535, "57 ms"),
        ("response_seconds_p50", 1.26, "1.3 s"),
        ("paid_seconds_p50", 259_200.0, "3.0 d"),
        ("paid_seconds_p50", math.nan, "–"),
        ("stock_fen", 213_305, "¥2,133.05"),
        ("refused_share", 0.25, "25.0%"),
        ("trades", 1_200, "1,200"),
    ],
)
def test_a_number_is_written_as_people_read_it(name, value, told):
    """Money in yuan, shares in percent, times in a unit that fits, and a dash where there is nothing."""
    assert shown(name, value) == told


def test_the_period_is_asked_for_in_days(client, clock):
    """Older trades are in the numbers of all time alone; a period that is none is refused."""
    client.post("/v1/submissions", json=MINE)
    clock.forward(days=40)
    assert client.get("/v1/recycling/numbers").json()["profiles"]["head"]["trades"] == 0
    ever = client.get("/v1/recycling/numbers?days=0").json()
    assert (ever["since"], ever["profiles"]["head"]["trades"]) == (None, 1)
    assert client.get("/v1/recycling/numbers?days=-1").json()["code"] == "invalid_request"


def test_trades_and_troubles_are_gauges(client, desk, monkeypatch):
    """Each state has its count, a trouble goes back to zero when it is over, and no trade is named."""
    monkeypatch.setattr(values, "ValueClass", values.MutexValue)
    metrics = Metrics(category_of=str)
    watch = TradeWatch(desk.data, metrics, clock=desk.clock)
    one = client.post("/v1/submissions", json=MINE).json()["submission_id"]
    flow = client.app.state.recycling.flow
    now = desk.clock()
    with desk.data.transaction() as connection:
        flow.book.fail(connection, flow.book.read(connection, one), "issuer_busy", now=now)
    watch.look()
    text = metrics.text().decode()
    assert 'huika_trades{state="submitted"} 1.0' in text
    assert 'huika_trades{state="paid"} 0.0' in text
    assert 'huika_trades_in_trouble{trouble="issuer_busy"} 1.0' in text
    assert client.post(f"/v1/submissions/{one}/cancellation").json()["state"] == "cancelled"
    watch.look()
    text = metrics.text().decode()
    assert 'huika_trades_in_trouble{trouble="issuer_busy"} 0.0' in text
    assert one not in text


def gauges(metrics: Metrics) -> dict[str, float]:
    """Every gauge of the trade by its name and labels."""
    lines = (line for line in metrics.text().decode().splitlines() if line.startswith("huika_trade"))
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def test_the_numbers_are_gauges_by_profile(tmp_path, monkeypatch):
    """What the numbers say, per profile, and the money of all trades: the same figures that are worked out anew."""
    monkeypatch.setattr(values, "ValueClass", values.MutexValue)
    world, metrics = open_world(tmp_path), Metrics(category_of=str)
    watch = TradeWatch(world.data, metrics, clock=world.clock)
    watch.look()
    assert math.isnan(gauges(metrics)['huika_trade_share{of="refused",profile="head"}'])
    for number in (1, 2, 9):
        one = world.submit(number)
        world.work()
        if number != 9:
            world.accept(one)
            world.pricing.decision = "hold" if number == 2 else "pay"
            world.clock.forward(seconds=30)
            world.work()
    watch._numbers_at = 0.0
    watch.look()
    found = gauges(metrics)
    with world.engine.connect() as connection:
        wanted = trade_numbers(connection, profile="head")
    assert wanted.trades == 3
    assert wanted.paid_fen > 0
    head = {
        "huika_trades_recent{%s}": wanted.trades,
        'huika_trade_share{of="refused",%s}': wanted.refused_share,
        'huika_trade_share{of="returning",%s}': wanted.returning_share,
        'huika_trade_share{of="bait_and_cut",%s}': wanted.bait_and_cut,
        'huika_trade_median_seconds{%s,until="response"}': wanted.response_seconds_p50,
        'huika_trade_median_seconds{%s,until="paid"}': wanted.paid_seconds_p50,
        'huika_trade_money_fen{%s,what="stock"}': wanted.stock_fen,
        'huika_trade_money_fen{%s,what="frozen"}': wanted.frozen_fen,
        'huika_trade_money_fen{%s,what="settled"}': wanted.settled_fen,
        'huika_trade_money_fen{%s,what="paid"}': wanted.paid_fen,
    }
    assert {name: found[name % 'profile="head"'] for name in head} == head
    assert found['huika_trade_money_fen{profile="small",what="paid"}'] == 0


def test_money_is_counted_on_and_numbers_rest(tmp_path, monkeypatch):
    """Each transfer is read once, in pieces, and however it is cut the sums are those of the whole ledger; nothing is
    put together again before its time, nor where nothing has happened."""
    monkeypatch.setattr(values, "ValueClass", values.MutexValue)
    monkeypatch.setattr("serving.api.trade_watch.TRANSFERS_AT_ONCE", 3)
    world, metrics = open_world(tmp_path), Metrics(category_of=str)
    passed = [0.0]
    watch = TradeWatch(world.data, metrics, clock=world.clock, seconds=lambda: passed[0])
    asked: list[str] = []

    def counted(connection: sa.Connection, *, profile: str, **rest: Any) -> TradeNumbers:
        asked.append(profile)
        return trade_numbers(connection, profile=profile, **rest)

    monkeypatch.setattr("serving.api.trade_watch.trade_numbers", counted)
    for number in (1, 2):
        one = world.submit(number)
        world.work()
        world.accept(one)
        watch.look()
        world.issuer.standing = "used"
        world.work()  # the second comes back, and what was frozen for it is free
        watch.look()
        with world.engine.connect() as connection:
            assert watch._money["head"] == trade_money(connection, [])
        world.issuer.standing = "active"
    assert asked == ["small", "medium", "head"]
    for seconds in (59.0, 61.0, 200.0):
        passed[0] = seconds
        watch.look()
    assert asked == ["small", "medium", "head"] * 2


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_trades_are_counted_by_their_indexes(request, tmp_path, monkeypatch, kind):
    """Of a trade that has ended, a trouble is told as well; neither count reads all trades there ever were."""
    monkeypatch.setattr(values, "ValueClass", values.MutexValue)
    url = request.getfixturevalue("postgres_url") if kind == "postgresql" else ""
    world, metrics = open_world(tmp_path, url=url), Metrics(category_of=str)
    one = world.submit()
    with world.engine.begin() as connection:
        row = world.flow.book.read(connection, one)
        ended = {"state": "returned", "trouble": "taken_after_all", "due_at": None}
        world.flow.book.change(connection, row, ended)
    watch = TradeWatch(world.data, metrics, clock=world.clock)
    watch.look()
    assert gauges(metrics)['huika_trades_in_trouble{trouble="taken_after_all"}'] == 1
    plans: list[str] = []

    @sa.event.listens_for(world.engine, "before_cursor_execute", retval=True)
    def explained(connection: Any, cursor: Any, statement: str, told: Any, *rest: Any) -> tuple[str, Any]:
        words = "EXPLAIN QUERY PLAN " if kind == "sqlite" else "EXPLAIN "
        if statement.startswith("SELECT recycling"):
            cursor.execute(words + statement, told)
            plans.append("\n".join(str(line[-1]) for line in cursor.fetchall()))
        return statement, told

    with world.engine.connect() as connection:
        if kind == "postgresql":  # it would read a single row as it stands
            connection.connection.cursor().execute("SET enable_seqscan = off")
        watch._count_open(connection)
    by_state, by_trouble = plans
    assert "ix_recycling_submissions_state" in by_state
    assert "recycling_submissions_troubled" in by_trouble
    world.engine.dispose()
