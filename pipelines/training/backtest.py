"""`huika backtest`: a past period answered again as if live, and what would have come of it.

The period is cut into steps. At the start of each both models are fitted on what was known then (or registered ones
are taken), and every trade of the step is answered as of its own moment, with exploration and decisions. Features are
computed once for all trades: each knows only what came before its trade, so they are the same in every step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from features.catalogue import Catalogue, workspace_catalogue
from features.definitions import FEATURES
from features.rows import microseconds, to_microseconds
from features.training_set import Progress, columns_of
from models.evaluation.first_step import Support
from models.quoting import ModelPair, Terms
from pipelines.settings import Settings
from pipelines.simulation.oracle import Oracle, read_oracle
from pipelines.stored_features import features_of_ids, stored_training_set
from pipelines.terms import terms_of
from pipelines.training.backtest_figures import Figures, figures_of
from pipelines.training.backtest_ledger import Answered, Ledger, answered, joined, logged, truth
from pipelines.training.backtest_models import NO_PAIR, StepModels, fit_pair, moment, registered_pair
from pipelines.training.backtest_moves import MoveFigures, Moves
from pipelines.training.backtest_series import Series, series_of, stock_figures
from pipelines.training.backtest_trust import BeliefFigures
from pipelines.training.collecting import collect_workspace
from pipelines.training.examples import Examples, examples_of
from pipelines.training.splitting import DAY_US
from pipelines.wiring import model_registry
from pipelines.workspace import Workspace

PairName = Literal["retrain", "champion", "challenger"]
OUTCOMES = ("accepted", "resale_rate", "fraud")
QUOTES_AT_ONCE = 5_000
LEAST_SETTLED = 0.95
"""With a smaller share of bought cards settled, the log's profit is too incomplete to stand without a warning."""


TOLERATED = 0.05
"""Predicted by realised profit may be off by so much; an alarm needs an interval wholly beyond."""


class CannotReplay(ValueError):
    """The period, or the oracle's file, gives nothing to replay or to compare with; the message says what."""


@dataclass(frozen=True)
class BacktestJob:
    """Which trades to answer again: those submitted in [since, until). pair: ``retrain`` fits both models at the start
    of every ``retrain_days``; the others are registered and answer the whole period. oracle: a simulation's truth."""

    since: datetime
    until: datetime
    pair: PairName = "retrain"
    retrain_days: int = 30
    oracle: Path | None = None


@dataclass(frozen=True)
class Past:
    """All trades submitted before the period's end, with features and every outcome that is known today.

    fixed: the registered pair, where one is to answer. oracle: of the period's trades, in their order.
    """

    job: BacktestJob
    examples: Examples
    fingerprint: str
    fixed: StepModels | None
    oracle: Oracle | None

    @property
    def period(self) -> Examples:
        """The trades to answer."""
        inside = self.examples.submitted_at >= to_microseconds(self.job.since)
        return self.examples.rows(np.flatnonzero(inside))


@dataclass(frozen=True)
class Step:
    """``trades`` submitted in [since, until) (int64 µs), and who answers them."""

    since: int
    until: int
    trades: int
    models: StepModels


@dataclass(frozen=True)
class StepResult:
    """One step and what came of it."""

    step: Step
    figures: Figures


@dataclass(frozen=True)
class Backtest:
    """A whole backtest. Steps without any trade are left out. moves: of reference prices, from day to day. notes: what
    to know before believing a figure."""

    job: BacktestJob
    fingerprint: str
    steps: tuple[StepResult, ...]
    total: Figures
    series: Series
    moves: MoveFigures
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Listener:
    """What a caller may show: steps begun (``say``) and trades answered, of all."""

    say: Callable[[str], None]
    answered: Progress


class ModelsAt(Protocol):
    """Who answers from ``cut`` (int64 µs) on; ``before``: who answered until then."""

    def __call__(self, *, cut: int, before: ModelPair) -> StepModels: ...


def read_past(workspace: Workspace, *, job: BacktestJob, progress: Progress) -> Past:
    """Features and outcomes of the period and of everything before it; everything that could refuse comes first.

    Raises CannotReplay, and NoSuchPair where the registry lacks the pair.
    """
    if job.since >= job.until:
        raise CannotReplay(f"the period ends ({job.until:%Y-%m-%d}) before it begins ({job.since:%Y-%m-%d})")
    collect_workspace(workspace)
    period = _period(workspace, job)
    fixed = None
    if job.pair != "retrain":
        submitted = _submitted(period)
        fixed = registered_pair(model_registry(workspace), alias=job.pair, submitted_at=submitted)
    oracle = None if job.oracle is None else _oracle(job.oracle, period["trade_id"])
    built = stored_training_set(workspace, progress=progress)
    before = built.trades.filter(pa.array(_submitted(built.trades) < to_microseconds(job.until)))
    names = tuple(dict.fromkeys([*FEATURES.names("discount"), *FEATURES.names("fraud")]))
    features = pq.read_table(built.path, columns=list(names)).slice(0, len(before))
    return Past(
        job=job,
        examples=examples_of(before, columns_of(features, FEATURES, names)),
        fingerprint=built.fingerprint,
        fixed=fixed,
        oracle=oracle,
    )


def _period(workspace: Workspace, job: BacktestJob) -> pa.Table:
    """Ids, times and outcomes of the trades to answer. Raises CannotReplay where there is nothing to answer."""
    trades = workspace.tables.read("trades", ["trade_id", "submitted_at", *OUTCOMES])
    if len(trades) == 0:
        raise CannotReplay("no trades yet; bring some in with `huika import --trades FILE`")
    submitted = _submitted(trades)
    inside = (submitted >= to_microseconds(job.since)) & (submitted < to_microseconds(job.until))
    period = f"{job.since:%Y-%m-%d} to {job.until:%Y-%m-%d}"
    if not inside.any():
        first, last = moment(submitted.min()), moment(submitted.max())
        raise CannotReplay(
            f"no trade was submitted from {period}; the trades reach from {first:%Y-%m-%d} to {last:%Y-%m-%d}"
        )
    part = trades.filter(pa.array(inside))
    if all(part[name].null_count == len(part) for name in OUTCOMES):
        raise CannotReplay(f"no outcome is known of the {len(part):,} trades from {period}")
    return part


def _oracle(path: Path, trade_ids: pa.ChunkedArray) -> Oracle:
    """The truth of the period's trades. Raises CannotReplay for a file that does not hold it."""
    if not path.is_file():
        raise CannotReplay(f"there is no file {path}")
    try:
        return read_oracle(pq.read_table(path), trade_ids)
    except (OSError, pa.ArrowInvalid, KeyError) as error:
        reason = str(error.args[0]) if error.args else type(error).__name__
        raise CannotReplay(f"{path} is not the oracle of these trades: {reason}") from error


def _submitted(trades: pa.Table) -> np.ndarray:
    return microseconds(trades["submitted_at"])


def backtest(workspace: Workspace, *, past: Past, listener: Listener) -> Backtest:
    """Replay and judge."""
    settings, own = workspace.settings, past.period
    terms = terms_of(workspace)
    models_at: ModelsAt = partial(fit_pair, past.examples, settings=settings, rules=terms.rules)
    if past.fixed is not None:
        own = _with_columns(workspace, own, past.fixed.models.pinned_columns)
        models_at = partial(_always, past.fixed)
    catalogue = workspace_catalogue(workspace.tables)
    moves = Moves(catalogue)
    log = logged(own, settings)
    steps, said = replay(
        own,
        job=past.job,
        models_at=models_at,
        terms=terms,
        catalogue=catalogue,
        listener=listener,
        moves=moves,
        support=Support(log.support_low, log.support_high),
    )
    listener.say("figures")
    known = None
    if past.oracle is not None:
        known = truth(oracle=past.oracle, log=log, said=said, settings=settings)
    number = np.repeat(np.arange(len(steps)), [step.trades for step in steps])
    ledger = Ledger(step=number, log=log, said=said, truth=known)
    return _judged(past, steps, ledger, moves=moves.figures(), settings=settings)


def replay(
    examples: Examples,
    *,
    job: BacktestJob,
    models_at: ModelsAt,
    terms: Terms,
    catalogue: Catalogue,
    listener: Listener,
    moves: Moves,
    support: Support | None = None,
) -> tuple[tuple[Step, ...], Answered]:
    """Answer the period's trades, in the order of time, step by step; answers in that order. catalogue: which face
    values are usual; moves: remembers what daily moves are measured from; support: of the log's offers, for the first
    step toward the models' prices."""
    steps: list[Step] = []
    parts: list[Answered] = []
    pair, done = NO_PAIR, 0
    for since, until in steps_of(job):
        rows = np.flatnonzero((examples.submitted_at >= since) & (examples.submitted_at < until))
        if len(rows) == 0:
            continue
        listener.say(f"from {moment(since):%Y-%m-%d}: {len(rows):,} trades")
        found = models_at(cut=since, before=pair)
        pair = found.models
        steps.append(Step(since=since, until=until, trades=len(rows), models=found))
        before = moves.before(examples.rows(rows), models=pair, terms=terms)
        for start in range(0, len(rows), QUOTES_AT_ONCE):
            part = slice(start, start + QUOTES_AT_ONCE)
            chunk = examples.rows(rows[part])
            then = None if before is None else before.rows(part)
            within = None if support is None else support.rows(rows[part])
            parts.append(
                answered(chunk, models=pair, terms=terms, catalogue=catalogue, before=then, support=within)
            )
            done += len(chunk)
            listener.answered(done, len(examples))
    return tuple(steps), joined(parts)


def steps_of(job: BacktestJob) -> list[tuple[int, int]]:
    """Bounds (int64 µs) of the steps: ``retrain_days`` each, the last one what is left."""
    since, until = to_microseconds(job.since), to_microseconds(job.until)
    starts = range(since, until, job.retrain_days * DAY_US)
    return [(start, min(start + job.retrain_days * DAY_US, until)) for start in starts]


def _always(fixed: StepModels, *, cut: int, before: ModelPair) -> StepModels:
    return fixed


def _with_columns(workspace: Workspace, examples: Examples, names: Sequence[str]) -> Examples:
    """The examples with the columns of former definitions that a registered model was trained on."""
    if not names:
        return examples
    columns = features_of_ids(workspace, examples.trade_id, names=names)
    return replace(examples, columns={**examples.columns, **columns})


def _judged(
    past: Past, steps: Sequence[Step], ledger: Ledger, *, moves: MoveFigures, settings: Settings
) -> Backtest:
    series = series_of(ledger)

    def figures(part: Ledger) -> Figures:
        return figures_of(part, stock=stock_figures(series, part.log.day), settings=settings)

    results = tuple(
        StepResult(step, figures(ledger.rows(np.flatnonzero(ledger.step == number))))
        for number, step in enumerate(steps)
    )
    total = figures(ledger)
    return Backtest(
        job=past.job,
        fingerprint=past.fingerprint,
        steps=results,
        total=total,
        series=series,
        moves=moves,
        notes=_notes(past.job, steps, total),
    )


def _notes(job: BacktestJob, steps: Sequence[Step], total: Figures) -> tuple[str, ...]:
    notes: list[str] = []
    for step in steps:
        prefix = f"from {moment(step.since):%Y-%m-%d}: " if job.pair == "retrain" else ""
        notes += [prefix + note for note in step.models.notes]
    log = total.log
    if log.offers == 0:
        notes.append("the log has no offers: there is no profit and no rate to compare with")
    elif log.settled < LEAST_SETTLED * log.bought:
        notes.append(
            f"only {log.settled:,} of the {log.bought:,} cards bought in this period are known to be resold or fraud; "
            f"the log's profit is what is known of it"
        )
    if total.model.modelled < total.trades:
        notes.append(
            f"no discount model answered {total.trades - total.model.modelled:,} of the {total.trades:,} trades; "
            f"predicted profit, expected acceptance and stock leave them out"
        )
    return tuple(dict.fromkeys(notes + _alarms(total.belief)))


def _alarms(belief: BeliefFigures) -> list[str]:
    """Where the models believe their own wishes."""
    alarms = []
    for what, found, predicted, realised in (
        ("resold cards", belief.resale_ratio, belief.resale_predicted_fen, belief.resale_realised_fen),
        ("bought cards, fraud included", belief.ratio, belief.predicted_fen, belief.realised_fen),
    ):
        beyond = found.low > 1 + TOLERATED or found.high < 1 - TOLERATED
        if beyond or realised <= 0 < predicted:
            amounts = f"predicted ¥{predicted / 100:,.0f} where ¥{realised / 100:,.0f} came of it"
            alarms.append(f"ALARM: on {what}, the models {amounts}")
    return alarms
