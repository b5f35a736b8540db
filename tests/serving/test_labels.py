"""Labels told to the service, by whom and against whom, and trades let through at random."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient

from features.definitions import FEATURES
from models.fraud.decision import Thresholds
from models.fraud.let_through import LET_THROUGH_NOTE
from models.policy import DecisionCosts
from pipelines.application_data import events, live_log
from pipelines.consistency import check_consistency
from pipelines.training.collecting import collect_workspace
from serving.api.desk import Desk
from serving.api.engine import ANALYST_NOTES, as_told
from tests.serving.conftest import Clock, client_of

pytestmark = pytest.mark.both_storages

SOURCES = ("issuer", "chargeback", "analyst", "seller_dispute", "matured")


def submission(trade_id: str, seller: str = "s-1", face_fen: int = 50_000) -> dict:
    return {
        "trade_id": trade_id,
        "card": {
            "card_type": "jd_ecard",
            "card_form": "virtual",
            "face_value": {"amount_fen": face_fen},
            "expires_on": "2028-12-31",
        },
        "seller": {"seller_id": seller, "device_id": f"d-{seller}", "payout_account": f"p-{seller}"},
    }


def ask(client: TestClient, body: dict) -> dict:
    response = client.post("/v1/quotes", json=body)
    assert response.status_code == 200, response.text
    return response.json()


def label(kind: str, trade_id: str, clock: Clock, event_id: str, **more: str) -> dict:
    return {
        "kind": kind,
        "event_id": event_id,
        "trade_id": trade_id,
        "happened_at": clock.now.isoformat(),
    } | more


def tell(client: TestClient, *parts, **more: str) -> str:
    response = client.post("/v1/events", json=label(*parts, **more))
    assert response.status_code == 200, response.text
    return response.json()["status"]


def seen(desk: Desk, clock: Clock, seller: str = "s-1") -> tuple[float, float]:
    """Labels and frauds that the live features of a seller know now."""
    trade = desk.engine.trade_of(parsed(submission("probe", seller)), now=clock.now + timedelta(seconds=1))
    values = desk.engine.live.answer(trade).values
    return values["seller_labels_all"], values["seller_frauds_all"]


def parsed(body: dict):
    from serving.api.schemas import Submission

    return Submission.model_validate(body)


def stored(workspace, trade_id: str) -> dict:
    collect_workspace(workspace)
    rows = workspace.tables.read("trades").to_pylist()
    return next(row for row in rows if row["trade_id"] == trade_id)


def faults(workspace) -> int:
    return check_consistency(
        workspace, registry=FEATURES, newest=200, progress=lambda done, total: None
    ).faults


def test_a_better_source_corrects_a_label(client, desk, clock, live_workspace):
    """Confirmed by an analyst, cleared by the issuer: features, state and tables follow, and name the issuer."""
    clock.forward(hours=1)
    ask(client, submission("one"))
    clock.forward(hours=1)
    assert tell(client, "fraud_confirmed", "one", clock, "e1") == "recorded"
    confirmed_at = clock.now
    assert seen(desk, clock) == (1, 1)
    row = stored(live_workspace, "one")
    assert (row["fraud"], row["label_source"], row["fraud_known_at"]) == (True, "analyst", confirmed_at)
    clock.forward(days=2)
    assert tell(client, "fraud_cleared", "one", clock, "e2", source="issuer") == "recorded"
    assert seen(desk, clock) == (1, 0)
    clock.forward(minutes=1)
    ask(client, submission("two"))
    row = stored(live_workspace, "one")
    assert (row["fraud"], row["label_source"]) == (False, "issuer")
    assert row["fraud_known_at"] == confirmed_at + timedelta(days=2)
    assert faults(live_workspace) == 0


def test_a_weaker_source_is_heard_and_changes_nothing(client, desk, clock, live_workspace):
    """A dispute or silence after an issuer's word is kept among the events; no feature, state or table moves."""
    clock.forward(hours=1)
    ask(client, submission("one"))
    tell(client, "fraud_confirmed", "one", clock, "e1", source="issuer")
    before, head = stored(live_workspace, "one"), desk.data.log_head
    for number, source in enumerate(SOURCES[1:]):
        clock.forward(days=1)
        assert tell(client, "fraud_cleared", "one", clock, f"c{number}", source=source) == "recorded"
    assert (desk.data.log_head, seen(desk, clock)) == (head, (1, 1))
    assert stored(live_workspace, "one") == before
    assert len(desk.data.events_of("one")) == 5


def test_the_same_verdict_again_moves_nothing(client, desk, clock, live_workspace):
    """A chargeback after an analyst's finding makes the label stronger, not later: no feature changes."""
    clock.forward(hours=1)
    ask(client, submission("one"))
    tell(client, "fraud_confirmed", "one", clock, "e1")
    known_at, head = clock.now, desk.data.log_head
    clock.forward(days=20)
    tell(client, "fraud_confirmed", "one", clock, "e2", source="chargeback")
    tell(client, "fraud_cleared", "one", clock, "e3")
    row = stored(live_workspace, "one")
    assert (row["fraud"], row["label_source"], row["fraud_known_at"]) == (True, "chargeback", known_at)
    assert desk.data.log_head == head
    assert stored(live_workspace, "one") == row


def test_a_label_event_counts_once_whoever_told_it(client, desk, clock):
    """The same event again is known, also one recorded before sources existed; with another source it is refused."""
    clock.forward(hours=1)
    ask(client, submission("one"))
    body = label("fraud_confirmed", "one", clock, "e1")
    assert client.post("/v1/events", json=body).json()["status"] == "recorded"
    assert client.post("/v1/events", json=body | {"source": "analyst"}).json()["status"] == "known"
    with desk.data.transaction() as connection:
        former = {name: value for name, value in desk.data.event("e1")["body"].items() if name != "source"}
        connection.execute(sa.update(events).where(events.c.event_id == "e1").values(body=former))
    assert client.post("/v1/events", json=body).json()["status"] == "known"
    assert client.post("/v1/events", json=body | {"source": "issuer"}).json()["code"] == "event_id_reused"


@pytest.mark.parametrize(
    ("kind", "source"),
    [
        ("fraud_confirmed", "a colleague"),
        ("fraud_confirmed", "matured"),
        ("fraud_cleared", ""),
        ("fraud_cleared", 3),
    ],
)
def test_a_source_is_one_of_the_five(client, clock, kind, source):
    """Free text as a source is refused, and nobody confirms a fraud by silence."""
    ask(client, submission("one"))
    response = client.post("/v1/events", json=label(kind, "one", clock, "e1", source=source))
    assert (response.status_code, response.json()["code"]) == (422, "invalid_request")


@pytest.mark.parametrize("seed", [1, 2])
def test_live_features_follow_any_sequence_of_labels(client, desk, clock, live_workspace, seed):
    """Random labels from random sources on a few trades, also several in one instant and with collecting in between:
    every quote in between was answered from what training will see."""
    rng = np.random.default_rng(seed)
    trades = [f"t-{number}" for number in range(3)]
    clock.forward(hours=1)
    for number, trade_id in enumerate(trades):
        ask(client, submission(trade_id, seller=f"s-{number % 2}"))
        clock.forward(minutes=3)
    for number in range(24):
        clock.forward(hours=int(rng.integers(0, 2)))
        kind = str(rng.choice(["fraud_confirmed", "fraud_cleared"]))
        source = str(rng.choice(SOURCES[: 4 if kind == "fraud_confirmed" else 5]))
        tell(client, kind, str(rng.choice(trades)), clock, f"e{99 - number}", source=source)
        if number % 5 == 4:
            clock.forward(minutes=1)
            ask(client, submission(f"q-{number}", seller=f"s-{number % 2}"))
        if number % 9 == 8:
            collect_workspace(live_workspace)
    clock.forward(minutes=1)
    assert faults(live_workspace) == 0
    rows = [stored(live_workspace, trade_id) for trade_id in trades]
    for seller in ("s-0", "s-1"):
        own = [row["fraud"] for row in rows if row["seller_id"] == seller and row["fraud"] is not None]
        assert seen(desk, clock, seller) == (len(own), sum(own))


# --- let through ---------------------------------------------------------------------------------------------

REFUSES_ALL = DecisionCosts(
    margin_share=0.0, complaint_probability=0.0, let_through_share=0.4, let_through_seed="a test's own"
)
"""A refusal costs nothing here, and nothing beyond its cost with a model without thresholds, so every trade of any risk
is refused."""


@pytest.fixture
def strict(desk: Desk) -> Desk:
    model = desk.engine.models.fraud
    assert model is not None
    models = replace(desk.engine.models, fraud=model.with_thresholds(Thresholds()))
    terms = replace(desk.engine.terms, decision=REFUSES_ALL)
    return replace(desk, engine=replace(desk.engine, models=models, terms=terms))


def test_some_refused_trades_are_let_through_and_the_log_says_which(strict, clock, live_workspace):
    """About the share is paid with its probability; the note is stored and not told; the tables hold both."""
    clock.forward(hours=1)
    with client_of(strict) as client:
        quotes = {}
        for number in range(40):
            clock.forward(seconds=5)
            quotes[f"t-{number}"] = ask(client, submission(f"t-{number}", seller=f"s-{number}"))
        again = ask(client, submission("t-3", seller="s-3"))
        large = ask(client, submission("large", face_fen=60_000))
        score = client.post("/v1/fraud-scores", json=submission("t-3", seller="s-3")).json()
        told = client.get(f"/v1/quotes/{quotes['t-3']['quote_id']}").json()
    passed = {name for name, quote in quotes.items() if quote["let_through"] is not None}
    assert 6 <= len(passed) <= 28
    assert {quote["let_through"] for quote in quotes.values()} == {None, 0.4}
    assert all((quote["decision"] == "pay") == (name in passed) for name, quote in quotes.items())
    assert (again["decision"], again["let_through"]) == (
        quotes["t-3"]["decision"],
        quotes["t-3"]["let_through"],
    )
    assert score["decision"] == again["decision"]
    assert "let_through" not in score
    assert (large["decision"], large["let_through"]) == ("refuse", None)
    assert told == quotes["t-3"]
    for name, quote in quotes.items():
        kept = strict.data.quote(quote["quote_id"])
        assert kept is not None
        notes = [LET_THROUGH_NOTE.to_dict()] if name in passed else []
        assert (as_told(kept["answer"]), kept["answer"][ANALYST_NOTES]) == (quote, notes)
        assert LET_THROUGH_NOTE.code not in str(quote)
    collect_workspace(live_workspace)
    rows = {row["trade_id"]: row for row in live_workspace.tables.read("trades").to_pylist()}
    for name in quotes:
        row, drawn = rows[name], name in passed
        assert (row["decision"], row["let_through"]) == (("pay", 0.4) if drawn else ("refuse", None))
        assert (row["offered_rate"] is not None) == drawn


def test_a_repeated_request_does_not_tell_the_note(strict, clock):
    """An answer kept under an idempotency key is the one that was given, without what analysts read."""
    with client_of(strict) as client:
        for number in range(10):
            headers = {"Idempotency-Key": f"k-{number}"}
            body = submission(f"t-{number}")
            first = client.post("/v1/quotes", json=body, headers=headers)
            again = client.post("/v1/quotes", json=body, headers=headers)
            assert again.json() == first.json()
            assert ANALYST_NOTES not in again.json()


def test_labels_reach_the_log_with_their_correction(client, desk, clock):
    """The record of a correction holds the label it corrects, for telling it again needs nothing else."""
    clock.forward(hours=1)
    ask(client, submission("one"))
    tell(client, "fraud_confirmed", "one", clock, "e1")
    first = clock.now
    tell(client, "fraud_cleared", "one", clock, "e2", source="issuer")
    rows = desk.data.rows(sa.select(live_log).where(live_log.c.kind == "labelled").order_by(live_log.c.seq))
    assert [(row["body"]["fraud"], row["body"]["old"]) for row in rows] == [
        (True, None),
        (False, [first.isoformat(), True]),
    ]
    assert rows[1]["body"]["known_at"] > rows[0]["body"]["known_at"]
