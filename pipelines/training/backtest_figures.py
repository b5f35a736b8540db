"""What a backtest shows, for any part of its trades: what came of the log, and what the models would have done."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.evaluation.fraud_money import at_stake, stopped_share
from models.fraud.decision import ACTIONS
from models.policy import DecisionCosts
from pipelines.settings import Settings
from pipelines.training.backtest_intervals import Interval, mean, ratio, total
from pipelines.training.backtest_ledger import Ledger
from pipelines.training.backtest_trust import (
    RANGES,
    BeliefFigures,
    OffPolicyFigures,
    RangeFigures,
    StabilityFigures,
    belief_figures,
    off_policy_figures,
    range_figures,
    stability_figures,
)


@dataclass(frozen=True)
class LogFigures:
    """What came of the offers that were made. Shares of decided offers; money in fen, by day of submission.

    settled: bought cards that were resold or are known as fraud; the others count as nothing yet. profit_fen:
    resale_profit_fen less fraud_loss_fen.
    """

    offers: int
    accepted_share: float
    mean_rate: float
    bought: int
    settled: int
    frauds: int
    resale_profit_fen: Interval
    fraud_loss_fen: Interval
    profit_fen: Interval


@dataclass(frozen=True)
class ModelFigures:
    """What the models would have offered. modelled: trades that a discount model priced.

    mean_rate, mean_rate_logged, rate_gap: on trades with an offer of both. decisions: share of all trades by action.
    no_offer_share: of modelled trades. expected_acceptance, expected_purchases, predicted_profit_fen: of cards that
    would be offered for and not refused, as the models believe.
    """

    modelled: int
    mean_rate: float
    mean_rate_logged: float
    rate_gap: Interval
    no_offer_share: float
    decisions: dict[str, float]
    expected_acceptance: float
    expected_purchases: float
    predicted_profit_fen: Interval


@dataclass(frozen=True)
class FraudFigures:
    """The decisions on trades whose label is known. at_risk_fen: paid for known frauds, or offered, or the face value
    where no offer is logged. stopped_fen: what refusing, reviewing, holding or not offering would have kept of it."""

    frauds: int
    at_risk_fen: int
    stopped_fen: float
    stopped_share: Interval
    honest: int
    honest_refused: float


@dataclass(frozen=True)
class StockFigures:
    """Cards bought in the period and not yet resold, at the end of a day; of the models as they expect."""

    logged_mean: float
    logged_peak: float
    model_mean: float
    model_peak: float


@dataclass(frozen=True)
class TruthFigures:
    """Expected profit by the oracle: best possible, and the share of it that each set of rates earns. predicted_ratio:
    what the models expected of their own rates, by the truth of these."""

    best_fen: float
    predicted_ratio: Interval
    model: Interval
    logged: Interval
    table: Interval
    model_fen: float
    logged_fen: float
    table_fen: float


@dataclass(frozen=True)
class Figures:
    """Everything about one part of the period."""

    trades: int
    days: int
    log: LogFigures
    model: ModelFigures
    belief: BeliefFigures
    ranges: dict[str, RangeFigures]
    fraud: FraudFigures
    stability: StabilityFigures
    stock: StockFigures
    off_policy: OffPolicyFigures
    truth: TruthFigures | None


def figures_of(ledger: Ledger, *, stock: StockFigures, settings: Settings) -> Figures:
    """The figures of n trades."""
    return Figures(
        trades=len(ledger),
        days=len(np.unique(ledger.log.day)),
        log=_log(ledger),
        model=_model(ledger),
        belief=belief_figures(ledger),
        ranges={name: range_figures(ledger, *bounds) for name, bounds in RANGES.items()},
        fraud=_fraud(ledger, settings.decision),
        stability=stability_figures(ledger),
        stock=stock,
        off_policy=off_policy_figures(ledger),
        truth=_truth(ledger),
    )


def _log(ledger: Ledger) -> LogFigures:
    log = ledger.log
    offered, decided = np.isfinite(log.offered_rate), np.isfinite(log.accepted)
    return LogFigures(
        offers=int(offered.sum()),
        accepted_share=mean(log.accepted[offered & decided]),
        mean_rate=mean(log.offered_rate[offered]),
        bought=int(log.bought.sum()),
        settled=int(log.settled.sum()),
        frauds=int((log.bought & (log.fraud == 1)).sum()),
        resale_profit_fen=total(log.profit_fen, log.day),
        fraud_loss_fen=total(log.loss_fen, log.day),
        profit_fen=total(log.profit_fen - log.loss_fen, log.day),
    )


def _model(ledger: Ledger) -> ModelFigures:
    log, said = ledger.log, ledger.said
    both = np.isfinite(log.offered_rate) & ~said.no_offer
    buys = said.modelled & said.buys
    gap = (said.rate - log.offered_rate)[both]
    return ModelFigures(
        modelled=int(said.modelled.sum()),
        mean_rate=mean(said.rate[both]),
        mean_rate_logged=mean(log.offered_rate[both]),
        rate_gap=ratio(gap, np.ones(len(gap)), log.day[both]),
        no_offer_share=mean(said.no_offer[said.modelled]),
        decisions={action: mean(said.action == action) for action in ACTIONS},
        expected_acceptance=mean(said.acceptance[buys]),
        expected_purchases=float(said.acceptance[buys].sum()),
        predicted_profit_fen=total(np.where(buys, said.expected_profit_fen, 0.0), log.day),
    )


def _fraud(ledger: Ledger, decision: DecisionCosts) -> FraudFigures:
    log, said = ledger.log, ledger.said
    fraud, honest = at_stake(fraud=log.fraud, accepted=log.accepted), log.fraud == 0
    kept = stopped_share(said.action[fraud], decision=decision, no_offer=said.no_offer[fraud])
    at_risk = log.at_risk_fen[fraud]
    return FraudFigures(
        frauds=int(fraud.sum()),
        at_risk_fen=int(at_risk.sum()),
        stopped_fen=float(kept @ at_risk),
        stopped_share=ratio(kept * at_risk, at_risk, log.day[fraud]),
        honest=int(honest.sum()),
        honest_refused=mean(said.action[honest] == "refuse"),
    )


def _truth(ledger: Ledger) -> TruthFigures | None:
    truth, said, day = ledger.truth, ledger.said, ledger.log.day
    if truth is None:
        return None
    offered = np.flatnonzero(said.modelled & ~said.no_offer)
    return TruthFigures(
        best_fen=float(truth.best_fen.sum()),
        predicted_ratio=ratio(said.expected_profit_fen[offered], truth.model_fen[offered], day[offered]),
        model=ratio(truth.model_fen, truth.best_fen, day),
        logged=ratio(truth.logged_fen, truth.best_fen, day),
        table=ratio(truth.table_fen, truth.best_fen, day),
        model_fen=float(truth.model_fen.sum()),
        logged_fen=float(truth.logged_fen.sum()),
        table_fen=float(truth.table_fen.sum()),
    )
