"""What prices are worth on trades that no model was fitted on: those of models, of the log and of the rate table
beside each other, by the referee and by the log alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.discount.model import DiscountModel, Known
from models.discount.offers import Offers
from models.evaluation.bootstrap import TooFewClusters
from models.evaluation.first_step import DrawnLog, PolicyValue, Steps
from models.evaluation.off_policy import FollowsTheDraw, OutsideSupport
from models.evaluation.referee import Referee, fit_referee
from pipelines.settings import Settings
from pipelines.training.discount import outcomes_of
from pipelines.training.examples import Examples, offer_centres
from pipelines.training.promotion_checks import Check, Gain, clusters, not_judged, paired_gain, proof_of

OVER_LOG = "off-policy gain over the logged offers"
OVER_LIST = "off-policy gain over the rate table"
NEWEST = 20_000
"""So many newest offers judge what a policy is worth: estimating where old ones were centred takes its time."""
LOG, PRICE_LIST = "log", "list"
"""Names of the policies that every model is set beside: the offers that were made, and the rate table."""


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


@dataclass(frozen=True)
class Opinion:
    """What the log alone says of a policy; or why it cannot say anything, and value is None."""

    value: PolicyValue | None
    refused: str = ""

    @property
    def gain(self) -> Gain:
        """What it earns beyond what it was set against, CNY an offer."""
        assert self.value is not None
        found = self.value.value
        return Gain(found.gain_fen / 100, found.gain_low / 100, found.gain_high / 100, " CNY")


@dataclass(frozen=True)
class Worth:
    """One policy's prices on the judged offers, CNY an offer. by_referee: their profit; referee_gain: beyond the logged
    offers'. over_log, over_list: what the log alone says, set against its own offers and against the rate table."""

    name: str
    by_referee: Gain
    referee_gain: Gain
    over_log: Opinion
    over_list: Opinion

    def metrics(self) -> dict[str, float]:
        """Figures for the registry, fen; what is not judged is left out."""
        found = {f"value_{self.name}_referee_fen": self.by_referee.estimate * 100}
        for against, opinion in ((LOG, self.over_log), (PRICE_LIST, self.over_list)):
            if opinion.value is None or against == self.name:
                continue
            value, prefix = opinion.value.value, f"off_policy_{self.name}_over_{against}"
            found |= {f"{prefix}_{part}": number for part, number in value.to_dict().items()}
            found[f"{prefix}_whole"] = float(opinion.value.whole)
        return found


@dataclass(frozen=True)
class OfferJudge:
    """Judges rates for the newest decided offers, ``rows`` of the trades: ``part``."""

    referee: Referee
    rows: np.ndarray
    part: Examples
    log: DrawnLog

    def by_referee(self, rate: np.ndarray) -> np.ndarray:
        """Profit (rows,), CNY, of rates for all trades."""
        return self.referee.value_fen(rate)[self.rows] / 100

    def by_log(self, rate: np.ndarray, *, against: np.ndarray | None = None) -> Opinion:
        """Of rates for all trades before any test move, set against others, or against the log's own offers."""
        other = None if against is None else self._steps(against)
        try:
            return Opinion(self.log.policy_value(self._steps(rate), against=other))
        except (OutsideSupport, TooFewClusters, FollowsTheDraw) as reason:
            return Opinion(None, str(reason))

    def _steps(self, rate: np.ndarray) -> Steps:
        first = rate.copy()
        first[self.rows] = self.log.support.nearest(rate[self.rows])
        return Steps(*(self.referee.pricing(one).rows(self.rows) for one in (rate, first)))

    def worth(self, name: str, *, shown: np.ndarray, centre: np.ndarray, price_list: np.ndarray) -> Worth:
        """Of rates for all trades as they would be shown, and before the test moves."""
        value, logged = self.by_referee(shown), self.by_referee(self._logged)
        return Worth(
            name=name,
            by_referee=paired_gain(np.zeros(len(value)), value, examples=self.part, unit=" CNY"),
            referee_gain=paired_gain(logged, value, examples=self.part, unit=" CNY"),
            over_log=self.by_log(centre),
            over_list=Opinion(None, "it is the rate table")
            if name == PRICE_LIST
            else self.by_log(centre, against=price_list),
        )

    def log_worth(self) -> Worth:
        """Of the offers that were made."""
        value = self.by_referee(self._logged)
        level = paired_gain(np.zeros(len(value)), value, examples=self.part, unit=" CNY")
        own = self.log.value(self.log.logged)
        return Worth(LOG, level, Gain(0.0, 0.0, 0.0, " CNY"), Opinion(PolicyValue(own)), Opinion(None))

    @property
    def _logged(self) -> np.ndarray:
        rate = np.full(len(self.referee.economics.resale_mean), np.nan)
        rate[self.rows] = self.part.offered_rate
        return rate


def offer_judge(*, first: Contender, second: Contender) -> OfferJudge:
    """By what both models know of the same trades; one model alone comes twice. Raises NothingDecided."""
    examples = second.seen
    outcomes = outcomes_of(examples)
    referee = fit_referee(first=first.known, second=second.known, outcomes=outcomes)
    offered = np.flatnonzero(outcomes.decided)
    rows = offered[np.argsort(examples.submitted_at[offered], kind="stable")[-NEWEST:]]
    part = examples.rows(rows)
    centre, estimated = offer_centres(part)
    log = DrawnLog(
        logged=referee.pricing(examples.offered_rate).rows(rows),
        density=part.offer_density,
        centre=centre,
        estimated=estimated,
        accepted=part.accepted,
        clusters=clusters(part),
    )
    return OfferJudge(referee=referee, rows=rows, part=part, log=log)


def worths_of(judge: OfferJudge, contenders: dict[str, Contender]) -> tuple[Worth, ...]:
    """The log, the rate table (as the last of the contenders would keep it), and each contender by its name."""
    price_list = list(contenders.values())[-1].offers.table_rate
    own = [
        judge.worth(name, shown=one.rate, centre=one.centre, price_list=price_list)
        for name, one in contenders.items()
    ]
    listed = judge.worth(PRICE_LIST, shown=price_list, centre=price_list, price_list=price_list)
    return (judge.log_worth(), listed, *own)


def value_checks(worth: Worth) -> tuple[Check, Check]:
    """The proof that a policy beats the log's, and whether it beats the rate table."""
    return (
        _value_check(OVER_LOG, worth.over_log, proof=True),
        _value_check(OVER_LIST, worth.over_list, proof=False),
    )


def _value_check(what: str, opinion: Opinion, *, proof: bool) -> Check:
    found = opinion.value
    if found is None:
        return not_judged(what, opinion.refused, proof=proof)
    if not found.whole:
        what = f"{what}, of the first step toward its prices alone (of the whole {found.refused.partition(':')[0]})"
    return proof_of(f"{what}, overlap {found.value.overlap:.1%}", opinion.gain, proof=proof)


def first_step_in_words(found: PolicyValue) -> str:
    """What a value is of that is not of the whole policy, and why."""
    return (
        f"of the first step toward its prices, not of the whole ({found.moved:.0%} of them moved to the nearest that "
        f"the log can judge; the whole is not judged: {found.refused})"
    )
