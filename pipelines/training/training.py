"""`huika train`: from stored tables to registered models.

collect what the service recorded -> training set (features as of each trade) -> Feast -> split by time -> fit and
judge on later trades -> fit again on everything known -> register with figures, plots and where it came from.
"""

from __future__ import annotations

import logging
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import pyarrow as pa

from features.definitions import FEATURES
from features.training_set import ColumnsInFile, Progress, TrainingSet, paused_columns
from models.frames import frame_of_columns
from models.fraud.rules import RuleBook
from models.golden import write_golden
from models.registry import CHALLENGER, CHAMPION, ModelRegistry, ModelVersion, Submission
from pipelines.feature_pins import write_versions
from pipelines.model_checks import ModelRefused, load_registered
from pipelines.screening.rule_files import rule_book
from pipelines.settings import Settings
from pipelines.stored_features import stored_training_set
from pipelines.training import discount, fraud
from pipelines.training.collecting import collect_workspace
from pipelines.training.comparing import fairness_of, trained_until
from pipelines.training.discount_checks import Values, first_checks, values_of
from pipelines.training.discount_plots import discount_plots, value_plots
from pipelines.training.discount_worth import contender
from pipelines.training.examples import Examples, examples_of
from pipelines.training.fraud_details import fraud_details
from pipelines.training.fraud_plots import fraud_plots
from pipelines.training.promotion_checks import Check, Verdict, tags_of, with_verdict
from pipelines.training.splitting import DAY_US, Split
from pipelines.wiring import feature_store, model_registry
from pipelines.workspace import Workspace

log = logging.getLogger("huika")

ModelName = Literal["discount", "fraud"]
EXAMPLE_ROWS = 5
MODEL = "model"
"""Name of the judged model among the policies whose worth is told."""


class Metrics(Protocol):
    """Figures of a judged model."""

    def to_dict(self) -> dict[str, float]: ...


@dataclass(frozen=True)
class Trained:
    """One registered model: its version, alias, its figures on later trades, and how the trades were split.

    values: what a discount model's prices are worth on those trades, beside the log's and the rate table's. checks:
    what was asked of the first discount model of all before it went live; empty of any other."""

    version: ModelVersion
    alias: str
    metrics: Mapping[str, float]
    split: Split
    rows: int
    checks: tuple[Check, ...] = ()
    values: Values = field(default_factory=Values)


@dataclass(frozen=True)
class Job:
    """What to train: which models, on trades submitted in [since, until), known before until."""

    models: tuple[ModelName, ...]
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True)
class Listener:
    """What a caller may show: steps begun (``say``) and progress of the features."""

    say: Callable[[str], None]
    features: Progress


def train(workspace: Workspace, *, job: Job, listener: Listener) -> list[Trained]:
    """Train and register. The first model of its kind becomes champion, a later one challenger; so does a first
    discount model that trades it has not seen find worse than the log's prices or the rate table, or unfair.

    Raises NothingToTrainOn, TooLittleHistory, FraudTrainingError or DiscountFitError with what is missing, RulesError.
    """
    collect_workspace(workspace)
    listener.say("features")
    training_set = stored_training_set(
        workspace,
        since=job.since,
        until=job.until,
        progress=listener.features,
        paused=job.models,
    )
    listener.say("feature store")
    store = feature_store(workspace)
    store.register(registry=FEATURES, training_set=training_set.path)
    registry = model_registry(workspace)
    trained = []
    for name in job.models:
        store.save_dataset(
            registry=FEATURES,
            model=name,
            fingerprint=training_set.fingerprint,
            path=training_set.path,
            rows=len(training_set.trades),
            until=job.until,
        )
        with tempfile.TemporaryDirectory(dir=workspace.training_sets, prefix="retrieved-") as folder:
            path = Path(folder) / f"{name}.parquet"
            spine = training_set.trades.select(["trade_id", "submitted_at"])
            store.retrieve_into(path, registry=FEATURES, model=name, spine=spine)
            # The file stays open, and leaves nothing behind whenever this process ends.
            columns = ColumnsInFile(path, FEATURES, FEATURES.names(name))
        paused = paused_columns(training_set, FEATURES, name)
        examples = replace(examples_of(training_set.trades, columns), paused=paused)
        listener.say(f"{name} model")
        fit = partial(_fit_fraud, rules=rule_book(workspace.home)) if name == "fraud" else _fit_discount
        trained.append(_train_one(name, fit, examples, training_set, workspace, registry, job))
    return trained


def has_labels(trades: pa.Table) -> bool:
    """Whether a fraud model could be trained at all."""
    return trades["fraud"].null_count < len(trades)


def has_prices(trades: pa.Table) -> bool:
    """Whether a discount model could be trained at all."""
    return trades["resale_rate"].null_count < len(trades)


@dataclass(frozen=True)
class _Fitted:
    model: Any
    metrics: Metrics
    split: Split
    figures: tuple[Path, ...]
    details: Mapping[str, float] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    values: Values = field(default_factory=Values)


def _train_one(
    name: ModelName,
    fit: Callable[[Examples, Settings, Path], _Fitted],
    examples: Examples,
    training_set: TrainingSet,
    workspace: Workspace,
    registry: ModelRegistry,
    job: Job,
) -> Trained:
    with tempfile.TemporaryDirectory() as folder:
        work, settings = Path(folder), workspace.settings
        fitted = fit(examples, settings, work)
        fitted.model.save(work / name)
        write_versions(work / name, registry=FEATURES, model=name)
        write_golden(work / name, model=fitted.model, columns=examples.columns)
        checks: tuple[Check, ...] = ()
        alias = CHALLENGER if _has_champion(registry, name) else CHAMPION
        if alias == CHAMPION and name == "discount":
            checks = first_checks(fitted.values, fairness_of(workspace, [work / name], [fitted.model])[0])
            alias = CHALLENGER if with_verdict(checks, Verdict.FAILED) else CHAMPION
        submission = Submission(
            name=name,
            folder=work / name,
            loader=f"models.{name}.pyfunc",
            example=frame_of_columns(examples.columns, EXAMPLE_ROWS),
            params=_params(examples, fitted.split, settings),
            metrics={**fitted.metrics.to_dict(), **fitted.details},
            plots=fitted.figures,
            tags={
                **_tags(name, training_set, job, examples.submitted_at[examples.has_outcome]),
                **fitted.tags,
                **tags_of(checks),
            },
        )
        version = registry.register(submission, alias=alias)
    return Trained(
        version=version,
        alias=alias,
        metrics=fitted.metrics.to_dict(),
        split=fitted.split,
        rows=len(fitted.split.final),
        checks=checks,
        values=fitted.values,
    )


def _has_champion(registry: ModelRegistry, name: ModelName) -> bool:
    """Whether there is one that can answer: it may be damaged, or of a program whose formulas were others. Nothing can
    be compared with that, and a service does without it."""
    present = registry.find(name, CHAMPION)
    if present is None:
        return False
    try:
        load_registered(registry, name, present.version)
    except ModelRefused as error:
        log.warning("%s; what is trained now takes its place", error)
        return False
    return True


def _fit_fraud(examples: Examples, settings: Settings, work: Path, *, rules: RuleBook) -> _Fitted:
    split = fraud.split_fraud(examples, settings)
    judged = fraud.fit(examples.taken(split.train), registry=FEATURES, settings=settings)
    test = examples.rows(split.test)
    judged = fraud.rationed_judge(judged, examples, split, settings, rules=rules)
    seen = fraud.judged(judged, test, settings)
    details = fraud_details(seen, columns=test.columns, trained_until_us=split.cut, settings=settings)
    figures = fraud_plots(seen, weeks=details.weeks, settings=settings, folder=work)
    metrics = fraud.figures_of(seen, settings)
    facts = fraud.label_facts(examples)
    final = fraud.serving_model(
        examples, judged=judged, split=split, registry=FEATURES, settings=settings, rules=rules
    )
    final = fraud.with_label_facts(final, facts)
    return _Fitted(
        final, metrics, split, figures, {**details.to_dict(), **facts}, tags=fraud.absent_tag(final)
    )


def _fit_discount(examples: Examples, settings: Settings, work: Path) -> _Fitted:
    split = discount.split_discount(examples, settings)
    judged = discount.fit(examples.known_before(split.cut), registry=FEATURES, settings=settings)
    test = examples.rows(split.test)
    metrics = discount.judge(judged, test, settings)
    figures = discount_plots(model=judged, test=test, settings=settings, folder=work)
    values = values_of({MODEL: contender(judged, test, settings)})
    figures = (*figures, *value_plots(values.worths, folder=work))
    final = discount.fit(examples, registry=FEATURES, settings=settings)
    return _Fitted(final, metrics, split, figures, values.metrics(), values=values)


def _params(examples: Examples, split: Split, settings: Settings) -> dict[str, object]:
    return {
        "rows": len(examples),
        "train_rows": len(split.train),
        "test_rows": len(split.test),
        "final_rows": len(split.final),
        "test_from": np.datetime64(split.cut, "us").astype(str),
        "label_gap": split.label_gap,
        "maturity_days": round(split.maturity / DAY_US, 2),
        "seed": settings.training.seed,
        "features": FEATURES.version(),
    }


def _tags(name: ModelName, training_set: TrainingSet, job: Job, learned_at: np.ndarray) -> dict[str, str]:
    return {
        "trained_until": trained_until(learned_at),
        "data_fingerprint": training_set.fingerprint,
        "features_version": FEATURES.version(),
        "code_version": code_version(),
        "since": str(job.since or ""),
        "until": str(job.until or ""),
    }


def code_version() -> str:
    """The checkout's commit, with ``+`` when files differ from it; ``unknown`` outside a checkout."""
    root = Path(__file__).parent
    try:
        return subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--abbrev=12"],
            cwd=root,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
