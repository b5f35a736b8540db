"""Disputes: who must answer by when, what happens where nobody does, and where the deposits go."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.recycling import bookings, ledger
from pipelines.recycling.accounts import LOSSES, STOCK, Party, cash, deposit, seller
from pipelines.recycling.dispute_tables import newest
from pipelines.recycling.disputes import OVERDUE, Complained
from pipelines.recycling.ledger import balance
from pipelines.recycling.people import DecisionRefused
from tests.pipelines.recycling_world import FUNDS_FEN, World, open_world
from tests.pipelines.test_flow import assert_books

EMPTY = Complained("already_redeemed", "found it empty", buyer_ref="b-1")


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = open_world(tmp_path)
    parties: tuple[tuple[Party, str, int], ...] = (("seller", "s-1", 20_000), ("buyer", "b-1", 3_000))
    for party, reference, amount in parties:
        held = bookings.hold_deposit(
            transfer_id=f"deposit/{party}",
            party=party,
            reference=reference,
            amount_fen=amount,
            other=cash("bank"),
        )
        with world.engine.begin() as connection:
            ledger.post(connection, held, now=world.clock.now)
    return world


def paid(world: World, *, face_fen: int = 50_000) -> str:
    world.issuer.balance_fen = face_fen
    one = world.submit(1, face_fen=face_fen)
    world.work()
    world.accept(one)
    world.work()
    assert world.state(one) == "paid"
    return one


def available(world: World, party: Party, reference: str) -> int:
    with world.engine.connect() as connection:
        return balance(connection, deposit(party, reference)).available_fen


def dispute_of(world: World, one: str):
    with world.engine.connect() as connection:
        found = newest(connection, one)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("verdict", "sellers", "buyers"), [("against_trade", 15_500, 7_500), ("for_trade", 23_000, 0)]
)
def test_who_is_right_gets_both_stakes(world, verdict, sellers, buyers):
    """A tenth of the price is held of each deposit, as far as it reaches; afterwards all of it is the winner's."""
    one = paid(world)
    world.disputes.complain(one, EMPTY, by="buyer-desk")
    assert (available(world, "seller", "s-1"), available(world, "buyer", "b-1")) == (15_500, 0)
    world.disputes.judge(one, verdict=verdict, by="analyst-1", reason="issuer's log")
    assert available(world, "seller", "s-1") == sellers
    assert available(world, "buyer", "b-1") == buyers
    assert_books(world)


def test_who_does_not_answer_is_decided_against(world):
    """On the first moment after the deadline, not before, the machine reverses the trade, and the models are told."""
    one = paid(world)
    world.disputes.complain(one, EMPTY, by="buyer-desk")
    world.clock.forward(days=6, hours=23)
    world.work()
    assert world.state(one) == "disputed"
    world.clock.forward(hours=1)
    world.work()
    assert (world.state(one), dispute_of(world, one)["rule"]) == ("reversed", "no_answer")
    assert f"{one}-fraud_confirmed" in world.pricing.told
    assert_books(world)


def test_what_is_answered_and_never_decided_goes_to_the_seller(world):
    """The platform's own delay costs it, not the seller; it says nothing about the card, so no label is told."""
    one = paid(world)
    world.disputes.complain(one, EMPTY, by="buyer-desk")
    world.disputes.answer(one, by="seller-app", reason="I never used it", as_seller=True)
    world.clock.forward(days=8)
    world.work()
    assert world.state(one) == "disputed"
    world.clock.forward(days=13)
    world.work()
    assert (world.state(one), dispute_of(world, one)["rule"]) == ("closed", "not_decided")
    assert not [name for name in world.pricing.told if "fraud" in name]
    assert_books(world)


def test_no_rule_decides_a_large_dispute(world):
    """Its time over, a trade above the policy's amount says so and waits for two people."""
    one = paid(world, face_fen=200_000)
    world.disputes.complain(one, EMPTY, by="buyer-desk")
    world.clock.forward(days=30)
    world.work()
    assert (world.state(one), world.trade(one)["trouble"]) == ("disputed", OVERDUE)
    for analyst in ("analyst-1", "analyst-2"):
        world.disputes.judge(one, verdict="for_trade", by=analyst, reason="issuer's log")
    assert world.state(one) == "closed"
    assert_books(world)


@pytest.mark.parametrize("silent", [False, True])
def test_a_seller_who_is_right_is_paid_what_is_missing(world, silent):
    """Found by a person or because the platform did not answer: once, out of the channel's cash; no label is told."""
    one = paid(world)
    said = Complained("wrong_value", "it held 520", complainant="seller", claim_fen=1_800)
    world.disputes.complain(one, said, by="seller-app")
    with pytest.raises(DecisionRefused) as refused:
        world.disputes.answer(one, by="seller-app", reason="I am right", as_seller=True)
    assert refused.value.code == "not_yours_to_answer"
    if silent:
        world.clock.forward(days=7)
    else:
        world.disputes.judge(
            one, verdict="against_trade", by="analyst-1", reason="so it was", award_fen=1_800
        )
    world.work()
    assert world.state(one) == "paid"
    assert world.provider.paid == {f"{one}-payout-1": 45_000, f"{one}-payout-2": 1_800}
    with world.engine.connect() as connection:
        held = balance(connection, cash("bank")).fen, balance(connection, seller("s-1")).fen
        assert balance(connection, STOCK).fen == 46_800
        assert balance(connection, LOSSES).fen == 0
    assert held == (FUNDS_FEN + 23_000 - 46_800, 0)
    assert not [name for name in world.pricing.told if "fraud" in name]
    world.disputes.complain(one, EMPTY, by="buyer-desk")
    world.disputes.judge(one, verdict="against_trade", by="analyst-1", reason="redeemed before")
    assert dispute_of(world, one)["cost_fen"] == 46_800
    assert_books(world)


def test_what_cannot_be_claimed_or_awarded_is_refused(world):
    """A claim above face value or of a buyer, and an award above the claim: each by name, and nothing is changed."""
    one = paid(world)
    wrong = [
        Complained("not_received", "all of it", complainant="seller", claim_fen=50_001),
        Complained("not_received", "all of it", complainant="buyer", claim_fen=1),
    ]
    for said in wrong:
        with pytest.raises(DecisionRefused) as refused:
            world.disputes.complain(one, said, by="app")
        assert refused.value.code == "bad_claim"
    world.disputes.complain(one, Complained("not_received", "nothing came", "seller"), by="app")
    for award in (0, 45_001):
        with pytest.raises(DecisionRefused) as refused:
            world.disputes.judge(one, verdict="against_trade", by="a", reason="r", award_fen=award)
        assert refused.value.code == "bad_award"
    assert world.state(one) == "disputed"
