"""Rules tried on stored history: what each would have hit, what came of it, and what the model says without it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
import pyarrow as pa

from features.definitions import FEATURES
from features.rows import microseconds, to_microseconds
from features.training_set import Progress
from models.fraud.decision import ACTIONS, PAY, action_costs_fen
from models.fraud.rules import DAY_SUMS, Rule, with_day_sums
from models.fraud.screening import STRICTNESS
from models.quoting import ModelPair, as_trained
from models.registry import CHAMPION
from pipelines.champions import load_pair
from pipelines.settings import Settings
from pipelines.stored_features import StoredFeatures, stored_training_set
from pipelines.training.collecting import collect_workspace
from pipelines.training.examples import Examples, examples_of
from pipelines.training.fraud import decisions, taught_by
from pipelines.wiring import model_registry
from pipelines.workspace import Workspace


class NoHistory(ValueError):
    """There is no trade to try rules on; the message says what there is."""


@dataclass(frozen=True)
class RuleFigures:
    """One rule (``rule`` None: all of them together, the strictest wins) on the trades of a period. Money in fen.

    frauds, honest: hits whose label counts; the other hits have none. fraud_fen: what was or would have been paid for
    those frauds. stopped_anyway: hits that the champion's own decision would not simply pay. stricter: hits that the
    rule alone stops, or stops harder; saving_fen: what that saves on those with a label, by the settings' costs,
    negative where it costs.
    """

    rule: Rule | None
    hits: int
    frauds: int
    honest: int
    fraud_fen: int
    stopped_anyway: int
    stricter: int
    saving_fen: float


@dataclass(frozen=True)
class RuleTest:
    """Rules on ``trades`` trades, of which so many are known to be fraud or honest. notes: what to know before
    believing a figure. model_version: the champion that was compared with, None where there was none and every trade
    would have been paid."""

    trades: int
    frauds: int
    honest: int
    fraud_fen: int
    figures: tuple[RuleFigures, ...]
    together: RuleFigures
    model_version: str | None
    notes: tuple[str, ...]


def try_rules(
    workspace: Workspace,
    rules: Sequence[Rule],
    *,
    since: datetime | None,
    until: datetime | None,
    progress: Progress,
) -> RuleTest:
    """Try rules, whatever their mode, on the stored trades submitted in [since, until), with every label known today.

    ``progress`` counts the features, then the trades. Raises NoHistory where no trade lies in the period.
    """
    collect_workspace(workspace)
    if workspace.tables.rows("trades") == 0:
        raise NoHistory("no trades yet; bring some in with `huika import --trades FILE`")
    built = stored_training_set(workspace, progress=progress)
    rows = _period(built.trades, since, until)
    registry = model_registry(workspace)
    models = load_pair(registry)
    tally = _Tally([*rules])
    features = StoredFeatures(
        workspace=workspace,
        built=built,
        names=_names(rules, models),
        former=tuple(models.fraud_pins.values()),
    )
    for chunk in features.chunks(np.arange(rows.start, rows.stop)):
        trades = built.trades.slice(rows.start + int(chunk.rows[0]), len(chunk.rows))
        tally.count(examples_of(trades, chunk.columns), models=models, settings=workspace.settings)
        progress(tally.trades, len(rows))
    notes = [] if models.fraud is not None else ["no fraud model: compared with paying every trade"]
    if models.fraud is not None and (champion := registry.find("fraud", CHAMPION)) is not None:
        first = to_microseconds(datetime.fromisoformat(champion.tags["trained_until"]))
        seen = int((microseconds(built.trades["submitted_at"])[rows] < first).sum())
        if seen:
            notes.append(
                f"the champion learned from trades until {champion.tags['trained_until'][:10]}, {seen:,} of these "
                f"{len(rows):,} among them; it knows those better than it knows new ones"
            )
    return tally.result(model_version=models.fraud_version, notes=tuple(notes))


def _period(trades: pa.Table, since: datetime | None, until: datetime | None) -> range:
    """Positions of the period's trades; stored trades stand in the order of time. Raises NoHistory."""
    times = microseconds(trades["submitted_at"])
    first = 0 if since is None else int(np.searchsorted(times, to_microseconds(since)))
    end = len(times) if until is None else int(np.searchsorted(times, to_microseconds(until)))
    if first >= end:
        reach = (
            f"{trades['submitted_at'][0].as_py():%Y-%m-%d} to {trades['submitted_at'][-1].as_py():%Y-%m-%d}"
        )
        raise NoHistory(f"no trade was submitted in this period; the trades reach from {reach}")
    return range(first, end)


def _names(rules: Sequence[Rule], models: ModelPair) -> tuple[str, ...]:
    """The features that the rules and the model read."""
    read = [condition.column for rule in rules for condition in rule.when]
    read += ["card_face_cny", *DAY_SUMS.values()]
    read += () if models.fraud is None else models.fraud.trained_signals
    return tuple(dict.fromkeys(name for name in read if name in FEATURES))


@dataclass(frozen=True)
class _Outcome:
    """What came of n trades. own: the champion's decision as a place in ACTIONS. fraud, honest: known to be it (n,)
    bool. cost_fen: (n, 4) what each action would have cost, NaN where the label is unknown."""

    own: np.ndarray
    fraud: np.ndarray
    honest: np.ndarray
    paid_fen: np.ndarray
    cost_fen: np.ndarray


def _added(before: RuleFigures, wanted: np.ndarray, outcome: _Outcome) -> RuleFigures:
    """The figures with some trades more; wanted (n,): the rule's action as a place in ACTIONS, PAY where no hit."""
    hit, stricter = wanted > PAY, wanted > outcome.own
    rows = np.flatnonzero(stricter & (outcome.fraud | outcome.honest))
    saved = outcome.cost_fen[rows, outcome.own[rows]] - outcome.cost_fen[rows, wanted[rows]]
    return RuleFigures(
        rule=before.rule,
        hits=before.hits + int(hit.sum()),
        frauds=before.frauds + int((hit & outcome.fraud).sum()),
        honest=before.honest + int((hit & outcome.honest).sum()),
        fraud_fen=before.fraud_fen + int(outcome.paid_fen[hit & outcome.fraud].sum()),
        stopped_anyway=before.stopped_anyway + int((hit & (outcome.own > PAY)).sum()),
        stricter=before.stricter + int(stricter.sum()),
        saving_fen=before.saving_fen + float(saved.sum()),
    )


class _Tally:
    """Figures of rules, added up chunk by chunk; the last are those of all rules together."""

    def __init__(self, rules: list[Rule]) -> None:
        self.trades = self.frauds = self.honest = self.fraud_fen = 0
        none = RuleFigures(None, 0, 0, 0, 0, 0, 0, 0.0)
        self.figures = [replace(none, rule=rule) for rule in [*rules, None]]

    def count(self, part: Examples, *, models: ModelPair, settings: Settings) -> None:
        """Add some trades."""
        known = taught_by(part).counts
        outcome = _Outcome(
            own=_own_decisions(part, models, settings),
            fraud=known & (part.fraud == 1),
            honest=known & (part.fraud == 0),
            paid_fen=part.at_risk_fen,
            cost_fen=action_costs_fen(
                probability=part.fraud,
                payout_fen=part.at_risk_fen,
                face_value_fen=part.face_value_fen,
                costs=settings.costs,
                decision=settings.decision,
            ),
        )
        self.trades += len(part)
        self.frauds += int(outcome.fraud.sum())
        self.honest += int(outcome.honest.sum())
        self.fraud_fen += int(outcome.paid_fen[outcome.fraud].sum())
        seen = with_day_sums(part.columns)
        together = np.zeros(len(part), dtype=np.int64)
        for place, before in enumerate(self.figures):
            wanted = together
            if before.rule is not None:
                hit = before.rule.hits(seen, part.submitted_ms)
                wanted = np.where(hit, STRICTNESS[before.rule.action], PAY)
                together = np.maximum(together, wanted)
            self.figures[place] = _added(before, wanted, outcome)

    def result(self, *, model_version: str | None, notes: tuple[str, ...]) -> RuleTest:
        return RuleTest(
            trades=self.trades,
            frauds=self.frauds,
            honest=self.honest,
            fraud_fen=self.fraud_fen,
            figures=tuple(self.figures[:-1]),
            together=self.figures[-1],
            model_version=model_version,
            notes=notes,
        )


def _own_decisions(part: Examples, models: ModelPair, settings: Settings) -> np.ndarray:
    """The champion's decision on each trade as a place in ACTIONS (n,); without one every trade is paid."""
    if models.fraud is None:
        return np.zeros(len(part), dtype=np.int64)
    trained = replace(part, columns=dict(as_trained(part.columns, models.fraud_pins)))
    found = decisions(models.fraud, trained, settings).action
    return np.array([ACTIONS.index(action) for action in found], dtype=np.int64)
