"""The rate a seller asks for and the payee, as the service takes, keeps and forgets them."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient

from pipelines.application_data import quotes
from pipelines.training.collecting import collect
from tests.serving.conftest import Clock


def submission(*, asked_rate: object = None, payee_is_seller: object = None) -> dict:
    return {
        "trade_id": "one",
        "card": {
            "card_type": "jd_ecard",
            "card_form": "virtual",
            "face_value": {"amount_fen": 50_000},
            "expires_on": "2028-12-31",
        },
        "seller": {"seller_id": "s-1", "payout_account": "p-1", "payee_is_seller": payee_is_seller},
        "asked_rate": asked_rate,
    }


def ask(client: TestClient, body: dict) -> dict:
    response = client.post("/v1/quotes", json=body)
    assert response.status_code == 200, response.text
    return response.json()


def accept(client: TestClient, clock: Clock) -> str:
    body = {"kind": "accepted", "event_id": "e", "trade_id": "one", "happened_at": clock.now.isoformat()}
    return client.post("/v1/events", json=body).json()["status"]


def test_what_was_asked_is_kept_and_moves_no_price(client, desk, clock, live_workspace):
    """Both reach the stored trades, and the same card costs the same whoever is paid and whatever is asked."""
    plain = client.post("/v1/quotes", json=submission() | {"trade_id": "plain"}).json()
    told = ask(client, submission(asked_rate=0.5, payee_is_seller=False))
    assert told["payout"] == plain["payout"]
    collect(data=desk.data, store=live_workspace.tables)
    rows = {row["trade_id"]: row for row in live_workspace.tables.read("trades").to_pylist()}
    assert (rows["one"]["asked_rate"], rows["one"]["payee_is_seller"]) == (0.5, False)
    assert (rows["plain"]["asked_rate"], rows["plain"]["payee_is_seller"]) == (None, None)


@pytest.mark.parametrize("wrong", [{"asked_rate": 1.51}, {"asked_rate": -0.1}, {"payee_is_seller": "who"}])
def test_impossible_ones_are_refused(client, wrong):
    """A rate outside 0 to 1.5, or a word for the flag, answers 422."""
    response = client.post("/v1/quotes", json=submission(**wrong))
    assert (response.status_code, response.json()["code"]) == (422, "invalid_request")


def test_a_seller_may_ask_for_another_rate(client, clock):
    """Another asked rate or a payee checked meanwhile is the same card of the same seller."""
    ask(client, submission(asked_rate=0.9))
    clock.forward(minutes=1)
    ask(client, submission(asked_rate=0.8, payee_is_seller=True))


def test_a_quote_from_before_the_columns_is_still_served(client, desk, clock):
    """A trade stored without them is quoted again and accepted: they are unknown, nothing more."""
    ask(client, submission())
    former = dict(desk.data.last_quote_of("one")["trade"])
    del former["asked_rate"], former["payee_is_seller"]
    with desk.data.transaction() as connection:
        connection.execute(sa.update(quotes).where(quotes.c.trade_id == "one").values(trade=former))
    ask(client, submission(asked_rate=0.9))
    assert accept(client, clock) == "recorded"
