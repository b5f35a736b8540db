"""What decisions did to the money at stake in frauds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.evaluation.fraud_money import at_stake, stopped_share
from models.policy import DecisionCosts
from pipelines.reporting.fraud_cases import Cases


@dataclass(frozen=True)
class Money:
    """Frauds of the period that were not declined by their seller. In fen: at_stake: what would be paid. stopped: the
    part that the decisions keep, holds and reviews by the share they catch. lost: the rest. paid: at stake where the
    log says the seller accepted."""

    frauds: int
    at_stake_fen: float
    stopped_fen: float
    lost_fen: float
    paid: int
    paid_fen: float


def money(cases: Cases, action: np.ndarray, decision: DecisionCosts) -> Money:
    """What the known frauds were about under some decisions (n,)."""
    fraud = at_stake(fraud=cases.is_fraud, accepted=cases.accepted)
    at_risk = cases.at_risk_fen[fraud].astype(np.float64)
    stopped = float(stopped_share(action[fraud], decision=decision) @ at_risk)
    paid = cases.is_fraud & (cases.accepted == 1)
    return Money(
        frauds=int(fraud.sum()),
        at_stake_fen=float(at_risk.sum()),
        stopped_fen=stopped,
        lost_fen=float(at_risk.sum()) - stopped,
        paid=int(paid.sum()),
        paid_fen=float(cases.at_risk_fen[paid].sum()),
    )


def refused_share(action: np.ndarray) -> float:
    """Share of trades (n,) that were refused."""
    return float(np.mean(action == "refuse"))


def expected_in_refused(
    cases: Cases, action: np.ndarray, probability: np.ndarray, among: np.ndarray | None = None
) -> tuple[float, float]:
    """Frauds and fraud money (fen) that a model expects among refused trades (n,) without a label: nobody ever learns
    what they were. among (n,) bool: only of these; None: of all."""
    rows = (action == "refuse") & cases.is_open & np.isfinite(probability)
    rows &= True if among is None else among
    return float(probability[rows].sum()), float(probability[rows] @ cases.at_risk_fen[rows])


def share_of(part: float, whole: float) -> float:
    return part / whole if whole > 0 else np.nan
