"""The quoted surface: real cards priced at every face value, expiry and level of competitors' bids, and where a rate
falls that may only rise.

A larger card, one that lasts longer, or one for which others bid more is never cheaper. What is checked is the rate
that a seller would be shown, small test moves included.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.discount.directions import COMPETITOR_COLUMNS
from models.discount.model import DiscountModel
from models.matrix import Columns
from models.policy import Costs, PricePolicy

FACES_CNY = (50.0, 100.0, 200.0, 300.0, 500.0, 800.0, 1000.0, 2000.0, 5000.0)
"""For card types whose usual face values are too few or not known."""
LEAST_USUAL_FACES = 3
DAYS = (0.0, 7.0, 15.0, 30.0, 45.0, 60.0, 90.0, 120.0, 180.0, 365.0, 730.0)
BID_MOVES = tuple(np.linspace(-0.05, 0.05, 11).round(4).tolist())
"""Added to everything that is known of competitors' bids."""
MOST_TYPES, CARDS_PER_TYPE = 15, 3
CHUNK_CARDS = 15
FALL = 1e-9


@dataclass(frozen=True)
class Ladder:
    """Face values in yuan (n, steps), ascending, at which n cards are priced; usual (n,): those that their type is
    issued with."""

    face_cny: np.ndarray
    usual: np.ndarray


@dataclass(frozen=True)
class SurfaceMetrics:
    """cards, points: priced. violations_…: steps along one axis on which the rate falls; violations: all of them.

    largest_fall: of any such step, in rate. steepest_bid: the largest rise of a rate with competitors' bids, as a
    multiple of their own rise: far above 1, a price runs away with a bid.
    """

    cards: int = 0
    points: int = 0
    violations: int = 0
    violations_face: int = 0
    violations_expiry: int = 0
    violations_bid: int = 0
    largest_fall: float = 0.0
    steepest_bid: float = 0.0


def surface_metrics(
    *,
    model: DiscountModel,
    columns: Columns,
    face_value_fen: np.ndarray,
    submitted_at: np.ndarray,
    costs: Costs,
    policy: PricePolicy,
) -> SurfaceMetrics:
    """Price the surface of some of the n cards and count where it falls. submitted_at: int64 ms (n,)."""
    chosen = typical_cards(columns, len(face_value_fen))
    faces = usual_faces(columns)
    found = SurfaceMetrics()
    for start in range(0, len(chosen), CHUNK_CARDS):
        rows = chosen[start : start + CHUNK_CARDS]
        cards = {name: column[rows] for name, column in columns.items()}
        rate = price_surface(
            model=model,
            columns=cards,
            face_value_fen=face_value_fen[rows],
            submitted_at=submitted_at[rows],
            ladder=ladder_of(cards, face_value_fen[rows], faces),
            costs=costs,
            policy=policy,
        )
        found = _together(found, violations(rate))
    return found


def price_surface(
    *,
    model: DiscountModel,
    columns: Columns,
    face_value_fen: np.ndarray,
    submitted_at: np.ndarray,
    ladder: Ladder,
    costs: Costs,
    policy: PricePolicy,
    days: Sequence[float] = DAYS,
    moves: Sequence[float] = BID_MOVES,
) -> np.ndarray:
    """Rates (n, faces, days, moves) of n cards over the whole grid, each as a card that has not expired, everything
    else as it is."""
    steps = np.arange(ladder.face_cny.shape[1])
    step, day, move = (part.ravel() for part in np.meshgrid(steps, days, moves, indexing="ij"))
    face, rows = ladder.face_cny[:, step].ravel(), np.repeat(np.arange(len(face_value_fen)), len(step))
    day, move = np.tile(day, len(face_value_fen)), np.tile(move, len(face_value_fen))
    cards = {name: column[rows] for name, column in columns.items()}
    cards |= _moved(cards, 100.0 * face / face_value_fen[rows], move, ladder.usual[rows])
    cards |= {
        "card_face_cny": face,
        "card_days_to_expiry": day,
        "card_is_expired": np.zeros(len(face)),
    }
    offers = model.price(
        columns=cards,
        face_value_fen=np.rint(face * 100).astype(np.int64),
        submitted_at=submitted_at[rows],
        costs=costs,
        policy=policy,
    )
    return offers.rate.reshape(len(face_value_fen), len(steps), len(days), len(moves))


def violations(rate: np.ndarray) -> SurfaceMetrics:
    """Count the steps on which rates (n, faces, DAYS, BID_MOVES) fall."""
    falls = [-np.diff(rate, axis=axis) for axis in (1, 2, 3)]
    counts = [int((fall > FALL).sum()) for fall in falls]
    return SurfaceMetrics(
        cards=len(rate),
        points=rate.size,
        violations=sum(counts),
        violations_face=counts[0],
        violations_expiry=counts[1],
        violations_bid=counts[2],
        largest_fall=max(float(fall.max(initial=0.0)) for fall in falls),
        steepest_bid=float((-falls[2] / np.diff(BID_MOVES)).max(initial=0.0)),
    )


def typical_cards(columns: Columns, rows: int) -> np.ndarray:
    """Rows of the largest card types, CARDS_PER_TYPE of each, spread over the ``rows`` given."""
    _, position, counts = np.unique(columns["card_type"].astype(str), return_inverse=True, return_counts=True)
    largest = np.argsort(-counts, kind="stable")[:MOST_TYPES]
    places = [np.flatnonzero(position == index) for index in largest if rows]
    return np.concatenate(
        [own[np.linspace(0, len(own) - 1, CARDS_PER_TYPE).astype(np.int64)] for own in places]
        or [np.zeros(0, dtype=np.int64)]
    )


def usual_faces(columns: Columns) -> dict[str, np.ndarray]:
    """Face values in yuan, ascending, that are usual for a card type and seen among the rows, where there are
    LEAST_USUAL_FACES of them."""
    if "card_face_is_usual" not in columns:
        return {}
    rows = columns["card_face_is_usual"] == 1
    types, faces = columns["card_type"][rows].astype(str), columns["card_face_cny"][rows]
    found = {name: np.unique(faces[types == name]) for name in np.unique(types).tolist()}
    return {name: own for name, own in found.items() if len(own) >= LEAST_USUAL_FACES}


def ladder_of(columns: Columns, face_value_fen: np.ndarray, usual: dict[str, np.ndarray]) -> Ladder:
    """The usual face values (by card type, in yuan) of each of n cards, or FACES_CNY.

    No step exceeds the largest face value that can exist; a short ladder repeats its last step.
    """
    own_cny, steps = face_value_fen / 100.0, len(FACES_CNY)
    of_max = columns.get("card_face_of_max", np.full(len(own_cny), np.nan))
    most = np.where(of_max > 0, own_cny / np.where(of_max > 0, of_max, 1.0), np.inf)
    names = columns["card_type"].astype(str).tolist()
    faces = [usual.get(name, np.array(FACES_CNY)) for name in names]
    chosen = [own[np.linspace(0, len(own) - 1, min(len(own), steps)).astype(np.int64)] for own in faces]
    full = np.array([np.pad(own, (0, steps - len(own)), mode="edge") for own in chosen]).reshape(-1, steps)
    return Ladder(
        face_cny=np.minimum(full, most[:, None]),
        usual=np.array([name in usual for name in names], dtype=bool),
    )


def _moved(
    cards: Columns, times_face: np.ndarray, move: np.ndarray, usual: np.ndarray
) -> dict[str, np.ndarray]:
    """The columns that go along with another face value or other bids."""
    moved = {name: cards[name] + move for name in COMPETITOR_COLUMNS if name in cards}
    if "market_spread" in cards:
        moved["market_spread"] = cards["market_spread"] - move
    if "card_face_of_max" in cards:
        moved["card_face_of_max"] = cards["card_face_of_max"] * times_face
    if "card_face_is_usual" in cards:
        moved["card_face_is_usual"] = np.where(usual, 1.0, cards["card_face_is_usual"])
    return moved


def _together(first: SurfaceMetrics, second: SurfaceMetrics) -> SurfaceMetrics:
    return SurfaceMetrics(
        cards=first.cards + second.cards,
        points=first.points + second.points,
        violations=first.violations + second.violations,
        violations_face=first.violations_face + second.violations_face,
        violations_expiry=first.violations_expiry + second.violations_expiry,
        violations_bid=first.violations_bid + second.violations_bid,
        largest_fall=max(first.largest_fall, second.largest_fall),
        steepest_bid=max(first.steepest_bid, second.steepest_bid),
    )
