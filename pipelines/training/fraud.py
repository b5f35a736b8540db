"""Fit and judge the fraud model on one workspace's examples."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from features.registry import Registry
from models.evaluation.fraud import FraudMetrics, evaluate_fraud
from models.fraud.decision import Decisions, decide, review_threshold_fen
from models.fraud.model import FraudModel
from models.fraud.training import FraudFitSettings, fit_fraud
from pipelines.settings import Settings
from pipelines.training.examples import Examples
from pipelines.training.splitting import Split, split_by_time


def split_fraud(examples: Examples, settings: Settings) -> Split:
    """Time-forward split on labels; honest labels tell how long maturity takes."""
    return split_by_time(
        submitted_at=examples.submitted_at,
        known_at=np.where(np.isfinite(examples.fraud), examples.fraud_known_at, -1),
        slow=examples.fraud == 0,
        test_share=settings.training.test_share,
    )


def fit(examples: Examples, *, registry: Registry, settings: Settings) -> FraudModel:
    """Fit on examples whose label has matured."""
    return fit_fraud(
        columns=examples.columns,
        fraud=examples.fraud == 1,
        submitted_at=examples.submitted_ms,
        names=registry.names("fraud"),
        families=registry.families(),
        settings=replace(FraudFitSettings(), seed=settings.training.seed, threads=settings.training.threads),
    )


def review_threshold(model: FraudModel, examples: Examples, settings: Settings) -> float:
    """The saving from which a review is worth an analyst's time, on examples the model was not fitted on."""
    saving = decisions(model, examples, settings).review_saving_fen
    capacity = settings.decision.review_capacity_share
    return review_threshold_fen(review_saving_fen=saving, capacity_share=capacity)


def judge(model: FraudModel, examples: Examples, settings: Settings) -> FraudMetrics:
    """The model's figures on examples it was not fitted on."""
    return evaluate_fraud(
        fraud=examples.fraud == 1,
        probability=model.probability(examples.columns),
        submitted_at=examples.submitted_ms,
        seller_id=examples.seller_id,
        action=decisions(model, examples, settings).action,
        payout_fen=examples.at_risk_fen,
        face_value_fen=examples.face_value_fen,
        costs=settings.costs,
        decision=settings.decision,
    )


def decisions(model: FraudModel, examples: Examples, settings: Settings) -> Decisions:
    """What the model would have done with each example."""
    return decide(
        probability=model.probability(examples.columns),
        payout_fen=examples.at_risk_fen,
        face_value_fen=examples.face_value_fen,
        costs=settings.costs,
        decision=settings.decision,
        review_threshold_fen=model.review_threshold_fen,
    )
