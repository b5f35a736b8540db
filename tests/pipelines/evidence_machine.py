"""The evidence log under random use, beside a model in plain Python that knows only the list of what was told."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import sqlalchemy as sa
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from sqlalchemy.pool import StaticPool

from pipelines.recycling import evidence_tables as tables
from pipelines.recycling.anchors import Anchoring, Continuation
from pipelines.recycling.evidence import EvidenceLog, LeafDiffers, LeafRef
from pipelines.recycling.evidence_bundle import Trusted, bundle_bytes, verify_bundle
from pipelines.recycling.evidence_export import bundle
from pipelines.recycling.evidence_tree import all_nodes
from pipelines.recycling.merkle import check_consistency
from pipelines.signing_keys import SigningKeys

NOW = datetime(2026, 10, 3, tzinfo=UTC)
LATER = NOW + timedelta(days=1)
"""When checkpoints are made: after all that was told."""
SUBJECTS = ("t-1", "t-2")
PAYLOADS = st.sampled_from(({"fen": 1}, {"fen": 2}, {"note": "接受"}))
TAMPERINGS = (
    "UPDATE evidence_payloads SET payload = '{\"fen\":3}'",
    "UPDATE evidence_leaves SET actor = 'nobody'",
    "UPDATE evidence_leaves SET at = '2020-01-01 00:00:00.000000'",
    "DELETE FROM evidence_leaves WHERE seq = 1",
    "DELETE FROM evidence_waiting",
    "DELETE FROM evidence_positions WHERE position = (SELECT max(position) FROM evidence_positions)",
    "UPDATE evidence_nodes SET hash = zeroblob(32) WHERE level = (SELECT max(level) FROM evidence_nodes)",
)
"""What the owner of the database can do to it."""


def plain(value: Any) -> bytes:
    """Canonical JSON of the simple values of this machine."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def tree_head(hashes: Sequence[bytes]) -> bytes:
    """MTH of RFC 6962, section 2.1, word by word."""
    if len(hashes) < 2:
        return hashes[0] if hashes else hashlib.sha256(b"").digest()
    split = 1
    while split * 2 < len(hashes):
        split *= 2
    return hashlib.sha256(b"\x01" + tree_head(hashes[:split]) + tree_head(hashes[split:])).digest()


@dataclass
class Told:
    """What was told of a trade, and the answer. at: minutes after the start."""

    leaf_id: str
    subject: str
    said: Any
    actor: str
    at: int
    ref: LeafRef
    forgotten: bool = False


@dataclass
class Witness:
    """An anchor that keeps what it was left, and believes no tree that does not continue the last one."""

    kind: str = "chain"
    name: str = "witness"
    kept: list[tuple[int, bytes]] = field(default_factory=list)

    def leave(
        self, note: str, *, size: int, root: bytes, continuation: Continuation, now: datetime
    ) -> Anchoring:
        for older, older_root in self.kept[-1:]:
            proof = continuation(older)
            check_consistency(older=older, newer=size, proof=proof, older_root=older_root, newer_root=root)
        self.kept.append((size, root))
        return Anchoring(at=now, proof="")


def bare_tables(engine: sa.Engine) -> None:
    """The log's tables without a single constraint or trigger: only the program stands in the way."""
    bare = sa.MetaData()
    for table in tables.metadata.sorted_tables:
        columns = [sa.Column(one.name, one.type, primary_key=one.primary_key) for one in table.columns]
        sa.Table(table.name, bare, *columns)
    bare.create_all(engine)


def in_memory() -> sa.Engine:
    return sa.create_engine("sqlite://", poolclass=StaticPool)


class EvidenceMachine(RuleBasedStateMachine):
    """Random telling; what the log holds and proves is what the model says."""

    guarded = True
    _folder = TemporaryDirectory()
    keys = SigningKeys(folder=Path(_folder.name))

    def __init__(self) -> None:
        super().__init__()
        self.engine = in_memory()
        tables.make_tables(self.engine) if self.guarded else bare_tables(self.engine)
        self.log = self.on(self.engine)
        self.told: list[Told] = []
        self.covered = 0
        self.witness = Witness()

    def on(self, engine: sa.Engine) -> EvidenceLog:
        return EvidenceLog(engine=engine, keys=self.keys, origin="test.example/evidence")

    def teardown(self) -> None:
        self.engine.dispose()

    # --- telling

    def leaf(self, leaf_id: str, subject: str, said: Any, *, actor: str = "engine", at: int = 0) -> Any:
        rest = {"kind": "quoted", "source": "api", "actor": actor, "at": NOW + timedelta(minutes=at)}
        return {"leaf_id": leaf_id, "subject": subject, "payload": said, **rest}

    @rule(subject=st.sampled_from(SUBJECTS), said=PAYLOADS)
    def tell(self, subject: str, said: Any) -> None:
        leaf_id, at = f"leaf-{len(self.told)}", len(self.told)
        ref = self.log.record(**self.leaf(leaf_id, subject, said, at=at))
        self.told.append(Told(leaf_id, subject, said, "engine", at, ref))

    @rule(said=PAYLOADS, stays=st.booleans())
    def tell_with_business_rows(self, said: Any, stays: bool) -> None:
        """In the caller's transaction, which may come to nothing."""
        leaf_id, at = f"leaf-{len(self.told)}", len(self.told)
        with self.engine.connect() as connection, connection.begin() as transaction:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            ref = self.log.append(connection, **self.leaf(leaf_id, "t-1", said, at=at))
            if not stays:
                transaction.rollback()
        if stays:
            self.told.append(Told(leaf_id, "t-1", said, "engine", at, ref))

    @precondition(lambda self: self.told)
    @rule(data=st.data(), other=st.sampled_from(("", "", "said", "actor", "at", "subject")))
    def tell_again(self, data: st.DataObject, other: str) -> None:
        self.repeat(data.draw(st.sampled_from(self.told)), other)

    def repeat(self, old: Told, other: str) -> None:
        """The same is the same leaf; another body is refused, unless what it said is forgotten."""
        body = {"said": old.said, "actor": old.actor, "at": old.at, "subject": old.subject}
        if other:
            body[other] = {"said": {"fen": 9}, "actor": "somebody", "at": old.at + 1, "subject": "t-9"}[other]
        is_same = not other or (other == "said" and old.forgotten)
        said, actor, at = body["said"], body["actor"], body["at"]
        try:
            ref = self.log.record(**self.leaf(old.leaf_id, body["subject"], said, actor=actor, at=at))
        except LeafDiffers:
            assert not is_same
        else:
            assert is_same
            assert ref == old.ref

    @rule(minutes=st.integers(0, 12))
    def forget(self, minutes: int) -> None:
        gone = [one for one in self.told if one.at < minutes and not one.forgotten]
        assert self.log.forget(before=NOW + timedelta(minutes=minutes)) == len(gone)
        for one in gone:
            one.forgotten = True

    # --- proving

    @rule()
    def checkpoint(self) -> None:
        made = self.log.checkpoint(now=LATER)
        self.covered = len(self.told)
        hashes = [bytes.fromhex(one.ref.leaf_hash) for one in self.told]
        assert (made.checkpoint.size, made.checkpoint.root) == (len(hashes), tree_head(hashes))
        assert self.log.opened(made.note) == made.checkpoint
        assert self.log.audit() == []

    @precondition(lambda self: self.covered)
    @rule()
    def leave_outside(self) -> None:
        assert self.log.anchor([self.witness], now=LATER) == {"witness": ""}

    @precondition(lambda self: self.told)
    @rule(subject=st.sampled_from(SUBJECTS))
    def export(self, subject: str) -> None:
        mine = [(number, one) for number, one in enumerate(self.told) if one.subject == subject]
        if not mine:
            return
        seen = verify_bundle(bundle_bytes(bundle(self.log, subject, now=LATER)), Trusted())
        self.covered = len(self.told)
        shown = [(leaf.index, leaf.leaf.leaf_id, leaf.said) for leaf in seen.leaves]
        assert shown == [(number, one.leaf_id, None if one.forgotten else one.said) for number, one in mine]

    @precondition(lambda self: self.told)
    @rule(statement=st.sampled_from(TAMPERINGS), written_anew=st.booleans())
    def tampered_with(self, statement: str, written_anew: bool = False) -> None:
        """The owner changes a copy of the database behind its guards, and may build the tree anew over it: the audit
        tells."""
        copied = in_memory()
        with self.engine.connect() as ours, copied.connect() as theirs:
            source: Any = ours.connection.dbapi_connection
            target: Any = theirs.connection.dbapi_connection
            is_answered_for = _tampered(source, target, statement)
        log = self.on(copied)
        if is_answered_for and written_anew and "evidence_nodes" not in statement:
            _build_anew(log)
        assert log.audit() != [] or not is_answered_for
        copied.dispose()

    # --- what must hold

    @invariant()
    def the_log_holds_what_was_told(self) -> None:
        assert self.log.waiting() == len(self.told) - self.covered
        found = [kept for subject in SUBJECTS for kept in self.log.leaves_of(subject)]
        kept = {one.leaf.leaf_id: one for one in found}
        assert len(found) == len(kept) == len(self.told)
        salts = [one.salt for one in found if one.salt is not None]
        assert len(set(salts)) == len(salts)
        for place, one in enumerate(self.told):
            held = kept[one.leaf_id]
            position = place if place < self.covered else None
            said = None if one.forgotten else one.said
            assert (held.said, held.position, held.leaf.actor) == (said, position, one.actor)
            if held.salt is not None:
                committed = hashlib.sha256(held.salt + plain(one.said)).hexdigest()
                assert held.leaf.commitment == committed
            leaf_bytes = plain(asdict(held.leaf) | {"v": 1})
            assert one.ref.leaf_hash == hashlib.sha256(b"\x00" + leaf_bytes).hexdigest()


class BareEvidenceMachine(EvidenceMachine):
    """The same without the help of the database."""

    guarded = False


def _tampered(source: sqlite3.Connection, target: sqlite3.Connection, statement: str) -> bool:
    """Copy a database and change the copy; whether anything that the log answers for is different then."""
    source.backup(target)
    for (name,) in target.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        target.execute(f"DROP TRIGGER {name}")
    changed = target.execute(statement).rowcount
    target.commit()
    if " evidence_leaves " not in statement:
        return changed > 0
    # A leaf that no checkpoint covers yet is the platform's word alone.
    return target.execute("SELECT count(*) FROM evidence_positions").fetchone()[0] > 0


def _build_anew(log: EvidenceLog) -> None:
    """Put hashes into the tree that agree with its leaves as they are now."""
    found = [kept for subject in SUBJECTS for kept in log.leaves_of(subject)]
    placed = {kept.position: kept.leaf.hash for kept in found if kept.position is not None}
    nodes = all_nodes([placed[at] for at in sorted(placed)])
    rows = [{"level": level, "position": at, "hash": hashed} for (level, at), hashed in nodes.items()]
    with log.engine.begin() as connection:
        connection.execute(sa.delete(tables.nodes))
        connection.execute(sa.insert(tables.nodes), rows or [{"level": 9, "position": 0, "hash": b""}])
