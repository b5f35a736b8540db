"""Rules, limits and lists in the service: as in the batch command, and known within seconds."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.catalogue import workspace_catalogue
from models.fraud.conditions import Condition
from models.fraud.rules import Rule, RuleBook
from models.reasons import Reason
from pipelines import answering
from pipelines.champions import load_pair
from pipelines.screening.list_data import REFRESH, Entry, ListData
from pipelines.terms import terms_of
from pipelines.wiring import model_registry
from serving.api.degraded import NO_FEATURES
from serving.api.desk import Desk
from serving.api.engine import Read
from tests.serving.conftest import Clock, client_of
from tests.serving.test_api import ask, submission

SELLER = "s-listed"


def listed_submission(**card) -> dict:
    body = submission(**card)
    return body | {"seller": body["seller"] | {"seller_id": SELLER}}


def write(desk: Desk, clock: Clock, **changes) -> None:
    parts = {"list": "block", "kind": "seller", "value": SELLER, "author": "li", "why": "chargebacks"}
    ListData.open(desk.data).write([Entry(**(parts | changes))], now=clock.now)


def codes(quote: dict) -> list[str]:
    return [reason["code"] for reason in quote["reasons"]]


@pytest.mark.both_storages
def test_a_block_is_known_within_seconds_and_a_removal_too(client, desk, clock):
    """The next quote after REFRESH is refused with its reason first; others are not touched; taken off, it ends."""
    before = ask(client, listed_submission())
    assert before["decision"] != "refuse"
    write(desk, clock)
    clock.now += REFRESH
    refused = ask(client, listed_submission())
    assert refused["decision"] == "refuse"
    assert "LISTED_BLOCK" in codes(refused)
    assert ask(client, submission())["decision"] != "refuse"
    score = client.post("/v1/fraud-scores", json=listed_submission()).json()
    assert (score["decision"], codes(score)[0]) == ("refuse", "LISTED_BLOCK")
    write(desk, clock, change="removed")
    clock.now += REFRESH
    assert "LISTED_BLOCK" not in codes(ask(client, listed_submission()))


@pytest.mark.parametrize(
    "kind", ["seller", "device", "ip", "payout_account", "card_prefix", "card_fingerprint"]
)
def test_every_kind_of_entry_is_compared_with_its_field(client, desk, clock, kind):
    """Whatever of a submission is listed, it is watched."""
    body = submission(card_prefix="b9", card_fingerprint="f9")
    values = {"seller": "s-1", "device": "d-1", "ip": "198.18.0.7", "payout_account": "acct-1"}
    values |= {"card_prefix": "b9", "card_fingerprint": "f9"}
    write(desk, clock, list="watch", kind=kind, value=values[kind])
    clock.now += REFRESH
    quote = ask(client, body)
    assert "LISTED_WATCH" in codes(quote)
    assert quote["decision"] in ("review", "refuse")


def with_rules(desk: Desk, book: RuleBook) -> Desk:
    return replace(desk, engine=replace(desk.engine, terms=replace(desk.engine.terms, rules=book)))


@pytest.mark.both_storages
def test_a_list_in_shadow_is_stored_for_analysts_and_changes_nothing(client, desk, clock):
    """Blocked in shadow, a seller is answered as without it, and its quote names the list; made live, it stops."""
    before = ask(client, listed_submission())
    write(desk, clock, change="shadow")
    clock.now += REFRESH
    quote = ask(client, listed_submission())
    assert quote["decision"] == before["decision"] != "refuse"
    assert "LISTED_BLOCK" not in codes(quote)
    stored = desk.data.quote(quote["quote_id"])
    assert stored is not None
    assert stored["answer"]["shadow_rules"] == ["list:block"]
    write(desk, clock)
    clock.now += REFRESH
    assert ask(client, listed_submission())["decision"] == "refuse"


def rule(name: str, mode: str, action: str, condition: Condition) -> Rule:
    reason = Reason(f"RULE_{name.upper()}", "核实", "A check")
    return Rule(name=name, mode=mode, action=action, when=(condition,), reason=reason)


ANY_CARD = Condition("card_face_cny", "above", 0.0)


@pytest.mark.both_storages
def test_a_rule_in_shadow_is_stored_for_analysts_and_not_told(desk):
    """Decision and reasons are those without it; the stored quote names it, the told one does not."""
    plain = client_of(with_rules(desk, RuleBook()))
    shadowed = client_of(with_rules(desk, RuleBook(rules=(rule("any", "shadow", "refuse", ANY_CARD),))))
    body = submission() | {"trade_id": "shadowed"}
    with plain as client:
        expected = client.post("/v1/fraud-scores", json=body).json()
    with shadowed as client:
        found = client.post("/v1/fraud-scores", json=body).json()
        quote = ask(client, body)
        assert client.get(f"/v1/quotes/{quote['quote_id']}").json() == quote
    for name in ("decision", "reasons", "fraud_probability"):
        assert found[name] == expected[name]
    assert "shadow_rules" not in quote
    stored = desk.data.quote(quote["quote_id"])
    assert stored is not None
    assert stored["answer"]["shadow_rules"] == ["any"]


def test_answers_name_the_versions_of_rules_and_law(client, desk):
    """A quote and a score say which rules and limits they were given under."""
    book = desk.engine.terms.rules
    versions = {"rules_version": book.rules_version, "law_version": book.law_version}
    assert versions.items() <= ask(client, submission()).items()
    assert versions.items() <= client.post("/v1/fraud-scores", json=submission()).json().items()


def test_a_live_rule_stops_and_gives_its_reason_before_the_models(desk):
    """Its action and its sentence are the answer's."""
    with client_of(with_rules(desk, RuleBook(rules=(rule("any", "live", "refuse", ANY_CARD),)))) as client:
        score = client.post("/v1/fraud-scores", json=submission()).json()
    assert score["decision"] == "refuse"
    assert codes(score)[0] == "RULE_ANY"


def test_without_features_no_rule_takes_a_seller_for_new(desk, clock):
    """Where the states cannot be read a rule about history does not hit, one about the card does, and a list too."""
    book = RuleBook(
        rules=(
            rule("new", "live", "refuse", Condition("seller_count_all", "equals", 0.0)),
            rule("unknown", "live", "refuse", Condition("seller_amount_z", "missing", True)),
            rule("card", "live", "review", ANY_CARD),
        )
    )
    write(desk, clock, list="watch", value="s-1")
    clock.now += REFRESH
    engine = with_rules(desk, book).engine
    blind = Read([engine.live.blank(_trade(engine, clock), names=engine.columns)], degraded=(NO_FEATURES,))
    quote = engine.quotes([_trade(engine, clock)], blind)[0]
    assert quote["decision"] == "review"
    assert {"RULE_CARD", "LISTED_WATCH"} <= set(codes(quote))
    assert not {"RULE_NEW", "RULE_UNKNOWN"} & set(codes(quote))


def _trade(engine, clock: Clock) -> dict:
    from serving.api.schemas import Submission

    return engine.trade_of(Submission.model_validate(submission()), now=clock.now)


def test_answers_of_listed_trades_equal_the_batch_command(client, desk, clock, live_workspace, tmp_path):
    """Before an entry holds, while it does and in shadow, answers are those of `huika quote`, reasons and all."""
    rows, quotes = [], []

    def offer(number: int, region: str | None) -> None:
        clock.forward(seconds=30)
        body = listed_submission() | {"trade_id": f"listed-{number}"}
        body["seller"]["region"] = region
        quotes.append(ask(client, body))
        seller = {name: body["seller"][name] for name in ("seller_id", "device_id", "payout_account", "ip")}
        expiry = date.fromisoformat(body["card"]["expires_on"])
        card = {
            "card_type": "jd_ecard",
            "card_form": "virtual",
            "face_value_cny": 500.0,
            "expires_on": expiry,
        }
        rows.append(
            {"trade_id": body["trade_id"], "submitted_at": clock.now, "region": region} | seller | card
        )

    offer(0, "beijing")
    write(desk, clock, list="watch")
    offer(1, None)
    write(desk, clock)
    offer(2, None)
    write(desk, clock, change="shadow")
    offer(3, None)
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "in.parquet")
    batch = answering.read_batch(
        tmp_path / "in.parquet",
        mapping={},
        catalogue=workspace_catalogue(live_workspace.tables),
        now=clock.now,
    )
    models = load_pair(model_registry(live_workspace))
    columns = answering.batch_features(
        live_workspace, batch, models=models, progress=lambda done, total: None
    )
    table = answering.quote_batch(batch, columns, models=models, terms=terms_of(live_workspace))
    for quote, row in zip(quotes, table.to_pylist(), strict=True):
        stored = desk.data.quote(quote["quote_id"])
        assert stored is not None
        assert quote["decision"] == row["decision"]
        assert "|".join(codes(quote)) == row["reasons"]
        assert "|".join(stored["answer"]["shadow_rules"]) == row["shadow_rules"]
        assert quote["rules_version"] == row["rules_version"]
        assert quote["law_version"] == row["law_version"]
    assert ["LISTED_BLOCK" in codes(quote) for quote in quotes] == [False, False, True, False]
    assert ["LISTED_WATCH" in codes(quote) for quote in quotes] == [False, True, True, True]
    assert [row["shadow_rules"] for row in table.to_pylist()] == ["", "", "", "list:block"]
