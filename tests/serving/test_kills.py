"""A worker killed at random points loses no trade and pays none twice. `huika bench kills` does it 500 times."""

from __future__ import annotations

from serving.commands.bench_kills import run_drill


def test_kills_lose_nothing_and_pay_nothing_twice(tmp_path):
    """A few trades with dead cards and silent payouts, a few kills: every trade ends, the books sum to zero."""
    found = run_drill(tmp_path, trades=12, kills=4, seed=3)
    assert found.wrong == ()
    assert found.kills >= 4
    assert sum(found.states.values()) >= 12
