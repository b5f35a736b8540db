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
        "sqlite",  # INSERT OR REPLACE deletes without asking the trigger above
        f"CREATE TRIGGER {name}_no_replace BEFORE INSERT ON {name} WHEN EXISTS "
        f"(SELECT 1 FROM {name} WHERE {_same_row(table)}) "
        f"BEGIN SELECT RAISE(ABORT, '{name} is append-only: there is such a row'); END",
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


def _same_row(table: sa.Table) -> str:
    """Whether a row stands in the way of a new one, by primary key or by a column that is unique."""
    keys = [[column.name for column in table.primary_key.columns]]
    keys += [[column.name] for column in table.columns if column.unique]
    return " OR ".join("(" + " AND ".join(f"{part} = NEW.{part}" for part in key) + ")" for key in keys)


def _after(table: sa.Table, dialect: str, statement: str) -> None:
    event.listen(table, "after_create", sa.DDL(statement).execute_if(dialect=dialect))
