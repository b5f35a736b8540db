"""The live features of a running service: caught up, logged, checked, and gone for a while."""

from __future__ import annotations

import json
from datetime import timedelta

import msgspec
import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient

from features.definitions import FEATURES
from features.live_round import Round
from features.store import FeatureStore, OnlineStoreUnavailable
from pipelines import live_state
from pipelines.application_data import ApplicationData, quote_features
from pipelines.consistency import Consistency, check_consistency
from pipelines.training.collecting import collect_workspace
from pipelines.wiring import feature_store
from serving.api.desk import Desk
from serving.api.engine import Engine
from serving.cli import main
from tests.serving.conftest import Clock, client_of, desk_of

pytestmark = pytest.mark.both_storages


def submission(number: int, **seller: str) -> dict:
    who = {"seller_id": f"s-{number % 4}", "device_id": f"d-{number % 3}", "ip": "198.18.0.7"}
    return {
        "trade_id": f"check-{number}",
        "card": {
            "card_type": "jd_ecard",
            "card_form": "virtual",
            "face_value": {"amount_fen": 50_000},
            "expires_on": "2028-12-31",
        },
        "seller": who | {"payout_account": f"p-{number % 5}"} | seller,
    }


def ask(client: TestClient, body: dict) -> dict:
    response = client.post("/v1/quotes", json=body)
    assert response.status_code == 200, response.text
    return response.json()


def tell(client: TestClient, kind: str, clock: Clock, **more) -> None:
    body = {"event_id": f"{kind}-{more}", "kind": kind, "happened_at": clock.now.isoformat()} | more
    response = client.post("/v1/events", json=body)
    assert response.status_code == 200, response.text


def trade_some(client: TestClient, clock: Clock) -> None:
    """Quotes with acceptances, resales, labels, a correction and a market rate between them."""
    for number in range(8):
        clock.forward(minutes=7)
        ask(client, submission(number))
        if number % 2:
            clock.forward(seconds=20)
            tell(client, "accepted", clock, trade_id=f"check-{number}")
            clock.forward(minutes=9)
            tell(client, "resold", clock, trade_id=f"check-{number}", rate=0.93)
        if number in (2, 3):
            tell(client, "fraud_confirmed", clock, trade_id=f"check-{number}")
    clock.forward(hours=1)
    tell(client, "fraud_cleared", clock, trade_id="check-2")
    rate = {"card_type": "jd_ecard", "source": "a buyer", "side": "buyer_bid", "rate": 0.94}
    tell(client, "market_observed", clock, **rate)
    clock.forward(minutes=1)
    ask(client, submission(8))


def check(workspace) -> Consistency:
    return check_consistency(workspace, registry=FEATURES, newest=100, progress=lambda done, total: None)


def test_quotes_are_answered_from_what_training_will_see(client, clock, live_workspace):
    """Every feature of every quote equals its offline value, with events of every kind in between."""
    trade_some(client, clock)
    found = check(live_workspace)
    assert (found.quotes, found.unknown_trades) == (9, 0)
    assert set(found.counts) == set(FEATURES.names())
    late = {item.feature for item in found.differences if item.kind == "late"}
    assert found.total("equal") == 9 * len(FEATURES) - len(found.differences)
    assert found.faults == 0
    assert all(
        "fraud" in name or "labels" in name for name in late
    )  # the correction rewrites what was known before


def test_a_wrong_value_is_found(client, clock, desk, live_workspace, capsys):
    """A quote that was answered from another value is named with both values, and the command fails."""
    trade_some(client, clock)
    with desk.data.transaction() as connection:
        row = connection.execute(sa.select(quote_features)).mappings().first()
        values = msgspec.msgpack.decode(row["values"])
        values[list(FEATURES.names()).index("card_face_cny")] = 1.0
        changed = msgspec.msgpack.encode(values)
        connection.execute(
            sa.update(quote_features)
            .where(quote_features.c.quote_id == row["quote_id"])
            .values({"values": changed})
        )
    found = check(live_workspace)
    wrong = [item for item in found.differences if item.kind == "different"]
    assert [(item.feature, item.logged, item.offline) for item in wrong] == [("card_face_cny", 1.0, 500.0)]
    with pytest.raises(SystemExit):
        main(["features", "check", "--home", str(live_workspace.home), "--json"])
    report = json.loads(capsys.readouterr().out)
    assert report["features"]["card_face_cny"] == {"equal": 8, "different": 1}


def test_what_is_told_late_is_called_late(client, desk, clock, live_workspace, monkeypatch):
    """A trade that stands before a quote but was told after the quote had read explains the quote's differences."""
    clock.forward(hours=1)
    trade = desk.engine.trade_of(schemas_submission(submission(1)), now=clock.now)
    read = desk.engine.read([trade])  # one worker reads, and another is quicker with an earlier trade
    clock.now -= timedelta(seconds=1)
    ask(client, submission(5))
    clock.forward(seconds=1)
    monkeypatch.setattr(Engine, "read", lambda *_, **__: read)
    ask(client, submission(1))
    found = check(live_workspace)
    assert found.faults == 0
    assert found.total("late") > 0
    assert {item.trade_id for item in found.differences} == {"check-1"}


def test_a_state_that_was_away_catches_up(client, desk, clock, monkeypatch):
    """While states cannot be read or written, answers say so and nobody is paid; afterwards nothing is missing."""
    clock.forward(hours=1)
    ask(client, submission(1))
    monkeypatch.setattr("pipelines.breaker.Breaker.rest_seconds", lambda _: 0.0)

    def away(*_: object, **__: object) -> None:
        raise OnlineStoreUnavailable("online store: away")

    with monkeypatch.context() as broken:
        broken.setattr(FeatureStore, "read_states", away)
        clock.forward(minutes=1)
        quote = ask(client, submission(2, seller_id="s-1"))
        score = client.post("/v1/fraud-scores", json=submission(3)).json()
    assert quote["degraded"] == ["feature_store_unavailable"]
    assert quote["decision"] != "pay"
    assert score["degraded"] == ["feature_store_unavailable"]
    assert desk.log.live.applied == desk.data.log_head - 1
    clock.forward(minutes=1)
    again = desk.engine.trade_of(schemas_submission(submission(4, seller_id="s-1")), now=clock.now)
    ask(client, submission(9))
    assert desk.log.live.applied == desk.data.log_head
    assert desk.engine.live.answer(again).values["seller_count_1h"] == 3  # 1, 2 and 9


def schemas_submission(body: dict):
    from serving.api.schemas import Submission

    return Submission.model_validate(body)


def test_a_service_that_was_down_is_not_rebuilt(client, desk, clock, live_workspace, monkeypatch):
    """A restart after quotes and events tells the states what they missed; it does not start over."""
    clock.forward(hours=1)
    ask(client, submission(1))
    monkeypatch.setattr(Round, "write", lambda *_, **__: None)  # as if the worker died in between
    ask(client, submission(2, seller_id="s-1"))
    monkeypatch.undo()
    monkeypatch.setattr(live_state, "rebuild_live_state", lambda *_, **__: pytest.fail("rebuilt"))
    restarted = desk_of(live_workspace, clock)
    clock.forward(minutes=1)
    with client_of(restarted) as later:
        ask(later, submission(3, seller_id="s-1"))
    assert restarted.log.live.applied == restarted.data.log_head
    assert check(live_workspace).faults == 0


def test_an_import_rebuilds_the_states(client, desk, clock, live_workspace):
    """States that stand for other tables are rebuilt at the next start, and the check still finds no fault."""
    trade_some(client, clock)
    collect_workspace(live_workspace)
    stamp = live_workspace.home / live_state.STAMP
    stamp.write_text(json.dumps(json.loads(stamp.read_text()) | {"tables": {}}))
    log = live_state.open_live_log(
        live_workspace,
        store=feature_store(live_workspace),
        data=ApplicationData(live_workspace.application_url),
    )
    clock.forward(minutes=5)
    rebuilt = live_state.prepare_live_state(
        live_workspace,
        log=log,
        store=feature_store(live_workspace),
        now=clock.now,
        progress=lambda done, total: None,
    )
    assert rebuilt
    clock.forward(minutes=5)
    with client_of(desk_of(live_workspace, clock)) as later:
        ask(later, submission(3) | {"trade_id": "after-the-rebuild"})
    assert check(live_workspace).faults == 0


def test_the_command_rebuilds_and_says_how_many(client, clock, live_workspace, capsys):
    """`huika features rebuild` writes every entity's state and prints how many."""
    clock.forward(hours=1)
    ask(client, submission(1))
    main_or_exit(["features", "rebuild", "--home", str(live_workspace.home)])
    assert "entity states written from" in capsys.readouterr().out


def main_or_exit(words: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 0


def test_quotes_know_which_records_they_had_seen(client, desk: Desk, clock):
    """The number of the last record a quote has seen is kept with its features."""
    clock.forward(hours=1)
    ask(client, submission(1))
    ask(client, submission(2))
    rows = desk.data.rows(sa.select(quote_features).order_by(quote_features.c.seq))
    assert [row["seq"] for row in rows] == [desk.data.log_head - 2, desk.data.log_head - 1]


def test_an_emptied_store_is_rebuilt(client, desk, clock, live_workspace):
    """A store that lost its states (a Redis that was restarted) is filled again at the next start; until then the
    answers say so."""
    clock.forward(hours=1)
    ask(client, submission(1))
    store = feature_store(live_workspace)
    store.clear_states()
    clock.forward(minutes=1)
    assert ask(client, submission(2))["degraded"][-1] == "feature_store_unavailable"
    clock.forward(minutes=1)
    with client_of(desk_of(live_workspace, clock)) as later:
        assert ask(later, submission(3))["degraded"] == []
    probe = desk.engine.trade_of(schemas_submission(submission(5)), now=clock.now)
    assert desk_of(live_workspace, clock).engine.live.answer(probe).values["seller_count_1h"] == 1


def test_a_batch_is_in_order(client, clock, live_workspace):
    """More quotes than a state keeps whole, sent at once: each saw those before it, as training will."""
    clock.forward(hours=1)
    body = {"submissions": [submission(number) for number in range(70)]}
    answer = client.post("/v1/quotes/batch", json=body).json()
    assert len({item["quote"]["submitted_at"] for item in answer["results"]}) == 70
    found = check(live_workspace)
    assert (found.quotes, found.faults, found.total("late")) == (70, 0, 0)


def test_asking_again_leaves_the_moment(client, clock, live_workspace):
    """A trade quoted again, also with an earlier moment, and an imported one keep the moment they came with."""
    stored = live_workspace.tables.read("trades").slice(0, 1).to_pylist()[0]
    clock.forward(hours=1)
    ask(client, submission(1))
    clock.forward(minutes=3)
    ask(client, submission(1) | {"submitted_at": (clock.now - timedelta(minutes=4)).isoformat()})
    collect_workspace(live_workspace)
    rows = {row["trade_id"]: row for row in live_workspace.tables.read("trades").to_pylist()}
    assert rows["check-1"]["submitted_at"] == clock.now - timedelta(minutes=3)
    assert rows[stored["trade_id"]]["submitted_at"] == stored["submitted_at"]
    assert check(live_workspace).faults == 0


def test_a_broken_stamp_is_a_missing_one(client, clock, live_workspace):
    """An unreadable note of what the states stand for leads to a rebuild, not to an error."""
    (live_workspace.home / live_state.STAMP).write_text("")
    collect_workspace(live_workspace)
    clock.forward(minutes=1)
    assert desk_of(live_workspace, clock).engine.live.generation
    assert json.loads((live_workspace.home / live_state.STAMP).read_text())["tables"]


def test_the_newer_of_two_labels_is_corrected(client, desk, clock):
    """What a new label corrects is the newest one known, told or imported."""
    clock.forward(hours=1)
    ask(client, submission(1))
    tell(client, "fraud_confirmed", clock, trade_id="check-1")
    clock.forward(hours=1)
    tell(client, "fraud_cleared", clock, trade_id="check-1")
    clock.forward(hours=1)
    probe = desk.engine.trade_of(schemas_submission(submission(5)), now=clock.now)
    values = desk.engine.live.answer(probe).values
    assert (values["seller_labels_all"], values["seller_frauds_all"], values["link_frauds"]) == (1, 0, 0)
