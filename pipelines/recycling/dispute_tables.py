"""Disputes about paid trades: who says what is wrong, who must answer by when, and what was decided."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from pipelines.application_data import UtcTime, metadata

disputes = sa.Table(
    "recycling_disputes",
    metadata,
    sa.Column("submission_id", sa.String(40), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("profile", sa.String(16), nullable=False),
    sa.Column("kind", sa.String(24), nullable=False),
    sa.Column("complainant", sa.String(16), nullable=False),
    sa.Column("buyer_ref", sa.String(128), nullable=False),
    sa.Column("claim_fen", sa.BigInteger, nullable=False),
    sa.Column("opened_by", sa.String(128), nullable=False),
    sa.Column("opened_at", UtcTime, nullable=False, index=True),
    sa.Column("answer_by", UtcTime, nullable=False),
    sa.Column("decide_by", UtcTime, nullable=False),
    sa.Column("answered_at", UtcTime, nullable=True),
    sa.Column("answered_by", sa.String(128), nullable=False),
    sa.Column("proposed", sa.String(16), nullable=False),
    sa.Column("proposed_fen", sa.BigInteger, nullable=False),
    sa.Column("proposed_by", sa.String(128), nullable=False),
    sa.Column("verdict", sa.String(16), nullable=False),
    sa.Column("award_fen", sa.BigInteger, nullable=False),
    sa.Column("decided_by", sa.String(128), nullable=False),
    sa.Column("decided_at", UtcTime, nullable=True, index=True),
    sa.Column("rule", sa.String(24), nullable=False),
    sa.Column("cost_fen", sa.BigInteger, nullable=False),
    sa.Column("seller_stake_fen", sa.BigInteger, nullable=False),
    sa.Column("buyer_stake_fen", sa.BigInteger, nullable=False),
)
"""One row a dispute; ``number`` counts those of a trade. complainant: buyer, issuer, seller or platform. claim_fen:
what a seller who complains says is still owed, 0 for the others. proposed…: what the first of two people would decide.
rule: the rule that decided where nobody did (``no_answer``, ``not_decided``), empty: people. cost_fen: what it cost
the platform, stakes counted. …_stake_fen: of the parties' deposits, what this dispute holds or held. What was said
stands in the evidence log, not here."""


def newest(connection: sa.Connection, submission_id: str) -> Mapping[str, Any] | None:
    """The newest dispute of a trade."""
    chosen = sa.select(disputes).where(disputes.c.submission_id == submission_id)
    row = connection.execute(chosen.order_by(disputes.c.number.desc()).limit(1)).mappings().first()
    return None if row is None else dict(row)


def awards_of(connection: sa.Connection, submission_id: str) -> dict[str, int]:
    """What a trade's disputes gave its seller so far, in fen, by what was complained about."""
    chosen = sa.select(disputes.c.kind, sa.func.sum(disputes.c.award_fen)).group_by(disputes.c.kind)
    found = connection.execute(
        chosen.where(disputes.c.submission_id == submission_id, disputes.c.award_fen > 0)
    )
    return {kind: int(fen) for kind, fen in found}


def awarded_fen(connection: sa.Connection, trade: Mapping[str, Any]) -> int:
    """What a trade's disputes gave its seller beside the payout, in fen. Most trades have no award and are not asked
    about."""
    return sum(awards_of(connection, trade["submission_id"]).values()) if "award_fen" in trade["facts"] else 0


def open_disputes(connection: sa.Connection, *, limit: int = 200) -> list[Mapping[str, Any]]:
    """Disputes that are not decided, the most pressing first."""
    chosen = sa.select(disputes).where(disputes.c.decided_at.is_(None))
    pressing = sa.case((disputes.c.answered_at.is_(None), disputes.c.answer_by), else_=disputes.c.decide_by)
    rows = connection.execute(chosen.order_by(pressing).limit(limit)).mappings()
    return [dict(row) for row in rows]


def change(connection: sa.Connection, dispute: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    """Change a dispute. Whoever does holds the trade's version, so that two cannot."""
    own = (disputes.c.submission_id == dispute["submission_id"], disputes.c.number == dispute["number"])
    connection.execute(sa.update(disputes).where(*own).values(dict(values)))
