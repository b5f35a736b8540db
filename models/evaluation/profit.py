"""What a platform earned from its trades, against what a model had expected."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.windows import WEEK_MS
from models.discount.acceptance import AcceptanceCurve
from models.discount.optimiser import Economics

NAN = float("nan")
COMPLETE_SHARE = 0.9
"""A week's labels are complete once this share of its bought trades has one: fraud becomes known before honesty, so
among fewer labels there is too much of it."""


@dataclass(frozen=True)
class ProfitMetrics:
    """Predicted and realised profit of bought trades at their logged rate, fen, costs deducted.

    rows, predicted_fen, realised_fen, ratio: of resold trades, knowing that they are honest. ratio: predicted over
    realised; one well away from 1 is an alarm: the model believes its own wishes.
    labelled_…: of all bought trades of the weeks whose labels are complete, the loss to fraud included;
    labelled_rows is 0 and the ratio NaN where there is no such week. fraud_predicted_fen, fraud_realised_fen: that
    loss.
    """

    rows: int = 0
    predicted_fen: float = 0.0
    realised_fen: float = 0.0
    ratio: float = NAN
    labelled_rows: int = 0
    labelled_predicted_fen: float = 0.0
    labelled_realised_fen: float = 0.0
    labelled_ratio: float = NAN
    fraud_predicted_fen: float = 0.0
    fraud_realised_fen: float = 0.0


@dataclass(frozen=True)
class Outcomes:
    """What came of n offers, float64 (n,), NaN where unknown; accepted and fraud: 1 or 0; submitted_at: int64 ms."""

    offered_rate: np.ndarray
    accepted: np.ndarray
    resale_rate: np.ndarray
    fraud: np.ndarray
    submitted_at: np.ndarray

    def rows(self, rows: np.ndarray) -> Outcomes:
        return Outcomes(**{name: values[rows] for name, values in vars(self).items()})

    @property
    def decided(self) -> np.ndarray:
        """Bool (n,): offered a rate, and accepted or declined."""
        return np.isfinite(self.offered_rate) & np.isfinite(self.accepted)

    @property
    def bought(self) -> np.ndarray:
        """Bool (n,): accepted at a known rate."""
        return (self.accepted == 1) & np.isfinite(self.offered_rate)

    @property
    def resold(self) -> np.ndarray:
        """Bool (n,): bought, resold, and not known to be fraud."""
        return self.bought & (self.fraud != 1) & np.isfinite(self.resale_rate)

    @property
    def complete(self) -> np.ndarray:
        """Bool (n,): offered in a week whose labels are complete."""
        bought = self.bought
        _, week = np.unique(self.submitted_at // WEEK_MS, return_inverse=True)
        share = np.bincount(week, bought & np.isfinite(self.fraud)) / np.maximum(np.bincount(week, bought), 1)
        return (share >= COMPLETE_SHARE)[week]

    @property
    def labelled(self) -> np.ndarray:
        """Bool (n,): bought in a week whose labels are complete, and either fraud or honest and resold."""
        honest = (self.fraud == 0) & np.isfinite(self.resale_rate)
        return self.bought & self.complete & (honest | (self.fraud == 1))


def realised_profit_fen(*, economics: Economics, outcomes: Outcomes) -> np.ndarray:
    """What each bought card (n,) brought in, fen; NaN where nobody knows yet.

    It earns its resale less rate and costs; a fraudulent one costs its payout.
    """
    rate = outcomes.offered_rate
    surprise = economics.face_value_fen * (outcomes.resale_rate - economics.resale_mean)
    earned = economics.honest_profit_fen(rate) + surprise
    return np.where(outcomes.fraud == 1, -economics.fraud_loss_fen(rate), earned)


def profit_metrics(*, economics: Economics, curve: AcceptanceCurve, outcomes: Outcomes) -> ProfitMetrics:
    """Predicted against realised profit of n offers."""
    bought = np.flatnonzero(outcomes.bought)
    resold, labelled = outcomes.resold[bought], outcomes.labelled[bought]
    economics, outcomes = economics.rows(bought), outcomes.rows(bought)
    rate = outcomes.offered_rate
    realised = realised_profit_fen(economics=economics, outcomes=outcomes)
    honest = economics.honest_profit_fen(rate)
    # Fraudsters may look less at the rate, so their share is larger among those who accept.
    accepting = curve.rows(bought).honest(rate)
    taken = economics.taken_by_fraud(rate, accepting)
    fraud = taken / np.maximum(taken + (1.0 - economics.fraud_share) * accepting, 1e-9)
    loss = fraud * economics.fraud_loss_fen(rate)
    predicted = (1.0 - fraud) * honest - loss
    return ProfitMetrics(
        rows=int(resold.sum()),
        predicted_fen=float(honest[resold].sum()),
        realised_fen=float(realised[resold].sum()),
        ratio=_ratio(honest[resold], realised[resold]),
        labelled_rows=int(labelled.sum()),
        labelled_predicted_fen=float(predicted[labelled].sum()),
        labelled_realised_fen=float(realised[labelled].sum()),
        labelled_ratio=_ratio(predicted[labelled], realised[labelled]),
        fraud_predicted_fen=float(loss[labelled].sum()),
        fraud_realised_fen=float(economics.fraud_loss_fen(rate)[labelled & (outcomes.fraud == 1)].sum()),
    )


def _ratio(predicted: np.ndarray, realised: np.ndarray) -> float:
    total = float(realised.sum())
    return float(predicted.sum()) / total if total > 0 else NAN
