"""The tables of the evidence log, in the application database. All but the queue only grow."""

from __future__ import annotations

import sqlalchemy as sa

from pipelines.application_data import UtcTime, make_missing_tables
from pipelines.recycling.append_only import guard

metadata = sa.MetaData()

leaves = sa.Table(
    "evidence_leaves",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("leaf_id", sa.String(64), nullable=False, unique=True),
    sa.Column("kind", sa.String(48), nullable=False),
    sa.Column("subject", sa.String(128), nullable=False, index=True),
    sa.Column("actor", sa.String(128), nullable=False),
    sa.Column("source", sa.String(128), nullable=False),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("commitment", sa.String(64), nullable=False),
    sa.Column("leaf_hash", sa.LargeBinary, nullable=False),
    sqlite_autoincrement=True,
)
"""What was captured, by whom, from where and when; ``commitment``: the salted hash of what was said, in hex."""

payloads = sa.Table(
    "evidence_payloads",
    metadata,
    sa.Column("seq", sa.ForeignKey(leaves.c.seq), primary_key=True, autoincrement=False),
    sa.Column("salt", sa.LargeBinary, nullable=False),
    sa.Column("payload", sa.Text, nullable=False),
)
"""What was said, with its salt. It may be deleted when its time is over; the leaf stays, and tells nothing without."""

waiting = sa.Table(
    "evidence_waiting",
    metadata,
    sa.Column("seq", sa.ForeignKey(leaves.c.seq), primary_key=True, autoincrement=False),
)
"""Leaves that the next checkpoint takes into the tree."""

positions = sa.Table(
    "evidence_positions",
    metadata,
    sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("seq", sa.ForeignKey(leaves.c.seq), nullable=False, unique=True),
)
"""Where in the tree a leaf stands."""

nodes = sa.Table(
    "evidence_nodes",
    metadata,
    sa.Column("level", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("hash", sa.LargeBinary, nullable=False),
)
"""Hashes of complete subtrees."""

checkpoints = sa.Table(
    "evidence_checkpoints",
    metadata,
    sa.Column("size", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("note", sa.Text, nullable=False),
    sa.Column("at", UtcTime, nullable=False),
)

anchorings = sa.Table(
    "evidence_anchorings",
    metadata,
    sa.Column("size", sa.ForeignKey(checkpoints.c.size), primary_key=True, autoincrement=False),
    sa.Column("name", sa.String(128), primary_key=True),
    sa.Column("kind", sa.String(32), nullable=False),
    sa.Column("proof", sa.Text, nullable=False),
    sa.Column("at", UtcTime, nullable=False),
)
"""What was left outside for a checkpoint, and what came back."""

for _table in (leaves, positions, nodes, checkpoints, anchorings):
    guard(_table)
guard(payloads, refused=("UPDATE",))


def make_tables(engine: sa.Engine) -> None:
    """Make the tables that are missing."""
    make_missing_tables(engine, metadata)
