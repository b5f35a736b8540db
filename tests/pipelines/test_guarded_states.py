"""A store of live states that does not answer is left alone for a while."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import pytest

from features.store import OnlineStoreUnavailable
from pipelines.guarded_states import PATIENCE, GuardedStates
from pipelines.quote_time import within

NOW = datetime(2026, 3, 1, tzinfo=UTC)


class Flaky:
    """A store that counts how often it is asked."""

    def __init__(self) -> None:
        self.is_down, self.asked = True, 0

    def read_states(self, keys: Sequence[str]) -> list[bytes | None]:
        self.asked += 1
        if self.is_down:
            raise OnlineStoreUnavailable("online store: away")
        return [b"x"] * len(keys)

    def write_states(self, states: Mapping[str, bytes], *, now: datetime) -> None:
        self.read_states(list(states))


@pytest.fixture
def seconds() -> list[float]:
    return [100.0]


def test_a_store_that_failed_is_not_asked_again_at_once(seconds):
    """Between a failure and the end of the rest every call is refused without asking the store."""
    store = Flaky()
    states = GuardedStates(store, clock=lambda: seconds[0])
    for _ in range(20):
        with pytest.raises(OnlineStoreUnavailable):
            states.read_states(["a"])
    assert store.asked == 1
    seconds[0] += PATIENCE.first_rest
    with pytest.raises(OnlineStoreUnavailable):
        states.write_states({"a": b"x"}, now=NOW)
    assert store.asked == 2


def test_rests_grow_to_a_limit_and_end_with_the_first_answer(seconds):
    """Each failure doubles the rest up to the longest; one answer makes the next failure's rest the first again."""
    store = Flaky()
    states = GuardedStates(store, clock=lambda: seconds[0])
    rests = []
    for _ in range(8):
        with pytest.raises(OnlineStoreUnavailable):
            states.read_states(["a"])
        rest = PATIENCE.first_rest
        while True:
            seconds[0] += PATIENCE.first_rest
            asked = store.asked
            with pytest.raises(OnlineStoreUnavailable):
                states.read_states(["a"])
            if store.asked > asked:
                break
            rest += PATIENCE.first_rest
        rests.append(rest)
    assert rests == sorted(rests)
    assert rests[-1] == PATIENCE.longest_rest
    store.is_down = False
    seconds[0] += PATIENCE.longest_rest
    assert states.read_states(["a", "b"]) == [b"x", b"x"]
    store.is_down = True
    with pytest.raises(OnlineStoreUnavailable):
        states.read_states(["a"])
    seconds[0] += PATIENCE.first_rest
    store.is_down = False
    assert states.read_states(["a"]) == [b"x"]


def test_a_quote_without_time_does_not_ask(seconds):
    """Where less time is left than the store may take it is not asked, and that says nothing about the store."""
    store = Flaky()
    store.is_down = False
    states = GuardedStates(store, longest=0.5)
    with within(0.4, since=time.monotonic()), pytest.raises(OnlineStoreUnavailable, match="no time left"):
        states.read_states(["a"])
    assert store.asked == 0
    with within(10.0, since=time.monotonic()):
        assert states.read_states(["a"]) == [b"x"]
