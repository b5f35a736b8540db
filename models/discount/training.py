"""Fit the discount model on a log of trades."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from models.discount.acceptance import AcceptanceModel, PooledLogit, fit_acceptance
from models.discount.boosters import BoosterSettings
from models.discount.context import card_context
from models.discount.kind_risk import KindRisk, fit_kind_risk, mature_labels
from models.discount.model import DiscountModel, Training
from models.discount.rate_table import RateTable, fit_rate_table
from models.discount.resale import ResaleModel, fit_resale
from models.matrix import Columns

ACCEPTANCE_PRIOR = "acceptance_prior"
RATE_TABLE_UNLOGGED = "rate_table_unlogged"
KIND_RISK_BY_TYPE = "kind_risk_by_type"


class DiscountFitError(ValueError):
    """The log cannot carry a discount model. Subclasses: TooFewResales."""


class TooFewResales(DiscountFitError):
    """Without resale rates nobody can say what a card is worth; the message gives the counts."""


@dataclass(frozen=True)
class DiscountFitSettings:
    """How the discount model is fitted.

    calibration_share: the newest share of the rows; it chooses the number of rounds and corrects the range.
    min_resales: below this many resold trades the fit is refused. min_offers, min_decisions_each: with fewer
    decided offers, or fewer acceptances or refusals among them, acceptance stays at the documented prior.
    min_frauds: with fewer known frauds the risk of a kind is the smoothed rate of its card type.
    support_half_width: farthest distance of an offer from the rate table, in rate.
    """

    calibration_share: float = 0.2
    min_resales: int = 200
    min_offers: int = 1_000
    min_decisions_each: int = 100
    min_frauds: int = 100
    support_half_width: float = 0.06
    resale: BoosterSettings = field(default_factory=BoosterSettings)
    acceptance: BoosterSettings = field(
        default_factory=lambda: BoosterSettings(leaves=8, max_depth=4, min_rows_per_leaf=50)
    )
    kind_risk: BoosterSettings = field(
        default_factory=lambda: BoosterSettings(leaves=8, max_depth=4, min_rows_per_leaf=100, l2=20.0)
    )


def fit_discount(
    *,
    columns: Columns,
    names: Sequence[str],
    submitted_at: np.ndarray,
    offered_rate: np.ndarray,
    accepted: np.ndarray,
    resale_rate: np.ndarray,
    settings: DiscountFitSettings,
    fraud: np.ndarray | None = None,
) -> DiscountModel:
    """Fit on n trades, in any order.

    columns: feature columns (n,), of which ``names`` are the inputs: facts of the card, its market and its
    kind, never of a person. submitted_at: int64 ms (n,). offered_rate: NaN where no offer was
    made. accepted: 1, 0, or NaN where the seller has not decided. resale_rate: NaN where not
    (yet) resold. fraud: 1, 0, or NaN where not (yet) known; None: no labels. Outcomes are float64 (n,).
    Raises TooFewResales. Parts the log cannot carry are named in ``model.training.fallbacks``.
    """
    log = _Log(columns, submitted_at, offered_rate, accepted, resale_rate, _labels(fraud, len(submitted_at)))
    log = log.rows(np.argsort(submitted_at, kind="stable"))
    chosen = tuple(names)
    resold = np.isfinite(log.resale_rate)
    if resold.sum() < settings.min_resales:
        raise TooFewResales(
            f"{int(resold.sum())} trades with a resale rate, at least {settings.min_resales} needed"
        )
    resale = _fit_resale(log.rows(resold), chosen, settings)
    decided = np.isfinite(log.offered_rate) & np.isfinite(log.accepted)
    acceptance = _fit_acceptance(log.rows(decided), chosen, resale, settings)
    table = _fit_table(log.rows(np.isfinite(log.offered_rate)))
    kind_risk = _fit_kind_risk(
        log.rows(log.accepted == 1), chosen, resale, settings, default=_usual_kind_rate(log)
    )
    fallbacks = (
        (ACCEPTANCE_PRIOR, acceptance.booster is None),
        (RATE_TABLE_UNLOGGED, not table.cells),
        (KIND_RISK_BY_TYPE, kind_risk.booster is None),
    )
    return DiscountModel(
        resale=resale,
        acceptance=acceptance,
        kind_risk=kind_risk,
        table=table,
        support_half_width=settings.support_half_width,
        training=Training(
            names=chosen,
            resale_rows=int(resold.sum()),
            offer_rows=int(decided.sum()),
            from_ms=int(log.submitted_at[0]),
            until_ms=int(log.submitted_at[-1]),
            fallbacks=tuple(name for name, applies in fallbacks if applies),
        ),
    )


@dataclass(frozen=True)
class _Log:
    """The training rows in time order."""

    columns: Columns
    submitted_at: np.ndarray
    offered_rate: np.ndarray
    accepted: np.ndarray
    resale_rate: np.ndarray
    fraud: np.ndarray

    def __len__(self) -> int:
        return len(self.submitted_at)

    def rows(self, chosen: np.ndarray) -> _Log:
        return _Log(
            columns={name: column[chosen] for name, column in self.columns.items()},
            submitted_at=self.submitted_at[chosen],
            offered_rate=self.offered_rate[chosen],
            accepted=self.accepted[chosen],
            resale_rate=self.resale_rate[chosen],
            fraud=self.fraud[chosen],
        )


def _fit_resale(log: _Log, names: tuple[str, ...], settings: DiscountFitSettings) -> ResaleModel:
    return fit_resale(
        columns=log.columns,
        names=names,
        context=card_context(log.columns, len(log)),
        resale_rate=log.resale_rate,
        calibration_share=settings.calibration_share,
        settings=settings.resale,
    )


def _fit_acceptance(
    log: _Log, names: tuple[str, ...], resale: ResaleModel, settings: DiscountFitSettings
) -> AcceptanceModel:
    """The acceptance model, or the prior where the log is too small or one-sided."""
    each = min(int((log.accepted == 1).sum()), int((log.accepted == 0).sum()))
    if len(log) < settings.min_offers or each < settings.min_decisions_each:
        return AcceptanceModel(pooled=PooledLogit())
    context = card_context(log.columns, len(log))
    return fit_acceptance(
        columns=log.columns,
        names=names,
        context=context,
        resale_mean=resale.estimate(columns=log.columns, context=context).mean,
        offered_rate=log.offered_rate,
        accepted=log.accepted,
        calibration_share=settings.calibration_share,
        settings=settings.acceptance,
    )


def _fit_kind_risk(
    log: _Log, names: tuple[str, ...], resale: ResaleModel, settings: DiscountFitSettings, *, default: float
) -> KindRisk:
    """The fraud share per kind of card; its type's smoothed rate where labels are too few or one-sided."""
    log = log.rows(mature_labels(submitted_at=log.submitted_at, labelled=np.isfinite(log.fraud)))
    frauds = int((log.fraud == 1).sum())
    if not settings.min_frauds <= frauds < len(log) / 2:
        return KindRisk(default=default)
    context = card_context(log.columns, len(log))
    return fit_kind_risk(
        columns=log.columns,
        names=names,
        resale_mean=resale.estimate(columns=log.columns, context=context).mean,
        fraud=log.fraud,
        default=default,
        calibration_share=settings.calibration_share,
        settings=settings.kind_risk,
    )


def _usual_kind_rate(log: _Log) -> float:
    """Mean known fraud rate of the card types in the log; 0 where none is known."""
    rate = card_context(log.columns, len(log)).kind_fraud_rate
    return float(np.nanmean(rate)) if np.isfinite(rate).any() else 0.0


def _labels(fraud: np.ndarray | None, rows: int) -> np.ndarray:
    return np.full(rows, np.nan) if fraud is None else np.asarray(fraud, dtype=np.float64)


def _fit_table(log: _Log) -> RateTable:
    if len(log) == 0:
        return RateTable()
    return fit_rate_table(
        context=card_context(log.columns, len(log)),
        offered_rate=log.offered_rate,
        submitted_at=log.submitted_at,
    )
