"""No client asks too fast, no card too often, and no body is too large."""

from __future__ import annotations

from collections.abc import Iterator

from serving.api.access.control import AccessControl
from serving.api.access.limits import Buckets
from serving.api.access.roles import Role
from serving.api.desk import Desk
from tests.serving.clients import UNLIMITED, asking, code, headers_of, one_of_each_role, send
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
