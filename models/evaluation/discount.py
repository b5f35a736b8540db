"""How well a discount model knows its market and how steadily it prices, measured on trades it has not seen."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from features.windows import WEEK_MS
from models.discount.model import DiscountModel
from models.discount.resale import ResaleEstimate
from models.discount.special import SpecialCards
from models.evaluation.calibration import expected_calibration_error
from models.evaluation.coverage import RangeMetrics, pinball, range_metrics
from models.evaluation.profit import Outcomes, ProfitMetrics, profit_metrics
from models.evaluation.stability import StabilityMetrics, stability_metrics
from models.evaluation.surface import SurfaceMetrics, surface_metrics
from models.matrix import Columns
from models.policy import Costs, PricePolicy

NAN = float("nan")


@dataclass(frozen=True)
class AcceptanceMetrics:
    """On offers with a decision, at the logged rate. rate: share accepted; mean_probability: predicted."""

    rows: int = 0
    rate: float = NAN
    mean_probability: float = NAN
    brier: float = NAN
    log_loss: float = NAN
    ece: float = NAN


@dataclass(frozen=True)
class ResaleMetrics:
    """On resold trades, in rate. bias: predicted mean less outcome; pinball: quantile loss."""

    rows: int = 0
    mae: float = NAN
    bias: float = NAN
    pinball_p05: float = NAN
    pinball_p10: float = NAN
    pinball_p50: float = NAN
    pinball_p90: float = NAN
    pinball_p95: float = NAN


@dataclass(frozen=True)
class DiscountMetrics:
    """One evaluation; each part's docstring says what its figures mean. NaN: there was nothing to judge."""

    acceptance: AcceptanceMetrics
    resale: ResaleMetrics
    range: RangeMetrics
    profit: ProfitMetrics
    surface: SurfaceMetrics
    stability: StabilityMetrics

    def to_dict(self) -> dict[str, float]:
        """Flat figures, ``acceptance_brier`` and so on; names of card types are left out."""
        return {
            f"{part}_{name}": float(value)
            for part, metrics in vars(self).items()
            for name, value in asdict(metrics).items()
            if not isinstance(value, str)
        }


def evaluate_discount(
    *,
    model: DiscountModel,
    columns: Columns,
    face_value_fen: np.ndarray,
    outcomes: Outcomes,
    costs: Costs,
    policy: PricePolicy,
    special: SpecialCards | None = None,
) -> DiscountMetrics:
    """Judge a model on n later trades: feature columns (n,), face_value_fen int64 (n,), and what came of them. special:
    None: whole cards."""
    known = model.know(
        columns=columns, face_value_fen=face_value_fen, costs=costs, policy=policy, special=special
    )
    decided = np.flatnonzero(outcomes.decided)
    probability = known.curve.rows(decided).probability(outcomes.offered_rate[decided])
    cards = {
        "model": model,
        "columns": columns,
        "face_value_fen": face_value_fen,
        "submitted_at": outcomes.submitted_at,
        "costs": costs,
        "policy": policy,
    }
    return DiscountMetrics(
        acceptance=acceptance_metrics(probability, outcomes.accepted[decided]),
        resale=resale_metrics(known.resale, outcomes.resale_rate),
        range=range_metrics(
            known.resale,
            outcomes.resale_rate,
            known.context.card_type,
            outcomes.submitted_at // WEEK_MS,
        ),
        profit=profit_metrics(economics=known.economics, curve=known.curve, outcomes=outcomes),
        surface=surface_metrics(**cards),
        stability=stability_metrics(**cards),
    )


def acceptance_metrics(probability: np.ndarray, accepted: np.ndarray) -> AcceptanceMetrics:
    """Both (n,); accepted 0/1."""
    if len(accepted) == 0:
        return AcceptanceMetrics()
    return AcceptanceMetrics(
        rows=len(accepted),
        rate=float(accepted.mean()),
        mean_probability=float(probability.mean()),
        brier=float(np.mean((probability - accepted) ** 2)),
        log_loss=float(log_losses(probability, accepted).mean()),
        ece=expected_calibration_error(probability=probability, outcome=accepted),
    )


def log_losses(probability: np.ndarray, accepted: np.ndarray) -> np.ndarray:
    """Negative log-likelihood (n,) of each decision; finite also where a sure probability was wrong."""
    safe = np.clip(probability, 1e-12, 1 - 1e-12)
    return -np.where(accepted == 1, np.log(safe), np.log1p(-safe))


def resale_metrics(estimate: ResaleEstimate, resale_rate: np.ndarray) -> ResaleMetrics:
    """Arrays (n,); rows with a resale rate are judged."""
    resold = np.isfinite(resale_rate)
    if not resold.any():
        return ResaleMetrics()
    actual = resale_rate[resold]
    error = estimate.mean[resold] - actual
    return ResaleMetrics(
        rows=len(actual),
        mae=float(np.abs(error).mean()),
        bias=float(error.mean()),
        pinball_p05=pinball(actual, estimate.p05[resold], 0.05),
        pinball_p10=pinball(actual, estimate.p10[resold], 0.1),
        pinball_p50=pinball(actual, estimate.p50[resold], 0.5),
        pinball_p90=pinball(actual, estimate.p90[resold], 0.9),
        pinball_p95=pinball(actual, estimate.p95[resold], 0.95),
    )
