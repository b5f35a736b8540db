"""How far the models of a backtest are to be believed: their predictions against what the log knows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.evaluation.bootstrap import TooFewClusters
from models.evaluation.coverage import JUDGED_ROWS, worst_share
from models.evaluation.discount import AcceptanceMetrics, acceptance_metrics
from models.evaluation.first_step import DrawnLog, PolicyValue, Steps
from models.evaluation.off_policy import (
    FollowsTheDraw,
    OffPolicyValue,
    OutsideSupport,
    Pricing,
)
from pipelines.training.backtest_intervals import NAN, Interval, ratio
from pipelines.training.backtest_ledger import Ledger

LEAST_A_DAY = 5
"""Offers of a card type on a day whose mean rate counts for the daily move."""
ROUNDING = 1e-9
"""Rates that differ by no more are the same."""
NOT_COVERED = "the log's offers do not cover the models' rates"
RANGES = {"80": ("resale_p10", "resale_p90"), "90": ("resale_p05", "resale_p95")}


@dataclass(frozen=True)
class BeliefFigures:
    """Predicted against realised profit on the cards that the log bought, at its own rates: 1 is honest.

    resale_ratio: of cards resold, fraud left out. ratio: fraud included, on bought cards of the weeks whose labels are
    complete; 0 rows where there is no such week. acceptance: probability against decision.
    """

    resale_rows: int
    resale_predicted_fen: float
    resale_realised_fen: float
    resale_ratio: Interval
    rows: int
    predicted_fen: float
    realised_fen: float
    ratio: Interval
    acceptance: AcceptanceMetrics


@dataclass(frozen=True)
class RangeFigures:
    """Share of resale rates inside a range. worst: of the card type where it is lowest, among those with JUDGED_ROWS
    resales; worst_type is empty where there is none."""

    rows: int
    coverage: Interval
    worst: float
    worst_type: str


@dataclass(frozen=True)
class StabilityFigures:
    """How far the mean rate of a card type moves from one day to the next, of face value: mean and 95 % quantile over
    ``moves`` pairs of days; of the models' rates and of the log's on the same trades. held: share of the cards that a
    model priced whose price the cap of daily moves changed."""

    moves: int
    mean: float
    p95: float
    logged_mean: float
    logged_p95: float
    held: float


@dataclass(frozen=True)
class OffPolicyFigures:
    """What the models' rates, and the rate table's, would have earned on the logged sellers, judged from the
    log's random moves alone.

    value: of the models' whole rates; refused: why there is none, else empty. first_step: where the whole is refused,
    the value of the first step toward the models' rates, which the log can judge; None where it cannot judge that
    either. over_list: the models' rates set against the list's, first steps both where either whole is refused.
    price_list: of the list's rates.
    """

    value: OffPolicyValue | None
    refused: str
    first_step: PolicyValue | None = None
    price_list: PolicyValue | None = None
    over_list: PolicyValue | None = None

    @property
    def found(self) -> PolicyValue | None:
        """What the log can judge of the models' rates: the whole, or the first step."""
        return self.first_step if self.value is None else PolicyValue(self.value)


def belief_figures(ledger: Ledger) -> BeliefFigures:
    log, said = ledger.log, ledger.said
    resold = said.modelled & log.settled & (log.fraud != 1)
    aged = said.modelled & log.settled & log.labelled
    # Of bought cards a larger share is fraud than of offers: a fraudster takes any rate.
    predicted = said.logged_profit_fen + said.logged_fixed_fen / said.logged_acceptance
    decided = said.modelled & np.isfinite(log.offered_rate) & np.isfinite(log.accepted)
    realised = log.profit_fen - log.loss_fen
    return BeliefFigures(
        resale_rows=int(resold.sum()),
        resale_predicted_fen=float(said.logged_profit_fen[resold].sum()),
        resale_realised_fen=float(log.profit_fen[resold].sum()),
        resale_ratio=ratio(said.logged_profit_fen[resold], log.profit_fen[resold], log.day[resold]),
        rows=int(aged.sum()),
        predicted_fen=float(predicted[aged].sum()),
        realised_fen=float(realised[aged].sum()),
        ratio=ratio(predicted[aged], realised[aged], log.day[aged]),
        acceptance=acceptance_metrics(said.logged_acceptance[decided], log.accepted[decided]),
    )


def range_figures(ledger: Ledger, low: str, high: str) -> RangeFigures:
    """Coverage of the range between two columns of the answers."""
    resold = ledger.said.modelled & np.isfinite(ledger.log.resale_rate)
    part = ledger.rows(np.flatnonzero(resold))
    inside = inside_range(part, low, high)
    worst, name = worst_share(inside, part.log.kind.astype(str), JUDGED_ROWS)
    return RangeFigures(
        rows=len(part),
        coverage=ratio(inside, np.ones(len(part)), part.log.day),
        worst=worst,
        worst_type=name,
    )


def inside_range(ledger: Ledger, low: str, high: str) -> np.ndarray:
    """Whether each resale rate (n,) lies between two columns of the answers, bool."""
    rate = ledger.log.resale_rate
    return (getattr(ledger.said, low) <= rate) & (rate <= getattr(ledger.said, high))


def stability_figures(ledger: Ledger) -> StabilityFigures:
    log, said = ledger.log, ledger.said
    both = np.isfinite(log.offered_rate) & ~said.no_offer
    kind = np.unique(log.kind[both].astype(str), return_inverse=True)[1]
    cells, cell = np.unique(np.stack([kind, log.day[both]], axis=1), axis=0, return_inverse=True)
    cell = cell.reshape(-1)
    count = np.bincount(cell, minlength=len(cells))
    often = np.flatnonzero(count >= LEAST_A_DAY)
    followed = (np.diff(cells[often, 0]) == 0) & (np.diff(cells[often, 1]) == 1)
    moves = [
        np.abs(np.diff((np.bincount(cell, rate[both], len(cells)) / count)[often]))[followed]
        for rate in (said.rate, log.offered_rate)
    ]
    (mean, p95), (logged_mean, logged_p95) = (
        (float(move.mean()), float(np.quantile(move, 0.95))) if len(move) else (NAN, NAN) for move in moves
    )
    changed = np.abs(said.centre_rate - said.uncapped_rate)[said.modelled] > ROUNDING
    held = float(changed.mean()) if len(changed) else NAN
    return StabilityFigures(int(followed.sum()), mean, p95, logged_mean, logged_p95, held)


def off_policy_figures(ledger: Ledger) -> OffPolicyFigures:
    """The models' rates before exploration on the offers of the log that a discount model answered."""
    part = ledger.rows(np.flatnonzero(ledger.said.modelled & np.isfinite(ledger.log.offered_rate)))
    log, said = part.log, part.said
    if len(part) == 0:
        return OffPolicyFigures(None, "no logged offer was answered by a discount model")
    drawn = DrawnLog(
        logged=Pricing(
            log.offered_rate, said.logged_acceptance, said.logged_profit_fen, said.logged_fixed_fen
        ),
        density=log.density,
        centre=log.centre,
        estimated=log.centre_estimated,
        accepted=log.accepted,
        clusters=[log.day, log.seller_id],
    )
    models = Steps(
        whole=Pricing(
            np.where(said.no_offer, np.nan, said.centre_rate),
            said.centre_acceptance,
            said.centre_profit_fen,
            said.centre_fixed_fen,
        ),
        first=Pricing(
            np.where(said.no_offer, np.nan, said.first_rate),
            said.first_acceptance,
            said.first_profit_fen,
            said.first_fixed_fen,
        ),
    )
    listed = Steps(
        whole=Pricing(said.table_rate, said.list_acceptance, said.list_profit_fen, said.list_fixed_fen),
        first=Pricing(
            said.list_first_rate,
            said.list_first_acceptance,
            said.list_first_profit_fen,
            said.list_first_fixed_fen,
        ),
    )
    found, refused = _asked(drawn, models)
    if found is None:
        return OffPolicyFigures(None, refused)
    return OffPolicyFigures(
        value=found.value if found.whole else None,
        refused=refused,
        first_step=None if found.whole else found,
        price_list=_asked(drawn, listed)[0],
        over_list=_asked(drawn, models, against=listed)[0],
    )


def _asked(log: DrawnLog, policy: Steps, *, against: Steps | None = None) -> tuple[PolicyValue | None, str]:
    """What the log says, and why not of the whole."""
    try:
        found = log.policy_value(policy, against=against)
    except OutsideSupport as refusal:
        return None, f"{NOT_COVERED}: {refusal}"
    except (FollowsTheDraw, TooFewClusters) as refusal:
        return None, str(refusal)
    return found, "" if found.whole else f"{NOT_COVERED}: {found.refused}"
