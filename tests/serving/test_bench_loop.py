"""The benchmark of a model that learns from its own prices, on one short month of a small market."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from pipelines.simulation import World
from serving.cli import main
from serving.commands import bench_loop_months
from serving.commands.bench_loop import _line, _summary
from serving.commands.bench_loop_months import FIRST, ORIGINAL, OWN, months_of


def test_first_month_is_the_same_for_every_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before own prices were shown all logs are one, so the three models price the first month alike, but for what the
    month's own purchases tell of the market."""
    monkeypatch.setattr(bench_loop_months, "MONTH_DAYS", 5)
    world = World(trades=2_400, days=35, seed=12, start=date(2025, 11, 1))
    ((day, found),) = months_of(world, tmp_path, log_days=30)
    assert day == 30
    assert [figures.learns for figures in found] == [OWN, ORIGINAL, FIRST]
    own, original, first = found
    for other in (original, first):
        assert own.share == pytest.approx(other.share, abs=0.03)
        assert own.slope_error == other.slope_error
    assert own.share < 1.0
    assert 0.5 < own.slope < 2.0
    assert np.isfinite([own.expected, own.ece, own.half_width, own.no_offer]).all()
    better = replace(own, share=original.share + 0.01)
    assert _summary([[better, original, first]]).endswith("points by month: +1.0")
    assert f"{own.share:.1%}" in _line(own)


def test_days_must_leave_a_month(capsys: pytest.CaptureFixture[str]) -> None:
    """A market without a whole month after the platform's own log is refused."""
    with pytest.raises(SystemExit):
        main(["bench", "loop", "--days", "100", "--log-days", "90"])
    assert "leave no month" in capsys.readouterr().err
