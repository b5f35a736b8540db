"""How to pay: the cheapest expected cost among pay, hold, review and refuse, within what the platform can bear."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from models.policy import Costs, DecisionCosts

ACTIONS: tuple[str, ...] = ("pay", "hold", "review", "refuse")
"""The four actions from the least to the most strict; the order of the cost columns."""

PAY, HOLD, REVIEW, REFUSE = range(len(ACTIONS))


class UnknownAction(ValueError):
    """A decision is none of pay, hold, review, refuse."""


@dataclass(frozen=True)
class Thresholds:
    """What an action must save, in fen and beyond its own cost, to be taken: its price while its places are few.

    Learned by :func:`models.fraud.capacity.learned_thresholds`; 0 where an action is cheapest seldom enough. Added to
    the weighed costs they keep each action within its share of trades, and give its places to those that gain most.
    They do so only at the weight they were learned at, so that one decides with them. learned_for: the settings they
    were learned for (:data:`models.policy.TAKEN_AT_TRAINING`); without a weight among them, a paid fraud counted once.
    unpriced: the same three learned with the whole face value at risk, for trades of which nobody says what would be
    paid: less is, so the others would let more be held.
    """

    hold_fen: float = 0.0
    review_fen: float = 0.0
    refuse_fen: float = 0.0
    learned_for: Mapping[str, float] = field(default_factory=dict, hash=False)
    unpriced: tuple[float, float, float] | None = None

    @property
    def fraud_weight(self) -> float:
        """How many times its loss a paid fraud counted when they were learned."""
        return self.learned_for.get("fraud_weight", 1.0)

    def where_unpriced(self) -> Thresholds:
        """Those for trades without a payout."""
        if self.unpriced is None:
            return self
        hold, review, refuse = self.unpriced
        return replace(self, hold_fen=hold, review_fen=review, refuse_fen=refuse)

    def outdated(self, decision: DecisionCosts) -> dict[str, tuple[float, float]]:
        """Settings that changed since: what the thresholds were learned for, and what the next training takes up."""
        learned = {"fraud_weight": self.fraud_weight, **self.learned_for}
        now = decision.taken_at_training()
        return {name: (learned[name], now[name]) for name in now if learned.get(name, now[name]) != now[name]}

    @property
    def by_action(self) -> np.ndarray:
        """(4,) in the order of ACTIONS; paying is never rationed."""
        return np.array([0.0, self.hold_fen, self.review_fen, self.refuse_fen])

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Thresholds:
        unpriced = data.get("unpriced")
        return cls(**{**data, "unpriced": None if unpriced is None else tuple(unpriced)})


@dataclass(frozen=True)
class Decisions:
    """One decision per trade.

    Money, NaN where the probability is unknown: expected_cost_fen (n, 4) float64 in the order of ACTIONS, of this trade
    alone; review_saving_fen (n,) what a review saves of it against what would be done without analysts, negative where
    it costs more.

    What decides, and is no money: action (n,) object, one of :data:`ACTIONS`; weighed_cost_fen (n, 4) the expected cost
    with a paid fraud counted several times; review_priority_fen (n,) what a review saves of that, the price of
    a scarce place included: the order in which a queue is worked, above 0 wherever a review is chosen.
    """

    action: np.ndarray
    expected_cost_fen: np.ndarray
    review_saving_fen: np.ndarray
    weighed_cost_fen: np.ndarray
    review_priority_fen: np.ndarray


def action_codes(action: np.ndarray) -> np.ndarray:
    """Positions (n,) of actions in ``ACTIONS``. Raises UnknownAction."""
    positions = {name: code for code, name in enumerate(ACTIONS)}
    unknown = sorted({str(name) for name in action} - set(ACTIONS))
    if unknown:
        raise UnknownAction(f"unknown action {', '.join(unknown)}")
    return np.array([positions[name] for name in action], dtype=np.int64)


def review_catches(decision: DecisionCosts) -> float:
    """Share of fraud that a review stops: it includes a verification, so at least what a hold stops."""
    return max(decision.review_catches, decision.hold_catches)


def action_costs_fen(
    *,
    probability: np.ndarray,
    payout_fen: np.ndarray,
    face_value_fen: np.ndarray,
    costs: Costs,
    decision: DecisionCosts,
    fraud_weight: float = 1.0,
) -> np.ndarray:
    """Expected cost in fen (n, 4) of each action, beyond what an honest, paid trade costs.

    With p the probability of fraud, L = fraud_weight · loss_given_fraud · payout, M = margin_share · face value:

    - pay    = p · L
    - hold   = hold cost + p · (1 − hold_catches) · L + (1 − p) · hold_drop_share · M
    - review = review cost + p · (1 − review_catches) · L + (1 − p) · max(review_wrongly_refuses, hold_drop_share) · M
    - refuse = (1 − p) · (M + complaint_probability · complaint cost)

    A review includes a verification and a wait, so it catches and loses at least what a hold does. That is also what
    keeps the cheapest action from becoming less strict as p rises. With the outcome (0 or 1) in place of p the same
    formulas give the realised cost. A NaN probability gives NaN costs.
    """
    fraud = np.asarray(probability, dtype=np.float64)
    loss = fraud_weight * costs.loss_given_fraud * np.asarray(payout_fen, dtype=np.float64)
    margin = decision.margin_share * np.asarray(face_value_fen, dtype=np.float64)
    complaint = decision.complaint_probability * costs.complaint_cny * 100
    honest = 1 - fraud
    lost_in_review = max(decision.review_wrongly_refuses, decision.hold_drop_share)
    hold = decision.hold_cny * 100 + fraud * (1 - decision.hold_catches) * loss
    hold = hold + honest * decision.hold_drop_share * margin
    review = costs.review_cny * 100 + fraud * (1 - review_catches(decision)) * loss
    review = review + honest * lost_in_review * margin
    return np.column_stack([fraud * loss, hold, review, honest * (margin + complaint)])


def decide(
    *,
    probability: np.ndarray,
    payout_fen: np.ndarray,
    face_value_fen: np.ndarray,
    costs: Costs,
    decision: DecisionCosts,
    thresholds: Thresholds | None = None,
) -> Decisions:
    """Decide n trades. Arrays are (n,), amounts in fen, probability in [0, 1] or NaN where there is none.

    The action with the least weighed cost and threshold together is taken; at equal cost the less strict one. A paid
    fraud weighs as when the thresholds were learned, without any (None) as ``decision`` says.
    Without a probability the trade is held: a fault of the fraud model never pays automatically.

    Raises ValueError for a probability outside [0, 1].
    """
    probability = np.asarray(probability, dtype=np.float64)
    if np.any((probability < 0) | (probability > 1)):
        raise ValueError("a fraud probability lies outside [0, 1]")
    fraud_weight = decision.fraud_weight if thresholds is None else thresholds.fraud_weight
    expected, weighed = (
        action_costs_fen(
            probability=probability,
            payout_fen=payout_fen,
            face_value_fen=face_value_fen,
            costs=costs,
            decision=decision,
            fraud_weight=weight,
        )
        for weight in (1.0, fraud_weight)
    )
    known = ~np.isnan(probability)
    priced = np.where(known[:, None], weighed, 0.0) + (thresholds or Thresholds()).by_action
    choice = np.argmin(priced, axis=1)
    choice[~known] = HOLD
    automatic = priced.copy()
    automatic[:, REVIEW] = np.inf
    instead = np.argmin(automatic, axis=1)
    rows = np.arange(len(probability))
    return Decisions(
        action=np.array(ACTIONS, dtype=object)[choice],
        expected_cost_fen=expected,
        review_saving_fen=expected[rows, instead] - expected[:, REVIEW],
        weighed_cost_fen=weighed,
        review_priority_fen=automatic[rows, instead] - weighed[:, REVIEW],
    )
