"""A trade from the submitted card to money paid, and every way it can end otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.recycling import bookings, ledger
from pipelines.recycling.accounts import cash, seller
from pipelines.recycling.disputes import Complained
from pipelines.recycling.intake import IntakeRefused
from pipelines.recycling.ledger import balance
from pipelines.recycling.ledger_audit import audit, books_sum
from pipelines.recycling.people import DecisionRefused
from pipelines.recycling.states import MOVES, STATES, ForbiddenMove, diagram
from pipelines.recycling.trades import MovedMeanwhile, Step, steps_of
from tests.pipelines.recycling_world import FUNDS_FEN, World, offered, open_world


@pytest.fixture
def world(tmp_path: Path) -> World:
    return open_world(tmp_path)


def cash_fen(world: World) -> int:
    with world.engine.connect() as connection:
        return balance(connection, cash("bank")).available_fen


def assert_books(world: World) -> None:
    with world.engine.connect() as connection:
        assert books_sum(connection) == 0
        found = audit(connection)
    assert (found.differences, found.faults) == ((), ())


def test_a_card_becomes_money(world):
    """Submitted, quoted, accepted, frozen, taken over, paid and closed, the seller paid once, the books at zero."""
    one = world.submit()
    world.work()
    assert world.state(one) == "quoted"
    world.accept(one)
    world.work()
    assert world.state(one) == "paid"
    assert world.provider.paid == {f"{one}-payout-1": 45_000}
    assert cash_fen(world) == FUNDS_FEN - 45_000
    with world.engine.connect() as connection:
        assert balance(connection, seller("s-1")).fen == 0
        states = [step["target"] for step in steps_of(connection, one)]
    assert states == ["submitted", "quoted", "accepted", "frozen", "verified", "paying", "paid"]
    world.clock.forward(days=8)
    world.work()
    assert world.state(one) == "closed"
    assert_books(world)
    assert list(world.pricing.told) == [f"{world.known_as(one)}-accepted"]


@pytest.mark.parametrize("standing", ["used", "fake", "wrong_secret", "frozen", "unsupported"])
def test_a_dead_card_is_turned_down_before_it_is_priced(world, standing):
    """What the issuer calls dead gets no quote, and the reason says why."""
    world.issuer.standing = standing
    one = world.submit()
    world.work()
    assert world.state(one) == "rejected"
    assert world.pricing.quotes == {}


def test_a_smaller_balance_is_quoted_before_the_seller_decides(world):
    """A card that holds less than its face value is priced as what it holds."""
    world.issuer.balance_fen = 20_000
    one = world.submit()
    world.work()
    assert world.trade(one)["payout_fen"] == 18_000
    world.accept(one)
    world.work()
    assert world.provider.paid == {f"{one}-payout-1": 18_000}
    assert_books(world)


def test_a_card_that_changed_after_acceptance_is_quoted_again(world):
    """Found emptier when taken over: the frozen money is free, a new quote stands, and nothing was paid."""
    one = world.submit()
    world.work()
    world.accept(one)
    world.issuer.balance_fen = 30_000
    world.work()
    trade = world.trade(one)
    assert (trade["state"], trade["payout_fen"]) == ("quoted", 27_000)
    assert trade["first_payout_fen"] == 45_000
    assert cash_fen(world) == FUNDS_FEN
    world.accept(one)
    world.work()
    assert world.provider.paid == {f"{one}-payout-1": 27_000}
    assert_books(world)


def test_a_card_used_after_acceptance_comes_back(world):
    """Redeemed by somebody else in between: nothing is paid, and what was frozen is free."""
    one = world.submit()
    world.work()
    world.accept(one)
    world.issuer.standing = "used"
    world.work()
    assert world.state(one) == "returned"
    assert world.provider.paid == {}
    assert cash_fen(world) == FUNDS_FEN
    assert_books(world)


@pytest.mark.parametrize("trouble", ["busy", "maintenance", "timeout", "unreachable", "garbled"])
def test_a_partner_in_trouble_is_asked_again(world, trouble):
    """While the issuer cannot answer, the trade says so and waits; afterwards it goes on by itself."""
    world.issuer.trouble = trouble
    one = world.submit()
    world.work()
    waiting = world.trade(one)
    assert (waiting["state"], waiting["trouble"], waiting["failures"]) == (
        "submitted",
        f"issuer_{trouble}",
        1,
    )
    world.issuer.trouble = ""
    world.clock.forward(seconds=2)
    world.work()
    assert world.state(one) == "quoted"


def test_a_provider_that_pays_and_says_nothing_is_not_paid_again(world):
    """A payout without an answer stays open and visible; once the provider answers it is found to be paid, once."""
    world.provider.mood = "silent"
    one = world.submit()
    world.work()
    world.accept(one)
    world.work()
    assert world.state(one) == "paying"
    assert world.trade(one)["trouble"] == "payout_unknown"
    for _ in range(5):
        world.clock.forward(minutes=10)
        world.work()
    world.provider.mood = "pays"
    world.clock.forward(minutes=10)
    world.work()
    assert world.state(one) == "paid"
    assert world.provider.asked == 1
    assert cash_fen(world) == FUNDS_FEN - 45_000
    assert_books(world)


@pytest.mark.parametrize(
    ("mood", "trouble", "failures"), [("left_alone", "payout_unknown", 1), ("not_sent", "payout_created", 0)]
)
def test_a_channel_that_is_left_alone_costs_a_trade_none_of_its_patience(world, mood, trouble, failures):
    """While nobody is asked, or nothing is sent, the trade's own waits do not grow; the channel back, it is paid soon
    after."""
    world.provider.mood = mood
    one = world.submit()
    world.work()
    world.accept(one)
    world.work()
    for _ in range(20):
        assert world.state(one) == "paying"
        world.clock.forward(seconds=4)
        world.work()
    row = world.trade(one)
    assert (row["trouble"], row["failures"]) == (trouble, failures)
    world.provider.mood = "pays"
    world.clock.forward(seconds=4)
    world.work()
    assert world.state(one) == "paid"


def test_a_failed_payout_can_be_sent_again(world):
    """Refused by the provider: the money is back, a person sends it again under another id, and it arrives once."""
    world.provider.mood = "refuses"
    one = world.submit()
    world.work()
    world.accept(one)
    world.work()
    assert world.state(one) == "payout_failed"
    assert cash_fen(world) == FUNDS_FEN
    world.provider.mood = "pays"
    world.people.pay_again(one, by="operator-1", reason="account corrected")
    world.work()
    assert world.state(one) == "paid"
    assert world.provider.paid == {f"{one}-payout-2": 45_000}
    assert_books(world)


def test_without_money_nothing_is_promised_twice(world):
    """An account that cannot pay leaves the trade accepted and in trouble until money comes."""
    big = world.submit(1, face_fen=50_000)
    world.work()
    with world.engine.begin() as connection:
        away = bookings.move_cash(
            transfer_id="away", source="bank", target="alipay", amount_fen=FUNDS_FEN - 100
        )
        ledger.post(connection, away, now=world.clock.now)
    world.accept(big)
    world.work()
    assert (world.state(big), world.trade(big)["trouble"]) == ("accepted", "no_funds")
    with world.engine.begin() as connection:
        back = bookings.move_cash(transfer_id="back", source="alipay", target="bank", amount_fen=100_000)
        ledger.post(connection, back, now=world.clock.now)
    world.clock.forward(minutes=1)
    world.work()
    assert world.state(big) == "paid"
    assert_books(world)


def test_profiles_decide_who_acts(tmp_path):
    """Small: a person approves, 85 %, paid after three days. Head: nobody, at once."""
    for name in ("small", "head"):
        (tmp_path / name).mkdir()
    small, head = (open_world(tmp_path / name, profile=name) for name in ("small", "head"))
    one = small.submit()
    small.work()
    assert small.state(one) == "person_needed"
    small.people.approve(one, by="clerk-1", reason="looks fine")
    assert small.trade(one)["payout_fen"] == 42_500
    small.accept(one)
    small.work()
    assert small.state(one) == "verified"
    small.clock.forward(days=3, seconds=1)
    small.work()
    assert small.state(one) == "paid"
    two = head.submit()
    head.work()
    head.accept(two)
    head.work()
    assert head.state(two) == "paid"


def test_a_held_trade_waits_and_can_be_stopped(world):
    """Hold: the card is taken, the payout waits, and a person may still stop it."""
    world.pricing.decision = "hold"
    one = world.submit()
    world.work()
    world.accept(one)
    world.work()
    assert world.state(one) == "verified"
    world.people.stop_payout(one, by="analyst-1", reason="issuer reported it stolen")
    world.clock.forward(days=2)
    world.work()
    assert world.state(one) == "returned"
    assert world.provider.paid == {}
    assert_books(world)


def test_a_refused_seller_may_ask_for_a_person(world):
    """Refused by the model, looked at by a person, approved, paid."""
    world.pricing.decision = "refuse"
    one = world.submit()
    world.work()
    assert world.state(one) == "rejected"
    world.intake.ask_person(one, by="seller-app")
    world.people.approve(one, by="analyst-1", reason="known customer")
    world.accept(one)
    world.work()
    assert world.state(one) == "paid"


def test_an_approval_that_comes_late_is_for_a_new_quote(world):
    """Approved after the quote's time, the card is quoted anew without a further person; the seller gets that quote."""
    world.pricing.decision = "review"
    one = world.submit()
    world.work()
    old = world.trade(one)["quote_id"]
    world.clock.forward(hours=3)
    world.people.approve(one, by="analyst-1", reason="looks fine")
    world.work()
    assert world.state(one) == "quoted"
    assert world.trade(one)["quote_id"] != old
    world.accept(one)
    world.work()
    assert world.state(one) == "paid"


def test_a_card_whose_secret_is_gone_is_turned_down_by_name(world):
    """Asked for again after its secret was destroyed, a lapsed trade ends as ``card_secret_gone``, not as an error; one
    that was frozen goes back and its money is free."""
    lapsed, frozen = world.submit(1), world.submit(2)
    world.work()
    world.accept(frozen)
    for one in (lapsed, frozen):
        world.flow.vault.shred(world.trade(one)["card_id"], actor="retention", now=world.clock.now)
    world.clock.forward(minutes=31)
    world.work()
    world.intake.ask_again(lapsed, by="seller-app")
    world.work()
    assert (world.state(lapsed), world.state(frozen)) == ("rejected", "returned")
    with world.engine.connect() as connection:
        whys = [steps_of(connection, one)[-1]["why"] for one in (lapsed, frozen)]
    assert whys == ["card_secret_gone", "card_secret_gone"]
    assert world.provider.paid == {}
    assert_books(world)


def test_a_quote_ends_and_can_be_asked_for_again(world):
    """Nobody can accept after ``valid_until``; asked again there is a new quote."""
    one = world.submit()
    world.work()
    old = world.trade(one)["quote_id"]
    world.clock.forward(minutes=31)
    with pytest.raises(IntakeRefused) as refused:
        world.accept(one)
    assert refused.value.code == "quote_expired"
    world.work()
    assert world.state(one) == "lapsed"
    world.intake.ask_again(one, by="seller-app")
    world.work()
    assert world.state(one) == "quoted"
    assert world.trade(one)["quote_id"] != old


def test_a_physical_card_is_unpacked_on_film(world):
    """Sent, unpacked with the film's hash in the evidence, verified, paid; one that never comes frees the money."""
    one, lost = world.submit(1, card_form="physical"), world.submit(2, card_form="physical")
    world.work()
    for each in (one, lost):
        world.accept(each)
    world.work()
    assert world.state(one) == "shipping"
    world.people.unpacked(one, by="warehouse-1", film_sha256="ab" * 32)
    world.work()
    assert world.state(one) == "paid"
    world.clock.forward(days=15)
    world.work()
    assert world.state(lost) == "returned"
    assert cash_fen(world) == FUNDS_FEN - 45_000
    assert_books(world)


def test_a_card_is_in_one_trade_at_a_time(world):
    """The same card again is refused while it is being traded, and taken after its trade was cancelled."""
    one = world.submit(1)
    with pytest.raises(IntakeRefused) as refused:
        world.submit(1)
    assert refused.value.code == "card_known"
    world.intake.cancel(one, by="seller-app")
    assert world.submit(1) != one


def test_a_submission_sent_twice_is_one(world):
    """The same submission_id with the same card is the same trade; with another card it is refused."""
    first = world.intake.submit(offered(1, submission_id="mine"), by="app")
    again = world.intake.submit(offered(1, submission_id="mine"), by="app")
    assert first == again
    with pytest.raises(IntakeRefused) as refused:
        world.intake.submit(offered(2, submission_id="mine"), by="app")
    assert refused.value.code == "submission_reused"


def test_a_large_complaint_needs_two_people(world):
    """The first person proposes, a second one decides; against the trade its cost is a loss and the label a fraud."""
    world.issuer.balance_fen = 200_000
    one = world.submit(1, face_fen=200_000)
    world.work()
    world.accept(one)
    world.work()
    world.disputes.complain(
        one, Complained("already_redeemed", "the buyer could not use it"), by="buyer-desk"
    )
    world.disputes.judge(one, verdict="against_trade", by="analyst-1", reason="issuer confirms")
    assert world.state(one) == "disputed"
    with pytest.raises(DecisionRefused) as refused:
        world.disputes.judge(one, verdict="against_trade", by="analyst-1", reason="again")
    assert refused.value.code == "second_person"
    world.disputes.judge(one, verdict="against_trade", by="analyst-2", reason="agreed")
    assert world.state(one) == "reversed"
    world.work()
    assert f"{world.known_as(one)}-fraud_confirmed" in world.pricing.told
    assert_books(world)


def test_who_acts_on_old_knowledge_is_refused(world):
    """Two that read the same state cannot both move the trade."""
    one = world.submit()
    seen = world.trade(one)
    world.work()
    step = Step("cancelled", "seller", "app", "taken_back", {}, {})
    late = seen | {"state": "quoted"}  # the state is right, the version is old
    with world.engine.begin() as connection, pytest.raises(MovedMeanwhile):
        world.flow.book.move(connection, late, step, now=world.clock.now)
    with pytest.raises(ForbiddenMove):
        world.intake.ask_again(one, by="app")


def test_every_state_can_be_left_or_is_an_end():
    """The tables have no dead end that is not one, no unreachable state, and the diagram shows all of them."""
    left, reached = {move.source for move in MOVES}, {move.target for move in MOVES} | {"submitted"}
    assert reached == set(STATES)
    assert all(state.is_end or state.code in left for state in STATES.values())
    assert all(f"as {code}" in diagram() for code in STATES)


def test_the_docs_show_the_life_that_the_code_has():
    """The diagram in docs/recycling.md is the one that the code draws."""
    docs = Path(__file__).parents[2] / "docs" / "recycling.md"
    assert diagram() in docs.read_text(encoding="utf-8")


def test_an_empty_card_is_worth_nothing(world):
    """A valid card without balance gets no quote; one that was emptied after its quote was accepted comes back."""
    one = world.submit(1)
    world.work()
    world.accept(one)
    world.issuer.balance_fen = 0
    world.work()
    assert (world.state(one), world.provider.paid) == ("returned", {})
    two = world.submit(2)
    world.work()
    assert world.state(two) == "rejected"
    assert cash_fen(world) == FUNDS_FEN
    assert_books(world)
