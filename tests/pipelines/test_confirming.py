"""A proposal becomes a card through the seller alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from features.catalogue import load_catalogue
from pipelines.recycling.card_fields import Line
from pipelines.recycling.confirming import NotConfirmed, SellerSays, confirm
from pipelines.recycling.proposals import propose
from pipelines.recycling.secret import Secret

CATALOGUE = load_catalogue()
NUMBER, SECRET = "12345678901234567", "123456789012345678"
SAID = SellerSays("china_mobile", Secret(NUMBER), Secret(SECRET), 10_000, date(2027, 12, 31))
TEXTS = (
    "中国移动充值卡",
    "面值 100 元",
    f"序列号：{NUMBER}",
    f"密码：{SECRET[:-1]}7",
    "有效期至：2027-12-31",
)
PROPOSAL = propose(
    [Line(text, 0.99, (0, 40 * row), (300, 40 * row), 20) for row, text in enumerate(TEXTS)],
    bar_codes=(),
    catalogue=CATALOGUE,
    today=date(2026, 6, 1),
    photo_sha256="ab" * 32,
)


def test_a_wrong_read_is_corrected_by_the_seller():
    """A misread digit that no rule can see is the seller's to correct, and the correction is kept on record."""
    assert PROPOSAL.secret.doubts == ()
    card = confirm(PROPOSAL, said=SAID, catalogue=CATALOGUE)
    assert (card.said, card.corrected, card.photo_sha256) == (SAID, ("secret",), "ab" * 32)
    assert SECRET not in repr(card)


def test_codes_are_kept_in_their_plain_form():
    """Spaces that the seller types make no other card."""
    spaced = replace(SAID, number=Secret("1234 5678 9012 34567"))
    assert confirm(PROPOSAL, said=spaced, catalogue=CATALOGUE).said.number == Secret(NUMBER)


@pytest.mark.parametrize(
    ("changed", "problems"),
    [
        ({"card_type": "none_such"}, {"card_type": "unknown_card_type"}),
        ({"number": Secret("12"), "secret": Secret("")}, {"number": "wrong_format", "secret": "missing"}),
        ({"face_value_fen": 0}, {"face_value": "not_an_amount"}),
        ({"face_value_fen": 50_100_00}, {"face_value": "above_legal_maximum"}),
    ],
)
def test_what_cannot_be_a_card_is_refused_field_by_field(changed, problems):
    """The seller's word is held to the same formats as a typed card."""
    with pytest.raises(NotConfirmed) as refusal:
        confirm(PROPOSAL, said=replace(SAID, **changed), catalogue=CATALOGUE)
    assert refusal.value.problems == problems
    assert NUMBER not in str(refusal.value)
