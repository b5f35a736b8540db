"""How to pay: the cheapest expected cost among pay, hold, review and refuse, under the review capacity."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.policy import Costs, DecisionCosts

ACTIONS: tuple[str, ...] = ("pay", "hold", "review", "refuse")
"""The four actions from the least to the most strict; the order of the cost columns."""

PAY, HOLD, REVIEW, REFUSE = range(len(ACTIONS))


@dataclass(frozen=True)
class Decisions:
    """One decision per trade.

    action: (n,) object, one of :data:`ACTIONS`. expected_cost_fen: (n, 4) float64 in the order of ACTIONS,
    NaN where the probability is unknown. review_saving_fen: (n,) what a review saves against the cheapest of
    the other three, negative where it costs more; the order in which a queue is worked.
    """

    action: np.ndarray
    expected_cost_fen: np.ndarray
    review_saving_fen: np.ndarray


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
) -> np.ndarray:
    """Expected cost in fen (n, 4) of each action, beyond what an honest, paid trade costs.

    With p the probability of fraud, L = loss_given_fraud · payout, M = margin_share · face value:

    - pay    = p · L
    - hold   = hold cost + p · (1 − hold_catches) · L
    - review = review cost + p · (1 − review_catches) · L + (1 − p) · review_wrongly_refuses · M
    - refuse = (1 − p) · (M + complaint_probability · complaint cost)

    That a review catches at least what a hold catches (:func:`review_catches`) is also what keeps the
    cheapest action from becoming less strict as p rises. With the outcome (0 or 1) in place of p the same
    formulas give the realised cost. A NaN probability gives NaN costs.
    """
    fraud = np.asarray(probability, dtype=np.float64)
    loss = costs.loss_given_fraud * np.asarray(payout_fen, dtype=np.float64)
    margin = decision.margin_share * np.asarray(face_value_fen, dtype=np.float64)
    complaint = decision.complaint_probability * costs.complaint_cny * 100
    honest = 1 - fraud
    hold = decision.hold_cny * 100 + fraud * (1 - decision.hold_catches) * loss
    review = costs.review_cny * 100 + fraud * (1 - review_catches(decision)) * loss
    review = review + honest * decision.review_wrongly_refuses * margin
    return np.column_stack([fraud * loss, hold, review, honest * (margin + complaint)])


def decide(
    *,
    probability: np.ndarray,
    payout_fen: np.ndarray,
    face_value_fen: np.ndarray,
    costs: Costs,
    decision: DecisionCosts,
    review_threshold_fen: float | None = None,
) -> Decisions:
    """Decide n trades. Arrays are (n,), amounts in fen, probability in [0, 1] or NaN where there is none.

    A trade goes to review when that saves more than ``review_threshold_fen`` (None: more than nothing)
    against the cheapest of pay, hold and refuse; otherwise that cheapest action is taken. At equal cost the
    less strict one wins. Without a probability the trade is held: a fault of the fraud model never pays
    automatically.

    Raises ValueError for a probability outside [0, 1].
    """
    probability = np.asarray(probability, dtype=np.float64)
    if np.any((probability < 0) | (probability > 1)):
        raise ValueError("a fraud probability lies outside [0, 1]")
    expected = action_costs_fen(
        probability=probability,
        payout_fen=payout_fen,
        face_value_fen=face_value_fen,
        costs=costs,
        decision=decision,
    )
    automatic = expected.copy()
    automatic[:, REVIEW] = np.inf
    known = ~np.isnan(probability)
    automatic[~known] = 0.0
    choice = np.argmin(automatic, axis=1)
    saving = np.where(known, automatic.min(axis=1) - expected[:, REVIEW], np.nan)
    threshold = 0.0 if review_threshold_fen is None else max(review_threshold_fen, 0.0)
    choice[known & (saving > threshold)] = REVIEW
    choice[~known] = HOLD
    return Decisions(np.array(ACTIONS, dtype=object)[choice], expected, saving)


def review_threshold_fen(*, review_saving_fen: np.ndarray, capacity_share: float) -> float:
    """The saving above which a trade goes to review so that at most ``capacity_share`` of all trades do.

    review_saving_fen: (n,) from :func:`decide` on a past period the model was not fitted on; NaN counts as
    a trade that needs no review. A fixed threshold lets single live trades be decided without a queue, and
    keeps the capacity as long as trades stay like those of that period. At least 0; with no rows 0.
    """
    known = review_saving_fen[~np.isnan(review_saving_fen)]
    places = int(np.floor(capacity_share * len(review_saving_fen)))
    if places >= len(known):
        return 0.0
    return max(float(np.sort(known)[::-1][places]), 0.0)
