"""Bad files are refused with row, column and reason, and nothing of them is stored."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipelines.training.mapping import ColumnRule, load_mapping
from tests.pipelines.import_world import World, replaced, trades

BAD_VALUES = [
    ("face_value_cny", "-5", "out_of_range"),
    ("face_value_cny", "1000000000000", "out_of_range"),
    ("face_value_cny", "1e300", "out_of_range"),
    ("face_value_cny", "10.005", "too_many_decimals"),
    ("face_value_cny", "nan", "not_finite"),
    ("face_value_cny", "inf", "not_finite"),
    ("offered_rate", "92", "out_of_range"),
    ("offered_rate", "-inf", "not_finite"),
    ("offered_rate", "九折", "wrong_type"),
    ("submitted_at", "2025-03-01T10:00:00", "naive_time"),
    ("submitted_at", "2025-03-01", "naive_time"),
    ("submitted_at", "2025-02-30T10:00:00Z", "wrong_type"),
    ("submitted_at", "yesterday", "wrong_type"),
    ("submitted_at", "2026-01-02T08:00:01+08:00", "future_time"),
    ("submitted_at", "1970-01-20T03:00:00Z", "out_of_range"),
]
"""Column, a value it must not have, and the code of the refusal."""


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.mark.parametrize("content", ["", "\n\n", "trade_id,submitted_at\n"])
def test_empty_file(world: World, content: str) -> None:
    """A file without rows is refused."""
    world.refused_for(world.text(content), "empty_file", "", None)


def test_empty_parquet(world: World) -> None:
    """A Parquet file without rows is refused."""
    world.refused_for(world.parquet(trades().slice(0, 0)), "empty_file", "", None)


def test_no_such_file(world: World) -> None:
    """A missing file is named."""
    world.refused_for(world.folder / "nowhere.csv", "not_found", "", None)


def test_missing_key_column(world: World) -> None:
    """A required column that nothing fills is named."""
    world.refused_for(world.csv(trades().drop_columns(["trade_id"])), "missing_column", "trade_id", None)


def test_repeated_column(world: World) -> None:
    """Two columns of one name, or of names that differ in case only, are ambiguous."""
    world.refused_for(world.text("trade_id,a,a\n1,2,3\n"), "duplicate_column", "a", None)
    world.refused_for(world.csv(trades(Seller_ID=["x"] * 5)), "duplicate_column", "Seller_ID", None)


def test_missing_value(world: World) -> None:
    """A required cell left empty is named with its row."""
    table = trades(seller_id=replaced(["s"] * 5, 4, None))
    world.refused_for(world.csv(table), "missing_value", "seller_id", 4)


def test_wrong_type_in_one_row_of_many(world: World) -> None:
    """One word among 200,000 amounts is found, with its row and line."""
    count, row = 200_000, 123_457
    table = trades(count, face_value_cny=replaced(["100"] * count, row, "hundred"))
    problem = world.refused_for(world.csv(table), "wrong_type", "face_value_cny", row)
    assert problem.failed == 1
    assert problem.examples[0].value == "hundred"
    assert problem.examples[0].line == row + 1


def test_bad_values(world: World) -> None:
    """Each bad value is refused with its row, its column and its code."""
    table = trades(len(BAD_VALUES))
    for row, (column, value, _) in enumerate(BAD_VALUES, start=1):
        values = replaced(table.column(column).to_pylist(), row, value)
        table = table.set_column(table.column_names.index(column), column, [values])
    problems = world.refused(world.csv(table))
    found = {(item.column, example.row, item.code) for item in problems for example in item.examples}
    assert found == {(column, row, code) for row, (column, _, code) in enumerate(BAD_VALUES, start=1)}


@pytest.mark.parametrize("column", sorted({column for column, _, _ in BAD_VALUES}))
def test_one_bad_value_is_enough(world: World, column: str) -> None:
    """A single bad cell refuses the whole file."""
    name, value, code = next(case for case in BAD_VALUES if case[0] == column)
    table = trades()
    values = replaced(table.column(name).to_pylist(), 3, value)
    table = table.set_column(table.column_names.index(name), name, [values])
    world.refused_for(world.csv(table), code, name, 3)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_not_finite_in_parquet(world: World, value: float) -> None:
    """NaN and infinity in a number column of a Parquet file are no numbers."""
    table = trades(offered_rate=pa.array(replaced([0.9] * 5, 2, value)))
    world.refused_for(world.parquet(table), "not_finite", "offered_rate", 2)


def test_percent_gets_advice(world: World) -> None:
    """A rate of 92 is told to be divided by 100."""
    problem = world.refused_for(world.csv(trades(offered_rate=["92"] * 5)), "out_of_range", "offered_rate", 1)
    assert problem.failed == 5
    assert "divide percentages by 100" in problem.rule.en
    assert "除以 100" in problem.rule.zh


def test_naive_parquet_timestamps(world: World) -> None:
    """Parquet timestamps without zone are refused, and accepted once the mapping names the zone."""
    times = pa.array([datetime(2025, 3, 1, 10)] * 5, pa.timestamp("ns"))  # noqa: DTZ001
    path = world.parquet(trades(submitted_at=times))
    world.refused_for(path, "naive_time", "submitted_at", 1)
    rule = ColumnRule(column="submitted_at", timezone="Asia/Shanghai")
    world.load(path, mapping={"trades": {"submitted_at": rule}})
    assert world.rows()[0]["submitted_at"] == datetime(2025, 3, 1, 2, tzinfo=UTC)


def test_label_known_before_the_trade(world: World) -> None:
    """A label cannot be known before the trade happened."""
    table = trades(
        fraud=["1"] * 5, fraud_known_at=replaced(["2025-04-01T00:00:00Z"] * 5, 5, "2025-02-01T00:00:00Z")
    )
    world.refused_for(world.csv(table), "label_before_trade", "fraud_known_at", 5)


def test_label_without_its_moment(world: World) -> None:
    """A label without the moment it became known could leak into the past."""
    table = trades(fraud=replaced([None] * 5, 2, "true"), fraud_known_at=pa.nulls(5, pa.string()))
    world.refused_for(world.csv(table), "missing_time", "fraud_known_at", 2)


def test_word_outside_its_set(world: World) -> None:
    """card_form knows two words."""
    table = trades(card_form=replaced(["virtual"] * 5, 2, "plastic"))
    world.refused_for(world.csv(table), "not_in_set", "card_form", 2)


def test_conflict_within_the_file(world: World) -> None:
    """One trade_id with two contents in a file: the row, the column and the other row are named."""
    table = pa.concat_tables([trades(), trades(1, seller_id=["other"])])
    problem = world.refused_for(world.csv(table), "conflicting_duplicate", "seller_id", 6)
    assert problem.examples[0].value == "other ≠ s0 (row 1)"


def test_conflict_with_the_store(world: World) -> None:
    """A stored trade cannot change its face value."""
    world.load(world.csv(trades()))
    table = trades(face_value_cny=replaced(["100"] * 5, 3, "200"))
    problem = world.refused_for(world.csv(table), "conflicting_duplicate", "face_value_cny", 3)
    assert problem.examples[0].value == "200.00 ≠ 100.00"


def test_hidden_values_are_never_shown(world: World) -> None:
    """Values of the sensitive columns appear neither in the problem nor in the report."""
    secret = "6222020000000001"
    path = world.csv(pa.concat_tables([trades(1, payout_account=[secret]), trades(1, payout_account=["x"])]))
    problem = world.refused_for(path, "conflicting_duplicate", "payout_account", 2)
    assert secret not in str(problem.examples)
    for report in (world.folder / "reports").iterdir():
        assert secret not in report.read_text()


def test_unknown_card_type(world: World) -> None:
    """Unknown card types are listed, once each, or registered on request."""
    path = world.csv(trades(card_type=["jd_ecard", "x_card", "x_card", "y_card", "jd_ecard"]))
    problem = world.refused_for(path, "unknown_card_type", "card_type", 2)
    assert [item.value for item in problem.examples[:2]] == ["x_card (2 rows)", "y_card (1 rows)"]
    assert problem.failed == 3
    result = world.load(path, add_card_types=True)
    assert result.new_card_types == ("x_card", "y_card")
    rows = world.store.read("card_types").to_pylist()
    assert [(row["card_type"], row["category"], row["min_rate"], row["max_rate"]) for row in rows] == [
        ("x_card", "other", 0.0, 1.0),
        ("y_card", "other", 0.0, 1.0),
    ]
    assert world.load(path).new_card_types == ()


def test_a_card_type_by_its_name_is_told_how_to_map(world: World) -> None:
    """The catalogue's names, in either language, lead to a line for the mapping file that works as it stands; others to
    the closest card types; both come before the advice to register them, and not into the rows set aside."""
    path = world.csv(trades(card_type=["京东E卡", "jd e-card", "jd_ekard", "京东卡", "zzzzzz"]))
    problem = world.refused_for(path, "unknown_card_type", "card_type", 1)
    line = (
        'card_type = { column = "card_type", words = { "京东E卡" = "jd_ecard", "jd e-card" = "jd_ecard" } }'
    )
    for text in problem.rule.told:
        assert line in text
        assert "jd_ekard → jd_ecard" in text
        assert "京东卡 → jd_ecard" in text
        assert "zzzzzz" not in text
        assert text.index(line) < text.index("jd_ekard") < text.index("--add-card-types")
    aside = world.load(path, quarantine=True).tables[0].quarantine
    assert aside is not None
    assert "words =" not in aside.read_text()

    names = world.csv(trades(2, card_type=["京东E卡", "jd e-card"]))
    columns = ("trade_id", "submitted_at", "seller_id", "face_value_cny")
    mapping = "\n".join(["[trades]", line, *(f'{name} = "{name}"' for name in columns)])
    rules = load_mapping(world.text(mapping, "mapping.toml"))
    assert world.load(names, mapping=rules).tables[0].added == 2


def test_parquet_cut_off(world: World) -> None:
    """A Parquet file without its end is told to be incomplete."""
    whole = world.parquet(trades(1000)).read_bytes()
    world.refused_for(world.text(whole[: len(whole) // 2], "cut.parquet"), "truncated_file", "", None)


def test_csv_cut_off(world: World) -> None:
    """A CSV file that ends within a row, or within quotes, is told to be incomplete."""
    whole = world.csv(trades(1000, note=["a, b"] * 1000)).read_bytes()
    cut = whole.rindex(b"jd_ecard")
    (problem,) = world.refused(world.text(whole[:cut]))
    assert (problem.code, "row 1000" in problem.rule.en) == ("truncated_file", True)
    (problem,) = world.refused(world.text(whole.rstrip(b'"\n')))
    assert problem.code == "truncated_file"


@pytest.mark.parametrize("name", ["noise.parquet", "noise.csv", "noise"])
def test_not_a_table(world: World, name: str) -> None:
    """Noise is neither Parquet nor CSV, whatever its name."""
    noise = np.random.default_rng(1).bytes(5000)
    world.refused_for(world.text(noise, name), "not_a_table", "", None)


def test_text_named_parquet(world: World) -> None:
    """A text that calls itself Parquet is refused."""
    world.refused_for(world.text("hello\nworld\n", "trades.parquet"), "not_a_table", "", None)


def test_content_decides_over_a_csv_name(world: World) -> None:
    """Parquet content is read as Parquet, even when the file is called .csv."""
    assert world.load(world.parquet(trades(), "trades.csv")).tables[0].added == 5


def test_bad_encoding(world: World) -> None:
    """A cell that is not UTF-8 is named with row and line, a header that is not with advice."""
    content = world.csv(trades(region=["北京"] * 5)).read_bytes()
    broken = content.replace("北京".encode(), "北京".encode("gb18030"), 1)
    problem = world.refused_for(world.text(broken), "bad_encoding", "region", 1)
    assert problem.examples[0].line == 2
    header = content.replace(b"region", "地区".encode("gb18030"))
    world.refused_for(world.text(header), "bad_encoding", "", None)
    world.refused_for(world.text("a,b\n1,2\n".encode("utf-16")), "bad_encoding", "", None)


def test_wrong_number_of_fields(world: World) -> None:
    """A row with a field too many is named; numbering goes on behind it and over multi-line cells."""
    head = "trade_id,submitted_at,seller_id,card_type,face_value_cny,note\n"
    row = "t{},2025-03-01T10:00:00Z,s,jd_ecard,{},{}\n"
    lines = [row.format(1, 5, '"two\nlines"'), row.format(2, 5, "a,b"), row.format(3, "x", "")]
    problems = world.refused(world.text(head + "".join(lines)))
    found = {problem.code: problem.examples[0] for problem in problems}
    assert (found["wrong_column_count"].row, found["wrong_column_count"].line) == (2, 4)
    assert (found["wrong_type"].row, found["wrong_type"].line) == (3, 5)


def test_all_problems_are_told_at_once(world: World) -> None:
    """Problems of several columns and rows are collected, listed up to a limit and all counted."""
    table = trades(
        100,
        face_value_cny=["-1"] * 100,
        offered_rate=replaced(["0.9"] * 100, 7, "x"),
        card_type=["no"] * 100,
    )
    problems = {item.column: item for item in world.refused(world.csv(table))}
    assert set(problems) == {"face_value_cny", "offered_rate", "card_type"}
    assert problems["face_value_cny"].failed == 99
    assert len(problems["face_value_cny"].examples) == 20
