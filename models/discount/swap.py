"""Several expired cards into one: what a seller gets when an issuer moves several low balances onto a new card.

Asking the issuer and handling the sale then cost once instead of once for each card, which is most of what a card
with a few yuan of value costs. A proposal says so in money: the cards' expected values less one handling, never less
than their quotes together, within the price band of expired cards; and, for a seller who would rather have a card, the
new card less a share of its balance. It stands on its quotes and binds as long as the first of them.
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
    card share it. steps: code -> amount in fen of its waterfall; valid_until: until when it binds."""

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
    steps: Mapping[str, int]


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

    quotes: what it is bound to, in the order they were given. targets_fen: balance of each new card. value_fen: all
    balances; separate_fen: what the quotes pay one by one; payout_fen = rate of value_fen, at least that. steps add up
    to payout_fen. decision: the strictest of the quotes'. card: the offer of a new card instead of money, None where
    the fee would not pay for the work.
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
    """Quotes that may go together, each card once (by its newest quote): of one seller, issuer, category and form, and
    all of them binding when the last was given."""
    newest = {quote.card_id: quote for quote in sorted(quotes, key=_given)}
    open_groups: dict[tuple[str, ...], list[ExpiredQuote]] = {}
    groups: list[list[ExpiredQuote]] = []
    for quote in sorted(newest.values(), key=_given):
        key = _kind(quote)
        group = open_groups.get(key)
        if group is None or quote.submitted_at > min(other.valid_until for other in group):
            group = open_groups[key] = []
            groups.append(group)
        group.append(quote)
    return groups


def _given(quote: ExpiredQuote) -> tuple[datetime, str]:
    return quote.submitted_at, quote.quote_id


def _kind(quote: ExpiredQuote) -> tuple[str, ...]:
    """Cards that one issuer moves onto one card: of its own and of one category; codes and plastic apart, for plastic
    must be sent in."""
    card = quote.card
    issuer = card.card_type if card.issuer == UNKNOWN_ISSUER else card.issuer
    return quote.seller_id, issuer, card.category, quote.card_form or ""


def _propose(quotes: Sequence[ExpiredQuote], *, costs: Costs, policy: PricePolicy) -> SwapProposal | None:
    targets = _targets(quotes)
    if len(targets) == len(quotes):
        return None
    fixed = costs.trade_fen + policy.reactivation_fen
    value, separate = (sum(getattr(q, name) for q in quotes) for name in ("value_fen", "payout_fen"))
    expected = sum(q.steps.get(code, 0) for q in quotes for code in ADDED_UP)
    capital = sum(-q.steps.get("COSTS", 0) - fixed for q in quotes) / max(separate, 1)
    risk = sum(-q.steps.get("KIND_RISK", 0) for q in quotes) / max(separate, 1)
    margin = math.ceil(policy.margin_floor * value)
    room = (expected - len(targets) * fixed - margin) / (1.0 + capital + risk)
    rate = math.floor(min(room / value, policy.expired_max_rate) * RATE_SCALE) / RATE_SCALE
    payout = int(payout_fen(np.array([value]), np.array([rate]))[0])
    if payout < separate or rate < policy.expired_min_rate:
        return None
    spent = {
        "COSTS": -len(targets) * fixed - round(capital * payout),
        "KIND_RISK": -round(risk * payout),
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
        card=_card(quotes, targets, fixed=fixed, policy=policy),
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
    quotes: Sequence[ExpiredQuote], targets: Sequence[int], *, fixed: int, policy: PricePolicy
) -> SwapCard | None:
    """The new cards less the fee share. The fee is earned in what re-activated cards resell at."""
    value = sum(targets)
    if_valid = value + sum(quote.steps.get("RESALE", 0) for quote in quotes)
    chance = (if_valid + sum(quote.steps.get("REACTIVATION", 0) for quote in quotes)) / max(if_valid, 1)
    faces = tuple(math.floor(balance * (1.0 - policy.swap_fee_share)) for balance in targets)
    fee = value - sum(faces)
    if fee * chance * if_valid / value < len(targets) * fixed:
        return None
    return SwapCard(
        faces_fen=faces,
        fee_fen=fee,
        fee_share=policy.swap_fee_share,
        success_probability=round(min(max(chance, 0.0), 1.0), 4),
    )
