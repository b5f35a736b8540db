"""`huika import`: what a user sees of an import."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from features.table_store import TableStore
from serving.commands.bench_import import write_trades
from tests.serving.command import run

HEAD = "trade_id,submitted_at,seller_id,card_type,face_value_cny,card_fingerprint,offered_rate\n"
ROW = "t{0},2025-03-01T10:00:0{0}+08:00,s,my_own_card,100,secret-{0},{1}\n"


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


@pytest.mark.parametrize(("unknown", "share"), [(1, "10.0%"), (2, "15.0%"), (3, "20.0%")])
def test_rows_set_aside_are_counted_with_their_reasons(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], unknown: int, share: str
) -> None:
    """How many of how many, and each reason with its rows, the most frequent first; above a tenth it is pointed out."""
    path = tmp_path / "trades.csv"
    kinds = [*unknown * ["京东E卡"], *(20 - unknown) * ["jd_ecard"]]
    rates = [*19 * [0.9], 92]
    rows = [
        f"t{row},2025-03-01T10:00:00Z,s,{kind},100,secret,{rate}\n"
        for row, (kind, rate) in enumerate(zip(kinds, rates, strict=True))
    ]
    path.write_text(HEAD + "".join(rows))
    assert run("import", "--trades", path, "--quarantine", "--home", tmp_path / "home") == 0
    out = capsys.readouterr().out
    assert f"隔离 set aside (trades): {unknown + 1} / 20 行 rows, {share}" in out
    kind, rate = (
        out.index(f"{unknown}  card_type unknown_card_type"),
        out.index("1  offered_rate out_of_range"),
    )
    assert unknown == 1 or kind < rate
    assert '"京东E卡" = "jd_ecard"' in out
    assert ("More than a tenth of the rows was not imported" in out) == (unknown > 1)
    assert ("超过十分之一" in out) == (unknown > 1)
    assert "secret" not in out


def test_many_reasons_are_cut_short(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Five reasons stand on the screen, and how many more there are; nothing is said where no row is set aside."""
    head = HEAD.replace("card_fingerprint", "decision")
    good = "g,2025-03-01T10:00:00Z,s,jd_ecard,100,pay,0.9\n"
    bad = (
        "a,when,s,jd_ecard,100,pay,0.9\n"
        "b,2025-03-01T10:00:00Z,,jd_ecard,100,pay,0.9\n"
        "c,2025-03-01T10:00:00Z,s,,100,pay,0.9\n"
        "d,2025-03-01T10:00:00Z,s,jd_ecard,much,pay,0.9\n"
        "e,2025-03-01T10:00:00Z,s,jd_ecard,100,perhaps,0.9\n"
        "f,2025-03-01T10:00:00Z,s,jd_ecard,100,pay,92\n"
    )
    for rows in (good, bad + good):
        (tmp_path / "trades.csv").write_text(head + rows)
        told = run("import", "--trades", tmp_path / "trades.csv", "--quarantine", "--home", tmp_path / "home")
        out = capsys.readouterr().out
        assert told == 0
        assert ("set aside (trades): 6 / 7" in out) == (rows != good)
        assert ("另有 1 种原因" in out) == (rows != good)


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
