"""The ledger: transfers that repeat harmlessly, end once, never overdraw and never change, on both databases."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError

from pipelines.application_data import ApplicationData
from pipelines.recycling import accounts, bookings
from pipelines.recycling.accounts import CHART, REVENUE, STOCK, account_named, cash, seller, transit
from pipelines.recycling.ledger import balance, balances, correction, post, transfers_of
from pipelines.recycling.ledger_audit import audit, books_sum
from pipelines.recycling.ledger_model import (
    AbovePending,
    Account,
    IdReused,
    LedgerRefusal,
    MalformedTransfer,
    Overdraft,
    PartlyPosted,
    PendingEnded,
    Transfer,
    UnknownPending,
)
from pipelines.recycling.ledger_tables import ledger_accounts, ledger_transfers, make_ledger_tables

NOW = datetime(2026, 10, 3, 4, 0, tzinfo=UTC)


@pytest.fixture(params=["sqlite", "postgresql"])
def data(request, tmp_path) -> ApplicationData:
    """An application database of each kind with an empty ledger."""
    if request.param == "sqlite":
        data = ApplicationData(f"sqlite:///{tmp_path / 'huika.db'}")
    else:
        data = ApplicationData(request.getfixturevalue("postgres_url"))
    with data.transaction() as connection:
        make_ledger_tables(connection)
    return data


@pytest.fixture
def books(data) -> Iterator[sa.Connection]:
    """A transaction on books with 1,000.00 yuan in the bank; whatever a test does, they balance at its end."""
    with data.transaction() as connection:
        post(connection, bookings.fund(transfer_id="start", channel="bank", amount_fen=100_000), now=NOW)
        yield connection
        assert audit(connection).clean


def freeze(name: str, fen: int = 40_000) -> list[Transfer]:
    return bookings.freeze_payout(transfer_id=name, trade_id="t-1", channel="bank", amount_fen=fen)


def settle(name: str, frozen: str, fen: int) -> list[Transfer]:
    return [Transfer(name, "settle_payout", fen, kind="settle", pending_id=frozen)]


def void(name: str, frozen: str) -> list[Transfer]:
    return bookings.void_payout(transfer_id=name, frozen_id=frozen, trade_id="t-1")


def test_a_transfer_again_is_quiet_and_with_another_body_is_refused(books):
    """The same id and body changes nothing; any other part of the body under the id is IdReused."""
    paid_in = bookings.fund(transfer_id="start", channel="bank", amount_fen=100_000)
    assert post(books, paid_in, now=NOW + timedelta(days=1)) == "exists"
    assert balance(books, cash("bank")).fen == 100_000
    for other in (
        replace(paid_in[0], amount_fen=100_001),
        replace(paid_in[0], reason="other"),
        replace(paid_in[0], trade_id="t-2"),
        replace(paid_in[0], debit=cash("alipay")),
        replace(paid_in[0], kind="pending"),
    ):
        with pytest.raises(IdReused):
            post(books, [other], now=NOW)


def test_a_freeze_is_reserved_until_it_is_settled_or_voided(books):
    """Frozen money cannot be spent; settling moves what is asked and frees the rest; voiding frees all."""
    post(books, freeze("f", 70_000), now=NOW)
    assert balance(books, cash("bank")).available_fen == 30_000
    with pytest.raises(Overdraft):
        post(books, freeze("g", 30_001), now=NOW)
    post(books, settle("s", "f", 60_000), now=NOW)
    held = balance(books, cash("bank"))
    assert (held.fen, held.available_fen) == (40_000, 40_000)
    post(books, freeze("h", 40_000), now=NOW)
    post(books, void("v", "h"), now=NOW)
    assert balance(books, cash("bank")).available_fen == 40_000
    assert post(books, settle("s", "f", 60_000), now=NOW) == post(books, void("v", "h"), now=NOW) == "exists"


def test_a_pending_transfer_ends_once(books):
    """After a settle or a void neither is possible, whatever the id, also where another freeze has money left."""
    post(books, freeze("f") + freeze("g"), now=NOW)
    post(books, settle("s", "f", 40_000), now=NOW)
    for again in (settle("s2", "f", 1), void("v2", "f"), settle("s3", "f", 40_000)):
        with pytest.raises(PendingEnded):
            post(books, again, now=NOW)
    post(books, void("v", "g"), now=NOW)
    for again in (settle("s4", "g", 1), void("v3", "g")):
        with pytest.raises(PendingEnded):
            post(books, again, now=NOW)


def test_only_what_is_pending_can_be_settled(books):
    """Not more than was frozen, nothing unknown, nothing posted, and not another's settle."""
    post(books, freeze("f"), now=NOW)
    with pytest.raises(AbovePending):
        post(books, settle("s", "f", 40_001), now=NOW)
    for unknown in ("nothing", "start"):
        with pytest.raises(UnknownPending):
            post(books, settle("s", unknown, 1), now=NOW)


def test_linked_transfers_are_posted_all_or_none(books):
    """One that cannot be posted takes the others of its call with it; the transaction can go on."""
    fee = bookings.charge_fee(transfer_id="fee", trade_id="t-1", seller_ref="s-1", amount_fen=1)
    with pytest.raises(Overdraft):
        post(books, freeze("f") + fee, now=NOW)
    assert len(transfers_of(books)) == 1
    assert balance(books, cash("bank")).available_fen == 100_000
    post(books, freeze("f"), now=NOW)
    with pytest.raises(PartlyPosted):
        post(books, freeze("f") + freeze("g"), now=NOW)
    with pytest.raises(IdReused):
        post(books, freeze("h") + freeze("h"), now=NOW)
    assert post(books, [], now=NOW) == "posted"


def test_a_call_may_freeze_and_settle(books):
    """A pending transfer of the same call can be ended, once."""
    post(books, freeze("f") + settle("s", "f", 40_000), now=NOW)
    assert balance(books, transit("bank")).fen == 40_000
    with pytest.raises(PendingEnded):
        post(books, freeze("g") + settle("s2", "g", 1) + void("v", "g"), now=NOW)


@pytest.mark.parametrize(
    "wrong",
    [
        Transfer("w", "x", 0, cash("bank"), REVENUE),
        Transfer("w" * 201, "x", 5, cash("bank"), REVENUE),
        Transfer("", "x", 5, cash("bank"), REVENUE),
        Transfer("w", "x" * 65, 5, cash("bank"), REVENUE),
        Transfer("w", "x", 5, cash("bank"), REVENUE, trade_id="t" * 129),
        Transfer("w", "x", -5, cash("bank"), REVENUE),
        Transfer("w", "x", 1.0, cash("bank"), REVENUE),  # type: ignore[arg-type]
        Transfer("w", "x", True, cash("bank"), REVENUE),
        Transfer("w", "x", 2**62, cash("bank"), REVENUE),
        Transfer("w", "x", 5, cash("bank"), cash("bank")),
        Transfer("w", "x", 5, cash("bank")),
        Transfer("w", "x", 5, credit=cash("bank")),
        Transfer("w", "x", 5, cash("bank"), REVENUE, pending_id="start"),
        Transfer("w", "x", 5, cash("bank"), REVENUE, kind="settle", pending_id="start"),
        Transfer("w", "x", 5, kind="settle"),
        Transfer("w", "x", 5, kind="void", pending_id="start"),
    ],
)
def test_shapeless_transfers_are_refused(books, wrong):
    """Amounts are whole fen above zero, sides are two, only a settle or void names a pending transfer."""
    with pytest.raises(MalformedTransfer):
        post(books, [wrong], now=NOW)


def test_a_correction_is_a_new_transfer(books):
    """What was posted wrongly is taken back once by its reverse; all stay; a wrong correction is taken back as well."""
    post(books, bookings.fund(transfer_id="wrong", channel="bank", amount_fen=5), now=NOW)
    back = correction(books, "wrong")
    assert (post(books, back, now=NOW), post(books, back, now=NOW)) == ("posted", "exists")
    assert balance(books, cash("bank")).fen == 100_000
    assert transfers_of(books)[-1]["reason"] == "correct_fund"
    post(books, correction(books, "wrong/correct"), now=NOW)
    assert balance(books, cash("bank")).fen == 100_005
    assert transfers_of(books)[-1]["reason"] == "fund"
    post(books, freeze("f"), now=NOW)
    for unknown in ("nothing", "f"):
        with pytest.raises(UnknownPending):
            correction(books, unknown)


@contextmanager
def refused_by_the_database(connection: sa.Connection) -> Iterator[None]:
    with pytest.raises(DBAPIError), connection.begin_nested():
        yield


def test_the_database_itself_refuses_what_the_program_would(books):
    """Changed or deleted transfers, renamed accounts, overdrafts, second ends: refused without the program too."""
    post(books, freeze("f") + settle("s", "f", 1), now=NOW)
    row = {"kind": "posted", "debit": "cash:bank", "credit": "capital", "amount_fen": 1, "pending_id": None}
    row |= {"reason": "x", "trade_id": None, "happened_at": NOW, "transfer_id": "raw"}
    statements: list[sa.Executable] = [
        sa.update(ledger_transfers).values(amount_fen=1),
        sa.delete(ledger_transfers),
        sa.delete(ledger_accounts),
        sa.update(ledger_accounts).where(ledger_accounts.c.name == "capital").values(name="other"),
        sa.update(ledger_accounts).where(ledger_accounts.c.name == "capital").values(stays_on="both"),
        sa.update(ledger_accounts)
        .where(ledger_accounts.c.name == "cash:bank")
        .values(credits_posted=100_001),
        sa.update(ledger_accounts)
        .where(ledger_accounts.c.name == "cash:bank")
        .values(credits_pending=100_000),
        sa.update(ledger_accounts).where(ledger_accounts.c.name == "capital").values(debits_posted=-1),
        sa.insert(ledger_transfers).values(row | {"amount_fen": 0}),
        sa.insert(ledger_transfers).values(row | {"credit": "cash:bank"}),
        sa.insert(ledger_transfers).values(row | {"kind": "void", "pending_id": "f"}),
        sa.insert(ledger_transfers).values(row | {"kind": "settle"}),
        sa.insert(ledger_transfers).values(row | {"transfer_id": "start"}),
    ]
    for statement in statements:
        with refused_by_the_database(books):
            books.execute(statement)


def test_an_audit_says_what_differs(data):
    """A balance changed behind the ledger's back is named with both figures, and the books no longer sum to zero."""
    with data.transaction() as connection:
        post(connection, bookings.fund(transfer_id="start", channel="bank", amount_fen=100), now=NOW)
        changed = sa.update(ledger_accounts).where(ledger_accounts.c.name == "cash:bank")
        connection.execute(changed.values(debits_posted=101))
        found = audit(connection)
        assert not found.clean
        assert [
            (item.account, item.part, item.kept_fen, item.recomputed_fen) for item in found.differences
        ] == [("cash:bank", "debits_posted", 101, 100)]
        assert books_sum(connection) == found.books_sum_fen == 1


def test_money_and_business_rows_are_one(data):
    """A transaction that fails takes its transfers with it."""

    def work() -> None:
        with data.transaction() as connection:
            post(connection, bookings.fund(transfer_id="start", channel="bank", amount_fen=100), now=NOW)
            raise KeyError

    with pytest.raises(KeyError):
        work()
    with data.transaction() as connection:
        assert transfers_of(connection) == balances(connection) == []


def _race(url: str, number: int, results, barrier) -> None:
    """Post the same transfers as every other racer, and one that only one of them can afford."""
    data = ApplicationData(url)
    barrier.wait()
    outcomes: list[str] = []
    for step in range(15):
        for transfers in (
            freeze(f"f{step}", 100),
            settle(f"s{step}", f"f{step}", 100),
            settle(f"own{step}-{number}", f"f{step}", 100),
        ):
            try:
                with data.transaction() as connection:
                    outcomes.append(post(connection, transfers, now=NOW))
            except LedgerRefusal as refusal:
                outcomes.append(type(refusal).__name__)
    try:
        with data.transaction() as connection:
            outcomes.append(post(connection, freeze(f"all{number}", 60_000), now=NOW))
    except LedgerRefusal as refusal:
        outcomes.append(type(refusal).__name__)
    results.put(outcomes)


def _check_race(data: ApplicationData, outcomes: list[list[str]]) -> None:
    said = [word for racer in outcomes for word in racer]
    with data.transaction() as connection:
        found = transfers_of(connection)
        assert audit(connection).clean
        assert books_sum(connection) == 0
        assert len([row for row in found if row["kind"] == "pending"]) == 16
        assert len([row for row in found if row["kind"] == "settle"]) == 15
        assert balance(connection, transit("bank")).fen == 1_500
    assert said.count("posted") == len(found) - 1
    assert [racer[-1] for racer in outcomes].count("Overdraft") == len(outcomes) - 1


def test_threads_with_the_same_ids_post_once(data, request):
    """Four threads post the same ids at once: each is posted by one of them, and no money is spent twice."""
    import queue

    with data.transaction() as connection:
        post(connection, bookings.fund(transfer_id="start", channel="bank", amount_fen=100_000), now=NOW)
    url = data._engine.url.render_as_string(hide_password=False)
    results: queue.Queue[list[str]] = queue.Queue()
    barrier = threading.Barrier(4)
    racers = [threading.Thread(target=_race, args=(url, number, results, barrier)) for number in range(4)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join(timeout=120)
    _check_race(data, [results.get_nowait() for _ in racers])


def test_processes_on_one_sqlite_file_post_once(tmp_path):
    """Two processes on one file: the same claim."""
    url = f"sqlite:///{tmp_path / 'huika.db'}"
    data = ApplicationData(url)
    with data.transaction() as connection:
        make_ledger_tables(connection)
        post(connection, bookings.fund(transfer_id="start", channel="bank", amount_fen=100_000), now=NOW)
    context = multiprocessing.get_context("spawn")
    results, barrier = context.Queue(), context.Barrier(2)
    racers = [context.Process(target=_race, args=(url, number, results, barrier)) for number in range(2)]
    for racer in racers:
        racer.start()
    outcomes = [results.get(timeout=120) for _ in racers]
    for racer in racers:
        racer.join(timeout=60)
    _check_race(data, outcomes)


def test_one_id_on_other_accounts_at_the_same_moment_is_refused(postgres_url):
    """Without an account in common nobody waits for the other: the second is refused once the first is committed."""
    first, second = ApplicationData(postgres_url), ApplicationData(postgres_url)
    with first.transaction() as connection:
        make_ledger_tables(connection)
    refused: list[Exception] = []

    def post_second() -> None:
        other = [Transfer("one", "x", 5, Account("a", "both"), Account("b", "both"))]
        try:
            with second.transaction() as connection:
                post(connection, other, now=NOW)
        except IdReused as refusal:
            refused.append(refusal)

    racer = threading.Thread(target=post_second)
    with first.transaction() as connection:
        post(connection, [Transfer("one", "x", 5, Account("c", "both"), Account("d", "both"))], now=NOW)
        racer.start()
        racer.join(timeout=0.3)
    racer.join(timeout=60)
    assert len(refused) == 1
    with first.transaction() as connection:
        assert audit(connection).clean
        assert [row["debit"] for row in transfers_of(connection)] == ["c"]


def test_a_trade_from_freeze_to_paid(books):
    """The worked example: every business operation, and what each account holds in the end."""
    steps = [
        bookings.freeze_payout(transfer_id="t/freeze", trade_id="t", channel="bank", amount_fen=46_000),
        bookings.settle_payout(
            transfer_id="t/settle",
            frozen_id="t/freeze",
            trade_id="t",
            seller_ref="s",
            price_fen=46_000,
            payout_fen=44_000,
        )
        + bookings.charge_fee(transfer_id="t/fee", trade_id="t", seller_ref="s", amount_fen=1_500)
        + bookings.charge_logistics(transfer_id="t/ship", trade_id="t", seller_ref="s", amount_fen=500),
        bookings.confirm_payout(
            transfer_id="t/paid", trade_id="t", channel="bank", seller_ref="s", amount_fen=44_000
        ),
        bookings.sell_card(
            transfer_id="t/sold", trade_id="t", channel="bank", cost_fen=46_000, proceeds_fen=48_000
        ),
        bookings.split_revenue(
            transfer_id="t/split", trade_id="t", amount_fen=2_000, partner_ref="p", partner_bps=1_000
        ),
        bookings.set_aside_tax(transfer_id="t/vat", trade_id="t", kind="vat", amount_fen=35),
    ]
    for step in steps:
        assert post(books, step, now=NOW) == "posted"
    assert {row.name: row.fen for row in balances(books)} == {
        "capital": 100_000,
        "cash:bank": 104_000,
        "logistics": 500,
        "partner:p": 200,
        "revenue": 3_265,
        "seller:s": 0,
        "stock": 0,
        "tax:vat": 35,
        "transit:bank": 0,
    }
    assert books_sum(books) == 0


def test_deposits_losses_and_payouts_that_come_back(books):
    """Deposits are held, given back, forfeited; a failed payout stays owed; fraud and losses are written off."""
    start: list[list[Transfer]] = [
        bookings.freeze_payout(transfer_id="f", trade_id="t", channel="bank", amount_fen=900),
        bookings.settle_payout(
            transfer_id="s", frozen_id="f", trade_id="t", seller_ref="s", price_fen=900, payout_fen=900
        ),
        bookings.return_payout(transfer_id="r", trade_id="t", channel="bank", amount_fen=900),
        bookings.move_cash(transfer_id="m", source="bank", target="ecny", amount_fen=900),
        bookings.send_again(transfer_id="a", trade_id="t", channel="ecny", amount_fen=900),
        bookings.hold_deposit(
            transfer_id="d1", trade_id="t", party="seller", reference="s", amount_fen=300, other=seller("s")
        ),
    ]
    for step in start:
        post(books, step, now=NOW)
    assert balance(books, seller("s")).fen == 600
    with pytest.raises(Overdraft):
        post(
            books,
            bookings.release_deposit(
                transfer_id="d0",
                trade_id="t",
                party="seller",
                reference="s",
                amount_fen=301,
                other=seller("s"),
            ),
            now=NOW,
        )
    post(
        books,
        bookings.release_deposit(
            transfer_id="d3", trade_id="t", party="seller", reference="s", amount_fen=100, other=seller("s")
        )
        + bookings.forfeit_deposit(
            transfer_id="d4", trade_id="t", party="seller", reference="s", amount_fen=200
        )
        + bookings.write_off(transfer_id="w", trade_id="t", amount_fen=400)
        + bookings.sell_card(transfer_id="x", trade_id="t", channel="bank", cost_fen=500, proceeds_fen=450),
        now=NOW,
    )
    found = {row.name: row.fen for row in balances(books)}
    assert (found["losses"], found["stock"], found["revenue"], found["seller:s"]) == (450, 0, 200, 700)


@pytest.mark.parametrize(("fen", "bps"), [(0, 5_000), (1, 9_999), (333, 3_333), (10**12 + 7, 1)])
def test_a_split_loses_nothing(fen, bps):
    """Both parts add up to the sum; the part is never more than its share."""
    split = bookings.split_fen(fen, part_bps=bps)
    assert split.part_fen + split.rest_fen == fen
    assert split.part_fen * 10_000 <= fen * bps < (split.part_fen + 1) * 10_000
    with pytest.raises(bookings.SplitError):
        bookings.split_fen(fen, part_bps=10_001)


def test_the_chart_names_every_account_in_both_languages():
    """Each heading has both names; an account of a name is the one that the builders make."""
    assert all(heading.zh and heading.en for heading in CHART.values())
    assert account_named("cash:bank") == cash("bank")
    assert account_named("stock") == STOCK
    for wrong in ("nothing", "cash", "stock:x", ""):
        with pytest.raises(accounts.AccountNameError):
            account_named(wrong)
    with pytest.raises(accounts.AccountNameError):
        seller("")


def test_a_raw_insert_cannot_settle_twice(books):
    """UNIQUE on the pending id holds even where the program is not asked."""
    post(books, freeze("f") + settle("s", "f", 1), now=NOW)
    again = {"transfer_id": "raw", "kind": "settle", "debit": "transit:bank", "credit": "cash:bank"}
    again |= {"amount_fen": 1, "pending_id": "f", "reason": "x", "happened_at": NOW}
    with pytest.raises(IntegrityError), books.begin_nested():
        books.execute(sa.insert(ledger_transfers).values(again))
