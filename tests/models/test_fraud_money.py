"""Fraud money stopped has one definition."""

from __future__ import annotations

import numpy as np
import pytest

from models.evaluation.fraud_money import at_risk_fen, at_stake, stopped_share
from models.fraud.decision import UnknownAction
from models.policy import DecisionCosts

ACTIONS = np.array(["pay", "hold", "review", "refuse"], dtype=object)


def test_a_decision_keeps_what_it_catches():
    """A hold and a review keep what they catch, a review at least what a hold does; a refusal, or no offer, all."""
    found = stopped_share(ACTIONS, decision=DecisionCosts(hold_catches=0.5, review_catches=0.9))
    assert found.tolist() == [0.0, 0.5, 0.9, 1.0]
    strict = DecisionCosts(hold_catches=0.6, review_catches=0.2)
    assert stopped_share(ACTIONS, decision=strict).tolist() == [0.0, 0.6, 0.6, 1.0]
    none = np.array([True, False, True, False])
    assert stopped_share(ACTIONS, decision=strict, no_offer=none).tolist() == [1.0, 0.6, 1.0, 1.0]
    assert len(stopped_share(ACTIONS[:0], decision=strict)) == 0
    with pytest.raises(UnknownAction, match="maybe"):
        stopped_share(np.array(["maybe"]), decision=strict)


def test_a_fraud_counts_unless_its_seller_declined():
    """With the offer that was logged, or its face value where none was."""
    fraud, accepted = np.array([1, 1, 1, 0, np.nan]), np.array([1, 0, np.nan, 1, 1])
    assert at_stake(fraud=fraud, accepted=accepted).tolist() == [True, False, True, False, False]
    face, offered = np.full(2, 50_000), np.array([0.9, np.nan])
    assert at_risk_fen(face_value_fen=face, offered_rate=offered).tolist() == [45_000, 50_000]
