"""A wallet balance is sold like a card: its payout is reserved, its holder transfers, and only then is anybody paid."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient

from pipelines.partner_settings import AdapterSettings
from pipelines.recycling import bookings
from pipelines.recycling.accounts import Channel, cash
from pipelines.recycling.adapters import connect
from pipelines.recycling.adapters.outcomes import Outcome
from pipelines.recycling.adapters.wallets import Collection, IssuerByKind, WalletIssuer, WalletStanding
from pipelines.recycling.flow import unfreeze
from pipelines.recycling.intake import IntakeRefused, Offered
from pipelines.recycling.ledger import balance, post
from pipelines.recycling.people import DecisionRefused, People
from pipelines.recycling.secret import Secret
from pipelines.recycling.trades import Step, steps_of
from serving.sandbox.app import create_app
from serving.sandbox.wallets import SandboxWallets
from tests.pipelines.recycling_world import FUNDS_FEN, World, open_world
from tests.pipelines.test_flow import assert_books

NOTHING = Secret("")


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = open_world(tmp_path)
    client = TestClient(create_app(), base_url="http://localhost:8800")
    wallets = partners(client).wallets
    issuer = IssuerByKind(world.flow.issuer, WalletIssuer(wallets), lambda name: name == "ecny_balance")
    return replace(world, flow=replace(world.flow, issuer=issuer))


def partners(client: httpx.Client):
    settings = AdapterSettings(attempts=1, wallet_url="http://localhost:8800/wallet")
    return connect(settings, client=client, sleep=lambda seconds: None)


def sold(
    world: World, wallet_ref: str, *, accepts: bool = True, channel: Channel = "bank", **other: str
) -> str:
    asked = {
        "card": {"card_type": other.get("card_type", "ecny_balance"), "face_value": {"amount_fen": 20_000}},
        "seller": {"seller_id": "s-1"},
    }
    offered = Offered(NOTHING, NOTHING, asked, "payee-1", channel, wallet_ref=wallet_ref)
    one = world.intake.submit(offered, by="seller-app")["submission_id"]
    world.work()
    if accepts and world.state(one) == "quoted":
        world.accept(one)
        world.work()
    return one


def test_the_seller_transfers_and_is_paid(world):
    """Twice from one wallet: each is a card of its own, and each is paid once, after its transfer."""
    trades = [sold(world, "wallet-1001"), sold(world, "wallet-1001")]
    assert [world.state(one) for one in trades] == ["paid", "paid"]
    assert world.provider.paid == {f"{one}-payout-1": 18_000 for one in trades}
    assert_books(world)


def test_nothing_is_paid_before_the_transfer(world):
    """While its holder has not agreed the trade says so; the money is frozen, and goes out when the transfer came."""
    one = sold(world, "wallet-1084")
    assert (world.state(one), world.trade(one)["trouble"]) == ("frozen", "card_in_process")
    assert world.provider.paid == {}
    for _ in range(3):
        world.clock.forward(minutes=1)
        world.work()
    assert world.state(one) == "paid"


@pytest.mark.parametrize(
    ("ending", "state", "why"),
    [
        ("81", "returned", "card_not_transferred"),
        ("86", "returned", "card_not_transferred"),
        ("82", "rejected", "card_frozen"),
        ("88", "rejected", "card_unsupported"),
    ],
)
def test_a_transfer_that_does_not_come_frees_the_money(world, ending, state, why):
    """Refused, expired, a frozen wallet and one that nobody knows: nothing is paid and nothing stays frozen."""
    one = sold(world, f"wallet-10{ending}")
    for _ in range(3):
        world.clock.forward(minutes=1)
        world.work()
    with world.engine.connect() as connection:
        assert (world.state(one), steps_of(connection, one)[-1]["why"]) == (state, why)
        assert balance(connection, cash("bank")).available_fen == FUNDS_FEN
    assert_books(world)


def test_cards_have_codes_and_wallets_have_none(world):
    """A wallet balance without its wallet, and a card with one, are refused by name."""
    for wallet_ref, card_type, code in (
        ("", "ecny_balance", "wallet_ref_missing"),
        ("wallet-1", "jd_ecard", "no_wallet"),
    ):
        with pytest.raises(IntakeRefused) as refused:
            sold(world, wallet_ref, card_type=card_type)
        assert refused.value.code == code


# --- a provider that is away, slow, or answers otherwise ---------------------------------------------------------


@dataclass
class Unsteady:
    """A wallet provider whose answers are lost or other than they should be. away: which of its answers do not come."""

    kept: SandboxWallets = field(default_factory=SandboxWallets)
    away: frozenset[str] = frozenset()
    standing_now: WalletStanding = "active"
    short_fen: int = 0
    asked: Counter[str] = field(default_factory=Counter)

    def standing(self, wallet_ref: str) -> Outcome[WalletStanding]:
        return self._lost("standing") or Outcome("ok", self.standing_now)

    def collect(self, *, collection_id: str, wallet_ref: str, amount_fen: int) -> Outcome[Collection]:
        body = {"collection_id": collection_id, "wallet_ref": wallet_ref, "amount_fen": amount_fen}
        found = self.kept.collect(body)  # done, whether or not its answer arrives
        return self._lost("collect") or self._said(found)

    def collection(self, collection_id: str) -> Outcome[Collection]:
        lost = self._lost("collection")
        if lost is not None:
            return lost
        if collection_id not in self.kept.collections:
            return Outcome("refused", code="unknown_collection")
        return self._said(self.kept.look(collection_id))

    def _lost(self, what: str) -> Outcome[Any] | None:
        self.asked[what] += 1
        return Outcome("timeout", maybe_done=what == "collect") if what in self.away else None

    def _said(self, found: dict[str, Any]) -> Outcome[Collection]:
        fen = found["amount_fen"] - self.short_fen
        return Outcome("ok", Collection(found["collection_id"], found["state"], fen))


@pytest.fixture
def unsteady() -> Unsteady:
    return Unsteady()


@pytest.fixture
def shaky(tmp_path: Path, unsteady: Unsteady) -> World:
    """A platform whose wallet provider is unsteady, and whose card issuer never heard of any wallet."""
    world = open_world(tmp_path)
    issuer = IssuerByKind(world.flow.issuer, WalletIssuer(unsteady), lambda name: name == "ecny_balance")
    flow = replace(world.flow, issuer=issuer)
    return replace(world, flow=flow, people=People(flow, world.engine))


def stands(world: World, one: str) -> tuple[str, str]:
    row = world.trade(one)
    return row["state"], row["trouble"]


def later(world: World, minutes: float = 10) -> None:
    world.clock.forward(minutes=minutes)
    world.work()


@pytest.mark.parametrize(
    "away", ["standing", "collect", "collection", "collect collection", "standing collection"]
)
def test_a_provider_that_is_away_delays_the_trade_and_nothing_else(shaky, unsteady, away):
    """Whichever of its answers are lost after the quote was accepted: the trade says so, and once it answers the wallet
    was asked for one transfer and the seller is paid once."""
    one = sold(shaky, "wallet-1001", accepts=False)
    unsteady.away = frozenset(away.split())
    shaky.accept(one)
    shaky.work()
    asked_after = {"collect", "collection"} - set(away.split())  # one of the two answers is enough
    is_delayed = "standing" in away or not asked_after
    assert stands(shaky, one) == (("frozen", "issuer_timeout") if is_delayed else ("paid", ""))
    unsteady.away = frozenset()
    later(shaky)
    assert stands(shaky, one) == ("paid", "")
    assert len(unsteady.kept.collections) == 1
    assert shaky.provider.paid == {f"{one}-payout-1": 18_000}
    assert_books(shaky)


def test_a_transfer_that_came_is_not_forgotten_while_the_provider_is_away(shaky, unsteady):
    """The answer was lost, the wallet has been frozen since, and nobody can tell what came of the transfer: the trade
    waits, neither the machine nor a person sends it back, and it is paid once the provider answers."""
    one = sold(shaky, "wallet-1001", accepts=False)
    unsteady.away = frozenset({"collect", "collection"})
    shaky.accept(one)
    shaky.work()
    unsteady.standing_now = "frozen"
    for _ in range(3):
        later(shaky)
        assert stands(shaky, one) == ("frozen", "issuer_timeout")
    with pytest.raises(DecisionRefused) as refused:
        shaky.people.looked_at(one, is_good=False, by="li", reason="the wallet is frozen")
    assert refused.value.code == "issuer_silent"
    unsteady.away = frozenset()
    with pytest.raises(DecisionRefused) as refused:
        shaky.people.looked_at(one, is_good=False, by="li", reason="the wallet is frozen")
    assert refused.value.code == "card_taken"
    later(shaky)
    assert stands(shaky, one) == ("paid", "")
    assert_books(shaky)


def test_a_holder_who_does_not_answer_can_be_waited_for_and_not_overruled(shaky, unsteady):
    """Nobody sends a balance back whose holder may still agree; when the request has expired its money is free."""
    one = sold(shaky, "wallet-1086", accepts=False)
    shaky.accept(one)
    shaky.work()
    assert stands(shaky, one) == ("frozen", "card_in_process")
    with pytest.raises(DecisionRefused) as refused:
        shaky.people.looked_at(one, is_good=False, by="li", reason="no answer")
    assert refused.value.code == "card_in_process"
    later(shaky)
    assert shaky.state(one) == "returned"
    assert_books(shaky)


def test_another_amount_than_was_quoted_is_not_paid(shaky, unsteady):
    """A provider that took less: nothing goes out, the trade waits visibly, and a person decides."""
    one = sold(shaky, "wallet-1001", accepts=False)
    unsteady.short_fen = 5_000
    shaky.accept(one)
    shaky.work()
    later(shaky, minutes=600)
    assert stands(shaky, one) == ("frozen", "taken_differs")
    assert shaky.provider.paid == {}
    shaky.people.looked_at(one, is_good=False, by="li", reason="given back to its holder by hand")
    assert shaky.state(one) == "returned"
    assert_books(shaky)


def test_a_payout_in_ecny_that_times_out_is_paid_once(shaky, unsteady):
    """Paid and not answered: the trade says that nobody knows, nobody can send it again, and it ends as paid once."""
    with shaky.engine.begin() as connection:
        funds = bookings.fund(transfer_id="ecny", channel="ecny", amount_fen=FUNDS_FEN)
        post(connection, funds, now=shaky.clock.now)
    shaky.provider.mood = "silent"
    one = sold(shaky, "wallet-1001", channel="ecny")
    assert stands(shaky, one) == ("paying", "payout_unknown")
    with pytest.raises(DecisionRefused):
        shaky.people.pay_again(one, by="li", reason="it did not arrive")
    later(shaky)
    assert shaky.provider.asked == 1
    shaky.provider.mood = "pays"
    later(shaky)
    assert stands(shaky, one) == ("paid", "")
    assert (shaky.provider.asked, shaky.provider.paid) == (1, {f"{one}-payout-1": 18_000})
    assert_books(shaky)


# --- a person who decides while the worker's request is on its way ------------------------------------------------


def meanwhile(world: World, unsteady: Unsteady, act: Callable[[str], Any]) -> str:
    """A trade about which somebody acts when the worker has asked for the transfer and it has not arrived yet."""
    one = sold(world, "wallet-1001", accepts=False)

    class Between(Unsteady):
        def collect(self, **asked: Any) -> Outcome[Collection]:
            act(one)
            return super().collect(**asked)

    issuer = IssuerByKind(
        world.issuer, WalletIssuer(Between(unsteady.kept)), lambda name: name == "ecny_balance"
    )
    busy = replace(world, flow=replace(world.flow, issuer=issuer))
    busy.accept(one)
    busy.work()
    return one


def test_a_person_does_not_let_go_what_the_worker_is_taking_over(shaky, unsteady):
    """The provider has not heard of the transfer, since its request is on its way: the decision is refused, and the
    seller is paid once it comes."""
    refused: list[str] = []

    def bad(one: str) -> None:
        with pytest.raises(DecisionRefused) as refusal:
            shaky.people.looked_at(one, is_good=False, by="li", reason="looks wrong")
        refused.append(refusal.value.code)

    one = meanwhile(shaky, unsteady, bad)
    assert refused == ["machine_at_work"]
    assert stands(shaky, one) == ("paid", "")
    assert_books(shaky)


@pytest.mark.parametrize(("is_good", "state", "fen"), [(True, "paid", 18_000), (False, "returned", 0)])
def test_a_balance_that_comes_to_a_trade_that_was_let_go_is_not_lost(shaky, unsteady, is_good, state, fen):
    """Whoever let it go: the trade shows it, evidence holds it, and a person pays its seller, from money reserved once
    more, or says that it was given back. Neither can be done twice."""

    def let_go(one: str) -> None:
        with shaky.engine.begin() as connection:
            row = shaky.flow.book.read(connection, one)
            unfreeze(shaky.flow, connection, row)
            step = Step("returned", "person", "li", "bad_by_hand", {}, {})
            shaky.flow.book.move(connection, row, step, now=shaky.clock.now)

    one = meanwhile(shaky, unsteady, let_go)
    later(shaky)
    assert stands(shaky, one) == ("returned", "taken_after_all")
    assert len(unsteady.kept.collections) == 1
    assert_books(shaky)
    shaky.people.looked_at(one, is_good=is_good, by="li", reason="agreed with its holder")
    shaky.work()
    assert stands(shaky, one) == (state, "")
    assert shaky.provider.paid == ({f"{one}-payout-1": fen} if fen else {})
    kinds = [leaf.leaf.kind for leaf in shaky.flow.book.evidence.leaves_of(one)]
    assert kinds.count("taken_after_all") == 1
    assert kinds.count("balance_given_back") == (not is_good)
    with pytest.raises(DecisionRefused):
        shaky.people.looked_at(one, is_good=is_good, by="li", reason="once more")
    assert_books(shaky)
