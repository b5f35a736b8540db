"""Importing: good rows are stored once, sorted, the same bytes for the same rows; a crash changes nothing."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from features.tables import TRADES
from pipelines.training.import_problems import ImportLocked, ImportRefused
from pipelines.training.importing import work_folder
from tests.pipelines.import_world import World, replaced, trades


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


class TestStoring:
    def test_csv_and_parquet_give_the_same_table(self, world: World, tmp_path: Path) -> None:
        """The stored table depends on the content, not on the format of the file."""
        table = trades()
        typed = table.set_column(
            1, "submitted_at", pa.array(table.column(1).to_pylist()).cast(pa.timestamp("ns", "Asia/Shanghai"))
        )
        typed = typed.set_column(4, "face_value_cny", pa.array([100.0] * 5))
        world.load(world.csv(table))
        other = World(tmp_path / "other")
        other.folder.mkdir()
        other.load(other.parquet(typed))
        assert world.store.fingerprint("trades") == other.store.fingerprint("trades")
        row = world.rows()[0]
        assert row["face_value_fen"] == 10_000
        assert row["submitted_at"] == datetime(2025, 3, 1, 2, 0, tzinfo=UTC)
        assert row["expires_on"] is None

    def test_stored_schema_and_order(self, world: World) -> None:
        """The stored table has every listed column in its type, sorted by moment and trade_id."""
        shuffled = trades(50).take(pa.array(np.random.default_rng(3).permutation(50)))
        world.load(world.csv(shuffled))
        path = world.store.path("trades")
        assert path is not None
        assert pq.read_schema(path).remove_metadata() == TRADES.schema
        rows = world.rows()
        assert rows == sorted(rows, key=lambda row: (row["submitted_at"], row["trade_id"]))

    def test_extras_are_kept_behind_the_listed_columns(self, world: World) -> None:
        """Columns that are not listed keep their type and stand last, by name; later imports may add some."""
        world.load(world.parquet(trades(zeta=[1, 2, 3, None, 5], alpha=[1.5] * 5)))
        world.load(world.parquet(trades(middle=["x"] * 5)))
        world.load(world.parquet(trades(MIDDLE=["y"] * 5)))
        schema = pq.read_schema(world.store.path("trades") or "")
        assert schema.names[len(TRADES.schema.names) :] == ["alpha", "middle", "zeta"]
        assert schema.field("zeta").type == pa.int64()
        assert schema.field("alpha").type == pa.float64()

    def test_importing_twice_changes_nothing(self, world: World) -> None:
        """Re-import gives the same bytes and says so."""
        path = world.csv(trades())
        first = world.load(path).tables[0]
        before = world.store.fingerprint("trades")
        second = world.load(path).tables[0]
        assert (first.added, second.added, second.unchanged) == (5, 0, 5)
        assert world.store.fingerprint("trades") == before

    def test_parts_and_whole_give_the_same_bytes(self, world: World, tmp_path: Path) -> None:
        """Two imports, in whichever order, equal one import of everything."""
        table = trades(20)
        world.load(world.csv(table.slice(12)))
        world.load(world.csv(table.slice(0, 12)))
        other = World(tmp_path / "whole")
        other.folder.mkdir()
        other.load(other.csv(table))
        assert world.store.fingerprint("trades") == other.store.fingerprint("trades")

    def test_late_outcomes_update_and_nulls_erase_nothing(self, world: World) -> None:
        """Outcomes that arrive later fill the same trade; a column left out later stays as it was."""
        world.load(world.csv(trades(region=["Beijing"] * 5)))
        known = replaced([None] * 5, 2, "2025-03-09T00:00:00Z")
        result = world.load(world.csv(trades(fraud=replaced([None] * 5, 2, "1"), fraud_known_at=known)))
        assert (result.tables[0].updated, result.tables[0].unchanged) == (1, 4)
        world.load(world.csv(trades().drop_columns(["offered_rate"])))
        row = next(row for row in world.rows() if row["trade_id"] == "t2")
        assert (row["fraud"], row["region"], row["offered_rate"]) == (True, "Beijing", 0.92)
        cleared = trades(fraud=replaced([None] * 5, 2, "0"), fraud_known_at=known)
        assert world.load(world.csv(cleared)).tables[0].updated == 1
        assert next(row for row in world.rows() if row["trade_id"] == "t2")["fraud"] is False

    def test_repeated_rows_count_once(self, world: World) -> None:
        """The same row twice in one file is one trade."""
        table = trades()
        result = world.load(world.csv(pa.concat_tables([table, table.slice(1, 2)]))).tables[0]
        assert (result.rows, result.added, result.repeated) == (7, 5, 2)

    def test_market_and_card_types_come_in_together(self, world: World) -> None:
        """Several files are one import; a card type of the imported card_types is known to the others."""
        types = (
            "card_type,name_zh,name_en,issuer,category,min_rate,max_rate\nmy_card,我卡,My card,me,o,0.5,1\n"
        )
        market = (
            "observed_at,card_type,source,side,rate,volume_cny\n"
            "2025-01-01T00:00:00Z,my_card,a,ask,0.97,10.50\n"
        )
        sources = {
            "market": world.text(market, "market.csv"),
            "card_types": world.text("\ufeff" + types, "types.csv"),
            "trades": world.csv(trades(card_type=["my_card"] * 5)),
        }
        result = world.load_all(sources, catalogue_types={})
        assert [(item.name, item.added) for item in result.tables] == [
            ("card_types", 1),
            ("market", 1),
            ("trades", 5),
        ]
        assert world.store.read("market").to_pylist()[0]["volume_fen"] == 1_050
        assert world.store.read("card_types").to_pylist()[0]["name_zh"] == "我卡"

    def test_one_bad_file_stops_all(self, world: World) -> None:
        """Nothing is half-imported: a bad trades file keeps the good market file out."""
        market = "observed_at,card_type,source,side,rate\n2025-01-01T00:00:00Z,jd_ecard,a,ask,0.97\n"
        sources = {
            "market": world.text(market, "market.csv"),
            "trades": world.csv(trades(face_value_cny=["-1"] * 5)),
        }
        with pytest.raises(ImportRefused):
            world.load_all(sources)
        assert world.store.path("market") is None
        assert world.store.path("trades") is None

    def test_market_rates_can_be_corrected(self, world: World) -> None:
        """The same observation with another rate replaces the stored rate."""
        line = "observed_at,card_type,source,side,rate\n2025-01-01T00:00:00Z,jd_ecard,a,ask,{}\n"
        world.load(world.text(line.format("0.97")), table="market")
        result = world.load(world.text(line.format("0.95")), table="market")
        assert result.tables[0].updated == 1
        assert world.store.read("market", ["rate"]).to_pylist() == [{"rate": 0.95}]


class TestQuarantine:
    def test_good_rows_in_bad_rows_beside(self, world: World) -> None:
        """Good rows are imported; bad ones are written as they were, with row and problem."""
        table = trades(6, offered_rate=["0.9", "90", "0.9", "0.9", "x", "0.9"])
        table = pa.concat_tables([table, trades(1, seller_id=["other"])])
        result = world.load(world.csv(table), quarantine=True).tables[0]
        assert (result.rows, result.added, result.quarantined) == (7, 3, 4)
        assert result.quarantine is not None
        bad = pacsv.read_csv(result.quarantine).to_pylist()
        assert {row["_row"]: row["_problem"].split(": ")[1] for row in bad} == {
            1: "conflicting_duplicate",
            2: "out_of_range",
            5: "wrong_type",
            7: "conflicting_duplicate",
        }
        assert bad[1]["offered_rate"] == "90"
        assert {row["trade_id"] for row in world.rows()} == {"t3", "t4", "t6"}

    def test_a_corrected_quarantine_file_comes_back(self, world: World) -> None:
        """The file of bad rows, corrected, imports; its two added columns are left out."""
        path = world.parquet(trades(offered_rate=pa.array([0.9, 90.0, 0.9, 0.9, 0.9])))
        result = world.load(path, quarantine=True).tables[0]
        assert result.quarantine is not None
        fixed = pq.read_table(result.quarantine)
        fixed = fixed.set_column(fixed.column_names.index("offered_rate"), "offered_rate", [[0.9]])
        assert world.load(world.parquet(fixed)).tables[0].added == 1
        assert pq.read_schema(world.store.path("trades") or "").names == TRADES.schema.names

    def test_ragged_rows_are_kept_as_text(self, world: World) -> None:
        """A row with a wrong number of fields stands in the problem column as text."""
        content = world.csv(trades()).read_text() + "t9,oops\n"
        result = world.load(world.text(content), quarantine=True).tables[0]
        assert (result.added, result.quarantined) == (5, 1)
        assert "t9,oops" in (result.quarantine or Path()).read_text()

    def test_a_file_that_cannot_be_used_is_still_refused(self, world: World) -> None:
        """Quarantine is for rows; a missing column refuses the file."""
        path = world.csv(trades().drop_columns(["seller_id"]))
        world.refused_for(path, "missing_column", "seller_id", None, quarantine=True)


class TestReport:
    def test_page_shows_rules_and_examples_offline(self, world: World) -> None:
        """The page names rules in both languages, shows failing rows, escapes values, and loads nothing."""
        table = trades(offered_rate=replaced(["0.9"] * 5, 2, "<script>"))
        with pytest.raises(ImportRefused) as caught:
            world.load(world.csv(table))
        page = caught.value.report.read_text()
        assert "导入检查报告" in page
        assert "Import report" in page
        assert "&lt;script&gt;" in page
        assert "http" not in page
        assert "not a number" in page
        raw = json.loads(caught.value.report.with_suffix(".json").read_text())
        assert raw["trades"]["chunks"][0]["statistics"]["evaluated_expectations"] == 9


class TestInterruption:
    def test_a_second_import_at_once_is_refused(self, world: World) -> None:
        """Two imports do not interleave."""
        with work_folder(world.store.root), pytest.raises(ImportLocked, match="another import"):
            world.load(world.csv(trades()))
        assert world.load(world.csv(trades())).tables[0].added == 5

    def test_killed_in_the_middle(self, world: World) -> None:
        """A killed import changes nothing, and the next one clears up after it."""
        path = world.csv(trades())
        world.load(path)
        before = world.store.fingerprint("trades")
        process = multiprocessing.get_context("fork").Process(target=_die_while_writing, args=(world,))
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        assert world.store.fingerprint("trades") == before
        assert (world.store.root / "importing").exists()
        (world.store.root / "trades" / "staging-1.parquet").write_bytes(b"half")
        assert world.load(path).tables[0].unchanged == 5
        assert not (world.store.root / "importing").exists()
        assert not list(world.store.root.glob("*/staging-*"))


def _die_while_writing(world: World) -> None:
    def kill(stage: str, share: float) -> None:
        if "write" in stage:
            os.kill(os.getpid(), signal.SIGKILL)

    world.load(world.csv(trades(9), "more.csv"), progress=kill)


def test_dates_keep_their_day(world: World) -> None:
    """The day of a zoned timestamp is the day in that zone, not in UTC."""
    midnight = pa.array([datetime(2025, 12, 31)] * 5).cast(pa.timestamp("us"))  # noqa: DTZ001
    local = pc.assume_timezone(midnight, "Asia/Shanghai")  # pyright: ignore[reportAttributeAccessIssue]
    world.load(world.parquet(trades(expires_on=local)))
    assert world.rows()[0]["expires_on"] == date(2025, 12, 31)


def test_a_label_without_a_moment_keeps_the_one_stored(tmp_path: Path) -> None:
    """Labels that come again without a moment change nothing, whatever the day: neither one that was told nor one that
    was taken for a young trade. Another label gets a moment of its own."""
    world = World(tmp_path)
    young = {"submitted_at": ["2025-01-01T00:00:00Z"] * 3}
    told = trades(3, **young, fraud=["yes", None, None], fraud_known_at=["2025-01-03T00:00:00Z", None, None])
    world.load(world.csv(told))
    again = world.csv(trades(3, **young, fraud=["yes", "no", "no"]), "again.csv")
    fifth, late = datetime(2025, 1, 5, tzinfo=UTC), datetime(2025, 6, 1, tzinfo=UTC)
    assert world.load(again, now=fifth).tables[0].updated == 2
    assert [row["fraud_known_at"] for row in world.rows()] == [datetime(2025, 1, 3, tzinfo=UTC), fifth, fifth]
    result = world.load(again, now=late).tables[0]
    assert (result.updated, result.unchanged, result.label_days) == (0, 3, 30)
    assert world.load(world.csv(trades(3, **young, fraud=[None] * 3))).tables[0].label_days is None
    world.load(world.csv(trades(3, **young, fraud=["yes", "no", "yes"])), now=late)
    assert [row["fraud_known_at"].day for row in world.rows()] == [3, 5, 31]
