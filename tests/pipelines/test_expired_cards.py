"""Cards that have expired, or are said to: priced on the issuer's day, bought where they can be re-activated."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from pipelines.partner_settings import AdapterSettings
from pipelines.recycling.adapters import connect
from pipelines.recycling.flow import expires_on
from pipelines.recycling.trades import steps_of
from serving.sandbox.app import create_app
from tests.pipelines.recycling_world import World, open_world
from tests.pipelines.test_flow import assert_books

LATER, PAST = "2028-12-31", "2024-12-31"
ACTIVE, REACTIVATABLE, GONE = 0, 84, 85
"""Last digits of numbers of the sandbox's issuer."""


@pytest.fixture
def world(tmp_path: Path) -> World:
    return open_world(tmp_path)


@pytest.fixture
def with_sandbox(world: World) -> World:
    """The issuer is the sandbox's."""
    settings = AdapterSettings(attempts=1, issuer_url="http://localhost:8800/issuer")
    client = TestClient(create_app(), base_url="http://localhost:8800")
    issuer = connect(settings, client=client, sleep=lambda seconds: None).issuer
    return replace(world, flow=replace(world.flow, issuer=issuer))


def why(world: World, one: str) -> str:
    with world.engine.connect() as connection:
        return steps_of(connection, one)[-1]["why"]


def sold(world: World, number: int, **card: str) -> str:
    one = world.submit(number, **card)
    world.work()
    if world.state(one) == "quoted":
        world.accept(one)
        world.work()
    return one


@pytest.mark.parametrize("said", [LATER, PAST, None])
@pytest.mark.parametrize(
    ("number", "day", "fen"), [(ACTIVE, "2035-12-31", 45_000), (REACTIVATABLE, PAST, 500)]
)
def test_a_card_is_priced_on_its_issuers_day(with_sandbox, said, number, day, fen):
    """Whatever the seller said: a valid card brings its price, an expired one that can be re-activated its small one,
    and both go through. The pricing API knows the card under the trade's own id, with that day."""
    world = with_sandbox
    one = sold(world, number, **({} if said is None else {"expires_on": said}))
    assert (world.state(one), expires_on(world.trade(one))) == ("paid", day)
    assert world.provider.paid == {f"{one}-payout-1": fen}
    assert {name: card["expires_on"] for name, card in world.pricing.cards.items()} == {
        world.known_as(one): day
    }
    assert_books(world)


@pytest.mark.parametrize("said", [LATER, PAST])
def test_a_card_that_expired_for_good_gets_no_quote(with_sandbox, said):
    """Nobody can have its balance again, so it is refused before it is priced, and says why."""
    one = sold(with_sandbox, GONE, expires_on=said)
    assert (with_sandbox.state(one), why(with_sandbox, one)) == ("rejected", "card_expired_for_good")
    assert with_sandbox.pricing.quotes == {}


@pytest.mark.parametrize("card", [{"expires_on": LATER}, {}])
def test_an_expired_card_is_not_priced_as_a_valid_one(world, card):
    """An issuer that calls a card expired and names no day does not get it priced on a day to come, or on none."""
    world.issuer.standing = "expired"
    one = sold(world, 1, **card)
    assert (world.state(one), why(world, one)) == ("rejected", "card_expiry_unclear")
    assert world.pricing.quotes == {}
    honest = sold(world, 2, expires_on=PAST)
    assert world.provider.paid == {f"{honest}-payout-1": 500}


def test_a_card_that_expires_after_acceptance_is_quoted_again(world):
    """Its issuer's day has passed, or is another, when it is taken over: the seller gets a new quote, and what the
    models hear of afterwards is that card."""
    world.issuer.expires_on = date(2026, 3, 1)
    one = world.submit(1, expires_on=LATER)
    world.work()
    world.accept(one)
    world.clock.forward(days=1)
    world.issuer.standing = "expired"
    world.work()
    trade = world.trade(one)
    assert (trade["state"], trade["payout_fen"], trade["first_payout_fen"]) == ("quoted", 500, 45_000)
    world.accept(one)
    world.issuer.expires_on, world.issuer.standing = date(2030, 1, 1), "active"
    world.work()
    trade = world.trade(one)
    assert (trade["state"], trade["payout_fen"], expires_on(trade)) == ("quoted", 45_000, "2030-01-01")
    world.accept(one)
    world.work()
    assert world.provider.paid == {f"{one}-payout-1": 45_000}
    known_as = world.known_as(one)
    assert known_as.startswith(f"{one}-2030-01-01/")
    assert world.pricing.told[f"{known_as}-accepted"]["trade_id"] == known_as
    assert_books(world)


def test_a_card_that_expired_for_good_meanwhile_comes_back(world):
    """It is returned by that name, and nothing is paid or kept reserved."""
    world.issuer.expires_on = date(2026, 3, 1)
    one = world.submit(1)
    world.work()
    world.accept(one)
    world.clock.forward(days=1)
    world.issuer.standing, world.issuer.reactivatable = "expired", False
    world.work()
    assert (world.state(one), why(world, one)) == ("returned", "card_expired_for_good")
    assert world.provider.paid == {}
    assert_books(world)
