"""Puts together what proves the leaves of one trade: a file that is verified without the platform."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from pipelines.recycling import evidence_tables as tables
from pipelines.recycling.checkpoints import to_base64
from pipelines.recycling.evidence import EvidenceLog, KeptLeaf, SignedCheckpoint
from pipelines.recycling.evidence_bundle import BUNDLE_FORMAT, bundle_bytes
from pipelines.recycling.evidence_leaves import time_text
from pipelines.recycling.evidence_tree import known_nodes
from pipelines.recycling.merkle import consistency_spans, inclusion_spans, nodes_of, proof_of


class NoEvidence(ValueError):
    """The log has no leaf of this trade."""


@dataclass(frozen=True)
class Anchored:
    """A checkpoint of this size was left with the anchor of this name."""

    size: int
    name: str
    kind: str
    proof: str
    at: datetime


def bundle(log: EvidenceLog, subject: str, *, now: datetime, roots_pem: str = "") -> dict[str, Any]:
    """All leaves of a trade with what they say, and the proofs of them; signed. Leaves that wait are taken into the
    tree first. roots_pem: root certificates of the time stamps, for readers who have none. Raises NoEvidence."""
    if not log.leaves_of(subject):
        raise NoEvidence(f"the evidence log has no leaf of {subject}")
    head = log.checkpoint(now=now)
    kept = [leaf for leaf in log.leaves_of(subject) if _within(leaf, head)]
    with log.engine.connect() as connection:
        anchored = _first_anchored(connection, [leaf.position or 0 for leaf in kept], head=head)
        told = [_told(connection, leaf, head=head) for leaf in kept]
        shown = [_checkpoint(connection, size, group, head=head) for size, group in anchored.items()]
    body = {
        "format": BUNDLE_FORMAT,
        "subject": subject,
        "exported_at": time_text(now),
        "keys": log.verifier_keys(),
        "checkpoint": head.note,
        "leaves": told,
        "anchored": shown,
        "time_stamp_roots": roots_pem,
    }
    return body | {"signature": log.keys.signer().sign(body)}


def write_bundle(document: dict[str, Any], path: Path) -> None:
    """Write a bundle as it is verified: byte for byte."""
    path.write_bytes(bundle_bytes(document))


def shown_leaf(kept: KeptLeaf) -> dict[str, Any]:
    """A leaf as people and programs read it."""
    return asdict(kept.leaf) | {"said": kept.said, "position": kept.position}


def _within(kept: KeptLeaf, head: SignedCheckpoint) -> bool:
    return kept.position is not None and kept.position < head.checkpoint.size


def _told(connection: sa.Connection, kept: KeptLeaf, *, head: SignedCheckpoint) -> dict[str, Any]:
    spans = inclusion_spans(kept.position or 0, head.checkpoint.size)
    proof = proof_of(spans, known_nodes(connection, nodes_of(spans)))
    return {
        "leaf": asdict(kept.leaf),
        "salt": None if kept.salt is None else to_base64(kept.salt),
        "said": kept.said,
        "index": kept.position,
        "inclusion": [to_base64(step) for step in proof],
    }


def _first_anchored(
    connection: sa.Connection, positions: Sequence[int], *, head: SignedCheckpoint
) -> dict[int, list[Anchored]]:
    """For each leaf and each anchor the first checkpoint that covers it, by size."""
    columns = [tables.anchorings.c[name] for name in ("size", "name", "kind", "proof", "at")]
    within = sa.and_(
        tables.anchorings.c.size > min(positions), tables.anchorings.c.size <= head.checkpoint.size
    )
    chosen = sa.select(*columns).where(within).order_by(tables.anchorings.c.size)
    by_name: dict[str, list[Anchored]] = {}
    for row in connection.execute(chosen).mappings():
        by_name.setdefault(row["name"], []).append(Anchored(**row))
    needed = {item for group in by_name.values() for item in _covering(group, positions)}
    ordered = sorted(needed, key=lambda item: (item.size, item.name))
    return {size: [item for item in ordered if item.size == size] for size in _sizes(ordered)}


def _covering(group: Sequence[Anchored], positions: Sequence[int]) -> Iterable[Anchored]:
    sizes = [item.size for item in group]
    found = (bisect_right(sizes, position) for position in positions)
    return (group[number] for number in found if number < len(group))


def _sizes(anchored: Sequence[Anchored]) -> list[int]:
    return sorted({item.size for item in anchored})


def _checkpoint(
    connection: sa.Connection, size: int, group: Sequence[Anchored], *, head: SignedCheckpoint
) -> dict[str, Any]:
    note = connection.execute(sa.select(tables.checkpoints.c.note).where(tables.checkpoints.c.size == size))
    spans = consistency_spans(size, head.checkpoint.size)
    proof = proof_of(spans, known_nodes(connection, nodes_of(spans)))
    return {
        "checkpoint": note.scalar_one(),
        "consistency": [to_base64(step) for step in proof],
        "anchors": [
            {"kind": item.kind, "name": item.name, "at": time_text(item.at), "proof": item.proof}
            for item in group
        ],
    }


def as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1)
