"""What a promotion of the discount model asks of the challenger, on trades that neither model was fitted on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from models.discount.explain import reasons_of_all
from models.discount.model import DiscountModel, Known
from models.discount.offers import Offers
from models.evaluation.bootstrap import TooFewClusters
from models.evaluation.calibration import expected_calibration_error
from models.evaluation.coverage import JUDGED_ROWS
from models.evaluation.discount import log_losses
from models.evaluation.off_policy import (
    FollowsTheDraw,
    OffPolicyValue,
    OutsideSupport,
    logged_or_estimated_centre,
    off_policy_value,
)
from models.evaluation.referee import NothingDecided, Referee, fit_referee
from pipelines.settings import Settings
from pipelines.training.discount import outcomes_of
from pipelines.training.examples import Examples
from pipelines.training.fairness import Fairness
from pipelines.training.promotion_checks import Check, clusters, not_judged, paired_gain
from pipelines.training.splitting import DAY_US

MOST_ECE = 0.02
RESALE_TOLERANCE = 0.0005
COVERAGE_90 = (0.88, 0.92)
LEAST_WORST_TYPE = 0.80
OFF_POLICY = "off-policy gain over the logged offers"
OFF_POLICY_ROWS = 20_000
"""The newest offers judge a policy's value: estimating where old ones were centred takes its time."""
CHANCE_ROUNDS = 200
"""Of the draws that say how large a calibration error chance alone makes."""


@dataclass(frozen=True)
class Contender:
    """A model, the newer trades as it knows them, and its answers to them."""

    model: DiscountModel
    seen: Examples
    known: Known
    offers: Offers

    @property
    def rate(self) -> np.ndarray:
        """What it would have shown (n,), NaN where it would not have made an offer."""
        return np.where(self.offers.no_offer, np.nan, self.offers.rate)

    @property
    def centre(self) -> np.ndarray:
        """The same before the test moves."""
        return np.where(self.offers.no_offer, np.nan, self.offers.centre_rate)


def contender(model: DiscountModel, seen: Examples, settings: Settings) -> Contender:
    """The model's answers to n trades."""
    cards = {
        "columns": seen.columns,
        "face_value_fen": seen.face_value_fen,
        "costs": settings.costs,
        "policy": settings.price,
    }
    return Contender(
        model=model,
        seen=seen,
        known=model.know(**cards),
        offers=model.price(submitted_at=seen.submitted_ms, **cards),
    )


def discount_checks(
    *,
    champion: Contender,
    challenger: Contender,
    figures: tuple[Mapping[str, float], Mapping[str, float]],
    fairness: Fairness,
) -> tuple[Check, ...]:
    """All conditions. figures: of champion and challenger, as :class:`DiscountMetrics` names them."""
    old, new = figures
    return (
        *_profit_checks(champion, challenger),
        _acceptance_check(champion, challenger),
        _calibration_check(challenger, new),
        Check(
            f"resale error {new['resale_mae']:.4f} against {old['resale_mae']:.4f}",
            not new["resale_mae"] > old["resale_mae"] + RESALE_TOLERANCE,
        ),
        *_coverage_checks(new),
        Check(
            f"{new['surface_violations']:.0f} falls among {new['surface_points']:,.0f} prices of the surface",
            new["surface_violations"] == 0,
        ),
        _reasons_check(challenger),
        Check(f"prices are blind to the person: {fairness}", fairness.unexplained == 0),
    )


def _profit_checks(champion: Contender, challenger: Contender) -> tuple[Check, Check]:
    """The challenger's rates against the champion's, by the referee; and against the logged ones, by the log."""
    examples, what = challenger.seen, "profit per trade"
    try:
        referee = fit_referee(first=champion.known, second=challenger.known, outcomes=outcomes_of(examples))
    except NothingDecided as reason:
        return not_judged(what, reason), not_judged(OFF_POLICY, reason)
    values = (referee.value_fen(one.rate) / 100 for one in (champion, challenger))
    gain = paired_gain(*values, examples=examples, unit=" CNY")
    return (
        Check(f"{what} does not fall: {gain}", gain.low >= 0),
        _off_policy_check(challenger, referee),
    )


def _off_policy_check(challenger: Contender, referee: Referee) -> Check:
    try:
        found = _off_policy(challenger, referee)
    except (OutsideSupport, TooFewClusters, FollowsTheDraw) as reason:
        return not_judged(OFF_POLICY, reason)
    interval = f"95 % interval {found.gain_low / 100:.4f} to {found.gain_high / 100:.4f}"
    return Check(
        f"{OFF_POLICY}: {found.gain_fen / 100:.4f} CNY per offer, {interval}, overlap {found.overlap:.1%}",
        found.gain_low > 0,
    )


def _off_policy(challenger: Contender, referee: Referee) -> OffPolicyValue:
    """Value of the challenger's rates on the newest offers. Raises what :func:`off_policy_value` raises."""
    examples = challenger.seen
    if not np.isfinite(examples.offer_density).any():
        raise OutsideSupport("the log carries no densities of its offers")
    offered = np.flatnonzero(outcomes_of(examples).decided)
    newest = offered[np.argsort(examples.submitted_at[offered], kind="stable")[-OFF_POLICY_ROWS:]]
    part = examples.rows(newest)
    target, logged = referee.pricing(challenger.centre), referee.pricing(examples.offered_rate)
    centre, estimated = logged_or_estimated_centre(
        logged=part.offer_centre,
        density=part.offer_density,
        columns=part.columns,
        names=tuple(part.columns),
        offered_rate=part.offered_rate,
        fold_by=part.submitted_at // DAY_US,
    )
    return off_policy_value(
        target=target.rows(newest),
        logged=logged.rows(newest),
        density=part.offer_density,
        centre=centre,
        estimated=estimated,
        accepted=part.accepted,
        clusters=clusters(part),
        rng=np.random.default_rng(0),
    )


def _acceptance_check(champion: Contender, challenger: Contender) -> Check:
    examples = challenger.seen
    decided = np.flatnonzero(outcomes_of(examples).decided)
    what = "acceptance log loss"
    if len(decided) == 0:
        return not_judged(what, "no offer was decided")
    part = examples.rows(decided)
    gains = (-log_losses(_acceptance(one, decided), part.accepted) for one in (champion, challenger))
    gain = paired_gain(*gains, examples=part)
    return Check(f"{what} does not rise: {gain}", gain.low >= 0)


def _calibration_check(challenger: Contender, figures: Mapping[str, float]) -> Check:
    """Few decisions show a calibration error even where there is none, so chance is allowed for."""
    examples = challenger.seen
    decided = np.flatnonzero(outcomes_of(examples).decided)
    what = "acceptance calibration error"
    if len(decided) == 0:
        return not_judged(what, "no offer was decided")
    chance = error_by_chance(_acceptance(challenger, decided), rng=np.random.default_rng(0))
    most = max(MOST_ECE, chance)
    found = figures["acceptance_ece"]
    by_chance = "" if chance <= MOST_ECE else f", what chance makes of {len(decided):,} decisions"
    return Check(f"{what} {found:.4f} is at most {most:.4f}{by_chance}", found <= most)


def error_by_chance(probability: np.ndarray, *, rng: np.random.Generator) -> float:
    """The calibration error that true probabilities (n,) stay under 19 times of 20."""
    errors = [
        expected_calibration_error(
            probability=probability, outcome=rng.random(len(probability)) < probability
        )
        for _ in range(CHANCE_ROUNDS)
    ]
    return float(np.quantile(errors, 0.95))


def _acceptance(one: Contender, rows: np.ndarray) -> np.ndarray:
    """P(accept) at the logged rates of some rows."""
    return one.known.curve.rows(rows).probability(one.seen.offered_rate[rows])


def _coverage_checks(figures: Mapping[str, float]) -> tuple[Check, ...]:
    """Within the bounds, or within what chance makes of so few resales."""
    found, worst = figures["range_coverage_90"], figures["range_coverage_90_worst_type"]
    what = "coverage of the 90 % resale range"
    if np.isnan(found):
        return (not_judged(what, "nothing was resold"),)
    chance = 1.96 * (0.9 * 0.1 / figures["resale_rows"]) ** 0.5
    low, high = min(COVERAGE_90[0], 0.9 - chance), max(COVERAGE_90[1], 0.9 + chance)
    overall = Check(f"{what} {found:.3f} lies in {low:.3f} to {high:.3f}", low <= found <= high)
    of_worst = "its coverage for the worst card type"
    if np.isnan(worst):
        return overall, not_judged(of_worst, f"no type has {JUDGED_ROWS} resales")
    return overall, Check(f"{of_worst} {worst:.3f} is at least {LEAST_WORST_TYPE}", worst >= LEAST_WORST_TYPE)


def _reasons_check(challenger: Contender) -> Check:
    reasons = reasons_of_all(columns=challenger.seen.columns, offers=challenger.offers)
    silent = sum(not found for found in reasons) + len(challenger.offers) - len(reasons)
    return Check(f"{silent} of {len(challenger.offers):,} offers are without a reason", silent == 0)
