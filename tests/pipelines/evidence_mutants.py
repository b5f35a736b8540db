"""The evidence log with one known mistake each, and a script of the machine's steps that is fine without them. Used by
the machine's tests."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

import sqlalchemy as sa

from pipelines.recycling import evidence, evidence_leaves, evidence_tables, evidence_tree, merkle
from pipelines.recycling.evidence import EvidenceLog, LeafRef
from tests.pipelines.evidence_machine import TAMPERINGS, EvidenceMachine

Patches = list[tuple[ModuleType | type, str, Any]]

_insert, _integrate, _grown, _root_of = (
    evidence._insert,
    evidence.integrate,
    evidence_tree.grown,
    merkle.root_of,
)
_same, _read, _consistency = evidence._same, evidence._read, evidence.consistency_spans


def _ids_are_not_known() -> Patches:
    """A repeated step makes a second leaf."""
    return [(evidence, "_KNOWN", evidence._KNOWN.where(sa.false()))]


def _another_body_passes() -> Patches:
    """What stands under a known id is not compared."""
    return [(evidence, "_same", lambda kept, leaf, written: LeafRef(kept.leaf.leaf_id, kept.leaf.hash.hex()))]


def _only_what_was_said_is_compared() -> Patches:
    """Actor, trade and time may differ."""
    return [(evidence, "_same", lambda kept, leaf, written: _same(kept, kept.leaf, written))]


def _what_was_said_is_not_compared() -> Patches:
    """Actor, trade and time are compared alone."""

    def same(kept: Any, leaf: Any, written: bytes) -> LeafRef:
        return _same(kept, leaf, written if kept.payload is None else kept.payload.encode())

    return [(evidence, "_same", same)]


def _leaves_do_not_wait() -> Patches:
    """No checkpoint will ever take them in."""

    def insert(connection: sa.Connection, *leaf: Any, **rest: Any) -> None:
        _insert(connection, *leaf, **rest)
        last = sa.select(sa.func.max(evidence_tables.waiting.c.seq)).scalar_subquery()
        connection.execute(sa.delete(evidence_tables.waiting).where(evidence_tables.waiting.c.seq == last))

    return [(evidence, "_insert", insert)]


def _leaves_commit_by_themselves() -> Patches:
    """They stay where the business rows come to nothing."""

    def insert(connection: sa.Connection, *leaf: Any, **rest: Any) -> None:
        _insert(connection, *leaf, **rest)
        raw: Any = connection.connection.dbapi_connection
        raw.commit()

    return [(evidence, "_insert", insert)]


def _nothing_is_salted() -> Patches:
    """Whoever guesses what was said can show it."""

    def commitment(payload: bytes, *, salt: bytes) -> str:
        return hashlib.sha256(payload).hexdigest()

    return [(evidence, "commitment_to", commitment)]


def _salts_repeat() -> Patches:
    """Equal words have equal commitments."""

    class Repeating:
        token_bytes = staticmethod(bytes)
        token_hex = staticmethod(evidence.secrets.token_hex)

    return [(evidence, "secrets", Repeating)]


def _the_time_is_not_in_the_leaf() -> Patches:
    """It can be changed later."""

    def hashed(leaf: evidence_leaves.Leaf) -> bytes:
        parts = {**vars(leaf), "at": "", "v": 1}
        return merkle.leaf_hash(evidence_leaves.canonical_json(parts))

    return [(evidence_leaves.Leaf, "hash", property(hashed))]


def _newest_come_first() -> Patches:
    """The tree does not hold the leaves in the order in which they were written."""

    def integrate(connection: sa.Connection, *, size: int, waiting: Sequence[int]) -> int:
        return _integrate(connection, size=size, waiting=waiting[::-1])

    return [(evidence, "integrate", integrate)]


def _the_last_is_left_out() -> Patches:
    """A leaf leaves the queue and does not get into the tree."""

    def integrate(connection: sa.Connection, *, size: int, waiting: Sequence[int]) -> int:
        return _integrate(connection, size=size, waiting=waiting[:-1] or waiting)

    return [(evidence, "integrate", integrate)]


def _the_older_tree_is_forgotten() -> Patches:
    """The new subtrees stand over the new leaves alone."""

    def grown(size: int, nodes: Mapping[Any, bytes], leaves: Sequence[bytes]) -> dict[Any, bytes]:
        return _grown(size, dict.fromkeys(nodes, bytes(32)), leaves)

    return [(evidence_tree, "grown", grown)]


def _leaves_and_nodes_are_hashed_alike() -> Patches:
    """A node passes for a leaf."""
    return [(merkle, "node_hash", lambda left, right: hashlib.sha256(b"\x00" + left + right).digest())]


def _an_odd_leaf_is_doubled() -> Patches:
    """Two trees of different leaves have one root, as once in Bitcoin."""

    def span_hash(span: merkle.Span, nodes: merkle.Nodes) -> bytes:
        parts = [nodes[node] for node in merkle.complete_subtrees(span)]
        if len(parts) > 1:
            parts[-1] = merkle.node_hash(parts[-1], parts[-1])
        folded = parts.pop() if parts else merkle.EMPTY_ROOT
        while parts:
            folded = merkle.node_hash(parts.pop(), folded)
        return folded

    return [(merkle, "span_hash", span_hash)]


def _the_root_is_of_the_tree_before() -> Patches:
    """A checkpoint names more leaves than its root covers."""
    return [(evidence, "root_of", lambda size, nodes: _root_of(size - (size & 1 and size > 1), nodes))]


def _consistency_is_taken_from_the_end() -> Patches:
    """The proof does not lead to the older root."""
    return [(evidence, "consistency_spans", lambda older, newer: _consistency(older, newer)[::-1])]


def _all_is_forgotten() -> Patches:
    """What is not old goes as well."""
    forget = EvidenceLog.forget

    def wrong(self: EvidenceLog, *, before: Any) -> int:
        return forget(self, before=before.replace(year=9000))

    return [(EvidenceLog, "forget", wrong)]


def _nothing_is_forgotten() -> Patches:
    """Salt and words stay after their time."""
    return [(EvidenceLog, "forget", lambda self, *, before: 0)]


def _the_audit_believes_what_was_said() -> Patches:
    return [(evidence, "_holds", lambda kept: True)]


def _the_audit_does_not_miss_leaves() -> Patches:
    return [(evidence, "_lost", lambda connection: [])]


def _the_audit_does_not_compare_roots() -> Patches:
    """Whatever was signed counts as right."""

    audit = EvidenceLog.audit

    def wrong(self: EvidenceLog) -> list[str]:
        return [one for one in audit(self) if "another root" not in one]

    return [(EvidenceLog, "audit", wrong)]


MUTANTS: dict[str, Callable[[], Patches]] = {
    make.__name__.strip("_"): make
    for make in (
        _ids_are_not_known,
        _another_body_passes,
        _only_what_was_said_is_compared,
        _what_was_said_is_not_compared,
        _leaves_do_not_wait,
        _leaves_commit_by_themselves,
        _nothing_is_salted,
        _salts_repeat,
        _the_time_is_not_in_the_leaf,
        _newest_come_first,
        _the_last_is_left_out,
        _the_older_tree_is_forgotten,
        _leaves_and_nodes_are_hashed_alike,
        _an_odd_leaf_is_doubled,
        _the_root_is_of_the_tree_before,
        _consistency_is_taken_from_the_end,
        _all_is_forgotten,
        _nothing_is_forgotten,
        _the_audit_believes_what_was_said,
        _the_audit_does_not_miss_leaves,
        _the_audit_does_not_compare_roots,
    )
}
"""Name -> what to put in the place of parts of the log."""


def everything(machine: EvidenceMachine) -> None:
    """Each step of the machine at least once, with what must hold looked at after each."""

    def do(step: Callable[..., object], *told: Any) -> None:
        step(*told)
        machine.the_log_holds_what_was_told()

    for number, said in enumerate(({"fen": 1}, {"fen": 1}, {"note": "接受"})):
        do(machine.tell, f"t-{1 + number % 2}", said)
    do(machine.tell_with_business_rows, {"fen": 2}, False)
    do(machine.checkpoint)
    do(machine.leave_outside)
    for stays in (True, True, False):
        do(machine.tell_with_business_rows, {"fen": 2}, stays)
    for other in ("", "said", "actor", "at", "subject"):
        do(machine.repeat, machine.told[0], other)
    for statement in TAMPERINGS:
        for written_anew in (False, True):
            do(machine.tampered_with, statement, written_anew)
    do(machine.checkpoint)
    do(machine.leave_outside)
    do(machine.forget, 2)
    do(machine.repeat, machine.told[0], "said")
    for subject in ("t-1", "t-2"):
        do(machine.export, subject)
