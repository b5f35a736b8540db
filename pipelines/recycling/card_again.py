"""Whether a card may be offered again: it is in one trade at a time, offering it anew is no way round a refusal, and
its secret is not guessed."""

from __future__ import annotations

from datetime import datetime, timedelta

import sqlalchemy as sa

from pipelines.application_data import one_at_a_time
from pipelines.recycling.trade_tables import steps, submissions

WITHOUT_PURCHASE = ("rejected", "declined", "lapsed", "cancelled", "returned")
"""States in which a trade has ended and its card was not bought."""
REFUSED = ("refused", "rejected_by_person")
"""Why a trade was turned down where that was a judgement: who does not agree asks for a person's review of it."""
APPROVED = ("approved", "approved_late")
"""Why a trade goes on that a person looked at: the judgement before it no longer stands."""

WRONG_SECRET = "card_wrong_secret"
MOST_WRONG_SECRETS = 3
WITHIN = timedelta(days=1)
"""So many wrong secrets of one card in so long, and it rests until the first of them is older: a person who types does
not need more, and whoever guesses gets nowhere."""


def decide_alone(connection: sa.Connection, fingerprint: str) -> None:
    """Let one transaction at a time decide whether this card is free."""
    one_at_a_time(connection, int.from_bytes(bytes.fromhex(fingerprint)[:8], signed=True))


def is_held(connection: sa.Connection, fingerprint: str, *, apart_from: str) -> bool:
    """Whether a trade other than ``apart_from`` has the card: one that goes on or bought it, or was refused."""
    chosen = sa.select(submissions.c.submission_id, submissions.c.state).where(
        submissions.c.fingerprint == fingerprint, submissions.c.submission_id != apart_from
    )
    found = dict(connection.execute(chosen).tuples().all())
    if any(state not in WITHOUT_PURCHASE for state in found.values()):
        return True
    judged = sa.select(steps.c.submission_id, steps.c.why).where(
        steps.c.submission_id.in_(list(found)), steps.c.why.in_((*REFUSED, *APPROVED))
    )
    last = dict(connection.execute(judged.order_by(steps.c.seq)).tuples().all())
    return any(why in REFUSED for why in last.values())


def rests_until(connection: sa.Connection, fingerprint: str, *, now: datetime) -> datetime | None:
    """Until when the card is not taken since it came with too many wrong secrets; None: it is taken."""
    chosen = (
        sa.select(steps.c.at)
        .join(submissions, submissions.c.submission_id == steps.c.submission_id)
        .where(submissions.c.fingerprint == fingerprint, steps.c.why == WRONG_SECRET)
        .where(steps.c.at > now - WITHIN)
        .order_by(steps.c.at.desc())
        .limit(MOST_WRONG_SECRETS)
    )
    times = list(connection.execute(chosen).scalars())
    return times[-1] + WITHIN if len(times) == MOST_WRONG_SECRETS else None
