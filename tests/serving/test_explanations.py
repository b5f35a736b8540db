"""Analysts are told what moved the probability, value by value; sellers and their apps never are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from threading import Event

import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from fastapi.testclient import TestClient

from features.definitions import FEATURES
from models.fraud.decision import ACTIONS, Thresholds
from models.fraud.model import FraudModel
from models.quoting import ModelPair
from models.registry import ModelRegistry
from pipelines.application_data import quotes
from pipelines.champions import load_version
from pipelines.explaining import KEPT_MODELS, Explainer
from pipelines.wiring import model_registry
from pipelines.workspace import Workspace
from serving.api.access.roles import Role
from serving.api.app import create_app
from serving.api.board import PriceBoards
from serving.api.desk import Desk
from serving.api.engine import FOR_ANALYSTS
from serving.api.explanations import QuoteExplanation
from tests.serving.clients import headers_of, one_of_each_role

ANALYST = headers_of(Role.RISK_ANALYST)
SUBMISSION = {
    "card": {"card_type": "jd_ecard", "card_form": "virtual", "face_value": {"amount_fen": 50_000}},
    "seller": {"seller_id": "s-1", "device_id": "d-1", "payout_account": "acct-1", "ip": "198.18.0.7"},
}


def client_of(desk: Desk, workspace: Workspace, explainer: Explainer | None = None) -> TestClient:
    """An app that asks for quotes, with the service it asks."""

    @asynccontextmanager
    async def lifespan(app: FastAPI):
        app.state.desk = desk
        app.state.boards = PriceBoards(engine=desk.engine)
        app.state.explainer = explainer or explainer_of(desk, workspace)
        app.state.access = one_of_each_role()
        yield

    return TestClient(create_app(lifespan), headers=headers_of(Role.PRICING_CLIENT))


def explainer_of(desk: Desk, workspace: Workspace) -> Explainer:
    return Explainer(data=desk.data, registry=model_registry(workspace), serving=desk.engine.models)


@pytest.fixture
def asked(desk: Desk, live_workspace: Workspace) -> Iterator[TestClient]:
    with client_of(desk, live_workspace) as client:
        yield client


def ask(client: TestClient) -> dict:
    response = client.post("/v1/quotes", json=SUBMISSION)
    assert response.status_code == 200, response.text
    return response.json()


def explanation(client: TestClient, quote: dict, **headers: str):
    return client.get(f"/v1/quotes/{quote['quote_id']}/explanation", headers=headers)


def strict_desk(desk: Desk) -> Desk:
    """The same desk with a model that refuses whatever it can."""
    model = desk.engine.models.fraud
    assert model is not None
    refusing = replace(model, thresholds=Thresholds(hold_fen=1e15, review_fen=1e15, refuse_fen=-1e15))
    models = replace(desk.engine.models, fraud=refusing)
    decision = desk.engine.terms.decision.model_copy(update={"let_through_share": 0.0})
    engine = replace(desk.engine, models=models, terms=replace(desk.engine.terms, decision=decision))
    return replace(desk, engine=engine)


def test_the_explanation_adds_up_and_names_values(asked: TestClient) -> None:
    """Base and families sum to the quote's own log-odds; costs of all four actions and feature values are there; what
    paying is expected to cost is the money at risk, however a paid fraud weighs in the decision."""
    import math

    quote = ask(asked)
    response = explanation(asked, quote, **ANALYST)
    assert response.status_code == 200, response.text
    body = QuoteExplanation.model_validate(response.json()).model_dump()
    parts = body["fraud"]
    total = parts["base_log_odds"] + sum(family["log_odds"] for family in parts["families"])
    assert total == pytest.approx(math.log(quote["fraud_probability"] / (1 - quote["fraud_probability"])))
    assert set(body["model"]["expected_cost_fen"]) == set(ACTIONS)
    assert all(cost >= 0 for cost in body["model"]["expected_cost_fen"].values())
    lost = quote["fraud_probability"] * quote["payout"]["amount_fen"]
    assert body["model"]["expected_cost_fen"]["pay"] == pytest.approx(lost)
    signals = [signal for family in parts["families"] for signal in family["signals"]]
    assert signals
    assert all(signal["meaning"] == FEATURES[signal["name"]].meaning for signal in signals)
    assert body["waterfall"] == quote["waterfall"]


def test_the_serving_model_explains_as_its_stored_copy_does(
    asked: TestClient, desk: Desk, live_workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A quote of the serving model is explained from memory, to the last digit as by the model read from the
    registry."""
    quote_id = ask(asked)["quote_id"]
    stored = Explainer(data=desk.data, registry=model_registry(live_workspace)).quote(quote_id)
    monkeypatch.setattr("pipelines.explaining.load_version", None)
    assert explainer_of(desk, live_workspace).quote(quote_id) == stored
    assert stored.fraud is not None


def test_no_quote_waits_while_an_analysts_model_is_loaded(
    desk: Desk, live_workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a model that does not serve is being loaded, quotes are answered; then the analyst is."""
    begun, may_end = Event(), Event()

    def slow(registry: ModelRegistry, number: str) -> tuple[FraudModel, dict[str, str]]:
        begun.set()
        assert may_end.wait(60)
        return load_version(registry, number)

    monkeypatch.setattr("pipelines.explaining.load_version", slow)
    other = Explainer(data=desk.data, registry=model_registry(live_workspace))
    with client_of(desk, live_workspace, explainer=other) as client, ThreadPoolExecutor() as threads:
        first = ask(client)
        looked = threads.submit(explanation, client, first, **ANALYST)
        try:
            assert begun.wait(60)
            assert threads.submit(ask, client).result(60)["quote_id"] != first["quote_id"]
            assert not looked.done()
        finally:
            may_end.set()
        assert looked.result(60).json()["fraud"] is not None


def test_only_the_last_models_asked_for_stay_in_memory(
    desk: Desk, live_workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of models that do not serve, KEPT_MODELS are kept: the one not asked for the longest goes."""
    model, read = desk.engine.models.fraud, []
    monkeypatch.setattr(
        "pipelines.explaining.load_version", lambda _, number: read.append(number) or (model, {})
    )
    explainer = explainer_of(desk, live_workspace)
    for version in ("a", "b", "c", "a", "d", "a", "b", desk.engine.models.fraud_version):
        answerer = explainer.answerer({"answer": {"models": {"fraud": version}}})
        assert answerer.model is model
    assert KEPT_MODELS == 3
    assert read == ["a", "b", "c", "d", "b"]


def test_the_command_shows_what_people_wrote_as_text(
    asked: TestClient, desk: Desk, live_workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    """Brackets in ids, values and notes are no markup: nothing disappears and nothing breaks."""
    from serving.commands.explain import print_explained

    found = explainer_of(desk, live_workspace).quote(ask(asked)["quote_id"])
    assert found.fraud is not None
    family = found.fraud.families[0]
    signal = replace(family.signals[0], value="see [/x] note")
    fraud = replace(found.fraud, families=(replace(family, signals=(signal,)),))
    note = {"code": "RULE_X", "zh": "[jira-12] 备注", "en": "[/bold] note"}
    answer = {**found.answer, "analyst_notes": [note]}
    print_explained(replace(found, trade_id="t-[/x]", answer=answer, fraud=fraud), most_families=6)
    shown = capsys.readouterr().out
    for text in ("t-[/x]", "see [/x] note", "[jira-12] 备注 [/bold] note"):
        assert text in shown


def test_only_analysts_are_told(asked: TestClient) -> None:
    """The app that asked for a quote gets no explanation of it, and neither does an operator."""
    quote = ask(asked)
    for role in (Role.PRICING_CLIENT, Role.OPERATOR, Role.DATA_SCIENTIST):
        response = explanation(asked, quote, **headers_of(role))
        assert (response.status_code, response.json()["code"]) == (403, "not_allowed")


def test_no_analyst_number_leaks_into_what_the_seller_gets(desk: Desk, live_workspace: Workspace) -> None:
    """Bodies of quotes, scores and stored quotes hold neither feature names nor values, log-odds or action costs, also
    when the trade is refused."""
    for own in (desk, strict_desk(desk)):
        with client_of(own, live_workspace) as client:
            quote = ask(client)
            score = client.post("/v1/fraud-scores", json=SUBMISSION).json()
            stored = client.get(f"/v1/quotes/{quote['quote_id']}").json()
            secret = explanation(client, quote, **ANALYST).json()
        assert stored == quote
        numbers = _secrets(secret)
        assert len(numbers) > 10
        for body in (quote, score, stored):
            assert not FOR_ANALYSTS & set(body)
            text = json.dumps(body)
            names = set(FEATURES.names("fraud")) - {"card_type"}  # the client's own word
            assert not [name for name in names if f'"{name}"' in text]
            assert not [number for number in numbers if number in text]


def _secrets(explanation: dict) -> list[str]:
    """Log-odds, values and costs as they would stand in a body; short numbers may stand there for other things."""
    families = explanation["fraud"]["families"]
    signals = [signal for family in families for signal in family["signals"]]
    found = [family["log_odds"] for family in families]
    found += [number for signal in signals for number in (signal["log_odds"], signal["value"])]
    found += list(explanation["model"]["expected_cost_fen"].values())
    texts = {json.dumps(number) for number in found if isinstance(number, float)}
    return [text for text in texts if len(text) > 6]


def test_a_refusal_offers_a_review_by_a_person(desk: Desk, live_workspace: Workspace) -> None:
    """A refused trade has reasons and the offer of a person's review in both languages; others have no such offer, and
    high stakes are not refused at all."""
    with client_of(strict_desk(desk), live_workspace) as client:
        quote = ask(client)
        card = SUBMISSION["card"] | {"card_type": "sinopec_fuel", "face_value": {"amount_fen": 500_000}}
        large = SUBMISSION | {"card": card}
        stakes = client.post("/v1/fraud-scores", json=large).json()
        score = client.post("/v1/fraud-scores", json=SUBMISSION).json()
    for body in (quote, score):
        assert body["decision"] == "refuse"
        assert body["reasons"]
        assert body["human_review"]["code"] == "HUMAN_REVIEW"
        assert body["human_review"]["zh"]
        assert body["human_review"]["en"]
    assert stakes.get("decision") == "review", stakes
    assert stakes["human_review"] is None
    assert "PERSON_REFUSES" in {reason["code"] for reason in stakes["reasons"]}


def test_there_is_nothing_to_accept_without_an_offer(asked: TestClient, desk: Desk) -> None:
    """A quote that says no_offer cannot be accepted."""
    quote = ask(asked)
    with desk.data.transaction() as connection:
        kept = connection.execute(sa.select(quotes.c.answer)).scalar_one()
        connection.execute(sa.update(quotes).values(answer=kept | {"no_offer": True, "decision": "pay"}))
    event = {"kind": "accepted", "event_id": "e-1", "trade_id": quote["trade_id"]}
    told = asked.post("/v1/events", json=event | {"happened_at": quote["submitted_at"]})
    assert (told.status_code, told.json()["code"]) == (409, "no_offer")


def test_a_quote_without_a_score_has_nothing_to_take_apart(desk: Desk, live_workspace: Workspace) -> None:
    """Where no fraud model answered, the explanation says so instead of failing."""
    engine = replace(desk.engine, models=ModelPair(discount=None, fraud=None))
    with client_of(replace(desk, engine=engine), live_workspace) as client:
        body = explanation(client, ask(client), **ANALYST).json()
    assert body["fraud"] is None
    assert body["missing"]
    assert body["model"]["expected_cost_fen"] == dict.fromkeys(ACTIONS)


def test_an_unknown_quote_is_not_found(asked: TestClient) -> None:
    """An analyst who mistypes an id gets a 404."""
    response = explanation(asked, {"quote_id": "q-none"}, **ANALYST)
    assert (response.status_code, response.json()["code"]) == (404, "quote_not_found")


def test_the_command_explains_quotes_and_imported_trades(
    asked: TestClient, live_workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    """`huika explain` shows families with values, costs of every action and the waterfall, of a quote's trade and of
    one that only the tables know; an unknown id is refused."""
    from serving.commands.explain import explain
    from serving.refusals import Refusal

    quote = ask(asked)
    stored = live_workspace.tables.read("trades", ["trade_id"])["trade_id"][-1].as_py()
    for trade_id, where in ((quote["trade_id"], quote["quote_id"]), (stored, "answered now")):
        explain(trade_id, every=True, home=live_workspace.home)
        shown = capsys.readouterr().out
        assert where in shown
        assert any(name in shown for name in FEATURES.names("fraud"))
        assert all(action in shown for action in ACTIONS)
        assert "from face value to payout" in shown
    with pytest.raises(Refusal, match="no trade nobody"):
        explain("nobody", every=False, home=live_workspace.home)
