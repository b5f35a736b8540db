"""Partly used cards, and face values that were never issued: paid after a look at the balance, and in order."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.catalogue import Catalogue
from features.catalogue.rows import CardType
from models.discount.explain import waterfall
from models.discount.model import LOYALTY, DiscountModel
from models.discount.offers import Offers
from models.discount.special import (
    SpecialCards,
    as_usual,
    doubts,
    held,
    minutes_to_expiry,
    ordinary_cards,
    special_cards,
    valid_until,
)
from models.money import payout_fen
from models.policy import Costs, DecisionCosts, PricePolicy
from models.quoting import Answers, Asked, ModelPair, Terms, quote, score
from tests.models.discount_market import (
    DAY_MS,
    FACES_CNY,
    MAX_FACE_CNY,
    TYPES,
    Market,
    card,
    fit_market,
    fitted_model,
    later_market,
    make_market,
    model_without_jitter,
    stubborn_model,
)

POLICY = PricePolicy()
WIDE = PricePolicy(exploration_half_width=0.05, exploration_cost_share=0.1, loyalty_bonus=0.01)
USUAL_FEN = np.sort(FACES_CNY) * 100
LINES = 24


def catalogue() -> Catalogue:
    """The market's card types, each issued with its usual face values."""
    types = [
        CardType(
            card_type=name,
            name_zh=name,
            name_en=name,
            issuer=name,
            category="retail",
            min_rate=0.6,
            max_rate=0.97,
            face_values_fen=tuple(USUAL_FEN.tolist()),
        )
        for name in TYPES
    ]
    return Catalogue.of(types, categories={})


def special_of(columns: dict[str, np.ndarray], value_fen: np.ndarray, issued: np.ndarray) -> SpecialCards:
    return special_cards(
        catalogue=catalogue(), card_type=columns["card_type"], value_fen=value_fen, issued_face_fen=issued
    )


def with_values(columns: dict[str, np.ndarray], value_fen: np.ndarray) -> dict[str, np.ndarray]:
    """The columns as the features of cards with these values."""
    return columns | {
        "card_face_cny": value_fen / 100,
        "card_face_of_max": value_fen / (MAX_FACE_CNY * 100),
        "card_face_is_usual": np.isin(value_fen, USUAL_FEN).astype(np.float64),
    }


def priced(
    columns: dict[str, np.ndarray],
    value_fen: np.ndarray,
    *,
    issued: np.ndarray | None = None,
    model: DiscountModel | None = None,
    policy: PricePolicy = POLICY,
    costs: Costs | None = None,
    submitted_at: np.ndarray | None = None,
) -> Offers:
    """Offers for cards of these values; issued: face values of partly used ones, 0 elsewhere."""
    nothing = np.zeros(len(value_fen), dtype=np.int64)
    return (model or fitted_model()).price(
        columns=with_values(columns, value_fen),
        face_value_fen=value_fen,
        submitted_at=nothing + 70 * DAY_MS if submitted_at is None else submitted_at,
        costs=costs or Costs(),
        policy=policy,
        special=special_of(columns, value_fen, nothing if issued is None else issued),
    )


def lines(value_fen: np.ndarray, *, seed: int) -> Market:
    """Random cards of the market, each repeated for every value, at the moments of their hours."""
    market = later_market()
    chosen = np.random.default_rng(seed).choice(len(market), LINES, replace=False)
    return market.rows(np.repeat(chosen, len(value_fen)))


def dense_values() -> np.ndarray:
    """Values in fen, ascending: around every usual one fen by fen, and all over in odd steps."""
    near = (USUAL_FEN[:, None] + np.arange(-3, 4)).ravel()
    return np.unique(
        np.concatenate([near, np.arange(1_000, 150_000, 1_237), np.arange(5_000, 150_000, 5_000)])
    )


@cache
def odd_is_cheap_model() -> DiscountModel:
    """A model of a market in which odd face values resell six points lower."""
    market = make_market(rows=8_000, seed=61)
    odd = market.columns["card_face_is_usual"] == 0
    market.resale_rate[odd] = np.maximum(market.resale_rate[odd] - 0.06, 0.0)
    return fit_market(market)


MODELS = pytest.mark.parametrize(
    "model", [fitted_model, model_without_jitter, stubborn_model, odd_is_cheap_model]
)


@MODELS
@pytest.mark.parametrize("spent_fen", [0, 20_000])
def test_payouts_never_fall_with_the_value(model: Callable[[], DiscountModel], spent_fen: int) -> None:
    """Across usual and odd values, of whole and of partly used cards, with exploration and a bonus, a card worth a fen
    more is never paid less, nor is its rate lower."""
    values = dense_values()
    market = lines(values, seed=4)
    value = np.tile(values, LINES)
    columns = market.columns | {LOYALTY: np.full(len(value), 50.0)}
    issued = value + spent_fen if spent_fen else np.zeros(len(value), dtype=np.int64)
    offers = priced(
        columns, value, issued=issued, model=model(), policy=WIDE, submitted_at=market.submitted_at
    )
    payout, rate = (part.reshape(LINES, -1) for part in (offers.payout_fen, offers.rate))
    assert (np.diff(payout, axis=1) >= 0).all()
    assert (np.diff(rate, axis=1) >= 0).all()


def test_an_odd_value_has_the_rate_of_the_next_smaller_usual_one() -> None:
    """A card of an odd value is priced at the rate of the largest smaller value its type is issued with; under all of
    them at the rate a usual one of its own value would have."""
    odd = np.array([13_700, 10_001, 99_999, 250_000])
    usual = np.array([10_000, 10_000, 50_000, 100_000])
    columns = {name: np.repeat(column, 4) for name, column in card().items()}
    assert np.array_equal(priced(columns, odd).rate, priced(columns, usual).rate)
    small = {name: column[:1] for name, column in columns.items()}
    tiny = np.array([3_700])
    as_issued = with_values(small, tiny) | {"card_face_is_usual": np.ones(1)}
    expected = fitted_model().price(
        columns=as_issued,
        face_value_fen=tiny,
        submitted_at=np.array([70 * DAY_MS]),
        costs=Costs(),
        policy=POLICY,
    )
    assert priced(small, tiny).rate[0] == expected.rate[0]


def test_types_without_a_list_have_no_odd_values() -> None:
    """An empty list of face values allows any, and so does a card type that the catalogue does not know."""
    free = Catalogue.of(
        [
            CardType(
                card_type="any",
                name_zh="-",
                name_en="-",
                issuer="-",
                category="-",
                min_rate=0.5,
                max_rate=1.0,
            )
        ],
        categories={},
    )
    found = special_cards(
        catalogue=free,
        card_type=np.array(["any", "nobody knows"], dtype=object),
        value_fen=np.array([12_345, 777]),
        issued_face_fen=np.array([None, None], dtype=object),
    )
    assert not found.odd.any()
    assert found.usual_fen.tolist() == [12_345, 777]
    assert doubts(found) == [(), ()]


def test_the_catalogues_lists_leave_a_usual_card_alone() -> None:
    """Cards of listed values are priced exactly as without a look at the list."""
    market = later_market()
    usual = np.flatnonzero(market.columns["card_face_is_usual"] == 1)
    market = market.rows(usual)
    value = market.face_value_fen
    plain = fitted_model().price(
        columns=market.columns,
        face_value_fen=value,
        submitted_at=market.submitted_at,
        costs=Costs(),
        policy=POLICY,
    )
    offers = priced(market.columns, value, submitted_at=market.submitted_at)
    for name in ("rate", "payout_fen", "no_offer", "low", "high", "expected_profit_fen", "free_rate"):
        assert np.array_equal(getattr(offers, name), getattr(plain, name)), name


@MODELS
def test_a_partly_used_card_never_fetches_more_than_a_whole_one(model: Callable[[], DiscountModel]) -> None:
    """Its rate is at most that of a whole card of the same value, and on average lower by about the deduction."""
    values = dense_values()[::7]
    market = lines(values, seed=5)
    value = np.tile(values, LINES)
    offers = [
        priced(market.columns, value, issued=issued, model=model(), submitted_at=market.submitted_at)
        for issued in (np.zeros(len(value), dtype=np.int64), value + 5_000)
    ]
    whole, partial = offers
    assert (partial.rate <= whole.rate).all()
    valid = np.isnan(partial.resale_if_valid) & ~whole.no_offer
    assert 0.001 < (whole.rate - partial.rate)[valid].mean() < 0.02
    assert (partial.partial_fen > 0).all()
    assert not whole.partial_fen.any()


def test_no_deduction_leaves_only_the_look_at_the_balance() -> None:
    """With a deduction of nothing a partly used card has the rate of a whole one."""
    value, columns = np.array([20_000]), card()
    free = PricePolicy(partial_balance_share=0.0)
    partial = priced(columns, value, issued=np.array([50_000]), policy=free)
    assert partial.rate[0] == priced(columns, value, policy=free).rate[0]


def test_resale_of_odd_values_shows_in_what_is_offered() -> None:
    """A card that would lose money at the usual rate, because its odd value resells far lower, is no offer."""
    columns, value = card(), np.array([13_700])
    offers = priced(columns, value, model=odd_is_cheap_model())
    usual = priced(columns, np.array([10_000]), model=odd_is_cheap_model())
    assert offers.rate[0] == usual.rate[0]
    assert offers.resale_mean[0] < usual.resale_mean[0] - 0.02
    assert offers.expected_profit_fen[0] < usual.expected_profit_fen[0] * 1.37


@settings(max_examples=60, deadline=None)
@given(
    value=st.integers(1, 120_000),
    spent=st.integers(0, 100_000),
    physical=st.booleans(),
    days=st.one_of(st.none(), st.integers(-400, 400)),
    handling=st.floats(0, 20),
    share=st.floats(0, 0.5),
    buyer=st.floats(0.3, 1.1),
)
def test_waterfalls_of_special_cards_add_up(
    value: int, spent: int, physical: bool, days: int | None, handling: float, share: float, buyer: float
) -> None:
    """Whatever is special about a card, its steps lead from what was issued to the payout, in fen."""
    columns = card(
        card_form="physical" if physical else "virtual",
        card_days_to_expiry=np.nan if days is None else float(days),
        card_is_expired=float(days is not None and days < 0),
        market_buyer_best=buyer,
    )
    offers = priced(
        columns,
        np.array([value]),
        issued=np.array([value + spent]),
        costs=Costs(handling_cny=handling),
        policy=PricePolicy(partial_balance_share=share, expired_handling_cny=1.5),
    )
    steps = waterfall(offers, 0)
    assert steps[0].amount_fen == value + spent
    assert sum(step.amount_fen for step in steps) == offers.payout_fen[0]
    assert offers.payout_fen[0] == payout_fen(np.array([value]), offers.rate)[0]
    amounts = {step.code: step.amount_fen for step in steps}
    assert amounts.get("SPENT", 0) == -spent
    assert ("REACTIVATION" in amounts) <= (days is not None and days < 0)
    if spent == 0:
        assert "PARTIAL_BALANCE" not in amounts
    assert all(step.zh and step.en for step in steps)


def test_the_waterfall_names_the_deduction_and_the_chance() -> None:
    """A partly used card shows what was spent and the deduction; an expired one what it is worth once re-activated
    and the chance of that."""
    value, issued = np.array([20_000]), np.array([50_000])
    partial = {step.code: step.amount_fen for step in waterfall(priced(card(), value, issued=issued), 0)}
    offers = priced(card(), value, issued=issued)
    assert partial["SPENT"] == -30_000
    assert partial["PARTIAL_BALANCE"] == -round(0.02 * float(offers.resale_mean[0]) * 20_000)
    expired = priced(card(card_days_to_expiry=-3.0, card_is_expired=1.0), value)
    amounts = {step.code: step.amount_fen for step in waterfall(expired, 0)}
    assert expired.reactivation[0] == pytest.approx(expired.resale_mean[0] / 0.896)
    assert amounts["FACE_VALUE"] + amounts["RESALE"] == round(20_000 * 0.896)
    assert amounts["REACTIVATION"] < 0
    assert np.isnan(offers.reactivation[0])


# --- how they are paid ---------------------------------------------------------------------------------------


def answers_of(issued: np.ndarray, value: np.ndarray, **known: object) -> Answers:
    columns = {name: np.repeat(column, len(value)) for name, column in card(**known).items()}
    return quote(
        Asked(
            columns=with_values(columns, value),
            face_value_fen=value,
            submitted_at=np.full(len(value), 70 * DAY_MS),
            special=special_of(columns, value, issued),
        ),
        models=ModelPair(discount=fitted_model(), fraud=None),
        terms=Terms(costs=Costs(), decision=DecisionCosts(), price=POLICY),
    )


def codes(answers: Answers, row: int) -> list[str]:
    return [reason.code for reason in answers.reasons[row]]


def test_doubtful_balances_are_held_and_say_why() -> None:
    """Of a whole usual, a partly used and a whole unusual card, the last two say that the balance comes first."""
    value, issued = np.array([20_000, 30_000, 13_700]), np.array([0, 100_000, 0])
    answers = answers_of(issued, value)
    doubtful = {"PARTIAL_BALANCE", "BALANCE_TO_VERIFY", "UNUSUAL_FACE_VALUE"}
    assert not doubtful & set(codes(answers, 0))
    assert doubtful & set(codes(answers, 1)) == {"PARTIAL_BALANCE", "BALANCE_TO_VERIFY"}
    assert doubtful & set(codes(answers, 2)) == {"UNUSUAL_FACE_VALUE"}
    assert all(len(codes(answers, row)) == len(set(codes(answers, row))) for row in range(3))
    assert not answers.no_offer.any()


def test_only_a_payment_becomes_a_hold() -> None:
    """A partly used and an unusual card are held where they would be paid; a stricter decision stays."""
    cards = special_of(
        {"card_type": np.repeat(TYPES[:1], 4)},
        np.array([20_000, 20_000, 13_700, 13_700]),
        np.array([0, 50_000, 0, 20_000]),
    )
    asked = np.array(["pay", "hold", "review", "refuse"], dtype=object)
    assert [str(held(np.full(4, action, dtype=object), cards)[0]) for action in asked] == list(asked)
    for row in (1, 2, 3):
        found = [str(held(np.full(4, action, dtype=object), cards)[row]) for action in asked]
        assert found == ["hold", "hold", "review", "refuse"]


def test_a_balance_worth_a_usual_value_is_no_unusual_face_value() -> None:
    """What is left on a partly used card need not be a value that is issued; only the balance is in doubt."""
    cards = special_of({"card_type": TYPES[:2]}, np.array([13_700, 10_000]), np.array([20_000, 20_000]))
    assert [[reason.code for reason in row] for row in doubts(cards)] == [["BALANCE_TO_VERIFY"]] * 2


def test_scores_without_a_price_hold_too() -> None:
    """A fraud score alone never says pay for a balance nobody has seen."""
    columns, value = card(), np.array([20_000])
    scores = score(
        Asked(
            columns=columns,
            face_value_fen=value,
            submitted_at=np.array([70 * DAY_MS]),
            special=special_of(columns, value, np.array([50_000])),
        ),
        payout_fen=value,
        models=ModelPair(discount=None, fraud=None),
        terms=Terms(costs=Costs(), decision=DecisionCosts(), price=POLICY),
    )
    assert scores.action[0] == "hold"
    assert scores.reasons[0][0].code == "BALANCE_TO_VERIFY"


def test_list_prices_know_special_cards_too() -> None:
    """Without a model, a partly used card is listed below a whole one and an odd value at the usual one's rate."""
    value, issued = np.array([20_000, 20_000, 27_700]), np.array([0, 50_000, 0])
    columns = {name: np.repeat(column, 3) for name, column in card().items()}
    rate = quote(
        Asked(
            columns=with_values(columns, value),
            face_value_fen=value,
            submitted_at=np.full(3, 70 * DAY_MS),
            special=special_of(columns, value, issued),
        ),
        models=ModelPair(discount=None, fraud=None),
        terms=Terms(costs=Costs(), decision=DecisionCosts(), price=POLICY),
    ).rate
    assert rate[1] < rate[0] == rate[2]


# --- the last valid day ----------------------------------------------------------------------------------------


def ms(text: str) -> np.ndarray:
    return np.array([round(datetime.fromisoformat(text).timestamp() * 1000)])


@pytest.mark.parametrize(
    ("moment", "days", "minutes"),
    [
        ("2026-03-01T12:00:00+08:00", 0.0, 720),
        ("2026-03-01T23:59:30+08:00", 0.0, 1),
        ("2026-03-01T00:00:00+08:00", 0.0, 1_440),
        ("2026-03-01T16:00:00+00:00", 0.0, 1_440),
        ("2026-03-01T12:00:00+08:00", 2.0, 720 + 2 * 1_440),
    ],
)
def test_minutes_to_the_end_of_the_last_valid_day(moment: str, days: float, minutes: int) -> None:
    """A card is valid until midnight in China, a begun minute counts as whole."""
    found = minutes_to_expiry(days_to_expiry=np.array([days]), submitted_at=ms(moment))
    assert found[0] == minutes


@pytest.mark.parametrize("days", [np.nan, -1.0])
def test_no_last_day_to_come_sets_no_limit(days: float) -> None:
    """A card without expiry and an expired one bind as long as any."""
    found = minutes_to_expiry(days_to_expiry=np.array([days]), submitted_at=np.zeros(1, dtype=np.int64))
    assert found[0] == np.inf


def test_no_quote_of_a_valid_card_outlives_it() -> None:
    """A quote given ten minutes before the last valid day ends binds for ten minutes."""
    columns, value = card(card_days_to_expiry=0.0), np.array([20_000])
    answers = quote(
        Asked(columns=columns, face_value_fen=value, submitted_at=ms("2026-03-01T23:50:00+08:00")),
        models=ModelPair(discount=fitted_model(), fraud=None),
        terms=Terms(costs=Costs(), decision=DecisionCosts(), price=POLICY),
    )
    assert answers.valid_minutes[0] == 10
    assert POLICY.quote_valid_minutes > 10
    assert "NEAR_EXPIRY" in codes(answers, 0)


@pytest.mark.parametrize(
    ("moment", "minutes", "expires_on", "binds_for"),
    [
        ("2026-03-01T23:59:30+08:00", 1, date(2026, 3, 1), timedelta(seconds=30)),
        ("2026-03-01T15:59:30+00:00", 30, date(2026, 3, 1), timedelta(seconds=30)),
        ("2026-03-01T23:59:59.999999+08:00", 1, date(2026, 3, 1), timedelta(microseconds=1)),
        ("2026-03-01T23:50:00+08:00", 10, date(2026, 3, 1), timedelta(minutes=10)),
        ("2026-03-01T23:59:30+08:00", 30, date(2026, 3, 2), timedelta(minutes=30)),
        ("2026-03-02T00:00:00+08:00", 30, date(2026, 3, 1), timedelta(minutes=30)),
        ("2026-03-01T23:59:30+08:00", 30, date.max, timedelta(minutes=30)),
        ("2026-03-01T23:59:30+08:00", 30, date.min, timedelta(minutes=30)),
        ("2026-03-01T23:59:30+08:00", 30, None, timedelta(minutes=30)),
    ],
)
def test_a_quote_ends_with_the_last_valid_day_to_the_second(
    moment: str, minutes: int, expires_on: date | None, binds_for: timedelta
) -> None:
    """A valid card's quote never passes midnight in China; one of an expired card, or without expiry, binds in full."""
    at = datetime.fromisoformat(moment).astimezone(UTC)
    found = valid_until(submitted_at=at, minutes=minutes, expires_on=expires_on)
    assert found - at == binds_for
    assert found.utcoffset() == timedelta(0)


def test_columns_of_a_usual_card_stay_as_they_are() -> None:
    """Only odd cards change, and a missing column is not invented."""
    columns = {"card_face_cny": np.array([100.0]), "time_hour": np.array([3.0])}
    found = as_usual(columns, ordinary_cards(np.array([10_000])))
    assert set(found) == set(columns)
    assert found["card_face_cny"][0] == 100.0
