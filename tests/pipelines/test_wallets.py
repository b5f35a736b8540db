"""A wallet balance is sold like a card: its payout is reserved, its holder transfers, and only then is anybody paid."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from starlette.testclient import TestClient

from pipelines.recycling.accounts import cash
from pipelines.recycling.adapters import connect
from pipelines.recycling.adapters.wallets import IssuerByKind, WalletIssuer
from pipelines.recycling.intake import IntakeRefused, Offered
from pipelines.recycling.ledger import balance
from pipelines.recycling.secret import Secret
from pipelines.recycling.trades import steps_of
from pipelines.settings import AdapterSettings
from serving.sandbox.app import create_app
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


def sold(world: World, wallet_ref: str, **other: str) -> str:
    asked = {
        "card": {"card_type": other.get("card_type", "ecny_balance"), "face_value": {"amount_fen": 20_000}},
        "seller": {"seller_id": "s-1"},
    }
    offered = Offered(NOTHING, NOTHING, asked, "payee-1", "bank", wallet_ref=wallet_ref)
    one = world.intake.submit(offered, by="seller-app")["submission_id"]
    world.work()
    if world.state(one) == "quoted":
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
