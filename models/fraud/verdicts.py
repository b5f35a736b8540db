"""What the fraud model and the platform's profile make of trades, with reasons; rules, lists and draws come later."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.fraud.decision import Decisions, decide
from models.fraud.model import FraudModel
from models.fraud.profiles import handle, high_stakes
from models.fraud.reason_dictionary import (
    AMOUNT_AT_RISK,
    NO_FRAUD_SCORE,
    NO_RISK_SIGNALS,
    OVERALL_RISK,
)
from models.fraud.reasons import reason_codes
from models.matrix import Columns
from models.policy import Costs, DecisionCosts, Profile
from models.reasons import Reason

WITHOUT_SIGNALS = {
    "pay": NO_RISK_SIGNALS,
    "hold": AMOUNT_AT_RISK,
    "review": AMOUNT_AT_RISK,
    "refuse": OVERALL_RISK,
}
"""Decision -> its reason where no family of features stands out."""


@dataclass(frozen=True)
class Verdicts:
    """Fraud answers of n trades. probability: NaN without a model. decisions: the model's, before the profile.
    action: (n,) object, after it. reasons: one at least for every trade."""

    probability: np.ndarray
    decisions: Decisions
    action: np.ndarray
    reasons: list[tuple[Reason, ...]]


def verdicts(
    *,
    model: FraudModel | None,
    columns: Columns,
    payout_fen: np.ndarray | None,
    face_value_fen: np.ndarray,
    costs: Costs,
    decision: DecisionCosts,
    profile: Profile,
    explain_paid: bool = False,
) -> Verdicts:
    """Judge n trades; columns are the features as the model knows them, amounts int64 fen; payout_fen None: nobody says
    what would be paid, and the face value is at risk.

    Families of features are looked for only where a trade is riskier than the average one and not simply paid, or with
    ``explain_paid`` paid ones too: there is no sign of risk to be named about the others. Looking costs more than the
    probability itself. For what is stopped afterwards, see :func:`with_risks`.
    """
    size = len(face_value_fen)
    matrix = None if model is None else model.matrix(columns)
    probability = np.full(size, np.nan) if model is None or matrix is None else model.probability_of(matrix)
    thresholds = None if model is None else model.thresholds
    if payout_fen is None:
        payout_fen, thresholds = face_value_fen, thresholds and thresholds.where_unpriced()
    decisions = decide(
        probability=probability,
        payout_fen=payout_fen,
        face_value_fen=face_value_fen,
        costs=costs,
        decision=decision,
        thresholds=thresholds,
    )
    handled = handle(
        action=decisions.action,
        probability=probability,
        payout_fen=payout_fen,
        stakes=high_stakes(face_value_fen=face_value_fen, columns=columns, decision=decision),
        profile=profile,
        decision=decision,
    )
    if model is None or matrix is None:
        risks: list[tuple[Reason, ...]] = [(NO_FRAUD_SCORE,)] * size
    else:
        risky = (probability > model.base_rate) & (explain_paid | (handled.action != "pay"))
        risks = _risks(model, matrix, columns, handled.action, risky=np.flatnonzero(risky).tolist())
    reasons = [
        found if person is None else (person, *found)
        for person, found in zip(handled.reasons, risks, strict=True)
    ]
    return Verdicts(probability, decisions, handled.action, reasons)


def _risks(
    model: FraudModel, matrix: np.ndarray, columns: Columns, action: np.ndarray, *, risky: list[int]
) -> list[tuple[Reason, ...]]:
    """The reasons of decisions that a profile has had its say in; families are looked for in the risky rows."""
    reasons: list[tuple[Reason, ...]] = [(WITHOUT_SIGNALS[one],) for one in action]
    if not risky:
        return reasons
    named = reason_codes(model.contributions_of(matrix[risky]), columns, risky)
    for row, found in zip(risky, named, strict=True):
        if found != (NO_RISK_SIGNALS,):
            reasons[row] = found
    return reasons


def with_risks(
    reasons: list[tuple[Reason, ...]],
    *,
    model: FraudModel | None,
    columns: Columns,
    probability: np.ndarray,
    stopped: np.ndarray,
) -> list[tuple[Reason, ...]]:
    """The reasons with the families of trades that were to be paid and are ``stopped`` (n,) by rules, lists or checks,
    behind those of the stop."""
    if model is None or not stopped.any():
        return reasons
    risky = np.flatnonzero(stopped & (probability > model.base_rate)).tolist()
    if not risky:
        return reasons
    said = list(reasons)
    named = reason_codes(model.contributions_of(model.matrix(columns)[risky]), columns, risky)
    for row, found in zip(risky, named, strict=True):
        if found != (NO_RISK_SIGNALS,):
            said[row] = (*(reason for reason in reasons[row] if reason != NO_RISK_SIGNALS), *found)
    return said


def as_decided(reasons: tuple[Reason, ...], *, action: str, let_through: bool) -> tuple[Reason, ...]:
    """The reasons of one trade once draw, rules and lists have had their say: none speaks of a refusal that did not
    come, and a trade that was let through at random reads like any other that is paid."""
    if let_through:
        return (NO_RISK_SIGNALS,)
    if action == "refuse" or OVERALL_RISK not in reasons:
        return reasons
    return tuple(WITHOUT_SIGNALS[action] if reason == OVERALL_RISK else reason for reason in reasons)
