"""Garbage is looked for while a worker rests."""

from __future__ import annotations

import asyncio
import gc
import weakref
from contextlib import suppress
from itertools import count

import pytest

from serving.api import collecting
from serving.api.collecting import Collecting


class _Node:
    """Refers to itself, so that only the collector can end it."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture
def old() -> weakref.ref[_Node]:
    """Garbage that has survived a first look, as what a long request leaves."""
    node = _Node()
    gc.collect()
    return weakref.ref(node)


def test_everything_is_looked_at_while_the_worker_rests(old) -> None:
    """A worker that used no processor while it was listened to is collected."""
    _kept_for_a_moment(Collecting(processor_seconds=lambda: 5.0, look_seconds=0.0, listen_seconds=0.0))
    assert old() is None


def test_a_busy_worker_is_left_alone_but_not_for_ever(old, monkeypatch) -> None:
    """Under load the looks are put off, MOST_PUT_OFF of them at most."""
    monkeypatch.setattr(collecting, "MOST_PUT_OFF", 3)
    worker = Collecting()
    for _ in range(3):
        worker.look(busy=True)
        assert old() is not None
    worker.look(busy=True)
    assert old() is None


def test_a_worker_that_works_while_it_is_listened_to_is_busy(old, monkeypatch) -> None:
    """Nothing is collected while the processor time grows."""
    monkeypatch.setattr(collecting, "MOST_PUT_OFF", 10**9)
    _kept_for_a_moment(Collecting(processor_seconds=count().__next__, look_seconds=0.0, listen_seconds=0.0))
    assert old() is not None


def _kept_for_a_moment(worker: Collecting) -> None:
    async def keep() -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(worker.keep(), timeout=0.05)

    asyncio.run(keep())
