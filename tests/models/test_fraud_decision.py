"""The decision by cost: formulas, order of strictness, capacity, and what happens without a probability."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.fraud.decision import ACTIONS, Decisions, Thresholds, action_costs_fen, decide
from models.policy import Costs, DecisionCosts

SHARE = st.floats(0, 1)
CNY = st.floats(0, 500)
HEAVY = {"fraud_weight": 3.0}


def _decide(
    probability: np.ndarray,
    *,
    face_fen: int = 100_000,
    thresholds: Thresholds | None = None,
    **settings: float,
) -> Decisions:
    rows = len(probability)
    return decide(
        probability=probability,
        payout_fen=np.full(rows, round(0.9 * face_fen)),
        face_value_fen=np.full(rows, face_fen),
        costs=Costs.model_validate({}),
        decision=DecisionCosts.model_validate(settings),
        thresholds=thresholds,
    )


def test_costs_of_one_trade_by_hand() -> None:
    """1,000 yuan face, 900 payout, p = 0.1: the four costs are those worked out on paper."""
    expected = action_costs_fen(
        probability=np.array([0.1]),
        payout_fen=np.array([90_000]),
        face_value_fen=np.array([100_000]),
        costs=Costs.model_validate({"review_cny": 15, "complaint_cny": 250, "loss_given_fraud": 1.0}),
        decision=DecisionCosts.model_validate(
            {
                "hold_cny": 3,
                "hold_catches": 0.5,
                "hold_drop_share": 0.02,
                "review_catches": 0.9,
                "review_wrongly_refuses": 0.03,
                "complaint_probability": 0.3,
                "margin_share": 0.04,
            }
        ),
    )
    pay = 0.1 * 90_000
    hold = 300 + 0.1 * 0.5 * 90_000 + 0.9 * 0.02 * 4000
    review = 1500 + 0.1 * 0.1 * 90_000 + 0.9 * 0.03 * 4000
    refuse = 0.9 * (4000 + 0.3 * 25_000)
    assert expected[0] == pytest.approx([pay, hold, review, refuse])


def test_risk_leads_from_paying_to_refusing() -> None:
    """With the default costs, a 1,000 yuan card passes through all four actions as p rises."""
    probability = np.array([0.0001, 0.01, 0.1, 0.9])
    assert list(_decide(probability).action) == list(ACTIONS)


@given(
    face_fen=st.integers(1, 10_000_000),
    payout_share=SHARE,
    loss=st.floats(0, 1.5),
    thresholds=st.none() | st.builds(Thresholds, *[st.floats(0, 1e6)] * 3),
    costs=st.tuples(CNY, CNY, CNY),
    shares=st.tuples(SHARE, SHARE, SHARE, SHARE, SHARE, SHARE),
)
def test_a_riskier_trade_is_never_treated_less_strictly(
    face_fen: int,
    payout_share: float,
    loss: float,
    thresholds: Thresholds | None,
    costs: tuple[float, float, float],
    shares: tuple[float, float, float, float, float, float],
) -> None:
    """For any costs and any thresholds, strictness never falls as the probability rises."""
    review, complaint, hold = costs
    hold_catches, review_catches, wrongly, complains, margin, drop = shares
    probability = np.linspace(0, 1, 201)
    decisions = decide(
        probability=probability,
        payout_fen=np.full(201, payout_share * face_fen),
        face_value_fen=np.full(201, face_fen),
        costs=Costs.model_validate(
            {"review_cny": review, "complaint_cny": complaint, "loss_given_fraud": loss}
        ),
        decision=DecisionCosts.model_validate(
            {
                "hold_cny": hold,
                "hold_catches": hold_catches,
                "review_catches": review_catches,
                "review_wrongly_refuses": wrongly,
                "complaint_probability": complains,
                "margin_share": margin,
                "hold_drop_share": drop,
            }
        ),
        thresholds=thresholds,
    )
    strictness = np.array([ACTIONS.index(action) for action in decisions.action])
    priced = decisions.weighed_cost_fen + (thresholds or Thresholds()).by_action
    chosen = priced[np.arange(201), strictness]
    falls = np.flatnonzero(np.diff(strictness) < 0)
    ties = np.isclose(chosen[falls], priced[falls, strictness[falls + 1]], rtol=1e-9, atol=1e-6)
    assert ties.all()


@given(face_fen=st.integers(1, 10_000_000), hold_fen=st.floats(0, 1e6))
def test_no_probability_never_pays(face_fen: int, hold_fen: float) -> None:
    """A trade without a score is held, whatever its amount; its costs are unknown rather than zero."""
    decisions = _decide(np.array([np.nan]), face_fen=face_fen, thresholds=Thresholds(hold_fen=hold_fen))
    assert list(decisions.action) == ["hold"]
    assert np.isnan(decisions.expected_cost_fen).all()


@pytest.mark.parametrize("wrong", [-0.01, 1.01])
def test_a_probability_outside_its_range_is_refused(wrong: float) -> None:
    """A score that is no probability is an error, never a decision."""
    with pytest.raises(ValueError, match="outside"):
        _decide(np.array([0.5, wrong]))


def test_the_action_taken_is_the_cheapest() -> None:
    """Without a threshold, each trade gets the least weighed cost of the four."""
    decisions = _decide(np.random.default_rng(0).random(500))
    cheapest = decisions.weighed_cost_fen.min(axis=1)
    taken = decisions.weighed_cost_fen[np.arange(500), [ACTIONS.index(action) for action in decisions.action]]
    assert np.array_equal(taken, cheapest)


@pytest.mark.parametrize(
    ("action", "name"), [("hold", "hold_fen"), ("review", "review_fen"), ("refuse", "refuse_fen")]
)
def test_a_threshold_keeps_an_action_for_what_it_saves_most(action: str, name: str) -> None:
    """Under a threshold an action is taken on fewer trades, never on others, and what it does not get is decided as
    the next cheapest action."""
    probability = np.linspace(0, 1, 2_001)
    free = _decide(probability, thresholds=Thresholds(learned_for=HEAVY))
    rationed = _decide(probability, thresholds=replace(Thresholds(learned_for=HEAVY), **{name: 2_000.0}))
    before, after = free.action == action, rationed.action == action
    assert 0 <= after.sum() < before.sum()
    assert not np.any(after & ~before)
    assert np.array_equal(free.action[~before], rationed.action[~before])


def test_a_heavier_fraud_is_never_met_less_strictly() -> None:
    """The more often its loss a paid fraud counts, the stricter is what is done; the money it costs stays the same, of
    a past trade as of one to decide."""
    probability = np.linspace(0, 1, 501)
    strictness = [
        [ACTIONS.index(action) for action in _decide(probability, fraud_weight=weight).action]
        for weight in (1.0, 2.0, 5.0)
    ]
    assert (np.diff(strictness, axis=0) >= 0).all()
    assert np.any(np.diff(strictness, axis=0) > 0)
    known = {
        "probability": probability,
        "payout_fen": np.full(501, 900),
        "face_value_fen": np.full(501, 1_000),
    }
    one, other = (
        action_costs_fen(**known, costs=Costs(), decision=DecisionCosts(fraud_weight=weight))
        for weight in (1.0, 5.0)
    )
    assert np.array_equal(one, other)
    light, heavy = (_decide(probability, fraud_weight=weight) for weight in (1.0, 5.0))
    assert np.array_equal(light.expected_cost_fen, heavy.expected_cost_fen)
    assert np.array_equal(light.expected_cost_fen, light.weighed_cost_fen)
    assert (heavy.weighed_cost_fen[1:, 0] > heavy.expected_cost_fen[1:, 0]).all()


@pytest.mark.parametrize("thresholds", [None, Thresholds(700.0, 300.0, 9_000.0, HEAVY)])
def test_a_review_saves_money_and_ranks_by_weight(thresholds: Thresholds | None) -> None:
    """What a review saves is money, against the automatic action that would be taken instead; its priority weighs
    fraud and prices places, and beyond its own price it is chosen."""
    probability = np.linspace(0, 1, 101)
    decisions = _decide(probability, thresholds=thresholds, fraud_weight=3.0)
    no_review = replace(thresholds or Thresholds(learned_for=HEAVY), review_fen=1e15)
    without = _decide(probability, thresholds=no_review)
    instead = np.array([ACTIONS.index(action) for action in without.action])
    rows, price = np.arange(101), thresholds or Thresholds()
    money, weighed = decisions.expected_cost_fen, decisions.weighed_cost_fen + price.by_action
    assert np.allclose(decisions.review_saving_fen, money[rows, instead] - money[:, 2])
    assert np.allclose(
        decisions.review_priority_fen, weighed[rows, instead] - decisions.weighed_cost_fen[:, 2]
    )
    assert np.array_equal(decisions.review_priority_fen > price.review_fen, decisions.action == "review")


def test_thresholds_decide_at_the_weight_they_were_learned_at() -> None:
    """Prices learned at a weight of 1 fit no other: a changed setting waits for the next training, and is named."""
    probability = np.linspace(0, 1, 201)
    former = Thresholds(hold_fen=500.0, review_fen=900.0, refuse_fen=2_000.0)
    now = DecisionCosts(fraud_weight=2.0, hold_most_share=0.1)
    told = replace(
        former, learned_for=DecisionCosts(fraud_weight=1.0, hold_most_share=0.2).taken_at_training()
    )
    as_learned = _decide(probability, thresholds=former, fraud_weight=1.0)
    for thresholds in (former, told, Thresholds.from_dict(told.to_dict())):
        found = _decide(probability, thresholds=thresholds, fraud_weight=now.fraud_weight)
        assert np.array_equal(found.action, as_learned.action)
        assert np.array_equal(found.weighed_cost_fen, as_learned.weighed_cost_fen)
    retrained = replace(former, learned_for=now.taken_at_training())
    assert not np.array_equal(_decide(probability, thresholds=retrained).action, as_learned.action)
    assert former.outdated(now) == {"fraud_weight": (1.0, 2.0)}
    assert told.outdated(now) == {"fraud_weight": (1.0, 2.0), "hold_most_share": (0.2, 0.1)}
    assert retrained.outdated(now) == {}
