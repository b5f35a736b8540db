"""One row a trade of a backtest: what the log says came of it, and what the models of its step answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from features.catalogue import Catalogue
from features.china import CHINA_OFFSET
from features.windows import DAY
from models.discount.context import card_context
from models.discount.guard_rails import fixed_fen
from models.discount.known import Known
from models.discount.move_cap import DayBefore
from models.discount.optimiser import Economics
from models.evaluation.first_step import Support, support_of
from models.evaluation.off_policy import Pricing
from models.evaluation.profit import Outcomes, realised_profit_fen
from models.quoting import Answers, Asked, ModelPair, Terms, as_trained, quote
from pipelines.settings import Settings
from pipelines.simulation.oracle import Oracle, best_rate, expected_profit_fen
from pipelines.training.examples import Examples, offer_centres
from pipelines.training.splitting import DAY_US

Part = TypeVar("Part")
POLICIES = ("centre", "first", "list", "list_first", "logged")
"""What the columns of a policy's rates begin with: the models', their first step, the rate table's, its first step, and
the log's."""
NEVER = np.iinfo(np.int64).max


def rows_of(part: Part, rows: np.ndarray) -> Part:
    """The chosen rows of a dataclass of arrays (n,)."""
    return type(part)(**{name: values[rows] for name, values in vars(part).items()})


def joined(parts: Sequence[Part]) -> Part:
    """Dataclasses of arrays, one after the other."""
    first = parts[0]
    return type(first)(
        **{name: np.concatenate([getattr(part, name) for part in parts]) for name in vars(first)}
    )


def china_day(time_us: np.ndarray) -> np.ndarray:
    """Days since 1970 in China (n,) of times in µs."""
    return (time_us + CHINA_OFFSET) // DAY


@dataclass(frozen=True)
class Logged:
    """The log's n trades, (n,) each; money in fen, times int64 µs, rates NaN where there was no offer.

    kind: card type and whether the card is still valid. centre: middle of the offer's random move, NaN where there was
    none; centre_estimated: whether it was estimated and not logged. support_low, support_high: between which rates the
    log can judge other prices well. bought: accepted at a known rate. settled: what a
    bought card brought is known: resold, or known as fraud. labelled: as in
    :class:`models.evaluation.profit.Outcomes`. profit_fen: of a settled honest card; loss_fen: of a bought known fraud;
    both 0 elsewhere. in_stock_from, in_stock_until: from bought to resold (or known as fraud), NEVER where not.
    """

    day: np.ndarray
    kind: np.ndarray
    seller_id: np.ndarray
    face_value_fen: np.ndarray
    offered_rate: np.ndarray
    density: np.ndarray
    centre: np.ndarray
    centre_estimated: np.ndarray
    support_low: np.ndarray
    support_high: np.ndarray
    accepted: np.ndarray
    resale_rate: np.ndarray
    fraud: np.ndarray
    at_risk_fen: np.ndarray
    bought: np.ndarray
    settled: np.ndarray
    labelled: np.ndarray
    profit_fen: np.ndarray
    loss_fen: np.ndarray
    submitted_at: np.ndarray
    in_stock_from: np.ndarray
    in_stock_until: np.ndarray


def logged(examples: Examples, settings: Settings) -> Logged:
    """What came of the trades, with the platform's costs and the days that their money was really tied up."""
    outcomes = Outcomes(
        offered_rate=examples.offered_rate,
        accepted=examples.accepted,
        resale_rate=examples.resale_rate,
        fraud=examples.fraud,
        submitted_at=examples.submitted_ms,
    )
    bought, resold = outcomes.bought, outcomes.resold
    lost = bought & (examples.fraud == 1)
    until = np.where(lost, examples.fraud_known_at, np.where(resold, examples.resold_at, NEVER))
    days = np.where(resold | lost, until - examples.decided_at, 0) / DAY_US
    centre, estimated = offer_centres(examples)
    support = support_of(
        offered_rate=examples.offered_rate,
        density=examples.offer_density,
        centre=centre,
        estimated=estimated,
    )
    brought = realised_profit_fen(economics=_economics(examples, days, settings), outcomes=outcomes)
    return Logged(
        day=china_day(examples.submitted_at),
        kind=card_context(examples.columns, len(examples)).type_state,
        seller_id=examples.seller_id.astype(str),
        face_value_fen=examples.face_value_fen,
        offered_rate=examples.offered_rate,
        density=examples.offer_density,
        centre=centre,
        centre_estimated=estimated,
        support_low=support.low,
        support_high=support.high,
        accepted=examples.accepted,
        resale_rate=examples.resale_rate,
        fraud=examples.fraud,
        at_risk_fen=examples.at_risk_fen,
        bought=bought,
        settled=resold | lost,
        labelled=outcomes.labelled,
        profit_fen=np.where(resold, brought, 0.0),
        loss_fen=np.where(lost, -brought, 0.0),
        submitted_at=examples.submitted_at,
        in_stock_from=np.where(bought, examples.decided_at, NEVER),
        in_stock_until=np.where(bought, until, NEVER),
    )


def _economics(examples: Examples, days: np.ndarray, settings: Settings) -> Economics:
    """The costs of buying each card (n,), its money tied up for so many days (n,); no expectation is in it."""
    costs, policy = settings.costs, settings.price
    context = card_context(examples.columns, len(examples))
    nothing = np.zeros(len(examples))
    return Economics(
        face_value_fen=examples.face_value_fen,
        resale_mean=nothing,
        value=nothing,
        logistics_share=policy.physical_logistics_share * context.physical,
        capital_share=costs.capital_rate_daily * days,
        fraud_share=nothing,
        fraud_of_type=nothing,
        taken_usually=nothing + 1.0,
        fixed_fen=fixed_fen(context=context, costs=costs, policy=policy),
        fraud_loss=costs.loss_given_fraud,
        like_honest=0.0,
    )


@dataclass(frozen=True)
class Answered:
    """What the models said about n trades, (n,) each; money in fen.

    modelled: a discount model priced; without one, everything but rate, payout, action and no_offer is NaN.
    expected_profit_fen, acceptance: at ``rate``. centre_*: of the best rate, before exploration moved it;
    uncapped_rate: the same without the cap of daily moves; logged_*: the same model on the offer that the log made;
    list_*: on ``table_rate``, the rate table's. first_*, list_first_*: of the best rate and of the list's, moved
    into the log's support; NaN where nobody asked. acceptance, profit_fen, fixed_fen of all: see
    :class:`models.evaluation.off_policy.Pricing`.
    """

    modelled: np.ndarray
    rate: np.ndarray
    no_offer: np.ndarray
    action: np.ndarray
    payout_fen: np.ndarray
    fraud_probability: np.ndarray
    table_rate: np.ndarray
    expected_profit_fen: np.ndarray
    acceptance: np.ndarray
    days_to_sell: np.ndarray
    resale_p05: np.ndarray
    resale_p10: np.ndarray
    resale_p90: np.ndarray
    resale_p95: np.ndarray
    centre_rate: np.ndarray
    uncapped_rate: np.ndarray
    centre_acceptance: np.ndarray
    centre_profit_fen: np.ndarray
    centre_fixed_fen: np.ndarray
    first_rate: np.ndarray
    first_acceptance: np.ndarray
    first_profit_fen: np.ndarray
    first_fixed_fen: np.ndarray
    list_acceptance: np.ndarray
    list_profit_fen: np.ndarray
    list_fixed_fen: np.ndarray
    list_first_rate: np.ndarray
    list_first_acceptance: np.ndarray
    list_first_profit_fen: np.ndarray
    list_first_fixed_fen: np.ndarray
    logged_acceptance: np.ndarray
    logged_profit_fen: np.ndarray
    logged_fixed_fen: np.ndarray

    @property
    def buys(self) -> np.ndarray:
        """Whether a card would be bought if its seller accepts (n,) bool: it is offered for and not refused."""
        return ~self.no_offer & (self.action != "refuse")


def answered(
    examples: Examples,
    *,
    models: ModelPair,
    terms: Terms,
    catalogue: Catalogue,
    before: DayBefore | None = None,
    support: Support | None = None,
) -> Answered:
    """Answer trades as the live service does, and ask the same discount model about the logged offers and the price
    list. catalogue: which face values are usual; before: what daily moves are measured from; None: no move is capped;
    support: what a first step stays within; None: none is asked for."""
    special = examples.special(catalogue)
    asked = Asked(
        columns=examples.columns,
        face_value_fen=examples.face_value_fen,
        submitted_at=examples.submitted_ms,
        submitted={"trade_id": examples.trade_id, "seller_id": examples.seller_id},
        special=special,
        before=before,
    )
    answers = quote(asked, models=models, terms=terms)
    nothing = np.full(len(examples), np.nan)
    if models.discount is None or answers.offers is None:
        unknown = Pricing(rate=nothing, acceptance=nothing, profit_fen=nothing, fixed_fen=nothing)
        return _columns(answers, dict.fromkeys(POLICIES, unknown))
    known = models.discount.know(
        columns=as_trained(examples.columns, models.discount_pins),
        face_value_fen=examples.face_value_fen,
        costs=terms.costs,
        policy=terms.price,
        special=special,
    )
    centre, listed = answers.offers.centre_rate, answers.offers.table_rate
    first = [nothing, nothing] if support is None else [support.nearest(rate) for rate in (centre, listed)]
    rates = (centre, first[0], listed, first[1], examples.offered_rate)
    return _columns(
        answers, {name: _pricing(known, rate) for name, rate in zip(POLICIES, rates, strict=True)}
    )


def _pricing(known: Known, rate: np.ndarray) -> Pricing:
    """What the model makes of offering ``rate`` (n,): V(r) split into what acceptance moves and what it does not."""
    gain, loss = known.economics.honest_profit_fen(rate), known.economics.fraud_loss_fen(rate)
    return Pricing(
        rate=rate,
        acceptance=np.where(np.isnan(rate), np.nan, known.curve.probability(np.nan_to_num(rate))),
        profit_fen=gain,
        fixed_fen=-known.economics.fraud_share * (gain + loss),
    )


def _columns(answers: Answers, policies: Mapping[str, Pricing]) -> Answered:
    offers, size = answers.offers, len(answers.rate)

    def of(name: str) -> np.ndarray:
        return np.full(size, np.nan) if offers is None else getattr(offers, name).astype(np.float64)

    return Answered(
        modelled=np.full(size, offers is not None),
        rate=answers.rate,
        no_offer=answers.no_offer,
        action=answers.action,
        payout_fen=answers.payout_fen,
        fraud_probability=answers.fraud_probability,
        table_rate=answers.rate if offers is None else offers.table_rate,
        expected_profit_fen=of("expected_profit_fen"),
        acceptance=of("acceptance_probability"),
        days_to_sell=of("days_to_sell"),
        resale_p05=of("resale_p05"),
        resale_p10=of("resale_p10"),
        resale_p90=of("resale_p90"),
        resale_p95=of("resale_p95"),
        uncapped_rate=of("uncapped_rate"),
        **{
            f"{name}_{part}": np.asarray(values)
            for name, policy in policies.items()
            for part, values in vars(policy).items()
            if f"{name}_{part}" in Answered.__dataclass_fields__
        },
    )


@dataclass(frozen=True)
class Truth:
    """Expected profit (n,), fen, by the simulation's oracle: of the models' rates, of the logged offers, of the rate
    table and of the best rates. A trade without an offer earns 0."""

    model_fen: np.ndarray
    logged_fen: np.ndarray
    table_fen: np.ndarray
    best_fen: np.ndarray


def truth(*, oracle: Oracle, log: Logged, said: Answered, settings: Settings) -> Truth:
    """Judge rates by what is true of each card; decisions about the person are left out, as the oracle knows none."""
    known = {"oracle": oracle, "face_value_fen": log.face_value_fen, "costs": settings.costs}
    best = best_rate(**known)
    return Truth(
        model_fen=expected_profit_fen(rate=np.where(said.no_offer, np.nan, said.rate), **known),
        logged_fen=expected_profit_fen(rate=log.offered_rate, **known),
        table_fen=expected_profit_fen(rate=said.table_rate, **known),
        best_fen=expected_profit_fen(rate=best, **known),
    )


@dataclass(frozen=True)
class Ledger:
    """All n trades of a backtest in the order of time. step: number of the step that answered each (n,)."""

    step: np.ndarray
    log: Logged
    said: Answered
    truth: Truth | None

    def __len__(self) -> int:
        return len(self.step)

    def rows(self, rows: np.ndarray) -> Ledger:
        truth = None if self.truth is None else rows_of(self.truth, rows)
        return Ledger(
            step=self.step[rows], log=rows_of(self.log, rows), said=rows_of(self.said, rows), truth=truth
        )
