"""What a photo seems to say of a card: a proposal that the seller confirms, with every doubt the rules have.

A reader's confidence decides nothing. A value counts as checked by the rules it met; a value that fails one, or that
two readings disagree about, carries a doubt that the seller is asked about.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal

from features.catalogue import CardType, Catalogue, normalised
from pipelines.recycling import formats
from pipelines.recycling.card_fields import Line, Piece, Source, pieces
from pipelines.recycling.card_names import TypeCandidate, type_candidates
from pipelines.recycling.secret import Secret

Rule = Literal[
    "number_pattern", "secret_pattern", "face_values", "luhn", "bar_code", "calendar", "second_reading"
]
Doubt = Literal[
    "not_found",
    "wrong_format",
    "no_pattern_to_check",
    "lookalikes",
    "bar_code_differs",
    "readings_differ",
    "checksum",
    "unusual_face_value",
    "above_legal_maximum",
    "expired",
    "unlikely_date",
    "several_card_types",
    "hard_to_read",
]

WORDS: dict[Doubt, tuple[str, str]] = {
    "not_found": ("未识别到", "it was not found"),
    "wrong_format": ("与卡种格式不符", "it does not have the card type's format"),
    "no_pattern_to_check": (
        "该卡种没有已知格式，请逐位核对",
        "no format is known of this card type: compare each digit",
    ),
    "lookalikes": ("含有易混字符 O/0、I/1，请核对", "it holds letters and digits that look alike: O/0, I/1"),
    "bar_code_differs": ("条码与印刷的卡号不一致", "the bar code and the printed number differ"),
    "readings_differ": ("两次识别结果不一致，请核对", "two readings of the photo differ"),
    "checksum": ("校验位不符", "its check digit does not fit"),
    "unusual_face_value": ("不是该卡种的常见面值", "it is no usual face value of this card type"),
    "above_legal_maximum": ("超过该卡种的法定上限", "it is above the legal maximum of this card type"),
    "expired": ("已过期", "the card has expired"),
    "unlikely_date": ("日期不合常理", "the date is unlikely"),
    "several_card_types": ("可能是几种卡，请选择", "it could be several card types: choose one"),
    "hard_to_read": ("字迹不清", "it was hard to read"),
}

LEAST_SURE = 0.8
"""Below it a reading is called hard to read; above it nothing follows."""
FURTHEST_YEARS = 15


@dataclass(frozen=True)
class ReadField:
    """One field: its plain value, the text it came from, the reader's confidence (0 to 1), rules met, doubts left. A
    line may hold a card's secret wherever a label was misread, so every value and text is a Secret."""

    value: Secret
    text: Secret
    confidence: float
    source: Source = "text"
    checked: tuple[Rule, ...] = ()
    doubts: tuple[Doubt, ...] = ()


NOTHING = ReadField(value=Secret(""), text=Secret(""), confidence=0.0, doubts=("not_found",))


@dataclass(frozen=True)
class Proposal:
    """A card as a photo shows it. Nothing may be priced from it before the seller has confirmed every field.

    ``face_value_fen`` and ``expires_on`` are the plain values of their fields, None where there is none.
    ``photo_sha256`` is of the photo as it was sent.
    """

    candidates: tuple[TypeCandidate, ...]
    type_doubts: tuple[Doubt, ...]
    number: ReadField
    secret: ReadField
    face_value: ReadField
    expiry: ReadField
    photo_sha256: str = ""

    @property
    def card_type(self) -> str | None:
        """The best candidate."""
        return self.candidates[0].card_type if self.candidates else None

    @property
    def face_value_fen(self) -> int | None:
        return formats.read_fen(self.face_value.value.open())

    @property
    def expires_on(self) -> date | None:
        return formats.read_date(self.expiry.value.open())

    def doubts(self) -> dict[str, tuple[Doubt, ...]]:
        """Every field about which the seller is asked, with why."""
        fields = {
            "card_type": self.type_doubts,
            "number": self.number.doubts,
            "secret": self.secret.doubts,
            "face_value": self.face_value.doubts,
            "expires_on": self.expiry.doubts,
        }
        return {name: doubts for name, doubts in fields.items() if doubts}


def propose(
    lines: Sequence[Line],
    *,
    bar_codes: Sequence[str],
    catalogue: Catalogue,
    today: date,
    second: Sequence[Line] = (),
    photo_sha256: str = "",
) -> Proposal:
    """The proposal of one photo. ``second``: lines of another look at it, whose codes must say the same."""
    read, again = pieces(lines), pieces(second)
    number, secret = read.get("number"), read.get("secret")
    codes = [normalised(code) for code in bar_codes if _is_code(normalised(code))]
    if number is None and codes:
        number = Piece(codes[0], 1.0, "bar_code")
    candidates = type_candidates(
        [line.text for line in lines], number=_plain(number), secret=_plain(secret), catalogue=catalogue
    )
    card = catalogue.get(candidates[0].card_type) if candidates else None
    return Proposal(
        candidates=candidates,
        type_doubts=_type_doubts(candidates),
        number=_number(number, card=card, codes=codes, again=again.get("number")),
        secret=_secret(secret, card=card, again=again.get("secret")),
        face_value=_face(read.get("face_value"), card=card, again=again.get("face_value")),
        expiry=_expiry(read.get("expires_on"), today=today, again=again.get("expires_on")),
        photo_sha256=photo_sha256,
    )


def _plain(piece: Piece | None) -> str:
    return normalised(piece.text).replace(".", "").replace("·", "").replace("_", "") if piece else ""


def _is_code(text: str) -> bool:
    return 6 <= len(text) <= 64 and text.isascii() and text.isalnum()


def _type_doubts(candidates: Sequence[TypeCandidate]) -> tuple[Doubt, ...]:
    if not candidates:
        return ("not_found",)
    best = candidates[0]
    alike = [one for one in candidates if one.because == best.because and one.likeness == best.likeness]
    return ("several_card_types",) if len(alike) > 1 or best.because == "format" else ()


def _number(
    piece: Piece | None, *, card: CardType | None, codes: Sequence[str], again: Piece | None
) -> ReadField:
    if piece is None:
        return NOTHING
    value = _plain(piece)
    rules, doubts = _code_rules(value, again=again)
    if card is not None:
        found = formats.check_number(value, card=card)
        doubts += _format_doubts(found, card.number_pattern)
        if found.by_pattern:
            rules.append("number_pattern")
        if formats.has_check_digit(value, card=card) and found.problem is None:
            rules.append("luhn")
    if piece.source == "text" and codes:
        if value in codes:
            rules.append("bar_code")
            doubts = _without_what_a_bar_code_settles(doubts)
        else:
            doubts.append("bar_code_differs")
    return _field(piece, value, rules, doubts)


def _without_what_a_bar_code_settles(doubts: Sequence[Doubt]) -> list[Doubt]:
    return [doubt for doubt in doubts if doubt not in ("no_pattern_to_check", "lookalikes")]


def _secret(piece: Piece | None, *, card: CardType | None, again: Piece | None) -> ReadField:
    if piece is None:
        return NOTHING
    value = _plain(piece)
    rules, doubts = _code_rules(value, again=again)
    if card is not None:
        found = formats.check_secret(value, card=card)
        doubts += _format_doubts(found, card.secret_pattern)
        if found.by_pattern:
            rules.append("secret_pattern")
    return _field(piece, value, rules, doubts)


def _code_rules(value: str, *, again: Piece | None) -> tuple[list[Rule], list[Doubt]]:
    if again is None:
        return [], []
    return (["second_reading"], []) if _plain(again) == value else ([], ["readings_differ"])


def _format_doubts(found: formats.Code, pattern: str | None) -> list[Doubt]:
    if found.problem is not None:
        return ["checksum" if found.problem == "checksum" else "wrong_format"]
    doubts: list[Doubt] = [] if found.by_pattern else ["no_pattern_to_check"]
    confusable = not found.value.isdigit() and formats.is_confusable(found.value, pattern=pattern)
    return [*doubts, "lookalikes"] if confusable else doubts


def _face(piece: Piece | None, *, card: CardType | None, again: Piece | None) -> ReadField:
    fen = formats.read_fen(piece.text) if piece else None
    if piece is None or fen is None:
        return NOTHING
    rules: list[Rule] = []
    doubts: list[Doubt] = []
    if again is not None and formats.read_fen(again.text) != fen:
        doubts.append("readings_differ")
    if card is not None and card.face_values_fen:
        if fen in card.face_values_fen:
            rules.append("face_values")
        else:
            doubts.append("unusual_face_value")
    if card is not None and card.max_face_fen is not None and fen > card.max_face_fen:
        doubts.append("above_legal_maximum")
    return _field(piece, piece.text, rules, doubts)


def _expiry(piece: Piece | None, *, today: date, again: Piece | None) -> ReadField:
    found = formats.read_date(piece.text) if piece else None
    if piece is None or found is None:
        return NOTHING
    doubts: list[Doubt] = []
    if again is not None and formats.read_date(again.text) != found:
        doubts.append("readings_differ")
    if abs(found.year - today.year) > FURTHEST_YEARS:
        doubts.append("unlikely_date")
    if found < today:
        doubts.append("expired")
    return _field(piece, found.isoformat(), ["calendar"], doubts)


def _field(piece: Piece, value: str, rules: Sequence[Rule], doubts: Sequence[Doubt]) -> ReadField:
    unsure: list[Doubt] = ["hard_to_read"] if piece.confidence < LEAST_SURE else []
    return ReadField(
        Secret(value), Secret(piece.text), piece.confidence, piece.source, tuple(rules), (*doubts, *unsure)
    )
