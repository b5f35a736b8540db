"""``huika bench price`` and ``huika bench coverage``: what one price costs, and whether resale ranges stay honest."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serving.commands.bench_processes import peak_mb
from serving.commands.bench_worlds import JUDGED_DAYS, START, judged_from, trained_on, world_names

if TYPE_CHECKING:
    from models.discount.model import DiscountModel
    from models.evaluation.coverage import RangeMetrics
    from pipelines.simulation import World
    from pipelines.training.examples import Examples

RANGED = "logistic,shock,medium_table"


def bench_price(
    trades: Annotated[
        int, typer.Option(help="Trades of the market that trains the model.", min=5_000)
    ] = 40_000,
    singles: Annotated[int, typer.Option(help="Cards priced one by one.", min=20)] = 500,
    batch: Annotated[int, typer.Option(help="Cards priced at once.", min=100)] = 100_000,
    seed: Annotated[int, typer.Option(help="Seed of the market.")] = 401,
) -> None:
    """Processor time of a price, features at hand: one card alone, and a card in a batch, by stage."""
    import numpy as np

    from pipelines.simulation import simulate
    from pipelines.simulation.worlds import world_of

    world = world_of("medium_table", trades=trades, days=120, seed=seed, start=START)
    with tempfile.TemporaryDirectory(prefix="huika-bench-") as folder:
        model, judged = trained_on(simulate(world), world, Path(folder))
    rng = np.random.default_rng(seed)
    alone = [judged.rows(np.array([row])) for row in rng.choice(len(judged), singles)]
    together = judged.rows(rng.choice(len(judged), batch))
    _stage_times(model, together.rows(np.arange(min(batch, 1_000))))
    one = np.median([list(_stage_times(model, card).values()) for card in alone], axis=0)
    many = np.array(list(_stage_times(model, together).values())) / batch
    names = list(_stage_times(model, alone[0]))
    print(f"one price: {one[0] * 1e3:.2f} ms of processor time, median of {singles}")
    print(f"a card in a batch of {batch:,}: {many[0] * 1e6:.1f} µs")
    print(f"{'':<16}{'one, µs':>9}{'share':>8}{'batch, µs':>12}{'share':>8}")
    for name, single, each in zip(names[1:], one[1:], many[1:], strict=True):
        print(
            f"{name:<16}{single * 1e6:>9.0f}{single / one[0]:>8.0%}{each * 1e6:>12.2f}{each / many[0]:>8.0%}"
        )
    print(
        "ranges are part of resale; explaining (waterfall of one card, reasons of all) comes after the price"
    )


def _stage_times(model: DiscountModel, cards: Examples) -> dict[str, float]:
    """Processor seconds of a whole price, first, and of its stages asked one after the other on the same cards."""
    from models.discount.context import card_context
    from models.discount.explain import reasons_of_all, waterfall
    from models.discount.optimiser import best_rates
    from models.policy import Costs, PricePolicy

    given: dict[str, Any] = {
        "columns": cards.columns,
        "face_value_fen": cards.face_value_fen,
        "costs": Costs(),
        "policy": PricePolicy(),
    }
    columns, rows = cards.columns, len(cards)
    whole, offers = _cpu(lambda: model.price(submitted_at=cards.submitted_ms, **given))
    known = model.know(**given)
    context = card_context(columns, rows)
    resale, estimate = _cpu(lambda: model.resale.estimate(columns=columns, context=context))
    ranges, _ = _cpu(lambda: model.resale.ranges.of(context))
    fraud, floor = _cpu(lambda: model.fraud_share.share(context))
    acceptance, _ = _cpu(
        lambda: model.acceptance.curve(columns=columns, context=context, resale=estimate, floor=floor)
    )
    optimiser, _ = _cpu(
        lambda: best_rates(economics=known.economics, curve=known.curve, low=offers.low, high=offers.high)
    )
    explain, _ = _cpu(
        lambda: (waterfall(offers.rows(slice(0, 1)), 0), reasons_of_all(columns=columns, offers=offers))
    )
    return {
        "whole": whole,
        "resale": resale,
        "ranges": ranges,
        "fraud share": fraud,
        "acceptance": acceptance,
        "optimiser": optimiser,
        "everything else": whole - resale - fraud - acceptance - optimiser,
        "explain": explain,
    }


def _cpu(work: Callable[[], Any]) -> tuple[float, Any]:
    """Processor seconds of all threads, and what came out."""
    started = time.process_time_ns()
    found = work()
    return (time.process_time_ns() - started) / 1e9, found


def bench_coverage(
    trades: Annotated[int, typer.Option(help="Trades of each market.", min=5_000)] = 230_000,
    days: Annotated[int, typer.Option(help="Days of each market; the last 30 judge.", min=60)] = 210,
    worlds: Annotated[str, typer.Option(help="Shapes, see pipelines/simulation/worlds.py.")] = RANGED,
    seed: Annotated[int, typer.Option(help="Seed of the first market; the next ones count up.")] = 401,
) -> None:
    """Share of resales inside their range over 30 days: as trained, and recalibrated daily as ``huika recalibrate``
    does it."""
    from pipelines.simulation.worlds import world_of

    for place, name in enumerate(world_names(worlds)):
        world = world_of(name, trades=trades, days=days, seed=seed + place, start=START)
        with tempfile.TemporaryDirectory(prefix="huika-bench-") as folder:
            found = _coverage(Path(folder), world)
        print(f"{name} (seed {world.seed})")
        for how, metrics in found.items():
            print(f"  {how:<18}{_line(metrics)}", flush=True)


def _coverage(folder: Path, world: World) -> dict[str, RangeMetrics]:
    """Of the model as trained, and with ranges recalibrated every day and every week."""
    from models.evaluation.coverage import range_metrics
    from pipelines.simulation import simulate
    from pipelines.training.recalibrating import WEEK_US, rolled_estimates

    model, judged = trained_on(simulate(world), world, folder)
    since = int(judged_from(world).timestamp() * 1e6)
    found = {}
    for how, every in (("as trained", JUDGED_DAYS), ("daily", 1), ("weekly", 7)):
        estimate, asked = rolled_estimates(model.resale, judged, since=since, days=JUDGED_DAYS, every=every)
        week = (asked.submitted_at - since) // WEEK_US
        found[how] = range_metrics(estimate, asked.resale_rate, asked.columns["card_type"], week)
    return found


def _line(found: RangeMetrics) -> str:
    return (
        f"90 % range {found.coverage_90:.1%} (below {found.below_p05:.1%}, above {found.above_p95:.1%}), worst type "
        f"{found.coverage_90_worst_type:.1%} {found.worst_type}, worst week {found.coverage_90_worst_week:.1%}; 80 % "
        f"range {found.coverage_80:.1%}; width {found.width_90:.4f}, pinball {found.pinball:.5f}"
    )


def train_by_stage(home: str) -> dict[str, Any]:
    """Train both models of a workspace; run in a process of its own. Seconds, processor seconds and peak MB so far of
    each step, and of everything."""
    from pipelines.training.training import Job, Listener, train
    from pipelines.workspace import Workspace

    begun: list[tuple[str, float, float, float]] = []

    def say(step: str) -> None:
        begun.append((step, time.perf_counter(), time.process_time(), peak_mb()))

    say("start")
    listener = Listener(say=say, features=lambda done, total: None)
    train(Workspace.open(Path(home)), job=Job(models=("discount", "fraud")), listener=listener)
    say("end")
    stages = [
        {"stage": step, "seconds": until[1] - wall, "cpu_seconds": until[2] - cpu, "peak_mb": until[3]}
        for (step, wall, cpu, _), until in pairwise(begun)
    ]
    first, last = begun[0], begun[-1]
    whole = {"seconds": last[1] - first[1], "cpu_seconds": last[2] - first[2], "peak_mb": last[3]}
    return {"stages": stages, **whole}
