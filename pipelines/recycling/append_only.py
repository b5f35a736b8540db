"""Tables that only grow: the database itself refuses what would change them."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy import event

EVERY_CHANGE = ("UPDATE", "DELETE")


def guard(table: sa.Table, *, refused: Sequence[str] = EVERY_CHANGE) -> None:
    """Let triggers refuse these changes from the moment the table is made, on SQLite and PostgreSQL; where DELETE is
    refused, TRUNCATE is, too."""
    name = table.name
    for change in refused:
        _after(
            table,
            "sqlite",
            f"CREATE TRIGGER {name}_no_{change.lower()} BEFORE {change} ON {name} "
            f"BEGIN SELECT RAISE(ABORT, '{name} is append-only'); END",
        )
    _after(
        table,
        "postgresql",
        f"CREATE OR REPLACE FUNCTION {name}_refuse() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{name} is append-only'; END $$",
    )
    changes = " OR ".join([*refused, "TRUNCATE"] if "DELETE" in refused else refused)
    _after(
        table,
        "postgresql",
        f"CREATE TRIGGER {name}_no_change BEFORE {changes} ON {name} "
        f"FOR EACH STATEMENT EXECUTE FUNCTION {name}_refuse()",
    )


def _after(table: sa.Table, dialect: str, statement: str) -> None:
    event.listen(table, "after_create", sa.DDL(statement).execute_if(dialect=dialect))
