"""A backup brings everything back: the database's quotes and events, and from them the live state."""

from __future__ import annotations

import shutil
from datetime import timedelta

import pytest

from features.definitions import FEATURES
from pipelines.consistency import check_consistency
from pipelines.workspace import Workspace
from tests.serving.conftest import Clock, client_of, desk_of


def submission(number: int) -> dict:
    return {
        "trade_id": f"kept-{number}",
        "card": {"card_type": "jd_ecard", "card_form": "virtual", "face_value": {"amount_fen": 50_000}},
        "seller": {"seller_id": f"s-{number % 3}", "device_id": "d-1", "payout_account": f"p-{number % 3}"},
    }


def trade(client, clock: Clock, numbers: range) -> list[dict]:
    """Quotes, every second of which is accepted."""
    quotes = []
    for number in numbers:
        clock.forward(minutes=3)
        response = client.post("/v1/quotes", json=submission(number))
        assert response.status_code == 200, response.text
        quotes.append(response.json())
        clock.forward(seconds=5)
        if number % 2 and not quotes[-1]["no_offer"] and quotes[-1]["decision"] != "refuse":
            about = {"trade_id": quotes[-1]["trade_id"], "happened_at": clock.now.isoformat()}
            told = client.post("/v1/events", json=about | {"kind": "accepted", "event_id": f"e-{number}"})
            assert told.status_code == 200, told.text
    return quotes


def test_a_restored_database_rebuilds_the_live_state(live_workspace, clock, tmp_path):
    """From older tables, a newer database and no live state the next quotes are answered as if nothing had been."""
    clock.forward(hours=1)
    with client_of(desk_of(live_workspace, clock)) as client:
        trade(client, clock, range(3))
    saved = tmp_path / "saved"
    shutil.copytree(live_workspace.home, saved, ignore=shutil.ignore_patterns("feast", "huika.db*"))
    with client_of(desk_of(live_workspace, clock)) as client:
        quotes = trade(client, clock, range(3, 9))
    for path in live_workspace.home.glob("huika.db*"):
        shutil.copy(path, saved / path.name)
    (saved / "live_state.json").unlink()

    restored = Workspace.open(saved)
    clock.forward(minutes=1)
    desk = desk_of(restored, clock)
    with client_of(desk) as client:
        for quote in quotes:
            assert client.get(f"/v1/quotes/{quote['quote_id']}").json() == quote
        seen = client.post("/v1/quotes", json=submission(9)).json()
    assert seen["degraded"] == []
    row = next(item for item in desk.data.all_quotes() if item["trade_id"] == "kept-9")
    assert row["submitted_at"] - clock.now < timedelta(seconds=1)
    found = check_consistency(restored, registry=FEATURES, newest=100, progress=lambda done, total: None)
    assert (found.quotes, found.faults) == (10, 0)


@pytest.mark.parametrize("running", [True, False])
def test_states_are_rebuilt_while_a_service_records(live_workspace, clock, running, monkeypatch):
    """What is recorded between the reading of the tables and the end of a rebuild is told, once."""
    from pipelines import live_state
    from pipelines.application_data import ApplicationData
    from pipelines.training.collecting import with_collected
    from pipelines.wiring import feature_store

    desk = desk_of(live_workspace, clock)
    clock.forward(hours=1)
    with client_of(desk) as client:
        trade(client, clock, range(4))
        clock.forward(seconds=1)
        store = feature_store(live_workspace)
        data = ApplicationData(live_workspace.application_url)
        log = live_state.open_live_log(live_workspace, store=store, data=data)
        backfill = live_state.backfill

        def slow(**parts):
            if running:
                quotes = trade(client, clock, range(4, 7))
                assert {code for quote in quotes for code in quote["degraded"]} == {
                    "feature_store_unavailable"
                }
            return backfill(**parts)

        monkeypatch.setattr(live_state, "backfill", slow)
        with_collected(
            live_workspace,
            lambda held: live_state.rebuild_live_state(
                live_workspace,
                log=log,
                store=store,
                now=clock.now,
                progress=lambda done, total: None,
                held=held,
            ),
        )
        trade(client, clock, range(7, 9))
    assert log.live.applied == data.log_head
    assert (
        check_consistency(
            live_workspace, registry=FEATURES, newest=100, progress=lambda done, total: None
        ).faults
        == 0
    )
