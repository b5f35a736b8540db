"""Lots of cards as CSV files."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.catalogue import load_catalogue
from pipelines.recycling.lots import WORDS, LotRefused, read_lot
from pipelines.recycling.secret import Secret

CATALOGUE = load_catalogue()
HEADER = "card_type,number,secret,face_value_cny,expires_on"


def mobile(place: int, **changed: str) -> str:
    """A good line, the ``place``-th, with some cells changed."""
    cells = {
        "card_type": "china_mobile",
        "number": f"{place:017d}",
        "secret": f"{place:018d}",
        "face_value_cny": "100",
        "expires_on": "2030-01-31",
    }
    return ",".join({**cells, **changed}.values())


def lot(*lines: str, encoding: str = "utf-8", header: str = HEADER):
    return read_lot("\n".join((header, *lines)).encode(encoding), catalogue=CATALOGUE)


def test_a_good_lot_is_read_whole():
    """500 lines become 500 cards with their rows as a spreadsheet counts them."""
    read = lot(*(mobile(place) for place in range(500)))
    assert not read.problems
    assert [card.row for card in read.cards] == list(range(2, 502))
    first = read.cards[0]
    assert (first.card_type, first.face_value_fen) == ("china_mobile", 10_000)
    assert first.number == Secret("0" * 17)
    assert "0" * 10 not in repr(read)


@pytest.mark.parametrize(
    ("changed", "field", "reason"),
    [
        ({"card_type": "no_such_card"}, "card_type", "unknown_card_type"),
        ({"card_type": ""}, "card_type", "missing"),
        ({"number": ""}, "number", "missing"),
        ({"number": "12"}, "number", "wrong_format"),
        ({"number": "1.23457E+16"}, "number", "rounded_by_a_spreadsheet"),
        ({"number": "9" * 500}, "number", "too_long"),
        ({"secret": "卡密12345678901234567"}, "secret", "strange_characters"),
        ({"face_value_cny": "abc"}, "face_value_cny", "not_an_amount"),
        ({"face_value_cny": ""}, "face_value_cny", "missing"),
        ({"face_value_cny": "100000"}, "face_value_cny", "above_legal_maximum"),
        ({"expires_on": "soon"}, "expires_on", "not_a_date"),
        ({"secret": '"12'}, "", "broken_quotes"),
        ({"secret": "1,2"}, "", "wrong_number_of_fields"),
    ],
)
def test_a_bad_line_fails_alone_and_by_name(changed, field, reason):
    """The line is refused with row, field and reason; the lines around it are taken."""
    read = lot(mobile(1), mobile(2, **changed), mobile(3))
    assert [card.row for card in read.cards] == [2, 4]
    (problem,) = read.problems
    assert (problem.row, problem.field, problem.reason) == (3, field, reason)
    assert all(problem.words())


def test_a_line_can_have_several_problems():
    """Every field that is wrong is named at once."""
    read = lot(mobile(1, number="1", face_value_cny="x"))
    assert [(one.field, one.reason) for one in read.problems] == [
        ("number", "wrong_format"),
        ("face_value_cny", "not_an_amount"),
    ]


def test_the_same_card_twice_is_refused_the_second_time():
    """However it is written, a card counts once; the second line names the first."""
    read = lot(mobile(1), mobile(7), mobile(1, number="0000 0000 0000 0000 1"))
    assert [card.row for card in read.cards] == [2, 3]
    (problem,) = read.problems
    assert (problem.row, problem.reason, problem.other_row) == (4, "same_card_twice", 2)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
def test_chinese_files_are_read_in_either_encoding(encoding):
    """Chinese headers, Chinese card names, full-width digits; UTF-8 with or without mark, and GB18030."""
    read = lot(mobile(1, card_type="京东E卡", number="JDV" + "１" * 17, secret="ABCD-EFGH-2345-6789"),
               encoding=encoding, header="卡种,卡号,卡密,面值,有效期")  # fmt: skip
    assert [(card.card_type, card.number) for card in read.cards] == [("jd_ecard", Secret("JDV" + "1" * 17))]


def test_line_ends_of_all_systems_and_empty_lines_do_not_matter():
    """CR LF, CR and LF end a line; lines of commas alone are no cards, and row numbers stay those of the file."""
    content = f"{HEADER}\r\n{mobile(1)}\r\n,,,,\r\n\r\n{mobile(2)}\r\n".encode()
    assert [card.row for card in read_lot(content, catalogue=CATALOGUE).cards] == [2, 5]
    assert len(read_lot(f"{HEADER}\r{mobile(1)}\r".encode(), catalogue=CATALOGUE).cards) == 1


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "empty_file"),
        (b" \n \n", "empty_file"),
        (HEADER.encode(), "no_cards"),
        (b"\xff\xfe" + HEADER.encode("utf-16-le"), "unreadable_text"),
        (HEADER.encode() + b"\n\xff\xff\xff", "unreadable_text"),
        (b"a,b\n1,2", "wrong_header"),
        (b'"card_type,number\n1,2', "wrong_header"),
        (HEADER.encode() + b",number\nx", "wrong_header"),
        (HEADER.encode() + b",note\nx", "wrong_header"),
        (b"card_type,number,face_value_cny\nx,1,2", "wrong_header"),
        (b"x" * 1_000_001, "file_too_large"),
        (("\n".join([HEADER, *(mobile(place) for place in range(501))])).encode(), "too_many_cards"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_by_name(content, code):
    """Where no line can be trusted, nothing is taken, and the reason has a name."""
    with pytest.raises(LotRefused) as refusal:
        read_lot(content, catalogue=CATALOGUE)
    assert refusal.value.code == code


@given(st.binary(max_size=400))
def test_no_bytes_break_the_reader(content):
    """Whatever the lines hold, each is a card or a named problem."""
    try:
        read = read_lot(HEADER.encode() + b"\n" + mobile(1).encode() + b"\n" + content, catalogue=CATALOGUE)
    except LotRefused:
        return
    assert read.cards[0].row == 2
    assert all(problem.reason in WORDS for problem in read.problems)
