"""A worker killed at random points loses no trade and pays none twice. `huika bench kills` does it 500 times."""

from __future__ import annotations

import pytest

from serving.commands.bench_kills import run_drill


@pytest.mark.parametrize(("storage", "database_kills"), [("sqlite", 0), ("postgresql", 1)])
def test_kills_lose_nothing_and_pay_nothing_twice(storage, database_kills):
    """A few trades with dead cards and silent payouts, a few kills of the worker and of the database: every trade ends,
    the books sum to zero."""
    found = run_drill(trades=12, kills=3, database_kills=database_kills, storage=storage, seed=3)
    assert found.judged.wrong == ()
    assert sum(found.judged.states.values()) == 12
