"""What a seller typed, against the catalogue's patterns."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.catalogue import load_catalogue
from pipelines.recycling import formats

CATALOGUE = load_catalogue()
MOBILE, JD, WALMART = (CATALOGUE.get(name) for name in ("china_mobile", "jd_ecard", "walmart_cn"))
SAND = CATALOGUE.get("sand_card")
DIGITS = "12345678901234567"


@pytest.mark.parametrize(
    "typed",
    [
        DIGITS,
        " 1234 5678 9012 34567 ",
        "1234-5678-9012-34567",
        "１２３４５６７８９０１２３４５６７",
        "'" + DIGITS,
        f'="{DIGITS}"',
    ],
)
def test_separators_and_full_width_marks_carry_nothing(typed):
    """Spaces, dashes, full-width digits and what spreadsheets put around a text are removed."""
    code = formats.check_number(typed, card=MOBILE)
    assert (code.value, code.problem, code.by_pattern) == (DIGITS, None, True)


@pytest.mark.parametrize(
    ("typed", "problem"),
    [
        ("", "missing"),
        (" - ", "missing"),
        ("1234", "wrong_format"),
        (DIGITS + "8", "wrong_format"),
        ("9" * 65, "too_long"),
        ("9" * 100_000, "too_long"),
        ("1.23457E+16", "rounded_by_a_spreadsheet"),
        ("1234567890123456号", "strange_characters"),
        ("1234567890123456\u0663", "strange_characters"),
    ],
)
def test_each_unusable_number_has_its_own_reason(typed, problem):
    """What cannot be a number of the card type is refused by name, in Chinese and English, without the number."""
    assert formats.check_number(typed, card=MOBILE).problem == problem
    assert all(typed not in words or not typed for words in formats.WORDS[problem])


def test_a_lookalike_is_offered_and_never_applied():
    """An O among digits stays what was typed; the zero is a suggestion."""
    code = formats.check_number("1234567890123456O", card=MOBILE)
    assert (code.value, code.problem) == ("1234567890123456O", "wrong_format")
    assert code.suggestions == ("12345678901234560",)
    two = formats.check_number("I234567890123456O", card=MOBILE)
    assert two.suggestions == ("12345678901234560",)


def test_a_pattern_that_takes_both_lookalikes_names_the_risk():
    """Where O and 0 both fit, the code is confusable; where only digits fit, it is not."""
    assert formats.is_confusable("ABCDEFGH2345670X", pattern=JD.secret_pattern)
    assert not formats.is_confusable(DIGITS, pattern=MOBILE.number_pattern)


def test_without_a_pattern_nothing_counts_as_checked():
    """A card type whose format is unknown takes any code, and says that no pattern was met."""
    code = formats.check_number("2326992012345678901", card=WALMART)
    assert (code.problem, code.by_pattern) == (None, False)


def test_unionpay_numbers_have_a_check_digit():
    """A prepaid UnionPay number with one wrong digit is refused; numbers of other schemes are not held to it."""
    assert formats.check_number("6225 8812 3456 7897", card=SAND).problem in (None, "checksum")
    good = next(f"622588123456789{n}" for n in range(10) if formats.luhn(f"622588123456789{n}"))
    bad = good[:-1] + str((int(good[-1]) + 1) % 10)
    assert formats.check_number(good, card=SAND).problem is None
    assert formats.check_number(bad, card=SAND).problem == "checksum"
    assert formats.check_number("8" + bad[1:], card=SAND).problem is None


def test_luhn_agrees_with_a_published_number():
    """4539 1488 0343 6467 is valid, and changing any one digit breaks it."""
    number = "4539148803436467"
    assert formats.luhn(number)
    for place in range(len(number)):
        wrong = number[:place] + str((int(number[place]) + 1) % 10) + number[place + 1 :]
        assert not formats.luhn(wrong)


@pytest.mark.parametrize(
    ("text", "fen"),
    [
        ("500", 50_000),
        ("500.00", 50_000),
        ("￥５００", 50_000),
        ("1,000元", 100_000),
        ("99.9", 9_990),
        ("人民币 20 元", 2_000),
    ],
)
def test_amounts_are_read_as_people_write_them(text, fen):
    """Yuan in the usual forms become fen."""
    assert formats.read_fen(text) == fen


@pytest.mark.parametrize(
    "text", ["", "0", "-5", "1e9", "1.234", "NaN", "Infinity", "12345678", "五百", "5 00 0 0 0 00 0"]
)
def test_what_is_no_amount_is_none(text):
    """Nothing is guessed of an amount that is not one."""
    assert formats.read_fen(text) is None


@pytest.mark.parametrize(
    "text", ["2027-12-31", "2027年12月31日", "2027/12/31", "2027.12.31", "20271231", "至 2027 年 12 月 31 日"]
)
def test_dates_are_read_in_the_usual_forms(text):
    """Year, month, day in the forms that cards print."""
    assert formats.read_date(text) == date(2027, 12, 31)


@pytest.mark.parametrize("text", ["", "2027-02-30", "31/12/2027", "12027-12-31", "2027-12-310", "9999"])
def test_a_date_that_no_calendar_has_is_none(text):
    """An impossible date is not repaired."""
    assert formats.read_date(text) is None


@given(st.text(max_size=80))
def test_no_text_breaks_a_check(text):
    """Any text gives a code with a plain value or a named problem, and the same value when checked again."""
    for card in (MOBILE, JD, WALMART, SAND):
        code = formats.check_number(text, card=card)
        if code.problem is None:
            assert code.value.isascii()
            assert code.value.isalnum()
            assert formats.check_number(code.value, card=card) == code
    formats.read_date(text)
    formats.read_fen(text)


def test_a_code_does_not_show_itself():
    """The representation of a checked code has neither the code nor the suggestions."""
    assert "123456" not in repr(formats.check_number("1234567890123456O", card=MOBILE))
