"""Physical cards that are not bought go back with a label; the carrier's bill is booked against what it asked."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipelines.recycling.accounts import CARRIAGE, LOGISTICS, cash
from pipelines.recycling.carrier_bills import BillError, BillLine, book_bill, parse_bill, pay_carrier
from pipelines.recycling.intake import IntakeRefused
from pipelines.recycling.people import DecisionRefused
from tests.pipelines.recycling_world import FUNDS_FEN
from tests.pipelines.test_flow import assert_books
from tests.pipelines.test_flow_fees import carrier, fen, plain, shipping, world

__all__ = ["carrier", "plain", "world"]  # fixtures


def unpacked(world, *, balance_fen: int = 50_000, standing: str = "active") -> str:
    one = shipping(world)
    world.issuer.balance_fen, world.issuer.standing = balance_fen, standing
    world.people.unpacked(one, by="warehouse-1", film_sha256="ab" * 32)
    world.work()
    return one


def back(world, one: str) -> dict:
    return world.trade(one)["facts"]["return"]


def test_a_dead_card_goes_back_with_a_label(world, carrier):
    """Found used when it was unpacked: its money is free, a label for the way back is ordered once, and it is looked
    after until it is there."""
    one = unpacked(world, standing="used")
    assert world.state(one) == "returned"
    assert carrier.ordered == {f"{one}-in": "s-1", f"{one}-back": "s-1"}
    assert back(world, one)["whereabouts"] == "on_the_way"
    carrier.where = "delivered"
    world.clock.forward(hours=6)
    world.work()
    assert back(world, one)["whereabouts"] == "delivered"
    assert (world.trade(one)["due_at"], world.trade(one)["trouble"]) == (None, "")
    assert fen(world, cash("bank")) == FUNDS_FEN
    assert_books(world)


def test_a_quote_that_is_not_agreed_again_sends_the_card_back(world, carrier):
    """Quoted again at what it holds and declined: back at once. Left to lapse it stays three days for a new question,
    which costs no second label; then it goes back, and cannot be quoted any more."""
    declined = unpacked(world, balance_fen=30_000)
    world.intake.decline(declined, by="app")
    world.work()
    assert f"{declined}-back" in carrier.ordered
    world.issuer.balance_fen = 50_000
    one = world.submit(2, card_form="physical")
    world.work()
    world.accept(one)
    world.work()
    world.issuer.balance_fen = 30_000
    world.people.unpacked(one, by="warehouse-1", film_sha256="ab" * 32)
    world.work()
    world.clock.forward(minutes=31)
    world.work()
    assert (world.state(one), "return" in world.trade(one)["facts"]) == ("lapsed", False)
    world.intake.ask_again(one, by="app")
    world.work()
    world.accept(one)
    world.work()
    assert world.state(one) == "paid"
    other = unpacked_lapsed(world)
    world.clock.forward(days=3)
    world.work()
    with pytest.raises(IntakeRefused) as refused:
        world.intake.ask_again(other, by="app")
    assert refused.value.code == "sent_back"
    assert_books(world)


def unpacked_lapsed(world) -> str:
    world.issuer.balance_fen = 50_000
    one = world.submit(3, card_form="physical")
    world.work()
    world.accept(one)
    world.work()
    world.issuer.balance_fen = 20_000
    world.people.unpacked(one, by="warehouse-1", film_sha256="ab" * 32)
    world.work()
    world.clock.forward(minutes=31)
    world.work()
    return one


def test_a_card_is_sent_back_by_hand_where_nobody_carries(world, carrier):
    """Without a carrier, and lost on the way: the trouble says so until somebody notes a tracking number."""
    one = shipping(world)
    alone = replace(world, flow=replace(world.flow, logistics=None))
    world.issuer.standing = "used"
    world.people.unpacked(one, by="warehouse-1", film_sha256="ab" * 32)
    alone.work()
    assert world.trade(one)["trouble"] == "return_by_hand"
    world.people.sent_back(one, by="warehouse-1", tracking_number="EMS-1")
    assert (back(world, one)["tracking_number"], world.trade(one)["trouble"]) == ("EMS-1", "")
    with pytest.raises(DecisionRefused):
        world.people.sent_back(one, by="warehouse-1", tracking_number="EMS-2")


def test_a_bill_is_booked_once_and_paid(world, carrier):
    """The seller's postage covers a label as far as it goes, and none of the way back; what differs, is not ours or not
    over waits. Paid, the carrier is owed nothing, and carriage is what the platform bore."""
    bought = unpacked(world)
    sent = unpacked_lapsed(world)
    on_the_way = world.submit(4, card_form="physical")
    world.issuer.balance_fen = 50_000
    world.work()
    world.accept(on_the_way)
    world.clock.forward(days=3)
    world.work()
    asked = world.trade(bought)["facts"]["shipment"]["carrier_fee_fen"]
    lines = [
        BillLine(f"{bought}-in", asked),
        BillLine(f"{sent}-back", asked),
        BillLine(f"{sent}-in", asked + 1),
        BillLine(f"{on_the_way}-in", asked),
        BillLine("r-9-in", asked),
    ]
    with world.engine.begin() as connection:
        found = book_bill(connection, lines, invoice="i-1", now=world.clock.now)
        assert [item.verdict for item in found] == [
            "booked",
            "booked",
            "other_fee",
            "too_early",
            "unknown_parcel",
        ]
        again = book_bill(connection, lines[:1], invoice="i-1", now=world.clock.now)
        other = book_bill(connection, lines[:1], invoice="i-2", now=world.clock.now)
        assert (again[0].verdict, other[0].verdict) == ("booked_before", "twice")
        accepted = book_bill(
            connection, lines[2:3], invoice="i-1", now=world.clock.now, accept=[f"{sent}-in"], by="clerk-1"
        )
        assert accepted[0].verdict == "booked"
    assert fen(world, CARRIAGE) == 3 * asked + 1 - 1_200
    with world.engine.begin() as connection:
        assert pay_carrier(connection, invoice="i-1", channel="bank", now=world.clock.now) == (
            3 * asked + 1,
            True,
        )
        assert pay_carrier(connection, invoice="i-1", channel="bank", now=world.clock.now)[1] is False
    assert fen(world, LOGISTICS) == 0
    assert_books(world)


@pytest.mark.parametrize(
    "text", ["parcel,fee\n", "shipment_id,fee_cny\nx,1.005\n", "shipment_id,fee_fen\n,5\n"]
)
def test_a_bill_that_cannot_be_read_is_refused_whole(text):
    """Wrong columns, half a fen, no parcel."""
    with pytest.raises(BillError):
        parse_bill(text)
