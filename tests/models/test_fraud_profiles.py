"""Profiles decide how much happens without a person; high stakes are never refused by a program."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.fraud.decision import ACTIONS
from models.fraud.profiles import FACE_OF_LEGAL, Handled, handle, high_stakes
from models.policy import DecisionCosts, Profile

LIMITS = DecisionCosts(medium_pay_most_cny=500, medium_pay_most_probability=0.02, high_stakes_cny=5_000)
TRADE = st.tuples(
    st.sampled_from(ACTIONS), st.floats(0, 1) | st.just(float("nan")), st.integers(1, 2_000_000)
)


def _handle(trades: list[tuple[str, float, int]], profile: Profile) -> Handled:
    action, probability, payout = (np.array(part) for part in zip(*trades, strict=True))
    return handle(
        action=action.astype(object),
        probability=probability.astype(float),
        payout_fen=payout.astype(np.int64),
        stakes=high_stakes(face_value_fen=payout.astype(np.int64), columns={}, decision=LIMITS),
        profile=profile,
        decision=LIMITS,
    )


@given(st.lists(TRADE, min_size=1, max_size=20))
def test_small_platforms_leave_every_trade_to_a_person_and_say_so(
    trades: list[tuple[str, float, int]],
) -> None:
    """In profile small every decision is a review, with a reason that says why."""
    found = _handle(trades, "small")
    assert set(found.action) == {"review"}
    assert {reason.code for reason in found.reasons if reason} == {"PERSON_DECIDES"}


@given(st.lists(TRADE, min_size=1, max_size=20))
def test_medium_platforms_pay_alone_only_what_is_small_and_harmless(
    trades: list[tuple[str, float, int]],
) -> None:
    """In profile medium nothing is refused by a program, and what is paid or held is under both limits."""
    found = _handle(trades, "medium")
    for action, (_, probability, payout) in zip(found.action, trades, strict=True):
        assert action != "refuse"
        assert action == "review" or (payout <= 50_000 and probability <= 0.02)


@given(st.lists(TRADE, min_size=1, max_size=20))
def test_head_platforms_follow_the_model_but_refuse_no_high_stakes(
    trades: list[tuple[str, float, int]],
) -> None:
    """In profile head decisions are the model's, except that a large face value goes to a person instead of refusal."""
    found = _handle(trades, "head")
    for action, reason, (asked, _, payout) in zip(found.action, found.reasons, trades, strict=True):
        high = asked == "refuse" and payout >= 500_000
        assert action == ("review" if high else asked)
        assert (reason is not None) == high


@pytest.mark.parametrize("profile", ["small", "medium", "head"])
def test_a_reason_is_given_exactly_where_a_person_was_put_in(profile: Profile) -> None:
    """Whoever changes the model's decision says why; a decision that stays needs no such words."""
    trades = [(action, p, payout) for action in ACTIONS for p in (0.001, 0.5) for payout in (10_000, 900_000)]
    found = _handle(trades, profile)
    for action, reason, (asked, *_) in zip(found.action, found.reasons, trades, strict=True):
        assert action == asked or reason is not None
        assert reason is None or action == "review"


def test_what_a_card_may_legally_hold_is_high_stakes_too() -> None:
    """A face value above the legal largest one of its kind is a person's to refuse; an unknown one says nothing."""
    face = np.array([10_000, 10_000, 10_000, 500_000], dtype=np.int64)
    columns = {FACE_OF_LEGAL: np.array([0.5, 1.2, np.nan, np.nan])}
    assert list(high_stakes(face_value_fen=face, columns=columns, decision=LIMITS)) == [
        False,
        True,
        False,
        True,
    ]
