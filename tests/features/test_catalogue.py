"""The catalogue: every row is sound, look-ups and overlays hold, detection offers but never forces."""

from __future__ import annotations

import json
import re
import unicodedata

import numpy as np
import pyarrow.parquet as pq
import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from features.catalogue import (
    CardType,
    Catalogue,
    UnknownCardType,
    detect,
    load_catalogue,
    normalised,
    workspace_catalogue,
)
from features.catalogue.rows import FILES, csv_rows
from features.table_store import TableStore
from features.tables import CARD_TYPES
from serving.commands.cards import cards
from serving.refusals import Refusal

ROWS = csv_rows(FILES / "card_types.csv")
CATEGORIES = {row["category"]: row for row in csv_rows(FILES / "categories.csv")}
SOURCES = {row["source"]: set(row["covers"].split()) for row in csv_rows(FILES / "sources.csv")}
CHINESE_RULES = {"MOFCOM order 2012-9", "PBOC announcement 2012-12", "State Council office 2011-25"}
CATALOGUE = load_catalogue()


def own_type(name: str = "my_card", *, name_zh: str = "自有卡", category: str = "other") -> CardType:
    return CardType(
        card_type=name,
        name_zh=name_zh,
        name_en="My Card",
        issuer="Me",
        category=category,
        min_rate=0.5,
        max_rate=0.9,
        face_values_fen=(1250, 10000),
        max_face_fen=10000,
    )


def one_type(**patterns: str) -> Catalogue:
    row = own_type()
    return Catalogue.of([CardType(**{**vars(row), **patterns})], categories={})


class TestEveryRow:
    """What must hold for each row of the CSV file, checked row by row."""

    def test_columns_are_the_contract_and_two_more(self):
        """The file has the columns of CARD_TYPES in file form, then source and confidence."""
        assert list(ROWS[0]) == [column.name for column in CARD_TYPES.columns] + ["source", "confidence"]

    def test_there_are_more_than_two_hundred_unique_types(self):
        """A platform of the trade's first rank covers more than 200 card types; no name or label twice."""
        assert len({row["card_type"] for row in ROWS}) == len(ROWS) > 210
        for language in ("name_zh", "name_en"):
            assert len({row[language] for row in ROWS}) == len(ROWS)

    def test_every_category_is_known_and_used(self):
        """Rows use the categories of categories.csv, each named in both languages, none of them idle."""
        assert {row["category"] for row in ROWS} == set(CATEGORIES)
        assert all(row["name_zh"] and row["name_en"] for row in CATEGORIES.values())

    @pytest.mark.parametrize("row", ROWS, ids=lambda row: row["card_type"])
    def test_row_is_sound(self, row: dict[str, str]):
        """Names, band, faces, forms, patterns, limits and sources of one row agree with each other."""
        assert re.fullmatch(r"[a-z][a-z0-9_]*", row["card_type"])
        assert not any(value != value.strip() for value in row.values())
        assert_names(row)
        assert_terms(row)
        assert_law(row)
        assert_sources(row)


def assert_names(row: dict[str, str]) -> None:
    assert row["name_en"].strip()
    assert row["issuer"].strip()
    assert any(is_chinese(mark) or (mark.isascii() and mark.isalpha()) for mark in row["name_zh"])
    assert not any(is_chinese(mark) for mark in row["name_en"])


def is_chinese(mark: str) -> bool:
    return unicodedata.name(mark, "").startswith("CJK UNIFIED")


def assert_terms(row: dict[str, str]) -> None:
    assert 0 < float(row["min_rate"]) < float(row["max_rate"]) < 1
    assert set(row["forms"].split("|")) <= {"virtual", "physical"}
    faces = [float(face) for face in row["face_values"].split("|") if face]
    assert faces == sorted(set(faces))
    assert all(face > 0 for face in faces)
    if faces and row["max_face_cny"]:
        assert faces[-1] <= float(row["max_face_cny"])
    for name in ("number_pattern", "secret_pattern"):
        re.compile(row[name])
    assert bool(row["number_pattern"]) == bool(row["secret_pattern"])


def assert_law(row: dict[str, str]) -> None:
    """Bearer cards: 1,000 yuan and 36 months at least; named cards: 5,000 yuan and no expiry."""
    assert row["registered"] in ("true", "false")
    if CHINESE_RULES & set(row["source"].split("|")):
        limit, months = ("5000", "") if row["registered"] == "true" else ("1000", "36")
        assert (row["max_face_cny"], row["validity_months"]) == (limit, months)
    else:
        assert row["registered"] == "false"


def assert_sources(row: dict[str, str]) -> None:
    """Each source is explained in sources.csv, and every filled-in term is covered by one of the row's."""
    assert row["confidence"] in ("high", "medium", "low")
    named = [source for source in row["source"].split("|") if not source.startswith("note: ")]
    assert set(named) <= set(SOURCES)
    covered = set().union(*(SOURCES[source] for source in named))
    terms = {term for terms in SOURCES.values() for term in terms} - {"registered"}
    assert {term for term in terms if row[term]} <= covered
    if row["confidence"] == "high":
        assert not {"category band", "trade judgement"} & set(named)


class TestLookUps:
    def test_get_returns_the_row_in_fen(self):
        """A row read from the file holds amounts in fen and its parts as tuples."""
        card = CATALOGUE.get("jd_ecard")
        assert (card.name_zh, card.category, card.max_face_fen) == ("京东E卡", "ecommerce", 100_000)
        assert card.registered is False
        assert 50_000 in card.face_values_fen
        assert card.forms == ("virtual", "physical")

    def test_unknown_type_is_refused_with_suggestions(self):
        """A misspelt card type is a KeyError that names what was probably meant."""
        with pytest.raises(
            UnknownCardType, match=r"unknown card type 未知卡种 'jd_ekard'.*jd_ecard"
        ) as caught:
            CATALOGUE.get("jd_ekard")
        assert caught.value.suggestions[0] == "jd_ecard"
        assert isinstance(caught.value, KeyError)

    @pytest.mark.parametrize("text", ["京东E卡", " 京东e卡", "JD E-card", "ＪＤ＿ＥＣＡＲＤ", "京东卡"])
    def test_unknown_type_by_its_name_is_found(self, text: str):
        """A card type's name in either language, of any case and width, or nearly so, comes first."""
        assert CATALOGUE.close_to(text)[0] == "jd_ecard"
        assert CATALOGUE.named(text) == (() if text == "京东卡" else ("jd_ecard",))

    @pytest.mark.parametrize(
        "text", ["京东e卡", "JD E-Card", "jd_ecard", "ＪＤ e-card", "e-commerce jd e-card"]
    )
    def test_search_finds_a_card_by_any_of_its_words(self, text: str):
        """Chinese, English, slug, full-width letters and the category's name all lead to the card."""
        assert "jd_ecard" in {card.card_type for card in CATALOGUE.search(text)}

    def test_search_needs_every_word(self):
        """Words narrow a search down; an unknown word leaves nothing; no words leave everything."""
        assert {card.card_type for card in CATALOGUE.search("中国石化 充值")} == {"sinopec_recharge"}
        assert CATALOGUE.search("京东 nosuchword") == ()
        assert len(CATALOGUE.search("")) == len(CATALOGUE)

    def test_category_name_in_both_languages(self):
        """A built-in category has two names; a category of the user's own is shown by its own."""
        assert CATALOGUE.category_name("fuel") == ("加油", "Fuel and charging")
        assert CATALOGUE.category_name("my_kind") == ("my_kind", "my_kind")

    def test_attribute_of_a_column(self):
        """A column of card types becomes a column of values; unknown and null card types are NaN or None."""
        column = np.array(["jd_ecard", "sinopec_fuel", "apple_us", "nope", None], dtype=object)
        assert CATALOGUE.attribute(column, "category").tolist() == [
            "ecommerce",
            "fuel",
            "digital_intl",
            None,
            None,
        ]
        np.testing.assert_array_equal(
            CATALOGUE.attribute(column, "max_face_fen"), [100_000, 500_000, np.nan, np.nan, np.nan]
        )
        np.testing.assert_array_equal(CATALOGUE.attribute(column, "registered"), [0, 1, 0, np.nan, np.nan])
        np.testing.assert_array_equal(
            CATALOGUE.attribute(column, "validity_months"), [36, np.nan, np.nan, np.nan, np.nan]
        )

    @pytest.mark.parametrize("name", ["min_rate", "max_rate"])
    def test_attribute_agrees_with_get(self, name):
        """The vector look-up gives what the row says, for every row; an empty column stays empty."""
        every = np.array(list(CATALOGUE.types), dtype=object)
        expected = [getattr(CATALOGUE.get(card_type), name) for card_type in every]
        assert CATALOGUE.attribute(every, name).tolist() == expected
        assert CATALOGUE.attribute(every[:0], name).dtype == np.float64

    def test_attribute_refuses_other_names(self):
        """Only the listed attributes have a vector form."""
        with pytest.raises(ValueError, match="issuer"):
            CATALOGUE.attribute(np.array(["jd_ecard"], dtype=object), "issuer")  # type: ignore[arg-type]

    def test_usual_face(self):
        """1 for a listed face value, 0 for another, NaN where the card type has no list or is unknown."""
        column = np.array(["jd_ecard", "jd_ecard", "apple_us", None], dtype=object)
        usual = CATALOGUE.usual_face(column, np.array([50_000, 50_001, 50_000, 50_000]))
        np.testing.assert_array_equal(usual, [1, 0, np.nan, np.nan])


class TestTables:
    def test_stored_form_and_back(self):
        """Stored and read again, every row is the same but for the two columns that are not stored."""
        table = CATALOGUE.to_table()
        assert table.schema == CARD_TYPES.schema
        assert table["card_type"].to_pylist() == sorted(CATALOGUE.types)
        again = Catalogue.from_table(table)
        assert again.types == {
            name: CardType(**{**vars(card), "source": (), "confidence": ""})
            for name, card in CATALOGUE.types.items()
        }

    def test_odd_faces_survive(self):
        """Face values in parts of a yuan keep their fen."""
        table = Catalogue.of([own_type()], categories={}).to_table()
        assert table["face_values"].to_pylist() == ["12.50|100"]
        assert Catalogue.from_table(table).get("my_card").face_values_fen == (1250, 10000)

    def test_own_rows_override(self):
        """Merged, the other catalogue's row wins under one name, and its new rows are added."""
        own = Catalogue.of([own_type("jd_ecard"), own_type()], categories={"mine": ("我的", "Mine")})
        merged = CATALOGUE.merge(own)
        assert merged.get("jd_ecard").name_zh == "自有卡"
        assert len(merged) == len(CATALOGUE) + 1
        assert merged.category_name("mine") == ("我的", "Mine")
        assert CATALOGUE.get("jd_ecard").name_zh == "京东E卡"

    def test_duplicates_are_refused(self):
        """Two rows of one name are an error, never a silent choice."""
        with pytest.raises(ValueError, match="my_card"):
            Catalogue.of([own_type(), own_type()], categories={})

    @pytest.mark.parametrize(("column", "text"), [("number_pattern", "(["), ("face_values", "100|many")])
    def test_unusable_cell_names_its_place(self, column: str, text: str):
        """A stored pattern or list that cannot be read is refused with the card type and the column."""
        table = Catalogue.of([own_type()], categories={}).to_table()
        place = table.schema.get_field_index(column)
        broken = table.set_column(place, table.schema.field(column), [[text]])
        with pytest.raises(ValueError, match=f"'my_card', column {column}"):
            Catalogue.from_table(broken)

    def test_workspace_without_card_types_is_the_built_in_catalogue(self, tmp_path):
        """Looking creates nothing, and what was imported stands over the built-in rows."""
        tables = TableStore(tmp_path / "tables")
        assert workspace_catalogue(tables).types == CATALOGUE.types
        assert list(tmp_path.iterdir()) == []
        publish(tables, own_type())
        assert workspace_catalogue(tables).get("my_card").issuer == "Me"


def publish(tables: TableStore, *rows: CardType) -> None:
    staged = tables.staging("card_types")
    pq.write_table(Catalogue.of(rows, categories={}).to_table(), staged)
    tables.publish("card_types", staged)


class TestDetection:
    @pytest.mark.parametrize(
        ("number", "secret", "first"),
        [
            ("JDV12345678901234567", "ABCD-EFGH-1234-5678", "jd_ecard"),
            ("jdv 1234 5678 9012 34567", None, "jd_ecard"),
            ("1" * 17, "2" * 18, "china_mobile"),
            ("1" * 10, "2" * 8, "china_mobile_zhejiang"),
            ("1" * 16, "2" * 21, "china_mobile_liaoning"),
            ("1" * 15, "2" * 19, "china_unicom"),
            ("0001" + "0" * 15, "2" * 18, "china_telecom"),
            ("0002" + "0" * 15, "2" * 18, "china_telecom_guangdong"),
            ("1" * 16, "2" * 16, "junnet"),
            ("1" * 9, "2" * 12, "qq_coin"),
            ("AB1" * 5, "2" * 9, "shengda"),
            ("1" * 16, "2" * 8, "zhengtu"),
            ("1" * 13, "2" * 10, "jiuyou"),
            ("1" * 13, "2" * 9, "netease"),
            ("1" * 10, "2" * 15, "perfect_world"),
            ("1" * 20, "2" * 12, "sohu_game"),
            ("1" * 15, "2" * 15, "zongyou"),
            ("1" * 15, "2" * 8, "tianxia"),
        ],
    )
    def test_known_formats(self, number, secret, first):
        """Each published pair of lengths ranks its card type first."""
        assert detect(number, secret=secret, catalogue=CATALOGUE)[0].card_type == first

    def test_shared_formats_stay_a_choice(self):
        """Where several cards share a format, all are offered, equals in the order of names."""
        found = detect("1" * 15, secret=None, catalogue=CATALOGUE)
        assert [one.card_type for one in found] == ["china_unicom", "tianxia", "zongyou", "shengda"]
        assert found[0].specificity == found[2].specificity > found[3].specificity == 0
        pair = detect("1" * 16, secret="2" * 17, catalogue=CATALOGUE)
        assert [one.card_type for one in pair] == ["china_mobile_fujian", "china_mobile_jiangsu"]

    def test_a_contradicting_secret_rules_out(self):
        """With the number's format right and the secret's wrong, the card type is no candidate."""
        assert detect("JDV12345678901234567", secret="12", catalogue=CATALOGUE) == ()

    def test_secret_alone(self):
        """A seller with only a secret still gets candidates, and they say what they rest on."""
        found = detect("", secret="ABCD-EFGH-1234-5678", catalogue=CATALOGUE)
        assert [(one.card_type, one.why) for one in found] == [("jd_ecard", "secret")]

    def test_a_secret_of_a_type_without_its_pattern_is_no_obstacle(self):
        """A type that knows only the number's format matches by the number, whatever the secret."""
        found = detect("123456", secret="anything", catalogue=one_type(number_pattern=r"\d{6}"))
        assert [(one.card_type, one.why) for one in found] == [("my_card", "number")]

    @pytest.mark.parametrize("number", ["", "   ", "hello", "12", "9" * 65, "１２", "٣" * 17])
    def test_nothing_matches_nothing(self, number: str):
        """Empty, short, overlong or foreign digits give no candidate rather than a guess."""
        assert detect(number, secret=None, catalogue=CATALOGUE) == ()

    def test_specificity_counts_what_the_format_fixes(self):
        """A fixed character is worth log2 36 bits, a digit log2 3.6, any letter or digit none."""
        bits = [
            detect("A12345", catalogue=one_type(number_pattern=pattern))[0].specificity
            for pattern in (r"[A-Z0-9]{6}", r"[A-Z0-9]\d{5}", r"A\d{5}", r"A12345")
        ]
        np.testing.assert_allclose(
            bits, [0, 5 * np.log2(3.6), np.log2(36) + 5 * np.log2(3.6), 6 * np.log2(36)], atol=0.05
        )

    @given(st.text(max_size=80), st.text(max_size=80))
    def test_any_text_is_safe(self, number: str, secret: str):
        """Whatever is typed, detection answers with candidates in rank order and raises nothing."""
        found = detect(number, secret=secret, catalogue=CATALOGUE)
        assert [one.specificity for one in found] == sorted((one.specificity for one in found), reverse=True)

    @given(st.text(alphabet="0123456789", min_size=17, max_size=17), st.sampled_from(" -–—　 \t​−"))
    def test_writing_does_not_matter(self, digits: str, separator: str):
        """Separators and full-width digits change nothing."""
        spaced = separator.join(digits[start : start + 4] for start in range(0, 17, 4))
        wide = digits.translate({ord(str(digit)): chr(0xFF10 + digit) for digit in range(10)})
        assert normalised(spaced) == normalised(wide) == digits


class TestCommand:
    @pytest.fixture
    def run(self, tmp_path):
        app = typer.Typer()
        app.command()(cards)

        def invoke(*arguments: str, typed: str = "", width: int = 200):
            where = ("--home", str(tmp_path / "home"))
            return CliRunner().invoke(app, [*arguments, *where], input=typed, env={"COLUMNS": str(width)})

        invoke.home = tmp_path / "home"  # type: ignore[attr-defined]
        return invoke

    def test_lists_a_category(self, run):
        """A category is chosen by slug or either name; the table shows both languages and faces."""
        for wanted in ("fuel", "加油", "Fuel and charging"):
            result = run("--category", wanted)
            assert result.exit_code == 0
            assert "中石化加油充值卡" in result.output
            assert "Sinopec Recharge Card" in result.output
            assert "50 100 200 500 1000" in result.output
            assert "京东E卡" not in result.output
        assert not run.home.exists()

    @pytest.mark.parametrize("width", [40, 60, 80, 100, 130, 250])
    def test_fits_the_terminal(self, run, width: int):
        """At any width the slug stays, and no line is wider than the terminal."""
        output = run("jd_ecard", width=width).output
        assert "jd_ecard" in output
        assert max(map(display_width, output.splitlines())) <= width

    def test_json(self, run):
        """--json is the rows as data."""
        (row,) = json.loads(run("jd_ecard", "--json").output)
        assert (row["card_type"], row["max_face_fen"]) == ("jd_ecard", 100_000)

    def test_unknown_category_is_refused(self, run):
        """A category that is not there is refused with those that are."""
        result = run("--category", "nope")
        assert isinstance(result.exception, Refusal)
        assert "fuel" in str(result.exception)

    def test_nothing_found(self, run):
        """A search without a match is refused in both languages, also where data are asked for."""
        for words in (("nosuchcard",), ("nosuchcard", "--json"), ("jd_ecard", "--category", "fuel")):
            result = run(*words)
            assert isinstance(result.exception, Refusal)
            assert str(result.exception) == "没有相符的卡种。 No card type matches."
            assert result.output == ""

    def test_own_card_types_are_shown(self, run):
        """The workspace's rows appear, and stand over built-in ones of the same name."""
        publish(TableStore(run.home / "tables"), own_type(), own_type("jd_ecard", name_zh="改名卡"))
        assert "自有卡" in run("my_card").output
        assert "改名卡" in run("jd_ecard").output

    def test_detects_without_showing_the_number(self, run):
        """Detection reads standard input, names the candidates and repeats neither number nor secret."""
        result = run("--detect", typed="JDV1234 5678 9012 34567\nABCD-EFGH-1234-5678\n")
        assert result.exit_code == 0
        assert "jd_ecard" in result.output
        assert "京东E卡" in result.output
        assert not {"1234", "ABCD"} & set(re.findall(r"\w+", result.output))

    def test_asks_a_terminal_without_echo(self, run, monkeypatch):
        """On a terminal both are asked for hidden, and the secret may be left out."""
        asked = []
        answers = iter(["1" * 17, ""])
        monkeypatch.setattr("serving.commands.cards._at_terminal", lambda: True)
        monkeypatch.setattr(
            "typer.prompt",
            lambda text, **options: asked.append((text, options["hide_input"])) or next(answers),
        )
        assert "china_mobile" in run("--detect").output
        assert [hidden for _, hidden in asked] == [True, True]

    def test_detection_as_json(self, run):
        """--json lists candidates with reason and specificity, nothing of the card itself."""
        (found,) = json.loads(run("--detect", "--json", typed="JDV12345678901234567\n").output)
        assert found == {"card_type": "jd_ecard", "why": "number", "specificity": 46.9}

    def test_unknown_format_and_nothing_typed(self, run):
        """A number of no known format says so; no number at all, or a search beside it, is refused."""
        assert "No card type has this format" in run("--detect", typed="12\n").output
        assert isinstance(run("--detect", typed="\n").exception, Refusal)
        beside = run("jd", "--detect", typed="12\n").exception
        assert isinstance(beside, Refusal)
        assert "typed when asked for or piped in, never an argument" in str(beside)


def display_width(line: str) -> int:
    return sum(2 if unicodedata.east_asian_width(mark) in "WF" else 1 for mark in line)
