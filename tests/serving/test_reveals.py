"""A secret is seen over HTTP by one operator after another one agreed, once, and every step is written down."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from serving.api import reveal_examples as examples
from serving.api import submission_examples
from serving.api.access.roles import Role
from tests.serving.clients import headers_of

FIRST = headers_of(Role.OPERATOR)
CARD = submission_examples.NEW["a JD e-card"]["card"]


@pytest.fixture
def submitted(client: TestClient) -> str:
    return client.post("/v1/submissions", json=submission_examples.NEW["a JD e-card"]).json()["submission_id"]


def asked(client: TestClient, one: str, reason: str = examples.ASKED["a dispute"]["reason"]) -> dict:
    return client.post(f"/v1/submissions/{one}/reveals", json={"reason": reason}, headers=FIRST).json()


def code(client: TestClient, path: str, headers: dict[str, str] | None = None) -> str:
    response = client.post(path, headers={"Idempotency-Key": "same"} | (headers or {}))
    return response.json().get("code", "done")


def test_two_people_and_one_look(client, submitted):
    """Not before the other agreed, not by anybody but who asked, not twice; vault and evidence name both."""
    path = f"/v1/reveals/{asked(client, submitted)['reveal_id']}"
    assert code(client, f"{path}/look", FIRST) == "not_approved"
    assert code(client, f"{path}/approval", FIRST) == "own_request"
    (waiting,) = client.get("/v1/reveals").json()["reveals"]
    assert waiting["state"] == "waiting"
    approved = client.post(f"{path}/approval")
    assert approved.json()["state"] == "approved"
    assert code(client, f"{path}/look") == "not_yours"
    shown = client.post(f"{path}/look", headers=FIRST | {"Idempotency-Key": "same"})
    assert shown.json() == {"number": CARD["number"], "secret": CARD["secret"]}
    assert shown.headers["Cache-Control"] == "no-store"
    assert code(client, f"{path}/look", FIRST) == "already_shown"
    opened = client.app.state.recycling
    entry = opened.flow.vault.audit()[-1]
    assert (entry["action"], entry["outcome"]) == ("revealed", "done")
    assert entry["second_actor"] == approved.json()["approved_by"] != entry["actor"]
    kinds = [kept.leaf.kind for kept in opened.flow.book.evidence.leaves_of(submitted)]
    assert kinds.count("card_revealed") == 1
    assert client.get("/v1/reveals").json() == {"reveals": []}


def test_a_question_ends_by_itself(client, submitted, clock):
    """After 15 minutes nobody can agree or look; a destroyed card cannot be asked for."""
    path = f"/v1/reveals/{asked(client, submitted)['reveal_id']}"
    clock.forward(minutes=15)
    assert code(client, f"{path}/approval") == "reveal_expired"
    assert code(client, "/v1/reveals/none/approval") == "reveal_not_found"
    vault = client.app.state.recycling.flow.vault
    (card,) = vault.cards_of(submitted)
    vault.shred(card.card_id, actor="test", now=clock.now)
    assert asked(client, submitted)["code"] == "card_unreadable"


def test_a_reason_never_holds_the_card(client, submitted):
    """It is refused before it is kept, however the number is written; roles that only analyse may not ask."""
    number = CARD["number"]
    refused = asked(client, submitted, f"look at {number[:10]} {number[10:].lower()} please")
    assert (refused["code"], number in str(refused)) == ("secret_in_reason", False)
    path = f"/v1/submissions/{submitted}/reveals"
    analyst = client.post(path, json=examples.ASKED["a dispute"], headers=headers_of(Role.RISK_ANALYST))
    assert analyst.status_code == 403
    assert client.get("/v1/reveals").json() == {"reveals": []}
