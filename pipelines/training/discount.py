"""Fit and judge the discount model on one workspace's examples."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from features.registry import Registry
from models.discount.model import DiscountModel
from models.discount.special import partly_used
from models.discount.training import DiscountFitSettings, fit_discount
from models.evaluation.discount import DiscountMetrics, evaluate_discount
from models.evaluation.profit import Outcomes
from pipelines.settings import Settings
from pipelines.training.examples import Examples
from pipelines.training.splitting import Split, TooLittleHistory, split_by_time

OUTCOMES = ("accepted", "decided_at", "offered_rate", "resale_rate", "resold_at")
"""Columns of trades that say what came of offers."""


def needs() -> tuple[str, str]:
    """What a discount model is fitted on, in Chinese and in English."""
    settings = DiscountFitSettings()
    columns = ", ".join(OUTCOMES)
    return (
        f"定价模型需要这些列：{columns}；至少 {settings.min_resales:,} 笔出货，以及 "
        f"{settings.min_offers:,} 笔已决定的报价（不足时不从记录学习卖家对价格的反应）",
        f"the price model needs the columns {columns}: at least {settings.min_resales:,} resales, and "
        f"{settings.min_offers:,} decided offers (with fewer it does not learn how sellers react to prices)",
    )


def split_discount(examples: Examples, settings: Settings) -> Split:
    """Time-forward split on resales and decisions: a row counts once either is known. Raises TooLittleHistory, without
    any resale with what the model needs."""
    if not np.isfinite(examples.resale_rate).any():
        raise TooLittleHistory(f"no resale is known in this period 此期间没有已知的出货结果; {needs()[1]}")
    known = np.maximum(
        np.where(np.isfinite(examples.accepted), examples.decided_at, -1),
        np.where(np.isfinite(examples.resale_rate), examples.resold_at, -1),
    )
    return split_by_time(
        submitted_at=examples.submitted_at,
        known_at=known,
        slow=np.isfinite(examples.resale_rate),
        test_share=settings.training.test_share,
    )


def fit(examples: Examples, *, registry: Registry, settings: Settings) -> DiscountModel:
    """Fit on examples with every outcome that is known in them."""
    seed, threads = settings.training.seed, settings.training.threads
    defaults = DiscountFitSettings()
    return fit_discount(
        columns=examples.columns,
        names=registry.names("discount"),
        submitted_at=examples.submitted_ms,
        offered_rate=examples.offered_rate,
        offer_density=examples.offer_density,
        accepted=examples.accepted,
        resale_rate=examples.resale_rate,
        resold_at=examples.resold_at // 1000,
        fraud=examples.fraud,
        fraud_known_at=examples.fraud_known_at // 1000,
        paused=examples.paused or None,
        settings=replace(
            defaults,
            resale=replace(defaults.resale, seed=seed, threads=threads),
            acceptance=replace(defaults.acceptance, seed=seed, threads=threads),
            costs=settings.costs,
            policy=settings.price,
        ),
    )


def judge(model: DiscountModel, examples: Examples, settings: Settings) -> DiscountMetrics:
    """The model's figures on examples it was not fitted on."""
    return evaluate_discount(
        model=model,
        columns=examples.columns,
        face_value_fen=examples.face_value_fen,
        outcomes=outcomes_of(examples),
        costs=settings.costs,
        policy=settings.price,
        special=partly_used(examples.face_value_fen, examples.issued_face_fen),
    )


def outcomes_of(examples: Examples) -> Outcomes:
    """What came of the offers, as the evaluation knows it."""
    return Outcomes(
        offered_rate=examples.offered_rate,
        accepted=examples.accepted,
        resale_rate=examples.resale_rate,
        fraud=examples.fraud,
        submitted_at=examples.submitted_ms,
    )
