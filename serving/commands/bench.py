"""``huika bench``: what this installation does per second, and within how much memory."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from serving.commands.bench_discount import bench_coverage, bench_price, train_by_stage
from serving.commands.bench_features import bench_features, bench_features_quickly
from serving.commands.bench_fraud import bench_fraud
from serving.commands.bench_import import bench_import_command
from serving.commands.bench_live import bench_live
from serving.commands.bench_models import bench_handbook, bench_market
from serving.commands.bench_off_policy import bench_off_policy
from serving.commands.bench_processes import child
from serving.commands.bench_reasons import bench_reasons
from serving.commands.bench_replay import bench_replay
from serving.commands.bench_worlds import bench_worlds
from serving.refusals import Refusal

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
bench.command("handbook")(bench_handbook)
bench.command("market")(bench_market)
bench.command("reasons")(bench_reasons)
bench.command("worlds")(bench_worlds)
bench.command("price")(bench_price)
bench.command("coverage")(bench_coverage)
bench.command("off-policy")(bench_off_policy)

Trades = Annotated[int, typer.Option(help="Trades of the synthetic market.", min=2_000)]
MARKET_SEED = 7


@bench.callback()
def everything(context: typer.Context) -> None:
    """Run the quicker benchmarks."""
    if context.invoked_subcommand is None:
        bench_features_quickly()
        train(trades=40_000)
        quote(trades=40_000, quotes=500)


@bench.command("train")
def train(trades: Trades = 40_000) -> None:
    """Both models from a synthetic market, start to registered: time and peak memory, by step."""
    with _Market(trades) as folder:
        _import(folder)
        found = child(train_by_stage, what="training", home=f"{folder}/home")
    print(
        f"train: {trades:,} trades in {found['seconds']:.1f} s ({found['cpu_seconds']:.1f} s of processor time), peak "
        f"{found['peak_mb']:,.0f} MB"
    )
    for stage in found["stages"]:
        print(
            f"  {stage['stage']:<16}{stage['seconds']:7.1f} s{stage['cpu_seconds']:8.1f} s of processor time, peak "
            f"until then {stage['peak_mb']:,.0f} MB"
        )


@bench.command("quote")
def quote(trades: Trades = 40_000, quotes: Annotated[int, typer.Option(min=10)] = 500) -> None:
    """One quote after another through the live path: features, both models, recording; without HTTP."""
    with _Market(trades) as folder:
        _import(folder)
        _measured(
            "from serving.cli import main as run", ["train", "all", "--home", f"{folder}/home"], silent=True
        )
        for stage, times in _quote_times(Path(folder) / "home", Path(folder), quotes).items():
            ordered = sorted(times)
            median, late = ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)]
            print(f"quote: {stage:<8} p50 {median * 1e3:6.2f} ms   p99 {late * 1e3:6.2f} ms")


def _quote_times(home: Path, folder: Path, quotes: int) -> dict[str, list[float]]:
    """Seconds of each stage of ``quotes`` quotes."""
    import pyarrow.parquet as pq

    from pipelines.workspace import Workspace
    from serving.api.schemas import Submission
    from serving.api.wiring import build_desk
    from serving.commands.serve import prepare

    workspace = Workspace.open(home)
    prepare(workspace, progress=lambda done, total: None, now=datetime.now(UTC))
    desk = build_desk(workspace)
    now = datetime.now(UTC)
    times: dict[str, list[float]] = {"features": [], "models": [], "whole": []}
    for row in pq.read_table(folder / "trades.parquet").slice(0, quotes).to_pylist():
        submission = Submission.model_validate(_submission(row))
        trade = desk.engine.trade_of(submission, now=now)
        read = desk.engine.read([trade])
        times["features"].append(_seconds(lambda trade=trade: desk.engine.read([trade])))
        times["models"].append(_seconds(lambda trade=trade, read=read: desk.engine.quotes([trade], read)))
        times["whole"].append(_seconds(lambda submission=submission: desk.quote(submission, now=now)))
    return times


def _submission(row: dict[str, Any]) -> dict[str, Any]:
    card = {
        "card_type": row["card_type"],
        "card_form": row["card_form"],
        "face_value": {"amount_fen": min(round(row["face_value_cny"] * 100), 50_000)},
    }
    seller = {name: row[name] for name in ("seller_id", "device_id", "ip", "payout_account")}
    return {"card": card, "seller": seller}


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


class _Market:
    """A temporary folder with the files of a synthetic market that ends today."""

    def __init__(self, trades: int) -> None:
        self._trades = trades
        self._folder = tempfile.TemporaryDirectory(prefix="huika-bench-")

    def __enter__(self) -> str:
        from pipelines.demo import make_market

        folder = Path(self._folder.name)
        make_market(
            folder,
            trades=self._trades,
            seed=MARKET_SEED,
            today=(datetime.now(UTC) + timedelta(hours=8)).date(),
        )
        return str(folder)

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()


def _import(folder: str) -> None:
    from pipelines.demo import import_market
    from pipelines.workspace import Workspace

    import_market(Workspace.open(Path(folder) / "home"), Path(folder), now=datetime.now(UTC))


def _measured(load: str, arguments: Sequence[str], *, silent: bool = False) -> tuple[float, float, float]:
    """Run in a child process: wall seconds, processor seconds, peak MB."""
    call = "run(sys.argv[1:])" if silent else "run(*sys.argv[1:])"
    quiet = "import os; os.dup2(os.open(os.devnull, os.O_WRONLY), 1); " if silent else ""
    code = f"import sys; {quiet}from pipelines.workspace import prepare_process; prepare_process(); {load}; {call}"
    started = time.perf_counter()
    process = os.spawnv(os.P_NOWAIT, sys.executable, [sys.executable, "-c", code, *arguments])
    _, status, usage = os.wait4(process, 0)
    seconds = time.perf_counter() - started
    if status:
        raise Refusal(f"the measured process ended with status {os.waitstatus_to_exitcode(status)}")
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024
