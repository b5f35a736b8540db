"""What the flow deletes when its time is over: secrets of ended trades, what evidence leaves said, heard callbacks and
calls of providers, readings of photos.

The trade's row, its steps, the money and the leaves with their proofs stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from pipelines.recycling import evidence_tables, vault_tables
from pipelines.recycling.callback_tables import outbox
from pipelines.recycling.opening import Recycling
from pipelines.recycling.provider_callbacks import provider_calls
from pipelines.recycling.states import STATES
from pipelines.recycling.trade_tables import submissions
from pipelines.settings import RecyclingSettings

ENDED = tuple(state.code for state in STATES.values() if state.is_end)
AT_ONCE = 500
CALLS_KEPT = timedelta(days=35)
"""How long the event ids of providers' calls are kept: five minutes after it was signed a call is refused, and no
provider repeats one for weeks; heard again, it would let the provider be asked once more. The evidence of it stays."""


@dataclass(frozen=True)
class Overdue:
    """What may go. card_ids: of ended trades, with a secret still in the vault; payloads: what leaves said; callbacks:
    those that were heard; calls: of providers. Each with the moment before which it ended, was written or was heard."""

    card_ids: tuple[str, ...]
    secrets_before: datetime
    payloads: int
    evidence_before: datetime
    callbacks: int
    calls: int
    calls_before: datetime


def overdue(
    opened: Recycling, settings: RecyclingSettings, *, now: datetime, before: datetime | None = None
) -> Overdue:
    """What is older than the settings' days, and than ``before`` where that is earlier: nothing goes too soon."""
    secrets_before = _earlier(now - timedelta(days=settings.secrets_days), before)
    evidence_before = _earlier(now - timedelta(days=settings.evidence_days), before)
    calls_before = _earlier(now - CALLS_KEPT, before)
    old_leaves = sa.select(evidence_tables.leaves.c.seq).where(evidence_tables.leaves.c.at < evidence_before)
    with opened.engine.connect() as connection:
        ended = sa.select(submissions.c.card_id).where(
            submissions.c.state.in_(ENDED), submissions.c.moved_at < secrets_before
        )
        cards = list(connection.execute(ended).scalars())
        payloads = connection.execute(
            sa.select(sa.func.count()).where(evidence_tables.payloads.c.seq.in_(old_leaves))
        ).scalar_one()
        callbacks = connection.execute(
            sa.select(sa.func.count()).select_from(outbox).where(*_heard(secrets_before))
        ).scalar_one()
        calls = connection.execute(
            sa.select(sa.func.count()).where(provider_calls.c.heard_at < calls_before)
        ).scalar_one()
    return Overdue(
        _unshredded(opened, cards), secrets_before, payloads, evidence_before, callbacks, calls, calls_before
    )


def purge(opened: Recycling, found: Overdue, *, actor: str, now: datetime) -> None:
    """Delete it. Cut off in between, it goes on when it is called again."""
    for card_id in found.card_ids:
        opened.flow.vault.shred(card_id, actor=actor, now=now)
    opened.flow.book.evidence.forget(before=found.evidence_before)
    with opened.engine.begin() as connection:
        connection.execute(sa.delete(outbox).where(*_heard(found.secrets_before)))
        connection.execute(sa.delete(provider_calls).where(provider_calls.c.heard_at < found.calls_before))
    while opened.photos.drop_overdue(now=now):
        pass


def _earlier(moment: datetime, other: datetime | None) -> datetime:
    return moment if other is None else min(moment, other)


def _heard(before: datetime) -> tuple[sa.ColumnElement[bool], ...]:
    return outbox.c.state == "sent", outbox.c.sent_at < before


def _unshredded(opened: Recycling, card_ids: Sequence[str]) -> tuple[str, ...]:
    cards, found = vault_tables.cards, list[str]()
    with opened.flow.vault.engine.connect() as connection:
        for start in range(0, len(card_ids), AT_ONCE):
            some = cards.c.card_id.in_(card_ids[start : start + AT_ONCE])
            chosen = sa.select(cards.c.card_id).where(some, cards.c.shredded_at.is_(None))
            found += connection.execute(chosen).scalars()
    return tuple(found)
