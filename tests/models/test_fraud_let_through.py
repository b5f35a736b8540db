"""The random let-through: whom it may reach, how often, and that it never changes its mind."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.fraud.let_through import (
    LET_THROUGH_NOTE,
    cards_drawn,
    let_through,
    notes_of,
    still_paid,
    uniform,
)
from models.policy import DecisionCosts

COSTS = DecisionCosts(let_through_share=0.05, let_through_seed="test")


def ids(count: int) -> np.ndarray:
    return np.array([f"t-{number}" for number in range(count)], dtype=object)


def refused(count: int, **changes: object):
    """The draws of so many refused trades of 100 yuan."""
    asked = {
        "action": np.full(count, "refuse", dtype=object),
        "card": ids(count),
        "face_value_fen": np.full(count, 10_000),
        "decision": COSTS,
    }
    return let_through(**(asked | changes))  # pyright: ignore[reportArgumentType]


def test_the_share_is_the_one_set():
    """Of 40,000 refused trades, 5 % are paid, give or take what chance allows, and carry that probability."""
    draws = refused(40_000)
    passed = draws.action == "pay"
    assert passed.mean() == pytest.approx(0.05, abs=4 * np.sqrt(0.05 * 0.95 / 40_000))
    np.testing.assert_array_equal(np.isfinite(draws.let_through), passed)
    assert set(draws.let_through[passed]) == {0.05}
    assert set(draws.action[~passed]) == {"refuse"}


def test_the_same_trade_asked_again_gets_the_same_draw():
    """The draw depends on seed and card alone: not on the company, the order or the amount."""
    first = refused(3_000).action
    order = np.random.default_rng(1).permutation(3_000)
    again = refused(3_000, card=ids(3_000)[order], face_value_fen=np.full(3_000, 50_000)).action
    np.testing.assert_array_equal(first[order], again)
    other = refused(3_000, decision=COSTS.model_copy(update={"let_through_seed": "another"})).action
    assert (first != other).any()


@given(seed=st.text(max_size=8), card=st.text(max_size=20), share=st.floats(0.0, 0.5))
def test_a_larger_share_lets_the_same_trades_through_and_more(seed, card, share):
    """Draws lie in [0, 1) and a trade let through at one share is let through at every larger one."""
    assert 0.0 <= uniform(seed, card) < 1.0
    one = np.array([card], dtype=object)
    less, more = (
        refused(1, card=one, decision=DecisionCosts(let_through_share=part, let_through_seed=seed)).action[0]
        for part in (share, 0.5)
    )
    assert (less, more) != ("pay", "refuse")


def test_only_refusals_of_small_cards_take_part():
    """No other decision is touched, no face value above the most, none that is not worth its price, none unnamed."""
    always = DecisionCosts(let_through_share=0.5, let_through_most_cny=200)
    count = 400
    for action in ("pay", "hold", "review"):
        draws = refused(count, action=np.full(count, action, dtype=object), decision=always)
        assert set(draws.action) == {action}
        assert np.isnan(draws.let_through).all()
    face = np.where(np.arange(count) % 2 == 0, 20_000, 20_001)
    passed = refused(count, face_value_fen=face, decision=always).action == "pay"
    assert passed[face == 20_000].any()
    assert not passed[face == 20_001].any()
    worth = np.arange(count) < 200
    passed = refused(count, worth_paying=worth, decision=always).action == "pay"
    assert passed[worth].any()
    assert not passed[~worth].any()
    assert not (refused(count, card=np.full(count, None), decision=always).action == "pay").any()


def test_a_card_has_one_draw_however_often_it_is_offered():
    """The draw is of the fingerprint, else of seller, kind, face value and day; a card seen before has none."""

    def drawn(face: int = 10_000, at: int = 0, seen: float = 0.0, **submitted: str) -> str | None:
        return cards_drawn(
            columns={"fingerprint_count_all": np.array([seen])},
            submitted={name: np.array([value], dtype=object) for name, value in submitted.items()},
            face_value_fen=np.array([face]),
            submitted_at=np.array([at]),
        )[0]

    first = drawn(card_fingerprint="f1", trade_id="t1", seller_id="s1")
    assert first == drawn(card_fingerprint="f1", trade_id="t2", seller_id="s2", at=10**10)
    assert drawn(card_fingerprint="f1", seen=1.0) is None
    assert drawn(trade_id="t1") is None
    plain = drawn(seller_id="s1", card_type="a", trade_id="t1")
    assert plain == drawn(seller_id="s1", card_type="a", trade_id="t2", at=86_399_999)
    others = [drawn(seller_id="s1", card_type="b"), drawn(seller_id="s1", card_type="a", face=2)]
    assert plain not in [*others, drawn(seller_id="s1", card_type="a", at=86_400_000)]


def test_without_a_share_nothing_is_let_through():
    """A share of 0 switches the draw off."""
    assert set(refused(500, decision=DecisionCosts(let_through_share=0.0)).action) == {"refuse"}


def test_what_a_rule_stops_afterwards_was_not_let_through():
    """A drawn trade that a list or rule then refuses or reviews carries no probability: its outcome is another."""
    probability = np.array([0.02, 0.02, 0.02, np.nan])
    action = np.array(["pay", "refuse", "review", "pay"], dtype=object)
    np.testing.assert_array_equal(still_paid(action, probability), [0.02, np.nan, np.nan, np.nan])


def test_only_let_through_trades_have_the_note():
    """Analysts read the note, in both languages, at let-through trades and nowhere else."""
    assert notes_of(np.array([np.nan, 0.02])) == [(), (LET_THROUGH_NOTE,)]
    assert LET_THROUGH_NOTE.zh
    assert LET_THROUGH_NOTE.en
