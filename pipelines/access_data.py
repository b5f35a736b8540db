"""Who has an API key, and who did what, in the application database.

Of a key only the SHA-256 of its secret is kept: 256 random bits need no slower hash. The audit trail is append-only:
the database itself refuses to change it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event as sa_event

from pipelines.application_data import ApplicationData, UtcTime, metadata

api_keys = sa.Table(
    "api_keys",
    metadata,
    sa.Column("key_id", sa.String(32), primary_key=True),
    sa.Column("name", sa.String(64), nullable=False, index=True),
    sa.Column("roles", sa.JSON, nullable=False),
    sa.Column("secret_sha256", sa.String(64), nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("revoked_at", UtcTime, nullable=True),
)
access_audit = sa.Table(
    "access_audit",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("at", UtcTime, nullable=False, index=True),
    sa.Column("client_id", sa.String(64), nullable=False),
    sa.Column("roles", sa.String(128), nullable=False),
    sa.Column("action", sa.String(48), nullable=False),
    sa.Column("route", sa.String(128), nullable=False),
    sa.Column("object_id", sa.String(128), nullable=False),
    sa.Column("outcome", sa.String(32), nullable=False),
    sqlite_autoincrement=True,
)
"""Who did what to which object, and what came of it. Never a body, a secret or an address."""

_GUARDS = {
    "sqlite": [
        f"CREATE TRIGGER access_audit_no_{change} BEFORE {change} ON access_audit "
        "BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END"
        for change in ("UPDATE", "DELETE")
    ],
    "postgresql": [
        "CREATE OR REPLACE FUNCTION access_audit_refuse() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'the audit trail is append-only'; END $$",
        "CREATE TRIGGER access_audit_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON access_audit "
        "FOR EACH STATEMENT EXECUTE FUNCTION access_audit_refuse()",
    ],
}
for _dialect, _statements in _GUARDS.items():
    for _statement in _statements:
        sa_event.listen(access_audit, "after_create", sa.DDL(_statement).execute_if(dialect=_dialect))


@dataclass(frozen=True)
class StoredKey:
    """An API key as it is kept. ``secret_sha256`` in hex."""

    key_id: str
    name: str
    roles: tuple[str, ...]
    secret_sha256: str
    created_at: datetime
    revoked_at: datetime | None = None


@dataclass(frozen=True)
class AuditRow:
    """One entry of the audit trail. ``route``: its template. ``client_id`` is empty for a stranger; ``roles`` are the
    client's, or those of the key that is the object."""

    at: datetime
    client_id: str
    roles: str
    action: str
    route: str = ""
    object_id: str = ""
    outcome: str = "allowed"


@dataclass(frozen=True)
class AccessData:
    """Reads and writes both tables."""

    data: ApplicationData

    @classmethod
    def open(cls, data: ApplicationData) -> AccessData:
        """The tables of an application database; they are made where they are missing."""
        with data.transaction() as connection:
            for table in (api_keys, access_audit):
                table.create(connection, checkfirst=True)
        return cls(data)

    def all_keys(self) -> list[StoredKey]:
        """All keys ever made, oldest first, revoked ones too."""
        rows = self.data.rows(sa.select(api_keys).order_by(api_keys.c.created_at, api_keys.c.key_id))
        return [StoredKey(**{**row, "roles": tuple(row["roles"])}) for row in rows]

    def add_key(self, key: StoredKey, *, audit: AuditRow) -> None:
        """Keep a new key, and that it was made."""
        with self.data.transaction() as connection:
            connection.execute(sa.insert(api_keys).values(asdict(key) | {"roles": list(key.roles)}))
            connection.execute(sa.insert(access_audit).values(asdict(audit)))

    def revoke_keys(self, key_ids: Sequence[str], *, at: datetime, audit: Sequence[AuditRow]) -> None:
        """Let keys end now, and keep that they were ended."""
        ended = sa.update(api_keys).where(api_keys.c.key_id.in_(key_ids), api_keys.c.revoked_at.is_(None))
        with self.data.transaction() as connection:
            connection.execute(ended.values(revoked_at=at))
            connection.execute(sa.insert(access_audit), [asdict(row) for row in audit])

    def note(self, rows: Sequence[AuditRow]) -> None:
        """Put rows at the end of the audit trail."""
        if rows:
            with self.data.transaction() as connection:
                connection.execute(sa.insert(access_audit), [asdict(row) for row in rows])

    def audit(self, *, since: datetime | None = None) -> list[dict[str, Any]]:
        """The audit trail from ``since`` on, in the order it was written."""
        chosen = sa.select(access_audit).order_by(access_audit.c.seq)
        if since is not None:
            chosen = chosen.where(access_audit.c.at >= since)
        return [dict(row) for row in self.data.rows(chosen)]
