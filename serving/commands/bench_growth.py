"""The growth part of ``huika bench features``: what all features of n trades cost, written as for training."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serving.commands.bench_processes import child, measured

if TYPE_CHECKING:
    from features.table_store import TableStore

DAYS, MARKET_SEED = 365, 7
STORED_ROW_GROUP = 131_072
"""Rows, as an import writes them."""


def growth(*, sizes: Sequence[int], folder: Path) -> None:
    """All features of markets of several sizes, written as for training. The markets stay in ``folder``."""
    from rich.table import Table

    from serving.output import console

    table = Table(title=f"all features to Parquet, markets of {DAYS} days, seed {MARKET_SEED}")
    headers = (
        "trades",
        "market rows",
        "features",
        "seconds",
        "CPU-s",
        "rows/s",
        "peak MB",
        "output MB",
        "growth",
    )
    for header in headers:
        table.add_column(header, justify="right")
    before: tuple[int, float] | None = None
    for size in sizes:
        home = folder / f"market-{size}"
        child(make_market, what=f"the market of {size:,} trades", folder=str(home), trades=size)
        found = child(write_features, what=f"the features of {size:,} trades", folder=str(home))
        cpu = found["cpu_seconds"]
        table.add_row(
            f"{size:,}",
            f"{found['market_rows']:,}",
            str(found["features"]),
            f"{found['seconds']:,.1f}",
            f"{cpu:,.1f}",
            f"{size / found['seconds']:,.0f}",
            f"{found['peak_mb']:,.0f}",
            f"{found['output_mb']:,.0f}",
            "-" if before is None else f"{_against_n_log_n(before, (size, cpu)):.2f}",
        )
        before = (size, cpu)
    table.caption = "growth: processor time against the size before, divided by the ratio of n log n"
    console().print(table)


def _against_n_log_n(before: tuple[int, float], after: tuple[int, float]) -> float:
    """1 where processor time grows like n log n, less where it grows slower."""
    (n, cpu), (larger_n, larger_cpu) = before, after
    return (larger_cpu / cpu) / (larger_n * math.log(larger_n) / (n * math.log(n)))


def make_market(*, folder: str, trades: int) -> dict[str, Any]:
    """In the child: simulate a market and store its tables, unless an earlier run left exactly this one."""
    from features.table_store import TableStore
    from features.tables import TABLES
    from pipelines.simulation import World, simulate, write
    from pipelines.simulation.market import STAGES, WORLD_FILE
    from serving.progress import bar

    world, home = World(trades=trades, days=DAYS, seed=MARKET_SEED), Path(folder)
    store, written = TableStore(home / "tables"), home / "files" / WORLD_FILE
    if all(store.path(name) for name in TABLES) and json.loads(written.read_text()) == world.to_dict():
        return {}
    shutil.rmtree(store.root, ignore_errors=True)  # an interrupted run must not leave another market's tables
    with bar(f"market of {trades:,} trades") as progress:
        market = simulate(world, on_stage=lambda stage: progress(STAGES.index(stage), len(STAGES) + 1))
        write(market, home / "files")
        del market
        progress(len(STAGES), len(STAGES) + 1)
        for name in ("card_types", "market", "trades"):
            _store(store, name, home / "files" / f"{name}.parquet")
    return {}


def _store(store: TableStore, name: str, source: Path) -> None:
    """Publish a simulated file as the stored table, without the checks of an import; sorted within little memory."""
    import duckdb
    import pyarrow as pa
    import pyarrow.parquet as pq

    from features.tables import TABLES

    table, staged = TABLES[name], store.staging(name)
    columns = ", ".join(
        f"round({column.name} * 100)::BIGINT AS {column.stored}" if column.kind == "money" else column.name
        for column in table.columns
    )
    with duckdb.connect(config={"temp_directory": str(store.root / "sort")}) as connection:
        connection.execute("SET enable_progress_bar = false")
        rows = connection.read_parquet(str(source)).project(columns).order(", ".join(table.order))
        with pq.ParquetWriter(staged, table.schema, compression="zstd") as writer:
            for batch in rows.to_arrow_reader(STORED_ROW_GROUP):
                writer.write_table(pa.Table.from_batches([batch]).cast(table.schema))
    store.publish(name, staged)


def write_features(*, folder: str) -> dict[str, Any]:
    """In the child: all features of all trades of the market in ``folder``."""
    import numpy as np

    from features import training_set
    from features.definitions import FEATURES
    from features.table_store import TableStore
    from serving.progress import bar

    store, path = TableStore(Path(folder) / "tables"), Path(folder) / "features.parquet"
    rows = np.arange(store.rows("trades"))
    with bar(f"features of {len(rows):,} trades") as progress:
        taken, _ = measured(
            lambda: training_set.write_features(
                history=training_set.stored_history(store),
                registry=FEATURES,
                rows=rows,
                path=path,
                progress=progress,
            )
        )
    output_mb = path.stat().st_size / 1e6
    path.unlink()
    found = {"market_rows": store.rows("market"), "features": len(FEATURES.names()), "output_mb": output_mb}
    return {**taken, **found}
