"""The analysts' queue: those first at which a look saves most, and nobody waits for ever."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa

from pipelines.application_data import ApplicationData, quotes
from pipelines.recycling.reconciling import CHINA
from pipelines.recycling.review_queue import LONGEST_WAIT, listed, reviews_left
from pipelines.recycling.trade_tables import steps, submissions
from tests.conftest import TODAY

NOW = TODAY + timedelta(hours=9)
OVERDUE = LONGEST_WAIT + timedelta(minutes=1)
LONGER = OVERDUE + timedelta(hours=1)


@pytest.fixture
def data(each_database: str) -> ApplicationData:
    return ApplicationData(each_database)


def wait(data: ApplicationData, name: str, priority: float | None, *, since: timedelta, **changes) -> None:
    """A trade that has waited for a person since, whose quote was kept with this priority (in fen)."""
    row = dict.fromkeys(column.name for column in submissions.c) | {
        "submission_id": name,
        "state": "person_needed",
        "quote_id": f"q-{name}",
        "asked": {"card": {}},
        "facts": {},
        "created_at": NOW - since,
        "moved_at": NOW - since,
    }
    texts = ("trouble", "profile", "client_id", "seller_id", "card_id", "fingerprint", "channel", "payee_ref")
    row |= dict.fromkeys((*texts, "decision", "law_version"), "")
    row |= dict.fromkeys(("version", "failures", "payout_fen", "first_payout_fen"), 1)
    quote = {
        "quote_id": f"q-{name}",
        "trade_id": name,
        "submitted_at": NOW,
        "valid_until": NOW,
        "first": False,
        "client_id": "",
        "trade": {},
        "answer": {"analyst": {"review_priority_fen": priority, "review_saving_fen": priority}},
    }
    with data.transaction() as connection:
        connection.execute(sa.insert(submissions).values(row | changes))
        if priority != 0.0:  # a quote that is not kept any more says nothing
            connection.execute(sa.insert(quotes).values(quote))


def names(data: ApplicationData, state: str = "person_needed", most: int = 50) -> list[str]:
    with data.transaction() as connection:
        return [one.row["submission_id"] for one in listed(connection, state=state, now=NOW, most=most)]


def test_the_queue_is_worked_by_what_a_look_saves_and_nothing_starves(data):
    """The highest priority first, of equal ones the oldest; without a score as one of 0; whoever has waited longer than
    LONGEST_WAIT stands before all, the oldest first. Other states are listed the oldest first."""
    minutes = {
        name: timedelta(minutes=number) for number, name in enumerate(("a", "b", "c", "d", "e", "f"), 1)
    }
    wait(data, "costs", -500.5, since=minutes["a"])
    wait(data, "little", 10.0, since=minutes["f"])
    wait(data, "much", 90_000.0, since=minutes["b"])
    wait(data, "equal-older", 90_000.0, since=minutes["c"])
    wait(data, "no-score", None, since=minutes["d"])
    wait(data, "no-quote", 0.0, since=minutes["e"])
    wait(data, "overdue", -9_000.0, since=OVERDUE)
    wait(data, "overdue-longer", -9_900.0, since=LONGER)
    in_order = ["overdue-longer", "overdue", "equal-older", "much", "little", "no-quote", "no-score", "costs"]
    assert names(data) == in_order
    assert names(data, most=4) == in_order[:4]
    wait(data, "newer", 5.0, since=minutes["a"], state="frozen")
    wait(data, "older", 1.0, since=minutes["b"], state="frozen")
    assert names(data, "frozen") == ["older", "newer"]


def test_the_capacity_of_the_day_counts_what_people_decided_on_it(data):
    """Decisions of people about what waited for one, since midnight in China; never fewer than none are left."""
    midnight = datetime(2026, 3, 1, tzinfo=CHINA)
    rows = [
        ("person_needed", "person", midnight - timedelta(minutes=1)),
        ("person_needed", "person", midnight),
        ("person_needed", "person", NOW),
        ("person_needed", "seller", NOW),
        ("frozen", "person", NOW),
    ]
    told = {"submission_id": "r", "target": "quoted", "by": "li", "why": "approved"}
    with data.transaction() as connection:
        for number, (source, actor, at) in enumerate(rows):
            step = told | {"version": number, "source": source, "actor": actor, "at": at}
            connection.execute(sa.insert(steps).values(step))
        left = [reviews_left(connection, per_day=per_day, now=NOW) for per_day in (0, 1, 2, 5)]
    assert left == [None, 0, 0, 3]
