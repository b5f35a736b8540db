"""Rolling ranges: the champion's resale ranges from newer resales, everything else as it was."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from features.definitions import FEATURES
from features.training_set import NothingToTrainOn
from models.discount.context import card_context
from models.discount.model import DiscountModel
from models.discount.resale import ResaleEstimate, ResaleModel
from models.evaluation.coverage import range_metrics
from models.frames import frame_of_columns
from models.golden import write_golden
from models.registry import CHAMPION, PREVIOUS, ModelVersion, Submission
from pipelines.feature_pins import FeaturesGone, pins, write_versions
from pipelines.training.backtest_ledger import joined
from pipelines.training.collecting import collect_workspace
from pipelines.training.examples import Examples, combined, stored_examples
from pipelines.training.splitting import DAY_US
from pipelines.wiring import model_registry
from pipelines.workspace import Workspace

LOOK_BACK = timedelta(days=90)
LEAST_RESALES = 50
EXAMPLE_ROWS = 5
WEEK_US = 7 * DAY_US


class CannotRecalibrate(LookupError):
    """There is no champion, its features changed, or too few cards were resold lately."""


@dataclass(frozen=True)
class Recalibrated:
    """The new champion and, on the same newer resales, the share inside p05 to p95 before."""

    version: ModelVersion
    resales: int
    coverage_before: float


def recalibrate(workspace: Workspace, *, now: datetime) -> Recalibrated:
    """Register the champion with ranges from resales it did not learn from, and make that version the champion.

    They are those held back in training, and those of trades submitted after it, within 90 days. ``huika rollback``
    brings the former ranges back. Raises CannotRecalibrate.
    """
    registry = model_registry(workspace)
    champion = registry.find("discount", CHAMPION)
    if champion is None:
        raise CannotRecalibrate("there is no discount model yet; train one with `huika train discount`")
    folder = registry.folder(champion)
    try:
        changed = pins(folder, registry=FEATURES)
    except FeaturesGone as error:
        raise CannotRecalibrate(f"the champion cannot be used any more: {error}") from None
    if changed:
        raise CannotRecalibrate("features changed since the champion was trained; train a new one instead")
    model = DiscountModel.load(folder)
    learned = datetime.fromisoformat(champion.tags["trained_until"])
    resold = _resold(workspace, since=max(learned, now - LOOK_BACK))
    before = _coverage(model.resale, resold)
    newer = replace(model, resale=with_newer_ranges(model.resale, resold))
    with tempfile.TemporaryDirectory() as work:
        saved = Path(work) / "discount"
        newer.save(saved)
        write_versions(saved, registry=FEATURES, model="discount")
        write_golden(saved, model=newer, columns=resold.columns)
        submission = Submission(
            name="discount",
            folder=saved,
            loader="models.discount.pyfunc",
            example=frame_of_columns(resold.columns, EXAMPLE_ROWS),
            params={"recalibrated_from": champion.version, "resales": len(resold)},
            metrics={"range_coverage_90_before": before},
            plots=(),
            tags=dict(champion.tags)
            | {"recalibrated_from": champion.version, "recalibrated_at": now.isoformat()},
        )
        version = registry.register(submission, alias=CHAMPION)
    registry.move_alias("discount", PREVIOUS, champion.version)
    return Recalibrated(version=version, resales=len(resold), coverage_before=before)


def _resold(workspace: Workspace, *, since: datetime) -> Examples:
    """Trades submitted since then whose card is resold, with their features."""
    collect_workspace(workspace)
    try:
        examples = stored_examples(workspace, model="discount", since=since)
    except NothingToTrainOn:
        raise CannotRecalibrate(f"no trade was submitted since {since:%Y-%m-%d}") from None
    resold = examples.rows(np.flatnonzero(np.isfinite(examples.resale_rate)))
    if len(resold) < LEAST_RESALES:
        raise CannotRecalibrate(
            f"{len(resold)} cards submitted since {since:%Y-%m-%d} are resold, at least {LEAST_RESALES} needed; the "
            "model has learned from the earlier ones, which say nothing about its errors"
        )
    return resold


def with_newer_ranges(model: ResaleModel, resold: Examples) -> ResaleModel:
    """The model with ranges that newer resales have been added to; they must be resold, and unknown in training."""
    return model.recalibrated(
        columns=resold.columns,
        context=card_context(resold.columns, len(resold)),
        resale_rate=resold.resale_rate,
        submitted_at=resold.submitted_ms,
        resold_at=resold.resold_at // 1000,
    )


def rolled_estimates(
    model: ResaleModel, later: Examples, *, since: int, days: int, every: int
) -> tuple[ResaleEstimate, Examples]:
    """What would have been said of the trades of ``days`` days from ``since`` (µs) on, with ranges recalibrated every
    so many days on the resales known by then; and those trades, in the same order.

    later: trades that the model did not learn from, with every outcome known now.
    """
    estimates, asked = [], []
    for day in range(0, days, every):
        now = since + day * DAY_US
        known = later.rows(np.flatnonzero((later.resold_at >= 0) & (later.resold_at < now)))
        rolled = with_newer_ranges(model, known) if len(known) >= LEAST_RESALES else model
        until = now + min(every, days - day) * DAY_US
        today = later.rows(np.flatnonzero((later.submitted_at >= now) & (later.submitted_at < until)))
        context = card_context(today.columns, len(today))
        estimates.append(rolled.estimate(columns=today.columns, context=context))
        asked.append(today)
    return joined(estimates), combined(asked, np.concatenate)


def _coverage(model: ResaleModel, resold: Examples) -> float:
    estimate = model.estimate(columns=resold.columns, context=card_context(resold.columns, len(resold)))
    week = resold.submitted_at // WEEK_US
    return range_metrics(estimate, resold.resale_rate, resold.columns["card_type"], week).coverage_90
