"""Lists in the application database: every change is kept, and a reader knows it a few seconds later."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import cast

import numpy as np
import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from features.catalogue import load_catalogue
from features.rows import to_microseconds
from pipelines.application_data import ApplicationData
from pipelines.screening.list_data import (
    REFRESH,
    Entry,
    ListData,
    ListError,
    ListReader,
    checked,
    read_lists,
    screening_lists,
)
from tests.conftest import TODAY

HOUR = timedelta(hours=1)


@pytest.fixture
def data(each_database: str) -> ListData:
    return ListData.open(ApplicationData(each_database))


def entry(**changes) -> Entry:
    parts = {"list": "block", "kind": "seller", "value": "s-1", "author": "li", "why": "chargebacks"}
    return Entry(**(parts | changes))


def blocked(lists, *moments) -> list[bool]:
    at = np.array([to_microseconds(moment) // 1000 for moment in moments])
    ids = {"seller_id": np.full(len(moments), "s-1", dtype=object)}
    return lists.listed(submitted=ids, submitted_at=at).block.tolist()


def test_every_change_is_kept_and_the_past_stays_what_it_was(data):
    """Added, removed and added again: all three are stored with author and reason, and each moment is answered."""
    data.write([entry()], now=TODAY)
    data.write([entry(change="removed", author="wang", why="a mistake")], now=TODAY + HOUR)
    data.write([entry(expires_at=TODAY + 4 * HOUR)], now=TODAY + 2 * HOUR)
    rows = data.after(0)
    assert [(row["change"], row["author"]) for row in rows] == [
        ("added", "li"),
        ("removed", "wang"),
        ("added", "li"),
    ]
    moments = [TODAY + number * HOUR + timedelta(minutes=1) for number in range(5)]
    assert blocked(read_lists(data), TODAY, *moments) == [False, True, False, True, True, False]
    assert len(data.active(now=TODAY + 3 * HOUR)) == 1
    assert data.active(now=TODAY + 4 * HOUR) == []


def test_what_changes_nothing_is_not_written(data):
    """The same file imported twice adds its entries once; another expiry is a change; so is coming back later."""
    until = TODAY + 2 * HOUR
    assert data.write([entry(expires_at=until), entry(expires_at=until)], now=TODAY) == 1
    assert data.write([entry(expires_at=until)], now=TODAY + HOUR) == 0
    assert data.write([entry()], now=TODAY + HOUR) == 1
    assert data.write([entry(kind="device", change="removed")], now=TODAY + HOUR) == 0
    assert data.write([entry(change="removed")], now=TODAY + HOUR) == 1
    assert data.write([entry(change="removed")], now=TODAY + HOUR) == 0


def test_a_reader_sees_a_change_once_its_view_is_old_enough(data):
    """Within REFRESH it answers from what it knows; after it, it reads the new rows and only those."""
    reader = ListReader(data)
    reader.refresh(now=TODAY)
    data.write([entry()], now=TODAY)
    later = TODAY + HOUR
    reader.refresh(now=TODAY + REFRESH / 2)
    assert blocked(reader.lists, later) == [False]
    reader.refresh(now=TODAY + REFRESH)
    assert blocked(reader.lists, later) == [True]
    data.write([entry(change="removed")], now=TODAY + HOUR)
    reader.refresh(now=TODAY + 2 * HOUR)
    assert blocked(reader.lists, TODAY + HOUR, TODAY + 2 * HOUR) == [True, False]


@dataclass
class Heard:
    """An application database on PostgreSQL of which only the statements are kept; ``rows`` is what it holds."""

    rows: sa.Result
    said: list[str] = field(default_factory=list)

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        self.said.append("BEGIN")
        yield cast("sa.Connection", sa.create_mock_engine("postgresql://", self._hear))
        self.said.append("COMMIT")

    def _hear(self, statement: sa.ClauseElement, *parameters: object) -> sa.Result:
        self.said.append(str(statement.compile(dialect=postgresql.dialect())))
        return self.rows


def test_on_postgresql_changes_become_visible_in_the_order_of_their_numbers(data):
    """Numbers are drawn at the insert: the lock comes first in the transaction, before the lists are read, and is held
    until the commit. A reader cannot pass a number that shows later."""
    heard = Heard(rows=_nothing(data))
    assert ListData(cast("ApplicationData", heard)).write([entry()], now=TODAY) == 1
    first = [statement.split("(")[0].split()[:2] for statement in heard.said]
    assert first == [
        ["BEGIN"],
        ["SELECT", "pg_advisory_xact_lock"],
        *first[2:3],
        ["INSERT", "INTO"],
        ["COMMIT"],
    ]
    assert "FROM screening_lists" in heard.said[2]


def _nothing(data: ListData) -> sa.Result:
    with data.data.transaction() as connection:
        return connection.execute(sa.select(screening_lists).where(sa.false())).freeze()()


WRONG = {
    "list": ({"list": "grey"}, "list: there is no 'grey'"),
    "kind": ({"kind": "person"}, "kind: there is no 'person'"),
    "author": ({"author": " "}, "author and why"),
    "why": ({"why": ""}, "author and why"),
    "value": ({"value": "  "}, "value: 1 to 128"),
    "long value": ({"value": "x" * 129}, "value: 1 to 128"),
    "address": ({"kind": "ip", "value": "1.2.3"}, "not an IP address"),
    "expiry": ({"expires_at": TODAY}, "is over"),
    "card number": (
        {"kind": "card_fingerprint", "value": "JDV12345678901234567"},
        "looks like a card number",
    ),
    "digits": ({"kind": "card_fingerprint", "value": "6222 0212-3456"}, "looks like a card number"),
    "long prefix": ({"kind": "card_prefix", "value": "62220212345678901"}, "looks like a card number"),
}


@pytest.mark.parametrize("name", list(WRONG))
def test_an_entry_that_cannot_be_taken_is_refused_by_name(name):
    """Unknown words, nobody's entries, dead ones, and what may be a card number, which is not repeated."""
    changes, said = WRONG[name]
    with pytest.raises(ListError, match=said) as refused:
        checked(entry(**changes), catalogue=load_catalogue(), now=TODAY)
    if said == "looks like a card number":
        assert changes["value"] not in str(refused.value)


def test_ids_as_they_stand_in_trades_are_taken():
    """Fingerprints, batches, numeric sellers and IPv6 addresses pass, without the blanks around them."""
    for kind, value in (
        ("card_fingerprint", "a3f09b11c2d4e5f6"),
        ("card_prefix", "b0042"),
        ("card_prefix", "622202"),
        ("seller", "13800138000"),
        ("ip", "2001:db8::1"),
    ):
        taken = checked(entry(kind=kind, value=f" {value} "), catalogue=load_catalogue(), now=TODAY)
        assert taken.value == value
