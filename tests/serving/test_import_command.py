"""`huika import`: what a user sees of an import."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from features.table_store import TableStore
from serving.cli import main
from serving.commands.bench_import import write_trades

HEAD = "trade_id,submitted_at,seller_id,card_type,face_value_cny,card_fingerprint,offered_rate\n"
ROW = "t{0},2025-03-01T10:00:0{0}+08:00,s,my_own_card,100,secret-{0},{1}\n"


def run(*arguments: object) -> int:
    """Run the command; returns the exit code."""
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_refusal_then_import(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Problems are printed with row, line, column and reason, nothing secret, exit code 1; then it works."""
    path, home = tmp_path / "trades.csv", tmp_path / "home"
    path.write_text(HEAD + ROW.format(1, 0.9) + ROW.format(2, 92))
    assert run("import", "--trades", path, "--home", home) == 1
    out, err = capsys.readouterr()
    for text in ("trades.offered_rate", "2 (line 3)", "out_of_range", "unknown_card_type", "my_own_card"):
        assert text in out
    assert "secret-" not in out
    assert "nothing was imported" in err
    assert TableStore(home / "tables").path("trades") is None

    assert run("import", "--trades", path, "--add-card-types", "--quarantine", "--home", home) == 0
    out, _ = capsys.readouterr()
    assert "my_own_card" in out
    assert TableStore(home / "tables").rows("trades") == 1
    assert len(list((home / "reports").glob("import-*-trades-quarantine.csv"))) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "at least one of"),
        (["--trades", "x.csv", "--mapping", "none.toml"], "bad_mapping"),
    ],
)
def test_unusable_requests(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    """A request that cannot work is one line and exit code 1."""
    assert run("import", *arguments, "--home", tmp_path / "home") == 1
    assert message in capsys.readouterr().err


def test_benchmark_file_imports(tmp_path: Path) -> None:
    """The generated benchmark file has every column filled and passes every check."""
    path = tmp_path / "trades.parquet"
    write_trades(path, trades=500, seed=1)
    table = pq.read_table(path)
    assert sum(column.null_count for column in table.columns) == 0
    assert run("import", "--trades", path, "--home", tmp_path / "home") == 0
    assert TableStore(tmp_path / "home" / "tables").rows("trades") == 500
