"""Disputes: who must answer by when, what happens where nobody does, and where the deposits go."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.recycling import bookings, ledger
from pipelines.recycling.accounts import LOSSES, STOCK, Party, cash, deposit, seller
from pipelines.recycling.dispute_tables import awarded_fen, newest
from pipelines.recycling.disputes import OVERDUE, Complained, Complaint
from pipelines.recycling.ledger import balance
from pipelines.recycling.people import DecisionRefused
from tests.pipelines.recycling_world import FUNDS_FEN, World, open_world
from tests.pipelines.test_flow import assert_books

EMPTY = Complained("already_redeemed", "found it empty", buyer_ref="b-1")


@pytest.fixture
def world(tmp_path: Path, each_database: str) -> World:
    world = open_world(tmp_path, url=each_database)
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
    assert f"{world.known_as(one)}-fraud_confirmed" in world.pricing.told
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
    """A claim of nothing, of more than the trade can still pay or of a buyer, and an award above the claim: each by
    name, and nothing is changed."""
    one = paid(world)
    wrong = [
        Complained("not_received", "all of it", complainant="seller", claim_fen=45_001),
        Complained("not_received", "nothing of it", complainant="seller", claim_fen=0),
        Complained("wrong_value", "it held more", complainant="seller", claim_fen=5_001),
        Complained("wrong_value", "nothing of it", complainant="seller", claim_fen=0),
        Complained("wrong_value", "who knows", complainant="seller"),
        Complained("not_received", "all of it", complainant="buyer", claim_fen=1),
        Complained("not_received", "nothing of it", complainant="buyer", claim_fen=0),
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


def awarded(world: World, one: str, kind: Complaint, claim_fen: int | None) -> str:
    """What comes of a seller's complaint that the platform finds right; the code where it is refused."""
    said = Complained(kind, "so it is", complainant="seller", claim_fen=claim_fen)
    try:
        world.disputes.complain(one, said, by="seller-app")
    except DecisionRefused as refusal:
        return refusal.code
    for analyst in ("analyst-1", "analyst-2"):
        if world.state(one) == "disputed":
            world.disputes.judge(one, verdict="against_trade", by=analyst, reason="so it was")
    world.work()
    return world.state(one)


def test_a_seller_is_not_paid_without_end(world):
    """However often a seller complains: what did not come is paid once more, and payout and whatever else is found come
    to the face value at most. Nothing beyond is taken up, and the books agree with the provider."""
    one = paid(world)
    assert awarded(world, one, "not_received", None) == "paid"
    assert awarded(world, one, "not_received", None) == "bad_claim"
    assert awarded(world, one, "not_received", 1) == "bad_claim"
    assert awarded(world, one, "wrong_value", 3_000) == "paid"
    assert awarded(world, one, "stolen_card", 2_001) == "bad_claim"
    assert awarded(world, one, "already_redeemed", 2_000) == "paid"
    assert awarded(world, one, "wrong_value", 1) == "bad_claim"
    assert world.state(one) == "paid"
    assert sorted(world.provider.paid.values()) == [2_000, 3_000, 45_000, 45_000]
    with world.engine.connect() as connection:
        assert awarded_fen(connection, world.trade(one)) == 50_000
    assert_books(world)


def test_slices_of_a_large_claim_need_two_people(world):
    """Payout, earlier awards and claim count together: a small claim is decided by no rule and by two people once the
    trade has paid enough."""
    one = paid(world, face_fen=60_000)  # pays 54,000
    assert awarded(world, one, "not_received", 40_000) == "paid"
    said = Complained("not_received", "the rest", complainant="seller")
    world.disputes.complain(one, said, by="seller-app")
    assert dispute_of(world, one)["claim_fen"] == 14_000
    world.clock.forward(days=30)
    world.work()
    assert (world.state(one), world.trade(one)["trouble"]) == ("disputed", OVERDUE)
    world.disputes.judge(one, verdict="against_trade", by="analyst-1", reason="so it was")
    assert world.state(one) == "disputed"
    with pytest.raises(DecisionRefused) as refused:
        world.disputes.judge(one, verdict="against_trade", by="analyst-1", reason="so it was")
    assert refused.value.code == "second_person"
    world.disputes.judge(one, verdict="against_trade", by="analyst-2", reason="so it was")
    world.work()
    assert sum(world.provider.paid.values()) == 2 * 54_000
    assert_books(world)
