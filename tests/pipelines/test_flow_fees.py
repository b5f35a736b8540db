"""Fees, tax and postage: told with the quote, taken at settlement, right to the fen; parcels ordered and followed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.recycling.accounts import LOGISTICS, LOSSES, REVENUE, STOCK, cash, seller, tax
from pipelines.recycling.adapters.logistics import Shipment
from pipelines.recycling.adapters.outcomes import Outcome
from pipelines.recycling.charges import charged, charges_of
from pipelines.recycling.disputes import Complained
from pipelines.recycling.ledger import balance
from pipelines.recycling.ledger_audit import audit, books_sum
from pipelines.recycling.people import People
from pipelines.recycling.policy import PROFILES, FlowPolicy
from pipelines.recycling.receipts import trade_amounts
from pipelines.recycling.taxes import Rate, Rates
from tests.pipelines.recycling_world import FUNDS_FEN, NOW, World, open_world


def rate(name: str, of: str, bps: int, kind: str = "vat", mode: str = "on") -> Rate:
    said = {"name": name, "mode": mode, "kind": kind, "of": of, "rate_bps": bps, "from": date(2020, 1, 1)}
    return Rate.model_validate(said | {"source_zh": "测试", "source_en": "test"})


RATES = Rates((rate("fee_vat", "revenue", 600), rate("income", "payout", 100, "income")), "v1")
FEE_BPS, PHYSICAL_FEE_BPS, POSTAGE_FEN = 333, 800, 1_200


@dataclass
class FakeCarrier:
    """Orders each parcel once; where it is, and whether it answers, is for the test to say."""

    where: str = "on_the_way"
    trouble: str = ""
    ordered: dict[str, str] = field(default_factory=dict)
    tracked: int = 0

    def order(self, *, shipment_id: str, address_ref: str, direction: str) -> Outcome[Shipment]:
        if self.trouble:
            return Outcome(self.trouble)  # pyright: ignore[reportArgumentType]
        self.ordered.setdefault(shipment_id, address_ref)
        return self._parcel(shipment_id)

    def track(self, shipment_id: str) -> Outcome[Shipment]:
        self.tracked += 1
        if self.trouble:
            return Outcome(self.trouble)  # pyright: ignore[reportArgumentType]
        return self._parcel(shipment_id)

    def _parcel(self, shipment_id: str) -> Outcome[Shipment]:
        where: Any = self.where
        return Outcome("ok", Shipment(shipment_id, "SF1", "https://carrier.example/1", where, 1_500))


def charging(world: World, *, rates: Rates = RATES, carrier: FakeCarrier | None = None, **fees: int) -> World:
    """The same platform with fees, taxes and a carrier."""
    policies = {name: replace(policy, **fees) for name, policy in PROFILES.items()}
    flow = replace(world.flow, policies=policies, rates=rates, logistics=carrier)  # pyright: ignore[reportArgumentType]
    return replace(world, flow=flow, people=People(flow, world.engine))


@pytest.fixture
def plain(tmp_path: Path) -> World:
    return open_world(tmp_path)


@pytest.fixture
def carrier() -> FakeCarrier:
    return FakeCarrier()


@pytest.fixture
def world(plain: World, carrier: FakeCarrier) -> World:
    return charging(
        plain, carrier=carrier, fee_bps=FEE_BPS, physical_fee_bps=PHYSICAL_FEE_BPS, postage_fen=POSTAGE_FEN
    )


def fen(world: World, account: Any) -> int:
    with world.engine.connect() as connection:
        return balance(connection, account).fen


def assert_books(world: World) -> None:
    with world.engine.connect() as connection:
        assert books_sum(connection) == 0
        found = audit(connection)
    assert (found.differences, found.faults) == ((), ())


def test_the_seller_is_paid_what_was_shown(world):
    """Of a price of 450.00 the fee, 3.33 %, is 14.98 (rounded down) and the tax 4.50: shown, frozen and paid is 430.52,
    the seller is owed nothing more, and the receipt's amounts add up."""
    one = world.submit()
    world.work()
    assert world.trade(one)["payout_fen"] == 43_052
    world.accept(one)
    world.work()
    assert world.provider.paid == {f"{one}-payout-1": 43_052}
    assert (fen(world, STOCK), fen(world, seller("s-1"))) == (45_000, 0)
    assert fen(world, tax("income")) == 450
    assert fen(world, tax("vat")) == 89  # 6 % of the fee, rounded down
    assert fen(world, REVENUE) == 1_498 - 89
    assert fen(world, cash("bank")) == FUNDS_FEN - 43_052
    with world.engine.connect() as connection:
        amounts = trade_amounts(connection, trade_id=one, seller_ref="s-1")
    assert (amounts.price_fen, amounts.fee_fen, amounts.tax_fen) == (45_000, 1_498, 450)
    assert (amounts.logistics_fen, amounts.paid_fen, amounts.owed_fen) == (0, 43_052, 0)
    assert_books(world)


def test_without_fees_the_price_is_paid(plain):
    """Nothing set, nothing taken: one purchase and one payout of the whole price."""
    world = charging(plain, rates=Rates((rate("off", "payout", 500, mode="off"),), "v0"))
    one = world.submit()
    world.work()
    world.accept(one)
    world.work()
    assert world.provider.paid == {f"{one}-payout-1": 45_000}
    assert (fen(world, STOCK), fen(world, REVENUE)) == (45_000, 0)


def test_a_physical_card_pays_its_own_fee_and_postage(world, carrier):
    """8 % of 450.00, 12.00 for the label and 1 % tax come off; the label was ordered once, before the money moved."""
    one = world.submit(card_form="physical")
    world.work()
    assert world.trade(one)["payout_fen"] == 45_000 - 3_600 - 1_200 - 450
    world.accept(one)
    world.work()
    assert (world.state(one), carrier.ordered) == ("shipping", {f"{one}-in": "s-1"})
    assert world.trade(one)["facts"]["shipment"]["tracking_number"] == "SF1"
    world.people.unpacked(one, by="warehouse-1", film_sha256="ab" * 32)
    world.work()
    assert world.state(one) == "paid"
    assert (fen(world, LOGISTICS), fen(world, seller("s-1"))) == (1_200, 0)
    assert_books(world)


def test_a_carrier_in_trouble_delays_the_label_alone(world, carrier):
    """While the carrier cannot answer the trade stays accepted with that trouble and no money reserved."""
    carrier.trouble = "busy"
    one = world.submit(card_form="physical")
    world.work()
    world.accept(one)
    world.work()
    waiting = world.trade(one)
    assert (waiting["state"], waiting["trouble"]) == ("accepted", "logistics_busy")
    assert fen(world, cash("bank")) == FUNDS_FEN
    carrier.trouble = ""
    world.clock.forward(seconds=2)
    world.work()
    assert world.state(one) == "shipping"


@pytest.mark.parametrize(("where", "why"), [("lost", "parcel_lost"), ("returned", "parcel_came_back")])
def test_a_parcel_that_does_not_come_frees_its_money(world, carrier, where, why):
    """Lost or on its way back: the trade ends with that reason, long before the time for it is over."""
    one = shipping(world)
    carrier.where = where
    world.clock.forward(hours=6)
    world.work()
    assert world.state(one) == "returned"
    assert last_reason(world, one) == why
    with world.engine.connect() as connection:
        assert balance(connection, cash("bank")).available_fen == FUNDS_FEN
    assert_books(world)


def test_a_parcel_that_arrived_waits_to_be_unpacked(world, carrier):
    """Delivered: nobody gives it up however long it takes to unpack it, and the carrier is asked no more."""
    one = shipping(world)
    world.clock.forward(hours=6)
    world.work()
    assert (world.state(one), carrier.tracked) == ("shipping", 1)
    carrier.where = "delivered"
    world.clock.forward(hours=6)
    world.work()
    world.clock.forward(days=30)
    world.work()
    assert (world.state(one), carrier.tracked) == ("shipping", 2)
    world.people.unpacked(one, by="warehouse-1", film_sha256="ab" * 32)
    world.work()
    assert world.state(one) == "paid"


def test_a_parcel_is_not_given_up_while_the_carrier_is_silent(world, carrier):
    """After two weeks without an answer it may be at our door: it is given up only once the carrier says that it is
    not; one still on its way by then is not coming."""
    one = shipping(world)
    carrier.trouble = "unreachable"
    world.clock.forward(days=15)
    world.work()
    assert (world.state(one), world.trade(one)["trouble"]) == ("shipping", "logistics_unreachable")
    carrier.trouble = ""
    world.clock.forward(hours=1)
    world.work()
    assert (world.state(one), last_reason(world, one)) == ("returned", "never_arrived")


def test_a_physical_card_quoted_again_is_here_already(world, carrier):
    """Unpacked, found to hold less, quoted again with the charges of the new price, accepted: it is not sent twice."""
    one = shipping(world)
    world.issuer.balance_fen = 30_000
    world.people.unpacked(one, by="warehouse-1", film_sha256="ab" * 32)
    world.work()
    net = 27_000 - 2_160 - 1_200 - 270
    assert (world.state(one), world.trade(one)["payout_fen"]) == ("quoted", net)
    world.accept(one)
    world.work()
    assert world.provider.paid == {f"{one}-payout-1": net}
    assert (len(carrier.ordered), fen(world, STOCK), fen(world, seller("s-1"))) == (1, 27_000, 0)
    assert_books(world)


def test_charges_above_the_price_are_no_offer(world):
    """A physical card that is worth less than its label is not bought."""
    world.issuer.balance_fen = 1_000
    one = world.submit(card_form="physical")
    world.work()
    assert (world.state(one), last_reason(world, one)) == ("rejected", "no_offer")


def test_a_card_that_is_worth_less_than_its_charges_in_the_end_comes_back(world):
    """Found nearly empty when it was unpacked: no new quote, the money is free."""
    one = shipping(world)
    world.issuer.balance_fen = 1_000
    world.people.unpacked(one, by="warehouse-1", film_sha256="ab" * 32)
    world.work()
    assert (world.state(one), last_reason(world, one)) == ("returned", "no_offer")
    assert_books(world)


def test_a_reversed_trade_writes_off_what_the_card_cost(world):
    """The loss is the price in the stock, not what the seller was paid after charges."""
    one = world.submit()
    world.work()
    world.accept(one)
    world.work()
    world.disputes.complain(one, Complained("already_redeemed", "test"), by="buyer-1")
    world.disputes.judge(one, verdict="against_trade", by="analyst-1", reason="test")
    assert (fen(world, STOCK), fen(world, LOSSES)) == (0, 45_000)
    assert_books(world)


def test_a_failed_payout_is_sent_again_net(world):
    """What is taken out once more is what the seller accepted, and the charges are taken once."""
    world.provider.mood = "refuses"
    one = world.submit()
    world.work()
    world.accept(one)
    world.work()
    assert fen(world, seller("s-1")) == 43_052
    world.provider.mood = "pays"
    world.people.pay_again(one, by="operator-1", reason="test")
    world.work()
    assert world.provider.paid == {f"{one}-payout-2": 43_052}
    assert (fen(world, seller("s-1")), fen(world, tax("income"))) == (0, 450)
    assert_books(world)


@given(
    price=st.integers(1, 10**9),
    fee=st.integers(0, 5_000),
    postage=st.integers(0, 5_000),
    bps=st.integers(0, 5_000),
    physical=st.booleans(),
)
@settings(deadline=None, max_examples=200)
def test_charges_add_up_to_the_price(price, fee, postage, bps, physical):
    """Whatever the rates: payout, fee, postage and tax are the price to the fen, and nothing is rounded up."""
    policy = FlowPolicy("head", fee_bps=fee, postage_fen=postage)
    rates = Rates((rate("one", "payout", bps), rate("two", "payout", bps, "income")), "v")
    found = charges_of(charged(price, policy=policy, rates=rates, physical=physical, moment=NOW))
    assert found.net_fen + found.fee_fen + found.postage_fen + found.tax_fen == price
    assert found.fee_fen * 10_000 <= price * fee
    assert found.postage_fen == (postage if physical else 0)


def shipping(world: World) -> str:
    one = world.submit(card_form="physical")
    world.work()
    world.accept(one)
    world.work()
    assert world.state(one) == "shipping"
    return one


def last_reason(world: World, submission_id: str) -> str:
    from pipelines.recycling.trades import steps_of

    with world.engine.connect() as connection:
        return steps_of(connection, submission_id)[-1]["why"]
