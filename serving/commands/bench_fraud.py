"""``huika bench fraud``: how much fraud is stopped on simulated markets with rings, how early, and whom it costs."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serving.refusals import Refusal

if TYPE_CHECKING:
    from serving.commands.bench_fraud_market import KindFigures, MarketFigures

START = date(2025, 4, 1)
LEAST_STOPPED, MOST_REFUSED, MOST_HONEST_REFUSED, MOST_PASSED = 0.80, 0.08, 0.01, 5
"""What is asked for: at least so much of the fraud's value stopped, at most so many trades and honest trades refused,
and a ring stopped at one of its first trades, as a median."""


def bench_fraud(
    trades: Annotated[int, typer.Option(help="Trades of each market.", min=5_000)] = 60_000,
    seeds: Annotated[str, typer.Option(help="Markets, by seed.")] = "301,302,303",
    days: Annotated[int, typer.Option(help="Days of each market; the last 30 judge.", min=90)] = 180,
) -> None:
    """Train the fraud model on simulated markets, score the last 30 days, and compare with the truth: value stopped,
    honest sellers refused, how early rings are found, by kind of fraud; a plain LightGBM beside it."""
    from pipelines.simulation import World
    from serving.commands.bench_fraud_market import measure_market

    found = []
    for seed in _seeds(seeds):
        world = World(trades=trades, days=days, seed=seed, start=START)
        with tempfile.TemporaryDirectory(prefix="huika-bench-") as folder:
            found.append(measure_market(Path(folder), world=world, now=datetime.now(UTC)))
        print(f"\nseed {seed}")
        for line in _lines(found[-1]):
            print(f"  {line}", flush=True)
    for line in _summary(found):
        print(line)


def _seeds(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise Refusal(f"--seeds takes whole numbers with commas between, not {text!r}") from None


def _lines(market: MarketFigures) -> Iterator[str]:
    metrics, interval, delays = market.metrics, market.interval, market.delays
    yield (
        f"learned from {market.learned:,} trades, judged on {metrics.trades:,} with {metrics.frauds} frauds "
        f"({metrics.rate:.2%})"
    )
    yield (
        f"fraud value stopped {metrics.fraud_value_stopped:.1%} (refused or reviewed "
        f"{metrics.fraud_value_refused_or_reviewed:.1%}); honest refused {metrics.honest_refused:.2%}"
    )
    yield (
        f"trades refused {metrics.share_refused:.1%}, reviewed {metrics.share_reviewed:.1%}, held "
        f"{metrics.share_held:.1%}; cost {metrics.cost_per_1000_fen / 100:,.0f} CNY per 1,000"
    )
    yield (
        f"{len(delays)} rings of 5 trades and more: passed before the first stop: median {delays.median:g}, nine of "
        f"ten at most {delays.p90:g}; found {delays.found:.0%}, among the first five {delays.found_early:.0%}"
    )
    yield (
        f"average precision {interval.estimate:.3f} (95 % {interval.low:.3f} to {interval.high:.3f}), AUC "
        f"{metrics.auc:.3f}, recall at 1 % FPR {metrics.recall_at_1pct_fpr:.3f}, ECE {metrics.ece:.4f}, mean "
        f"probability / rate {metrics.calibration_ratio:.2f}"
    )
    for plain in market.plain:
        yield (
            f"plain LightGBM, ids as {plain.ids}: average precision {plain.metrics.average_precision:.3f}, AUC "
            f"{plain.metrics.auc:.3f}, recall at 1 % FPR {plain.metrics.recall_at_1pct_fpr:.3f}"
        )
    yield from (_kind(kind) for kind in market.kinds)


def _kind(kind: KindFigures) -> str:
    shares = ", ".join(f"{action} {share:.0%}" for action, share in kind.shares.items())
    return (
        f"{kind.kind}: {kind.frauds} trades, {kind.value_share:.0%} of the value, stopped {kind.value_stopped:.0%}; "
        f"AUC {kind.auc:.3f}; {shares}"
    )


def _summary(found: Sequence[MarketFigures]) -> Iterator[str]:
    """Means over the markets beside what is asked for; rings pooled."""
    import numpy as np

    metrics = [market.metrics for market in found]
    stopped = [one.fraud_value_stopped for one in metrics]
    refused = [one.share_refused for one in metrics]
    honest = [one.honest_refused for one in metrics]
    passed = np.concatenate([market.delays.passed for market in found])
    yield f"\n{len(found)} markets, means and worst; in brackets what is asked for"
    yield (
        f"fraud value stopped {np.mean(stopped):.1%}, worst {min(stopped):.1%} (at least {LEAST_STOPPED:.0%}); "
        f"refused {np.mean(refused):.1%}, most {max(refused):.1%} (at most {MOST_REFUSED:.0%}); honest refused "
        f"{np.mean(honest):.2%}, most {max(honest):.2%} (at most {MOST_HONEST_REFUSED:.0%})"
    )
    median = float(np.median(passed)) if len(passed) else float("nan")
    yield f"{len(passed)} rings: median {median:g} trades passed before the first stop (fewer than {MOST_PASSED})"
    better = [
        market.metrics.average_precision - max(plain.metrics.average_precision for plain in market.plain)
        for market in found
    ]
    yield (
        f"average precision {np.mean([one.average_precision for one in metrics]):.3f}, above the better plain "
        f"LightGBM by {np.mean(better):.3f}, least {min(better):.3f}"
    )
