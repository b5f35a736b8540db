"""An ordinary question for a quote and one that FastAPI reads are the same question."""

from __future__ import annotations

import gzip
import json

import pytest

SUBMISSION = {
    "card": {"card_type": "jd_ecard", "card_form": "virtual", "face_value": {"amount_fen": 50_000}},
    "seller": {"seller_id": "s-1", "device_id": "d-1"},
}
CAREFUL = {"Content-Type": "application/json; charset=utf-8"}
QUICK = {"Content-Type": "application/json"}


def test_both_ways_give_the_same_quote(client):
    """What a quote says does not depend on the way its question was read; a repeated key is recognised by both."""
    body = json.dumps(SUBMISSION | {"trade_id": "t-both-ways"})
    quotes = [client.post("/v1/quotes", content=body, headers=way).json() for way in (QUICK, CAREFUL)]
    for quote in quotes:
        for name in ("quote_id", "submitted_at", "valid_until", "signature"):
            quote.pop(name)
    assert quotes[0] == quotes[1]
    key = {"Idempotency-Key": "both-ways"}
    first, second = (client.post("/v1/quotes", content=body, headers=way | key) for way in (QUICK, CAREFUL))
    assert first.json() == second.json()
    assert second.headers["Idempotent-Replay"] == "true"


@pytest.mark.parametrize(
    ("body", "key"),
    [
        ("", None),
        ("{", None),
        ("[]", None),
        ('{"card": {}}', None),
        ("\ud800".encode("utf-8", "surrogatepass"), None),
        (gzip.compress(json.dumps(SUBMISSION).encode()), None),
        (json.dumps(SUBMISSION).replace("50000", "9" * 5_000), None),
        (json.dumps(SUBMISSION)[:-1] + ', "extras": {"a": ' + "9" * 5_000 + "}}", None),
        (None, "k" * 201),
        (None, ""),
    ],
)
def test_both_ways_refuse_alike(client, body, key):
    """What is wrong with a question is told in the same words, whatever its content type says beside JSON."""
    content = json.dumps(SUBMISSION) if body is None else body
    headers = {} if key is None else {"Idempotency-Key": key}
    told = [client.post("/v1/quotes", content=content, headers=way | headers) for way in (QUICK, CAREFUL)]
    assert told[0].status_code == told[1].status_code >= 400
    assert told[0].json() == told[1].json()
