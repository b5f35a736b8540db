"""Rules and lists tried on stored history: what each would have hit, what came of it, and what the model says without
it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
import pyarrow as pa

from features.definitions import FEATURES
from features.rows import microseconds, to_microseconds
from features.training_set import Progress
from models.fraud.decision import ACTIONS, PAY, action_costs_fen
from models.fraud.lists import KINDS
from models.fraud.rules import DAY_SUMS, Rule, with_day_sums
from models.fraud.screening import OFFERED_BEFORE, STRICTNESS, settled
from models.quoting import ModelPair, as_trained
from models.registry import CHAMPION
from pipelines.champions import load_pair
from pipelines.screening.lists_tried import ListTried
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
    """One rule or list (``rule`` None: all of them together, as they are put together live) on the trades of a period.
    Money in fen.

    frauds, honest: hits whose label counts; the other hits have none. fraud_fen: what was or would have been paid for
    those frauds. stopped_anyway: hits that the champion's own decision would not simply pay. changed: hits that are
    answered otherwise than by the model alone, stopped, stopped harder or, by the allow list, eased; saving_fen: what
    that saves on those with a label, by the settings' costs, negative where it costs.
    """

    rule: Rule | ListTried | None
    hits: int
    frauds: int
    honest: int
    fraud_fen: int
    stopped_anyway: int
    changed: int
    saving_fen: float


@dataclass(frozen=True)
class RuleTest:
    """Rules and lists on ``trades`` trades, of which so many are known to be fraud or honest. notes: what to know
    before believing a figure. model_version: the champion that was compared with, None where there was none and every
    trade would have been paid."""

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
    rules: Sequence[Rule | ListTried],
    *,
    since: datetime | None,
    until: datetime | None,
    progress: Progress,
) -> RuleTest:
    """Try rules and lists, whatever their mode, on the stored trades submitted in [since, until), with every label
    known today. What is listed now counts for all of them, whenever it was listed.

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
        names=_names([rule for rule in rules if isinstance(rule, Rule)], models),
        former=tuple(models.fraud_pins.values()),
    )
    for chunk in features.chunks(np.arange(rows.start, rows.stop)):
        trades = built.trades.slice(rows.start + int(chunk.rows[0]), len(chunk.rows))
        part = examples_of(trades, chunk.columns)
        tally.count(part, ids=_ids(trades, rules), models=models, settings=workspace.settings)
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
    if tally.listed_later:
        notes.append(
            f"{tally.listed_later:,} hits are trades from before their entry was made; what was listed because "
            "of such trades knows how they ended"
        )
    return tally.result(model_version=models.fraud_version, notes=tuple(notes))


def _ids(trades: pa.Table, rules: Sequence[Rule | ListTried]) -> dict[str, np.ndarray]:
    """What the lists compare, (n,) object by column."""
    names = {KINDS[one.kind] for one in rules if isinstance(one, ListTried)}
    return {name: np.array(trades[name].to_pylist(), dtype=object) for name in names}


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
    read += ["card_face_cny", OFFERED_BEFORE.column, *DAY_SUMS.values()]
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


def _added(before: RuleFigures, hit: np.ndarray, final: np.ndarray, outcome: _Outcome) -> RuleFigures:
    """The figures with some trades more; hit (n,) bool, final (n,): the action then, as a place in ACTIONS."""
    changed = hit & (final != outcome.own)
    rows = np.flatnonzero(changed & (outcome.fraud | outcome.honest))
    saved = outcome.cost_fen[rows, outcome.own[rows]] - outcome.cost_fen[rows, final[rows]]
    return RuleFigures(
        rule=before.rule,
        hits=before.hits + int(hit.sum()),
        frauds=before.frauds + int((hit & outcome.fraud).sum()),
        honest=before.honest + int((hit & outcome.honest).sum()),
        fraud_fen=before.fraud_fen + int(outcome.paid_fen[hit & outcome.fraud].sum()),
        stopped_anyway=before.stopped_anyway + int((hit & (outcome.own > PAY)).sum()),
        changed=before.changed + int(changed.sum()),
        saving_fen=before.saving_fen + float(saved.sum()),
    )


class _Wanted:
    """What rules and lists that hit ask for, put together as :func:`models.fraud.screening.screen` does."""

    def __init__(self, own: np.ndarray, offered_before: np.ndarray) -> None:
        self._own, self._offered_before = own, offered_before
        self.hit, self._watch, self._allow = (np.zeros(len(own), dtype=bool) for _ in range(3))
        self._asked, self._bound = own, np.zeros_like(own)

    def add(self, rule: Rule | ListTried, hit: np.ndarray) -> _Wanted:
        """One rule or list more."""
        self.hit |= hit
        if rule.action == "allow":
            self._allow |= hit & ~self._offered_before
        elif isinstance(rule, ListTried) and rule.list == "watch":
            self._watch |= hit
        else:
            asked = np.where(hit, STRICTNESS[rule.action], PAY)
            if rule.binding:
                self._bound = np.maximum(self._bound, asked)
            else:
                self._asked = np.maximum(self._asked, asked)
        return self

    @property
    def final(self) -> np.ndarray:
        """The action (n,) as a place in ACTIONS."""
        return settled(self._asked, bound=self._bound, watch=self._watch, allow=self._allow)


class _Tally:
    """Figures of rules and lists, added up chunk by chunk; the last are those of all together. listed_later: hits of
    lists on trades from before the entry was made."""

    def __init__(self, rules: list[Rule | ListTried]) -> None:
        self.trades = self.frauds = self.honest = self.fraud_fen = self.listed_later = 0
        none = RuleFigures(None, 0, 0, 0, 0, 0, 0, 0.0)
        self.figures = [replace(none, rule=rule) for rule in [*rules, None]]

    def count(
        self, part: Examples, *, ids: Mapping[str, np.ndarray], models: ModelPair, settings: Settings
    ) -> None:
        """Add some trades. ids: see :func:`_ids`."""
        outcome = _outcome(part, models, settings)
        self.trades += len(part)
        self.frauds += int(outcome.fraud.sum())
        self.honest += int(outcome.honest.sum())
        self.fraud_fen += int(outcome.paid_fen[outcome.fraud].sum())
        seen = with_day_sums(part.columns)
        offered_before = OFFERED_BEFORE.holds(seen, len(part))
        together = _Wanted(outcome.own, offered_before)
        for place, before in enumerate(self.figures):
            rule, wanted = before.rule, together
            if isinstance(rule, ListTried):
                self.listed_later += rule.listed_later(ids, part.submitted_ms)
            if rule is not None:
                hit = rule.hits(ids) if isinstance(rule, ListTried) else rule.hits(seen, part.submitted_ms)
                wanted = _Wanted(outcome.own, offered_before).add(rule, hit)
                together.add(rule, hit)
            self.figures[place] = _added(before, wanted.hit, wanted.final, outcome)

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


def _outcome(part: Examples, models: ModelPair, settings: Settings) -> _Outcome:
    known = taught_by(part).counts
    return _Outcome(
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


def _own_decisions(part: Examples, models: ModelPair, settings: Settings) -> np.ndarray:
    """The champion's decision on each trade as a place in ACTIONS (n,); without one every trade is paid."""
    if models.fraud is None:
        return np.zeros(len(part), dtype=np.int64)
    trained = replace(part, columns=dict(as_trained(part.columns, models.fraud_pins)))
    found = decisions(models.fraud, trained, settings).action
    return np.array([ACTIONS.index(action) for action in found], dtype=np.int64)
