"""``huika bench``: what this installation does per second, and within how much memory."""

from __future__ import annotations

from typing import Annotated

import typer

from serving.commands.bench_discount import bench_coverage, bench_price, train_by_stage
from serving.commands.bench_equality import bench_equality
from serving.commands.bench_faults import bench_faults
from serving.commands.bench_features import bench_features, bench_features_quickly
from serving.commands.bench_fraud import bench_fraud
from serving.commands.bench_import import bench_import_command
from serving.commands.bench_kills import bench_kills
from serving.commands.bench_live import bench_live
from serving.commands.bench_loop import bench_loop
from serving.commands.bench_models import bench_handbook, bench_market
from serving.commands.bench_ocr import bench_ocr
from serving.commands.bench_off_policy import bench_off_policy
from serving.commands.bench_parked import bench_parked
from serving.commands.bench_processes import child
from serving.commands.bench_reasons import bench_reasons
from serving.commands.bench_replay import bench_replay
from serving.commands.bench_serving import bench_quote
from serving.commands.bench_swaps import bench_swaps
from serving.commands.bench_trades import bench_trades
from serving.commands.bench_workspace import import_market, market
from serving.commands.bench_worlds import bench_worlds

bench = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    invoke_without_command=True,
    help="Measure speed and memory. Without a name: features, train and quote at their default sizes.",
)
bench.command("features")(bench_features)
bench.command("live")(bench_live)
bench.command("replay")(bench_replay)
bench.command("import")(bench_import_command)
bench.command("fraud")(bench_fraud)
bench.command("faults")(bench_faults)
bench.command("handbook")(bench_handbook)
bench.command("market")(bench_market)
bench.command("reasons")(bench_reasons)
bench.command("worlds")(bench_worlds)
bench.command("loop")(bench_loop)
bench.command("price")(bench_price)
bench.command("coverage")(bench_coverage)
bench.command("off-policy")(bench_off_policy)
bench.command("ocr")(bench_ocr)
bench.command("quote")(bench_quote)
bench.command("equality")(bench_equality)
bench.command("swaps")(bench_swaps)
bench.command("kills")(bench_kills)
bench.command("trades")(bench_trades)
bench.command("parked")(bench_parked)

Trades = Annotated[int, typer.Option(help="Trades of the synthetic market.", min=2_000)]


@bench.callback()
def everything(context: typer.Context) -> None:
    """Run the quicker benchmarks."""
    if context.invoked_subcommand is None:
        bench_features_quickly()
        train(trades=40_000)
        bench_quote(seconds=3.0)


@bench.command("train")
def train(trades: Trades = 40_000) -> None:
    """Both models from a synthetic market, start to registered: time and peak memory, by step."""
    with market(trades) as folder:
        found = child(train_by_stage, what="training", home=str(import_market(folder)))
    print(
        f"train: {trades:,} trades in {found['seconds']:.1f} s ({found['cpu_seconds']:.1f} s of processor time), peak "
        f"{found['peak_mb']:,.0f} MB"
    )
    for stage in found["stages"]:
        print(
            f"  {stage['stage']:<16}{stage['seconds']:7.1f} s{stage['cpu_seconds']:8.1f} s of processor time, peak "
            f"until then {stage['peak_mb']:,.0f} MB"
        )
