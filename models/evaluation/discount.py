"""How well a discount model knows acceptance and resale value, measured on trades it has not seen."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from models.discount.acceptance import AcceptanceCurve
from models.discount.context import card_context
from models.discount.model import DiscountModel
from models.discount.optimiser import Economics
from models.discount.resale import ResaleEstimate
from models.evaluation.calibration import expected_calibration_error
from models.matrix import Columns
from models.policy import Costs, PricePolicy

SMALLEST_GROUP = 50
"""A card type or a week needs as many resales before its coverage is judged."""
WEEK_MS = 7 * 86_400_000
MONOTONICITY_GRID = np.linspace(0.0, 1.0, 201)
MONOTONICITY_ROWS = 2_000
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
    pinball_p10: float = NAN
    pinball_p50: float = NAN
    pinball_p90: float = NAN


@dataclass(frozen=True)
class RangeMetrics:
    """coverage: share of resale rates inside [p10, p90], aim 0.8; width: mean p90 - p10, in rate.

    coverage_worst: of the card type where it is lowest, worst_type ("" where none has enough resales);
    coverage_worst_week: of the week of submission where it is lowest, which shows a market that moved away.
    """

    coverage: float = NAN
    coverage_worst: float = NAN
    coverage_worst_week: float = NAN
    width: float = NAN
    worst_type: str = ""


@dataclass(frozen=True)
class ProfitMetrics:
    """On accepted and resold trades at their logged rate, fen, costs deducted; fraud is not part of it.

    ratio: predicted over realised. A ratio well away from 1 is an alarm: the model believes its own wishes.
    """

    rows: int = 0
    predicted_fen: float = 0.0
    realised_fen: float = 0.0
    ratio: float = NAN


@dataclass(frozen=True)
class DiscountMetrics:
    """One evaluation. monotonicity_violations: steps of a rate grid on which P(accept) falls."""

    acceptance: AcceptanceMetrics
    resale: ResaleMetrics
    range: RangeMetrics
    profit: ProfitMetrics
    monotonicity_violations: int

    def to_dict(self) -> dict[str, float]:
        """Flat figures, ``acceptance_brier`` and so on; the worst type's name is left out."""
        parts = {
            "acceptance": self.acceptance,
            "resale": self.resale,
            "range": self.range,
            "profit": self.profit,
        }
        flat = {
            f"{part}_{name}": value
            for part, metrics in parts.items()
            for name, value in asdict(metrics).items()
        }
        del flat["range_worst_type"]
        flat["monotonicity_violations"] = self.monotonicity_violations
        return {name: float(value) for name, value in flat.items()}


def evaluate_discount(
    *,
    model: DiscountModel,
    columns: Columns,
    face_value_fen: np.ndarray,
    submitted_at: np.ndarray,
    offered_rate: np.ndarray,
    accepted: np.ndarray,
    resale_rate: np.ndarray,
    costs: Costs,
    policy: PricePolicy,
) -> DiscountMetrics:
    """Judge a model on n later trades; outcomes are float64 (n,), NaN where unknown;
    submitted_at: int64 ms (n,)."""
    context = card_context(columns, len(face_value_fen))
    estimate = model.resale.estimate(columns=columns, context=context)
    curve = model.acceptance.curve(columns=columns, context=context, resale_mean=estimate.mean)
    decided = np.isfinite(offered_rate) & np.isfinite(accepted)
    resold = np.isfinite(resale_rate)
    economics = Economics(
        face_value_fen=face_value_fen,
        resale_mean=estimate.mean,
        logistics_share=policy.physical_logistics_share * context.physical,
        fraud_probability=np.zeros(len(context)),
        handling_fen=costs.handling_fen,
        capital_share=costs.capital_share,
        fraud_loss=costs.loss_given_fraud,
    )
    bought = decided & resold & (accepted == 1)
    return DiscountMetrics(
        acceptance=acceptance_metrics(curve.probability(offered_rate)[decided], accepted[decided]),
        resale=resale_metrics(estimate, resale_rate, resold),
        range=range_metrics(estimate, resale_rate, resold, context.card_type, submitted_at // WEEK_MS),
        profit=profit_metrics(economics, offered_rate, resale_rate, bought),
        monotonicity_violations=monotonicity_violations(curve),
    )


def acceptance_metrics(probability: np.ndarray, accepted: np.ndarray) -> AcceptanceMetrics:
    """Both (n,); accepted 0/1."""
    if len(accepted) == 0:
        return AcceptanceMetrics()
    safe = np.clip(probability, 1e-12, 1 - 1e-12)
    return AcceptanceMetrics(
        rows=len(accepted),
        rate=float(accepted.mean()),
        mean_probability=float(probability.mean()),
        brier=float(np.mean((probability - accepted) ** 2)),
        log_loss=float(-np.mean(accepted * np.log(safe) + (1 - accepted) * np.log(1 - safe))),
        ece=expected_calibration_error(probability=probability, outcome=accepted),
    )


def resale_metrics(estimate: ResaleEstimate, resale_rate: np.ndarray, resold: np.ndarray) -> ResaleMetrics:
    """Arrays (n,); only the rows where ``resold`` is true are judged."""
    if not resold.any():
        return ResaleMetrics()
    actual = resale_rate[resold]
    p10, p50, p90 = (bound[resold] for bound in (estimate.p10, estimate.p50, estimate.p90))
    error = estimate.mean[resold] - actual
    return ResaleMetrics(
        rows=len(actual),
        mae=float(np.abs(error).mean()),
        bias=float(error.mean()),
        pinball_p10=pinball(actual, p10, 0.1),
        pinball_p50=pinball(actual, p50, 0.5),
        pinball_p90=pinball(actual, p90, 0.9),
    )


def range_metrics(
    estimate: ResaleEstimate,
    resale_rate: np.ndarray,
    resold: np.ndarray,
    card_type: np.ndarray,
    week: np.ndarray,
) -> RangeMetrics:
    """Arrays (n,); only the rows where ``resold`` is true are judged. week: any number of the week."""
    if not resold.any():
        return RangeMetrics()
    inside = ((resale_rate >= estimate.p10) & (resale_rate <= estimate.p90))[resold]
    worst, worst_type = _worst_share(inside, card_type[resold].astype(str))
    return RangeMetrics(
        coverage=float(inside.mean()),
        coverage_worst=worst,
        coverage_worst_week=_worst_share(inside, week[resold].astype(str))[0],
        width=float((estimate.p90 - estimate.p10)[resold].mean()),
        worst_type=worst_type,
    )


def profit_metrics(
    economics: Economics, offered_rate: np.ndarray, resale_rate: np.ndarray, bought: np.ndarray
) -> ProfitMetrics:
    """Predicted against realised profit of the trades where ``bought`` is true; arrays (n,)."""
    if not bought.any():
        return ProfitMetrics()
    predicted = float(economics.honest_profit_fen(offered_rate)[bought].sum())
    surprise = economics.face_value_fen * (resale_rate - economics.resale_mean)
    realised = predicted + float(surprise[bought].sum())
    return ProfitMetrics(
        rows=int(bought.sum()),
        predicted_fen=predicted,
        realised_fen=realised,
        ratio=predicted / realised if realised > 0 else NAN,
    )


def monotonicity_violations(curve: AcceptanceCurve) -> int:
    """How often P(accept) falls from one step of a dense rate grid to the next, over the first rows."""
    probability = curve.rows(slice(0, MONOTONICITY_ROWS)).probability(MONOTONICITY_GRID[None, :])
    return int((np.diff(probability, axis=1) < 0).sum())


def pinball(actual: np.ndarray, quantile: np.ndarray, level: float) -> float:
    """Mean quantile loss at ``level``."""
    gap = actual - quantile
    return float(np.maximum(level * gap, (level - 1) * gap).mean())


def _worst_share(inside: np.ndarray, group: np.ndarray) -> tuple[float, str]:
    names, position, counts = np.unique(group, return_inverse=True, return_counts=True)
    share = np.bincount(position, inside) / counts
    share[counts < SMALLEST_GROUP] = np.nan
    if np.isnan(share).all():
        return NAN, ""
    worst = int(np.nanargmin(share))
    return float(share[worst]), str(names[worst])
