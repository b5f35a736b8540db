"""Lists as of any moment: an entry counts after it was made and until it expires or is taken off."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.fraud.lists import KINDS, LISTS, ListChange, Lists

MOMENTS = np.array([99, 100, 101, 149, 150, 151])


def listed(lists: Lists, kind: str = "seller", value: str | None = "s", at: np.ndarray = MOMENTS):
    ids = {KINDS[kind]: np.full(len(at), value, dtype=object)}
    return lists.listed(submitted=ids, submitted_at=at)


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("name", LISTS)
def test_an_entry_counts_after_it_was_made_and_before_it_expires(kind, name):
    """Of every kind and on every list; the moment of the entry itself is not after it."""
    lists = Lists()
    lists.add(ListChange(name, kind, "s", at_ms=100, until_ms=150))
    found = listed(lists, kind)
    assert getattr(found, name).tolist() == [False, False, True, True, False, False]
    for other in set(LISTS) - {name}:
        assert not getattr(found, other).any()
    assert not getattr(listed(lists, kind, "another"), name).any()
    assert not getattr(listed(lists, kind, None), name).any()


def test_the_last_change_before_a_moment_says():
    """A removal ends an entry, an addition after it begins anew; the past stays what it was."""
    lists = Lists()
    lists.add(ListChange("block", "seller", "s", at_ms=99))
    lists.add(ListChange("block", "seller", "s", at_ms=100, until_ms=100))
    lists.add(ListChange("block", "seller", "s", at_ms=149))
    assert listed(lists).block.tolist() == [False, True, False, False, True, True]


def test_a_change_may_arrive_after_a_later_one():
    """Another machine's clock may be behind: what counts is the time that a change carries."""
    lists = Lists()
    lists.add(ListChange("block", "seller", "s", at_ms=150, until_ms=150))
    lists.add(ListChange("block", "seller", "s", at_ms=100))
    assert listed(lists).block.tolist() == [False, False, True, True, True, False]


def test_an_id_that_is_not_given_is_on_no_list():
    """Trades that do not say their device are not on a list of devices."""
    lists = Lists()
    lists.add(ListChange("block", "device", "d", at_ms=0))
    assert not lists.listed(submitted={}, submitted_at=MOMENTS).block.any()


@given(st.lists(st.tuples(st.integers(0, 30), st.one_of(st.none(), st.integers(0, 40))), max_size=8))
def test_lists_say_what_a_plain_reading_of_all_changes_says(changes):
    """Whatever was added and removed in whatever order, every moment follows the last change before it."""
    lists = Lists()
    for at_ms, until_ms in changes:
        lists.add(
            ListChange(
                "watch", "ip", "1.2.3.4", at_ms=at_ms, until_ms=at_ms if until_ms is None else until_ms
            )
        )
    moments = np.arange(45)
    expected = []
    for moment in moments:
        before = sorted(
            (change for change in enumerate(changes) if change[1][0] < moment),
            key=lambda change: (change[1][0], change[0]),
        )
        until = None if not before else before[-1][1][1]
        expected.append(until is not None and moment < until)
    assert listed(lists, "ip", "1.2.3.4", moments).watch.tolist() == expected


@pytest.mark.parametrize("name", LISTS)
def test_an_entry_in_shadow_is_seen_apart_and_the_last_change_says_its_mode(name):
    """In shadow it is on no list that counts; made live, or the other way round, it changes with the next moment."""
    lists = Lists()
    lists.add(ListChange(name, "seller", "s", at_ms=99, shadow=True))
    lists.add(ListChange(name, "seller", "s", at_ms=149))
    found = listed(lists)
    assert found.shadow[name].tolist() == [False, True, True, True, False, False]
    assert getattr(found, name).tolist() == [False, False, False, False, True, True]
    assert not any(found.shadow[other].any() for other in set(LISTS) - {name})
