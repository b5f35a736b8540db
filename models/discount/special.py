"""Cards that are sold in part, or whose face value was never issued.

A partly used card counts with what is left on it. Its balance is the trade's ``face_value_fen``, which features,
models, payout and limits read; what was issued is kept beside it as ``issued_face_fen``, for the record. The price
policy takes ``partial_balance_share`` off what such a card resells at, so its rate is at most that of a whole card of
the same value.

A face value that the catalogue does not list for the card type is a doubt, not a proof: its lists hold what issuers
commonly sell, and an empty one allows any value. Sellers misread or mistype a face value, or do not mention that the
card was used. Such a card is never refused for it; like a partly used one it is paid only once its balance was
verified, and its rate is that of the largest smaller value the type is issued with. That is what keeps payouts in
order: with a rate of four decimals a payout that shall not fall from one fen of face value to the next leaves no room
for a lower rate, and a higher one would reward a mistyped face value.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, fields, replace
from datetime import date, datetime, time, timedelta
from typing import TypeVar

import numpy as np

from features.catalogue import Catalogue
from features.china import CHINA, CHINA_OFFSET
from features.moment import FEN_PER_YUAN
from models.discount.acceptance import AcceptanceCurve
from models.discount.anchor import resale_anchor
from models.discount.context import CardContext
from models.discount.optimiser import Economics
from models.matrix import Columns
from models.reasons import Reason

Parts = TypeVar("Parts", CardContext, AcceptanceCurve, Economics)

MINUTE_MS = 60_000
DAY_MINUTES = 24 * 60
CHINA_OFFSET_MS = CHINA_OFFSET // 1000
LEAST_RATE = 1e-4
"""Last shown decimal: no valid card is taken to resell at less."""

PARTIAL_BALANCE = Reason(
    "PARTIAL_BALANCE",
    "卡已部分使用，按余额回收并扣除余额卡折价",
    "Partly used: priced by its balance, less a deduction because such cards are harder to resell",
)
BALANCE_TO_VERIFY = Reason(
    "BALANCE_TO_VERIFY", "付款前需核实卡内余额", "The balance is verified before payment"
)
UNUSUAL_FACE_VALUE = Reason(
    "UNUSUAL_FACE_VALUE",
    "面值与该卡种的常见面值不符，付款前需核实余额",
    "The face value is unusual for this card type; the balance is verified before payment",
)


@dataclass(frozen=True)
class SpecialCards:
    """What sets n cards apart from whole cards of a usual face value; each (n,).

    value_fen: int64, what is sold. spent_fen: int64, what of the issued face value was spent; 0: a whole card. odd:
    bool, what is sold is no face value of the card type's list. usual_fen: int64, by which the rate of an odd card is
    found: the largest listed value below it, or its own where it lies under all of them; the own value of others.
    """

    value_fen: np.ndarray
    spent_fen: np.ndarray
    odd: np.ndarray
    usual_fen: np.ndarray

    def __len__(self) -> int:
        return len(self.value_fen)

    @property
    def partial(self) -> np.ndarray:
        """Bool (n,): partly used."""
        return self.spent_fen > 0

    @property
    def unusual(self) -> np.ndarray:
        """Bool (n,): said to be whole, with a face value that is not listed."""
        return self.odd & ~self.partial

    def rows(self, rows: slice | np.ndarray) -> SpecialCards:
        return SpecialCards(**{name: values[rows] for name, values in vars(self).items()})


def ordinary_cards(value_fen: np.ndarray) -> SpecialCards:
    """Whole cards (n,) of which no list of face values is known."""
    value = np.asarray(value_fen, dtype=np.int64)
    nothing = np.zeros(len(value), dtype=np.int64)
    return SpecialCards(value_fen=value, spent_fen=nothing, odd=nothing > 0, usual_fen=value)


def partly_used(value_fen: np.ndarray, issued_face_fen: np.ndarray) -> SpecialCards:
    """Cards (n,) of which no list of face values is known. issued_face_fen (n,) int64: of partly used ones, 0 for whole
    ones."""
    cards = ordinary_cards(value_fen)
    return replace(cards, spent_fen=np.maximum(issued_face_fen - cards.value_fen, 0))


def special_cards(
    *, catalogue: Catalogue, card_type: np.ndarray, value_fen: np.ndarray, issued_face_fen: np.ndarray
) -> SpecialCards:
    """What is special about n cards. value_fen (n,) int64: what is sold; issued_face_fen (n,): int64 or object, the
    issued face value of partly used cards, None or 0 for whole ones."""
    value = np.asarray(value_fen, dtype=np.int64)
    issued = np.array([fen or 0 for fen in issued_face_fen.tolist()], dtype=np.int64)
    lists: dict[str, tuple[int, ...]] = {}
    usual: list[int] = []
    odd: list[bool] = []
    for name, fen in zip(card_type.tolist(), value.tolist(), strict=True):
        if name not in lists:
            card = catalogue.types.get(name)
            lists[name] = () if card is None else tuple(sorted(card.face_values_fen))
        listed = lists[name]
        place = bisect_right(listed, fen)
        usual.append(listed[place - 1] if place else fen)
        odd.append(bool(listed) and (place == 0 or listed[place - 1] != fen))
    is_odd = np.array(odd, dtype=bool)
    return SpecialCards(
        value_fen=value,
        spent_fen=np.maximum(issued - value, 0),
        odd=is_odd,
        usual_fen=np.where(is_odd, np.array(usual, dtype=np.int64), value),
    )


def as_usual(columns: Columns, special: SpecialCards) -> dict[str, np.ndarray]:
    """The columns (n,) with every odd card as one of its ``usual_fen`` that the type is issued with."""
    odd, usual = special.odd, special.usual_fen.astype(np.float64)
    changed = {"card_face_cny": usual / FEN_PER_YUAN, "card_face_is_usual": np.ones(len(usual))}
    if "card_face_of_max" in columns:
        with np.errstate(divide="ignore", invalid="ignore"):
            changed["card_face_of_max"] = usual / np.rint(special.value_fen / columns["card_face_of_max"])
    return {
        name: np.where(odd, changed[name], column) if name in changed else column
        for name, column in columns.items()
    }


def with_rows(parts: Parts, rows: np.ndarray, others: Parts) -> Parts:
    """``parts`` with the arrays (k,) of ``others`` in the rows (k,) of its arrays (n,)."""
    changed = {}
    for name in (field.name for field in fields(others)):
        values = getattr(others, name)
        if isinstance(values, np.ndarray):
            changed[name] = getattr(parts, name).copy()
            changed[name][rows] = values
    return replace(parts, **changed)


def resale_if_valid(context: CardContext, resale_mean: np.ndarray) -> np.ndarray:
    """What expired cards would resell at once re-activated (n,): the anchor of the same card as a valid one, at least
    ``resale_mean`` (n,), what it is expected to resell at as it is. NaN for a valid card.

    The quotient of the two is the chance of re-activation.
    """
    if not context.expired.any():
        return np.full(len(context), np.nan)
    as_valid = replace(context, expired=np.zeros(len(context), dtype=bool))
    rate, _ = resale_anchor(as_valid, expired_rate=np.nan)
    return np.where(context.expired, np.maximum(np.maximum(rate, resale_mean), LEAST_RATE), np.nan)


def held(action: np.ndarray, special: SpecialCards) -> np.ndarray:
    """The actions (n,) object, where nothing is paid before a doubtful balance was verified."""
    doubtful = special.partial | special.unusual
    return np.where(doubtful & (action == "pay"), "hold", action).astype(object)


def doubts(special: SpecialCards) -> list[tuple[Reason, ...]]:
    """Why each of n cards is not paid at once; empty for an ordinary one."""
    rows = zip(special.partial.tolist(), special.unusual.tolist(), strict=True)
    return [
        (BALANCE_TO_VERIFY,) if partial else (UNUSUAL_FACE_VALUE,) if unusual else ()
        for partial, unusual in rows
    ]


def minutes_to_expiry(*, days_to_expiry: np.ndarray, submitted_at: np.ndarray) -> np.ndarray:
    """Minutes (n,) from ``submitted_at`` (int64 ms) to the end of the last valid day in China, begun ones as whole;
    infinite for a card without expiry and for an expired one."""
    of_day = (submitted_at + CHINA_OFFSET_MS) % (DAY_MINUTES * MINUTE_MS) // MINUTE_MS
    left = (days_to_expiry + 1) * DAY_MINUTES - of_day
    return np.where(days_to_expiry >= 0, left, np.inf)


def valid_until(*, submitted_at: datetime, minutes: int, expires_on: date | None) -> datetime:
    """When a quote that binds for so many minutes ends: to the second no later than the last valid day in China of a
    card that was valid when ``submitted_at``. expires_on: that day; None: the card does not expire."""
    until, day = submitted_at + timedelta(minutes=minutes), timedelta(days=1)
    if expires_on is None:
        return until
    begins = datetime.combine(expires_on, time(), tzinfo=CHINA)
    if until - begins <= day or submitted_at - begins >= day:
        return until
    return (begins + day).astimezone(submitted_at.tzinfo)
