"""What a client is told while the application database is away, and what the service can do without it."""

from __future__ import annotations

import asyncio
import os
import sys

import pytest
from sqlalchemy.exc import OperationalError

from pipelines.databases import DatabaseAway
from pipelines.screening.list_data import REFRESH
from serving.api.recovery import Parent, Recovery
from serving.commands import serve
from serving.refusals import Refusal
from tests.serving.test_api import ask, event, submission


@pytest.fixture
def without_database(monkeypatch):
    """Call it, and every connection fails from then on; undone by the test's end."""

    def away(*_: object, **__: object) -> None:
        raise OperationalError("", None, OSError("gone"))

    def leave() -> pytest.MonkeyPatch:
        monkeypatch.setattr("sqlalchemy.engine.Engine.connect", away)
        monkeypatch.setattr("sqlalchemy.engine.Engine.begin", away)
        return monkeypatch

    return leave


def test_without_the_database_nothing_is_promised(client, clock, without_database):
    """Quotes and events are refused by name with a time to ask again; the same key then brings one quote."""
    known = ask(client, submission())
    patch = without_database()
    posts = {"/v1/quotes": submission(), "/v1/events": event("declined", known, clock)}
    for route, body in posts.items():
        response = client.post(route, json=body, headers={"Idempotency-Key": "k1"})
        assert (response.status_code, response.json()["code"]) == (503, "not_recorded")
        assert response.headers["Retry-After"] == "1"
        assert response.headers["content-type"] == "application/problem+json"
    found = client.get(f"/v1/quotes/{known['quote_id']}")
    assert (found.status_code, found.json()["code"]) == (503, "storage_unavailable")
    patch.undo()
    first = client.post("/v1/quotes", json=submission(), headers={"Idempotency-Key": "k1"}).json()
    again = client.post("/v1/quotes", json=submission(), headers={"Idempotency-Key": "k1"}).json()
    assert first == again


def test_without_the_database_scores_and_the_board_go_on(client, clock, without_database):
    """What needs nothing stored is answered, with the lists as last known."""
    ask(client, submission())
    assert client.get("/v1/prices").status_code == 200
    without_database()
    clock.now += REFRESH
    score = client.post("/v1/fraud-scores", json=submission())
    assert score.status_code == 200, score.text
    assert client.get("/v1/prices").status_code == 200


def test_lost_states_are_written_by_a_process_of_their_own(tmp_path, monkeypatch):
    """The command that rebuilds them is run once, however many workers look, and again after a failure."""
    ran = tmp_path / "ran"
    code = f"import sys, time; open({str(ran)!r}, 'a').write(' '.join(sys.argv[1:]) + '\\n'); time.sleep(0.3)"
    monkeypatch.setattr("serving.api.recovery.COMMAND", code)
    monkeypatch.setattr("serving.api.recovery.LOOK_SECONDS", 0.01)

    def are_missing() -> bool:
        return not ran.exists() or len(ran.read_text().splitlines()) < 2

    async def look() -> None:
        keepers = [asyncio.create_task(Recovery(tmp_path, are_missing).keep()) for _ in range(3)]
        while are_missing():
            await asyncio.sleep(0.02)
        for keeper in keepers:
            keeper.cancel()
        await asyncio.gather(*keepers, return_exceptions=True)

    asyncio.run(asyncio.wait_for(look(), timeout=30))
    assert ran.read_text().splitlines() == [f"features rebuild --if-missing --home {tmp_path}"] * 2


def test_a_worker_ends_with_its_service(monkeypatch):
    """A worker whose parent is gone ends itself in order."""
    ended: list[int] = []
    monkeypatch.setattr(os, "kill", lambda process_id, number: ended.append(process_id))
    asyncio.run(Parent(os.getppid() + 1).keep())
    assert ended == [os.getpid()]


def test_a_second_service_is_refused(workspace, tmp_path, monkeypatch):
    """One service on a workspace; who comes too early after a killed one waits for its workers first."""
    monkeypatch.setattr(serve, "LEFT_SECONDS", 0.2)
    monkeypatch.setattr(os, "set_inheritable", lambda *_: None)
    home = type(workspace)(home=tmp_path, settings=workspace.settings)
    serve.hold_workspace(home)
    with pytest.raises(Refusal, match="already running"):
        serve.hold_workspace(home)


def test_a_start_without_the_database_says_so(tmp_path, capsys, monkeypatch):
    """`huika serve` waits for a database that is starting too, then gives up in one line."""
    from pipelines.workspace import Workspace
    from serving.cli import main

    def away(*_: object, **__: object) -> None:
        raise DatabaseAway("the application database cannot be reached: OperationalError")

    Workspace.open(tmp_path)
    monkeypatch.setattr("pipelines.databases.await_database", away)
    monkeypatch.setattr(os, "execv", lambda *_: sys.exit("started"))
    with pytest.raises(SystemExit) as ended:
        main(["serve", "--home", str(tmp_path), "--port", "18999"])
    assert ended.value.code == 1
    assert "cannot be reached" in capsys.readouterr().err
