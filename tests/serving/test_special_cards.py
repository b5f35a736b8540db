"""Partly used, unusual and expired cards through the service and through files: both say the same."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fastapi.testclient import TestClient

from features.catalogue import workspace_catalogue
from pipelines import answering
from pipelines.champions import load_pair
from pipelines.training.collecting import collect_workspace
from pipelines.wiring import model_registry
from pipelines.workspace import Workspace
from serving.api.desk import Desk
from serving.api.schemas import QuoteBatchAnswer
from tests.conftest import TODAY
from tests.serving.conftest import Clock
from tests.serving.test_api import ask, submission

LONG_AGO = "2026-01-15"


def fen(amount: int) -> dict[str, int]:
    return {"amount_fen": amount}


def card_of(number: int, **card: Any) -> dict:
    body = submission(**card)
    body["card"]["card_fingerprint"] = f"card-{number}"
    return body | {"trade_id": f"trade-{number}"}


def ask_batch(client: TestClient, cards: list[dict]) -> dict:
    response = client.post("/v1/quotes/batch", json={"submissions": cards})
    assert response.status_code == 200, response.text
    QuoteBatchAnswer.model_validate(response.json())
    return response.json()


def codes(quote: dict) -> set[str]:
    return {reason["code"] for reason in quote["reasons"]}


def test_a_partly_used_card_counts_with_what_is_left(client, desk):
    """Rate, payout, limits and features are of the balance; what was issued is kept for the record."""
    partial = ask(client, submission(balance=fen(20_000)))
    whole = ask(client, submission(face_value=fen(20_000)))
    assert partial["face_value"]["amount_fen"] == 50_000
    assert partial["balance"]["amount_fen"] == 20_000
    assert whole["balance"] is None
    assert partial["payout"]["amount_fen"] == -(-20_000 * round(partial["rate"] * 10_000) // 10_000)
    assert partial["rate"] <= whole["rate"]
    assert {"PARTIAL_BALANCE", "BALANCE_TO_VERIFY"} <= codes(partial)
    assert partial["decision"] != "pay"
    steps = {step["code"]: step["amount_fen"] for step in partial["waterfall"]}
    assert (steps["FACE_VALUE"], steps["SPENT"]) == (50_000, -30_000)
    assert sum(steps.values()) == partial["payout"]["amount_fen"]
    kept = desk.data.quote(partial["quote_id"])["trade"]
    assert (kept["face_value_fen"], kept["issued_face_fen"]) == (20_000, 50_000)


def test_partly_used_cards_come_back_into_the_tables(client, live_workspace):
    """What the service sold is in the trades with its balance as face value, and what was issued beside it."""
    quote = ask(client, submission(balance=fen(20_000)) | {"trade_id": "partly-used"})
    assert quote["trade_id"] == "partly-used"
    collect_workspace(live_workspace)
    trades = live_workspace.tables.read("trades", ["trade_id", "face_value_fen", "issued_face_fen"])
    rows = {row["trade_id"]: row for row in trades.to_pylist()}
    assert rows["partly-used"]["face_value_fen"] == 20_000
    assert rows["partly-used"]["issued_face_fen"] == 50_000
    assert sum(row["issued_face_fen"] is not None for row in rows.values()) == 1


def test_a_card_with_all_of_its_value_is_whole(client):
    """A balance that equals the face value says nothing special."""
    full, plain = ask(client, submission(balance=fen(50_000))), ask(client, submission())
    assert (full["rate"], full["balance"]) == (plain["rate"], None)
    assert not codes(full) & {"PARTIAL_BALANCE", "BALANCE_TO_VERIFY"}


@pytest.mark.parametrize(
    ("balance", "code", "field"),
    [
        (fen(0), "invalid_request", "card.balance.amount_fen"),
        (fen(-1), "invalid_request", "card.balance.amount_fen"),
        (fen(50_001), "balance_above_face_value", "card.balance"),
        ({}, "invalid_request", "card.balance.amount_fen"),
        (20_000, "invalid_request", "card.balance"),
    ],
)
def test_a_wrong_balance_is_refused(client, balance, code, field):
    """No balance, a negative one, or more than the card was issued with, alone and within a batch."""
    response = client.post("/v1/quotes", json=submission(balance=balance))
    assert (response.status_code, response.json()["code"]) == (422, code)
    assert field in response.json()["errors"][0]["field"]
    results = ask_batch(client, [submission(balance=balance), submission()])["results"]
    assert results[0]["problem"]["code"] == code
    assert "quote" in results[1]


def test_an_unusual_face_value_is_looked_at_and_never_refused_for_it(client):
    """A value that the catalogue does not list is held, says why once, and has the next smaller one's rate."""
    odd, usual = (ask(client, submission(face_value=fen(value))) for value in (54_700, 50_000))
    assert [reason["code"] for reason in odd["reasons"]].count("UNUSUAL_FACE_VALUE") == 1
    assert odd["decision"] in ("hold", "review")
    assert odd["rate"] == usual["rate"]
    assert "UNUSUAL_FACE_VALUE" not in codes(usual)
    score = client.post("/v1/fraud-scores", json=submission(face_value=fen(54_700))).json()
    assert score["decision"] in ("hold", "review")


@pytest.mark.both_storages
def test_several_expired_cards_are_proposed_as_one(client, desk):
    """Three small expired cards of a seller come with a proposal bound to their quotes; others have no part in it."""
    expired = [card_of(n, expires_on=LONG_AGO, face_value=fen(10_000)) for n in range(3)]
    stranger = card_of(3, expires_on=LONG_AGO, face_value=fen(10_000))
    stranger["seller"] = {"seller_id": "somebody-else"}
    answer = ask_batch(client, [*expired, card_of(4), stranger])
    quotes = [item["quote"] for item in answer["results"]]
    (swap,) = answer["swaps"]
    assert swap["quote_ids"] == [quote["quote_id"] for quote in quotes[:3]]
    assert swap["trade_ids"] == ["trade-0", "trade-1", "trade-2"]
    assert swap["valid_until"] == min(quote["valid_until"] for quote in quotes[:3])
    assert swap["value"]["amount_fen"] == 30_000
    offered = [0 if quote["no_offer"] else quote["payout"]["amount_fen"] for quote in quotes[:3]]
    assert swap["separate_payout"]["amount_fen"] == sum(offered)
    assert swap["notice"]["code"] == "SWAP_INVITATION"
    assert swap["payout"]["amount_fen"] >= swap["separate_payout"]["amount_fen"]
    assert sum(step["amount_fen"] for step in swap["waterfall"]) == swap["payout"]["amount_fen"]
    assert 0.01 <= swap["rate"] <= 0.05
    assert swap["issuer"] == desk.engine.catalogue.get("jd_ecard").issuer
    assert all(0 < quote["reactivation_probability"] <= 1 for quote in quotes[:3])
    assert quotes[3]["reactivation_probability"] is None
    assert client.get(f"/v1/quotes/{quotes[0]['quote_id']}").json() == quotes[0]


def test_no_swap_without_expired_cards(client):
    """A batch of valid cards has an empty list of swaps."""
    assert ask_batch(client, [card_of(0), card_of(1)])["swaps"] == []


def test_the_last_valid_day_is_valid_until_midnight_in_china(client, clock: Clock):
    """A card that expires today is valid until 24:00 in Shanghai and expired a second later; the quote before
    midnight does not outlive it."""
    clock.now = datetime(2026, 3, 1, 15, 50, tzinfo=UTC)
    before = ask(client, submission(expires_on="2026-03-01"))
    assert before["reactivation_probability"] is None
    assert "NEAR_EXPIRY" in codes(before)
    assert before["rate"] > 0.05
    assert datetime.fromisoformat(before["valid_until"]) == datetime(2026, 3, 1, 16, 0, tzinfo=UTC)
    clock.now = datetime(2026, 3, 1, 15, 59, 30, tzinfo=UTC)
    last = ask(client, submission(expires_on="2026-03-01"))
    assert last["rate"] > 0.05
    assert datetime.fromisoformat(last["valid_until"]) == datetime(2026, 3, 1, 16, 0, tzinfo=UTC)
    clock.now = datetime(2026, 3, 1, 16, 0, tzinfo=UTC)
    after = ask(client, submission(expires_on="2026-03-01"))
    assert "EXPIRED_CARD" in codes(after)
    assert after["rate"] <= 0.05
    tomorrow = ask(client, submission(expires_on="2026-03-02"))
    assert tomorrow["reactivation_probability"] is None


# --- files -----------------------------------------------------------------------------------------------------

CARDS: list[dict[str, Any]] = [
    {"face_value_fen": 50_000},
    {"face_value_fen": 50_000, "balance_fen": 20_000},
    {"face_value_fen": 54_700},
    {"face_value_fen": 20_000, "expires_on": LONG_AGO},
    {"face_value_fen": 10_000, "expires_on": LONG_AGO},
    {"face_value_fen": 30_000, "balance_fen": 8_000, "expires_on": LONG_AGO},
    {"face_value_fen": 10_000, "expires_on": "2026-03-01"},
]


def as_row(number: int, card: dict[str, Any]) -> dict[str, Any]:
    balance, expires_on = card.get("balance_fen"), card.get("expires_on")
    seller = submission()["seller"]
    return seller | {
        "trade_id": f"trade-{number}",
        "submitted_at": TODAY + timedelta(microseconds=number),
        "card_type": "jd_ecard",
        "card_form": "virtual",
        "card_fingerprint": f"card-{number}",
        "face_value_cny": card["face_value_fen"] / 100,
        "balance_cny": None if balance is None else balance / 100,
        "expires_on": None if expires_on is None else date.fromisoformat(expires_on),
    }


def as_body(number: int, card: dict[str, Any]) -> dict:
    more: dict[str, Any] = {"expires_on": card.get("expires_on")}
    more |= {"balance": fen(card["balance_fen"])} if "balance_fen" in card else {}
    return card_of(number, face_value=fen(card["face_value_fen"]), **more)


def answer_file(workspace: Workspace, desk: Desk, path: Path, rows: list[dict[str, Any]]) -> pa.Table:
    pq.write_table(pa.Table.from_pylist(rows), path)
    catalogue = workspace_catalogue(workspace.tables)
    batch = answering.read_batch(path, mapping={}, catalogue=catalogue, now=TODAY)
    models = load_pair(model_registry(workspace))
    columns = answering.batch_features(workspace, batch, models=models, progress=lambda done, total: None)
    return answering.quote_batch(batch, columns, models=models, terms=desk.engine.terms)


def test_files_and_service_agree_on_special_cards(client, desk, workspace, tmp_path):
    """The same cards at the same moments have the same rates, payouts, decisions, reasons and swaps in a file."""
    answer = ask_batch(client, [as_body(number, card) for number, card in enumerate(CARDS)])
    table = answer_file(workspace, desk, tmp_path / "in.parquet", list(map(as_row, range(len(CARDS)), CARDS)))
    rows = table.to_pylist()
    for row, item in zip(rows, answer["results"], strict=True):
        quote = item["quote"]
        assert row["trade_id"] == quote["trade_id"]
        assert row["rate"] == quote["rate"]
        assert np.rint(row["payout_cny"] * 100) == quote["payout"]["amount_fen"]
        assert row["decision"] == quote["decision"]
        assert row["reasons"].split("|") == [reason["code"] for reason in quote["reasons"]]
    (swap,) = answer["swaps"]
    assert swap["trade_ids"] == ["trade-3", "trade-4", "trade-5"]
    for number, row in enumerate(rows):
        takes_part = row["trade_id"] in swap["trade_ids"]
        assert row["swap_group"] == ("trade-3" if takes_part else None), number
        paid = None if row["swap_payout_cny"] is None else round(row["swap_payout_cny"] * 100)
        assert paid == (swap["payout"]["amount_fen"] if takes_part else None), number


@pytest.mark.parametrize(
    ("balance", "code"),
    [
        (0.0, "out_of_range"),
        (-3.0, "out_of_range"),
        (500.01, "balance_above_face"),
        (1.005, "too_many_decimals"),
    ],
)
def test_a_file_with_a_wrong_balance_is_refused(workspace, desk, tmp_path, balance, code):
    """The row, the column and the reason are named."""
    rows = list(map(as_row, range(3), CARDS))
    rows[1]["balance_cny"] = balance
    with pytest.raises(answering.InputRefused) as refused:
        answer_file(workspace, desk, tmp_path / "in.parquet", rows)
    (result,) = refused.value.results
    assert (result.column, result.code, result.examples[0].row) == ("balance_cny", code, 2)


def test_files_know_the_last_valid_day_too(workspace, desk, tmp_path):
    """A row a microsecond before midnight in China is of a valid card, one at midnight of an expired one."""
    last = as_row(0, {"face_value_fen": 50_000, "expires_on": "2026-03-01"})
    midnight = datetime(2026, 3, 1, 16, tzinfo=UTC)
    rows = [
        last | {"trade_id": "before", "submitted_at": midnight - timedelta(microseconds=1)},
        last | {"trade_id": "after", "submitted_at": midnight, "card_fingerprint": "another"},
    ]
    before, after = answer_file(workspace, desk, tmp_path / "in.parquet", rows).to_pylist()
    assert before["rate"] > 0.05 >= after["rate"]
    assert "NEAR_EXPIRY" in before["reasons"]
    assert "EXPIRED_CARD" in after["reasons"]


def test_a_file_without_balances_holds_whole_cards(workspace, desk, tmp_path):
    """The column may be missing as a whole."""
    rows = [as_row(0, CARDS[0])]
    del rows[0]["balance_cny"]
    (row,) = answer_file(workspace, desk, tmp_path / "in.parquet", rows).to_pylist()
    assert "PARTIAL_BALANCE" not in row["reasons"]
    assert (row["swap_group"], row["swap_payout_cny"]) == (None, None)
