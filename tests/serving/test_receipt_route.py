"""Receipts, charges and callbacks over HTTP and from the shell, with the drafts and deletions of the flow."""

from __future__ import annotations

import html
import json
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa

from pipelines.recycling import callback_outbox as outbox
from pipelines.recycling.opening import policies_of
from pipelines.recycling.people import People
from pipelines.recycling.provider_callbacks import provider_calls
from pipelines.recycling.retention import overdue, purge
from pipelines.recycling.vault import CardShredded
from pipelines.reporting.suspicious import NOTICE, draft_report
from pipelines.settings import RecyclingSettings
from serving.api import submission_examples as examples
from serving.api.access.roles import Role
from tests.serving.clients import headers_of
from tests.serving.test_submissions import issuer, provider, seller, submitted, work

__all__ = ["issuer", "provider", "seller"]

SECRET = examples.NEW["a JD e-card"]["card"]["secret"]
NUMBER = examples.NEW["a JD e-card"]["card"]["number"]


def opened_of(client):
    return client.app.state.recycling


@pytest.fixture
def charging(seller):
    """The service with a fee of 3 %."""
    opened = opened_of(seller)
    flow = replace(opened.flow, policies=policies_of(RecyclingSettings(fee_bps=300)))
    seller.app.state.recycling = replace(opened, flow=flow, people=People(flow, opened.engine))
    return seller


def quoted(client, clock, headers=None) -> dict:
    one = client.post("/v1/submissions", json=examples.NEW["a JD e-card"], headers=headers).json()
    one = one["submission_id"]
    work(client, clock)
    found = client.get(f"/v1/submissions/{one}").json()
    if found["state"] == "person_needed":
        decided = {"decision": "approve", "reason": "test"}
        found = client.post(f"/v1/submissions/{one}/decisions", json=decided).json()
    assert found["state"] == "quoted", found
    return found


def paid(client, clock, headers=None) -> str:
    found = quoted(client, clock, headers)
    one = found["submission_id"]
    clock.forward(seconds=5)
    asked = {"quote_id": found["quote_id"]}
    assert client.post(f"/v1/submissions/{one}/acceptance", json=asked, headers=headers).status_code == 200
    work(client, clock)
    clock.forward(days=2)
    work(client, clock)
    assert client.get(f"/v1/submissions/{one}").json()["state"] == "paid"
    return one


def test_charges_are_shown_before_the_seller_accepts(charging, clock, provider):
    """Price, fee and payout stand in the quoted trade and add up; the payout is what is paid."""
    shown = quoted(charging, clock)
    fen = {name: shown[name]["amount_fen"] for name in ("price", "fee", "postage", "tax", "payout")}
    assert fen["fee"] == fen["price"] * 300 // 10_000 > 0
    assert fen["payout"] == fen["price"] - fen["fee"] - fen["postage"] - fen["tax"]
    asked = {"quote_id": shown["quote_id"]}
    charging.post(f"/v1/submissions/{shown['submission_id']}/acceptance", json=asked)
    work(charging, clock)
    clock.forward(days=2)
    work(charging, clock)
    assert list(provider.paid.values()) == [fen["payout"]]


def test_a_paid_trade_has_a_receipt(charging, clock):
    """A PDF, the same each time, for whom the trade belongs to and for people of the platform; nobody else."""
    own = headers_of(Role.PRICING_CLIENT)
    one = paid(charging, clock, own)
    answer = charging.get(f"/v1/submissions/{one}/receipt", headers=own)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/pdf")
    assert answer.content.startswith(b"%PDF")
    analyst = charging.get(f"/v1/submissions/{one}/receipt", headers=headers_of(Role.RISK_ANALYST))
    assert analyst.content == answer.content
    card = examples.NEW["a JD e-card"]["card"] | {"number": "JDV00000000000000043"}
    other = submitted(charging, card=card)["submission_id"]
    refused = charging.get(f"/v1/submissions/{other}/receipt", headers=own)
    assert (refused.status_code, refused.json()["code"]) == (404, "submission_not_found")
    unpaid = charging.get(f"/v1/submissions/{other}/receipt")
    assert (unpaid.status_code, unpaid.json()["code"]) == (409, "not_settled")
    assert charging.get("/v1/submissions/none/receipt").status_code == 404


def test_nobody_complains_about_the_trade_of_another(seller):
    """For a client that submits, a trade of another client does not exist; a complaint does not show it either."""
    one = submitted(seller)["submission_id"]
    made = {"kind": "wrong_value", "reason": "test"}
    path = f"/v1/submissions/{one}/complaints"
    refused = seller.post(path, json=made, headers=headers_of(Role.PRICING_CLIENT))
    assert refused.json()["code"] == "submission_not_found"
    assert seller.post(path, json=made).json()["code"] == "wrong_state"


def test_callbacks_are_seen_and_sent_again(seller, clock):
    """A client sees its own, an operator all; a dead one is sent again, one that waits is not, of others' none."""
    own = headers_of(Role.PRICING_CLIENT)
    engine = opened_of(seller).engine
    one = seller.post("/v1/submissions", json=examples.NEW["a JD e-card"], headers=own).json()
    with engine.begin() as connection:
        client_id = opened_of(seller).flow.book.read(connection, one["submission_id"])["client_id"]
        outbox.set_address(connection, client_id, "https://partner.example/", now=clock.now)
    work(seller, clock)
    found = seller.get("/v1/callbacks?state=waiting", headers=own).json()["callbacks"]
    assert [item["submission_id"] for item in found] == [one["submission_id"]]
    path = f"/v1/callbacks/{found[0]['callback_id']}/replay"
    assert seller.post(path, headers=own).json()["code"] == "callback_waiting"
    with engine.begin() as connection:
        row = outbox.one(connection, found[0]["callback_id"])
        assert outbox.claim(connection, row, now=clock.now)
        outbox.conclude(connection, row, problem="gone", now=clock.now, final=True)
    assert seller.get("/v1/callbacks?state=dead", headers=headers_of(Role.OPERATOR)).json()["callbacks"]
    assert seller.post(path, headers=own).json()["state"] == "waiting"
    with engine.begin() as connection:
        outbox.set_address(connection, "another", "https://other.example/", now=clock.now)
        trade = {"submission_id": "r-x", "version": 2, "client_id": "another", "state": "paid"}
        trade |= {"facts": {}}
        outbox.note_move(connection, trade | {"quote_id": "q", "payout_fen": 1}, now=clock.now)
    assert seller.post("/v1/callbacks/r-x-2/replay", headers=own).json()["code"] == "callback_not_found"
    assert seller.post("/v1/callbacks/none/replay").json()["code"] == "callback_not_found"
    assert len(seller.get("/v1/callbacks", headers=own).json()["callbacks"]) == 1


def test_a_suspicious_trade_is_drafted_for_counsel(seller, clock):
    """The draft names the trade's steps, the quote's reasons, totals and linked sellers in both languages, marks itself
    as a draft, and holds no card."""
    one = paid(seller, clock)
    card = examples.NEW["a JD e-card"]["card"] | {"number": "JDV00000000000000043"}
    person = {"seller_id": "<b>other</b>"}
    submitted(seller, card=card, seller=examples.NEW["a JD e-card"]["seller"] | person)
    opened = opened_of(seller)
    with opened.engine.connect() as connection:
        draft = draft_report(connection, opened.flow.book, one, explained=None, now=clock.now)
    said = draft.as_json()
    assert said["is_draft_for_counsel"] is True
    parts = {part["code"]: part["rows"] for part in said["sections"]}
    assert [row["to"] for row in parts["steps"]][-1] == "paid"
    assert parts["reasons"]
    assert [row["cards 卡数"] for row in parts["totals"]] == [1, 1]
    assert [row["seller 卖家"] for row in parts["linked"]] == ["<b>other</b>"]
    page = draft.as_html()
    assert all(html.escape(text) in page for text in NOTICE)
    assert "<b>other</b>" not in page
    for text in (page, json.dumps(said)):
        assert NUMBER not in text
        assert SECRET not in text


def test_secrets_of_ended_trades_go_when_their_time_is_over(seller, clock):
    """Nothing before the days are over, nothing of trades that go on; then the secret is gone, and the trade stays."""
    ended = submitted(seller)["submission_id"]
    seller.post(f"/v1/submissions/{ended}/cancellation")
    card = examples.NEW["a JD e-card"]["card"] | {"number": "JDV00000000000000043"}
    going = submitted(seller, card=card)["submission_id"]
    opened, settings = opened_of(seller), RecyclingSettings(secrets_days=30)
    assert overdue(opened, settings, now=clock.now + timedelta(days=29)).card_ids == ()
    later = clock.now + timedelta(days=31)
    early = overdue(opened, settings, now=later, before=clock.now - timedelta(days=1))
    assert early.card_ids == ()
    found = overdue(opened, settings, now=later)
    assert len(found.card_ids) == 1
    purge(opened, found, actor="retention", now=later)
    assert overdue(opened, settings, now=later).card_ids == ()
    with opened.engine.connect() as connection:
        rows = {one: opened.flow.book.read(connection, one) for one in (ended, going)}
    with pytest.raises(CardShredded):
        opened.flow.vault.use(rows[ended]["card_id"], step="look", now=later)
    assert opened.flow.vault.use(rows[going]["card_id"], step="look", now=later).secret.open() == SECRET


def test_what_leaves_said_goes_when_its_time_is_over(seller, clock):
    """After the days of evidence the payloads are deleted, and the leaves stay."""
    one = submitted(seller)["submission_id"]
    opened, settings = opened_of(seller), RecyclingSettings(evidence_days=400)
    later = clock.now + timedelta(days=401)
    found = overdue(opened, settings, now=later)
    assert found.payloads >= 1
    purge(opened, found, actor="retention", now=later)
    assert overdue(opened, settings, now=later).payloads == 0
    assert [leaf.said for leaf in opened.flow.book.evidence.leaves_of(one)] == [None]


def test_calls_of_providers_go_after_weeks(seller, clock):
    """Their ids are forgotten five weeks after they were heard, and not sooner."""
    one = submitted(seller)["submission_id"]
    opened, settings = opened_of(seller), RecyclingSettings()
    row = {"partner": "wallet", "event_id": "e-1", "about": f"{one}-take", "submission_id": one, "said": ""}
    with opened.engine.begin() as connection:
        connection.execute(sa.insert(provider_calls).values(**row, heard_at=clock.now))
    assert overdue(opened, settings, now=clock.now + timedelta(days=34)).calls == 0
    later = clock.now + timedelta(days=36)
    assert overdue(opened, settings, now=later, before=clock.now - timedelta(days=1)).calls == 0
    found = overdue(opened, settings, now=later)
    assert found.calls == 1
    purge(opened, found, actor="retention", now=later)
    with opened.engine.connect() as connection:
        assert connection.execute(sa.select(provider_calls)).all() == []
