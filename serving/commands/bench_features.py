"""``huika bench features``: our builder beside DuckDB, Polars and pandas, and what all features of n trades cost.

Everything measured runs in a process of its own, one at a time (:mod:`serving.commands.bench_processes`).
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from serving.commands.bench_growth import growth
from serving.commands.bench_processes import child, measured
from serving.refusals import Refusal

if TYPE_CHECKING:
    from rich.table import Table

WARM_UP_ROWS = 1_000
SLOW_SECONDS = 30.0
"""An engine that takes longer is not run again, unless asked to."""
REPEAT = 3
OURS = "ours"


@dataclass(frozen=True)
class Engine:
    """What computes the baseline's features: its title, the package it needs, and the function (module, name)."""

    title: str
    package: str
    module: str
    function: str


_PEERS = "serving.commands.bench_peers"
ENGINES = {
    OURS: Engine("Huika's builder", "numpy", "serving.commands.bench_baseline", "builder_features"),
    "duckdb": Engine("DuckDB, RANGE windows", "duckdb", _PEERS, "duckdb_features"),
    "polars": Engine("Polars, rolling", "polars", _PEERS, "polars_features"),
    "polars-keys": Engine("Polars, by sorted keys", "polars", _PEERS, "polars_keys_features"),
    "pandas": Engine("pandas, groupby.rolling", "pandas", _PEERS, "pandas_features"),
}
QUICK = ("ours", "duckdb", "polars", "polars-keys")
"""Those that take no more than seconds for 100,000 rows."""


def bench_features(
    rows: Annotated[
        int, typer.Option(help="Events of the baseline.", min=WARM_UP_ROWS, max=20_000_000)
    ] = 1_000_000,
    engines: Annotated[str, typer.Option(help="Of the baseline, with commas.")] = ",".join(ENGINES),
    repeat: Annotated[
        int | None,
        typer.Option(help="Runs of each engine; default 3, but 1 where one takes over 30 s.", min=1, max=100),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the baseline's events.", min=0)] = 1,
    hot: Annotated[
        float, typer.Option(help="Share of the events that come from one ip.", min=0.0, max=1.0)
    ] = 0.0,
    only: Annotated[Literal["baseline", "growth"] | None, typer.Option(help="One of the two parts.")] = None,
    trades: Annotated[str, typer.Option(help="Sizes of the growth part, with commas.")] = "100000,1000000",
    keep: Annotated[
        Path | None,
        typer.Option(
            help="Keep the growth part's markets here; use those of an earlier run.", file_okay=False
        ),
    ] = None,
) -> None:
    """60 window features by our builder and by others, compared; and all features by number of trades."""
    chosen = [] if only == "growth" else _engines(engines)
    sizes = [] if only == "baseline" else _sizes(trades)
    if only != "growth":
        baseline(rows=rows, engines=chosen, repeat=repeat, seed=seed, hot=hot)
    if only != "baseline":
        with tempfile.TemporaryDirectory(prefix="huika-bench-") as folder:
            growth(sizes=sizes, folder=keep or Path(folder))


def _engines(text: str) -> list[str]:
    names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    unknown = [name for name in names if name not in ENGINES]
    if unknown or not names:
        raise Refusal(f"--engines takes {', '.join(ENGINES)}, not {', '.join(unknown) or 'nothing'}")
    for package in (ENGINES[name].package for name in names):
        if find_spec(package) is None:
            raise Refusal(f"{package} is not installed: install the group dev, or leave it out of --engines")
    return names


def _sizes(text: str) -> list[int]:
    from pipelines.simulation import World, WorldError

    try:
        sizes = sorted({int(part) for part in text.split(",")})
        return [World(trades=size).trades for size in sizes]
    except WorldError as error:
        raise Refusal(f"--trades: {error}") from error
    except ValueError as error:
        raise Refusal(f"--trades takes whole numbers such as 100000,1000000, not {text!r}") from error


def bench_features_quickly() -> None:
    """Both parts with 100,000 rows, by those of the faster engines that are installed."""
    installed = [name for name in QUICK if find_spec(ENGINES[name].package)]
    bench_features(rows=100_000, engines=",".join(installed), trades="100000")


# --- the baseline ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """One run of one engine: wall and processor seconds, peak MB of its process, and a hash of each column."""

    seconds: float
    cpu_seconds: float
    peak_mb: float
    columns: dict[str, str]


def baseline(*, rows: int, engines: Sequence[str], repeat: int | None, seed: int, hot: float) -> None:
    """Run the engines on the same file of events, print what they took, and refuse where their columns differ."""
    import pyarrow.parquet as pq

    from serving.commands.bench_peers import make_events
    from serving.output import console

    with tempfile.TemporaryDirectory(prefix="huika-bench-") as folder:
        events = Path(folder) / "events.parquet"
        pq.write_table(make_events(rows, seed, hot=hot), events)
        runs = {name: _runs(name, events, repeat) for name in engines}
    differences = different_columns(runs)
    console().print(
        _baseline_table(f"{rows:,} events, seed {seed}, {hot:.0%} from one ip", runs, differences)
    )
    if differences:
        reference = ENGINES[next(iter(runs))].title
        told = "; ".join(
            f"{ENGINES[name].title}: {', '.join(columns[:5])} ({len(columns)} in all)"
            for name, columns in differences.items()
        )
        raise Refusal(f"columns differ from those of {reference}: {told}")


def _runs(name: str, events: Path, repeat: int | None) -> list[Run]:
    from serving.progress import bar

    runs: list[Run] = []
    with bar(ENGINES[name].title) as progress:
        while len(runs) < (repeat or REPEAT):
            answer = child(run_engine, what=ENGINES[name].title, engine=name, events=str(events))
            runs.append(Run(**answer))
            progress(len(runs), repeat or REPEAT)
            if repeat is None and runs[-1].seconds > SLOW_SECONDS:
                break
    return runs


def different_columns(runs: dict[str, list[Run]]) -> dict[str, list[str]]:
    """Engine -> columns of which any run has other values than the first engine's first; only those that differ."""
    reference = next(iter(runs.values()))[0].columns
    found = {
        name: sorted(
            {
                column
                for run in engine
                for column, digest in run.columns.items()
                if reference.get(column, digest) != digest
            }
        )
        for name, engine in runs.items()
    }
    return {name: columns for name, columns in found.items() if columns}


def _baseline_table(of: str, runs: dict[str, list[Run]], differences: dict[str, list[str]]) -> Table:
    from rich.table import Table

    first = next(iter(runs))
    table = Table(title=f"window features of {of}")
    table.add_column("engine")
    headers = ("features", "seconds", "CPU-s", "peak MB", f"wall × {first}", f"CPU × {first}")
    for header in headers:
        table.add_column(header, justify="right")
    table.add_column("equal")
    wall = {name: statistics.median(run.seconds for run in engine) for name, engine in runs.items()}
    cpu = {name: statistics.median(run.cpu_seconds for run in engine) for name, engine in runs.items()}
    for name, engine in runs.items():
        wrong = differences.get(name)
        equal = f"no: {', '.join(wrong[:3])}" if wrong else "-" if name == first else "yes"
        table.add_row(
            ENGINES[name].title,
            str(len(engine[0].columns)),
            _spread([run.seconds for run in engine]),
            _spread([run.cpu_seconds for run in engine]),
            f"{max(run.peak_mb for run in engine):,.0f}",
            f"{wall[name] / wall[first]:.2f}",
            f"{cpu[name] / cpu[first]:.2f}",
            equal,
        )
    return table


def _spread(values: list[float]) -> str:
    """The median, and the least and the most where there are several."""
    median = f"{statistics.median(values):,.2f}"
    return median if len(values) == 1 else f"{median} ({min(values):,.2f}-{max(values):,.2f})"


def run_engine(*, engine: str, events: str) -> dict[str, Any]:
    """In the child: a :class:`Run`."""
    import pyarrow.parquet as pq

    chosen = ENGINES[engine]
    compute = getattr(import_module(chosen.module), chosen.function)
    table = pq.read_table(events)
    compute(table.slice(0, WARM_UP_ROWS))
    taken, columns = measured(lambda: compute(table))
    return {**taken, "columns": {name: _digest(name, values) for name, values in columns.items()}}


def _digest(name: str, values: Any) -> str:
    """A hash of a column as int64. Our counts of different values end at MOST_COUNTED, so the others' do here."""
    import hashlib

    import numpy as np

    from features.entities import MOST_COUNTED

    column = np.ascontiguousarray(values, dtype="<i8")
    if "_distinct_" in name:
        column = np.minimum(column, MOST_COUNTED)
    return hashlib.sha256(column.tobytes()).hexdigest()
