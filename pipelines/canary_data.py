"""The canary's share and why it changed, in the application database; and what trades earned, by who answered them.

Every change is a row and no row is ever changed: all workers of all machines read the newest of their candidate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import sqlalchemy as sa

from models.policy import Costs
from pipelines.application_data import TABLES_LOCK, ApplicationData, UtcTime, events, metadata, one_at_a_time
from pipelines.shadow_data import CANDIDATE, CHAMPION, newest_rows, shadow_answers

OPERATOR, ROLLBACK = "operator", "rollback"

canary_steps = sa.Table(
    "canary_steps",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("candidate", sa.String(80), nullable=False, index=True),
    sa.Column("share", sa.Float, nullable=False),
    sa.Column("author", sa.String(64), nullable=False),
    sa.Column("why", sa.String(500), nullable=False),
    sqlite_autoincrement=True,
)


@dataclass(frozen=True)
class Step:
    """From ``at`` on, ``share`` of the sellers is answered by the candidate. seq: 0 where only the settings say so."""

    at: datetime
    candidate: str
    share: float
    author: str
    why: str
    seq: int = 0


@dataclass(frozen=True)
class CanaryData:
    """Writes and reads the steps."""

    data: ApplicationData

    @classmethod
    def open(cls, data: ApplicationData) -> CanaryData:
        """The steps of an application database; tables are made where they are missing."""
        with data.transaction() as connection:
            one_at_a_time(connection, TABLES_LOCK)
            canary_steps.create(connection, checkfirst=True)
            shadow_answers.create(connection, checkfirst=True)
        return cls(data)

    def write(self, step: Step) -> None:
        with self.data.transaction() as connection:
            connection.execute(
                sa.insert(canary_steps).values(
                    at=step.at,
                    candidate=step.candidate,
                    share=step.share,
                    author=step.author,
                    why=step.why[:500],
                )
            )

    def current(self, candidate: str) -> Step | None:
        """The newest step of a candidate, None where nobody decided anything about it."""
        table = canary_steps.c
        chosen = (
            sa.select(canary_steps).where(table.candidate == candidate).order_by(table.seq.desc()).limit(1)
        )
        return next((Step(**row) for row in self.data.rows(chosen)), None)

    def newest(self) -> Step | None:
        """The newest step of any candidate."""
        chosen = sa.select(canary_steps).order_by(canary_steps.c.seq.desc()).limit(1)
        return next((Step(**row) for row in self.data.rows(chosen)), None)

    def realised_fen(self, candidate: str, *, since: datetime, costs: Costs) -> dict[str, np.ndarray]:
        """What the trades since then earned whose outcome is known, in fen, by who answered them: 0 for a declined
        offer, resale less payout and handling for a resold card, the loss for confirmed fraud."""
        trades: dict[str, Mapping[str, Any]] = {}
        for row in self.data.rows(newest_rows(candidate, since=since)):
            trades.setdefault(row["trade_id"], row)  # the newest quote of a trade is the one that binds
        told = sa.select(events).where(events.c.known_at >= since, events.c.trade_id.is_not(None))
        outcomes: dict[str, dict[str, Mapping[str, Any]]] = {}
        for event in self.data.rows(told.order_by(events.c.known_at)):
            outcomes.setdefault(event["trade_id"], {})[event["kind"]] = event["body"]
        earned: dict[str, list[float]] = {CHAMPION: [], CANDIDATE: []}
        for trade_id, row in trades.items():
            profit = _earned_fen(row, outcomes.get(trade_id, {}), costs)
            if profit is not None:
                earned[row["served"]].append(profit)
        return {side: np.array(values, dtype=np.float64) for side, values in earned.items()}


def _earned_fen(row: Mapping[str, Any], told: Mapping[str, Mapping[str, Any]], costs: Costs) -> float | None:
    """What one trade earned, None where it is not known yet."""
    face, payout = row["face_value_fen"], row["face_value_fen"] * row[f"{row['served']}_rate"]
    if "accepted" not in told:
        return 0.0 if "declined" in told else None
    if "fraud_confirmed" in told:
        return -costs.loss_given_fraud * payout - costs.handling_cny * 100
    if "resold" in told:
        return told["resold"]["rate"] * face - payout - costs.handling_cny * 100
    return None
