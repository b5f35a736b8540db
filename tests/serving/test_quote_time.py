"""A quote has one time for all that it asks on its way: what would take it longer is gone without, and named."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import redis
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from features.store import FeatureStore
from pipelines.databases import open_engine
from pipelines.quote_time import LAST_WAIT, longest_wait, seconds_left, within
from pipelines.workspace import Workspace
from serving.api.degraded import NO_FEATURES
from serving.api.desk import Desk
from serving.api.quote_queue import AT_ONCE
from serving.api.wiring import STATES_SECONDS, STATES_TRIES, build_desk
from tests.serving.conftest import SERVERS, desk_of
from tests.serving.test_quote_queue import ask_together, asking

SLOW = 0.2
WORK = 2.0
"""Seconds that a busy machine may take over the models and the disk beside all waiting."""


@contextmanager
def measured(most: float) -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < most


def codes(answers: list[dict]) -> list[str]:
    return ["".join(answer["degraded"]) for answer in answers]


@pytest.fixture
def slow_states(desk, monkeypatch) -> list[float]:
    """From now on the store takes its time over every answer, but not long enough to be given up; when it was asked."""
    asked: list[float] = []
    read, write = FeatureStore.read_states, FeatureStore.write_states

    def slowly(work):
        def wrapped(*given, **named):
            asked.append(time.monotonic())
            time.sleep(SLOW)
            return work(*given, **named)

        return wrapped

    monkeypatch.setattr(FeatureStore, "read_states", slowly(read))
    monkeypatch.setattr(FeatureStore, "write_states", slowly(write))
    return asked


def test_nobody_waits_for_slow_states_again_and_again(desk, clock, slow_states):
    """Behind a slow feature store the first quotes are whole; those that waited for them are answered without states
    and say so, as soon as there is less time left than an answer may take, and what is recorded is told later."""
    hurried = replace(desk, quote_seconds=STATES_TRIES * STATES_SECONDS + SLOW)
    began = time.monotonic()
    found = codes(ask_together(hurried, [asking(number) for number in range(3 * AT_ONCE)]))
    assert found == [""] * AT_ONCE + [NO_FEATURES] * 2 * AT_ONCE
    assert max(slow_states) - began < hurried.quote_seconds
    clock.forward(minutes=1)
    assert codes(ask_together(desk, [asking(99)])) == [""]
    desk.log.catch_up(now=clock.now)
    assert desk.engine.live.applied == desk.data.log_head


def test_a_quote_without_time_is_answered_without_states(desk, clock, slow_states):
    """Who has waited through the time gets a recorded answer at once, without anything being asked that may be slow."""
    late = replace(asking(1), since=time.monotonic() - desk.quote_seconds)
    answer = desk.quote_all([late], now=clock.now)[0]
    assert answer["degraded"] == [NO_FEATURES]
    assert answer["decision"] in ("hold", "review")
    assert desk.data.quote(answer["quote_id"]) is not None
    assert slow_states == []


@pytest.mark.both_storages
def test_a_redis_that_does_not_answer_takes_no_more_than_the_time(live_workspace, clock, champions, storage):
    """While Redis stands still every quote is answered within its time, and whole again once it answers."""
    if storage != SERVERS:
        pytest.skip("the states are in a file")
    desk = _desk(live_workspace, clock, champions)
    server = redis.Redis.from_url(live_workspace.settings.storage.online_url)
    assert codes(ask_together(desk, [asking(0)])) == [""]
    stands = desk.quote_seconds + WORK
    server.execute_command("CLIENT", "PAUSE", int(1_000 * stands), "ALL")
    with measured(stands):
        found = codes(ask_together(desk, [asking(number) for number in range(2 * AT_ONCE)]))
    assert found == [NO_FEATURES] * 2 * AT_ONCE
    server.ping()  # answered once the pause is over: nothing ends it before
    clock.forward(minutes=1)
    time.sleep(0.6)  # the breaker's rest
    assert codes(ask_together(desk, [asking(99)])) == [""]


def _desk(workspace: Workspace, clock, champions) -> Desk:
    desk = desk_of(workspace, clock, models=champions)
    return replace(desk, quote_seconds=workspace.settings.serving.quote_seconds)


def test_a_database_that_is_slow_is_waited_for_no_longer_than_the_time(postgres_url):
    """A quote's statement is given up with the quote's time, and nobody waits for a new connection behind it."""
    engine = open_engine(postgres_url, answer_seconds=30)
    try:
        with measured(0.5 + WORK), within(0.5, since=time.monotonic()):
            for _ in range(5):
                with pytest.raises(OperationalError), engine.connect() as connection:
                    connection.execute(sa.select(sa.func.pg_sleep(20)))
    finally:
        engine.dispose()


def test_time_ends_where_it_began(monkeypatch):
    """Outside of a quote there is no end; a late one waits a last moment for what it cannot go without."""
    assert longest_wait(4.0) == 4.0
    with within(1.0, since=time.monotonic()):
        assert 0.9 < longest_wait(4.0) <= 1.0
    with within(1.0, since=time.monotonic() - 5):
        assert seconds_left() < 0
        assert longest_wait(4.0) == LAST_WAIT
    assert longest_wait(4.0) == 4.0


def test_the_time_is_a_setting(live_workspace, champions, monkeypatch):
    """`quote_seconds` of `[serving]` is what the service's quotes may take."""
    monkeypatch.setenv("HUIKA_SERVING__QUOTE_SECONDS", "1.5")
    assert build_desk(Workspace.open(live_workspace.home), models=champions).quote_seconds == 1.5
