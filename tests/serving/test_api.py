"""The HTTP contract: what a client gets, also when it asks for something wrong."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from fastapi.testclient import TestClient

from models.quoting import ModelPair
from serving.api.desk import Desk
from tests.conftest import TODAY
from tests.serving.conftest import Clock, client_of, desk_of, renewed


def submission(**card) -> dict:
    return {
        "card": {
            "card_type": "jd_ecard",
            "card_form": "virtual",
            "face_value": {"amount_fen": 50_000},
            "expires_on": "2028-12-31",
        }
        | card,
        "seller": {"seller_id": "s-1", "device_id": "d-1", "payout_account": "acct-1", "ip": "198.18.0.7"},
    }


def ask(client: TestClient, body: dict, **headers: str) -> dict:
    response = client.post("/v1/quotes", json=body, headers=headers)
    assert response.status_code == 200, response.text
    return response.json()


def test_a_quote_has_everything_and_adds_up(client):
    """A quote names rate, payout, decision, range, reasons in both languages, validity and model versions."""
    quote = ask(client, submission())
    assert 0 < quote["rate"] < 1
    assert round(quote["rate"], 4) == quote["rate"]
    assert quote["payout"] == {
        "amount_fen": -(-50_000 * round(quote["rate"] * 10_000) // 10_000),
        "currency": "CNY",
    }
    assert quote["decision"] in ("pay", "hold", "review", "refuse")
    assert 0 <= quote["fraud_probability"] <= 1
    assert quote["resale_rate"]["p10"] <= quote["resale_rate"]["p50"] <= quote["resale_rate"]["p90"]
    assert all(reason["code"] and reason["zh"] and reason["en"] for reason in quote["reasons"])
    assert quote["valid_until"] > quote["submitted_at"]
    assert quote["models"] == {"discount": "1", "fraud": "1"}
    assert quote["degraded"] == []
    assert sum(step["amount_fen"] for step in quote["waterfall"]) == quote["payout"]["amount_fen"]


@pytest.mark.both_storages
def test_get_returns_exactly_what_was_said(client):
    """The stored quote is the answer that was given."""
    quote = ask(client, submission())
    assert client.get(f"/v1/quotes/{quote['quote_id']}").json() == quote


def test_who_sells_does_not_move_the_rate(client):
    """Two sellers with the same card at the same moment get the same rate."""
    other = submission() | {"seller": {"seller_id": "somebody-else", "device_id": "d-9"}}
    assert ask(client, submission())["rate"] == ask(client, other)["rate"]


@pytest.mark.both_storages
def test_earlier_submissions_of_the_seller_are_seen_at_once(client, desk, clock):
    """The next quote's features know the last submission."""
    trade = {"trade_id": "probe", "submitted_at": clock.now + timedelta(minutes=5)}
    before = desk.engine.live.answer(_trade(trade)).values["seller_count_1h"]
    for _ in range(3):
        ask(client, submission())
        clock.forward(seconds=20)
    after = desk.engine.live.answer(_trade(trade)).values["seller_count_1h"]
    assert (before, after) == (0, 3)


def _trade(parts: dict) -> dict:
    names = (
        "device_id",
        "ip",
        "payout_account",
        "card_form",
        "expires_on",
        "card_prefix",
        "card_fingerprint",
        "region",
        "channel",
        "extras",
        "asked_rate",
        "payee_is_seller",
    )
    card = {"seller_id": "s-1", "card_type": "jd_ecard", "face_value_fen": 50_000}
    return dict.fromkeys(names) | card | parts


WRONG = {
    "unknown card type": ({"card_type": "jd_ecrd"}, 422, "unknown_card_type"),
    "impossible face value": ({"face_value": {"amount_fen": 90_000_000}}, 422, "impossible_face_value"),
    "no face value": ({"face_value": {"amount_fen": 0}}, 422, "invalid_request"),
    "negative face value": ({"face_value": {"amount_fen": -5}}, 422, "invalid_request"),
    "huge face value": ({"face_value": {"amount_fen": 10**30}}, 422, "invalid_request"),
    "fractional fen": ({"face_value": {"amount_fen": 1.5}}, 422, "invalid_request"),
    "malformed date": ({"expires_on": "2026-13-45"}, 422, "invalid_request"),
    "unknown form": ({"card_form": "paper"}, 422, "invalid_request"),
    "empty card type": ({"card_type": ""}, 422, "invalid_request"),
    "control characters": ({"card_prefix": "a\u0000b"}, 422, "invalid_request"),
    "long text": ({"card_prefix": "x" * 5_000}, 422, "invalid_request"),
    "a secret where none belongs": ({"card_secret": "SECRET-MARKER"}, 422, "invalid_request"),
}


@pytest.mark.parametrize("name", list(WRONG))
def test_a_wrong_card_is_refused_by_name(client, name):
    """Each wrong card answers 4xx with a stable code and problem details, and repeats nothing of the input."""
    card, status, code = WRONG[name]
    response = client.post("/v1/quotes", json=submission(**card))
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["errors"][0]["field"]
    assert "SECRET-MARKER" not in response.text


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "invalid_request"),
        (b"{", "malformed_json"),
        (b"[]", "invalid_request"),
        (b"\xff\xfe", "malformed_json"),
    ],
)
def test_a_body_that_is_no_submission_is_refused(client, content, code):
    """Broken JSON, an empty body and bad UTF-8 answer 4xx with a code."""
    response = client.post("/v1/quotes", content=content, headers={"Content-Type": "application/json"})
    assert 400 <= response.status_code < 500
    assert response.json()["code"] == code


@pytest.mark.parametrize(
    ("moment", "code"),
    [
        ("2026-02-30T00:00:00Z", "invalid_request"),
        ("2026-03-01T00:00:00", "invalid_request"),
        ("yesterday", "invalid_request"),
        ("2031-01-01T00:00:00Z", "moment_out_of_range"),
        ("2020-01-01T00:00:00Z", "moment_out_of_range"),
        ("0001-01-01T00:00:00+14:00", "moment_out_of_range"),
    ],
)
def test_a_wrong_moment_is_refused(client, moment, code):
    """A malformed, naive, future or long past moment answers 422."""
    response = client.post("/v1/quotes", json=submission() | {"submitted_at": moment})
    assert (response.status_code, response.json()["code"]) == (422, code)


def test_unknown_places_are_not_found(client):
    """Unknown routes, quotes and card types answer 404; a wrong method 405."""
    assert client.get("/v1/quotes/nothing").json()["code"] == "quote_not_found"
    assert client.get("/v1/prices/nothing/history").json()["code"] == "unknown_card_type"
    assert client.get("/v1/nothing").json()["code"] == "not_found"
    assert client.delete("/v1/quotes").json()["code"] == "method_not_allowed"


@pytest.mark.parametrize("route", ["/v1/quotes", "/v1/quotes/batch", "/v1/events", "/v1/submissions"])
def test_a_body_of_another_kind_is_refused_as_such(client, route):
    """What is not said to be JSON is 415 with what to send; JSON that is no object says that the body is wrong."""
    for headers in (
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {},
    ):
        told = client.post(route, content=json.dumps(submission()), headers=headers)
        assert (told.status_code, told.json()["code"]) == (415, "not_json")
        assert "Content-Type: application/json" in told.json()["detail"]
    told = client.post(route, json=[])
    assert (told.status_code, told.json()["errors"][0]["field"]) == (422, "(body)")


def test_an_unknown_field_is_named_by_its_place_alone(client):
    """Its name may be a card's secret typed into the wrong place, and the refusal says so."""
    told = client.post("/v1/quotes", json=submission(SECRET_MARKER=1))
    assert "SECRET_MARKER" not in told.text
    (error,) = told.json()["errors"]
    assert error["field"] == "card.(unknown field)"
    assert "may be a secret" in error["reason"]


NO_NUMBERS = ("true", '"1"', "NaN", "Infinity", "-Infinity", "1e400", "[1]")


@pytest.mark.parametrize("written", [*NO_NUMBERS, "1.0", "null"])
def test_money_is_a_json_integer(client, written):
    """Neither a boolean nor a text nor a fraction is an amount, also not one that is whole."""
    content = json.dumps(submission()).replace("50000", written)
    told = client.post("/v1/quotes", content=content, headers={"Content-Type": "application/json"})
    assert (told.status_code, told.json()["code"]) == (422, "invalid_request")
    assert told.json()["errors"][0]["field"] == "card.face_value.amount_fen"


@pytest.mark.parametrize("written", NO_NUMBERS)
def test_rates_and_extras_are_json_numbers(client, written):
    """A rate is a finite number that is written as one; so is an extra, where it is no text."""
    start, headers = json.dumps(submission())[:-1], {"Content-Type": "application/json"}
    asked = [("/v1/quotes", f'{start}, "asked_rate": {written}}}')]
    if written != '"1"':
        asked.append(("/v1/quotes", f'{start}, "extras": {{"a": {written}}}}}'))
    asked.append(("/v1/events", f'{{"kind": "resold", "event_id": "e", "trade_id": "t", "rate": {written}}}'))
    for route, content in asked:
        told = client.post(route, content=content, headers=headers)
        assert (told.status_code, told.json()["code"]) == (422, "invalid_request"), content


@pytest.mark.parametrize("route", ["/v1/quotes", "/v1/quotes/batch", "/v1/fraud-scores", "/v1/events"])
def test_an_endless_integer_is_no_json(client, route):
    """A number of more digits than are read is refused as a body that cannot be read, wherever it stands."""
    for body in ('{"card": ' + "9" * 5_000 + "}", '{"kind": "resold", "rate": ' + "9" * 5_000 + "}"):
        told = client.post(route, content=body, headers={"Content-Type": "application/json"})
        assert (told.status_code, told.json()["code"]) == (400, "malformed_json")


@pytest.mark.both_storages
def test_batch_items_succeed_or_fail_alone(client):
    """A bad card in a batch has its own problem; the others are quoted."""
    items = [submission(), submission(card_type="nothing"), {"card": 1}, submission(expires_on="2026-03-10")]
    results = client.post("/v1/quotes/batch", json={"submissions": [*items, "str", None]}).json()["results"]
    kinds = ["quote", "problem", "problem", "quote", "problem", "problem"]
    assert [next(iter(result)) for result in results] == kinds
    assert [result["problem"]["errors"][0]["field"] for result in results[4:]] == ["(body)"] * 2
    assert results[1]["problem"]["code"] == "unknown_card_type"
    too_many = client.post("/v1/quotes/batch", json={"submissions": [submission()] * 501})
    assert too_many.status_code == 422


@pytest.mark.both_storages
@pytest.mark.parametrize("route", ["/v1/quotes", "/v1/fraud-scores"])
def test_idempotency_key_repeats_the_answer(client, route):
    """The same key and body give the same answer once more; another body under the key is refused."""
    first = client.post(route, json=submission(), headers={"Idempotency-Key": "k1"})
    again = client.post(route, json=submission(), headers={"Idempotency-Key": "k1"})
    assert again.json() == first.json()
    assert again.headers["Idempotent-Replay"] == "true"
    other = client.post(
        route, json=submission(face_value={"amount_fen": 100}), headers={"Idempotency-Key": "k1"}
    )
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_key_reused")


@pytest.mark.both_storages
def test_a_trade_id_belongs_to_one_card(client):
    """Asking again for the same trade is fine; another card under its id is refused."""
    body = submission() | {"trade_id": "mine"}
    ask(client, body)
    ask(client, body)
    other = submission(card_type="sinopec_fuel") | {"trade_id": "mine"}
    assert client.post("/v1/quotes", json=other).json()["code"] == "trade_id_reused"


def event(kind: str, quote: dict, clock: Clock, **more) -> dict:
    body = {"kind": kind, "trade_id": quote["trade_id"], "happened_at": clock.now.isoformat()}
    return body | {"event_id": f"{kind}-{quote['trade_id']}"} | more


def test_score_has_no_price_and_counts_nothing(client, desk, clock):
    """A fraud score is not a submission."""
    score = client.post("/v1/fraud-scores", json=submission()).json()
    assert 0 <= score["fraud_probability"] <= 1
    assert score["decision"] in ("pay", "hold", "review", "refuse")
    assert score["reasons"]
    assert "rate" not in score
    probe = _trade({"trade_id": "probe", "submitted_at": clock.now + timedelta(minutes=1)})
    assert desk.engine.live.answer(probe).values["seller_count_all"] == 0


@pytest.mark.both_storages
def test_events_reach_features_and_training_tables(client, desk, clock, live_workspace):
    """Outcomes change the live features at once, and are in the training tables after collecting."""
    from pipelines.training.collecting import collect

    quote = ask(client, submission())
    clock.forward(minutes=5)
    assert client.post("/v1/events", json=event("accepted", quote, clock)).json()["status"] == "recorded"
    clock.forward(days=2)
    client.post("/v1/events", json=event("resold", quote, clock, rate=0.93))
    clock.forward(days=3)
    client.post("/v1/events", json=event("fraud_confirmed", quote, clock))
    clock.forward(minutes=1)
    probe = _trade({"trade_id": "probe", "submitted_at": clock.now, "device_id": "d-1"})
    values = desk.engine.live.answer(probe).values
    assert values["device_frauds_all"] == 1
    assert values["seller_accepted_all"] == 1
    collect(data=desk.data, store=live_workspace.tables)
    rows = live_workspace.tables.read("trades").to_pylist()
    row = next(row for row in rows if row["trade_id"] == quote["trade_id"])
    assert (row["accepted"], row["fraud"], row["resale_rate"]) == (True, True, 0.93)
    assert row["offered_rate"] == quote["rate"]
    assert row["fraud_known_at"] == TODAY + timedelta(days=5, minutes=5)


@pytest.mark.both_storages
def test_an_event_counts_once(client, clock):
    """The same event again is known; another content under its id, or for an unknown trade, is refused."""
    quote = ask(client, submission())
    clock.forward(minutes=1)
    body = event("declined", quote, clock)
    assert client.post("/v1/events", json=body).json()["status"] == "recorded"
    assert client.post("/v1/events", json=body).json()["status"] == "known"
    changed = body | {"kind": "accepted"}
    assert client.post("/v1/events", json=changed).json()["code"] == "event_id_reused"
    nobody = event("declined", {"trade_id": "nobody"}, clock)
    assert client.post("/v1/events", json=nobody).json()["code"] == "trade_not_found"


def test_events_at_impossible_times_are_refused(client, clock):
    """An outcome before its trade or in the future, and an acceptance after the quote expired, are refused."""
    quote = ask(client, submission())
    early = event("resold", quote, Clock(TODAY - timedelta(days=1)), rate=0.9)
    assert client.post("/v1/events", json=early).json()["code"] == "impossible_time"
    late = event("resold", quote, Clock(TODAY + timedelta(days=1)), rate=0.9, event_id="e2")
    assert client.post("/v1/events", json=late).json()["code"] == "impossible_time"
    clock.forward(hours=3)
    assert client.post("/v1/events", json=event("accepted", quote, clock)).json()["code"] == "quote_expired"


def accepted(trade_id: str, quote_id: str | None = None, **more: str) -> dict:
    body = {"kind": "accepted", "event_id": f"e-{trade_id}-{quote_id}-{len(more)}", "trade_id": trade_id}
    return body | ({} if quote_id is None else {"quote_id": quote_id}) | more


@pytest.mark.both_storages
def test_accepting_what_was_not_offered_says_what_is_wrong(client, clock):
    """No such quote, another trade's, or a former one of this trade: three codes. Nothing is recorded by them."""
    first = ask(client, submission())
    clock.forward(seconds=1)
    newest = ask(client, submission() | {"trade_id": first["trade_id"]})
    other = ask(client, submission())
    told = {"q-none": (404, "quote_not_found"), other["quote_id"]: (409, "quote_of_another_trade")}
    told[first["quote_id"]] = (409, "quote_replaced")
    for quote_id, refusal in told.items():
        answer = client.post("/v1/events", json=accepted(first["trade_id"], quote_id))
        assert (answer.status_code, answer.json()["code"]) == refusal
        assert answer.json()["errors"][0]["field"] == "quote_id"
    done = client.post("/v1/events", json=accepted(first["trade_id"], newest["quote_id"]))
    assert done.json()["status"] == "recorded"


@pytest.mark.parametrize("ahead", [timedelta(hours=1), timedelta(days=365 * 7_900)])
def test_a_future_acceptance_is_an_impossible_time_and_not_a_late_one(client, clock, ahead):
    """While the quote is open, a moment that cannot be is what is wrong."""
    quote = ask(client, submission())
    asked = accepted(quote["trade_id"], happened_at=(clock.now + ahead).isoformat())
    answer = client.post("/v1/events", json=asked)
    assert (answer.status_code, answer.json()["code"]) == (422, "impossible_time")


def test_a_clock_that_was_fast_refuses_no_outcome(client, clock):
    """A quote given under a clock ten minutes fast is accepted when the clock is right, at its own moment or now."""
    clock.forward(minutes=10)
    quotes = [ask(client, submission()) for _ in range(2)]
    ahead = Clock(clock.now)
    clock.forward(minutes=-10)
    for quote, at in zip(quotes, (ahead, clock), strict=True):
        answer = client.post("/v1/events", json=event("accepted", quote, at, event_id=quote["trade_id"]))
        assert answer.json()["status"] == "recorded"


@pytest.mark.both_storages
def test_outcomes_of_imported_trades_are_taken(client, desk, clock, live_workspace):
    """A label for a trade that came in by import updates that trade."""
    from pipelines.training.collecting import collect

    trades = live_workspace.tables.read("trades").to_pylist()
    unlabelled = next(row for row in reversed(trades) if row["fraud"] is None and row["accepted"])
    clock.forward(minutes=1)
    assert client.post("/v1/events", json=event("fraud_cleared", unlabelled, clock)).status_code == 200
    before = len(trades)
    collect(data=desk.data, store=live_workspace.tables)
    after = live_workspace.tables.read("trades").to_pylist()
    assert len(after) == before
    assert next(row for row in after if row["trade_id"] == unlabelled["trade_id"])["fraud"] is False


def test_a_market_observation_moves_the_features(client, desk, clock):
    """A competitor's new bid is in the next quote's features."""
    clock.forward(minutes=1)
    body = {
        "kind": "market_observed",
        "event_id": "m1",
        "happened_at": clock.now.isoformat(),
        "card_type": "jd_ecard",
        "source": "new rival",
        "side": "competitor_bid",
        "rate": 0.9876,
    }
    assert client.post("/v1/events", json=body).json()["status"] == "recorded"
    clock.forward(minutes=1)
    probe = _trade({"trade_id": "probe", "submitted_at": clock.now})
    assert desk.engine.live.answer(probe).values["market_competitor_best"] == 0.9876
    assert client.post("/v1/events", json=body | {"event_id": "m2", "rate": "high"}).status_code == 422


@pytest.mark.both_storages
def test_price_board_shows_every_card_type_and_keeps_its_history(client, clock):
    """The board has a price for every card type; its history gives the lowest of the last 7 days."""
    board = client.get("/v1/prices").json()
    assert len(board["prices"]) > 200
    jd = next(price for price in board["prices"] if price["card_type"] == "jd_ecard")
    assert (jd["name_zh"], 0 < jd["rate"] < 1) == ("京东E卡", True)
    clock.forward(hours=2)
    renewed(client, clock)
    history = client.get("/v1/prices/jd_ecard/history").json()
    assert len(history["points"]) == 2
    assert history["lowest_7d"] == min(point["rate"] for point in history["points"])


def test_without_models_the_service_prices_carefully_and_pays_nobody(desk):
    """With no model at all a quote is a cautious list price on hold, and says so."""
    bare = replace(desk, engine=replace(desk.engine, models=ModelPair(discount=None, fraud=None)))
    with client_of(bare) as client:
        quote = ask(client, submission())
    assert quote["decision"] == "hold"
    assert quote["degraded"] == ["discount_model_missing", "fraud_model_missing"]
    assert 0.5 < quote["rate"] < 0.99
    assert {reason["code"] for reason in quote["reasons"]} == {"FALLBACK_PRICE", "NO_FRAUD_SCORE"}
    assert quote["fraud_probability"] is None


def test_http_quotes_equal_the_batch_command(client, live_workspace, clock, tmp_path):
    """Quotes over HTTP equal the rows of `huika quote` for the same moments, to the last digit."""
    import pyarrow.parquet as pq

    from features.catalogue import workspace_catalogue
    from pipelines import answering
    from pipelines.champions import load_pair
    from pipelines.terms import terms_of
    from pipelines.wiring import model_registry

    history = live_workspace.tables.read("trades").to_pylist()[-40:]
    rows, quotes = [], []
    for number, row in enumerate(history):
        clock.forward(seconds=7)
        names = ("seller_id", "device_id", "ip", "payout_account", "region", "channel")
        card = {name: row[name] for name in ("card_type", "card_form", "card_prefix", "card_fingerprint")}
        face = min(row["face_value_fen"], 50_000)
        expires = None if row["expires_on"] is None else row["expires_on"].isoformat()
        body = {
            "trade_id": f"http-{number:03d}",
            "card": card | {"face_value": {"amount_fen": face}, "expires_on": expires},
            "seller": {name: row[name] for name in names},
        }
        quotes.append(ask(client, body))
        cell = {"trade_id": body["trade_id"], "submitted_at": clock.now, "face_value_cny": face / 100}
        rows.append(cell | card | {name: row[name] for name in (*names, "expires_on")})
    import pyarrow as pa

    source = tmp_path / "input.parquet"
    pq.write_table(pa.Table.from_pylist(rows), source)
    catalogue = workspace_catalogue(live_workspace.tables)
    batch = answering.read_batch(source, mapping={}, catalogue=catalogue, now=clock.now)
    models = load_pair(model_registry(live_workspace))
    columns = answering.batch_features(
        live_workspace, batch, models=models, progress=lambda done, total: None
    )
    table = answering.quote_batch(
        batch,
        columns,
        models=models,
        terms=terms_of(live_workspace),
    )
    for quote, row in zip(quotes, table.to_pylist(), strict=True):
        assert quote["rate"] == row["rate"]
        assert quote["payout"]["amount_fen"] == round(row["payout_cny"] * 100)
        assert quote["decision"] == row["decision"]
        assert quote["fraud_probability"] == row["fraud_probability"]
        assert quote["acceptance_probability"] == row["acceptance_probability"]
        assert quote["resale_rate"]["p50"] == row["resale_rate_p50"]
        assert "|".join(reason["code"] for reason in quote["reasons"]) == row["reasons"]


def test_a_restart_knows_what_was_said_before(client, desk, live_workspace, clock):
    """After a restart the live features are those of before: quotes and events were collected and replayed."""
    quote = ask(client, submission())
    clock.forward(minutes=5)
    client.post("/v1/events", json=event("accepted", quote, clock))
    clock.forward(minutes=5)
    probe = _trade({"trade_id": "probe", "submitted_at": clock.now, "device_id": "d-1", "ip": "198.18.0.7"})
    before: Desk = desk
    expected = before.engine.live.answer(probe).values
    found = desk_of(live_workspace, clock).engine.live.answer(probe).values
    for name, value in expected.items():
        assert str(value) == str(found[name]), name


def test_nothing_that_was_sent_comes_back_in_a_refusal(client, clock):
    """A secret typed into the wrong place is not repeated: as a field name, an event kind, or a card type."""
    secret = "6222-SECRET-4711"
    moment = clock.now.isoformat()
    bodies = [
        ("/v1/quotes", submission(**{secret: 1})),
        ("/v1/quotes", submission(card_type=secret)),
        ("/v1/events", {"kind": secret, "event_id": "x", "trade_id": "y", "happened_at": moment}),
        ("/v1/quotes/batch", {"submissions": [submission(**{secret: 1}), submission(card_type=secret)]}),
    ]
    for path, body in bodies:
        assert secret not in client.post(path, json=body).text, path


def market_event(clock: Clock, **more) -> dict:
    body = {
        "kind": "market_observed",
        "event_id": "m",
        "happened_at": clock.now.isoformat(),
        "card_type": "jd_ecard",
    }
    return body | {"source": "rival", "side": "competitor_bid", "rate": 0.9} | more


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"volume": {"amount_fen": 10**30}}, "invalid_request"),
        ({"volume": {"amount_fen": -5}}, "invalid_request"),
        ({"happened_at": "0001-01-01T00:00:00+14:00"}, "impossible_time"),
        ({"happened_at": "9999-12-31T23:59:59-14:00"}, "impossible_time"),
        ({"rate": 92}, "invalid_request"),
        ({"card_type": "nothing"}, "unknown_card_type"),
    ],
)
def test_impossible_observations_are_refused(client, clock, more, code):
    """A market event that the tables could not hold is refused before it is recorded."""
    response = client.post("/v1/events", json=market_event(clock, **more))
    assert (response.status_code, response.json()["code"]) == (422, code)


def test_odd_text_under_an_idempotency_key_is_refused(client):
    """Lone surrogates in a batch item are that item's problem, also with an Idempotency-Key."""
    raw = b'{"submissions": [{"card": {"card_type": "\\ud800"}, "seller": {"seller_id": "s"}}]}'
    headers = {"Content-Type": "application/json", "Idempotency-Key": "odd"}
    response = client.post("/v1/quotes/batch", content=raw, headers=headers)
    assert response.status_code == 200
    assert response.json()["results"][0]["problem"]["code"] == "invalid_request"


def test_an_imported_trade_cannot_be_replaced_by_a_quote(client, live_workspace):
    """A quote under the id of an imported trade is refused unless it is that very card and seller."""
    stored = live_workspace.tables.read("trades").to_pylist()[5]
    response = client.post("/v1/quotes", json=submission() | {"trade_id": stored["trade_id"]})
    assert response.json()["code"] == "trade_id_reused"


def test_a_card_is_resold_once(client, clock):
    """A second resale of the same trade is refused, whatever its event id."""
    quote = ask(client, submission())
    clock.forward(days=1)
    assert client.post("/v1/events", json=event("resold", quote, clock, rate=0.9)).status_code == 200
    again = event("resold", quote, clock, rate=0.91, event_id="another")
    assert client.post("/v1/events", json=again).json()["code"] == "already_resold"


def test_a_late_outcome_counts_from_when_it_became_known(client, desk, clock, live_workspace):
    """A label told ten days after the fact is dated by the telling, live and in the tables."""
    from pipelines.training.collecting import collect

    quote = ask(client, submission())
    clock.forward(minutes=10)
    happened = clock.now
    clock.forward(days=10)
    late = event("fraud_confirmed", quote, clock) | {"happened_at": happened.isoformat()}
    assert client.post("/v1/events", json=late).json()["status"] == "recorded"
    collect(data=desk.data, store=live_workspace.tables)
    rows = live_workspace.tables.read("trades").to_pylist()
    assert next(r for r in rows if r["trade_id"] == quote["trade_id"])["fraud_known_at"] == clock.now


def test_asking_again_keeps_the_first_submission_and_the_last_offer(client, desk, clock, live_workspace):
    """A trade quoted twice is one row: submitted when first shown, with the newest offer."""
    from pipelines.training.collecting import collect

    first = ask(client, submission() | {"trade_id": "twice"})
    clock.forward(hours=2)
    second = ask(client, submission() | {"trade_id": "twice"})
    stale = event("accepted", second, clock, quote_id=first["quote_id"])
    assert client.post("/v1/events", json=stale).json()["code"] == "quote_replaced"
    collect(data=desk.data, store=live_workspace.tables)
    row = next(r for r in live_workspace.tables.read("trades").to_pylist() if r["trade_id"] == "twice")
    assert row["submitted_at"] == TODAY
    assert row["offered_rate"] == second["rate"]


def test_an_imported_correction_is_not_undone_by_an_older_event(client, desk, clock, live_workspace):
    """Collecting again never replaces an outcome that became known later than the event."""

    from features.tables import TRADES
    from pipelines.training import collecting
    from pipelines.training.work_folder import work_folder

    quote = ask(client, submission())
    clock.forward(days=1)
    client.post("/v1/events", json=event("fraud_confirmed", quote, clock))
    collecting.collect(data=desk.data, store=live_workspace.tables)
    rows = live_workspace.tables.read("trades").to_pylist()
    corrected = next(r for r in rows if r["trade_id"] == quote["trade_id"])
    corrected |= {"fraud": False, "fraud_known_at": clock.now + timedelta(days=3)}
    with work_folder(live_workspace.tables.root) as work:
        collecting._merge(live_workspace.tables, TRADES, [corrected], work=work)
    collecting.collect(data=desk.data, store=live_workspace.tables)
    rows = live_workspace.tables.read("trades").to_pylist()
    assert next(r for r in rows if r["trade_id"] == quote["trade_id"])["fraud"] is False
