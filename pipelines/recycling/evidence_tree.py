"""The Merkle tree of the evidence log in its tables."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import sqlalchemy as sa

from pipelines.recycling import evidence_tables as tables
from pipelines.recycling.merkle import Node, frontier, grown

PAGE = 400
"""Rows named in one query."""


def size_of(connection: sa.Connection) -> int:
    """How many leaves the tree has."""
    last = sa.select(sa.func.coalesce(sa.func.max(tables.positions.c.position), -1))
    return connection.execute(last).scalar_one() + 1


def integrate(connection: sa.Connection, *, size: int, waiting: Sequence[int]) -> int:
    """Put leaves, by their numbers, behind a tree of this size; the new size."""
    hashes = _leaf_hashes(connection, waiting)
    new = grown(size, known_nodes(connection, frontier(size)), [hashes[seq] for seq in waiting])
    placed = [{"position": size + number, "seq": seq} for number, seq in enumerate(waiting)]
    connection.execute(sa.insert(tables.positions), placed)
    rows = [{"level": level, "position": at, "hash": hashed} for (level, at), hashed in new.items()]
    connection.execute(sa.insert(tables.nodes), rows)
    return size + len(waiting)


def known_nodes(connection: sa.Connection, wanted: Collection[Node]) -> dict[Node, bytes]:
    """The hashes of complete subtrees."""
    key = sa.tuple_(tables.nodes.c.level, tables.nodes.c.position)
    found: dict[Node, bytes] = {}
    for page in _pages(sorted(wanted)):
        for row in connection.execute(sa.select(tables.nodes).where(key.in_(page))):
            found[row.level, row.position] = row.hash
    return found


def stored_nodes(connection: sa.Connection) -> dict[Node, bytes]:
    """The hashes of all complete subtrees, as they are kept."""
    found = connection.execute(sa.select(tables.nodes))
    return {(row.level, row.position): row.hash for row in found}


def all_nodes(leaf_hashes: Sequence[bytes]) -> dict[Node, bytes]:
    """Every complete subtree of a tree with these leaves."""
    return grown(0, {}, leaf_hashes)


def _leaf_hashes(connection: sa.Connection, seqs: Sequence[int]) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    for page in _pages(seqs):
        chosen = sa.select(tables.leaves.c.seq, tables.leaves.c.leaf_hash).where(
            tables.leaves.c.seq.in_(page)
        )
        found |= {row.seq: row.leaf_hash for row in connection.execute(chosen)}
    return found


def _pages(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), PAGE):
        yield items[start : start + PAGE]
