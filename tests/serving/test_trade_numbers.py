"""The numbers of the trade over HTTP, and trades by state and trouble as metrics."""

from __future__ import annotations

from prometheus_client import values

from serving.api import submission_examples as examples
from serving.api.metrics import Metrics
from serving.api.trade_numbers import RecyclingNumbers, TradeWatch

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
    watch = TradeWatch(desk.data, metrics)
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
