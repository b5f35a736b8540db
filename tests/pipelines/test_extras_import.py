"""A mapping gathers the platform's own columns into extras."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from features.extras import with_ages
from features.tables import TRADES
from pipelines.training.casting_extras import gathered_extras, read_extras
from pipelines.training.import_problems import MappingError, SourceProblem
from pipelines.training.mapping import ColumnRule, bind, load_mapping


def mapping(folder: Path, text: str) -> Path:
    file = folder / "map.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_columns_are_gathered_by_name(tmp_path: Path):
    """Every cell keeps what its file holds; what means "unknown" is left out."""
    rules = load_mapping(mapping(tmp_path, '[trades]\nextras = { columns = ["age", "zip", "colour", "km"] }'))
    assert rules["trades"]["extras"].columns == ("age", "zip", "colour", "km")
    cast, misses = gathered_extras(
        {
            "age": pa.array(["3", "4.5", None]),
            "zip": pa.array(["00123", "10000", "NULL"]),
            "colour": pa.array(["red", "NA", ""]),
            "km": pa.array([10, None, 7], pa.int32()),
        },
        rules["trades"]["extras"],
    )
    assert not misses
    assert [json.loads(text) for text in cast.to_pylist()] == [
        {"age": "3", "colour": "red", "km": 10.0, "zip": "00123"},
        {"age": "4.5", "zip": "10000"},
        {"km": 7.0},
    ]


def test_numbers_with_marks_among_extras_are_numbers():
    """Amounts and percentages as people write them lose their marks where the mapping names these; words, months and
    codes of letters and digits stay."""
    columns = {
        "loan": pa.array(["$60,000.00", "950"]),
        "rate": pa.array(["13.99%", "low, 3"]),
        "since": pa.array(["Dec-2011", "Jan-2011"]),
        "place": pa.array(["NYC123", "123ABC"]),
    }
    cast, _ = gathered_extras(columns, ColumnRule(columns=tuple(columns), thousands=","))
    assert [json.loads(text) for text in cast.to_pylist()] == [
        {"loan": "60000.00", "rate": "13.99", "since": "Dec-2011", "place": "NYC123"},
        {"loan": "950", "rate": "low, 3", "since": "Jan-2011", "place": "123ABC"},
    ]


def test_times_among_extras_are_read_as_they_are_written(tmp_path: Path):
    """Texts and whole numbers become ISO 8601 times, from which ages are made; what is unknown is left out, and what is
    not written so is a miss of its row."""
    gathered = 'columns = ["signup", "born", "last"], timezone = "Asia/Shanghai"'
    formats = '{ signup = "%m/%d/%Y %H:%M", born = "%Y%m%d" }'
    text = f"extras = {{ {gathered}, formats = {formats} }}"
    rule = load_mapping(mapping(tmp_path, f"[trades]\n{text}"))["trades"]["extras"]
    columns = {
        "signup": pa.array(["12/7/2009 09:05", "?", "2009-12-07"]),
        "born": pa.array([19700131, None, 19991231]),
        "last": pa.array([None, "2009-12-01", None]),
    }
    cast, misses = gathered_extras(columns, rule)
    assert [json.loads(text) for text in cast.to_pylist()] == [
        {"signup": "2009-12-07T01:05:00Z", "born": "1970-01-30T16:00:00Z"},
        {"last": "2009-11-30T16:00:00Z"},
        {"born": "1999-12-30T16:00:00Z"},
    ]
    assert [(miss.code, miss.column, list(miss.mask)) for miss in misses] == [
        ("other_format", "signup", [False, False, True])
    ]
    aged = with_ages(
        np.array(cast.to_pylist(), dtype=object), np.full(3, 1_260_176_700_000_000 - 7 * 3_600_000_000)
    )
    assert json.loads(aged[0])["signup"] == 1.0


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ('extras = { columns = ["a"], formats = { b = "%Y" } }', "'b', which is not among columns"),
        ('extras = { columns = ["a"], formats = { a = "%Y %z" } }', "cannot hold a zone"),
        (
            'extras = { columns = ["a"], formats = { a = "%Y-%Q" } }',
            "'Q' is a bad directive",
        ),
        ('seller_id = { column = "a", formats = { a = "%Y" } }', "formats does not apply"),
    ],
)
def test_wrong_formats_are_named(tmp_path: Path, rule: str, message: str):
    """A format of a column that is not gathered, with a zone, or of another kind of column is refused."""
    with pytest.raises(MappingError, match=message):
        load_mapping(mapping(tmp_path, f"[trades]\n{rule}"))


@pytest.mark.parametrize(
    "values",
    [
        pa.array(["07/12/09"]),
        pa.array([20091207.0]),
        pa.array([[20091207]]),
        pa.array([{"day": 7}]),
    ],
)
def test_what_is_no_time_of_its_format_is_a_miss(values: pa.Array):
    """A year without its century, fractions, lists and structures are told by column, not read as something else."""
    rule = ColumnRule(columns=(" signup ",), formats={"signup ": "%d/%m/%Y"})
    _, misses = gathered_extras({"signup": values}, rule)
    assert [(miss.code, miss.column) for miss in misses] == [("other_format", "signup")]


def test_moments_of_any_form_become_those_of_utc():
    """Columns of times and ISO 8601 texts without a zone are in the rule's zone; what lies outside the calendar, and
    days that do not exist, are no moments."""
    zone = "Asia/Shanghai"
    columns = {
        "naive": pa.array([1_700_000_000, None, 300_000_000_000], pa.timestamp("s")),
        "aware": pa.array(
            [1_700_000_000_123, 253_402_300_799_000, -70_000_000_000_000], pa.timestamp("ms", zone)
        ),
        "exact": pa.array([1_700_000_000_123_456_789, None, None], pa.timestamp("ns", "UTC")),
        "day": pa.array([19_700, 2_932_897, 0], pa.date32()),
        "text": pa.array(["2023-11-15 06:13:20", "2023-02-30", "2023-11-14T22:13:20Z"]),
        "none": pa.array(["9999-12-31 23:59:59", "0001-01-01 00:00:00", "2023-11-15T06:13:20.5"]),
    }
    cast, misses = gathered_extras(columns, ColumnRule(columns=tuple(columns), timezone=zone))
    assert not misses
    assert [json.loads(text) for text in cast.to_pylist()] == [
        {
            "naive": "2023-11-14T14:13:20Z",
            "aware": "2023-11-14T22:13:20.123000Z",
            "exact": "2023-11-14T22:13:20.123456Z",
            "day": "2023-12-08T16:00:00Z",
            "text": "2023-11-14T22:13:20Z",
        },
        {"text": "2023-02-30"},
        {
            "day": "1969-12-31T16:00:00Z",
            "none": "2023-11-14T22:13:20.500000Z",
            "text": "2023-11-14T22:13:20Z",
        },
    ]
    ages = with_ages(cast.to_numpy(zero_copy_only=False), np.array([1_700_000_000_000_000] * 3))
    assert json.loads(ages[0])["naive"] == 8


def test_an_hour_that_clocks_skipped_is_the_moment_of_the_jump():
    """Midnight of the first day of a summer time that began then is no reason to end an import."""
    rule = ColumnRule(columns=("born",), formats={"born": "%Y%m%d"}, timezone="Asia/Shanghai")
    cast, misses = gathered_extras({"born": pa.array(["19400601", "19400602"])}, rule)
    assert not misses
    assert [json.loads(text)["born"] for text in cast.to_pylist()] == [
        "1940-05-31T16:00:00Z",
        "1940-06-01T15:00:00Z",
    ]


@pytest.mark.parametrize("text", ['{"a":"\\ud800"}', '{"\\ud800":1}', "[" * 20_000])
def test_json_that_no_file_can_hold_is_a_miss(text: str):
    """Half of a character, or brackets without end, are a miss of their row."""
    cast, misses = read_extras(pa.array([text, '{"a":1}']), ColumnRule(column="facts"))
    assert cast.to_pylist() == [None, '{"a":1.0}']
    assert [list(miss.mask) for miss in misses] == [[True, False]]


def test_a_point_between_thousands_leaves_addresses_alone():
    """Three digits stand between points; an address of a network has other groups."""
    columns = {"ip": pa.array(["192.168.10.100", "12.14.393"]), "loan": pa.array(["1.234.567,5", "12"])}
    rule = ColumnRule(columns=tuple(columns), thousands=".", decimal=",")
    cast, _ = gathered_extras(columns, rule)
    assert [json.loads(text) for text in cast.to_pylist()] == [
        {"ip": "192.168.10.100", "loan": "1234567.5"},
        {"ip": "12.14.393", "loan": "12"},
    ]


def test_a_column_of_json_objects_is_read(tmp_path: Path):
    """Good objects in their one written form; others are misses, row by row."""
    values = pa.array(['{"b":1,"a":"x"}', None, "[1]", "no"])
    cast, misses = read_extras(values, ColumnRule(column="extras"))
    assert cast.to_pylist() == ['{"a":"x","b":1.0}', None, None, None]
    assert [list(miss.mask) for miss in misses] == [[False, False, True, True]]


def test_a_missing_column_and_a_wrong_place_are_named(tmp_path: Path):
    """A gathered column the file lacks is refused by name, and no amount is made of several."""
    with pytest.raises(MappingError, match="columns does not apply"):
        load_mapping(mapping(tmp_path, '[trades]\nface_value_cny = { columns = ["a"] }'))
    rules = {"extras": ColumnRule(columns=("age", "km"))}
    with pytest.raises(SourceProblem) as refused:
        bind(TRADES, rules, ["trade_id", "submitted_at", "seller_id", "card_type", "face_value_cny", "age"])
    assert refused.value.column == "km"
