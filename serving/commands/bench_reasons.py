"""``huika bench reasons``: whether a retrained model gives the same reasons, and what a score and its reasons cost."""

from __future__ import annotations

import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from features.china import day_in_china, midnight_in_china

if TYPE_CHECKING:
    import numpy as np

    from models.fraud.model import FraudModel
    from pipelines.settings import Settings
    from pipelines.training.examples import Examples

SAME = 2 / 3
"""Overlap of two sets of named families (shared / named by either) from which they say the same."""

ROUNDS = 300
MARKET_SEED = 7


def bench_reasons(
    trades: Annotated[int, typer.Option(help="Trades of the synthetic market.", min=10_000)] = 40_000,
    seed: Annotated[int, typer.Option(help="Seed of the market.")] = MARKET_SEED,
    retrains: Annotated[int, typer.Option(help="Models fitted on the same trades, by seed.", min=2)] = 3,
) -> None:
    """Fit the fraud model several times on the same trades and compare the reasons of trades that it would stop; then
    the processor time of one trade's score and reasons."""
    with tempfile.TemporaryDirectory(prefix="huika-bench-") as folder:
        known, later, settings = _market(Path(folder), trades, seed)
    models = [_fit(known, settings, seed=number) for number in range(1, retrains + 1)]
    for line in (*_stability(models, later, settings), *_speed(models[0], later, settings)):
        print(line, flush=True)


def _market(folder: Path, trades: int, seed: int) -> tuple[Examples, Examples, Settings]:
    """What was known 30 days before the end, and the trades of those days."""
    import numpy as np

    from features.rows import to_microseconds
    from pipelines import demo as parts
    from pipelines.training.backtest_models import known_at
    from pipelines.training.examples import stored_examples
    from pipelines.workspace import Workspace

    now = datetime.now(UTC)
    today = day_in_china(now)
    workspace = Workspace.open(folder / "home")
    parts.make_market(folder / "market", trades=trades, seed=seed, until=midnight_in_china(today))
    parts.import_market(workspace, folder / "market", now=now)
    examples = stored_examples(workspace, model="fraud", since=datetime(2000, 1, 1, tzinfo=UTC))
    cut = to_microseconds(parts.judged_from(today))
    later = examples.rows(np.flatnonzero(examples.submitted_at >= cut))
    return known_at(examples, cut), later, workspace.settings


def _fit(known: Examples, settings: Settings, *, seed: int) -> FraudModel:
    from features.definitions import FEATURES
    from pipelines.training import fraud

    seeded = settings.model_copy(update={"training": settings.training.model_copy(update={"seed": seed})})
    split = fraud.split_fraud(known, seeded)
    return fraud.fit(known.rows(split.final), registry=FEATURES, settings=seeded)


def _stability(models: Sequence[FraudModel], later: Examples, settings: Settings) -> list[str]:
    """Agreement of the named families over all pairs of models, on trades that most of them would stop."""
    import numpy as np

    from models.fraud.reasons import named_families
    from pipelines.training import fraud

    stops = [
        np.isin(fraud.decisions(model, later, settings).action, ("review", "refuse")) for model in models
    ]
    stopped = np.flatnonzero(np.mean(stops, axis=0) > 0.5)
    part = {name: column[stopped] for name, column in later.columns.items()}
    named = []
    for model in models:
        found = model.contributions(part)
        named.append([[found.families[place] for place in row] for row in named_families(found.log_odds)])
    overlaps, firsts = [], []
    for one, other in itertools.combinations(named, 2):
        overlaps += [overlap(*both) for both in zip(one, other, strict=True)]
        firsts += [first[:1] == second[:1] for first, second in zip(one, other, strict=True)]
    agrees = [share >= SAME or first for share, first in zip(overlaps, firsts, strict=True)]
    most = sum(len(families) for model in named for families in model) / max(len(stopped) * len(models), 1)
    return [
        f"stability: {len(stopped):,} stopped of {len(later):,} trades, {len(models)} models, "
        f"{most:.1f} families named each",
        f"stability: reasons agree (same first, or {SAME:.0%} shared) {_mean(agrees):.1%}; same first "
        f"{_mean(firsts):.1%}; at least {SAME:.0%} shared {_mean([share >= SAME for share in overlaps]):.1%}",
    ]


def overlap(one: Sequence[str], other: Sequence[str]) -> float:
    """Families that both name, as a share of those that either names; 1 where neither names any."""
    either = set(one) | set(other)
    return len(set(one) & set(other)) / len(either) if either else 1.0


def _mean(values: Sequence[float | bool]) -> float:
    return sum(values) / len(values) if values else float("nan")


def _speed(model: FraudModel, later: Examples, settings: Settings) -> list[str]:
    """Processor time of one trade, as the service asks: inputs, probability and decision; then reasons on top."""
    rows = _riskiest(model, later, ROUNDS)

    def ask(row: Examples) -> np.ndarray:
        from models.fraud.decision import decide

        matrix = model.matrix(row.columns)
        decide(
            probability=model.probability_of(matrix),
            payout_fen=row.at_risk_fen,
            face_value_fen=row.face_value_fen,
            costs=settings.costs,
            decision=settings.decision,
            thresholds=model.thresholds,
        )
        return matrix

    def name(row: Examples, matrix: np.ndarray) -> None:
        from models.fraud.reasons import reason_codes

        reason_codes(model.contributions_of(matrix), row.columns)

    matrices = [ask(row) for row in rows]
    scores = [_cpu_ms(lambda row=row: ask(row)) for row in rows]
    reasons = [
        _cpu_ms(lambda row=row, matrix=matrix: name(row, matrix))
        for row, matrix in zip(rows, matrices, strict=True)
    ]
    size = f"{model.booster.num_trees()} trees, {len(model.encoding.names)} inputs"
    return [
        f"speed: score of one trade {_spread(scores)} of processor time ({size})",
        f"speed: reasons of one trade {_spread(reasons)} more",
    ]


def _riskiest(model: FraudModel, later: Examples, count: int) -> list[Examples]:
    """Single trades, the riskiest first: those whose reasons are asked for."""
    import numpy as np

    order = np.argsort(-model.probability(later.columns), kind="stable")[:count]
    return [later.rows(np.array([row])) for row in order]


def _cpu_ms(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return (time.process_time() - started) * 1e3


def _spread(times_ms: Sequence[float]) -> str:
    late = sorted(times_ms)[int(len(times_ms) * 0.99)]
    return f"median {statistics.median(times_ms):.2f} ms, p99 {late:.2f} ms"
