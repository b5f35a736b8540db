"""The benchmarks of the live path, at sizes that only show that they run and say what they should."""

from __future__ import annotations

import re

import pytest

from serving.cli import main
from serving.commands import bench_live


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return int(ended.value.code or 0)


def test_a_history_is_replayed_and_equal(capsys: pytest.CaptureFixture[str]) -> None:
    """Every feature of every quote of a small market, told event by event into SQLite, equals its offline value."""
    assert run("bench", "replay", "--trades", 1_000, "--online", "sqlite") == 0
    out = capsys.readouterr().out
    told = re.search(r"([\d,]+) quotes of", out)
    assert told is not None
    # Trades of the rest of today are not made.
    assert 900 < int(told.group(1).replace(",", "")) <= 1_000
    assert "0 values differ" in out


def test_the_cost_of_quotes_and_events_is_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Reading, deriving, applying and a hot address each have their line."""
    monkeypatch.setattr(bench_live, "HOT_EVENTS", 1_000)
    assert run("bench", "live", "--trades", 2_000, "--quotes", 100, "--no-redis") == 0
    out = capsys.readouterr().out
    for line in ("read and derive", "read alone", "Submitted applied", "Labelled applied", "1,000 events"):
        assert line in out


def test_another_store_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown store is one line and exit code 1."""
    assert run("bench", "replay", "--online", "paper") == 1
    assert "memory, sqlite or redis" in capsys.readouterr().err
