"""The random let-through: a few of the trades that the model would refuse are paid, so that their outcome is seen.

A refused trade has no outcome, so a model that only learns from paid ones never sees whether it refuses the right ones,
and its probabilities sink where it refuses most. The draw comes after the model's decision and before lists, rules
and legal limits, which may still stop what it let through. It is a hash of a seed and the card, never of an id that
whoever asks could choose: offered again, under whatever id, a card gets the same answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from features.windows import DAY_MS
from models.matrix import Columns
from models.policy import DecisionCosts
from models.reasons import Reason

SEEN_BEFORE = "fingerprint_count_all"

LET_THROUGH_NOTE = Reason(
    "LET_THROUGH",
    "模型本应拒绝此交易；为获得真实标签而随机放行，付款不代表风险低",
    "The model would have refused this trade; it was let through at random to learn its outcome, "
    "so the payment says nothing about its risk",
)
"""For analysts only: whoever sells must not know that a draw has taken place."""


@dataclass(frozen=True)
class Draws:
    """Decisions after the draw. action (n,) object. let_through (n,): the probability with which a trade that would
    have been refused was let through, NaN for every other trade, those that the draw turned away included: these keep
    ``refuse``."""

    action: np.ndarray
    let_through: np.ndarray


def let_through(
    *,
    action: np.ndarray,
    card: np.ndarray,
    face_value_fen: np.ndarray,
    decision: DecisionCosts,
    worth_paying: np.ndarray | None = None,
) -> Draws:
    """Draw among n trades whose ``action`` is refuse; those let through are paid. card (n,): see :func:`cards_drawn`.

    Only face values up to ``let_through_most_cny`` take part, only trades with a card (None: no draw) and,
    where given, only those ``worth_paying`` (n,) bool if they are honest.
    """
    share = decision.let_through_share
    drawn = (action == "refuse") & (face_value_fen <= decision.let_through_most_fen)
    if worth_paying is not None:
        drawn &= worth_paying
    passed = np.zeros(len(action), dtype=bool)
    if share > 0:
        for row in np.flatnonzero(drawn):
            passed[row] = card[row] is not None and uniform(decision.let_through_seed, card[row]) < share
    return Draws(
        action=np.where(passed, "pay", action).astype(object),
        let_through=np.where(passed, share, np.nan),
    )


def cards_drawn(
    *, columns: Columns, submitted: Columns, face_value_fen: np.ndarray, submitted_at: np.ndarray
) -> np.ndarray:
    """What each trade's draw is of (n,) object: the card by its fingerprint, or where none is given all cards of one
    kind and face value that a seller offers on one day (UTC). None, so no draw, for a card that was offered before
    and where no seller is known. submitted: the trades as submitted; submitted_at int64 ms."""
    unknown = np.full(len(face_value_fen), None, dtype=object)
    again = columns.get(SEEN_BEFORE, np.zeros(len(unknown))) >= 1
    told = (submitted.get(name, unknown) for name in ("card_fingerprint", "seller_id", "card_type"))
    rows = zip(*told, face_value_fen.tolist(), (submitted_at // DAY_MS).tolist(), again.tolist(), strict=True)
    return np.array([_card(*row) for row in rows], dtype=object)


def _card(
    fingerprint: str | None, seller: str | None, card_type: str | None, face: int, day: int, again: bool
) -> str | None:
    if again:
        return None
    if fingerprint is not None:
        return f"card\x1f{fingerprint}"
    return None if seller is None else f"seller\x1f{seller}\x1f{card_type}\x1f{face}\x1f{day}"


def still_paid(action: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """The draws' probabilities (n,) once rules have had their say: NaN for what they stopped, for its outcome is no
    longer that of a trade that was simply let through."""
    return np.where(action == "pay", probability, np.nan)


def notes_of(probability: np.ndarray) -> list[tuple[Reason, ...]]:
    """What an analyst is told beside the reasons of n trades, from their ``let_through`` (n,)."""
    return [(LET_THROUGH_NOTE,) if drawn else () for drawn in np.isfinite(probability)]


def uniform(seed: str, card: str) -> float:
    """The draw of a card, even in [0, 1]."""
    text = "\x1f".join(("let_through", seed, card))
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big") / 2**64
