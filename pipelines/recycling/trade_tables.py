"""The trades that go through the recycling flow, and every step they took. No card number, secret, name or account
number is in them: those are references into the vault and to whoever keeps them."""

from __future__ import annotations

import sqlalchemy as sa

from pipelines.application_data import UtcTime, metadata

_TROUBLED = sa.text("trouble <> ''")

submissions = sa.Table(
    "recycling_submissions",
    metadata,
    sa.Column("submission_id", sa.String(40), primary_key=True),
    sa.Column("state", sa.String(24), nullable=False, index=True),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("due_at", UtcTime, nullable=True, index=True),
    sa.Column("failures", sa.Integer, nullable=False),
    sa.Column("trouble", sa.String(64), nullable=False),
    sa.Column("profile", sa.String(16), nullable=False),
    sa.Column("client_id", sa.String(128), nullable=False, index=True),
    sa.Column("seller_id", sa.String(128), nullable=False, index=True),
    sa.Column("card_id", sa.String(64), nullable=False),
    sa.Column("fingerprint", sa.String(128), nullable=False, index=True),
    sa.Column("channel", sa.String(16), nullable=False),
    sa.Column("payee_ref", sa.String(128), nullable=False),
    sa.Column("asked", sa.JSON, nullable=False),
    sa.Column("quote_id", sa.String(40), nullable=False, index=True),
    sa.Column("payout_fen", sa.BigInteger, nullable=False),
    sa.Column("first_payout_fen", sa.BigInteger, nullable=False),
    sa.Column("decision", sa.String(16), nullable=False),
    sa.Column("valid_until", UtcTime, nullable=True),
    sa.Column("law_version", sa.String(32), nullable=False),
    sa.Column("facts", sa.JSON, nullable=False),
    sa.Column("created_at", UtcTime, nullable=False, index=True),
    sa.Column("moved_at", UtcTime, nullable=False),
    sa.Index("recycling_submissions_troubled", "trouble", sqlite_where=_TROUBLED, postgresql_where=_TROUBLED),
)
"""One row a trade, as it stands. version: grows with every change, so that two who act at once cannot both succeed.
due_at: when the machine has something to do; null: it waits for somebody. failures, trouble: how often in a row the
work of this state failed, and why (a stable code; empty: it did not). client_id: who submitted it. asked: the card
and seller as the pricing API takes them, without secrets. first_payout_fen: of the quote that the seller accepted
first, 0 before. facts: what was found out, by name."""

steps = sa.Table(
    "recycling_steps",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("submission_id", sa.String(40), nullable=False, index=True),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("source", sa.String(24), nullable=False),
    sa.Column("target", sa.String(24), nullable=False),
    sa.Column("actor", sa.String(16), nullable=False),
    sa.Column("by", sa.String(128), nullable=False),
    sa.Column("why", sa.String(64), nullable=False),
    sa.Column("at", UtcTime, nullable=False, index=True),
    sa.UniqueConstraint("submission_id", "version"),
    sqlite_autoincrement=True,
)
"""Every step of every trade. why: a stable code."""
