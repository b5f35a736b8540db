"""``huika bench quote``: what a quote costs, by stages and over HTTP, beside other ways to serve the same models."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serving.commands import bench_http
from serving.commands.bench_asking import quantile
from serving.commands.bench_processes import child
from serving.commands.bench_rows import newest_trades, submission_of, write_fresh_submissions, write_questions
from serving.commands.bench_workspace import trained_home
from serving.refusals import Refusal

if TYPE_CHECKING:
    from serving.commands.bench_http import Running

ROWS = 2_000
"""Different rows that are asked about in turn."""
BATCH = 500
WARM_UP = 100
SOAK_CONNECTIONS = 8
SOAK_ROWS = 20_000
"""More sellers than rows enough for seconds have: nobody sells a card every few seconds for minutes."""
_STAGES = re.compile(r'^huika_stage_seconds_(sum|count)\{[^}]*stage="(\w+)"[^}]*\} (\S+)$', re.MULTILINE)

Home = Annotated[
    Path | None,
    typer.Option("--home", help="A trained workspace to copy; default: a synthetic market is trained."),
]


def bench_quote(
    trades: Annotated[int, typer.Option(help="Trades of the synthetic market.", min=2_000)] = 40_000,
    quotes: Annotated[int, typer.Option(help="Quotes whose stages are timed, without HTTP.", min=10)] = 500,
    seconds: Annotated[float, typer.Option(help="Of load on each server and concurrency.", min=0.5)] = 10.0,
    concurrency: Annotated[str, typer.Option(help="Requests under way at any moment.")] = "1,8,32",
    workers: Annotated[int, typer.Option(help="Worker processes of this service.", min=1)] = 1,
    peers: Annotated[bool, typer.Option(help="Measure the other servers too.")] = True,
    soak: Annotated[
        int, typer.Option(metavar="MINUTES", help="Load this service so long, minute by minute.")
    ] = 0,
    home: Home = None,
    out: Annotated[Path | None, typer.Option("--json", help="Write all figures here.")] = None,
) -> None:
    """What a quote costs: its stages without HTTP, then this service, `mlflow models serve` and a bare FastAPI app on
    the same models and rows, and batches of 500; with --soak, how it holds for minutes."""
    levels = levels_of(concurrency)
    with trained_home(home=home, trades=trades) as workspace:
        stages = child(stage_times, what="timing the stages", home=str(workspace), quotes=quotes)
        print_stages(stages)
        plan = Plan(levels=levels, seconds=seconds, workers=workers)
        rows = servers_side_by_side(workspace, plan, peers=peers)
        print_rows(rows)
        minutes = soaked(workspace, minutes=soak, workers=workers) if soak else []
    if minutes:
        print_minutes(minutes)
    if out is not None:
        found = {"stages": stages, "servers": rows, "soak": minutes}
        out.write_text(json.dumps(found, ensure_ascii=False, indent=1), encoding="utf-8")


@dataclass(frozen=True)
class Plan:
    """How each server is asked."""

    levels: tuple[int, ...]
    seconds: float
    workers: int


def levels_of(text: str) -> tuple[int, ...]:
    """Numbers of requests under way, as typed. Raises Refusal."""
    words = text.split(",")
    if not all(word.strip().isdigit() and 0 < int(word) <= 256 for word in words):
        raise Refusal("--concurrency takes numbers from 1 to 256 with commas between them")
    return tuple(int(word) for word in words)


# --- stages, without HTTP ----------------------------------------------------------------------------------------


def stage_times(*, home: str, quotes: int) -> dict[str, dict[str, float]]:
    """Milliseconds of each stage of ``quotes`` quotes, one after another in this process."""
    from pipelines.workspace import Workspace
    from serving.api.schemas import Submission
    from serving.api.wiring import build_desk
    from serving.commands.serve import prepare

    workspace = Workspace.open(Path(home))
    now = datetime.now(UTC)
    prepare(workspace, progress=lambda done, total: None, now=now)
    desk = build_desk(workspace)
    times: dict[str, list[float]] = {"features": [], "models": [], "signing": [], "whole": []}
    for place, row in enumerate(newest_trades(workspace, 2 * quotes).to_pylist()):
        submission = Submission.model_validate(submission_of(row))
        if place % 2:  # not the same trades twice: what was just read is remembered
            times["whole"].append(_timed(lambda asked=submission: desk.quote(asked, now=now))[1])
            continue
        trade = desk.engine.trade_of(submission, now=now)
        read, seconds = _timed(lambda trade=trade: desk.engine.read([trade]))
        times["features"].append(seconds)
        bodies, seconds = _timed(lambda trade=trade, read=read: desk.engine.quotes([trade], read))
        times["models"].append(seconds)
        times["signing"].append(_timed(lambda body=bodies[0]: desk.signed(body))[1])
    return {stage: _milliseconds(sorted(found)) for stage, found in times.items()}


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    started = time.perf_counter()
    result = work()
    return result, time.perf_counter() - started


def _milliseconds(ordered: list[float]) -> dict[str, float]:
    return {name: quantile(ordered, share) * 1e3 for name, share in (("p50", 0.5), ("p99", 0.99))}


def print_stages(stages: dict[str, dict[str, float]]) -> None:
    for stage, found in stages.items():
        print(f"quote: {stage:<8} p50 {found['p50']:6.2f} ms   p99 {found['p99']:6.2f} ms", flush=True)


# --- side by side ------------------------------------------------------------------------------------------------


def servers_side_by_side(home: Path, plan: Plan, *, peers: bool) -> list[dict[str, Any]]:
    """A row of figures for each server, way to ask and concurrency, in one run."""
    questions = child(
        write_questions,
        what="writing the questions",
        home=str(home),
        folder=str(home),
        rows=ROWS,
        batch=BATCH,
    )
    files = questions["files"]
    with bench_http.huika(home, workers=plan.workers) as running:
        rows = _asked(running, plan, "/v1/quotes", files["submissions"], "whole quotes, recorded")
        rows.append(_batches(running, plan, "/v1/quotes/batch", files["submissions_batch"]))
    if not peers:
        return rows
    with bench_http.bare(questions["models"], home) as running:
        for path, kind, what in (
            ("/models", "models", "both models, features handed in"),
            ("/boosters", "boosters", "trees only, inputs handed in"),
        ):
            rows += _asked(running, plan, path, files[kind], what)
            rows.append(_batches(running, plan, path, files[f"{kind}_batch"], what=what))
    with _told_when_absent(), bench_http.mlflow_server(questions["mlflow"], home) as running:
        what = "fraud model, features handed in"
        rows += _asked(running, plan, "/invocations", files["mlflow"], what)
        rows.append(_batches(running, plan, "/invocations", files["mlflow_batch"], what=what))
    return rows


@contextmanager
def _told_when_absent() -> Iterator[None]:
    """A peer that does not run is told and left out; the others' figures stand."""
    try:
        yield
    except Refusal as refusal:
        print(f"not measured: {refusal}")


def _asked(running: Running, plan: Plan, path: str, bodies: str, what: str) -> list[dict[str, Any]]:
    running.asked(path, bodies, connections=4, seconds=plan.seconds, requests=WARM_UP)
    return [
        _row(running, path, bodies, what, connections=level, seconds=plan.seconds) for level in plan.levels
    ]


def _batches(running: Running, plan: Plan, path: str, bodies: str, *, what: str = "") -> dict[str, Any]:
    """Batches one after another; ``cpu_ms`` and ``per_second`` are of a row, the times of a whole batch."""
    row = _row(running, path, bodies, f"batch of {BATCH} {what}".strip(), connections=1, seconds=plan.seconds)
    return row | {"cpu_ms": row["cpu_ms"] / BATCH, "per_second": row["per_second"] * BATCH}


def _row(
    running: Running, path: str, bodies: str, what: str, *, connections: int, seconds: float
) -> dict[str, Any]:
    before = stage_seconds(running.text("/metrics"))
    found = running.asked(path, bodies, connections=connections, seconds=seconds)
    after = stage_seconds(running.text("/metrics"))
    print(
        f"{running.name}, {what}: {connections} under way, {found['per_second']:,.1f} requests per s",
        flush=True,
    )
    named = {"server": running.name, "what": what, "concurrency": connections}
    return named | found | {"stages_ms": mean_stages(before, after), "memory_mb": running.memory_mb()}


def stage_seconds(metrics: str) -> dict[str, tuple[float, float]]:
    """Seconds in each stage so far and how often it was passed, from a service's metrics."""
    found: dict[str, dict[str, float]] = {}
    for part, stage, value in _STAGES.findall(metrics):
        found.setdefault(stage, {})[part] = float(value)
    return {stage: (parts["sum"], parts["count"]) for stage, parts in found.items() if len(parts) == 2}


def mean_stages(
    before: dict[str, tuple[float, float]], after: dict[str, tuple[float, float]]
) -> dict[str, float]:
    """Mean milliseconds of each stage that was passed between two looks."""
    means = {}
    for stage, (seconds, count) in after.items():
        old_seconds, old_count = before.get(stage, (0.0, 0.0))
        if count > old_count:
            means[stage] = (seconds - old_seconds) / (count - old_count) * 1e3
    return means


def print_rows(rows: list[dict[str, Any]]) -> None:
    from rich.table import Table

    from serving.output import console

    table = Table(title="the same models and rows, one server after the other")
    for name in ("server", "answers", "under way"):
        table.add_column(name)
    for name in (
        "per s",
        "CPU ms",
        "p50 ms",
        "p90 ms",
        "p99 ms",
        "worst ms",
        "not 200",
        "client CPU ms",
        "MB",
    ):
        table.add_column(name, justify="right")
    table.add_column("mean ms of stages")
    for row in rows:
        ms = row["ms"]
        failed = row["requests"] - row["statuses"].get("200", 0)
        table.add_row(
            *(row["server"], row["what"], str(row["concurrency"]), f"{row['per_second']:,.0f}"),
            *(f"{row['cpu_ms']:.2f}", f"{ms['p50']:.1f}", f"{ms['p90']:.1f}", f"{ms['p99']:.1f}"),
            *(f"{ms['max']:.0f}", str(failed), f"{row['client_cpu_ms']:.3f}", f"{row['memory_mb']:.0f}"),
            ", ".join(f"{stage} {mean:.2f}" for stage, mean in row["stages_ms"].items()),
        )
    console().print(table)


# --- for minutes -------------------------------------------------------------------------------------------------


def soaked(home: Path, *, minutes: int, workers: int) -> list[dict[str, Any]]:
    """Figures of each minute of lasting load on this service, with its memory at the minute's end."""
    found = []
    written = child(write_fresh_submissions, what="writing the submissions", home=str(home), rows=SOAK_ROWS)
    with bench_http.huika(home, workers=workers) as running:
        for minute in range(1, minutes + 1):
            asked = running.asked("/v1/quotes", written["file"], connections=SOAK_CONNECTIONS, seconds=60.0)
            found.append({"minute": minute, "memory_mb": running.memory_mb()} | asked)
    return found


def print_minutes(minutes: list[dict[str, Any]]) -> None:
    """Each minute, and what grew from the first to the last."""
    for row in minutes:
        ms = row["ms"]
        print(
            f"minute {row['minute']:>3}: {row['per_second']:7,.0f} per s, CPU {row['cpu_ms']:.2f} ms, "
            f"p50 {ms['p50']:.1f}, p99 {ms['p99']:.1f}, longest pause {ms['max']:.0f} ms, {row['memory_mb']:,.0f} MB, "
            f"statuses {row['statuses']}"
        )
    first, last = minutes[0], minutes[-1]
    print(
        f"from the first to the last minute: memory {last['memory_mb'] - first['memory_mb']:+,.0f} MB, "
        f"p99 {last['ms']['p99'] - first['ms']['p99']:+.1f} ms"
    )
