"""The recycling flow over HTTP: a card submitted, quoted by the real models, accepted, paid; and who may do what."""

from __future__ import annotations

import secrets
from dataclasses import replace
from datetime import timedelta

import pytest
from fastapi.testclient import TestClient

from pipelines.recycling import bookings, ledger
from pipelines.recycling.durable import PHASES
from pipelines.recycling.payouts import PayoutDesk
from pipelines.recycling.people import People
from pipelines.recycling.trades import due
from pipelines.simulation.partners import PlainRunner
from serving.api import submission_examples as examples
from serving.api.access.roles import Role
from serving.client import HuikaClient
from serving.pricing_port import HttpPricing
from tests.canaries import Canaries
from tests.pipelines.recycling_world import FakeIdentity, FakeIssuer, FakeProvider
from tests.serving.clients import headers_of

NUMBER, SECRET = examples.NEW["a JD e-card"]["card"]["number"], examples.NEW["a JD e-card"]["card"]["secret"]


@pytest.fixture
def issuer() -> FakeIssuer:
    return FakeIssuer()


@pytest.fixture
def provider() -> FakeProvider:
    return FakeProvider()


@pytest.fixture
def seller(client: TestClient, clock, issuer: FakeIssuer, provider: FakeProvider) -> TestClient:
    """The service with partners that answer, money in the bank, and a worker that the tests run."""
    state = client.app.state  # pyright: ignore[reportFunctionMemberAccess]
    opened = state.recycling
    flow = replace(
        opened.flow,
        pricing=HttpPricing(HuikaClient("http://testserver", http=client)),
        issuer=issuer,
        identity=FakeIdentity(),
        payouts=PayoutDesk(provider=provider, clock=clock),
    )
    state.recycling = replace(opened, flow=flow, people=People(flow, opened.engine))
    with opened.engine.begin() as connection:
        funds = bookings.fund(transfer_id="start", channel="bank", amount_fen=10_000_000)
        ledger.post(connection, funds, now=clock.now)
    return client


def work(client: TestClient, clock) -> None:
    opened = client.app.state.recycling  # pyright: ignore[reportFunctionMemberAccess]
    while True:
        with opened.engine.connect() as connection:
            found = due(connection, now=clock.now, limit=50)
        if not found:
            return
        for trade in found:
            PHASES[trade["state"]](opened.flow, PlainRunner(opened.engine), trade["submission_id"])


def submitted(client: TestClient, **body) -> dict:
    response = client.post("/v1/submissions", json=examples.NEW["a JD e-card"] | body)
    assert response.status_code == 200, response.text
    return response.json()


def test_a_card_is_sold_over_http(seller, clock, provider):
    """Submitted, quoted, accepted, paid: what is paid is what the signed quote said, and the card is in no answer."""
    one = submitted(seller)["submission_id"]
    work(seller, clock)
    quoted = seller.get(f"/v1/submissions/{one}").json()
    assert quoted["state"] in ("quoted", "person_needed"), quoted
    if quoted["state"] == "person_needed":
        decided = {"decision": "approve", "reason": "test"}
        quoted = seller.post(f"/v1/submissions/{one}/decisions", json=decided).json()
    quote = seller.get(f"/v1/quotes/{quoted['quote_id']}").json()
    assert quoted["payout"] == quote["payout"]
    clock.forward(seconds=5)
    accepted = seller.post(f"/v1/submissions/{one}/acceptance", json={"quote_id": quote["quote_id"]})
    assert accepted.json()["state"] == "accepted"
    work(seller, clock)
    clock.forward(days=2)
    work(seller, clock)
    done = seller.get(f"/v1/submissions/{one}")
    assert done.json()["state"] == "paid"
    assert list(provider.paid.values()) == [quote["payout"]["amount_fen"]]
    assert NUMBER not in done.text
    assert SECRET not in done.text


def test_a_price_may_be_asked_for_under_the_same_order_id_before(seller, clock):
    """A card that was priced at /v1/quotes under an order id is submitted under it, and quoted as its own trade."""
    new = examples.NEW["a JD e-card"]
    card = {name: value for name, value in new["card"].items() if name not in ("number", "secret")}
    asked = {"card": card | {"card_fingerprint": "ours"}, "seller": new["seller"], "trade_id": "order-1"}
    assert seller.post("/v1/quotes", json=asked).status_code == 200
    submitted(seller, submission_id="order-1")
    clock.forward(seconds=1)
    work(seller, clock)
    found = seller.get("/v1/submissions/order-1").json()
    assert found["state"] in ("quoted", "person_needed"), found
    assert seller.get(f"/v1/quotes/{found['quote_id']}").json()["trade_id"].startswith("order-1/")


def test_a_lot_takes_each_line_alone(seller):
    """Of a file with a good line, a wrong number and the same card twice, one is taken and the others say why."""
    content = (
        "card_type,face_value_cny,number,secret\n"
        f"jd_ecard,500,{NUMBER},{SECRET}\n"
        f"jd_ecard,500,123,{SECRET}\n"
        f"jd_ecard,500,{NUMBER},{SECRET}\n"
    )
    answer = seller.post(
        "/v1/submissions/lots?seller_id=s-1&payee_ref=p-1",
        content=content,
        headers={"Content-Type": "text/csv"},
    )
    assert answer.status_code == 200, answer.text
    lines = {line["row"]: line for line in answer.json()["lines"]}
    assert answer.json()["taken"] == 1
    assert "submission_id" in lines[2]
    assert lines[3]["field"] == "number"
    assert lines[4]["code"] == "same_card_twice"


def test_the_example_of_a_lot_is_taken_and_what_refuses_one_is_told(seller):
    """The document shows the columns, and every code by which a file or a card's codes can be refused."""
    path = "/v1/submissions/lots"
    described = seller.get("/docs.json").json()["paths"]
    example = described[path]["post"]["requestBody"]["content"]["text/csv"]["example"]
    told = seller.post(f"{path}?seller_id=s-1&payee_ref=p-1", content=example)
    assert told.json()["taken"] == 1, told.text
    for file, code in ((b"", "empty_file"), (b"a,b\n1,2\n", "wrong_header")):
        refused = seller.post(f"{path}?seller_id=s-1&payee_ref=p-1", content=file)
        shown = described[path]["post"]["responses"]["422"]["content"]["application/problem+json"]["examples"]
        assert refused.json()["code"] == code
        assert refused.json()["detail"] == shown[code]["value"]["detail"]
    shown = described["/v1/submissions"]["post"]["responses"]["422"]["content"]["application/problem+json"]
    assert {"number_wrong_format", "secret_wrong_format", "number_checksum"} <= set(shown["examples"])


WRONG = {
    "not the card's form": (
        {"card": examples.NEW["a JD e-card"]["card"] | {"number": "12"}},
        422,
        "number_wrong_format",
    ),
    "unknown card type": (
        {"card": examples.NEW["a JD e-card"]["card"] | {"card_type": "jd_ecrd"}},
        422,
        "unknown_card_type",
    ),
    "no payee": ({"payee_ref": ""}, 422, "invalid_request"),
    "unknown field": ({"bank_account": "6222"}, 422, "invalid_request"),
}


@pytest.mark.parametrize("name", list(WRONG))
def test_a_wrong_submission_is_refused_by_name(seller, name):
    """Each is refused with a stable code, and no refusal repeats the card."""
    body, status, code = WRONG[name]
    response = seller.post("/v1/submissions", json=examples.NEW["a JD e-card"] | body)
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert SECRET not in response.text


def test_a_client_sees_its_own_trades_only(seller):
    """Another pricing client gets 404 for a trade that exists; an analyst sees it."""
    own = headers_of(Role.PRICING_CLIENT)
    one = seller.post("/v1/submissions", json=examples.NEW["a JD e-card"], headers=own).json()[
        "submission_id"
    ]
    assert seller.get(f"/v1/submissions/{one}", headers=own).status_code == 200
    assert seller.get(f"/v1/submissions/{one}", headers=headers_of(Role.RISK_ANALYST)).status_code == 200
    other = submitted(seller, card=examples.NEW["a JD e-card"]["card"] | {"number": "JDV00000000000000043"})
    refused = seller.get(f"/v1/submissions/{other['submission_id']}", headers=own)
    assert (refused.status_code, refused.json()["code"]) == (404, "submission_not_found")


def test_what_cannot_be_done_now_is_refused(seller, clock):
    """Accepting what is not quoted, deciding what does not wait, an unknown trade: each with its own code."""
    one = submitted(seller)["submission_id"]
    asked = {"quote_id": "q-0"}
    assert seller.post(f"/v1/submissions/{one}/acceptance", json=asked).json()["code"] == "quote_replaced"
    decided = {"decision": "approve", "reason": "test"}
    assert seller.post(f"/v1/submissions/{one}/decisions", json=decided).json()["code"] == "wrong_state"
    assert seller.get("/v1/submissions/none").json()["code"] == "submission_not_found"
    assert seller.post(f"/v1/submissions/{one}/refusal").json()["code"] == "wrong_state"
    assert seller.post(f"/v1/submissions/{one}/cancellation").json()["state"] == "cancelled"
    clock.now += timedelta(seconds=1)
    queue = seller.get("/v1/submissions?state=cancelled").json()["submissions"]
    assert [trade["submission_id"] for trade in queue] == [one]


def test_a_card_is_nowhere_but_in_the_vault(seller, clock, live_workspace, caplog, capfd):
    """After a whole trade, a refused one and wrong requests neither number nor secret is in any file of the workspace,
    answer, log or output, in no form that they can be written in."""
    marks = Canaries((f"JDV{secrets.randbelow(10**17):017d}", secrets.token_hex(8).upper()))
    number, secret = marks.markers
    card = examples.NEW["a JD e-card"]["card"] | {"number": number, "secret": secret}
    answers = [seller.post("/v1/submissions", json=examples.NEW["a JD e-card"] | {"card": card})]
    one = answers[0].json()["submission_id"]
    wrong = ({"card": card}, {"card": card | {"balance": {"amount_fen": 10**9}}}, {"payee_ref": secret * 20})
    answers += [seller.post("/v1/submissions", json=examples.NEW["a JD e-card"] | body) for body in wrong]
    answers.append(seller.post("/v1/quotes", json={"card": card, "seller": {"seller_id": "s-1"}}))
    work(seller, clock)
    found = seller.get(f"/v1/submissions/{one}").json()
    if found["state"] == "person_needed":
        seller.post(f"/v1/submissions/{one}/decisions", json={"decision": "approve", "reason": "test"})
    asked = {"quote_id": found["quote_id"]}
    answers.append(seller.post(f"/v1/submissions/{one}/acceptance", json=asked))
    work(seller, clock)
    answers.append(seller.get(f"/v1/submissions/{one}"))
    assert answers[-1].json()["state"] in ("paid", "verified")
    texts = {"answers": "\n".join(answer.text for answer in answers)}
    texts |= {"log": caplog.text, "output": str(capfd.readouterr())}
    assert marks.in_folder(live_workspace.home) == []
    assert marks.in_texts(texts) == []
