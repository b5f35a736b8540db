"""`huika bench features`: every engine computes the same thing, and the command says whether it did."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.entities import MOST_COUNTED
from features.table_store import TableStore
from features.tables import TABLES
from serving.commands import bench_features
from serving.commands.bench_baseline import builder_features
from serving.commands.bench_peers import (
    COUNTED,
    duckdb_features,
    make_events,
    naive_features,
    pandas_features,
    polars_features,
    polars_keys_features,
)
from serving.commands.bench_processes import child
from serving.refusals import Refusal
from tests.serving.command import run

HOUR = 3_600_000_000


def dense_events(rows: int, seed: int) -> pa.Table:
    """Few entities, many unknown, moments often exactly a window apart: 1 h steps over 60 days, some µs beside."""
    rng = np.random.default_rng(seed)
    steps = np.sort(rng.choice(60 * 24, rows, replace=False)) * HOUR
    events = {
        "time": 20_000 * 24 * HOUR + steps + rng.integers(0, 2, rows),
        "fen": rng.integers(1, 10**6, rows),
    }
    for name in COUNTED:
        texts = [f"{name}-{number}" for number in rng.integers(0, 6, rows)]
        events[name] = pa.array(texts, pa.string(), mask=rng.random(rows) < 0.2)
    return pa.table(events)


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("make", [make_events, dense_events])
@pytest.mark.parametrize(
    ("engine", "features"),
    [
        (builder_features, 60),
        (duckdb_features, 60),
        (polars_features, 60),
        (polars_keys_features, 60),
        (pandas_features, 40),
    ],
)
def test_every_engine_equals_the_definition(engine, features, make, seed) -> None:
    """All columns of 300 events are those of the definition told row by row, also where entities are unknown."""
    events = make(300, seed)
    assert any(events[name].null_count for name in COUNTED)
    expected, found = naive_features(events), engine(events)
    assert len(found) == features
    for name, values in found.items():
        wanted = np.minimum(expected[name], MOST_COUNTED) if "_distinct_" in name else expected[name]
        np.testing.assert_array_equal(values, wanted, err_msg=name)


def test_one_value_changes_the_hash_of_its_column_only() -> None:
    """The comparison sees a single different value, names its column, and knows where different values end."""
    columns = {"ip_count_1h": np.arange(9), "ip_distinct_1h": np.full(9, MOST_COUNTED)}
    others = {"ip_count_1h": np.arange(9), "ip_distinct_1h": np.full(9, 5_000)}

    def digests(values: dict[str, np.ndarray]) -> list[bench_features.Run]:
        hashes = {name: bench_features._digest(name, column) for name, column in values.items()}
        return [bench_features.Run(seconds=1, cpu_seconds=1, peak_mb=1, columns=hashes)]

    assert bench_features.different_columns({"ours": digests(columns), "duckdb": digests(others)}) == {}
    others["ip_count_1h"] = np.where(np.arange(9) == 4, 7, np.arange(9))
    found = bench_features.different_columns({"ours": digests(columns), "duckdb": digests(others)})
    assert found == {"duckdb": ["ip_count_1h"]}


def test_the_baseline_says_that_all_are_equal(capsys: pytest.CaptureFixture[str]) -> None:
    """Each engine has a line with its features, and says yes."""
    assert run("bench", "features", "--only", "baseline", "--rows", 1_500, "--repeat", 1) == 0
    out = capsys.readouterr().out
    lines = {
        name: line for name in bench_features.ENGINES for line in out.splitlines() if _title(name) in line
    }
    assert [" yes " in line for line in lines.values()] == [False, True, True, True, True]
    assert " 60 " in lines["polars"]
    assert " 40 " in lines["pandas"]


def _title(name: str) -> str:
    return bench_features.ENGINES[name].title


def test_a_difference_is_an_error(monkeypatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The table is shown, the exit code is 1 and the column is named."""

    def child(work, *, what, engine, events):
        columns = {"ip_sum_1h": engine, "ip_count_1h": "same"}
        return {"seconds": 1.0, "cpu_seconds": 1.0, "peak_mb": 1.0, "columns": columns}

    monkeypatch.setattr(bench_features, "child", child)
    arguments = ("--only", "baseline", "--rows", 1_000, "--engines", "ours,duckdb")
    assert run("bench", "features", *arguments) == 1
    out, err = capsys.readouterr()
    assert "no: ip_sum_1h" in out
    assert "DuckDB, RANGE windows: ip_sum_1h (1 in all)" in err


def test_growth_by_number_of_trades(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two markets are simulated, stored as an import stores them, and their features written and measured; a second
    run uses the same markets."""
    arguments = ("bench", "features", "--only", "growth", "--trades", "600,300", "--keep", tmp_path)
    assert run(*arguments) == 0
    out = capsys.readouterr().out
    assert out.index(" 300 ") < out.index(" 600 ")
    store = TableStore(tmp_path / "market-600" / "tables")
    for name, table in TABLES.items():
        stored = store.read(name)
        assert stored.schema.equals(table.schema)
        assert stored.equals(stored.sort_by([(column, "ascending") for column in table.order]))
    files = pq.read_table(tmp_path / "market-600" / "files" / "trades.parquet")
    assert store.read("trades")["face_value_fen"].to_pylist() == [
        round(face * 100) for face in files["face_value_cny"].to_pylist()
    ]

    path = store.path("trades")
    assert path is not None
    before = path.stat().st_mtime_ns
    assert run(*arguments) == 0
    assert path.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--engines", "ours,sqlite"], "not sqlite"),
        (["--engines", ","], "not nothing"),
        (["--trades", "100000,many"], "whole numbers"),
        (["--trades", "5"], "between 200 and"),
    ],
)
def test_nonsense_is_refused(capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    """A request that cannot work is one line and exit code 1, before anything is measured."""
    assert run("bench", "features", *arguments) == 1
    assert message in capsys.readouterr().err


def test_a_failing_engine_is_named(tmp_path: Path) -> None:
    """What went wrong in the measured process is told with the engine's name."""
    with pytest.raises(Refusal, match="DuckDB failed: FileNotFoundError"):
        child(
            bench_features.run_engine, what="DuckDB", engine="duckdb", events=str(tmp_path / "none.parquet")
        )
