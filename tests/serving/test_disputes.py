"""Disputes over HTTP: a complaint with deadlines, the seller's answer, a judgement, and evidence that verifies."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from fastapi.testclient import TestClient

from pipelines.recycling.evidence_bundle import Trusted, verify_bundle
from serving.api import dispute_examples as examples
from serving.api import submission_examples
from serving.api.access.roles import Role
from tests.serving.clients import headers_of
from tests.serving.test_submissions import SECRET, issuer, provider, seller, work

__all__ = ["issuer", "provider", "seller"]  # fixtures

OWN = headers_of(Role.PRICING_CLIENT)


@pytest.fixture
def paid(seller: TestClient, clock) -> str:
    """A paid trade of the seller's app."""
    body = submission_examples.NEW["a JD e-card"]
    one = seller.post("/v1/submissions", json=body, headers=OWN).json()["submission_id"]
    work(seller, clock)
    seller.post(f"/v1/submissions/{one}/decisions", json={"decision": "approve", "reason": "test"})
    quote = seller.get(f"/v1/submissions/{one}").json()["quote_id"]
    seller.post(f"/v1/submissions/{one}/acceptance", json={"quote_id": quote}, headers=OWN)
    work(seller, clock)
    clock.forward(days=2)
    work(seller, clock)
    assert seller.get(f"/v1/submissions/{one}").json()["state"] == "paid"
    return one


def test_a_dispute_is_answered_and_decided(seller, paid, clock):
    """The examples of the document in their order: disputed, answered, reversed; what was known is for analysts alone,
    and the evidence of it all verifies as it was downloaded."""
    path = f"/v1/submissions/{paid}"
    assert seller.get(f"{path}/dispute").json()["code"] == "dispute_not_found"
    complaint = examples.COMPLAINTS["redeemed by somebody else"]
    assert seller.post(f"{path}/complaints", json=complaint).json()["state"] == "disputed"
    listed = seller.get("/v1/disputes").json()["disputes"]
    assert [(row["submission_id"], row["respondent"]) for row in listed] == [(paid, "seller")]
    assert datetime.fromisoformat(listed[0]["answer_by"]) == clock.now + timedelta(days=7)
    for said in examples.ANSWERS.values():
        assert seller.post(f"{path}/answer", json=said, headers=OWN).status_code == 200
    (verdict,) = examples.JUDGEMENTS.values()
    assert seller.post(f"{path}/judgement", json=verdict).json()["state"] == "reversed"
    own = seller.get(f"{path}/dispute", headers=OWN).json()
    assert (own["verdict"], own["known"], own["decided_by"]) == ("against_trade", [], "")
    known = seller.get(f"{path}/dispute").json()["known"]
    assert [leaf["kind"] for leaf in known][-3:] == ["trade_disputed", "dispute_answered", "trade_reversed"]
    bundle = seller.get(f"{path}/evidence")
    assert len(verify_bundle(bundle.content, Trusted()).leaves) == len(known)
    assert SECRET not in bundle.text
    assert seller.get("/v1/disputes").json() == {"disputes": []}


def test_a_seller_claims_what_is_missing(seller, paid, clock, provider):
    """The seller's own complaint is the platform's to answer; found right it is paid, once more and once, and the trade
    tells so. A claim of nothing is refused."""
    path = f"/v1/submissions/{paid}"
    claim = examples.COMPLAINTS["by a seller"]
    too_much = claim | {"claim": {"amount_fen": 60_000}}
    assert seller.post(f"{path}/complaints", json=too_much, headers=OWN).json()["code"] == "bad_claim"
    nothing = claim | {"claim": {"amount_fen": 0}}
    assert seller.post(f"{path}/complaints", json=nothing, headers=OWN).json()["code"] == "bad_claim"
    pledged = claim | {"buyer_ref": "b-1"}
    assert seller.post(f"{path}/complaints", json=pledged, headers=OWN).status_code == 403
    assert seller.post(f"{path}/complaints", json=claim, headers=OWN).json()["state"] == "disputed"
    (said,) = examples.ANSWERS.values()
    assert seller.post(f"{path}/answer", json=said, headers=OWN).json()["code"] == "not_yours_to_answer"
    verdict = {"verdict": "against_trade", "reason": "the issuer's log says 520"}
    above = verdict | {"award": {"amount_fen": 1_801}}
    assert seller.post(f"{path}/judgement", json=above).json()["code"] == "bad_award"
    assert seller.post(f"{path}/judgement", json=verdict).json()["state"] == "paying"
    work(seller, clock)
    trade = seller.get(path, headers=OWN).json()
    assert (trade["state"], trade["awarded"]["amount_fen"]) == ("paid", 1_800)
    assert sum(provider.paid.values()) == trade["payout"]["amount_fen"] + 1_800
