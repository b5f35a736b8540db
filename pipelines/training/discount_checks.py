"""What a promotion of the discount model asks of the challenger, on trades that neither model was fitted on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from models.discount.explain import reasons_of_all
from models.evaluation.calibration import expected_calibration_error
from models.evaluation.coverage import JUDGED_ROWS
from models.evaluation.discount import log_losses
from models.evaluation.referee import NothingDecided
from pipelines.training.discount import outcomes_of
from pipelines.training.discount_worth import (
    OVER_LIST,
    OVER_LOG,
    Contender,
    OfferJudge,
    Worth,
    offer_judge,
    value_checks,
    worths_of,
)
from pipelines.training.fairness import Fairness
from pipelines.training.promotion_checks import NORMAL_95, Check, check, not_judged, paired_gain

MOST_ECE = 0.02
RESALE_TOLERANCE = 0.0005
COVERAGE_90 = (0.88, 0.92)
LEAST_WORST_TYPE = 0.80
NOTHING_DECIDED = "no offer of these trades was decided"
CHANCE_ROUNDS = 200
"""Of the draws that say how large a calibration error chance alone makes."""


@dataclass(frozen=True)
class Values:
    """What prices are worth: of the log, of the rate table and of each contender; empty, and no judge, where no offer
    was decided."""

    worths: tuple[Worth, ...] = ()
    judge: OfferJudge | None = None

    @property
    def checks(self) -> tuple[Check, ...]:
        """Whether the last contender beats the log and the rate table."""
        if self.worths:
            return value_checks(self.worths[-1])
        return not_judged(OVER_LOG, NOTHING_DECIDED, proof=True), not_judged(OVER_LIST, NOTHING_DECIDED)

    def metrics(self) -> dict[str, float]:
        return {name: value for worth in self.worths for name, value in worth.metrics().items()}


def values_of(contenders: dict[str, Contender]) -> Values:
    """Of one contender, or of champion and challenger, by their names."""
    seen = list(contenders.values())
    try:
        judge = offer_judge(first=seen[0], second=seen[-1])
    except NothingDecided:
        return Values()
    return Values(worths_of(judge, contenders), judge)


def fairness_check(fairness: Fairness) -> Check:
    return check(f"prices are blind to the person: {fairness}", fairness.unexplained == 0)


def first_checks(values: Values, fairness: Fairness) -> tuple[Check, ...]:
    """What is asked of a model that no champion stands beside: to beat the log's prices and the rate table, and to be
    blind to the person."""
    return (*values.checks, fairness_check(fairness))


def discount_checks(
    *,
    champion: Contender,
    challenger: Contender,
    values: Values,
    figures: tuple[Mapping[str, float], Mapping[str, float]],
    fairness: Fairness,
) -> tuple[Check, ...]:
    """All conditions. figures: of champion and challenger, as :class:`DiscountMetrics` names them."""
    old, new = figures
    return (
        _profit_check(champion, challenger, values.judge),
        *values.checks,
        _acceptance_check(champion, challenger),
        _calibration_check(challenger, new),
        check(
            f"resale error {new['resale_mae']:.4f} against {old['resale_mae']:.4f}",
            not new["resale_mae"] > old["resale_mae"] + RESALE_TOLERANCE,
        ),
        *coverage_checks(new),
        check(
            f"{new['surface_violations']:.0f} falls among {new['surface_points']:,.0f} prices of the surface",
            new["surface_violations"] == 0,
        ),
        _reasons_check(challenger),
        fairness_check(fairness),
    )


def _profit_check(champion: Contender, challenger: Contender, judge: OfferJudge | None) -> Check:
    """The challenger's rates against the champion's, by the referee."""
    what = "profit per trade"
    if judge is None:
        return not_judged(what, NOTHING_DECIDED, proof=True)
    values = (judge.referee.value_fen(one.rate) / 100 for one in (champion, challenger))
    gain = paired_gain(*values, examples=challenger.seen, unit=" CNY")
    return check(f"{what} does not fall: {gain}", gain.low >= 0, proof=True)


def _acceptance_check(champion: Contender, challenger: Contender) -> Check:
    examples = challenger.seen
    decided = np.flatnonzero(outcomes_of(examples).decided)
    what = "acceptance log loss"
    if len(decided) == 0:
        return not_judged(what, "no offer was decided")
    part = examples.rows(decided)
    gains = (-log_losses(_acceptance(one, decided), part.accepted) for one in (champion, challenger))
    gain = paired_gain(*gains, examples=part)
    return check(f"{what} does not rise: {gain}", gain.low >= 0)


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
    return check(f"{what} {found:.4f} is at most {most:.4f}{by_chance}", found <= most)


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


def coverage_checks(figures: Mapping[str, float]) -> tuple[Check, ...]:
    """Within the bounds, or within what chance makes of so few resales; figures: as :class:`DiscountMetrics` names
    them."""
    found, worst = figures["range_coverage_90"], figures["range_coverage_90_worst_type"]
    what = "coverage of the 90 % resale range"
    if np.isnan(found):
        return (not_judged(what, "nothing was resold"),)
    chance = NORMAL_95 * (0.9 * 0.1 / figures["resale_rows"]) ** 0.5
    low, high = min(COVERAGE_90[0], 0.9 - chance), max(COVERAGE_90[1], 0.9 + chance)
    overall = check(f"{what} {found:.3f}, asked {low:.3f} to {high:.3f}", low <= found <= high)
    of_worst = "its coverage for the worst card type"
    if np.isnan(worst):
        return overall, not_judged(of_worst, f"no type has {JUDGED_ROWS} resales")
    return overall, check(
        f"{of_worst} {worst:.3f}, asked at least {LEAST_WORST_TYPE:.3f}", worst >= LEAST_WORST_TYPE
    )


def _reasons_check(challenger: Contender) -> Check:
    reasons = reasons_of_all(columns=challenger.seen.columns, offers=challenger.offers)
    silent = sum(not found for found in reasons) + len(challenger.offers) - len(reasons)
    return check(f"{silent} of {len(challenger.offers):,} offers are without a reason", silent == 0)
