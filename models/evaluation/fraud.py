"""What a fraud model is worth on a later period: ranking, probabilities and the cost of its decisions."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from features.windows import DAY_MS
from models.evaluation.calibration import calibration
from models.evaluation.fraud_money import stopped_share
from models.fraud.decision import ACTIONS, HOLD, PAY, REFUSE, REVIEW, action_codes, action_costs_fen
from models.policy import Costs, DecisionCosts


@dataclass(frozen=True, kw_only=True)
class Judged:
    """n trades whose label has matured, what a model said of them and what it would have done. All are (n,).

    fraud bool. probability in [0, 1], without NaN. submitted_at int64 milliseconds UTC. seller_id. action: one of
    ``models.fraud.decision.ACTIONS``. Amounts int64 fen. weight: how many trades a row stands for (1 / share let
    through where blocked trades have no label); None: one each.
    """

    fraud: np.ndarray
    probability: np.ndarray
    submitted_at: np.ndarray
    seller_id: np.ndarray
    action: np.ndarray
    payout_fen: np.ndarray
    face_value_fen: np.ndarray
    weight: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.fraud)

    @property
    def weights(self) -> np.ndarray:
        """(n,) float64."""
        return np.ones(len(self)) if self.weight is None else np.asarray(self.weight, dtype=np.float64)

    def rows(self, chosen: np.ndarray) -> Judged:
        """The rows of a mask (n,) bool or of positions."""
        parts = {name: value for name, value in vars(self).items() if value is not None}
        return Judged(**{name: value[chosen] for name, value in parts.items()})

    def cost_fen(self, *, costs: Costs, decision: DecisionCosts) -> np.ndarray:
        """What each trade's decision cost (n,), see :func:`realised_cost_fen`."""
        return realised_cost_fen(
            fraud=self.fraud,
            action=self.action,
            payout_fen=self.payout_fen,
            face_value_fen=self.face_value_fen,
            costs=costs,
            decision=decision,
        )


@dataclass(frozen=True)
class FraudMetrics:
    """Figures of one model on one period; NaN where a figure is not defined (no fraud, no trade).

    trades, frauds: rows; every other figure counts a row by its weight.

    Ranking: average_precision, auc, recall_at_1pct_fpr (share of fraud found while 1 % of honest trades are
    flagged), card_precision_at_k and seller_precision_at_k (share of frauds among the k riskiest trades, and of
    fraudulent sellers among the k riskiest sellers, of a day; k is alerts_per_day). Probabilities:
    mean_probability, rate, calibration_ratio (the first by the second), ece, brier. Decisions: cost_per_1000_fen
    (realised, per 1,000 trades), fraud_value_stopped (share of the payout of fraudulent trades that is not lost, see
    :func:`models.evaluation.fraud_money.stopped_share`), fraud_value_refused_or_reviewed (the same without holds, a
    review counted in full), honest_refused (share of honest trades), and the share of trades per action.
    """

    trades: int
    frauds: int
    average_precision: float
    auc: float
    recall_at_1pct_fpr: float
    alerts_per_day: int
    card_precision_at_k: float
    seller_precision_at_k: float
    mean_probability: float
    rate: float
    calibration_ratio: float
    ece: float
    brier: float
    cost_per_1000_fen: float
    fraud_value_stopped: float
    fraud_value_refused_or_reviewed: float
    honest_refused: float
    share_paid: float
    share_held: float
    share_reviewed: float
    share_refused: float

    def to_dict(self) -> dict[str, float]:
        return {name: float(value) for name, value in asdict(self).items()}


def evaluate_fraud(
    judged: Judged, *, costs: Costs, decision: DecisionCosts, alerts_per_day: int = 100
) -> FraudMetrics:
    """Judge probabilities and decisions on trades whose label has matured. Raises UnknownAction."""
    fraud, probability, weight = np.asarray(judged.fraud, dtype=bool), judged.probability, judged.weight
    level = calibration(probability=probability, outcome=fraud, weight=weight)
    weights, code = judged.weights, action_codes(judged.action)
    share = np.bincount(code, weights, minlength=len(ACTIONS)) / max(weights.sum(), 1e-300)
    caught, strictly = stopped_share(judged.action, decision=decision), np.array([0.0, 0.0, 1.0, 1.0])
    value = weights * judged.payout_fen * fraud
    return FraudMetrics(
        trades=len(fraud),
        frauds=int(fraud.sum()),
        average_precision=average_precision(fraud=fraud, probability=probability, weight=weight),
        auc=area_under_roc(fraud=fraud, probability=probability, weight=weight),
        recall_at_1pct_fpr=recall_at_fpr(fraud=fraud, probability=probability, fpr=0.01, weight=weight),
        alerts_per_day=alerts_per_day,
        card_precision_at_k=card_precision_at_k(
            fraud=fraud, probability=probability, submitted_at=judged.submitted_at, k=alerts_per_day
        ),
        seller_precision_at_k=seller_precision_at_k(
            fraud=fraud,
            probability=probability,
            submitted_at=judged.submitted_at,
            seller_id=judged.seller_id,
            k=alerts_per_day,
        ),
        mean_probability=level.mean_probability,
        rate=level.rate,
        calibration_ratio=level.ratio,
        ece=level.ece,
        brier=level.brier,
        cost_per_1000_fen=1000 * weighted_mean(judged.cost_fen(costs=costs, decision=decision), weights),
        fraud_value_stopped=weighted_mean(caught, value),
        fraud_value_refused_or_reviewed=weighted_mean(strictly[code], value),
        honest_refused=weighted_mean(code == REFUSE, weights * ~fraud),
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


def area_under_roc(*, fraud: np.ndarray, probability: np.ndarray, weight: np.ndarray | None = None) -> float:
    """Chance that a fraudulent trade ranks above an honest one; NaN without one of them."""
    if not _both_classes(fraud, weight):
        return float("nan")
    return float(roc_auc_score(fraud, probability, sample_weight=weight))


def auc_error(auc: float, *, frauds: float, honest: float) -> float:
    """Standard error of an area under the ROC curve found on so many trades of either kind (Hanley and McNeil 1982);
    NaN where the area is, or without one of them."""
    if not min(frauds, honest) > 0:
        return float("nan")
    two_frauds, two_honest = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    spread = auc * (1 - auc) + (frauds - 1) * (two_frauds - auc**2) + (honest - 1) * (two_honest - auc**2)
    return float(np.sqrt(max(spread, 0.0) / (frauds * honest))) if np.isfinite(auc) else float("nan")


def recall_at_fpr(
    *, fraud: np.ndarray, probability: np.ndarray, fpr: float, weight: np.ndarray | None = None
) -> float:
    """Most fraud found while at most ``fpr`` of honest trades are flagged; NaN without one of the classes."""
    if not _both_classes(fraud, weight):
        return float("nan")
    false_rate, true_rate, _ = _roc(fraud, probability, weight)
    return float(true_rate[false_rate <= fpr].max())


def cut_at_fpr(
    *, fraud: np.ndarray, probability: np.ndarray, fpr: float, weight: np.ndarray | None = None
) -> float:
    """The lowest probability from which at most ``fpr`` of honest trades are flagged.

    Infinite where even the highest one flags too many; NaN without one of the classes.
    """
    if not _both_classes(fraud, weight):
        return float("nan")
    false_rate, _, cut = _roc(fraud, probability, weight)
    return float(cut[false_rate <= fpr].min())


def _roc(
    fraud: np.ndarray, probability: np.ndarray, weight: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return roc_curve(fraud, probability, sample_weight=weight, drop_intermediate=False)


def card_precision_at_k(
    *, fraud: np.ndarray, probability: np.ndarray, submitted_at: np.ndarray, k: int
) -> float:
    """Share of frauds among the k riskiest trades of a day, averaged over days: what an analyst with k places sees.

    Days are UTC; those with fewer than k trades still count k places. Of equal probabilities the earlier row is
    taken. NaN without a trade.
    """
    day = submitted_at // DAY_MS
    precision = []
    for today in np.unique(day):
        rows = np.flatnonzero(day == today)
        top = rows[np.argsort(-probability[rows], kind="stable")[:k]]
        precision.append(float(np.sum(fraud[top])) / k)
    return _mean(np.array(precision))


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


def weighted_mean(values: np.ndarray, weights: np.ndarray) -> float:
    """Mean of values (n,) by weights (n,) that are not negative; NaN where they sum to nothing."""
    total = float(np.sum(weights))
    return (
        float(np.sum(np.asarray(values, dtype=np.float64) * weights) / total) if total > 0 else float("nan")
    )


def _both_classes(fraud: np.ndarray, weight: np.ndarray | None) -> bool:
    seen = np.asarray(fraud, dtype=bool)
    if weight is not None:
        seen = seen[weight > 0]
    return bool(seen.any() and not seen.all())


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values)) if len(values) else float("nan")
