"""Calls of providers over HTTP: open to whoever signs them, and to nobody else."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from fastapi.testclient import TestClient

from pipelines.recycling.intake import Offered
from pipelines.recycling.provider_callbacks import Partner
from pipelines.recycling.provider_signature import signed_headers
from pipelines.recycling.secret import Secret

SECRET = "p" * 40


@pytest.fixture
def one(client: TestClient, clock) -> str:
    """A trade that waits for its wallet's holder, in a service whose wallet provider may call."""
    state = client.app.state  # pyright: ignore[reportFunctionMemberAccess]
    opened = state.recycling
    secrets: dict[Partner, tuple[str, ...]] = {"payout": (), "wallet": (SECRET,)}
    state.recycling = replace(opened, callbacks=replace(opened.callbacks, clock=clock, secrets=secrets))
    asked = {"card": {"card_type": "ecny_balance", "face_value": {"amount_fen": 20_000}}}
    asked["seller"] = {"seller_id": "s-1"}
    balance = Offered(Secret(""), Secret(""), asked, "payee-1", "bank", "r-called", wallet_ref="wallet-71")
    row = opened.intake.submit(balance, by="app")
    with opened.engine.begin() as connection:
        waits = {"state": "frozen", "due_at": clock.now.replace(year=clock.now.year + 1)}
        opened.flow.book.change(connection, row, waits)
    return row["submission_id"]


def test_a_signed_call_is_heard_without_a_key(client, clock, one):
    """Once, with its trade due at once; the same again is known, and both are counted."""
    body = json.dumps({"event_id": "e-1", "collection_id": f"{one}-take", "state": "done"}).encode()

    def call() -> tuple[int, dict]:
        headers = {"Authorization": "", **signed_headers(SECRET, body, now=clock.now)}
        response = client.post("/v1/provider-callbacks/wallet", content=body, headers=headers)
        return response.status_code, response.json()

    assert call() == (200, {"result": "noted"})
    assert call() == (200, {"result": "known"})
    opened = client.app.state.recycling
    with opened.engine.connect() as connection:
        assert opened.flow.book.read(connection, one)["due_at"] == clock.now
    counted = 'huika_provider_calls_total{partner="wallet",result="known"} 1.0'
    assert counted in client.get("/metrics").text


def test_what_is_not_signed_is_refused(client, clock, one):
    """Unsigned, signed by another provider's secret, no provider, no JSON, nothing known: by stable codes."""
    good = json.dumps({"event_id": "e-1", "payout_id": "p", "collection_id": "no-take"}).encode()

    def code(partner: str, body: bytes, **headers: str) -> str:
        response = client.post(f"/v1/provider-callbacks/{partner}", content=body, headers=headers)
        return response.json()["code"]

    odd = [{"event_id": text, "collection_id": f"{one}-take"} for text in ("e\0", "e\ud800", "", "e" * 129)]
    odd += [{"event_id": "e", "collection_id": "a\0-take"}, {**odd[2], "event_id": "e", "state": "\0"}]
    bad = (b"[]", b"{}", *(json.dumps(body).encode() for body in odd))
    signed = {bytes_: signed_headers(SECRET, bytes_, now=clock.now) for bytes_ in (good, *bad)}
    assert code("wallet", good) == "callback_refused"
    assert code("payout", good, **signed[good]) == "callback_refused"  # it has no secret: it may not call
    assert code("bank", good, **signed[good]) == "invalid_request"
    assert code("wallet", good, **signed[good]) == "subject_not_found"
    for body in bad:
        assert code("wallet", body, **signed[body]) == "invalid_request"
