"""Deletes what is kept for a while only: answers to repeated requests, old hours of the price board, …

Quotes, events and the live log are never deleted: from them the tables and the live state can be made again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from pipelines.application_data import ApplicationData, board_prices, quote_features, replies
from pipelines.board_history import board_references
from pipelines.settings import Retention
from pipelines.shadow_data import shadow_answers

PAGE = 2_000
"""Rows looked at, and deleted, in one transaction: a service writes in between."""


@dataclass(frozen=True)
class Rule:
    """Rows of a table are deleted ``days`` after the time in a column; 0: never."""

    table: sa.Table
    column: sa.Column[Any]
    days: int


def rules_of(retention: Retention) -> tuple[Rule, ...]:
    """What the settings say of each table that may be pruned."""
    return (
        Rule(replies, replies.c.created_at, retention.replies_days),
        Rule(board_prices, board_prices.c.shown_at, retention.board_days),
        Rule(board_references, board_references.c.shown_at, retention.references_days),
        Rule(shadow_answers, shadow_answers.c.at, retention.shadow_days),
        Rule(quote_features, quote_features.c.submitted_at, retention.features_days),
    )


def prune(data: ApplicationData, retention: Retention, *, now: datetime) -> dict[str, int]:
    """Delete what is old; how many rows by table, of those that have a limit."""
    return {
        rule.table.name: sum(_pruned(data, rule, before=now - timedelta(days=rule.days)))
        for rule in rules_of(retention)
        if rule.days
    }


def _pruned(data: ApplicationData, rule: Rule, *, before: datetime) -> Iterator[int]:
    """Walk along the primary key: no table needs an index for it, and no transaction is long."""
    key = list(rule.table.primary_key.columns)
    last: tuple[Any, ...] | None = None
    while True:
        chosen = sa.select(*key, rule.column.label("moment")).order_by(*key).limit(PAGE)
        if last is not None:
            chosen = chosen.where(sa.tuple_(*key) > sa.tuple_(*last))
        rows = data.rows(chosen)
        old = [tuple(row[part.name] for part in key) for row in rows if row["moment"] < before]
        if old:
            with data.transaction() as connection:
                connection.execute(sa.delete(rule.table).where(sa.tuple_(*key).in_(old)))
            yield len(old)
        if len(rows) < PAGE:
            return
        last = tuple(rows[-1][part.name] for part in key)
