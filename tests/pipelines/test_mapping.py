"""Mapping: any platform's columns become the columns of the input tables; a wrong mapping is named."""

from __future__ import annotations

import hashlib
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.tables import TRADES, Kind
from pipelines.training.casting import cast_column, constant_column, extra_column, reason
from pipelines.training.import_problems import MappingError, SourceProblem
from pipelines.training.mapping import ColumnRule, bind, load_mapping
from tests.pipelines.import_world import NOW, World

HANDBOOK = Path(__file__).parents[2] / "docs" / "examples" / "handbook.toml"


def cast(values: Any, kind: Kind, **rule: Any) -> tuple[list[Any], dict[str, list[int]]]:
    """Cast values; returns them and, by code, the 0-based places that could not be read."""
    source = values if isinstance(values, pa.Array) else pa.array(values)
    result, misses = cast_column(source, kind=kind, rule=ColumnRule(column="x", **rule))
    return result.to_pylist(), {miss.code: np.flatnonzero(miss.mask).tolist() for miss in misses}


class TestMappingFile:
    def write(self, folder: Path, text: str) -> Path:
        path = folder / "map.toml"
        path.write_text(text)
        return path

    def test_handbook_example(self, tmp_path: Path) -> None:
        """The example of the docs turns the public transactions into trades, labels seven days later."""
        table = pa.table(
            {
                "TRANSACTION_ID": pa.array([7, 8], pa.int32()),
                "TX_DATETIME": pa.array(["2018-04-01T01:00", "2018-04-01T02:00"]).cast(pa.timestamp("ms")),
                "CUSTOMER_ID": pa.array([1, 2], pa.int32()),
                "TERMINAL_ID": pa.array([3, 4], pa.int32()),
                "TX_AMOUNT": [57.16, 0.0],
                "TX_FRAUD": pa.array([0, 1], pa.int8()),
            }
        )
        world = World(tmp_path)
        world.load(world.parquet(table), mapping=load_mapping(HANDBOOK), add_card_types=True)
        row = world.rows()[1]
        assert row["trade_id"] == "8"
        assert row["device_id"] == "4"
        assert row["card_type"] == "any"
        assert row["fraud"] is True
        assert row["submitted_at"] == datetime(2018, 4, 1, 2, tzinfo=UTC)
        assert row["fraud_known_at"] == datetime(2018, 4, 8, 2, tzinfo=UTC)
        assert world.rows()[0]["face_value_fen"] == 5716

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("[trades\n", "not valid TOML"),
            ("[deals]\na = 'b'", "deals"),
            ("[trades]\nface_value = 'AMOUNT'", "trades.face_value is not a column"),
            ("[trades]\ntrade_id = 3", "name of your column"),
            ("[trades]\ntrade_id = { column = 'A', colour = 'red' }", "colour"),
            ("[trades]\ntrade_id = { column = 'A', constant = 'B' }", "either column or constant"),
            ("[trades]\ntrade_id = { column = 'A', timezone = 'UTC' }", "timezone does not apply"),
            ("[trades]\nface_value_cny = { column = 'A', words = { a = 'b' } }", "words does not apply"),
            ("[trades]\nsubmitted_at = { column = 'A', timezone = 'Mars/Base' }", "unknown timezone"),
            ("[trades]\nsubmitted_at = { column = 'A', format = '%Y %z' }", "zone"),
            ("[trades]\nsubmitted_at = { column = 'A', format = '%G-W%V-%u' }", "no time can be read"),
            ("[trades]\nexpires_on = { column = 'A', format = '%H:%M' }", "no time can be read"),
            ("[trades]\nexpires_on = { column = 'A', format = '%F' }", "bad directive"),
            ("[trades]\nsubmitted_at = { column = 'A', format = '%s' }", "seconds"),
            ("[trades]\nsubmitted_at = { column = 'A', format = '%d.%m.%Y %I:%M' }", "%I needs %p"),
            ("[trades]\nsubmitted_at = { column = 'A', format = '%Y', unit = 'days' }", "give one of them"),
            ("[trades]\nface_value_cny = { column = 'A', thousands = '.' }", "the same mark"),
            ("[trades]\ntrade_id = { row = 'A', words = { a = 'b' } }", "words does not apply"),
        ],
    )
    def test_a_wrong_mapping_names_what_is_wrong(self, tmp_path: Path, text: str, message: str) -> None:
        """Tables, columns and rules that do not exist are named before any file is read."""
        with pytest.raises(MappingError, match=message):
            load_mapping(self.write(tmp_path, text))

    def test_no_mapping_file(self, tmp_path: Path) -> None:
        """A mapping file that is not there is named."""
        with pytest.raises(MappingError, match="cannot be read"):
            load_mapping(tmp_path / "none.toml")


class TestBinding:
    COLUMNS = ("trade_id", "when", "seller_id", "card_type", "face_value_cny", "colour", "_row")

    def test_mapped_own_and_extra_columns(self) -> None:
        """Mapped columns are renamed, columns of our own names are taken, others are extras."""
        binding = bind(TRADES, {"submitted_at": ColumnRule(column="when")}, self.COLUMNS)
        assert binding.rules["submitted_at"].column == "when"
        assert set(binding.rules) == {"trade_id", "submitted_at", "seller_id", "card_type", "face_value_cny"}
        assert binding.extras == ("colour",)

    def test_a_zone_given_once_holds_for_the_column(self) -> None:
        """Two rules on one user's column share the zone that one of them gives."""
        rules = {
            "submitted_at": ColumnRule(column="when", timezone="UTC"),
            "decided_at": ColumnRule(column="when", plus_days=1),
        }
        assert bind(TRADES, rules, self.COLUMNS).rules["decided_at"].timezone == "UTC"

    def test_missing_columns(self) -> None:
        """A mapped column that the file lacks, and a required one nobody fills, are named."""
        with pytest.raises(SourceProblem, match="WHEN") as caught:
            bind(TRADES, {"submitted_at": ColumnRule(column="WHEN")}, self.COLUMNS)
        assert (caught.value.code, caught.value.column) == ("missing_column", "WHEN")
        with pytest.raises(SourceProblem, match="submitted_at"):
            bind(TRADES, {}, self.COLUMNS)


class TestCasting:
    @given(st.integers(0, 100_000_000))
    def test_yuan_text_is_exact_fen(self, fen: int) -> None:
        """Every amount with two decimals is read exactly, as text, decimal or float."""
        text = f"{fen // 100}.{fen % 100:02d}"
        for values in ([text], [float(text)], pa.array([Decimal(text)])):
            assert cast(values, "money") == ([fen], {})

    def test_money_with_noise_and_with_fractions(self) -> None:
        """Float noise is forgiven, a third decimal is not; scale reads files kept in fen."""
        assert cast([0.1 + 0.2, 10.005], "money") == ([30, None], {"too_many_decimals": [1]})
        assert cast(["12345"], "money", scale=0.01) == ([12345], {})

    def test_percentages_scaled(self) -> None:
        """Percent become fractions by scale."""
        values, misses = cast(["92", "95.5"], "number", scale=0.01)
        assert values == pytest.approx([0.92, 0.955])
        assert misses == {}

    def test_amounts_with_marks(self) -> None:
        """Marks between thousands, another decimal mark and a currency's sign are read where the mapping names them; a
        mark in another place is no number, and without a rule none is."""
        written = ["$60,000.00", "1,538,200.39", "USD 950", "-¥5", "12,50", "1,2,3"]
        read = [6_000_000, 153_820_039, 95_000, -500, None, None]
        assert cast(written, "money", thousands=",") == (read, {"wrong_type": [4, 5]})
        assert cast(["1.234,50 €", "12,5", "12.5"], "money", thousands=".", decimal=",")[0] == [
            123_450,
            1_250,
            None,
        ]
        assert cast(["$60"], "money") == ([None], {"wrong_type": [0]})
        assert cast(["Dec-2011", "ABC123", "0,125"], "money", thousands=",")[0] == [None] * 3
        assert "thousands" in reason("wrong_type", "money")[1]

    def test_flags(self) -> None:
        """true/false/1/0 in any type; the mapping's words for true make all others false."""
        assert cast(["true", "FALSE", "1", "0", None, "maybe"], "flag") == (
            [True, False, True, False, None, None],
            {"wrong_type": [5]},
        )
        assert cast([1.0, 0.0, None], "flag") == ([True, False, None], {})
        assert cast(["Yes", "n", "是", "否", "1.0", "0.00"], "flag") == (
            [True, False, True, False, True, False],
            {},
        )
        assert cast(["1.0", "0.0"], "flag", true=(1,)) == ([True, False], {})
        assert cast(["是", "否", "?"], "flag", true=("是",)) == ([True, False, False], {})
        assert cast(["是", "否", "?"], "flag", true=("是",), false=("否",))[1] == {"wrong_type": [2]}

    def test_ids_read_as_floats_stay_ids(self) -> None:
        """pandas turns whole-number ids with gaps into floats; they come back without a decimal point."""
        assert cast([12.0, None, 7.0], "text") == (["12", None, "7"], {})
        assert cast([12, None], "text") == (["12", None], {})
        assert cast(["  a ", ""], "text") == (["a", None], {})

    def test_words_of_the_user_become_ours(self) -> None:
        """Listed texts are replaced, an empty word stands for unknown, and the others stay as they are."""
        words = {"拒付": "chargeback", "n/a": "", "3": "analyst"}
        given = ["拒付", "n/a", "issuer", None]
        assert cast(given, "text", words=words) == (["chargeback", None, "issuer", None], {})
        assert cast([3.0, None, 4.0], "text", words=words) == (["analyst", None, "4"], {})

    def test_bad_utf8_among_many(self) -> None:
        """One broken cell among thousands is found by halving."""
        cells = pa.array([b"ok"] * 5000 + [b"\xff\xfe"] + [b"ok"] * 5000, pa.binary())
        values, misses = cast(cells, "text")
        assert misses == {"bad_encoding": [5000]}
        assert values[5000] is None

    def test_constants(self) -> None:
        """A constant fills the column, cast like any cell."""
        values, misses = constant_column(ColumnRule(constant=True), 3, kind="flag")
        assert (values.to_pylist(), misses) == ([True] * 3, [])
        assert constant_column(ColumnRule(constant="x"), 2, kind="number")[1][0].code == "wrong_type"

    def test_extras_keep_plain_types(self) -> None:
        """Numbers stay numbers; what has no plain type becomes text."""
        assert extra_column(pa.array([1, 2]))[0].type == pa.int64()
        assert extra_column(pa.array(["a"]).dictionary_encode())[0].to_pylist() == ["a"]
        assert extra_column(pa.array([{"a": 1}]))[0].to_pylist() == ["{'a': 1}"]
        assert extra_column(pa.nulls(2))[0].type == pa.string()


def test_texts_and_days_in_several_columns(tmp_path: Path) -> None:
    """A day in three columns, of years before 2000 too, and an id in two are joined by spaces; a day without its month
    is refused by name, while an id stands with what is known of it."""
    world = World(tmp_path)
    mapping = tmp_path / "map.toml"
    mapping.write_text(
        """
        [trades]
        trade_id = { row = "t-" }
        submitted_at = { columns = ["year", "month", "day"], format = "%Y %B %d", timezone = "UTC" }
        seller_id = { columns = ["first", "last"] }
        card_type = { constant = "jd_ecard" }
        face_value_cny = { constant = 1 }
        """
    )
    rows = ["year,month,day,first,last", "1988,July,1,Ann,Li", "1994,December,31,,Wu"]
    world.load(world.text("\n".join(rows) + "\n"), mapping=load_mapping(mapping))
    assert [(row["submitted_at"].date(), row["seller_id"]) for row in world.rows()] == [
        (date(1988, 7, 1), "Ann Li"),
        (date(1994, 12, 31), "Wu"),
    ]
    broken = world.text("\n".join([*rows, "1994,,5,A,B"]) + "\n", "broken.csv")
    world.refused_for(broken, "missing_value", "submitted_at", 3, mapping=load_mapping(mapping))


def test_blanks_around_a_column_name_mean_nothing() -> None:
    """Files' names are read without them, so a mapping copied from a header may have them."""
    assert ColumnRule(column=" max value received ").read == ("max value received",)
    assert ColumnRule(columns=("Year ", " Month")).read == ("Year", "Month")


def test_mapped_csv_end_to_end(tmp_path: Path) -> None:
    """A foreign export with its own names, zone, percentages and words imports through a mapping file."""
    world = World(tmp_path)
    text = (
        "订单号;时间;卖家;面值;折扣;成交\nA1;2025/03/01 10:00;u1;500;92;是\nA2;2025/03/01 11:00;u2;3;95;否\n"
    )
    mapping = tmp_path / "map.toml"
    mapping.write_text(
        """
        [trades]
        trade_id = "订单号"
        submitted_at = { column = "时间", timezone = "Asia/Shanghai", format = "%Y/%m/%d %H:%M" }
        seller_id = "卖家"
        face_value_cny = "面值"
        offered_rate = { column = "折扣", scale = 0.01 }
        accepted = { column = "成交", true = ["是"] }
        decided_at = { column = "时间", timezone = "Asia/Shanghai", format = "%Y/%m/%d %H:%M" }
        card_type = { constant = "jd_ecard" }
        """
    )
    world.load(world.text(text), mapping=load_mapping(mapping))
    rows = world.rows()
    assert [row["accepted"] for row in rows] == [True, False]
    assert rows[0]["offered_rate"] == pytest.approx(0.92)
    assert rows[0]["submitted_at"] == datetime(2025, 3, 1, 2, tzinfo=UTC)
    assert pq.read_schema(world.store.path("trades") or "").names == TRADES.schema.names


def test_a_table_without_ids_and_label_times_end_to_end(tmp_path: Path) -> None:
    """Rows without an id, months or seconds in place of times, amounts with fractions of a fen, labels without a moment
    and a column without a name: a mapping brings them all in, and labels count as known 30 days later, never ahead."""
    world = World(tmp_path)
    text = ",month,when,limit,bad\n0,0,86400,190.005,no\n1,13,1767139200.5,1.999,yes\n2,2,90000,3,\n"
    mapping = tmp_path / "map.toml"
    mapping.write_text(
        """
        [trades]
        trade_id = { row = "app-" }
        submitted_at = { column = "month", unit = "months", since = 2024-11-05 }
        seller_id = { row = "" }
        face_value_cny = { column = "limit", round = true }
        fraud = { column = "bad", true = ["yes"], false = ["no"] }
        card_type = { constant = "jd_ecard" }
        """
    )
    result = world.load(world.text(text), mapping=load_mapping(mapping))
    first, third, second = world.rows()
    assert result.tables[0].label_days == 30
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    assert [first["trade_id"], second["trade_id"], second["seller_id"]] == [
        f"app-{digest}-000000001",
        f"app-{digest}-000000002",
        f"{digest}-000000002",
    ]
    assert [row["submitted_at"].date().isoformat() for row in (first, third, second)] == [
        "2024-11-05",
        "2025-01-05",
        "2025-12-05",
    ]
    assert (first["face_value_fen"], second["face_value_fen"]) == (19_000, 200)
    assert first["fraud_known_at"] == datetime(2024, 12, 5, tzinfo=UTC)
    assert (second["fraud_known_at"], third["fraud_known_at"]) == (NOW, None)
    assert "column_1" in pq.read_schema(world.store.path("trades") or "").names
    when, misses = cast_column(
        pa.array(["86400", "1767139200.5", "soon"]),
        kind="time",
        rule=ColumnRule(column="when", unit="seconds"),
    )
    assert when.to_pylist()[:2] == [
        datetime(1970, 1, 2, tzinfo=UTC),
        datetime(2025, 12, 31, 0, 0, 0, 500_000, tzinfo=UTC),
    ]
    assert [miss.code for miss in misses] == ["wrong_type"]


def test_rows_of_another_file_are_other_trades_and_the_same_file_again_the_same(tmp_path: Path) -> None:
    """Rows named by their place: a file imported twice stays what it was, and a later file's rows stand beside it with
    sellers of their own, whether it is imported or its trades set aside come back corrected."""
    world = World(tmp_path)
    rules = {
        "trade_id": ColumnRule(row="app-"),
        "seller_id": ColumnRule(row=""),
        "card_type": ColumnRule(constant="jd_ecard"),
    }
    options = {"mapping": {"trades": rules}, "quarantine": True}
    head = "submitted_at,face_value_cny\n"
    march = world.text(head + "2025-03-01T10:00:00Z,100\n2025-03-02T10:00:00Z,many\n", "march.csv")
    first = world.load(march, **options).tables[0]
    assert (first.added, first.quarantined) == (1, 1)
    corrected = (first.quarantine or march).read_text().replace("many", "200")
    april = head + "2025-04-01T10:00:00Z,300\n"
    for name, text in (("corrected.csv", corrected), ("april.csv", april)):
        assert world.load(world.text(text, name), **options).tables[0].added == 1
    again = world.load(march, **options).tables[0]
    assert (again.added, again.unchanged) == (0, 1)
    assert [row["face_value_fen"] for row in world.rows()] == [10_000, 20_000, 30_000]
    assert len({row["seller_id"] for row in world.rows()}) == 3
