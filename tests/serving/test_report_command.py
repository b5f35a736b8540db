"""`huika report`: what an analyst types, and what comes of it."""

from __future__ import annotations

import csv
from datetime import timedelta
from pathlib import Path

import pytest

from tests.conftest import TODAY
from tests.serving.command import run
from tests.serving.test_api import ask, submission


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_what_the_service_said_is_reported(client, clock, live_workspace, tmp_path, capsys):
    """Quotes given live are trades of the report, with the probability and decision that were told then."""
    quotes = []
    for _ in range(3):
        quotes.append(ask(client, submission()))
        clock.forward(minutes=3)
    told = {"event_id": "e-1", "kind": "fraud_confirmed", "trade_id": quotes[0]["trade_id"]}
    clock.forward(days=1)
    event = told | {"happened_at": clock.now.isoformat(), "source": "analyst"}
    assert client.post("/v1/events", json=event).status_code == 200
    out, folder = tmp_path / "page" / "fraud.html", tmp_path / "csv"
    home = live_workspace.home
    assert run("report", "fraud", out, "--from", TODAY.isoformat(), "--csv", folder, "--home", home) == 0
    printed = capsys.readouterr().out
    assert f"3 trades, fraud model version 1: {out}" in printed
    assert f"{len(list(folder.glob('*.csv')))} tables in {folder}" in printed
    facts = {row["what_en"]: row["value_en"] for row in read(folder / "about.csv")}
    assert facts["scores"].startswith("3 recorded when the trade was quoted; 0 computed now")
    assert facts["decisions"].startswith("3 of the service's quotes")
    matrix = {row["decision_en"]: row for row in read(folder / "outcomes.csv")}
    for decision in {quote["decision"] for quote in quotes}:
        assert int(matrix[decision]["trades"]) == sum(quote["decision"] == decision for quote in quotes)
    assert int(matrix["total"]["fraud"]) == 1
    judged = {row["analyst_said_en"]: row for row in read(folder / "analysts_and_model.csv")}
    assert int(judged["fraud"]["trades"]) == 1
    assert "<html" in out.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["page.txt"], "ends in .html"),
        (["page.html", "--from", "yesterday"], "is not a time"),
        (["page.html", "--from", (TODAY + timedelta(days=400)).isoformat()], "the trades reach from"),
        (["page.html", "--from", "2026-02-01", "--to", "2026-01-01"], "earlier than --to"),
    ],
)
def test_what_cannot_be_reported_is_one_line(live_workspace, tmp_path, capsys, arguments, message):
    """A refusal says why, with exit code 1, and leaves no file."""
    folder = tmp_path / "out"
    words = [folder / arguments[0], *arguments[1:]]
    assert run("report", "fraud", *words, "--home", live_workspace.home) == 1
    assert message in capsys.readouterr().err
    assert not folder.exists()


def test_a_workspace_that_is_not_there_is_not_made(tmp_path, capsys):
    """A mistyped folder is refused."""
    assert run("report", "fraud", tmp_path / "page.html", "--home", tmp_path / "nowhere") == 1
    assert "no workspace" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
