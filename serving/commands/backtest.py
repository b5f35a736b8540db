"""``huika backtest``."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serving.commands.train import parse_time
from serving.options import DEFAULT_HOME, Home
from serving.refusals import Refusal

if TYPE_CHECKING:
    from pipelines.training.backtest import Backtest, BacktestJob
    from pipelines.workspace import Workspace


class Pair(StrEnum):
    """Who answers the period."""

    retrain = "retrain"
    champion = "champion"
    challenger = "challenger"


def backtest(
    since: Annotated[str, typer.Option("--from", metavar="TIME", help="Trades submitted from this time on.")],
    until: Annotated[str, typer.Option("--to", metavar="TIME", help="Trades before this time.")],
    retrain_days: Annotated[
        int, typer.Option("--retrain-days", min=1, help="Length of a step, which begins with a fit.")
    ] = 30,
    pair: Annotated[
        Pair, typer.Option("--pair", help="Fit both models anew for each step, or replay a registered pair.")
    ] = Pair.retrain,
    oracle: Annotated[
        Path | None,
        typer.Option("--oracle", help="oracle.parquet of a simulated market, to compare with the truth."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder for backtest.json and backtest.html.", file_okay=False),
    ] = None,
    home: Home = DEFAULT_HOME,
) -> None:
    """Answer a past period again as if live, retraining on schedule, and report what would have come of it."""
    from pipelines.training.backtest import BacktestJob
    from pipelines.training.backtest_report import record, write_report
    from pipelines.workspace import Workspace

    first, last = parse_time(since), parse_time(until)
    if first is None or last is None:
        raise Refusal("a backtest needs a period: --from TIME --to TIME")
    workspace = Workspace.open(home)
    job = BacktestJob(since=first, until=last, pair=pair.value, retrain_days=retrain_days, oracle=oracle)
    result = _run(workspace, job)
    name = f"backtest-{first:%Y%m%d}-{last:%Y%m%d}-{pair.value}"
    written = write_report(
        result, settings=workspace.settings, folder=out or workspace.reports / name, now=datetime.now(UTC)
    )
    record(workspace, result, written)
    print_backtest(result)
    for path in written:
        print(f"written: {path}")


def _run(workspace: Workspace, job: BacktestJob) -> Backtest:
    from pipelines.training.backtest import CannotReplay, Listener, read_past
    from pipelines.training.backtest import backtest as run
    from pipelines.training.backtest_models import NoSuchPair
    from serving.progress import bar

    try:
        with bar("features") as progress:
            past = read_past(workspace, job=job, progress=progress)
        with bar("answers") as progress:
            listener = Listener(say=lambda step: print(f"… {step}", flush=True), answered=progress)
            return run(workspace, past=past, listener=listener)
    except (CannotReplay, NoSuchPair) as error:
        raise Refusal(str(error)) from error


def print_backtest(result: Backtest) -> None:
    """Steps, then the whole period, then what to know before believing it."""
    from rich.table import Table
    from rich.text import Text

    from pipelines.training.backtest_lines import sections_of
    from pipelines.training.backtest_report import STEP_COLUMNS, step_row
    from serving.output import console

    out = console()
    steps = Table(title="分期 step by step", title_justify="left", box=None, padding=(0, 1))
    for zh, en in STEP_COLUMNS:
        steps.add_column(f"{zh}\n{en}", justify="right")
    for item in result.steps:
        steps.add_row(*step_row(item))
    out.print(steps)
    for section in sections_of(result.total):
        table = Table(box=None, padding=(0, 2))
        table.add_column(f"{section.zh} {section.en}", min_width=44)
        for name in section.columns:
            table.add_column(name, justify="right", overflow="fold", max_width=64)
        for line in section.lines:
            table.add_row(f"{line.zh} {line.en}", line.log, line.model)
        out.print()
        out.print(table)
    for note in result.notes:
        out.print(Text(f"! {note}", style="yellow"))
