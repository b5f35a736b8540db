"""Daily moves in a backtest are held as the live service holds them, from what was known the day before."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from features.catalogue import workspace_catalogue
from features.rows import to_microseconds
from models.policy import PricePolicy
from models.quoting import ModelPair, Terms
from pipelines.champions import load_pair
from pipelines.reference_prices import china_days
from pipelines.terms import terms_of
from pipelines.training.backtest import BacktestJob, read_past
from pipelines.training.backtest_ledger import answered
from pipelines.training.backtest_moves import Moves
from pipelines.training.examples import Examples
from pipelines.wiring import model_registry
from pipelines.workspace import Workspace
from tests.conftest import TODAY

SINCE = TODAY - timedelta(days=40)
JUMP_DAY = 20
"""Of the period: from here on the market stands elsewhere."""


@pytest.fixture(scope="module")
def home(trained_home: Path) -> Workspace:
    return Workspace.open(trained_home)


@pytest.fixture(scope="module")
def period(home: Workspace) -> Examples:
    job = BacktestJob(since=SINCE, until=TODAY)
    return read_past(home, job=job, progress=lambda done, total: None).period


def jumped(examples: Examples, by: float) -> Examples:
    """The trades in a market whose prices jump on a day."""
    later = china_days(examples.submitted_ms) >= first_day(examples) + JUMP_DAY
    names = [name for name in examples.columns if name.startswith(("market_competitor", "market_buyer"))]
    levels = [name for name in names if name.endswith(("best", "worst", "mean", "level", "7d", "24h"))]
    moved = {name: examples.columns[name] + by * later for name in levels if "volatility" not in name}
    return replace(examples, columns={**examples.columns, **moved})


def first_day(examples: Examples) -> int:
    return int(china_days(examples.submitted_ms).min())


def moves_of(home: Workspace, examples: Examples, **price: float) -> tuple[Moves, Examples, Terms]:
    policy = PricePolicy(exploration_half_width=0.0, move_cap=0.02).model_copy(update=price)
    return Moves(workspace_catalogue(home.tables)), examples, replace(terms_of(home), price=policy)


@pytest.mark.parametrize("by", [0.05, -0.1])
def test_reference_prices_keep_to_the_cap_through_a_jump(home, period, by):
    """With a jump of the market the largest daily move is the cap's, and prices are held; without a cap it is not."""
    pair = load_pair(model_registry(home))
    moves, examples, terms = moves_of(home, jumped(period, by))
    before = moves.before(examples, models=pair, terms=terms)
    found = moves.figures()
    assert found.moves > 100
    assert found.rise <= terms.price.move_cap + 1e-9
    catalogue = workspace_catalogue(home.tables)
    said = answered(examples, models=pair, terms=terms, catalogue=catalogue, before=before)
    free = answered(examples, models=pair, terms=terms, catalogue=catalogue)
    np.testing.assert_array_equal(said.uncapped_rate, free.centre_rate)
    assert (np.abs(said.centre_rate - free.centre_rate) > 0.005).mean() > 0.003
    if by > 0:
        assert found.fall <= terms.price.move_cap_down + 1e-9
        open_moves, _, loose = moves_of(home, examples, move_cap=1.0, move_cap_down=1.0)
        open_moves.before(examples, models=pair, terms=loose)
        assert open_moves.figures().rise > 0.03


def test_a_day_is_measured_from_earlier_days_only(home, period):
    """What trades of a day and after it look like changes nothing of what that day is measured from."""
    pair = load_pair(model_registry(home))
    day = first_day(period) + JUMP_DAY
    earlier = np.flatnonzero(china_days(period.submitted_ms) <= day)
    moves, examples, terms = moves_of(home, period)
    honest = moves.before(examples, models=pair, terms=terms)
    moves, examples, terms = moves_of(home, jumped(period, 0.3))
    other = moves.before(examples, models=pair, terms=terms)
    np.testing.assert_array_equal(honest.rate[earlier], other.rate[earlier])
    assert np.isnan(honest.rate[china_days(period.submitted_ms) == first_day(period)]).all()
    assert (honest.rate != other.rate)[np.isfinite(honest.rate)].any()


def test_steps_of_one_backtest_go_on_from_each_other(home, period):
    """Cut in two in the middle of a day, the period is measured from the same prices."""
    pair = load_pair(model_registry(home))
    moves, examples, terms = moves_of(home, period)
    whole = moves.before(examples, models=pair, terms=terms)
    cut = to_microseconds(SINCE + timedelta(days=JUMP_DAY, hours=5))
    parts = [
        np.flatnonzero(examples.submitted_at < cut),
        np.flatnonzero(examples.submitted_at >= cut),
    ]
    moves, examples, terms = moves_of(home, period)
    found = [moves.before(examples.rows(rows), models=pair, terms=terms) for rows in parts]
    np.testing.assert_array_equal(np.concatenate([part.rate for part in found]), whole.rate)


def test_without_a_model_or_a_cap_nothing_is_measured(home, period):
    """A fallback is not capped, nor is a policy without caps; then there are no moves to report."""
    moves, examples, terms = moves_of(home, period)
    assert moves.before(examples, models=ModelPair(discount=None, fraud=None), terms=terms) is None
    moves, examples, terms = moves_of(home, period, move_cap=0.0, move_cap_down=0.0)
    assert moves.before(examples, models=load_pair(model_registry(home)), terms=terms) is None
    assert moves.figures().moves == 0
