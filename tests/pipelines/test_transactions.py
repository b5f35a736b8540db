"""Who loses a race on PostgreSQL does its work again: nobody hears of a deadlock, and nothing is done twice."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from itertools import count

import pytest
import sqlalchemy as sa

from pipelines.databases import open_engine
from pipelines.group_commit import GroupCommit
from pipelines.recycling import bookings
from pipelines.recycling.accounts import Channel, cash, transit
from pipelines.recycling.ledger import balance, post
from pipelines.recycling.ledger_audit import audit, books_sum
from pipelines.recycling.ledger_tables import make_ledger_tables
from pipelines.transactions import MOST_TRIES, in_transaction

NOW = datetime(2026, 10, 3, tzinfo=UTC)
metadata = sa.MetaData()
counts = sa.Table(
    "counts", metadata, sa.Column("name", sa.String(9), primary_key=True), sa.Column("number", sa.Integer)
)
Work = Callable[[sa.Connection], object]
CHANNELS: tuple[Channel, Channel] = ("bank", "alipay")


@pytest.fixture
def engine(postgres_url: str) -> Iterator[sa.Engine]:
    """A database with two rows, which notices a deadlock at once."""
    opened = open_engine(postgres_url)
    metadata.create_all(opened)
    with opened.begin() as connection:
        connection.execute(sa.insert(counts), [{"name": name, "number": 0} for name in ("one", "two")])
        make_ledger_tables(connection)
        database = connection.exec_driver_sql("SELECT current_database()").scalar_one()
        connection.exec_driver_sql(f"ALTER DATABASE {database} SET deadlock_timeout = '20ms'")
    opened.dispose()
    yield opened
    opened.dispose()


def add(connection: sa.Connection, name: str) -> None:
    changed = sa.update(counts).where(counts.c.name == name)
    connection.execute(changed.values(number=counts.c.number + 1))


def numbers(engine: sa.Engine) -> dict[str, int]:
    with engine.connect() as connection:
        return {row.name: row.number for row in connection.execute(sa.select(counts))}


def deadlocks(engine: sa.Engine) -> int:
    """How many PostgreSQL has broken up in this database."""
    with engine.connect() as connection:
        connection.exec_driver_sql("SELECT pg_stat_clear_snapshot()")
        asked = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        return connection.exec_driver_sql(asked).scalar_one()


def meeting(first: str, second: str, barrier: threading.Barrier) -> tuple[Work, list[int]]:
    """A work that locks one row, waits for the other work the first time, and locks the second; how often it was
    begun."""
    begun: list[int] = []

    def work(connection: sa.Connection) -> None:
        begun.append(1)
        add(connection, first)
        if len(begun) == 1:
            barrier.wait(10)
        add(connection, second)

    return work, begun


def test_two_that_lock_in_another_order_are_both_done_once(engine):
    """A deadlock for certain: one is ended by PostgreSQL and done again; without that its caller would hear of it."""
    barrier = threading.Barrier(2)
    one, begun = meeting("one", "two", barrier)
    other, begun_too = meeting("two", "one", barrier)
    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(in_transaction, engine, work) for work in (one, other)]:
            done.result(30)
    assert numbers(engine) == {"one": 2, "two": 2}
    assert len(begun) + len(begun_too) == 3


def test_a_group_commit_and_another_transaction_that_meet_are_both_done_once(engine):
    """Several trades' works committed together, which lock row after row, against a transaction of the service that
    locks them the other way round; whoever is ended, all are done once, and those beside it, too."""
    commits, barrier, gathered = GroupCommit(engine), threading.Barrier(2), threading.Event()
    first, second = meeting("one", "two", barrier)[0], meeting("two", "one", barrier)[0]

    def slow(connection: sa.Connection) -> None:
        gathered.wait(10)

    def beside(connection: sa.Connection) -> None:
        connection.execute(sa.insert(counts).values(name="beside", number=1))

    with ThreadPoolExecutor(5) as pool:
        asked = [pool.submit(commits.run, slow)]
        while not commits._turn.locked():
            pass
        asked += [pool.submit(commits.run, work) for work in (beside, first)]
        while len(commits._waiting) < 2:
            pass
        gathered.set()
        asked.append(pool.submit(in_transaction, engine, second))
        for done in asked:
            done.result(30)
    assert numbers(engine) == {"one": 2, "two": 2, "beside": 1}


def test_what_always_loses_is_told_in_the_end(engine):
    """It is not tried for ever, and nothing of it is kept; the pauses are drawn from what was handed in alone."""
    tried, rng, drawn = count(), random.Random(3), random.getstate()

    def work(connection: sa.Connection) -> None:
        next(tried)
        add(connection, "one")
        raised = "DO $$ BEGIN RAISE EXCEPTION 'again' USING ERRCODE = '40001'; END $$"
        connection.exec_driver_sql(raised)

    with pytest.raises(sa.exc.OperationalError):
        in_transaction(engine, work, rng=rng)
    assert next(tried) == MOST_TRIES
    assert random.getstate() == drawn
    assert rng.getstate() != random.Random(3).getstate()
    assert numbers(engine) == {"one": 0, "two": 0}


def test_the_ledger_has_no_deadlocks_of_its_own(engine):
    """A group commit of several trades' postings and postings of the service, on the same accounts in another order,
    each begun while the other holds its first account: one waits for the other, and the books are whole."""
    with engine.begin() as connection:
        for channel in CHANNELS:
            post(connection, bookings.fund(transfer_id=channel, channel=channel, amount_fen=10_000), now=NOW)
    before, met = deadlocks(engine), threading.Barrier(2)

    def frozen(number: int, channels: tuple[Channel, ...], *, meets: bool) -> Work:
        def work(connection: sa.Connection) -> None:
            for channel in channels:
                name = f"{number}/{channel}"
                money = bookings.freeze_payout(
                    transfer_id=name, trade_id=name, channel=channel, amount_fen=10
                )
                post(connection, money, now=NOW)
                if meets:
                    with suppress(threading.BrokenBarrierError):
                        met.wait(0.1)

        return work

    commits = GroupCommit(engine)
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(commits.run, frozen(0, CHANNELS, meets=True))]
        asked.append(pool.submit(in_transaction, engine, frozen(1, CHANNELS[::-1], meets=True)))
        for number in range(2, 26):
            channels = CHANNELS[:: 1 if number % 3 else -1]
            run = commits.run if number % 2 else lambda work: in_transaction(engine, work)
            asked.append(pool.submit(run, frozen(number, channels, meets=False)))
        for done in asked:
            done.result(60)
    assert deadlocks(engine) == before
    _books_are_whole(engine, frozen_fen=260)


def test_the_ledger_above_read_committed(engine):
    """Under SERIALIZABLE PostgreSQL ends who was overtaken; done again, every posting stands once."""
    strict = engine.execution_options(isolation_level="SERIALIZABLE")
    with engine.begin() as connection:
        for channel in CHANNELS:
            post(connection, bookings.fund(transfer_id=channel, channel=channel, amount_fen=10_000), now=NOW)

    def frozen(number: int, channel: Channel) -> Work:
        def work(connection: sa.Connection) -> None:
            name = f"{number}/{channel}"
            money = bookings.freeze_payout(transfer_id=name, trade_id=name, channel=channel, amount_fen=10)
            post(connection, money, now=NOW)

        return work

    with ThreadPoolExecutor(2) as pool:
        asked = [
            pool.submit(in_transaction, strict, frozen(number, channel))
            for number in range(8)
            for channel in CHANNELS
        ]
        for done in asked:
            done.result(60)
    _books_are_whole(engine, frozen_fen=80)


def _books_are_whole(engine: sa.Engine, *, frozen_fen: int) -> None:
    with engine.connect() as connection:
        assert audit(connection).clean
        assert books_sum(connection) == 0
        for channel in CHANNELS:
            assert balance(connection, cash(channel)).available_fen == 10_000 - frozen_fen
            assert balance(connection, transit(channel)).debits_pending == frozen_fen


def test_who_loses_a_race_holds_up_nobody(engine):
    """A work that was committed together with one that is done again hears of it at once, and others go on committing
    meanwhile; the loser is done in the end."""
    commits, gathered, tried, ends = GroupCommit(engine), threading.Event(), count(), threading.Event()

    def slow(connection: sa.Connection) -> None:
        gathered.wait(10)

    def loses(connection: sa.Connection) -> str:
        if next(tried) == 0:
            raised = "DO $$ BEGIN RAISE EXCEPTION 'again' USING ERRCODE = '40001'; END $$"
            connection.exec_driver_sql(raised)
        ends.wait(10)
        add(connection, "one")
        return "done"

    with ThreadPoolExecutor(4) as pool:
        pool.submit(commits.run, slow)
        while not commits._turn.locked():
            pass
        lost = pool.submit(commits.run, loses)
        while len(commits._waiting) < 1:
            pass
        beside = pool.submit(commits.run, lambda connection: add(connection, "two"))
        while len(commits._waiting) < 2:
            pass
        gathered.set()
        try:
            beside.result(5)
            pool.submit(commits.run, lambda connection: add(connection, "two")).result(5)
            assert not lost.done()
        finally:
            ends.set()
        assert lost.result(10) == "done"
    assert numbers(engine) == {"one": 1, "two": 2}
