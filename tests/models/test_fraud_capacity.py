"""Thresholds keep every action within its share, and give its places to the trades that gain most."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from models.fraud.capacity import HonestRefused, learned_thresholds, most_shares
from models.fraud.decision import ACTIONS, Thresholds, decide
from models.policy import Costs, DecisionCosts

SHARES = st.tuples(*[st.floats(0, 1)] * 3)


def _shares(cost: np.ndarray, thresholds: Thresholds) -> np.ndarray:
    choice = np.argmin(cost + thresholds.by_action, axis=1)
    return np.bincount(choice, minlength=4) / len(cost)


def _costs(rows: int = 20_000, seed: int = 1) -> np.ndarray:
    """Weighed costs of a market in which every action is the cheapest for some trades."""
    rng = np.random.default_rng(seed)
    face = np.rint(rng.lognormal(10.5, 1.0, rows))
    return decide(
        probability=rng.beta(0.25, 4, rows),
        payout_fen=0.9 * face,
        face_value_fen=face,
        costs=Costs(),
        decision=DecisionCosts(fraud_weight=1.0),
    ).weighed_cost_fen


@settings(max_examples=60, deadline=None)
@given(cost=arrays(np.float64, (37, 4), elements=st.floats(0, 1e6)), shares=SHARES)
def test_no_action_exceeds_its_share(cost: np.ndarray, shares: tuple[float, float, float]) -> None:
    """Whatever actions cost, ties included, none but paying is taken on more than its share of trades."""
    most = np.array([1.0, *shares])
    found = learned_thresholds(weighed_cost_fen=cost, most_share=most)
    assert (_shares(cost, found)[1:] <= most[1:] + 1e-12).all()


def test_actions_that_always_cost_the_same_are_still_kept_apart() -> None:
    """Two actions that outbid each other without end reach their shares all the same."""
    cost = np.tile([100_000.0, 10.0, 10.0, 200_000.0], (1_000, 1))
    most = np.array([1.0, 0.05, 0.02, 0.1])
    assert (_shares(cost, learned_thresholds(weighed_cost_fen=cost, most_share=most))[1:] <= most[1:]).all()


def test_with_room_for_all_nothing_is_rationed() -> None:
    """Where each action is cheapest less often than allowed, thresholds are 0 and decisions as without."""
    found = learned_thresholds(weighed_cost_fen=_costs(), most_share=np.ones(4))
    assert found == Thresholds()


def test_places_are_filled_and_what_is_lost_is_little() -> None:
    """Rationed actions use their places, and no assignment within the same shares costs less (linear programme)."""
    cost = _costs(400)
    most = np.array([1.0, 0.1, 0.02, 0.01])
    found = learned_thresholds(weighed_cost_fen=cost, most_share=most)
    share = _shares(cost, found)
    assert share[1:] == pytest.approx(most[1:], abs=1 / 400)
    own = cost[np.arange(400), np.argmin(cost + found.by_action, axis=1)].sum()
    assert own <= _least_cost(cost, most) + cost.max() * 0.01


def _least_cost(cost: np.ndarray, most: np.ndarray) -> float:
    """The least total cost of an assignment within the shares, by SciPy's linear programme."""
    from scipy.optimize import linprog
    from scipy.sparse import identity, kron

    rows = len(cost)
    one_action = kron(identity(rows), np.ones((1, 4)))
    per_action = kron(np.ones((1, rows)), identity(4))
    found = linprog(
        cost.ravel(),
        A_ub=per_action,
        b_ub=np.floor(most * rows),
        A_eq=one_action,
        b_eq=np.ones(rows),
        method="highs",
    )
    return float(found.fun)


def test_unknown_probabilities_need_no_place_and_no_rows_need_no_threshold() -> None:
    """Trades without a score are left aside; an empty period rations nothing."""
    cost = _costs(500)
    most = np.array([1.0, 0.1, 0.02, 0.01])
    blank = np.full((500, 4), np.nan)
    both = learned_thresholds(weighed_cost_fen=np.vstack([cost, blank]), most_share=most / 2)
    assert both == learned_thresholds(weighed_cost_fen=cost, most_share=most)
    assert learned_thresholds(weighed_cost_fen=np.empty((0, 4)), most_share=most) == Thresholds()


def test_a_number_of_reviews_a_day_is_a_share_of_a_usual_day() -> None:
    """``reviews_per_day`` counts instead of the share where it is given, and never means more than all trades."""
    assert most_shares(DecisionCosts(), trades_per_day=1_000)[2] == DecisionCosts().review_capacity_share
    assert most_shares(DecisionCosts(reviews_per_day=20), trades_per_day=1_000)[2] == pytest.approx(0.02)
    assert most_shares(DecisionCosts(reviews_per_day=20), trades_per_day=5)[2] == 1.0
    assert len(most_shares(DecisionCosts(), trades_per_day=1)) == len(ACTIONS)


def test_trades_that_wait_anyway_take_their_places_first() -> None:
    """Where some trades are held whatever the model says, the model holds only as many others as are left."""
    cost, waits = _costs(), np.arange(20_000) % 20 == 0
    most = np.array([1.0, 0.08, 0.02, 0.01])
    found = learned_thresholds(weighed_cost_fen=cost, most_share=most, anyway=waits.astype(int))
    choice = np.argmin(cost + found.by_action, axis=1)
    held = (choice == 1) | (waits & (choice == 0))
    assert 0.07 < held.mean() <= 0.0801
    assert (_shares(cost, found)[2:] <= most[2:]).all()


def test_what_rules_send_to_people_takes_their_places_too() -> None:
    """Reviews and refusals that rules ask for count towards their shares; holds are no place for either."""
    cost, rows = _costs(), np.arange(20_000)
    least = np.where(rows % 50 == 0, 2, np.where(rows % 100 == 1, 3, 0))
    most = np.array([1.0, 0.08, 0.03, 0.02])
    found = learned_thresholds(weighed_cost_fen=cost, most_share=most, anyway=least)
    action = np.maximum(np.argmin(cost + found.by_action, axis=1), least)
    shares = np.bincount(action, minlength=4) / len(action)
    assert (shares[1:] <= most[1:] + 1e-12).all()
    assert (shares[1:] > 0.9 * most[1:]).all()


def test_shares_hold_in_every_stretch_of_time() -> None:
    """With a bad week in the period, the limits hold in that week too, and the other weeks have room to spare."""
    cost, waits = _costs(), np.arange(20_000) % 20 == 0
    cost[15_000:, 0] *= 1.5
    most = np.array([1.0, 0.08, 0.02, 0.01])
    found = learned_thresholds(weighed_cost_fen=cost, most_share=most, anyway=waits.astype(int), stretches=4)
    choice = np.argmin(cost + found.by_action, axis=1)
    choice[waits & (choice == 0)] = 1
    weeks = np.array([np.bincount(week, minlength=4) / 5_000 for week in np.split(choice, 4)])
    assert (weeks[:, 1:] <= most[1:] + 1e-4).all()
    assert weeks[3, 1] > 0.07 > weeks[:3, 1].mean()


def test_a_burst_that_rules_caught_closes_no_action() -> None:
    """Where rules filled the reviews of one stretch, the model still reviews about half of its usual share, and where
    they fill them in every stretch, none."""
    cost, rows = _costs(), np.arange(20_000)
    most = np.array([1.0, 0.08, 0.03, 0.02])

    def reviewed(caught: np.ndarray) -> float:
        least = np.where(caught, 2, 0)
        found = learned_thresholds(weighed_cost_fen=cost, most_share=most, anyway=least, stretches=4)
        return _shares(cost, found)[2] / most[2]

    usual = reviewed(rows < 0)
    burst = reviewed((rows > 15_000) & (rows % 25 == 0))
    assert 0.4 * usual < burst < usual
    assert reviewed(rows % 25 == 0) == 0.0


def test_no_more_honest_trades_are_refused_than_bearable() -> None:
    """Refusals stop where the honest ones expected among them reach their share, though there are places left."""
    rng = np.random.default_rng(2)
    face, probability = np.rint(rng.lognormal(10.5, 1.0, 20_000)), rng.beta(0.25, 4, 20_000)
    cost = decide(
        probability=probability,
        payout_fen=0.9 * face,
        face_value_fen=face,
        costs=Costs(),
        decision=DecisionCosts(fraud_weight=3.0),
    ).weighed_cost_fen
    honest, most = 1 - probability, np.array([1.0, 0.15, 0.05, 0.5])

    def refused(limit: HonestRefused | None) -> float:
        found = learned_thresholds(weighed_cost_fen=cost, most_share=most, honest=limit)
        choice = np.argmin(cost + found.by_action, axis=1)
        return float(honest[choice == 3].sum() / honest.sum())

    assert refused(None) > 0.02
    assert 0.009 < refused(HonestRefused(probability, 0.01)) <= 0.01
