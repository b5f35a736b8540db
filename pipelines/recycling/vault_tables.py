"""The tables of the vault, in a database of its own."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

from pipelines.application_data import UtcTime, make_missing_tables
from pipelines.databases import immediate_engine
from pipelines.recycling.append_only import guard

metadata = sa.MetaData()

cards = sa.Table(
    "vault_cards",
    metadata,
    sa.Column("card_id", sa.String(40), primary_key=True),
    sa.Column("trade_id", sa.String(128), nullable=False, index=True),
    sa.Column("brand", sa.String(64), nullable=False),
    sa.Column("blind_index", sa.String(64), nullable=False, index=True),
    sa.Column("face_value_fen", sa.BigInteger, nullable=False),
    sa.Column("format", sa.Integer, nullable=False),
    sa.Column("nonce", sa.LargeBinary, nullable=True),
    sa.Column("ciphertext", sa.LargeBinary, nullable=True),
    sa.Column("kek_id", sa.String(128), nullable=True, index=True),
    sa.Column("wrapped_key", sa.LargeBinary, nullable=True),
    sa.Column("stored_at", UtcTime, nullable=False, index=True),
    sa.Column("shredded_at", UtcTime, nullable=True),
)
"""Card secrets, each under a data key of its own. A shredded card keeps its blind index, and nothing else of it."""

audit = sa.Table(
    "vault_audit",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("at", UtcTime, nullable=False, index=True),
    sa.Column("action", sa.String(16), nullable=False),
    sa.Column("outcome", sa.String(32), nullable=False),
    sa.Column("card_id", sa.String(40), nullable=False, index=True),
    sa.Column("trade_id", sa.String(128), nullable=False),
    sa.Column("actor", sa.String(128), nullable=False),
    sa.Column("role", sa.String(32), nullable=False),
    sa.Column("second_actor", sa.String(128), nullable=False),
    sa.Column("reason", sa.String(500), nullable=False),
    sqlite_autoincrement=True,
)
"""Who did what to which card, and what came of it."""

guard(audit)


def open_vault_database(url: str) -> sa.Engine:
    """Connections to the vault's database; its tables are made where they are missing."""
    engine = immediate_engine(url)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _overwrite_what_is_deleted)
    make_missing_tables(engine, metadata)
    return engine


def is_empty(engine: sa.Engine) -> bool:
    """Whether no card was ever stored, or all were purged."""
    with engine.connect() as connection:
        return connection.execute(sa.select(cards.c.card_id).limit(1)).first() is None


def leave_no_copy(engine: sa.Engine) -> None:
    """Let nothing that was deleted stand in SQLite's log of changes."""
    if engine.dialect.name == "sqlite":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")


def _overwrite_what_is_deleted(connection: Any, record: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA secure_delete=ON")
    cursor.close()
