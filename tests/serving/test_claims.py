"""A batch is answered once under its idempotency key, also while the first request with it is under way."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient

from pipelines.application_data import UNDER_WAY, ApplicationData, replies
from serving.api import quoting_desk
from serving.api.claims import DEAD_SECONDS, Claim, ClaimHeld
from serving.api.desk import Desk, Receipt
from tests.serving.conftest import Clock, client_of
from tests.serving.test_api import submission

KEY = {"Idempotency-Key": "k-1"}
RECEIPT = Receipt(key="client:k-1", route="/v1/quotes/batch", request_sha256="0" * 64)
MANY = 80
"""Cards of a batch that is answered in several parts."""


def batch(size: int = MANY) -> dict[str, Any]:
    items = [submission() | {"trade_id": f"t-{number}"} for number in range(size)]
    return {"submissions": items}


def quote_ids(body: dict[str, Any]) -> list[str]:
    return [result["quote"]["quote_id"] for result in body["results"]]


def other_worker(desk: Desk) -> Desk:
    """A desk with connections of its own to the same database."""
    url = desk.data._engine.url.render_as_string(hide_password=False)
    return replace(desk, data=ApplicationData(url))


@pytest.mark.both_storages
def test_a_batch_sent_many_times_at_once_is_answered_once(client, desk):
    """Whoever comes while the first request is under way is told so and to ask again; who comes later gets its answer.
    Each card is quoted once."""
    together = threading.Barrier(5)

    def send(_: int) -> Any:
        together.wait()
        return client.post("/v1/quotes/batch", json=batch(), headers=KEY)

    with ThreadPoolExecutor(5) as threads:
        told = list(threads.map(send, range(5)))
    answered = [answer for answer in told if answer.status_code == 200]
    fresh = [answer for answer in answered if "Idempotent-Replay" not in answer.headers]
    assert len(fresh) == 1
    for answer in told:
        if answer.status_code == 200:
            assert answer.json() == fresh[0].json()
        else:
            assert (answer.status_code, answer.json()["code"]) == (409, "still_under_way")
            assert answer.headers["Retry-After"] == "1"
    again = client.post("/v1/quotes/batch", json=batch(), headers=KEY)
    assert again.headers["Idempotent-Replay"] == "true"
    assert again.json() == fresh[0].json()
    assert {row["quote_id"] for row in desk.data.all_quotes()} == set(quote_ids(again.json()))


@pytest.mark.both_storages
def test_a_claim_holds_across_workers_until_it_is_answered_given_up_or_dead(desk, clock: Clock):
    """Another worker gets the claim where the first failed, or has shown no sign of life; never while it works, nor
    after it has answered. Who was thought dead keeps nothing."""
    other = other_worker(desk)
    with Claim.take(desk, RECEIPT), pytest.raises(ClaimHeld):
        Claim.take(other, RECEIPT)
    first = Claim.take(other, RECEIPT)
    clock.forward(seconds=DEAD_SECONDS)
    first.go_on()
    clock.forward(seconds=DEAD_SECONDS)
    with pytest.raises(ClaimHeld):
        Claim.take(desk, RECEIPT)
    clock.forward(seconds=1)
    with Claim.take(desk, RECEIPT) as second:
        for late in (first.go_on, lambda: first.keep({"by": "first"})):
            with pytest.raises(ClaimHeld):
                late()
        first.__exit__(None, None, None)
        second.keep({"by": "second"})
    clock.forward(hours=1)
    with pytest.raises(ClaimHeld):
        Claim.take(other, RECEIPT)
    kept = desk.data.reply(RECEIPT.key, RECEIPT.route)
    assert kept is not None
    assert (kept.status, kept.body) == (200, {"by": "second"})


def test_a_key_belongs_to_the_body_it_came_with_first(client, desk):
    """Another body under a key is refused also while the first one is under way; the first one itself may wait."""
    assert client.post("/v1/quotes/batch", json=batch(1), headers=KEY).status_code == 200
    with desk.data.transaction() as connection:
        connection.execute(sa.update(replies).values(status=UNDER_WAY))
    for size, code in ((1, "still_under_way"), (2, "idempotency_key_reused")):
        told = client.post("/v1/quotes/batch", json=batch(size), headers=KEY)
        assert (told.status_code, told.json()["code"]) == (409, code)


def test_a_batch_that_failed_can_be_sent_again_at_once(desk, monkeypatch):
    """Where the work fails half way the key is free again, and the repeated request is answered in full."""
    asked: list[int] = []
    whole = quoting_desk.QuotingDesk.quote_all

    def failing(self: Desk, items: Any, *, now: Any) -> Any:
        asked.append(len(items))
        if len(asked) == 2:
            raise OSError("gone")
        return whole(self, items, now=now)

    monkeypatch.setattr(quoting_desk.QuotingDesk, "quote_all", failing)
    with client_of(desk) as client:
        patient = TestClient(client.app, raise_server_exceptions=False, headers=client.headers)
        assert patient.post("/v1/quotes/batch", json=batch(), headers=KEY).status_code == 500
        again = client.post("/v1/quotes/batch", json=batch(), headers=KEY)
    assert "Idempotent-Replay" not in again.headers
    assert len(quote_ids(again.json())) == MANY


@pytest.mark.both_storages
def test_a_score_given_twice_at_once_is_told_once(client, desk, monkeypatch):
    """Where another worker scored the same request under the same key meanwhile, its answer is given, marked as a
    repetition."""
    first = client.post("/v1/fraud-scores", json=submission(), headers=KEY)
    seen = ApplicationData.reply
    looks = iter([None])
    monkeypatch.setattr(ApplicationData, "reply", lambda self, *key: next(looks, "look") and seen(self, *key))
    second = client.post("/v1/fraud-scores", json=submission(), headers=KEY)
    assert second.headers["Idempotent-Replay"] == "true"
    assert second.json() == first.json()
