"""Calls of providers over HTTP: open to whoever signs them, and to nobody else."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from fastapi.testclient import TestClient

from pipelines.recycling.provider_callbacks import Partner, ProviderCallbacks
from pipelines.recycling.provider_signature import signed_headers
from tests.pipelines.recycling_world import offered

SECRET = "p" * 40


@pytest.fixture
def one(client: TestClient, clock) -> str:
    """A trade that waits for its wallet's holder, in a service whose wallet provider may call."""
    state = client.app.state  # pyright: ignore[reportFunctionMemberAccess]
    opened = state.recycling
    secrets: dict[Partner, tuple[str, ...]] = {"payout": (), "wallet": (SECRET,)}
    callbacks = ProviderCallbacks(opened.engine, opened.flow.book, clock, secrets)
    state.recycling = replace(opened, callbacks=callbacks)
    row = opened.intake.submit(offered(71, submission_id="r-called"), by="app")
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

    signed = {bytes_: signed_headers(SECRET, bytes_, now=clock.now) for bytes_ in (good, b"[]", b"{}")}
    assert code("wallet", good) == "callback_refused"
    assert code("payout", good, **signed[good]) == "callback_refused"  # it has no secret: it may not call
    assert code("bank", good, **signed[good]) == "invalid_request"
    assert code("wallet", good, **signed[good]) == "subject_not_found"
    for body in (b"[]", b"{}"):
        assert code("wallet", body, **signed[body]) == "invalid_request"
