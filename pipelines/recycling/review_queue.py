"""The analysts' queue: trades that wait for a person, those first at which a look saves most."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Any

import sqlalchemy as sa

from pipelines.application_data import quotes
from pipelines.recycling.reconciling import CHINA
from pipelines.recycling.trade_tables import steps, submissions

WAITING = "person_needed"
LONGEST_WAIT = timedelta(hours=24)
"""Who waits longer comes before all others, however little a look saves: the oldest first."""

_KEPT = quotes.c.answer["analyst"]
PRIORITY = _KEPT["review_priority_fen"].as_float()
SAVING = _KEPT["review_saving_fen"].as_float()


@dataclass(frozen=True)
class Queued:
    """A trade of a list. saving_fen: what a look at it is expected to save, priority_fen: its place in the queue, as
    its quote was kept; None where no model scored it. is_overdue: it has waited longer than LONGEST_WAIT for a
    person."""

    row: Mapping[str, Any]
    saving_fen: float | None
    priority_fen: float | None
    is_overdue: bool


def listed(connection: sa.Connection, *, state: str, now: datetime, most: int) -> list[Queued]:
    """Trades in a state: those that wait for a person in the order of the queue, all others the oldest first.

    A trade without a priority counts as one of 0: behind those at which a look saves, before those at which it costs.
    """
    limit = now - LONGEST_WAIT
    chosen = sa.select(submissions, SAVING.label("saving_fen"), PRIORITY.label("priority_fen"))
    chosen = chosen.outerjoin_from(submissions, quotes, quotes.c.quote_id == submissions.c.quote_id)
    chosen = chosen.where(submissions.c.state == state)
    if state == WAITING:
        worth = sa.case((submissions.c.moved_at < limit, None), else_=sa.func.coalesce(PRIORITY, 0.0))
        overdue_first = sa.case((submissions.c.moved_at < limit, 0), else_=1)
        chosen = chosen.order_by(overdue_first, worth.desc())
    chosen = chosen.order_by(submissions.c.moved_at, submissions.c.submission_id).limit(most)
    found = []
    for row in connection.execute(chosen).mappings():
        trade = {name: value for name, value in row.items() if name in submissions.c}
        is_overdue = state == WAITING and trade["moved_at"] < limit
        found.append(Queued(trade, row["saving_fen"], row["priority_fen"], is_overdue))
    return found


def reviews_left(connection: sa.Connection, *, per_day: int, now: datetime) -> int | None:
    """How many more trades the analysts can look at on this day of China; None where no number a day is set."""
    if not per_day:
        return None
    midnight = datetime.combine(now.astimezone(CHINA).date(), time(), tzinfo=CHINA)
    done = sa.select(sa.func.count()).where(
        steps.c.at >= midnight, steps.c.source == WAITING, steps.c.actor == "person"
    )
    return max(per_day - connection.execute(done).scalar_one(), 0)
