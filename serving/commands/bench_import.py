"""``huika bench import``: how fast, and within how much memory, a large file of trades comes in."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

CHUNK = 250_000
START = datetime(2024, 1, 1, tzinfo=UTC)
SPAN_US = 365 * 86_400 * 1_000_000
FACES = (50.0, 100.0, 200.0, 300.0, 500.0, 1000.0)


@dataclass(frozen=True)
class ImportBench:
    """One measured import: rows, wall-clock and processor seconds, peak resident memory of the whole process,
    size of the file."""

    rows: int
    seconds: float
    cpu_seconds: float
    peak_rss_mb: float
    file_mb: float

    @property
    def rows_per_second(self) -> float:
        return self.rows / self.seconds


def bench_import(*, trades: int = 5_000_000, folder: Path | None = None, seed: int = 7) -> ImportBench:
    """Generate ``trades`` rows with every column filled below ``folder`` (default: the system's temporary
    folder), run ``huika import`` on them in a process of its own, and measure that. Raises RuntimeError where
    the import fails."""
    with tempfile.TemporaryDirectory(dir=folder, prefix="huika-bench-") as name:
        source = Path(name) / "trades.parquet"
        write_trades(source, trades=trades, seed=seed)
        home = str(Path(name) / "home")
        arguments = ["import", "--trades", str(source), "--home", home]
        code = "import sys; from serving.cli import main; main(sys.argv[1:])"
        started = time.perf_counter()
        process = os.spawnv(os.P_NOWAIT, sys.executable, [sys.executable, "-c", code, *arguments])
        _, status, usage = os.wait4(process, 0)
        seconds = time.perf_counter() - started
        if status:
            raise RuntimeError(f"the import ended with status {os.waitstatus_to_exitcode(status)}")
        size_mb = source.stat().st_size / 1e6
    return ImportBench(
        rows=trades,
        seconds=seconds,
        cpu_seconds=usage.ru_utime + usage.ru_stime,
        peak_rss_mb=usage.ru_maxrss / 1024,
        file_mb=size_mb,
    )


def bench_import_command(
    trades: int = typer.Option(5_000_000, help="Rows of the generated file."),
    folder: Path | None = typer.Option(None, help="Where the temporary files go (2 GB for 5 million rows)."),
) -> None:
    """Import a large generated file of trades and report rows per second and peak memory."""
    result = bench_import(trades=trades, folder=folder)
    print(
        f"{result.rows:,} trades ({result.file_mb:,.0f} MB) in {result.seconds:,.1f} s "
        f"({result.cpu_seconds:,.1f} s of processor time): "
        f"{result.rows_per_second:,.0f} rows/s, peak {result.peak_rss_mb:,.0f} MB"
    )


def write_trades(target: Path, *, trades: int, seed: int) -> None:
    """A Parquet file of random trades in file form, every column filled, written in chunks."""
    import numpy as np
    import pyarrow.parquet as pq

    rng = np.random.default_rng(seed)
    writer: pq.ParquetWriter | None = None
    for first in range(0, trades, CHUNK):
        table = _chunk(rng, first, min(CHUNK, trades - first), trades)
        writer = writer or pq.ParquetWriter(target, table.schema)
        writer.write_table(table)
    if writer is not None:
        writer.close()


def _chunk(rng: np.random.Generator, first: int, count: int, total: int) -> pa.Table:
    """Rows ``first`` to ``first + count``: ids that repeat as real ones do, outcomes after the trade."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    from features.catalogue import load_catalogue

    numbers = np.arange(first, first + count)
    submitted = numbers * (SPAN_US // total)
    moment = pa.timestamp("us", tz="UTC")
    epoch = int(START.timestamp()) * 1_000_000

    def times(offset_us: np.ndarray) -> pa.Array:
        return pa.array(epoch + submitted + offset_us).cast(moment)

    def texts(*parts: str | np.ndarray, between: str = "") -> pa.Array:
        columns = [part if isinstance(part, str) else pa.array(part).cast(pa.string()) for part in parts]
        return pc.binary_join_element_wise(*columns, between)

    def ids(prefix: str, kinds: int) -> pa.Array:
        return texts(prefix, rng.integers(10**9, 10**9 + kinds, count))

    day = 86_400 * 1_000_000
    resold = rng.integers(day, 5 * day, count)
    return pa.table(
        {
            "trade_id": texts("T", 10**12 + numbers),
            "submitted_at": times(np.zeros(count, np.int64)),
            "seller_id": ids("seller-", total // 5 + 1),
            "device_id": ids("device-", total // 4 + 1),
            "ip": texts(*rng.integers(1, 255, (4, count)), between="."),
            "payout_account": ids("account-", total // 5 + 1),
            "region": texts("region-", rng.integers(0, 34, count)),
            "channel": rng.choice(["site", "app", "partner"], count),
            "card_type": rng.choice([row.card_type for row in load_catalogue()], count),
            "card_form": rng.choice(["virtual", "physical"], count),
            "face_value_cny": rng.choice(FACES, count),
            "expires_on": pa.array(rng.integers(20_500, 22_000, count).astype(np.int32)).cast(pa.date32()),
            "card_prefix": ids("6222", 5_000),
            "card_fingerprint": texts(*rng.integers(10**17, 10**18, (2, count))),
            "offered_rate": rng.uniform(0.7, 0.97, count),
            "offer_density": rng.uniform(1.0, 20.0, count),
            "accepted": rng.random(count) < 0.6,
            "decided_at": times(rng.integers(0, day, count)),
            "resale_rate": rng.uniform(0.75, 0.99, count),
            "resold_at": times(resold),
            "fraud": rng.random(count) < 0.02,
            "fraud_known_at": times(resold + day),
            "lot_id": ids("lot-", total // 2 + 1),
        }
    )
