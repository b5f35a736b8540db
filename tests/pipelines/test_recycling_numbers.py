"""The numbers the trade watches: each counts what its name says, of the profile and the period that is asked for."""

from __future__ import annotations

import math
from datetime import timedelta

import pytest

from pipelines.recycling import bookings, ledger
from pipelines.recycling.disputes import Complained
from pipelines.recycling.numbers import TradeNumbers, trade_numbers
from tests.pipelines.recycling_world import World, open_world
from tests.pipelines.test_flow_fees import charging


@pytest.fixture
def world(tmp_path, each_database: str) -> World:
    return open_world(tmp_path, url=each_database)


def numbers(world: World, **asked) -> TradeNumbers:
    with world.engine.connect() as connection:
        return trade_numbers(connection, **asked)


def sold(world: World, number: int) -> str:
    """A card that is bought and paid."""
    one = world.submit(number)
    world.work()
    world.accept(one)
    world.work()
    assert world.state(one) == "paid"
    return one


def test_nothing_has_no_shares(world):
    """Without trades there are no sums, and shares and medians are no numbers."""
    found = numbers(world)
    assert (found.trades, found.stock_fen, found.paid_fen, found.lost_fen) == (0, 0, 0, 0)
    assert math.isnan(found.refused_share)
    assert math.isnan(found.response_seconds_p50)
    assert math.isnan(found.complaint_cost_fen)


def test_what_became_of_trades(world):
    """Of a paid, a refused and a second card of the paid one's seller: shares, stock, and who came back."""
    sold(world, 1)
    world.issuer.standing = "used"
    world.submit(2)
    world.work()
    world.issuer.standing = "active"
    sold(world, 8)  # of the same seller as the first
    found = numbers(world)
    assert found.states == {"paid": 2, "rejected": 1}
    assert found.refused_share == pytest.approx(1 / 3)
    assert found.returning_share == pytest.approx(1 / 2)
    assert found.stock_fen == found.paid_fen == 90_000
    assert found.by_hand_share == 0


def test_an_answer_is_a_quote_or_a_refusal(world):
    """A submission that waits for a person is not answered before the person has decided."""
    world.pricing.decision = "review"
    one = world.submit()
    world.work()
    assert math.isnan(numbers(world).response_seconds_p50)
    world.clock.forward(hours=2)
    world.people.approve(one, by="analyst-1", reason="looks fine")
    world.work()
    found = numbers(world)
    assert found.response_seconds_p50 == 7_200
    assert found.by_hand_share == 1


def test_paid_after_counts_from_the_acceptance(world):
    """A held payout is paid a day after it was accepted, however long the seller thought."""
    world.pricing.decision = "hold"
    one = world.submit()
    world.work()
    world.clock.forward(minutes=20)
    world.accept(one)
    world.work()
    assert numbers(world).frozen_fen == 45_000
    world.clock.forward(hours=24)
    world.work()
    found = numbers(world)
    assert found.paid_seconds_p50 == 86_400
    assert (found.frozen_fen, found.paid_fen) == (0, 45_000)


def test_settled_below_the_accepted_quote_is_bait_and_cut(world):
    """A card quoted again for less after acceptance counts once it is settled; one that was not accepted does not."""
    sold(world, 1)
    one = world.submit(2)
    world.work()
    world.accept(one)
    world.issuer.balance_fen = 30_000
    world.work()
    assert numbers(world).bait_and_cut == 0
    world.accept(one)
    world.work()
    assert numbers(world).bait_and_cut == pytest.approx(1 / 2)


def test_a_complaint_has_a_share_and_a_cost(world):
    """One complaint against the trade and one for it: half the trades complained about cost what was paid for them."""
    trades = [sold(world, number) for number in (1, 2, 3, 4)]
    for one, verdict in zip(trades[:2], ("against_trade", "for_trade"), strict=True):
        world.disputes.complain(one, Complained("already_redeemed", "found it empty"), by="buyer-desk")
        world.disputes.judge(one, verdict=verdict, by="analyst-1", reason="looked at the evidence")
    found = numbers(world)
    assert found.complaint_share == pytest.approx(1 / 2)
    assert found.lost_fen == 45_000
    assert found.complaint_cost_fen == pytest.approx(22_500)
    assert found.stock_fen == 3 * 45_000


def test_of_a_profile_and_a_period(world):
    """Other profiles' trades and those submitted before the period are left out."""
    sold(world, 1)
    world.clock.forward(days=2)
    one = sold(world, 2)
    assert numbers(world, profile="small").trades == 0
    recent = numbers(world, profile="head", since=world.trade(one)["created_at"] - timedelta(hours=1))
    assert (recent.trades, recent.paid_fen) == (1, 45_000)
    assert recent.response_seconds_p50 == 0


def test_stock_is_what_cards_cost_and_charges_stand_apart(world):
    """Of a price of 450.00 with a fee of 3.33 % the stock holds all, the seller got the rest, and the difference is
    fees and tax; a card that was sold is in the stock no more."""
    charged = charging(world, fee_bps=333)
    sold(charged, 1)
    gone = sold(charged, 2)
    with world.engine.begin() as connection:
        leaves = bookings.sell_card(
            transfer_id="sold", trade_id=gone, channel="bank", cost_fen=45_000, proceeds_fen=48_000
        )
        ledger.post(connection, leaves, now=world.clock.now)
    found = numbers(world)
    assert (found.bought_fen, found.stock_fen, found.fees_fen) == (90_000, 45_000, 2 * 1_498)
    assert found.paid_fen == found.settled_fen == found.bought_fen - found.fees_fen - 2 * 450
    assert found.tax_fen == 2 * (450 + 89)
    assert (found.frozen_fen, found.lost_fen) == (0, 0)
