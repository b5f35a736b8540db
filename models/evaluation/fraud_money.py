"""Fraud money stopped: which frauds count, with how much, and what a decision keeps of it. Whoever tells the figure
counts it from here."""

from __future__ import annotations

import numpy as np

from models.fraud.decision import HOLD, PAY, REFUSE, REVIEW, action_codes, review_catches
from models.policy import DecisionCosts


def at_risk_fen(*, face_value_fen: np.ndarray, offered_rate: np.ndarray) -> np.ndarray:
    """What each trade (n,) would be paid, int64 fen: the logged offer, or the whole face value where none was
    logged."""
    rate = np.where(np.isfinite(offered_rate), offered_rate, 1.0)
    return np.rint(face_value_fen * rate).astype(np.int64)


def at_stake(*, fraud: np.ndarray, accepted: np.ndarray) -> np.ndarray:
    """Frauds (n,) bool that money would have gone to: those whose seller did not decline. fraud: 1 or True where it is
    one. accepted: 1, 0 or NaN, which is not known and counts."""
    return (fraud == 1) & (accepted != 0)


def stopped_share(
    action: np.ndarray, *, decision: DecisionCosts, no_offer: np.ndarray | None = None
) -> np.ndarray:
    """Share (n,) of a fraud's money that each decision keeps: none if paid, what a hold or a review catches, all if
    refused. no_offer (n,) bool: nothing is offered, so all is kept; None: everywhere something is. Raises
    UnknownAction."""
    kept = np.zeros(4)
    kept[[PAY, HOLD, REVIEW, REFUSE]] = 0.0, decision.hold_catches, review_catches(decision), 1.0
    share = kept[action_codes(action)]
    return share if no_offer is None else np.where(no_offer, 1.0, share)
