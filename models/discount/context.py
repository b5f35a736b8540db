"""The few facts about a card and its market that the price rules refer to by name.

Everything else reaches the models through the list of names they were trained on. None of these facts is
about the person: who sells a card must not lower its price.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np

from models.matrix import Columns, Encoding

EXPECTED_RESALE = "expected_resale"
"""Input of the acceptance model beside the feature columns: the resale estimate."""

RATE_COLUMNS = frozenset(
    {
        "card_min_rate",
        "card_max_rate",
        "market_competitor_best",
        "market_competitor_mean",
        "market_competitor_level",
        "market_buyer_best",
        "market_buyer_worst",
        "market_buyer_level",
        "market_buyer_mean_24h",
        "market_buyer_mean_7d",
        "market_ask_best",
        "resale_mean_7d",
        "resale_mean_30d",
        "resale_category_mean_30d",
        "resale_pooled_30d",
        "resale_matured_mean",
        EXPECTED_RESALE,
    }
)
"""Columns that are rates of face value: the models read them as distances from a reference rate."""

NEAR_EXPIRY_DAYS = 30
"""A card with fewer days left is hard to resell in time."""

EXPIRED, NO_EXPIRY = "expired", "none"
"""Names of the buckets of the other cards."""

EXPIRY_DAYS = np.array([[0.0], [30.0], [90.0]])
"""Lower bound in days of each bucket of a card that has not expired."""
BUCKETS = (NO_EXPIRY, "under_30_days", "30_to_90_days", "90_days_or_more", EXPIRED)
HARMONICS = (1, 2, 3)
HOUR_WAVES = tuple(f"hour/{wave}{turns}" for turns in HARMONICS for wave in ("sin", "cos"))
LONG_DAYS = 400.0
USUAL_FACE_CNY = 300.0
_TURNS = np.array(HARMONICS)[:, None]


class Memo(dict["Kind", Any]):
    """What a table says of kinds of cards, each asked once."""

    def __init__(self, ask: Callable[[Kind], Any]) -> None:
        super().__init__()
        self._ask = ask

    def __missing__(self, kind: Kind) -> Any:
        found = self[kind] = self._ask(kind)
        return found


class Kind(NamedTuple):
    """What the models' tables are looked up by. Names are text, "None" where unknown; expiry: an expiry bucket."""

    card_type: str
    category: str
    form: str
    expiry: str

    @property
    def expired(self) -> bool:
        return self.expiry == EXPIRED

    @property
    def state(self) -> str:
        return "expired" if self.expired else "valid"

    @property
    def type_state(self) -> str:
        """The card type and whether the card is still valid, as one key."""
        return f"{self.card_type}/{self.state}"


@dataclass(frozen=True)
class CardContext:
    """Named facts of n cards, each (n,). Rates and shares are fractions of face value; NaN: unknown.

    card_type, category, form: object, str or None. physical, expired: bool (unknown counts as no).
    days_to_expiry: NaN for a card without expiry. kind_fraud_rate: share of labelled trades of the card type
    that were fraud, else of its category. competitor_best is unknown for an expired card: competitors' bids
    are for valid ones. face_is_usual: 1, 0 or NaN. hour: of the day in China.
    """

    card_type: np.ndarray
    category: np.ndarray
    form: np.ndarray
    physical: np.ndarray
    expired: np.ndarray
    days_to_expiry: np.ndarray
    face_cny: np.ndarray
    min_rate: np.ndarray
    max_rate: np.ndarray
    competitor_best: np.ndarray
    buyer_best: np.ndarray
    resale_mean: np.ndarray
    resale_category_mean: np.ndarray
    kind_fraud_rate: np.ndarray
    face_is_usual: np.ndarray
    hour: np.ndarray

    def __len__(self) -> int:
        return len(self.expired)

    def rows(self, rows: slice | np.ndarray) -> CardContext:
        return CardContext(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    @cached_property
    def kinds(self) -> tuple[tuple[Kind, ...], np.ndarray]:
        """The different kinds among the cards, and the place (n,) of each card's kind in them."""
        columns = self.card_type, self.category, self.form, self._bucket
        places: dict[tuple[Any, ...], int] = {}
        keys = zip(*(column.tolist() for column in columns), strict=True)
        place = np.array([places.setdefault(key, len(places)) for key in keys], dtype=np.intp)
        return tuple(Kind(str(a), str(b), str(c), BUCKETS[d]) for a, b, c, d in places), place

    def by_kind(self, answer: Callable[[Kind], float | str | Sequence[float]]) -> np.ndarray:
        """``answer`` of each card's kind: (n,), object for text, or (n, k) for k numbers. Each kind is asked once."""
        kinds, place = self.kinds
        answers = [answer(kind) for kind in kinds]
        text = bool(answers) and isinstance(answers[0], str)
        return np.array(answers, dtype=object if text else np.float64)[place]

    def named(self, name: Callable[[Kind], str]) -> tuple[list[str], np.ndarray]:
        """The different names of the cards' kinds, ascending, and the place (n,) of each card's in them."""
        kinds, place = self.kinds
        names, of_kind = np.unique([name(kind) for kind in kinds], return_inverse=True)
        return names.tolist(), of_kind[place]

    @cached_property
    def type_state(self) -> np.ndarray:
        """Object (n,): the card type and whether the card is still valid, as one key."""
        return self.by_kind(lambda kind: kind.type_state)

    @cached_property
    def hour_waves(self) -> np.ndarray:
        """The hour of the day as sines and cosines, (k, n) in the order of HOUR_WAVES; 0 where unknown."""
        known = np.isfinite(self.hour)
        angle = 2.0 * np.pi * np.where(known, self.hour, 0.0) / 24.0
        angles = _TURNS * angle
        waves = np.empty((len(HOUR_WAVES), len(self)))
        waves[::2], waves[1::2] = np.sin(angles), np.cos(angles)
        return known * waves

    @cached_property
    def log_face(self) -> np.ndarray:
        """Logarithm (n,) of the face value over a usual one; 0 where unknown."""
        face = np.where(np.isnan(self.face_cny), USUAL_FACE_CNY, self.face_cny)
        return np.log(np.maximum(face, 1.0) / USUAL_FACE_CNY)

    @cached_property
    def days_left(self) -> np.ndarray:
        """Days to expiry (n,), LONG_DAYS for a card without a date: what is said of it is then said beside a card that
        lasts, and a card type whose cards nearly always have a date keeps its share when somebody leaves it out."""
        return np.where(np.isnan(self.days_to_expiry), LONG_DAYS, self.days_to_expiry)

    @property
    def expiry_bucket(self) -> np.ndarray:
        """Object (n,): ``expired``, ``none`` (no expiry) or the name of the bucket of days left."""
        return np.array(BUCKETS, dtype=object)[self._bucket]

    @property
    def _bucket(self) -> np.ndarray:
        """Places (n,) of the cards' buckets in BUCKETS."""
        bucket = (self.days_to_expiry >= EXPIRY_DAYS).sum(axis=0)
        return np.where(self.expired, len(BUCKETS) - 1, bucket)


def card_context(columns: Columns, rows: int) -> CardContext:
    """Pick the named facts out of the feature columns; an absent column counts as unknown everywhere."""

    def number(name: str) -> np.ndarray:
        column = columns.get(name)
        return np.full(rows, np.nan) if column is None else np.asarray(column, dtype=np.float64)

    def text(name: str) -> np.ndarray:
        column = columns.get(name)
        return np.full(rows, None, dtype=object) if column is None else column

    form = text("card_form")
    kind_rate, category_rate = number("kind_fraud_rate_30d"), number("kind_category_fraud_rate_30d")
    days = number("card_days_to_expiry")
    expired = (number("card_is_expired") == 1) | (days < 0)
    return CardContext(
        card_type=text("card_type"),
        category=text("card_category"),
        form=form,
        physical=form == "physical",
        expired=expired,
        days_to_expiry=days,
        face_cny=number("card_face_cny"),
        min_rate=number("card_min_rate"),
        max_rate=number("card_max_rate"),
        competitor_best=np.where(expired, np.nan, number("market_competitor_best")),
        buyer_best=number("market_buyer_best"),
        resale_mean=number("resale_mean_30d"),
        resale_category_mean=number("resale_category_mean_30d"),
        kind_fraud_rate=np.where(np.isnan(kind_rate), category_rate, kind_rate),
        face_is_usual=number("card_face_is_usual"),
        hour=number("time_hour"),
    )


def relative_matrix(columns: Columns, encoding: Encoding, reference: np.ndarray) -> np.ndarray:
    """The encoded columns (n, k) with every rate replaced by its distance from ``reference`` (n,).

    A model that sees distances keeps its footing when the whole market moves; one that sees levels has
    learnt last month's levels.
    """
    matrix = encoding.matrix(columns)
    matrix[:, _rate_places(encoding.names)] -= reference[:, None]
    return matrix


@lru_cache(maxsize=8)
def _rate_places(names: tuple[str, ...]) -> list[int]:
    return [place for place, name in enumerate(names) if name in RATE_COLUMNS]
