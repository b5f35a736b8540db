"""No client asks too fast, no card too often, and no body is too large."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI

from pipelines.recycling.photo_readers import FIRST_SECONDS, READ_SECONDS
from serving.api.access import middleware
from serving.api.access.body import LAST_RESORT_SECONDS
from serving.api.access.control import AccessControl
from serving.api.access.limits import Buckets
from serving.api.access.roles import TABLE, Role
from serving.api.desk import Desk
from serving.api.metrics import Metrics
from tests.serving.clients import UNLIMITED, app_of, asking, code, headers_of, one_of_each_role, send
from tests.serving.conftest import client_of
from tests.serving.test_api import submission

P, A = Role.PRICING_CLIENT, Role.ADMIN


class Seconds:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_buckets_fill_with_time_and_hold_so_many():
    """A burst passes, then as much as time gives; what a batch took is waited for; others are not affected."""
    clock = Seconds()
    buckets = Buckets(per_second=2, burst=3, clock=clock)
    assert [buckets.take("a") for _ in range(4)] == [0, 0, 0, 0.5]
    assert buckets.take("b") == 0
    clock.now = 0.5
    assert [buckets.take("a"), buckets.take("a")] == [0, 0.5]
    clock.now = 100
    assert [buckets.take("a") for _ in range(4)] == [0, 0, 0, 0.5]
    clock.now = 200
    assert buckets.take("a") == 0
    buckets.charge("a", 10)
    assert buckets.take("a") == 4.5
    few = Buckets(per_second=1, burst=1, clock=clock, most=2)
    assert [few.take(key) for key in ("a", "a", "b", "c", "a")] == [0, 1, 0, 0, 0]
    assert Buckets(per_second=0, burst=0, clock=clock).take("a") == 0


def limited(**limits: float) -> AccessControl:
    """Access control with these limits, and a clock that stands still."""
    access = one_of_each_role(UNLIMITED.model_copy(update=limits), clock=Seconds())
    assert access.settings.model_fields_set >= set(limits)
    return access


def test_a_client_who_asks_too_fast_waits():
    """Beyond its rate a client gets 429 and when to come back; another client goes on."""
    with asking(limited(requests_per_second=2)) as client:
        answers = [send(client, "POST", "/v1/quotes", P).status_code for _ in range(5)]
        assert answers == [422, 422, 422, 422, 429]
        refused = send(client, "POST", "/v1/quotes", P)
        assert code(refused) == (429, "too_many_requests")
        assert refused.headers["retry-after"] == "1"
        assert send(client, "POST", "/v1/quotes", A).status_code == 422


def test_strangers_of_one_address_wait_and_health_is_always_told():
    """Guessing keys and reading the board is slowed down by address; asking for health is not."""
    with asking(limited(stranger_requests_per_second=1)) as client:
        bad = {"Authorization": "Bearer hk_0_0"}
        answers = [client.post("/v1/quotes", json={}, headers=bad).status_code for _ in range(3)]
        assert answers == [401, 401, 429]
        assert send(client, "GET", "/v1/prices", None).status_code == 429
        assert send(client, "GET", "/livez", None).status_code == 404
        assert send(client, "POST", "/v1/quotes", P).status_code == 422


def test_a_card_that_is_asked_about_again_and_again_is_refused(desk: Desk):
    """Whoever asks, one card's fingerprint is answered so many times; without one, the same seller's alike cards. Items
    of a batch count one by one."""
    client = client_of(desk)
    with client:
        client.app.state.access = limited(card_quotes_per_hour=3, alike_quotes_per_hour=2)  # type: ignore[attr-defined]
        probe = submission(card_fingerprint="f-1")
        for role in (P, A):
            assert client.post("/v1/quotes", json=probe, headers=headers_of(role)).status_code == 200
        both = client.post("/v1/quotes/batch", json={"submissions": [probe, probe]}).json()["results"]
        assert ["quote" in item for item in both] == [True, False]
        assert both[1]["problem"]["code"] == "card_asked_too_often"
        refused = client.post("/v1/fraud-scores", json=probe)
        assert code(refused) == (429, "card_asked_too_often")
        assert int(refused.headers["retry-after"]) == 1_200
        answers = [client.post("/v1/quotes", json=submission()).status_code for _ in range(3)]
        assert answers == [200, 200, 429]
        assert client.post("/v1/quotes", json=submission(card_fingerprint="f-2")).status_code == 200


def test_an_answer_given_again_is_no_question_about_the_card(desk: Desk):
    """A repeated key gets its answer however often it comes, and the card is asked about as often as before."""
    with client_of(desk) as client:
        client.app.state.access = limited(card_quotes_per_hour=3)  # type: ignore[attr-defined]
        probe = submission(card_fingerprint="f-1")
        for route, body in (
            ("/v1/quotes", probe),
            ("/v1/fraud-scores", probe),
            ("/v1/quotes/batch", {"submissions": [probe]}),
        ):
            told = [client.post(route, json=body, headers={"Idempotency-Key": "k"}) for _ in range(3)]
            assert [answer.status_code for answer in told] == [200] * 3
            assert len({answer.text for answer in told}) == 1
            assert "card_asked_too_often" not in told[0].text
        assert client.post("/v1/quotes", json=probe).status_code == 429


def test_an_idempotency_key_is_its_clients_own(desk: Desk):
    """Another client with the same key and body gets an answer of its own, not the first one's."""
    with client_of(desk) as client:
        told = [
            client.post(
                "/v1/quotes", json=submission(), headers=headers_of(role) | {"Idempotency-Key": "k" * 200}
            )
            for role in (P, P, A)
        ]
    quotes = [response.json()["quote_id"] for response in told]
    assert quotes[0] == quotes[1] != quotes[2]


def in_parts(size: int) -> Iterator[bytes]:
    for _ in range(size // 1_000):
        yield b" " * 1_000


def test_a_body_beyond_the_limit_is_refused_however_it_comes():
    """Said to be large, or coming in parts without saying: 413. As much as the limit passes, in parts too."""
    with asking(one_of_each_role(UNLIMITED.model_copy(update={"max_body_kb": 10}))) as client:
        headers = headers_of(P) | {"Content-Type": "application/json"}
        for content in (b" " * 10_241, in_parts(11_000), in_parts(200_000)):
            assert code(client.post("/v1/quotes", content=content, headers=headers)) == (
                413,
                "body_too_large",
            )
        for content in (b" " * 10_240, in_parts(10_000)):
            assert client.post("/v1/quotes", content=content, headers=headers).status_code in (400, 422)
        assert client.post("/v1/quotes", content=in_parts(200_000)).status_code == 401


class Sent:
    """A request to the app whose body comes as the test says, and what is answered."""

    def __init__(self, *messages: dict[str, Any] | float, path: str = "/v1/quotes") -> None:
        self._coming = iter(messages)
        told = headers_of(P) | {"Content-Type": "application/json"}
        headers = [(name.lower().encode(), value.encode()) for name, value in told.items()]
        self.scope = {"type": "http", "method": "POST", "path": path, "headers": headers, "query_string": b""}
        self.answer: list[Any] = []

    async def receive(self) -> Any:
        coming = next(self._coming, {"type": "http.disconnect"})
        if isinstance(coming, float):
            await asyncio.sleep(coming)
            return await self.receive()
        return coming

    async def send(self, message: Any) -> None:
        self.answer.append(message)

    def to(self, app: FastAPI) -> tuple[int, str]:
        """Status and code of the answer."""
        asyncio.run(app(self.scope, self.receive, self.send))
        return self.answer[0]["status"], json.loads(self.answer[1]["body"])["code"]


def part(more: bool = True) -> dict[str, Any]:
    return {"type": "http.request", "body": b"{", "more_body": more}


@pytest.fixture
def app() -> FastAPI:
    app = app_of(access := one_of_each_role())
    app.state.access, app.state.metrics, app.state.desk = access, Metrics(category_of=str), None
    return app


def test_a_body_that_comes_too_slowly_is_refused_with_a_code(app, monkeypatch):
    """Also one that goes on coming: what counts is when all of it is there. A photo has longer."""
    monkeypatch.setattr(middleware, "BODY_SECONDS", 0.1)
    for slow in (Sent(part(), 9.0), Sent(9.0), Sent(*[part(), 0.06] * 9)):
        assert slow.to(app) == (408, "body_too_slow")
        assert (b"connection", b"close") in slow.answer[0]["headers"]
    assert Sent(part(), 0.05, part(more=False)).to(app) == (400, "malformed_json")
    photos = next(row for row in TABLE if row.path == "/v1/submissions/photos")
    assert photos.body_seconds == 60
    assert photos.body_seconds + FIRST_SECONDS + 4 * READ_SECONDS < LAST_RESORT_SECONDS


def test_a_client_that_hangs_up_while_sending_is_no_failure_of_ours(app, caplog):
    """It is counted and logged as status 499, at level info, and never as an error."""
    with caplog.at_level(logging.DEBUG, "huika"):
        for gone in (Sent(part()), Sent()):
            assert gone.to(app) == (499, "client_gone")
    assert {record.levelno for record in caplog.records} == {logging.INFO}
    assert b'status="499"' in app.state.metrics.text()
