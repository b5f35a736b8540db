"""From lines of text to the fields of a card, each with the text it was read from.

Pure rules: no picture and no reader here. Lines come with the corners of their boxes; a field begins at its printed
label (卡号, 卡密, 面值, 有效期) and goes on to the right along the line's own slope, or stands in the line below.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

Name = Literal["number", "secret", "face_value", "expires_on"]
Source = Literal["text", "bar_code"]

_LABELS: dict[Name, re.Pattern[str]] = {
    "number": re.compile(
        r"(卡\s*号|序列号|账\s*号|卡片编号|CARD\s*N(?:O|UMBER)\.?|SERIAL\s*NO\.?)\s*[:;.]?\s*", re.IGNORECASE
    ),
    "secret": re.compile(
        r"(卡\s*密|密\s*码|激活码|兑换码|充值码|PASSWORD|SECRET|PIN)\s*[:;.]?\s*", re.IGNORECASE
    ),
    "face_value": re.compile(r"(面\s*[值額额]|FACE\s*VALUE)\s*[:;.]?\s*", re.IGNORECASE),
    "expires_on": re.compile(
        r"(有效期限?(?:至|到)?|有效至|到期日|截止日期|VALID\s*(?:THRU|UNTIL)|EXP(?:IRY|IRES)?)\s*[:;.]?\s*",
        re.IGNORECASE,
    ),
}
_CODE = re.compile(r"[A-Z0-9][A-Z0-9 \-–—_·.]*", re.IGNORECASE)
_AMOUNT = re.compile(r"(?:人民币|RMB|CNY|[¥Y])?\s*(\d[\d,]{0,8}(?:\.\d{1,2})?)\s*元?", re.IGNORECASE)
_BARE_AMOUNT = re.compile(r"¥\s*(\d[\d,]{0,8}(?:\.\d{1,2})?)|(\d[\d,]{0,8}(?:\.\d{1,2})?)\s*元")
LONGEST_GAP = 12.0
"""How far to the right, in heights of the line, a label's value may begin."""


@dataclass(frozen=True)
class Line:
    """One line that was read. ``left``, ``right``: the middles of its left and right edge in pixels (x, y)."""

    text: str = field(repr=False)
    confidence: float
    left: tuple[float, float]
    right: tuple[float, float]
    height: float


@dataclass(frozen=True)
class Piece:
    """The text of one field, where it came from and how sure the reader was of it (0 to 1)."""

    text: str = field(repr=False)
    confidence: float
    source: Source = "text"


def pieces(lines: Sequence[Line]) -> dict[Name, Piece]:
    """The text that stands behind each field's label, for the fields whose label was found."""
    plain = [_half_width(line) for line in lines]
    found: dict[Name, Piece] = {}
    for name, label in _LABELS.items():
        for line in plain:
            mark = label.search(line.text)
            piece = _behind(line, plain, start=mark.end()) if mark else None
            cut = _cut(name, piece) if piece else None
            if cut is not None:
                found[name] = cut
                break
    if "face_value" not in found:
        found.update(_bare_face(plain))
    return found


def _half_width(line: Line) -> Line:
    return Line(unicodedata.normalize("NFKC", line.text), line.confidence, line.left, line.right, line.height)


def _behind(line: Line, lines: Sequence[Line], *, start: int) -> Piece | None:
    """What stands behind the label: the rest of its line and whatever goes on to the right of it, else the line
    below."""
    parts, sure, last = [line.text[start:]], [line.confidence] if line.text[start:].strip() else [], line
    while (following := _to_the_right(last, lines)) is not None and not _is_label(following):
        parts.append(following.text)
        sure.append(following.confidence)
        last = following
    if not "".join(parts).strip():
        below = _below(line, lines)
        return Piece(below.text, below.confidence) if below is not None and not _is_label(below) else None
    return Piece(" ".join(parts), min(sure))


def _to_the_right(line: Line, lines: Sequence[Line]) -> Line | None:
    near = [
        (other.left[0] - line.right[0], other)
        for other in lines
        if other is not line
        and -0.5 * line.height <= other.left[0] - line.right[0] <= LONGEST_GAP * line.height
        and abs(other.left[1] - line.right[1] - _slope(other) * (other.left[0] - line.right[0]))
        < 0.7 * line.height
    ]
    return min(near, key=lambda pair: pair[0])[1] if near else None


def _slope(line: Line) -> float:
    across = line.right[0] - line.left[0]
    return (line.right[1] - line.left[1]) / across if across > 2 * line.height else 0.0


def _below(line: Line, lines: Sequence[Line]) -> Line | None:
    near = [
        (other.left[1] - line.left[1], other)
        for other in lines
        if 0.8 * line.height < other.left[1] - line.left[1] < 3 * line.height
        and abs(other.left[0] - line.left[0]) < 3 * line.height
    ]
    return min(near, key=lambda pair: pair[0])[1] if near else None


def _is_label(line: Line) -> bool:
    return any(label.match(line.text.strip()) for label in _LABELS.values())


def _cut(name: Name, piece: Piece) -> Piece | None:
    """The part of the text that can be this field; None where there is none."""
    if name == "expires_on":
        return piece if re.search(r"\d", piece.text) or "长期" in piece.text else None
    mark = (_AMOUNT if name == "face_value" else _CODE).search(piece.text)
    if mark is None:
        return None
    text = mark.group(1) if name == "face_value" else mark.group(0)
    if name != "face_value" and len(re.sub(r"[^A-Za-z0-9]", "", text)) < 4:
        return None
    return Piece(text.strip(), piece.confidence)


def _bare_face(lines: Sequence[Line]) -> dict[Name, Piece]:
    """An amount without its label, ``¥500`` or ``500元``: taken only where the card shows exactly one."""
    found = {
        (mark.group(1) or mark.group(2)): line.confidence
        for line in lines
        for mark in _BARE_AMOUNT.finditer(line.text)
    }
    if len(found) != 1:
        return {}
    ((text, sure),) = found.items()
    return {"face_value": Piece(text, sure)}
