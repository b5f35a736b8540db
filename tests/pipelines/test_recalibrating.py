"""Rolling ranges: newer resales correct the range, and nothing else of the champion changes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.discount.model import DiscountModel
from models.registry import CHAMPION, PREVIOUS
from pipelines.training.examples import stored_examples
from pipelines.training.recalibrating import CannotRecalibrate, recalibrate, rolled_estimates
from pipelines.training.splitting import DAY_US
from pipelines.wiring import model_registry
from pipelines.workspace import Workspace
from tests.conftest import EARLIER, TODAY, copy_without_files


@pytest.fixture(scope="module")
def rolled(earlier_home: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, DiscountModel]:
    """A workspace whose champion learned until 60 days ago and was rolled forward; and the champion before."""
    workspace = copy_without_files(earlier_home, tmp_path_factory.mktemp("rolled") / "home")
    before = _load(workspace, CHAMPION)
    found = recalibrate(workspace, now=TODAY)
    assert found.resales >= 200
    assert 0.5 < found.coverage_before <= 1.0
    return workspace, before


def _load(workspace: Workspace, alias: str) -> DiscountModel:
    registry = model_registry(workspace)
    return DiscountModel.load(registry.folder(registry.version("discount", alias)))


def test_only_the_ranges_change(rolled: tuple[Workspace, DiscountModel]) -> None:
    """The new champion has other ranges and the very same trees, curve and table; the old one can come back."""
    workspace, before = rolled
    after = _load(workspace, CHAMPION)
    assert after.resale.ranges != before.resale.ranges
    assert after.table == before.table
    assert after.acceptance.pooled == before.acceptance.pooled
    for name, booster in after.resale.boosters.items():
        assert booster.model_to_string() == before.resale.boosters[name].model_to_string()
    assert _load(workspace, PREVIOUS).resale.ranges == before.resale.ranges


def test_without_a_model_there_is_nothing_to_correct(own_tables: Workspace) -> None:
    """Tables alone are refused by name."""
    with pytest.raises(CannotRecalibrate, match="no discount model"):
        recalibrate(own_tables, now=TODAY)


def test_resales_that_the_model_learned_from_are_refused(trained_home: Path) -> None:
    """A champion that knows the newest trades has nothing to be corrected by."""
    with pytest.raises(CannotRecalibrate, match=r"resold|no trade"):
        recalibrate(Workspace.open(trained_home), now=TODAY)


def test_ranges_hold_what_they_were_rolled_over(rolled: tuple[Workspace, DiscountModel]) -> None:
    """Quantiles at every level, in order, for the widest group."""
    workspace, _ = rolled
    levels = np.array(_load(workspace, CHAMPION).resale.ranges.quantiles["all"])
    assert np.all(np.diff(levels) > 0)


def test_rolled_estimates_know_only_what_was_known_then(rolled: tuple[Workspace, DiscountModel]) -> None:
    """Each day's ranges come from resales paid for before that day: what came later may be anything."""
    workspace, before = rolled
    later = stored_examples(workspace, model="discount", since=EARLIER)
    since, days = int(EARLIER.timestamp() * 1e6), 20
    estimate, asked = rolled_estimates(before.resale, later, since=since, days=days, every=1)
    assert len(asked) == np.count_nonzero(later.submitted_at < since + days * DAY_US)
    assert (np.diff(asked.submitted_at // DAY_US) >= 0).all()
    cut = since + 15 * DAY_US
    wild = replace(later, resale_rate=np.where(later.resold_at >= cut, 0.1, later.resale_rate))
    again, _ = rolled_estimates(before.resale, wild, since=since, days=days, every=1)
    early = asked.submitted_at < cut
    assert np.array_equal(again.p95[early], estimate.p95[early])
    assert not np.array_equal(again.p05[~early], estimate.p05[~early])
