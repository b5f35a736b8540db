"""What is logged with a fraud model: parts, weeks and plots of the trades that judged it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pytest

from models.evaluation.fraud import DAY_MS, Judged
from models.registry import CHAMPION
from pipelines.settings import Settings
from pipelines.training.fraud_details import fraud_details
from pipelines.training.fraud_plots import fraud_plots
from pipelines.wiring import model_registry

ROWS = 1_200


def _judged() -> Judged:
    rng = np.random.default_rng(8)
    fraud = rng.random(ROWS) < 0.1
    return Judged(
        fraud=fraud,
        probability=np.clip(rng.normal(0.1 + 0.2 * fraud, 0.1), 0.001, 0.99),
        submitted_at=np.sort(rng.integers(0, 21 * DAY_MS, ROWS)),
        seller_id=rng.integers(0, 300, ROWS).astype(str).astype(object),
        action=rng.choice(np.array(["pay", "refuse"], dtype=object), ROWS),
        payout_fen=np.full(ROWS, 9_000),
        face_value_fen=np.full(ROWS, 10_000),
        weight=rng.choice([1.0, 20.0], ROWS),
    )


def test_details_name_interval_parts_and_weeks() -> None:
    """Interval of the average precision, parts by the features at hand, and the weeks since training."""
    columns = {"seller_count_all": np.tile([0.0, 3.0], ROWS // 2)}
    details = fraud_details(_judged(), columns=columns, trained_until_us=0, settings=Settings())
    figures = details.to_dict()
    assert figures["average_precision_low"] < details.interval.estimate < figures["average_precision_high"]
    assert figures["slice_new_sellers_trades"] == ROWS / 2
    assert figures["slice_profile_small_reviewed"] == 1.0
    assert figures["slice_profile_medium_refused"] == 0.0
    assert figures["slice_profile_head_refused"] > 0.0
    assert [week.week for week in details.weeks] == [1, 2, 3]
    again = fraud_details(_judged(), columns=columns, trained_until_us=0, settings=Settings())
    np.testing.assert_equal(again.to_dict(), figures)


@pytest.mark.parametrize("frauds", [True, False])
def test_plots_are_drawn_with_and_without_fraud(tmp_path: Path, frauds: bool) -> None:
    """Three pictures; a period without fraud, where half of the curves are not defined, is no error."""
    judged = _judged()
    judged = judged if frauds else replace(judged, fraud=np.zeros(ROWS, dtype=bool))
    weeks = fraud_details(judged, columns={}, trained_until_us=0, settings=Settings()).weeks
    drawn = fraud_plots(judged, weeks=weeks, settings=Settings(), folder=tmp_path)
    assert [path.name for path in drawn] == ["fraud.png", "fraud_cost.png", "fraud_weeks.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in drawn)


def test_a_registered_model_carries_parts_and_weeks(workspace) -> None:
    """The run of a trained model holds the figures of new sellers and of the first week after training."""
    version = model_registry(workspace).version("fraud", CHAMPION)
    client = mlflow.MlflowClient(tracking_uri=workspace.mlflow_url, registry_uri=workspace.mlflow_url)
    run = client.get_model_version("fraud", version.version).run_id
    assert run is not None
    metrics = client.get_run(run).data.metrics
    assert {"average_precision_low", "slice_new_sellers_trades", "slice_known_sellers_trades"} <= set(metrics)
    assert metrics["slice_new_sellers_trades"] + metrics["slice_known_sellers_trades"] == metrics["trades"]
    assert metrics["week_1_trades"] > 0
