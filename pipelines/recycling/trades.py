"""The book of trades: reads them, and moves each from state to state, with its step and evidence in one transaction.

Everything works on the caller's connection, so that a move commits with the money that goes with it, or not at all.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from pipelines.recycling.callback_outbox import note_move
from pipelines.recycling.evidence import EvidenceLog
from pipelines.recycling.states import STATES, Actor, check_move
from pipelines.recycling.trade_tables import steps, submissions

RETRY_SECONDS = (1, 2, 5, 15, 60, 300)
"""How long the work of a state rests after its first, second, … failure in a row."""


_ONE = sa.select(submissions).where(submissions.c.submission_id == sa.bindparam("named"))
_LOCKED = _ONE.with_for_update()
_AS_SEEN = sa.update(submissions).where(
    submissions.c.submission_id == sa.bindparam("named"), submissions.c.version == sa.bindparam("seen")
)
_STEP = sa.insert(steps)
_DUE = (
    sa.select(*(submissions.c[name] for name in ("submission_id", "state", "version", "due_at")))
    .where(submissions.c.due_at <= sa.bindparam("now"))
    .order_by(submissions.c.due_at)
    .limit(sa.bindparam("most"))
)
"""Built once: building them costs more than running them on SQLite."""


class UnknownSubmission(LookupError):
    """There is no submission of this id."""


class MovedMeanwhile(RuntimeError):
    """Somebody else changed the trade since it was read; look again."""


@dataclass(frozen=True)
class Step:
    """What moves a trade. actor: the kind of it, by: who exactly (a client's or worker's id). why: a stable code.
    changes: columns of the trade that change with it. told: what the evidence holds besides, without secrets."""

    target: str
    actor: Actor
    by: str
    why: str
    changes: Mapping[str, Any]
    told: Mapping[str, Any]


@dataclass(frozen=True)
class TradeBook:
    """The trades of a platform. source: where evidence says that it was captured."""

    evidence: EvidenceLog
    source: str = "recycling"

    def add(self, connection: sa.Connection, row: Mapping[str, Any], *, by: str, now: datetime) -> None:
        """A new submission. Raises IntegrityError where its id is taken."""
        full = {
            "state": "submitted",
            "version": 1,
            "due_at": now,
            "failures": 0,
            "trouble": "",
            "quote_id": "",
            "payout_fen": 0,
            "first_payout_fen": 0,
            "decision": "",
            "valid_until": None,
            "law_version": "",
            "facts": {},
            "created_at": now,
            "moved_at": now,
        } | dict(row)
        connection.execute(sa.insert(submissions).values(full))
        step = Step("submitted", "seller", by, "submitted", {}, {"asked": full["asked"]})
        self._note(connection, full, source="", step=step, version=1, now=now)

    def read(self, connection: sa.Connection, submission_id: str, *, lock: bool = False) -> Mapping[str, Any]:
        """A trade as it stands. lock: nobody else changes it until the transaction ends (on SQLite one that began with
        writing has that by itself). Raises UnknownSubmission."""
        row = connection.execute(_LOCKED if lock else _ONE, {"named": submission_id}).mappings().first()
        if row is None:
            raise UnknownSubmission(submission_id)
        return dict(row)

    def move(
        self, connection: sa.Connection, row: Mapping[str, Any], step: Step, *, now: datetime
    ) -> Mapping[str, Any]:
        """Move a trade on, as it was read in ``row``; as it stands then. A client with a callback address hears of it.

        Raises ForbiddenMove, and MovedMeanwhile where somebody was quicker.
        """
        check_move(row["state"], step.target, step.actor)
        phase = STATES[step.target].phase
        values = {"due_at": now if phase else None, "failures": 0, "trouble": ""} | dict(step.changes)
        wait = STATES[step.target].sends_back_after
        if wait is not None and values.get("facts", row["facts"]).get("here"):
            values["due_at"] = now + timedelta(days=wait)
        after = self._change(connection, row, values | {"state": step.target, "moved_at": now})
        self._note(connection, after, source=row["state"], step=step, version=after["version"], now=now)
        note_move(connection, after, now=now)
        return after

    def change(
        self, connection: sa.Connection, row: Mapping[str, Any], values: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """Change what is known of a trade without moving it. Raises MovedMeanwhile."""
        return self._change(connection, row, values)

    def fail(
        self,
        connection: sa.Connection,
        row: Mapping[str, Any],
        trouble: str,
        *,
        now: datetime,
        wait: float = 0.0,
    ) -> Mapping[str, Any]:
        """The work of a state could not be done: try again later. wait: seconds the other side asked for."""
        rest = RETRY_SECONDS[min(row["failures"], len(RETRY_SECONDS) - 1)]
        seconds = max(wait, rest * _spread(row))
        values = {
            "failures": row["failures"] + 1,
            "trouble": trouble,
            "due_at": now + timedelta(seconds=seconds),
        }
        return self._change(connection, row, values)

    def rest(
        self,
        connection: sa.Connection,
        row: Mapping[str, Any],
        trouble: str,
        *,
        now: datetime,
        seconds: float,
    ) -> Mapping[str, Any]:
        """Nobody was asked, since the other side is being left alone: look again then. That is no failure of the trade
        itself, so its own patience does not grow by it."""
        due_at = now + timedelta(seconds=seconds * (1 + _spread(row)))
        return self._change(connection, row, {"trouble": trouble, "due_at": due_at})

    def _change(
        self, connection: sa.Connection, row: Mapping[str, Any], values: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        version = row["version"] + 1
        as_seen = {"named": row["submission_id"], "seen": row["version"]}
        changed = connection.execute(_AS_SEEN, {**values, "version": version, **as_seen})
        if changed.rowcount != 1:
            raise MovedMeanwhile(row["submission_id"])
        return {**row, **values, "version": version}

    def _note(
        self,
        connection: sa.Connection,
        row: Mapping[str, Any],
        *,
        source: str,
        step: Step,
        version: int,
        now: datetime,
    ) -> None:
        submission_id = row["submission_id"]
        noted = {"source": source, "target": step.target, "actor": step.actor, "by": step.by, "why": step.why}
        connection.execute(_STEP, {"submission_id": submission_id, "version": version, "at": now, **noted})
        self.evidence.append(
            connection,
            kind=f"trade_{step.target}",
            subject=submission_id,
            payload={**noted, "told": dict(step.told)},
            actor=step.by,
            source=self.source,
            at=now,
            leaf_id=f"{submission_id}-{version}",
        )


def _spread(row: Mapping[str, Any]) -> float:
    """A factor of 0.5 to 1 that differs from trade to trade: those that failed together are not tried together."""
    return 0.5 + zlib.crc32(f"{row['submission_id']}-{row['version']}".encode()) / 2**33


def due(connection: sa.Connection, *, now: datetime, limit: int) -> Sequence[Mapping[str, Any]]:
    """Trades with work for the machine, those that wait longest first."""
    return [dict(row) for row in connection.execute(_DUE, {"now": now, "most": limit}).mappings()]


def steps_of(connection: sa.Connection, submission_id: str) -> list[Mapping[str, Any]]:
    """Every step of a trade, in order."""
    chosen = sa.select(steps).where(steps.c.submission_id == submission_id).order_by(steps.c.seq)
    return [dict(row) for row in connection.execute(chosen).mappings()]
