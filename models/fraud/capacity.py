"""How many trades may be held, reviewed and refused, and the thresholds that keep to it trade by trade."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.fraud.decision import HOLD, PAY, REFUSE, REVIEW, Thresholds
from models.policy import DecisionCosts

PATIENT_ROUNDS, MOST_ROUNDS = 400, 800
HASTE = 1.1
"""Factor by which a threshold rises at least after PATIENT_ROUNDS: two actions that cost the same would otherwise
outbid each other by a fen at a time."""

NEVER_FEN = 1e15
"""Threshold of an action that has no place at all."""

LEAST_ROOM = 0.5
"""Part of a usual stretch's room that is left in a stretch in which rules asked for unusually much: a burst that they
caught must not close an action to the model until the next training."""

MOST_ROWS = 200_000
"""More trades say nothing new about a share of them."""


def most_shares(decision: DecisionCosts, *, trades_per_day: float) -> np.ndarray:
    """The largest share (4,) of trades by action, in the order of ACTIONS. ``reviews_per_day`` is turned into a share
    of a usual day's trades."""
    review = decision.review_capacity_share
    if decision.reviews_per_day:
        review = min(decision.reviews_per_day / max(trades_per_day, 1e-9), 1.0)
    return np.array([1.0, decision.hold_most_share, review, decision.refuse_most_share])


@dataclass(frozen=True)
class HonestRefused:
    """How many honest trades may be refused: at most ``most_share`` of those expected among n trades; probability (n,)
    of fraud. sets: the n rows are so many models' views of the same trades, one behind the other, and the limit holds
    in each."""

    probability: np.ndarray
    most_share: float
    sets: int = 1


def learned_thresholds(
    *,
    weighed_cost_fen: np.ndarray,
    most_share: np.ndarray,
    anyway: np.ndarray | None = None,
    honest: HonestRefused | None = None,
    stretches: int = 1,
) -> Thresholds:
    """The least thresholds under which no action takes more than its share of trades.

    weighed_cost_fen: (n, 4) from :func:`models.fraud.decision.decide` on a past period whose labels the model was not
    fitted on, some early ones aside, in the order of time; NaN rows have no probability and need no place. most_share:
    (4,), see :func:`most_shares`. anyway (n,) int: the action, by its place in ACTIONS, that each trade meets whatever
    the model says, as rules and checks have it; such trades take their places before the others. honest: of the same
    trades, None: no limit beside the share. stretches: the period is cut into so many, and the shares hold in each of
    them, but for one in which rules ask for unusually much (LEAST_ROOM): what one stretch differs from another says
    how much the next may differ.
    Fixed thresholds let a single live trade be decided without a queue, and keep to the shares as long as trades stay
    like those of that period.

    They rise as prices in an auction: each action in turn asks for just so much that its places suffice at the others'
    present thresholds, until nothing changes. Places then go where they save most, all four actions considered.
    """
    step = -(-len(weighed_cost_fen) // MOST_ROWS) or 1
    cost = weighed_cost_fen[::step]
    least = np.full(len(cost), PAY) if anyway is None else anyway[::step]
    known = np.asarray(np.isfinite(cost).all(axis=1))
    parts = _stretches(known, least, most_share, count=stretches)
    honest_share = None if honest is None else 1.0 - honest.probability[::step][known]
    cost = cost[known]
    views = np.array_split(np.arange(len(cost)), 1 if honest is None else honest.sets)
    threshold = np.zeros(4)
    for turn in range(MOST_ROUNDS):
        before = threshold.copy()
        haste = HASTE if turn >= PATIENT_ROUNDS else 1.0
        for action in (HOLD, REVIEW, REFUSE):
            saving = _saving(cost, threshold, action)
            asked = max(part.price(saving, action) for part in parts)
            if action == REFUSE and honest is not None and honest_share is not None:
                for rows in views:
                    places_left = _places_within(saving[rows], honest_share[rows], most=honest.most_share)
                    asked = max(asked, _price(saving[rows], places_left))
            if asked > threshold[action]:
                threshold[action] = max(asked, haste * threshold[action])
        if np.array_equal(before, threshold):
            break
    hold, review, refuse = threshold[PAY + 1 :].tolist()
    return Thresholds(hold_fen=hold, review_fen=review, refuse_fen=refuse)


@dataclass(frozen=True)
class _Stretch:
    """Trades of a stretch of time. rows (m,): their places among those with a probability; least (m,): what each meets
    anyway; room (4,): how many others each action may take."""

    rows: np.ndarray
    least: np.ndarray
    room: np.ndarray

    def price(self, saving: np.ndarray, action: int) -> float:
        return _price(saving[self.rows[self.least < action]], int(self.room[action]))


def _stretches(known: np.ndarray, least: np.ndarray, most_share: np.ndarray, *, count: int) -> list[_Stretch]:
    """n trades, in the order of time, cut into ``count`` stretches. known (n,) bool: they have a probability."""
    place = np.cumsum(known) - 1
    cuts = np.array_split(np.arange(len(known)), count)
    taken = np.array([np.bincount(least[rows], minlength=len(most_share)) for rows in cuts])
    size = np.array([[len(rows)] for rows in cuts])
    usual = most_share - np.median(taken / np.maximum(size, 1), axis=0)
    room = np.maximum(most_share * size - taken, LEAST_ROOM * np.maximum(usual, 0.0) * size)
    parts = []
    for rows, left in zip(cuts, np.floor(room).astype(np.int64), strict=True):
        scored = rows[known[rows]]
        parts.append(_Stretch(place[scored], least[scored], left))
    return parts


def _saving(cost: np.ndarray, threshold: np.ndarray, action: int) -> np.ndarray:
    """What an action saves (n,) against the best other one, before it pays its own threshold."""
    others = cost + threshold
    others[:, action] = np.inf
    return others.min(axis=1) - cost[:, action]


def _places_within(saving: np.ndarray, weight: np.ndarray, *, most: float) -> int:
    """How many trades, those that save most, weigh at most a share ``most`` of all together."""
    taken = np.cumsum(weight[np.argsort(-saving, kind="stable")])
    return int(np.searchsorted(taken, most * weight.sum(), side="right"))


def _price(saving: np.ndarray, places: int) -> float:
    """The least whole fen that no more trades save than there are places; 0 where all that save anything have one."""
    if places >= len(saving):
        return 0.0
    if places == 0:
        return NEVER_FEN
    left_out = len(saving) - 1 - places
    most_left_out = float(np.partition(saving, left_out)[left_out])
    return 0.0 if most_left_out < 0 else float(np.floor(most_left_out)) + 1.0
