"""Several expired cards into one: what a seller gets when an issuer moves several low balances onto a new card.

Asking the issuer and handling the sale then cost once instead of once for each card, which is most of what a card
with a few yuan of value costs. A proposal says so in money: the cards' expected values less one handling, never less
than their quotes together, within the price band of expired cards; and, for a seller who would rather have a card, the
new card less a share of its balance. It is an invitation, which a person confirms while the first of its quotes is
valid: accepting a swap is no event yet, so nothing binds either side but the quotes themselves.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from features.catalogue import CardType
from models.discount.explain import Step
from models.fraud.decision import ACTIONS
from models.money import RATE_SCALE, payout_fen
from models.policy import Costs, PricePolicy
from models.reasons import Reason

INVITATION = Reason(
    "SWAP_INVITATION",
    "合并方案为邀约，不能直接接受，需由工作人员与您确认后生效",
    "This swap is an invitation: it cannot be accepted here and takes effect once a person confirms it with you",
)
"""Said with every proposal."""
UNKNOWN_ISSUER = "unknown"
"""Issuer of card types that an import registered by their name alone: nobody knows whose they are."""
ADDED_UP = {
    "FACE_VALUE": ("面值合计", "Face values together"),
    "SPENT": ("已使用金额", "Already spent"),
    "RESALE": ("预期出货价", "Expected resale value"),
    "REACTIVATION": ("过期卡激活成功率", "Chance that the issuer re-activates them"),
    "PARTIAL_BALANCE": ("余额卡折价", "Partly used cards: harder to resell"),
    "RESERVE": ("行情波动预留", "Reserve for a moving market"),
    "LOGISTICS": ("实体卡物流", "Shipping of physical cards"),
}
"""Steps of the quotes' waterfalls that a swap adds up, in order, with their names."""


@dataclass(frozen=True)
class ExpiredQuote:
    """The quote of an expired card that was not refused. quote_id: what it is called by; card_id: two quotes of one
    card share it. steps: code -> amount in fen of its waterfall; valid_until: until when it binds. no_offer: nobody can
    accept it, so by itself the card fetches nothing; payout_fen is what its rate comes to all the same."""

    quote_id: str
    card_id: str
    seller_id: str
    card: CardType
    card_form: str | None
    submitted_at: datetime
    valid_until: datetime
    value_fen: int
    payout_fen: int
    decision: str
    no_offer: bool
    steps: Mapping[str, int]

    @property
    def offered_fen(self) -> int:
        """What the seller can have for this card alone."""
        return 0 if self.no_offer else self.payout_fen

    def risk_share(self, *, fixed: int, loss: float) -> float:
        """How much of what a fraud would cost the quote charges as risk. fixed: fen of work in its costs; loss: share
        of the payout that a fraud costs."""
        tied_up = self.payout_fen - self.steps.get("COSTS", 0) - fixed
        at_stake = tied_up * loss - self.steps.get("LOGISTICS", 0) + fixed
        return -self.steps.get("KIND_RISK", 0) / at_stake if at_stake > 0 else 0.0


@dataclass(frozen=True)
class SwapCard:
    """The new cards that the seller gets back instead of money. faces_fen: their face values; fee_fen: what is kept of
    the balances; success_probability: chance that the issuer re-activates a fen of balance."""

    faces_fen: tuple[int, ...]
    fee_fen: int
    fee_share: float
    success_probability: float


@dataclass(frozen=True)
class SwapProposal:
    """Several expired cards of one seller into as few new ones as hold their balances.

    quotes: what it stands on, in the order they were given. targets_fen: balance of each new card. value_fen: all
    balances; separate_fen: what the quotes pay one by one, nothing for those that are no offer; payout_fen = rate of
    value_fen, at least that. steps add up to payout_fen. decision: the strictest of the quotes'. card: the offer of a
    new card instead of money, None where the fee would not pay for the work.
    """

    quotes: tuple[ExpiredQuote, ...]
    targets_fen: tuple[int, ...]
    value_fen: int
    separate_fen: int
    rate: float
    payout_fen: int
    decision: str
    valid_until: datetime
    steps: tuple[Step, ...]
    card: SwapCard | None


def propose_swaps(
    quotes: Sequence[ExpiredQuote], *, costs: Costs, policy: PricePolicy
) -> tuple[SwapProposal, ...]:
    """A proposal for each seller, issuer and kind of card with two quotes or more that bind at one time, where it pays
    at least what they pay one by one. In the order of their first quotes."""
    proposals = (_propose(group, costs=costs, policy=policy) for group in _groups(quotes))
    return tuple(proposal for proposal in proposals if proposal is not None)


def _groups(quotes: Iterable[ExpiredQuote]) -> list[list[ExpiredQuote]]:
    """Quotes that may go together: of one seller, issuer, category and form, and all of them binding when the last was
    given. A card that is quoted again leaves the group it was in, unless that is closed by then: what was proposed
    stays as it was, whatever comes later in a file."""
    groups: list[dict[str, ExpiredQuote]] = []
    by_kind: dict[tuple[str, ...], dict[str, ExpiredQuote]] = {}
    by_card: dict[tuple[str, str], dict[str, ExpiredQuote]] = {}
    for quote in sorted(quotes, key=_given):
        kind, card = _kind(quote), (quote.seller_id, quote.card_id)
        former, group = by_card.get(card), by_kind.get(kind)
        if former is not None and _is_open(former, quote.submitted_at):
            del former[quote.card_id]
        if group is None or not _is_open(group, quote.submitted_at):
            group = by_kind[kind] = {}
            groups.append(group)
        group[quote.card_id] = quote
        by_card[card] = group
    return sorted((list(group.values()) for group in groups if group), key=lambda group: _given(group[0]))


def _is_open(group: Mapping[str, ExpiredQuote], moment: datetime) -> bool:
    """Whether all of a group's quotes still bind."""
    return all(moment <= quote.valid_until for quote in group.values())


def _given(quote: ExpiredQuote) -> tuple[datetime, str]:
    return quote.submitted_at, quote.quote_id


def _kind(quote: ExpiredQuote) -> tuple[str, ...]:
    """Cards that one issuer moves onto one card: of its own and of one category; codes and plastic apart, for plastic
    must be sent in."""
    card = quote.card
    issuer = card.card_type if card.issuer == UNKNOWN_ISSUER else card.issuer
    return quote.seller_id, issuer, card.category, quote.card_form or ""


def _propose(quotes: Sequence[ExpiredQuote], *, costs: Costs, policy: PricePolicy) -> SwapProposal | None:
    targets, value = _targets(quotes), sum(quote.value_fen for quote in quotes)
    if len(targets) == len(quotes) or value <= 0:
        return None
    separate = sum(quote.offered_fen for quote in quotes)
    shares = _shares(quotes, costs=costs, policy=policy)
    work = len(targets) * (costs.trade_fen + policy.reactivation_fen)
    shipping = -sum(quote.steps.get("LOGISTICS", 0) for quote in quotes)
    expected = sum(quote.steps.get(code, 0) for quote in quotes for code in ADDED_UP)
    margin = math.ceil(policy.margin_floor * value)
    room = expected - work - margin - shares.risk * (shipping + work)
    most = room / ((1.0 + shares.capital) * (1.0 + shares.risk * costs.loss_given_fraud))
    rate = math.floor(min(most / value, policy.expired_max_rate) * RATE_SCALE) / RATE_SCALE
    payout = int(payout_fen(np.array([value]), np.array([rate]))[0])
    if payout < separate or rate < policy.expired_min_rate:
        return None
    lost = payout * (1.0 + shares.capital) * costs.loss_given_fraud + shipping + work
    spent = {
        "COSTS": -work - round(shares.capital * payout),
        "KIND_RISK": -round(shares.risk * lost),
        "MARGIN": -margin,
    }
    return SwapProposal(
        quotes=tuple(quotes),
        targets_fen=targets,
        value_fen=value,
        separate_fen=separate,
        rate=rate,
        payout_fen=payout,
        decision=max((q.decision for q in quotes), key=ACTIONS.index),
        valid_until=min(q.valid_until for q in quotes),
        steps=_steps(quotes, spent, payout),
        card=_card(quotes, targets, work=work, policy=policy),
    )


@dataclass(frozen=True)
class _Shares:
    """Of several quotes: capital, share of the payout that tied up money costs; risk, share of a fraud's cost that is
    charged, each card's weighing as much as its balance, as a fraud's cost does."""

    capital: float
    risk: float


def _shares(quotes: Sequence[ExpiredQuote], *, costs: Costs, policy: PricePolicy) -> _Shares:
    fixed, loss = costs.trade_fen + policy.reactivation_fen, costs.loss_given_fraud
    capital = sum(-quote.steps.get("COSTS", 0) - fixed for quote in quotes)
    risk = sum(quote.risk_share(fixed=fixed, loss=loss) * quote.value_fen for quote in quotes)
    return _Shares(
        capital=capital / max(sum(quote.payout_fen for quote in quotes), 1),
        risk=risk / sum(quote.value_fen for quote in quotes),
    )


def _targets(quotes: Sequence[ExpiredQuote]) -> tuple[int, ...]:
    """Balances of the fewest new cards found by putting each old card, the largest first, where it fits: no new card
    holds more than any of the card types may."""
    limits = [quote.card.max_face_fen for quote in quotes if quote.card.max_face_fen is not None]
    most = min(limits, default=math.inf)
    targets: list[int] = []
    for value in sorted((quote.value_fen for quote in quotes), reverse=True):
        place = next((at for at, held in enumerate(targets) if held + value <= most), None)
        if place is None:
            targets.append(value)
        else:
            targets[place] += value
    return tuple(targets)


def _steps(quotes: Sequence[ExpiredQuote], spent: Mapping[str, int], payout: int) -> tuple[Step, ...]:
    """From the face values to the payout, in fen. What the price band holds back is the last step."""
    named = [
        (code, zh, en, sum(quote.steps.get(code, 0) for quote in quotes))
        for code, (zh, en) in ADDED_UP.items()
    ]
    named += [
        ("COSTS", "处理与资金成本（合并后只计一次处理费）", "Capital, and handling once", spent["COSTS"]),
        ("KIND_RISK", "卡种平均风险", "Average risk of the card kind", spent["KIND_RISK"]),
        ("MARGIN", "平台最低毛利", "Least margin", spent["MARGIN"]),
    ]
    rest = payout - sum(amount for *_, amount in named)
    named.append(("GUARD_RAILS", "过期卡价格区间与取整", "Price band of expired cards, and rounding", rest))
    steps, balance = [], 0
    for code, zh, en, amount in named:
        balance += amount
        if amount:
            steps.append(Step(code, zh, en, amount, balance))
    return tuple(steps)


def _card(
    quotes: Sequence[ExpiredQuote], targets: Sequence[int], *, work: int, policy: PricePolicy
) -> SwapCard | None:
    """The new cards less the fee share, in whole basis points; None where that does not pay for the ``work``, in fen.
    The fee is earned in what re-activated cards resell at."""
    value = sum(targets)
    if_valid = value + sum(quote.steps.get("RESALE", 0) for quote in quotes)
    chance = (if_valid + sum(quote.steps.get("REACTIVATION", 0) for quote in quotes)) / max(if_valid, 1)
    fee_points = round(policy.swap_fee_share * RATE_SCALE)
    faces = tuple(balance * (RATE_SCALE - fee_points) // RATE_SCALE for balance in targets)
    fee = value - sum(faces)
    if fee * chance * if_valid / value < work:
        return None
    return SwapCard(
        faces_fen=faces,
        fee_fen=fee,
        fee_share=fee_points / RATE_SCALE,
        success_probability=round(min(max(chance, 0.0), 1.0), 4),
    )
