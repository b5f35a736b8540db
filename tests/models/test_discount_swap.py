"""Several expired cards into one: never less than one by one, adding up in fen, bound to their quotes."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.catalogue.rows import CardType
from models.discount.explain import waterfall
from models.discount.swap import ExpiredQuote, SwapProposal, propose_swaps
from models.policy import Costs, PricePolicy
from tests.models.discount_market import DAY_MS, card, fitted_model

MOMENT = datetime(2026, 3, 1, 4, tzinfo=UTC)
POLICY = PricePolicy(expired_handling_cny=1.5)
COSTS = Costs()
JD = CardType(
    card_type="jd",
    name_zh="京东",
    name_en="JD",
    issuer="JD.com",
    category="ecommerce",
    min_rate=0.8,
    max_rate=0.98,
    max_face_fen=100_000,
)
SMALL = (10_000, 20_000, 10_000)


def expired(
    name: str,
    value_fen: int,
    *,
    seller_id: str = "s-1",
    of: CardType = JD,
    form: str | None = "virtual",
    after_minutes: float = 0.0,
    binds: int = 30,
    decision: str = "hold",
    costs: Costs = COSTS,
    policy: PricePolicy = POLICY,
) -> ExpiredQuote:
    """The model's quote of an expired card."""
    columns = card(
        card_days_to_expiry=-40.0,
        card_is_expired=1.0,
        card_face_cny=value_fen / 100,
        card_face_of_max=value_fen / 100_000,
    )
    offers = fitted_model().price(
        columns=columns,
        face_value_fen=np.array([value_fen]),
        submitted_at=np.array([70 * DAY_MS]),
        costs=costs,
        policy=policy,
    )
    given_at = MOMENT + timedelta(minutes=after_minutes)
    return ExpiredQuote(
        quote_id=name,
        card_id=name,
        seller_id=seller_id,
        card=of,
        card_form=form,
        submitted_at=given_at,
        valid_until=given_at + timedelta(minutes=binds),
        value_fen=value_fen,
        payout_fen=int(offers.payout_fen[0]),
        decision=decision,
        no_offer=bool(offers.no_offer[0]),
        steps={step.code: step.amount_fen for step in waterfall(offers, 0)},
    )


def several(values: tuple[int, ...] = SMALL, **known: object) -> list[ExpiredQuote]:
    return [expired(f"q{place}", value, **known) for place, value in enumerate(values)]  # type: ignore[arg-type]


def propose(quotes: list[ExpiredQuote], **changed: object) -> tuple[SwapProposal, ...]:
    return propose_swaps(quotes, **({"costs": COSTS, "policy": POLICY} | changed))  # type: ignore[arg-type]


def members(proposals: tuple[SwapProposal, ...]) -> list[list[str]]:
    return [[quote.quote_id for quote in proposal.quotes] for proposal in proposals]


def test_small_expired_cards_are_worth_more_together() -> None:
    """Three small balances pay clearly more as one card: the work is paid once."""
    (proposal,) = propose(several())
    assert proposal.targets_fen == (40_000,)
    assert proposal.value_fen == 40_000
    assert proposal.payout_fen > proposal.separate_fen
    assert proposal.separate_fen == sum(quote.offered_fen for quote in proposal.quotes)
    costs = {step.code: step.amount_fen for step in proposal.steps}["COSTS"]
    assert -costs == pytest.approx(350, abs=10)


def test_one_card_is_no_swap() -> None:
    """A single expired card stays alone, and nothing comes of nothing."""
    assert propose(several((10_000,))) == ()
    assert propose([]) == ()


@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(st.integers(100, 120_000), min_size=2, max_size=6),
    handling=st.floats(0, 20),
    reactivation=st.floats(0, 20),
    margin=st.floats(0, 0.05),
    partly=st.integers(0, 5),
)
def test_every_proposal_keeps_its_promises(
    values: list[int], handling: float, reactivation: float, margin: float, partly: int
) -> None:
    """Whatever the cards and costs: steps add up to the payout, which is at least that of the cards one by one and
    inside the band of expired cards; no new card holds more than it may."""
    costs = Costs(handling_cny=handling)
    policy = PricePolicy(expired_handling_cny=reactivation, margin_floor=margin)
    quotes = several(tuple(values), costs=costs, policy=policy)
    quotes[0] = replace(quotes[0], steps=dict(quotes[0].steps) | {"PARTIAL_BALANCE": -partly})
    for proposal in propose(quotes, costs=costs, policy=policy):
        assert sum(step.amount_fen for step in proposal.steps) == proposal.payout_fen
        balances = np.cumsum([step.amount_fen for step in proposal.steps])
        assert [step.balance_fen for step in proposal.steps] == balances.tolist()
        assert proposal.payout_fen >= proposal.separate_fen
        low, high = policy.expired_min_rate, policy.expired_max_rate
        assert low <= proposal.rate <= high
        assert proposal.payout_fen == -(-proposal.value_fen * round(proposal.rate * 10_000) // 10_000)
        assert proposal.value_fen == sum(proposal.targets_fen) == sum(values)
        assert len(proposal.targets_fen) < len(values)
        assert max(proposal.targets_fen) <= max(100_000, *values)
        if proposal.card is not None:
            assert sum(proposal.card.faces_fen) + proposal.card.fee_fen == proposal.value_fen
            assert 0 <= proposal.card.success_probability <= 1


def test_payout_rises_with_every_balance() -> None:
    """One more fen on any of the cards never lowers what they fetch together."""
    payouts = []
    for more in range(0, 20_000, 500):
        quotes = [expired("a", 10_000), expired("b", 10_000 + more), expired("c", 10_000)]
        (proposal,) = propose(quotes)
        payouts.append(proposal.payout_fen)
    assert (np.diff(payouts) >= 0).all()


def test_sellers_issuers_categories_and_forms_stay_apart() -> None:
    """Only cards of one seller, issuer, category and form go onto one card."""
    fuel = replace(JD, card_type="jd_fuel", category="fuel")
    other = replace(JD, card_type="other", issuer="somebody")
    quotes = [
        expired("a", 10_000),
        expired("b", 10_000, seller_id="s-2"),
        expired("c", 10_000, of=other),
        expired("d", 10_000, of=fuel),
        expired("e", 10_000, form="physical"),
        expired("f", 10_000, of=replace(JD, card_type="jd_super")),
    ]
    assert members(propose(quotes)) == [["a", "f"]]


def test_cards_of_nobody_knows_whom_go_by_their_type() -> None:
    """Card types that an import registered by their name share no issuer."""
    one, two = (replace(JD, card_type=name, issuer="unknown", category="other") for name in ("x", "y"))
    quotes = [expired("a", 10_000, of=one), expired("b", 10_000, of=two), expired("c", 10_000, of=one)]
    assert members(propose(quotes)) == [["a", "c"]]


def test_only_quotes_that_bind_at_one_time_are_bound_together() -> None:
    """A proposal binds as long as the first of its quotes, and takes in none given after that."""
    quotes = [
        expired("a", 10_000, binds=30),
        expired("b", 10_000, after_minutes=10, binds=10),
        expired("c", 10_000, after_minutes=21),
        expired("d", 10_000, after_minutes=25),
    ]
    proposals = propose(quotes)
    assert members(proposals) == [["a", "b"], ["c", "d"]]
    assert proposals[0].valid_until == MOMENT + timedelta(minutes=20)


def test_a_card_is_swapped_once() -> None:
    """A card that was quoted twice takes part with its newest quote."""
    first, again = expired("a", 10_000), replace(expired("b", 10_000, after_minutes=1), card_id="a")
    assert propose([first, again]) == ()
    assert members(propose([first, again, expired("c", 10_000, after_minutes=2)])) == [["b", "c"]]


def test_a_card_quoted_again_later_changes_nothing_of_what_was_proposed() -> None:
    """A file's later rows leave a closed proposal as it was; the card takes part in the next one once more."""
    quotes = [expired("a", 10_000), expired("b", 10_000), expired("c", 10_000, after_minutes=60)]
    again = replace(expired("d", 10_000, after_minutes=61), card_id="a")
    assert propose([*quotes, again])[:1] == propose(quotes)
    assert members(propose([*quotes, again])) == [["a", "b"], ["c", "d"]]


def test_a_card_stands_in_one_open_proposal_only() -> None:
    """Quoted again in another form it leaves the cards it went with; what is gone again leaves no group behind."""
    quotes = [expired(name, 10_000) for name in "abc"]
    again = replace(expired("d", 10_000, after_minutes=1, form="physical"), card_id="a")
    more = expired("e", 10_000, after_minutes=2, form="physical")
    assert members(propose([*quotes, again, more])) == [["b", "c"], ["d", "e"]]
    moved = [replace(again, quote_id="f"), replace(again, quote_id="g", card_form="virtual")]
    assert members(propose([*quotes[1:], *moved])) == [["b", "c", "g"]]


def test_sellers_share_no_card_by_its_number() -> None:
    """Two sellers' cards under one id are two cards: a quote to one takes nothing from the other."""
    theirs = [replace(expired(name, 10_000, seller_id="s-2"), card_id=name[0]) for name in ("a2", "b2")]
    assert members(propose([expired("a", 10_000), expired("b", 10_000), *theirs])) == [
        ["a", "b"],
        ["a2", "b2"],
    ]


def test_what_nobody_can_accept_fetches_nothing_alone() -> None:
    """Quotes that are no offer count as nothing one by one, and together the cards pay the same."""
    quotes = several()
    offered, none = ([replace(q, no_offer=no) for q in quotes] for no in (False, True))
    (with_offers,), (without,) = propose(offered), propose(none)
    assert with_offers.separate_fen == sum(quote.payout_fen for quote in quotes)
    assert without.separate_fen == 0
    assert (without.payout_fen, without.steps) == (with_offers.payout_fen, with_offers.steps)
    mixed = [replace(quotes[0], no_offer=True), *offered[1:]]
    assert propose(mixed)[0].separate_fen == sum(quote.payout_fen for quote in quotes[1:])


def test_risk_is_charged_on_one_handling() -> None:
    """Cards whose risk share is known are charged it on the payout, its capital and one handling, not on one each."""
    share, fixed = 0.2, COSTS.trade_fen + POLICY.reactivation_fen
    quotes = []
    for quote in several((30_000, 30_000, 30_000)):
        capital = -quote.steps["COSTS"] - fixed
        charged = round(share * ((quote.payout_fen + capital) * COSTS.loss_given_fraud + fixed))
        quotes.append(replace(quote, no_offer=True, steps=dict(quote.steps) | {"KIND_RISK": -charged}))
    (proposal,) = propose(quotes, policy=POLICY.model_copy(update={"expired_max_rate": 0.9}))
    steps = {step.code: step.amount_fen for step in proposal.steps}
    tied_up = proposal.payout_fen - steps["COSTS"] - fixed
    # the share is known from charges that were rounded to a fen on each of the cards
    assert -steps["KIND_RISK"] == pytest.approx(share * (tied_up * COSTS.loss_given_fraud + fixed), abs=3)
    assert steps.get("GUARD_RAILS", 0) == pytest.approx(0, abs=20)


def test_cards_without_value_are_no_swap() -> None:
    """Two empty cards are worth nothing together, and that is no error."""
    nothing = {"value_fen": 0, "payout_fen": 0, "steps": {}}
    assert propose([replace(quote, **nothing) for quote in several((100, 100))]) == ()


@pytest.mark.parametrize(("share", "face"), [(0.1, 85_500), (0.07, 88_350), (0.0001, 94_990), (0.5, 47_500)])
def test_the_new_card_is_cut_by_whole_basis_points(share: float, face: int) -> None:
    """The fee is exact to the fen, whatever a fraction looks like in floating point."""
    free = {
        "costs": Costs(handling_cny=0.0),
        "policy": PricePolicy(swap_fee_share=share, expired_handling_cny=0),
    }
    (proposal,) = propose(several((90_000, 5_000), **free), **free)
    assert proposal.card is not None
    assert (proposal.card.faces_fen, proposal.card.fee_share) == ((face,), share)


def test_balances_above_the_legal_maximum_take_several_cards() -> None:
    """Five cards of 400 yuan need three of at most 1,000, and the work is paid three times."""
    (proposal,) = propose(several((40_000,) * 5))
    assert proposal.targets_fen == (80_000, 80_000, 40_000)
    costs = {step.code: step.amount_fen for step in proposal.steps}["COSTS"]
    assert -costs == pytest.approx(3 * 350, abs=30)
    assert propose(several((90_000, 90_000))) == ()
    free = replace(JD, max_face_fen=None)
    (whole,) = propose(several((90_000, 90_000), of=free))
    assert whole.targets_fen == (180_000,)


def test_nothing_is_proposed_where_it_pays_less() -> None:
    """Where the quotes already pay the top of the band one by one, together they may pay as much, never less; a price
    band lowered meanwhile leaves no proposal."""
    quotes = several((50_000, 50_000), costs=Costs(handling_cny=0.0), policy=PricePolicy())
    free = Costs(handling_cny=0.0)
    for proposal in propose(quotes, costs=free, policy=PricePolicy()):
        assert proposal.payout_fen >= proposal.separate_fen
    assert propose(quotes, costs=free, policy=PricePolicy(expired_max_rate=0.011)) == ()
    dear = Costs(handling_cny=100.0)
    assert propose(several(costs=dear), costs=dear) == ()


def test_the_strictest_decision_stands() -> None:
    """One card that needs a look holds the others up."""
    quotes = [expired("a", 10_000, decision="pay"), expired("b", 10_000, decision="review")]
    assert propose(quotes)[0].decision == "review"


def test_the_new_card_is_offered_instead_of_money() -> None:
    """The seller may get the balances back on a new card less the fee, at the chance that the issuer agrees."""
    (proposal,) = propose(several((90_000, 5_000)))
    offered = proposal.card
    assert offered is not None
    assert offered.faces_fen == (85_500,)
    assert offered.fee_fen == 9_500
    chance = [1 + q.steps["REACTIVATION"] / (q.value_fen + q.steps["RESALE"]) for q in proposal.quotes]
    assert min(chance) - 1e-3 <= offered.success_probability <= max(chance) + 1e-3
    assert propose(several((9_000, 5_000)))[0].card is None
    assert propose(several((90_000, 5_000)), policy=PricePolicy(swap_fee_share=0.0))[0].card is None
