"""Where partners want to hear how their trades move, and what they are to be told."""

from __future__ import annotations

import sqlalchemy as sa

from pipelines.application_data import UtcTime, metadata

addresses = sa.Table(
    "callback_addresses",
    metadata,
    sa.Column("client_id", sa.String(128), primary_key=True),
    sa.Column("url", sa.String(1_000), nullable=False),
    sa.Column("set_at", UtcTime, nullable=False),
)
"""One address a client."""

outbox = sa.Table(
    "callback_outbox",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("callback_id", sa.String(64), nullable=False, unique=True),
    sa.Column("client_id", sa.String(128), nullable=False, index=True),
    sa.Column("submission_id", sa.String(40), nullable=False, index=True),
    sa.Column("body", sa.JSON, nullable=False),
    sa.Column("state", sa.String(8), nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("due_at", UtcTime, nullable=False),
    sa.Column("problem", sa.String(32), nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("sent_at", UtcTime, nullable=True),
    sa.Index("callback_outbox_due", "state", "due_at"),
    sqlite_autoincrement=True,
)
"""One row a move of a trade whose client has an address. state: waiting, sent or dead. body: as it is sent, without the
signature. due_at: of the next attempt. problem: of the last one, a stable code, empty where it was heard."""
