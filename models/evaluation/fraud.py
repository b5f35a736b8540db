"""What a fraud model is worth on a later period: ranking, probabilities and the cost of its decisions."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from models.evaluation.calibration import calibration
from models.fraud.decision import ACTIONS, HOLD, PAY, REFUSE, REVIEW, action_costs_fen, review_catches
from models.policy import Costs, DecisionCosts

DAY_MS = 86_400_000


class UnknownAction(ValueError):
    """A decision is none of pay, hold, review, refuse."""


@dataclass(frozen=True)
class FraudMetrics:
    """Figures of one model on one period; NaN where a figure is not defined (no fraud, no trade).

    Ranking: average_precision, auc, recall_at_1pct_fpr (share of fraud found while 1 % of honest trades are
    flagged), seller_precision_at_k (see :func:`seller_precision_at_k`). Probabilities: mean_probability,
    rate, calibration_ratio (the first by the second), ece, brier. Decisions: cost_per_1000_fen (realised, per
    1,000 trades), fraud_value_stopped (share of the payout of fraudulent trades), honest_refused (share of
    honest trades), and the share of trades per action.
    """

    trades: int
    frauds: int
    average_precision: float
    auc: float
    recall_at_1pct_fpr: float
    seller_precision_at_k: float
    mean_probability: float
    rate: float
    calibration_ratio: float
    ece: float
    brier: float
    cost_per_1000_fen: float
    fraud_value_stopped: float
    honest_refused: float
    share_paid: float
    share_held: float
    share_reviewed: float
    share_refused: float

    def to_dict(self) -> dict[str, float]:
        return {name: float(value) for name, value in asdict(self).items()}


def evaluate_fraud(
    *,
    fraud: np.ndarray,
    probability: np.ndarray,
    submitted_at: np.ndarray,
    seller_id: np.ndarray,
    action: np.ndarray,
    payout_fen: np.ndarray,
    face_value_fen: np.ndarray,
    costs: Costs,
    decision: DecisionCosts,
    alerts_per_day: int = 100,
) -> FraudMetrics:
    """Judge probabilities and decisions on trades whose label has matured. All arrays are (n,).

    fraud bool, probability in [0, 1] without NaN, submitted_at int64 milliseconds UTC, action one of
    ``models.fraud.decision.ACTIONS``, amounts in fen. Raises UnknownAction.
    """
    fraud = np.asarray(fraud, dtype=bool)
    level = calibration(probability=probability, outcome=fraud)
    code = action_codes(action)
    cost = realised_cost_fen(
        fraud=fraud,
        action=action,
        payout_fen=payout_fen,
        face_value_fen=face_value_fen,
        costs=costs,
        decision=decision,
    )
    share = np.bincount(code, minlength=len(ACTIONS)) / max(len(code), 1)
    return FraudMetrics(
        trades=len(fraud),
        frauds=int(fraud.sum()),
        average_precision=average_precision(fraud=fraud, probability=probability),
        auc=area_under_roc(fraud=fraud, probability=probability),
        recall_at_1pct_fpr=recall_at_fpr(fraud=fraud, probability=probability, fpr=0.01),
        seller_precision_at_k=seller_precision_at_k(
            fraud=fraud,
            probability=probability,
            submitted_at=submitted_at,
            seller_id=seller_id,
            k=alerts_per_day,
        ),
        mean_probability=level.mean_probability,
        rate=level.rate,
        calibration_ratio=level.ratio,
        ece=level.ece,
        brier=level.brier,
        cost_per_1000_fen=1000 * _mean(cost),
        fraud_value_stopped=_fraud_value_stopped(fraud, code, payout_fen, decision),
        honest_refused=_mean(code[~fraud] == REFUSE),
        share_paid=float(share[PAY]),
        share_held=float(share[HOLD]),
        share_reviewed=float(share[REVIEW]),
        share_refused=float(share[REFUSE]),
    )


def average_precision(
    *, fraud: np.ndarray, probability: np.ndarray, weight: np.ndarray | None = None
) -> float:
    """Area under precision over recall, by steps (scikit-learn); NaN without one of the classes."""
    if not _both_classes(fraud, weight):
        return float("nan")
    return float(average_precision_score(fraud, probability, sample_weight=weight))


def area_under_roc(*, fraud: np.ndarray, probability: np.ndarray) -> float:
    """Chance that a fraudulent trade ranks above an honest one; NaN without one of them."""
    return float(roc_auc_score(fraud, probability)) if _both_classes(fraud, None) else float("nan")


def recall_at_fpr(*, fraud: np.ndarray, probability: np.ndarray, fpr: float) -> float:
    """Most fraud found while at most ``fpr`` of honest trades are flagged; NaN without one of the classes."""
    if not _both_classes(fraud, None):
        return float("nan")
    false_rate, true_rate, _ = roc_curve(fraud, probability)
    return float(true_rate[false_rate <= fpr].max())


def seller_precision_at_k(
    *,
    fraud: np.ndarray,
    probability: np.ndarray,
    submitted_at: np.ndarray,
    seller_id: np.ndarray,
    k: int,
) -> float:
    """Share of the k riskiest sellers of a day that really committed fraud that day, averaged over days.

    The daily protocol of the Fraud Detection Handbook ("card precision top-k"): a seller's risk is the
    highest probability among the day's trades, and a seller once found fraudulent among the k is left out on
    later days. Days are UTC. Days with fewer than k sellers still count k places. Of equal probabilities the
    first seller by id is taken.
    """
    day = submitted_at // DAY_MS
    found: set[object] = set()
    precision = []
    for today in np.unique(day):
        rows = day == today
        sellers, seller = np.unique(seller_id[rows], return_inverse=True)
        risk = np.full(len(sellers), -np.inf)
        np.maximum.at(risk, seller, probability[rows])
        guilty = np.zeros(len(sellers), dtype=bool)
        np.logical_or.at(guilty, seller, fraud[rows].astype(bool))
        risk[[name in found for name in sellers]] = -np.inf
        top = np.argsort(-risk, kind="stable")[:k]
        caught = [sellers[one] for one in top if guilty[one] and np.isfinite(risk[one])]
        found.update(caught)
        precision.append(len(caught) / k)
    return _mean(np.array(precision))


def realised_cost_fen(
    *,
    fraud: np.ndarray,
    action: np.ndarray,
    payout_fen: np.ndarray,
    face_value_fen: np.ndarray,
    costs: Costs,
    decision: DecisionCosts,
) -> np.ndarray:
    """What each trade's decision cost (n,) in fen, knowing the label: the decision formulas at 0 or 1.

    Catches, wrong refusals and complaints enter by their expected share, as nobody knows what a trade that
    was paid would have done in a review.
    """
    by_action = action_costs_fen(
        probability=np.asarray(fraud, dtype=np.float64),
        payout_fen=payout_fen,
        face_value_fen=face_value_fen,
        costs=costs,
        decision=decision,
    )
    return by_action[np.arange(len(by_action)), action_codes(action)]


def action_codes(action: np.ndarray) -> np.ndarray:
    """Positions (n,) of actions in ``ACTIONS``. Raises UnknownAction."""
    positions = {name: code for code, name in enumerate(ACTIONS)}
    unknown = sorted({str(name) for name in action} - set(ACTIONS))
    if unknown:
        raise UnknownAction(f"unknown action {', '.join(unknown)}")
    return np.array([positions[name] for name in action], dtype=np.int64)


def _fraud_value_stopped(
    fraud: np.ndarray, code: np.ndarray, payout_fen: np.ndarray, decision: DecisionCosts
) -> float:
    """Share of the payout of fraudulent trades that is not lost; holds and reviews by what they catch."""
    caught = np.zeros(len(ACTIONS))
    caught[[HOLD, REVIEW, REFUSE]] = decision.hold_catches, review_catches(decision), 1.0
    value = np.asarray(payout_fen, dtype=np.float64)[fraud]
    return float(caught[code[fraud]] @ value / value.sum()) if value.sum() > 0 else float("nan")


def _both_classes(fraud: np.ndarray, weight: np.ndarray | None) -> bool:
    seen = np.asarray(fraud, dtype=bool)
    if weight is not None:
        seen = seen[weight > 0]
    return bool(seen.any() and not seen.all())


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values)) if len(values) else float("nan")
