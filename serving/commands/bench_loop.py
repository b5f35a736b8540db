"""``huika bench loop``: what becomes of the discount model when its own prices fill the log from which it learns."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serving.commands.bench_worlds import START, world_names
from serving.refusals import Refusal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from serving.commands.bench_loop_months import MonthFigures

USUAL = "logistic,skewed,shock"


def bench_loop(
    trades: Annotated[int, typer.Option(help="Trades of each market.", min=5_000)] = 100_000,
    days: Annotated[int, typer.Option(help="Days of each market.", min=60)] = 270,
    log_days: Annotated[int, typer.Option(help="Days at first that another platform priced.", min=30)] = 90,
    worlds: Annotated[str, typer.Option(help="Shapes, see pipelines/simulation/worlds.py.")] = USUAL,
    seed: Annotated[int, typer.Option(help="Seed of the first market; the next ones count up.")] = 1101,
) -> None:
    """Price month after month, fitted anew on the log of these very prices; beside it a model that learns from the
    log of another platform's wide moves, and the first model, never fitted again."""
    from pipelines.simulation.worlds import world_of
    from serving.commands.bench_loop_months import MONTH_DAYS, months_of

    if days < log_days + MONTH_DAYS:
        raise Refusal(f"{days} days leave no month of {MONTH_DAYS} days after {log_days}")
    for place, name in enumerate(world_names(worlds)):
        world = world_of(name, trades=trades, days=days, seed=seed + place, start=START)
        broken = "" if world.shock_day is None else f", breaks on day {world.shock_day}"
        print(f"{name} (seed {world.seed}{broken}): share of the best possible expected profit")
        months: list[Sequence[MonthFigures]] = []
        with tempfile.TemporaryDirectory(prefix="huika-bench-") as folder:
            for day, found in months_of(world, Path(folder), log_days=log_days):
                months.append(found)
                for figures in found:
                    print(f"  from day {day}, {_line(figures)}", flush=True)
        print(f"  {_summary(months)}", flush=True)


def _line(figures: MonthFigures) -> str:
    return (
        f"{figures.learns:<12} {figures.share:6.1%}  expected/true {figures.expected:.3f}  ECE {figures.ece:.4f}  "
        f"slope/true {figures.slope:.2f}  moves ±{figures.half_width * 100:.2f} points  "
        f"no offer {figures.no_offer:.1%}  "
        f"slope error {figures.slope_error:.3f}, hidden {figures.hidden_share:.2f}"
    )


def _summary(months: Sequence[Sequence[MonthFigures]]) -> str:
    """Means of each, and how far learning from own prices lies beside the original log, month by month."""
    columns = list(zip(*months, strict=True))
    means = ", ".join(f"{own[0].learns} {sum(f.share for f in own) / len(own):.1%}" for own in columns)
    apart = " ".join(
        f"{(own.share - other.share) * 100:+.1f}" for own, other in zip(*columns[:2], strict=True)
    )
    return f"mean: {means}; own prices less original log, points by month: {apart}"
