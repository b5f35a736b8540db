"""A card offered again: sent twice, offered twice at once, offered anew after its trade ended."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from pipelines.recycling.intake import IntakeRefused, Offered
from pipelines.recycling.secret import Secret
from pipelines.recycling.trades import steps_of
from tests.pipelines.recycling_world import World, offered, open_world

AT_ONCE = 8


@pytest.fixture(params=["sqlite", "postgresql"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    url = "" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    return open_world(tmp_path, url=url)


def end_of(world: World, card: Offered) -> str:
    """The id of the trade, or why it was refused."""
    try:
        return world.intake.submit(card, by="app")["submission_id"]
    except IntakeRefused as refused:
        return refused.code


def at_once(work: Callable[[int], str]) -> list[str]:
    """What came of it, all begun together."""
    ready = Barrier(AT_ONCE)

    def one(number: int) -> str:
        ready.wait()
        return work(number)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return sorted(pool.map(one, range(AT_ONCE)))


def cards_open(world: World, submission_id: str) -> list[str]:
    vault = world.flow.vault
    found = [ref.card_id for ref in vault.cards_of(submission_id)]
    return [one for one in found if not vault.holds(one, Secret("neither this nor any other"))]


def test_the_same_submission_many_times_at_once_is_one_trade(world):
    """All of them are answered with it, round after round, and its card is kept once."""
    for number in range(4):
        card = offered(number, submission_id=f"mine-{number}")
        assert at_once(lambda _, card=card: end_of(world, card)) == [f"mine-{number}"] * AT_ONCE
        assert len(cards_open(world, f"mine-{number}")) == 1
        with world.engine.connect() as connection:
            assert len(steps_of(connection, f"mine-{number}")) == 1


def test_of_different_cards_under_one_id_one_is_taken(world):
    """The others are refused, what the vault had of them is destroyed, and each can be offered under its own id."""
    ends = at_once(lambda number: end_of(world, offered(number, submission_id="mine")))
    assert ends == ["mine"] + ["submission_reused"] * (AT_ONCE - 1)
    assert cards_open(world, "mine") == [world.trade("mine")["card_id"]]
    ends = [end_of(world, offered(number, submission_id=f"other-{number}")) for number in range(AT_ONCE)]
    assert ends.count("card_known") == 1


def test_of_different_payees_under_one_id_one_is_taken(world):
    """The card that the others share with it stays in the vault."""
    card = offered(1, submission_id="mine")
    ends = at_once(lambda number: end_of(world, replace(card, payee_ref=f"payee-{number}")))
    assert ends == ["mine"] + ["submission_reused"] * (AT_ONCE - 1)
    assert cards_open(world, "mine") == [world.trade("mine")["card_id"]]


def test_of_many_trades_at_once_one_gets_the_card(world):
    """One card under eight ids is in one trade; the vault keeps it for no other."""
    ends = at_once(lambda number: end_of(world, offered(1, submission_id=f"mine-{number}")))
    assert ends[0:-1] == ["card_known"] * (AT_ONCE - 1)
    held = [number for number in range(AT_ONCE) if cards_open(world, f"mine-{number}")]
    assert [f"mine-{number}" for number in held] == ends[-1:]


CHANGES: dict[str, dict[str, Any]] = {
    "secret": {"secret": Secret("OTHEROTHER000001")},
    "number": {"number": Secret("JDV00000000000000009")},
    "channel": {"channel": "alipay"},
    "payee": {"payee_ref": "payee-9"},
    "face value": {"asked": offered(1, face_fen=60_000).asked},
}


@pytest.mark.parametrize("name", list(CHANGES))
@pytest.mark.parametrize("world", ["sqlite"], indirect=True)
def test_an_id_that_came_before_takes_nothing_else(world, name):
    """Whatever differs is refused, also of a trade that has ended, and by another client; nothing is ignored."""
    card = offered(1, submission_id="mine")
    assert end_of(world, card) == "mine"
    assert end_of(world, replace(card, **CHANGES[name])) == "submission_reused"
    world.intake.cancel("mine", by="app")
    assert end_of(world, replace(card, **CHANGES[name])) == "submission_reused"
    assert end_of(world, card) == "mine"
    with pytest.raises(IntakeRefused, match="another content"):
        world.intake.submit(card, by="another-app")


def ended_by(world: World, how: str) -> None:
    """End the trade of card 1 without buying it."""
    one = world.submit(1)
    if how == "cancelled":
        world.intake.cancel(one, by="app")
        return
    if how == "wrong secret":
        world.issuer.wrong_secrets.add(offered(1).secret.open())
    world.work()
    if how == "declined":
        world.intake.decline(one, by="app")
    if how == "lapsed":
        world.clock.forward(hours=1)
    if how == "returned":
        world.accept(one)
        world.issuer.standing = "frozen"
    world.work()
    world.issuer.standing = "active"


@pytest.mark.parametrize("how", ["cancelled", "declined", "lapsed", "returned", "wrong secret"])
@pytest.mark.parametrize("world", ["sqlite"], indirect=True)
def test_a_card_that_was_not_bought_can_be_offered_anew(world, how):
    """Under another id, with a secret that was typed rightly; its former trade cannot be taken up beside it."""
    ended_by(world, how)
    again = replace(offered(1, submission_id="again"), secret=Secret("RIGHTSECRET00001"))
    assert end_of(world, again) == "again"
    world.work()
    assert world.state("again") == "quoted"
    assert end_of(world, offered(1, submission_id="third")) == "card_known"


@pytest.mark.parametrize("world", ["sqlite"], indirect=True)
def test_one_card_goes_on_in_one_trade(world):
    """Of a lapsed trade and one in which its card was offered anew only that one goes on."""
    one = world.submit(1)
    world.work()
    world.clock.forward(hours=1)
    world.work()
    again = world.submit(1)
    with pytest.raises(IntakeRefused) as refused:
        world.intake.ask_again(one, by="app")
    assert refused.value.code == "card_known"
    world.intake.cancel(again, by="app")
    assert world.intake.ask_again(one, by="app")["state"] == "submitted"


@pytest.mark.parametrize("world", ["sqlite"], indirect=True)
def test_a_refusal_is_not_got_round_by_offering_the_card_anew(world):
    """What the models or a person refused waits for a person, also once it was taken back; approved, it is free."""
    world.pricing.decision = "refuse"
    one = world.submit(1)
    world.work()
    assert world.state(one) == "rejected"
    assert end_of(world, offered(1)) == "card_known"
    world.intake.ask_person(one, by="app")
    world.intake.cancel(one, by="app")
    assert end_of(world, offered(1)) == "card_known"
    world.pricing.decision = "review"
    other = world.submit(2)
    world.work()
    world.people.reject(other, by="analyst", reason="not this one")
    assert end_of(world, offered(2)) == "card_known"
    world.intake.ask_person(other, by="app")
    world.people.approve(other, by="analyst", reason="it is theirs")
    world.intake.decline(other, by="app")
    assert end_of(world, offered(2, submission_id="again")) == "again"


def test_a_secret_is_not_guessed(world):
    """Three wrong secrets within a day and the card rests until the first is a day old; other cards do not."""

    def guess(number: int) -> str:
        secret = f"GUESSGUESS{number:06d}"
        world.issuer.wrong_secrets.add(secret)
        card = replace(offered(1, submission_id=f"guess-{number}"), secret=Secret(secret))
        end = end_of(world, card)
        world.work()
        return end

    assert guess(0) == "guess-0"
    world.clock.forward(hours=5)
    assert [guess(1), guess(2)] == ["guess-1", "guess-2"]
    assert guess(3) == "too_many_wrong_secrets"
    with pytest.raises(IntakeRefused) as refused:
        world.submit(1)
    assert refused.value.wait_seconds == 19 * 3_600
    assert end_of(world, offered(2, submission_id="other")) == "other"
    world.clock.forward(hours=19)
    assert end_of(world, offered(1, submission_id="right")) == "right"
