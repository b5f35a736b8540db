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
    of fraud."""

    probability: np.ndarray
    most_share: float


def learned_thresholds(
    *,
    weighed_cost_fen: np.ndarray,
    most_share: np.ndarray,
    held_anyway: np.ndarray | None = None,
    honest: HonestRefused | None = None,
) -> Thresholds:
    """The least thresholds under which no action takes more than its share of trades.

    weighed_cost_fen: (n, 4) from :func:`models.fraud.decision.decide` on a past period that the model was not fitted
    on; NaN rows have no probability and need no place. most_share: (4,), see :func:`most_shares`. held_anyway
    (n,) bool: trades that wait for a verification whatever the model says; they take their places before the others.
    honest: of the same trades, None: no limit beside the share.
    Fixed thresholds let a single live trade be decided without a queue, and keep to the shares as long as trades stay
    like those of that period.

    They rise as prices in an auction: each action in turn asks for just so much that its places suffice at the others'
    present thresholds, until nothing changes. Places then go where they save most, all four actions considered.
    """
    step = -(-len(weighed_cost_fen) // MOST_ROWS) or 1
    cost = weighed_cost_fen[::step]
    waits = np.zeros(len(cost), dtype=bool) if held_anyway is None else held_anyway[::step]
    places = np.floor(most_share * len(cost)).astype(np.int64)
    places[HOLD] = max(places[HOLD] - int(waits.sum()), 0)
    known = ~np.isnan(cost).any(axis=1)
    cost, waits = cost[known], waits[known]
    honest_share = None if honest is None else 1.0 - honest.probability[::step][known]
    threshold = np.zeros(4)
    for turn in range(MOST_ROUNDS):
        before = threshold.copy()
        haste = HASTE if turn >= PATIENT_ROUNDS else 1.0
        for action in (HOLD, REVIEW, REFUSE):
            saving = _saving(cost, threshold, action)
            asked = _price(saving[~waits] if action == HOLD else saving, int(places[action]))
            if action == REFUSE and honest is not None and honest_share is not None:
                places_left = _places_within(saving, honest_share, most=honest.most_share)
                asked = max(asked, _price(saving, places_left))
            if asked > threshold[action]:
                threshold[action] = max(asked, haste * threshold[action])
        if np.array_equal(before, threshold):
            break
    hold, review, refuse = threshold[PAY + 1 :].tolist()
    return Thresholds(hold_fen=hold, review_fen=review, refuse_fen=refuse)


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
