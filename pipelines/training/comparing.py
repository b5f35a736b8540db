"""Champion and challenger side by side, on trades that neither was fitted on, and what a promotion asks."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from features.definitions import FEATURES
from features.training_set import NothingToTrainOn, columns_of
from models.discount.model import DiscountModel
from models.fraud.model import FraudModel
from models.quoting import as_trained
from models.registry import CHALLENGER, CHAMPION, ModelVersion, Run
from pipelines.feature_pins import FeaturesGone, pins
from pipelines.stored_features import features_of_ids, stored_training_set
from pipelines.training import discount, fraud
from pipelines.training.collecting import collect_workspace
from pipelines.training.discount_checks import Values, discount_checks, first_checks, values_of
from pipelines.training.discount_plots import value_plots
from pipelines.training.discount_worth import contender
from pipelines.training.examples import Examples, examples_of
from pipelines.training.fairness import Fairness, fairness_trial, judge_fairness
from pipelines.training.fraud_checks import Candidate, fraud_checks, notes_on
from pipelines.training.fraud_details import fraud_details
from pipelines.training.promotion_checks import Check, tags_of
from pipelines.training.splitting import TooLittleHistory
from pipelines.wiring import feature_store, model_registry
from pipelines.workspace import Workspace

LEAST_OUTCOMES = 200


class NothingToCompare(LookupError):
    """There is no model, or no trade newer than what the models learned from."""


@dataclass(frozen=True)
class Comparison:
    """Figures of each model on the same trades submitted from ``since`` on; ``versions``: alias -> version.

    notes: what else was found, a line each. checks: what a promotion asks of the last of them; none of a fraud model
    without a challenger. values: of a discount model, what its prices are worth beside the log's and the rate table's.
    """

    name: str
    since: datetime
    rows: int
    versions: Mapping[str, str]
    figures: tuple[Mapping[str, float], ...]
    notes: tuple[str, ...]
    checks: tuple[Check, ...]
    values: Values = field(default_factory=Values)

    def metrics(self) -> dict[str, float]:
        """Every figure by a name of its own."""
        named = zip(self.versions, self.figures, strict=True)
        figures = {f"{alias}_{name}": value for alias, own in named for name, value in own.items()}
        return {**figures, **self.values.metrics()}


def compare(workspace: Workspace, *, name: str) -> Comparison:
    """Judge champion and challenger (or the champion alone) on newer trades. Raises NothingToCompare."""
    registry = model_registry(workspace)
    found = [registry.find(name, alias) for alias in (CHAMPION, CHALLENGER)]
    versions = [version for version in found if version is not None]
    if not versions:
        raise NothingToCompare(f"no {name} model yet; train one with `huika train {name}`")
    since = max(datetime.fromisoformat(version.tags["trained_until"]) for version in versions)
    examples = _newer(workspace, name, since)
    folders = [registry.folder(version) for version in versions]
    seen = [_as_trained(workspace, examples, folder) for folder in folders]
    judged = _judge_fraud if name == "fraud" else _judge_discount
    aliases = [_alias(version) for version in versions]
    found = judged(workspace, aliases, folders, seen)
    return Comparison(
        name=name,
        since=since,
        rows=len(examples),
        versions={alias: version.version for alias, version in zip(aliases, versions, strict=True)},
        figures=found.figures,
        notes=found.notes,
        checks=found.checks,
        values=found.values,
    )


def record(workspace: Workspace, comparison: Comparison) -> None:
    """Keep the figures in MLflow, with their plot, as a run tagged with the versions."""
    with tempfile.TemporaryDirectory() as folder:
        tags = {f"{alias}_version": number for alias, number in comparison.versions.items()}
        run = Run(
            experiment="evaluation",
            name=f"{comparison.name} since {comparison.since:%Y-%m-%d}",
            tags={"model": comparison.name, **tags, **tags_of(comparison.checks)},
            metrics=comparison.metrics(),
            files=value_plots(comparison.values.worths, folder=Path(folder)),
        )
        model_registry(workspace).log_run(run)


@dataclass(frozen=True)
class Judgement:
    """Figures of each model, and the rest as of a :class:`Comparison`."""

    figures: tuple[Mapping[str, float], ...]
    notes: tuple[str, ...]
    checks: tuple[Check, ...]
    values: Values = field(default_factory=Values)


def _judge_fraud(
    workspace: Workspace, aliases: Sequence[str], folders: Sequence[Path], seen: Sequence[Examples]
) -> Judgement:
    settings = workspace.settings
    models = [FraudModel.load(folder) for folder in folders]
    judged = [fraud.judged(model, own, settings) for model, own in zip(models, seen, strict=True)]
    found = [
        Candidate(own, answers, fraud.figures_of(answers, settings).to_dict())
        for own, answers in zip(seen, judged, strict=True)
    ]
    details = [
        fraud_details(
            one.judged,
            columns=one.seen.columns,
            trained_until_us=int(one.seen.submitted_at.min()),
            settings=settings,
        )
        for one in found
    ]
    checks = () if len(found) < 2 else fraud_checks(champion=found[0], challenger=found[1], settings=settings)
    return Judgement(tuple(one.figures for one in found), notes_on(details), checks)


def _judge_discount(
    workspace: Workspace, aliases: Sequence[str], folders: Sequence[Path], seen: Sequence[Examples]
) -> Judgement:
    """``seen`` are the same trades as each model knows them."""
    settings = workspace.settings
    models = [DiscountModel.load(folder) for folder in folders]
    figures = tuple(
        discount.judge(model, own, settings).to_dict() for model, own in zip(models, seen, strict=True)
    )
    fairness = fairness_of(workspace, folders, models)
    notes = tuple(f"same card, other people: {found}" for found in fairness)
    answers = [contender(model, own, settings) for model, own in zip(models, seen, strict=True)]
    values = values_of(dict(zip(aliases, answers, strict=True)))
    if len(models) < 2:
        return Judgement(figures, notes, first_checks(values, fairness[0]), values)
    checks = discount_checks(
        champion=answers[0],
        challenger=answers[1],
        values=values,
        figures=(figures[0], figures[1]),
        fairness=fairness[1],
    )
    return Judgement(figures, notes, checks, values)


def fairness_of(
    workspace: Workspace, folders: Sequence[Path], models: Sequence[DiscountModel]
) -> list[Fairness]:
    """Every model's prices of the same cards for the same people."""
    former = [pins(folder, registry=FEATURES) for folder in folders]
    more = [column for own in former for column in own.values()]
    trial = fairness_trial(workspace, rng=np.random.default_rng(0), more=more)
    settings = workspace.settings
    return [
        judge_fairness(trial, model=model, pins=own, costs=settings.costs, policy=settings.price)
        for model, own in zip(models, former, strict=True)
    ]


def _as_trained(workspace: Workspace, examples: Examples, folder: Path) -> Examples:
    """The examples with every feature by the definition a model was trained on. Raises NothingToCompare."""
    try:
        former = pins(folder, registry=FEATURES)
    except FeaturesGone as error:
        raise NothingToCompare(f"a model cannot be judged any more: {error}") from None
    if not former:
        return examples
    columns = features_of_ids(workspace, examples.trade_id, names=tuple(former.values()))
    return replace(examples, columns=dict(as_trained({**examples.columns, **columns}, former)))


def _alias(version: ModelVersion) -> str:
    return CHAMPION if CHAMPION in version.aliases else CHALLENGER


def _newer(workspace: Workspace, name: str, since: datetime) -> Examples:
    """Trades with an outcome that were submitted after ``since``."""
    collect_workspace(workspace)
    try:
        training_set = stored_training_set(workspace, since=since)
    except NothingToTrainOn:
        raise NothingToCompare(_no_newer(name, 0, since)) from None
    store = feature_store(workspace)
    store.register(registry=FEATURES, training_set=training_set.path)
    spine = training_set.trades.select(["trade_id", "submitted_at"])
    retrieved = store.retrieve(registry=FEATURES, model=name, spine=spine)
    examples = examples_of(training_set.trades, columns_of(retrieved, FEATURES, FEATURES.names(name)))
    split = fraud.split_fraud if name == "fraud" else discount.split_discount
    try:
        rows = split(examples, workspace.settings).final
        rows = rows[fraud.taught_by(examples).fair[rows]] if name == "fraud" else rows
    except TooLittleHistory:
        raise NothingToCompare(_no_newer(name, 0, since)) from None
    if len(rows) < LEAST_OUTCOMES:
        raise NothingToCompare(_no_newer(name, len(rows), since))
    return examples.rows(rows)


def _no_newer(name: str, rows: int, since: datetime) -> str:
    return (
        f"only {rows} trades with outcomes are newer than what the {name} models learned from ({since:%Y-%m-%d}); "
        f"import newer trades, or train with `--until` to keep some back"
    )


def trained_until(submitted_at: np.ndarray) -> str:
    """The moment after the newest trade a model learned from, ISO."""
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    return (epoch + timedelta(microseconds=int(submitted_at.max()) + 1)).isoformat()
