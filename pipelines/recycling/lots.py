"""A lot of up to 500 cards as a CSV file. Each line succeeds or fails alone, with row, field and reason.

Columns, in any order, by English or Chinese name: ``card_type`` 卡种 (slug or Chinese name), ``number`` 卡号,
``secret`` 卡密, ``face_value_cny`` 面值, ``expires_on`` 有效期 (may be absent or empty). UTF-8 with or without a byte
order mark, or GB18030 as Chinese spreadsheets write it. A line is one card: a quoted line break is not possible, so an
open quote harms its own line only.
"""

from __future__ import annotations

import csv
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Literal

from features.catalogue import CardType, Catalogue
from pipelines.recycling import formats
from pipelines.recycling.secret import Secret

MAX_CARDS, MAX_BYTES = 500, 1_000_000

COLUMNS = {
    "card_type": ("card_type", "卡种", "卡类型"),
    "number": ("number", "card_number", "卡号", "序列号"),
    "secret": ("secret", "card_secret", "卡密", "密码"),
    "face_value_cny": ("face_value_cny", "face_value", "面值", "面值(元)"),
    "expires_on": ("expires_on", "expiry", "有效期", "有效期至"),
}
NEEDED = ("card_type", "number", "secret", "face_value_cny")

FileTrouble = Literal[
    "empty_file", "file_too_large", "unreadable_text", "wrong_header", "no_cards", "too_many_cards"
]
LineTrouble = Literal[
    "wrong_number_of_fields",
    "broken_quotes",
    "unknown_card_type",
    "not_an_amount",
    "above_legal_maximum",
    "not_a_date",
    "same_card_twice",
]
Reason = formats.Problem | LineTrouble

FILE_WORDS: dict[FileTrouble, tuple[str, str]] = {
    "empty_file": ("文件为空", "the file is empty"),
    "file_too_large": ("文件超过 1 MB", "the file is larger than 1 MB"),
    "unreadable_text": ("文件不是 UTF-8 或 GB18030 文本", "the file is neither UTF-8 nor GB18030 text"),
    "wrong_header": (
        "表头需有：卡种、卡号、卡密、面值（有效期可无），不得重复或有其他列",
        "the header must name card_type, number, secret, face_value_cny (expires_on if known), each once and no others",
    ),
    "no_cards": ("没有卡片行", "there is no line with a card"),
    "too_many_cards": (f"一批最多 {MAX_CARDS} 张", f"a lot has at most {MAX_CARDS} cards"),
}
WORDS: dict[Reason, tuple[str, str]] = {
    **formats.WORDS,
    "wrong_number_of_fields": ("列数与表头不符", "the line has more or fewer fields than the header"),
    "broken_quotes": ("引号不配对", "a quote is not closed"),
    "unknown_card_type": ("没有此卡种", "there is no such card type"),
    "not_an_amount": ("面值不是金额", "the face value is no amount in yuan"),
    "above_legal_maximum": (
        "面值超过该卡种的法定上限",
        "the face value is above the legal maximum of this card type",
    ),
    "not_a_date": ("有效期不是日期", "the expiry is no date"),
    "same_card_twice": ("同一张卡在本批出现两次", "the same card stands twice in this lot"),
}


class LotRefused(ValueError):
    """A file of which no line can be read; ``code`` names the reason."""

    def __init__(self, code: FileTrouble) -> None:
        super().__init__(" ".join(FILE_WORDS[code]))
        self.code = code


@dataclass(frozen=True)
class LotCard:
    """One card of a lot; ``row`` as a spreadsheet counts, the header being 1. Number and
    secret are for the vault."""

    row: int
    card_type: str
    face_value_fen: int
    expires_on: date | None
    number: Secret
    secret: Secret


@dataclass(frozen=True)
class LineProblem:
    """Why a line was not taken. ``field`` is empty where the whole line is meant; ``other_row`` is the card's first
    appearance."""

    row: int
    field: str
    reason: Reason
    other_row: int | None = None

    def words(self) -> tuple[str, str]:
        """The reason in Chinese and in English."""
        return WORDS[self.reason]


@dataclass(frozen=True)
class Lot:
    """The good lines and the problems of the others; a line may have several."""

    cards: tuple[LotCard, ...]
    problems: tuple[LineProblem, ...]


def read_lot(content: bytes, *, catalogue: Catalogue) -> Lot:
    """The cards of a CSV file. Raises LotRefused where the file as a whole cannot be used."""
    lines = _lines(content)
    header = _header(lines[0])
    numbered = [(row, line) for row, line in enumerate(lines[1:], start=2) if line.strip(" ,\t")]
    if not numbered:
        raise LotRefused("no_cards")
    if len(numbered) > MAX_CARDS:
        raise LotRefused("too_many_cards")
    names = _names(catalogue)
    cards: list[LotCard] = []
    problems: list[LineProblem] = []
    first_seen: dict[tuple[str, str], int] = {}
    for row, line in numbered:
        read = _card(row, line, header=header, catalogue=catalogue, names=names)
        if isinstance(read, LotCard):
            seen = first_seen.setdefault((read.card_type, read.number.open()), row)
            if seen == row:
                cards.append(read)
            else:
                problems.append(LineProblem(row, "number", "same_card_twice", other_row=seen))
        else:
            problems += read
    return Lot(tuple(cards), tuple(problems))


def _lines(content: bytes) -> list[str]:
    if not content.strip():
        raise LotRefused("empty_file")
    if len(content) > MAX_BYTES:
        raise LotRefused("file_too_large")
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" in text:
            break
        return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    raise LotRefused("unreadable_text")


def _header(line: str) -> list[str]:
    by_name = {name: column for column, names in COLUMNS.items() for name in names}
    try:
        found = [
            by_name.get(unicodedata.normalize("NFKC", cell).strip().lower(), "") for cell in _cells(line)
        ]
    except csv.Error:
        raise LotRefused("wrong_header") from None
    if "" in found or len(set(found)) != len(found) or not set(NEEDED) <= set(found):
        raise LotRefused("wrong_header")
    return found


def _cells(line: str) -> list[str]:
    return next(csv.reader([line], strict=True), [])


def _names(catalogue: Catalogue) -> dict[str, str]:
    return {name: row.card_type for row in catalogue for name in (row.name_zh, row.card_type)}


def _card(
    row: int, line: str, *, header: list[str], catalogue: Catalogue, names: Mapping[str, str]
) -> LotCard | list[LineProblem]:
    try:
        cells = _cells(line)
    except csv.Error:
        return [LineProblem(row, "", "broken_quotes")]
    if len(cells) != len(header):
        return [LineProblem(row, "", "wrong_number_of_fields")]
    texts = dict(zip(header, cells, strict=True))
    name = unicodedata.normalize("NFKC", texts["card_type"]).strip()
    slug = names.get(name) or names.get(name.lower())
    if slug is None:
        return [LineProblem(row, "card_type", "unknown_card_type" if name else "missing")]
    return _checked(row, texts, card=catalogue.get(slug))


def _checked(row: int, texts: Mapping[str, str], *, card: CardType) -> LotCard | list[LineProblem]:
    number = formats.check_number(texts["number"], card=card)
    secret = formats.check_secret(texts["secret"], card=card)
    fen = formats.read_fen(texts["face_value_cny"])
    until = texts.get("expires_on", "").strip()
    expires_on = formats.read_date(until)
    found: list[tuple[str, Reason | None]] = [
        ("number", number.problem),
        ("secret", secret.problem),
        ("face_value_cny", _face_problem(texts["face_value_cny"], fen, card)),
        ("expires_on", "not_a_date" if until and expires_on is None else None),
    ]
    problems = [LineProblem(row, name, reason) for name, reason in found if reason is not None]
    if problems or fen is None:
        return problems
    return LotCard(row, card.card_type, fen, expires_on, Secret(number.value), Secret(secret.value))


def _face_problem(text: str, fen: int | None, card: CardType) -> Reason | None:
    if not text.strip():
        return "missing"
    if fen is None:
        return "not_an_amount"
    return "above_legal_maximum" if card.max_face_fen is not None and fen > card.max_face_fen else None
