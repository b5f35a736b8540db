"""Requests of the recycling flow under an idempotency key: done once, whatever becomes of their answers."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient
from sqlalchemy.exc import OperationalError

from pipelines.application_data import replies
from serving.api import submission_examples as examples
from serving.api.access.roles import Role
from serving.api.desk import Desk
from tests.serving.clients import headers_of
from tests.serving.test_submissions import NUMBER, SECRET, issuer, provider, seller, work

__all__ = ["issuer", "provider", "seller"]  # fixtures: pytest finds them by their names here

KEY = {"Idempotency-Key": "order-1"}
NEW = examples.NEW["a JD e-card"]
LINES = [f"jd_ecard,500,{number},{SECRET}" for number in (NUMBER, "JDV00000000000000043")]
LOT = "\n".join(["card_type,face_value_cny,number,secret", *LINES])
LOTS = "/v1/submissions/lots?seller_id=s-1&payee_ref=p-1"


def with_card(**codes: str) -> dict[str, Any]:
    return NEW | {"card": NEW["card"] | codes}


def is_repeat(response: Any) -> bool:
    return response.headers.get("Idempotent-Replay") == "true"


def refusal(response: Any) -> tuple[int, str]:
    return response.status_code, response.json().get("code", "")


@pytest.mark.both_storages
def test_a_card_submitted_again_under_one_key_is_one_trade(client):
    """The first answer comes again, marked; anything else under the key is refused, another secret too; a key is its
    client's own."""
    first = client.post("/v1/submissions", json=NEW, headers=KEY)
    assert (first.status_code, is_repeat(first)) == (200, False)
    again = client.post("/v1/submissions", json=NEW, headers=KEY)
    assert (again.content, is_repeat(again)) == (first.content, True)
    for other in (with_card(number="JDV00000000000000043"), with_card(secret="OTHEROTHEROTHER1")):
        assert refusal(client.post("/v1/submissions", json=other, headers=KEY)) == (
            409,
            "idempotency_key_reused",
        )
    somebody = client.post("/v1/submissions", json=NEW, headers=KEY | headers_of(Role.PRICING_CLIENT))
    assert refusal(somebody) == (409, "card_known")
    too_long = client.post("/v1/submissions", json=NEW, headers={"Idempotency-Key": "k" * 201})
    assert refusal(too_long) == (422, "invalid_request")


def test_what_is_kept_of_a_request_does_not_tell_its_secret(client):
    """The digest is none that anybody can work out from the request, and number and secret are not in the answer."""
    client.post("/v1/submissions", json=NEW, headers=KEY)
    with client.app.state.recycling.engine.connect() as connection:
        (row,) = connection.execute(sa.select(replies)).mappings()
    sent = json.dumps(NEW, separators=(",", ":"), ensure_ascii=False).encode()
    guesses = {hashlib.sha256(part + sent).hexdigest() for part in (b"", b"\n")}
    assert row["request_sha256"] not in guesses
    assert not {NUMBER, SECRET} & set(json.dumps(row["body"]).split('"'))


@pytest.mark.both_storages
def test_a_wish_repeated_under_one_key_is_answered_as_first(seller, clock):
    """Accepted, answered, lost: sent again after the money went out, it is answered as first."""
    one = seller.post("/v1/submissions", json=NEW).json()["submission_id"]
    work(seller, clock)
    found = seller.get(f"/v1/submissions/{one}").json()
    if found["state"] == "person_needed":
        decision = {"decision": "approve", "reason": "test"}
        decided = seller.post(f"/v1/submissions/{one}/decisions", json=decision, headers=KEY)
        assert decided.json()["state"] == "quoted"
        again = seller.post(f"/v1/submissions/{one}/decisions", json=decision, headers=KEY)
        assert (again.content, is_repeat(again)) == (decided.content, True)
        found = decided.json()
    path, asked = f"/v1/submissions/{one}/acceptance", {"quote_id": found["quote_id"]}
    first = seller.post(path, json=asked, headers=KEY)
    assert first.json()["state"] == "accepted"
    work(seller, clock)
    again = seller.post(path, json=asked, headers=KEY)
    assert (again.content, is_repeat(again)) == (first.content, True)
    assert refusal(seller.post(path, json={"quote_id": "q-2"}, headers=KEY)) == (
        409,
        "idempotency_key_reused",
    )
    late = f"/v1/submissions/{one}/cancellation"
    for _ in range(2):
        assert refusal(seller.post(late, headers=KEY)) == (409, "wrong_state"), "a refusal is not kept"


def test_a_lot_sent_again_under_one_key_has_the_same_ids(client):
    """Row by row; for another payee, or with other lines, it is refused."""
    first = client.post(LOTS, content=LOT, headers=KEY)
    assert first.json()["taken"] == 2
    again = client.post(LOTS, content=LOT, headers=KEY)
    assert (again.content, is_repeat(again)) == (first.content, True)
    others = ((f"{LOTS}2", LOT), (LOTS, LOT.replace("500", "600")))
    for path, content in others:
        assert refusal(client.post(path, content=content, headers=KEY)) == (409, "idempotency_key_reused")


@pytest.mark.parametrize("path", ["/v1/submissions", LOTS])
def test_an_answer_that_could_not_be_kept_takes_no_card_twice(client, desk, monkeypatch, path):
    """The trade was made and its answer lost before it was kept: the same request finds that very trade, and another
    one under the key is refused."""
    sent = {"content": LOT} if path == LOTS else {"json": NEW}

    def away(*_: object, **__: object) -> None:
        raise OperationalError("", None, OSError("gone"))

    monkeypatch.setattr(Desk, "remembered", away)
    assert refusal(client.post(path, headers=KEY, **sent)) == (503, "not_recorded")
    monkeypatch.undo()
    if path != LOTS:
        other = client.post(path, json=with_card(number="JDV00000000000000043"), headers=KEY)
        assert refusal(other) == (409, "idempotency_key_reused")
    found = client.post(path, headers=KEY, **sent)
    assert found.status_code == 200
    assert found.json().get("taken", 2) == 2
    submitted = client.get("/v1/submissions?state=submitted").json()["submissions"]
    assert len(submitted) == (2 if path == LOTS else 1)


@pytest.mark.both_storages
def test_many_at_once_under_one_key_are_one(client):
    """Each of eight that come together is answered with the one trade."""

    def send(_: int) -> Any:
        return client.post("/v1/submissions", json=NEW, headers=KEY)

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(send, range(8)))
    assert {one.status_code for one in found} == {200}, [one.text for one in found]
    assert len({one.json()["submission_id"] for one in found}) == 1
    assert len({one.content for one in found}) == 1


def test_every_post_tells_of_its_key(client: TestClient):
    """All that keep an answer take the header in the document; those that show a secret or have ids of their own do
    not."""
    document = client.get("/docs.json").json()
    without = {
        path
        for path, operations in document["paths"].items()
        if "post" in operations
        and "Idempotency-Key" not in {one["name"] for one in operations["post"].get("parameters", [])}
    }
    assert without == {
        "/v1/submissions/photos",
        "/v1/reveals/{reveal_id}/look",
        "/v1/provider-callbacks/{partner}",
    }
