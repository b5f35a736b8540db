"""The evidence log (区块链存证): what happened in each trade, kept so that nobody can change it later unseen.

A leaf is written in the transaction of the business rows that it tells of. A checkpoint takes the waiting leaves into a
Merkle tree and signs its root; anchors leave the checkpoint outside. From then on a leaf cannot be changed or taken
away without the root being another one. Until then the platform alone is to be believed, so checkpoints are frequent.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from pipelines.application_data import one_at_a_time
from pipelines.group_commit import GroupCommit
from pipelines.recycling import evidence_tables as tables
from pipelines.recycling.anchors import Anchor, AnchorFailed
from pipelines.recycling.checkpoints import Checkpoint, VerifierKey, open_checkpoint, signed_checkpoint
from pipelines.recycling.evidence_leaves import (
    SALT_BYTES,
    Leaf,
    checked_leaf,
    commitment_to,
    time_text,
    written_payload,
)
from pipelines.recycling.evidence_tree import all_nodes, integrate, known_nodes, size_of, stored_nodes
from pipelines.recycling.merkle import consistency_spans, frontier, nodes_of, proof_of, root_of
from pipelines.signing_keys import SigningKeys

CHECKPOINT_LOCK = 7_204_430
"""Number of the lock under which the tree grows."""


class OriginChanged(RuntimeError):
    """The log was begun under another name; its checkpoints would no longer continue each other."""


class LeafDiffers(ValueError):
    """A leaf with this id is in the log already, and says something else."""


@dataclass(frozen=True)
class LeafRef:
    """A leaf that was written. ``leaf_hash`` in hex: what a receipt may show."""

    leaf_id: str
    leaf_hash: str


@dataclass(frozen=True)
class SignedCheckpoint:
    """A checkpoint with its signed note, and when this platform's clock said it was made."""

    checkpoint: Checkpoint
    note: str
    at: datetime


@dataclass(frozen=True)
class KeptLeaf:
    """A leaf as it is kept. ``payload``: canonical JSON, None after its time; ``position`` in the tree, None while it
    waits for a checkpoint."""

    leaf: Leaf
    salt: bytes | None
    payload: str | None
    position: int | None

    @property
    def said(self) -> Any:
        """What the leaf says, None where that was deleted."""
        return None if self.payload is None else msgspec.json.decode(self.payload)


@dataclass(frozen=True)
class EvidenceLog:
    """The log in one database. keys: what signs checkpoints and bundles; origin: the log's name."""

    engine: sa.Engine
    keys: SigningKeys
    origin: str
    _commits: GroupCommit = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_commits", GroupCommit(self.engine))

    @classmethod
    def open(cls, engine: sa.Engine, *, keys: SigningKeys, origin: str) -> EvidenceLog:
        """The log; its tables are made where they are missing."""
        tables.make_tables(engine)
        return cls(engine=engine, keys=keys, origin=origin)

    # --- writing

    def append(
        self,
        connection: sa.Connection,
        *,
        kind: str,
        subject: str,
        payload: Any,
        actor: str,
        source: str,
        at: datetime,
        leaf_id: str = "",
    ) -> LeafRef:
        """Write a leaf in the caller's transaction. subject: the trade; actor: who did it; source: where it was
        captured; at: when. leaf_id: an id of the caller's, under which a repetition is the same leaf; empty: a new one.

        Raises PayloadRefused, and LeafDiffers where the id stands for something else.
        """
        written = written_payload(payload)
        salt = secrets.token_bytes(SALT_BYTES)
        leaf = checked_leaf(
            leaf_id=leaf_id or secrets.token_hex(16),
            kind=kind,
            subject=subject,
            actor=actor,
            source=source,
            at=at,
            commitment=commitment_to(written, salt=salt),
        )
        if leaf_id and connection.execute(_KNOWN, {"leaf_id": leaf_id}).first() is not None:
            return _same(_kept(connection, leaf_id), leaf, written)
        _insert(connection, leaf, salt=salt, written=written, at=at)
        return LeafRef(leaf.leaf_id, leaf.hash.hex())

    def record(
        self,
        *,
        kind: str,
        subject: str,
        payload: Any,
        actor: str,
        source: str,
        at: datetime,
        leaf_id: str = "",
    ) -> LeafRef:
        """Write a leaf in a transaction of its own. Raises as :meth:`append` does."""
        return self._commits.run(
            lambda connection: self.append(
                connection,
                kind=kind,
                subject=subject,
                payload=payload,
                actor=actor,
                source=source,
                at=at,
                leaf_id=leaf_id,
            )
        )

    def forget(self, *, before: datetime) -> int:
        """Delete what leaves from before then said; how many. The leaves and all proofs stay."""
        old = sa.select(tables.leaves.c.seq).where(tables.leaves.c.at < before)
        with self.engine.begin() as connection:
            return connection.execute(
                sa.delete(tables.payloads).where(tables.payloads.c.seq.in_(old))
            ).rowcount

    # --- checkpoints

    def checkpoint(self, *, now: datetime) -> SignedCheckpoint:
        """Take the waiting leaves into the tree and sign it; the newest checkpoint where nothing waits. Raises
        OriginChanged."""
        signer = self.keys.signer()
        with self._growing() as (connection, waiting):
            size = size_of(connection)
            if waiting:
                size = integrate(connection, size=size, waiting=waiting)
            newest = self.newest(connection)
            if newest is not None and newest.checkpoint.origin != self.origin:
                raise OriginChanged(
                    f"the evidence log is named {newest.checkpoint.origin}: it keeps its name"
                )
            if newest is not None and newest.checkpoint.size == size:
                return newest
            root = root_of(size, known_nodes(connection, frontier(size)))
            checkpoint = Checkpoint(self.origin, size, root)
            note = signed_checkpoint(checkpoint, signer.key)
            connection.execute(sa.insert(tables.checkpoints).values(size=size, note=note, at=now))
        return SignedCheckpoint(checkpoint, note, now)

    @contextmanager
    def _growing(self) -> Iterator[tuple[sa.Connection, list[int]]]:
        """A transaction that alone lets the tree grow, and the leaves that wait."""
        with self.engine.begin() as connection:
            one_at_a_time(connection, CHECKPOINT_LOCK)
            # Written first: SQLite lets nobody else write from here on, and all that was committed is seen.
            taken = sa.delete(tables.waiting).returning(tables.waiting.c.seq)
            yield connection, sorted(connection.execute(taken).scalars())

    def newest(self, connection: sa.Connection) -> SignedCheckpoint | None:
        """The newest checkpoint, None in a log that has none."""
        found = sa.select(tables.checkpoints).order_by(tables.checkpoints.c.size.desc()).limit(1)
        row = connection.execute(found).mappings().first()
        if row is None:
            return None
        return SignedCheckpoint(self.opened(row["note"]), row["note"], row["at"])

    def opened(self, note: str) -> Checkpoint:
        """What a checkpoint of this log says. Raises CheckpointRefused where none of its keys signed it."""
        name = note.partition("\n")[0]
        return open_checkpoint(note, [VerifierKey(name, key) for key in self.keys.published().values()])

    def verifier_keys(self) -> list[str]:
        """The public keys of the log, as others need them; the one that signs now first."""
        signing = self.keys.signer().kid
        published = sorted(self.keys.published().items(), key=lambda item: item[0] != signing)
        return [VerifierKey(self.origin, key).text for _, key in published]

    def anchor(self, anchors: Sequence[Anchor], *, now: datetime) -> dict[str, str]:
        """Leave the newest checkpoint with each of these where it is not yet: by name, why it failed, or empty."""
        with self.engine.connect() as connection:
            newest = self.newest(connection)
            if newest is None:
                return {}
            known = sa.select(tables.anchorings.c.name).where(
                tables.anchorings.c.size == newest.checkpoint.size
            )
            done = set(connection.execute(known).scalars())
        return {item.name: "" if item.name in done else self._leave(item, newest, now) for item in anchors}

    def _leave(self, anchor: Anchor, newest: SignedCheckpoint, now: datetime) -> str:
        checkpoint = newest.checkpoint

        def continuation(older: int) -> list[bytes]:
            return self.consistency(older, checkpoint.size)

        try:
            kept = anchor.leave(
                newest.note, size=checkpoint.size, root=checkpoint.root, continuation=continuation, now=now
            )
        except AnchorFailed as error:
            return str(error)
        row: dict[str, Any] = {"size": checkpoint.size, "name": anchor.name, "kind": anchor.kind}
        row |= {"proof": kept.proof, "at": kept.at}
        with suppress(IntegrityError), self.engine.begin() as connection:  # another process left it, too
            connection.execute(sa.insert(tables.anchorings).values(row))
        return ""

    def consistency(self, older: int, newer: int) -> list[bytes]:
        """The proof that the tree of ``older`` leaves is the beginning of the one of ``newer``. Raises ValueError."""
        spans = consistency_spans(older, newer)
        with self.engine.connect() as connection:
            return proof_of(spans, known_nodes(connection, nodes_of(spans)))

    # --- reading

    def leaves_of(self, subject: str) -> list[KeptLeaf]:
        """All leaves of a trade, in the order in which they were written."""
        with self.engine.connect() as connection:
            return _read(connection, tables.leaves.c.subject == subject)

    def waiting(self) -> int:
        """How many leaves no checkpoint covers yet."""
        with self.engine.connect() as connection:
            return connection.execute(sa.select(sa.func.count()).select_from(tables.waiting)).scalar_one()

    def audit(self) -> list[str]:
        """Whether the tables still are what checkpoints say: every leaf and every hash is worked out anew. What is
        wrong, empty where nothing is."""
        with self.engine.connect() as connection:
            rows = _read(connection, sa.true())
            notes = connection.execute(sa.select(tables.checkpoints.c.note)).scalars().all()
            lost, kept = _lost(connection), stored_nodes(connection)
        placed = {row.position: row.leaf.hash for row in rows if row.position is not None}
        if sorted(placed) != list(range(len(placed))):
            return ["a leaf of the tree is missing"]
        nodes = all_nodes([placed[position] for position in range(len(placed))])
        told = [self.opened(note) for note in notes]
        wrong = [one for one in told if one.size > len(placed) or root_of(one.size, nodes) != one.root]
        broken = [f"checkpoint {one.size}: its leaves have another root now" for one in wrong]
        if kept != nodes:
            broken.append("the tree's hashes are not those of its leaves")
        bad = [row for row in rows if row.payload is not None and not _holds(row)]
        broken += [f"leaf {row.leaf.leaf_id}: what it says was changed" for row in bad]
        return broken + [f"leaf {leaf_id}: neither in the tree nor waiting for it" for leaf_id in lost]


def _lost(connection: sa.Connection) -> list[str]:
    """Leaves that no checkpoint will ever take in."""
    placed = sa.select(tables.positions.c.seq).union_all(sa.select(tables.waiting.c.seq))
    chosen = sa.select(tables.leaves.c.leaf_id).where(tables.leaves.c.seq.not_in(placed))
    return list(connection.execute(chosen).scalars())


def _holds(kept: KeptLeaf) -> bool:
    said = (kept.payload or "").encode()
    return commitment_to(said, salt=kept.salt or b"") == kept.leaf.commitment


def _kept(connection: sa.Connection, leaf_id: str) -> KeptLeaf:
    return _read(connection, tables.leaves.c.leaf_id == leaf_id)[0]


def _same(kept: KeptLeaf, leaf: Leaf, written: bytes) -> LeafRef:
    told = ("kind", "subject", "actor", "source", "at")
    alike = all(getattr(kept.leaf, name) == getattr(leaf, name) for name in told)
    if not alike or (kept.payload is not None and kept.payload.encode() != written):
        raise LeafDiffers(f"the leaf {leaf.leaf_id} says something else already")
    return LeafRef(kept.leaf.leaf_id, kept.leaf.hash.hex())


_KNOWN = sa.select(tables.leaves.c.seq).where(tables.leaves.c.leaf_id == sa.bindparam("leaf_id"))
_LEAF = sa.insert(tables.leaves).returning(tables.leaves.c.seq)
_PAYLOAD, _WAITING = sa.insert(tables.payloads), sa.insert(tables.waiting)
"""Built once: building them costs more than running them on SQLite."""


def _insert(connection: sa.Connection, leaf: Leaf, *, salt: bytes, written: bytes, at: datetime) -> None:
    row = {name: getattr(leaf, name) for name in ("leaf_id", "kind", "subject", "actor", "source")}
    row |= {"commitment": leaf.commitment, "leaf_hash": leaf.hash, "at": at}
    seq = connection.execute(_LEAF, row).scalar_one()
    connection.execute(_PAYLOAD, {"seq": seq, "salt": salt, "payload": written.decode()})
    connection.execute(_WAITING, {"seq": seq})


def _read(connection: sa.Connection, condition: sa.ColumnElement[bool]) -> list[KeptLeaf]:
    joined = tables.leaves.outerjoin(tables.payloads).outerjoin(
        tables.positions, tables.positions.c.seq == tables.leaves.c.seq
    )
    columns = (
        *tables.leaves.c,
        tables.payloads.c.salt,
        tables.payloads.c.payload,
        tables.positions.c.position,
    )
    chosen = sa.select(*columns).select_from(joined).where(condition).order_by(tables.leaves.c.seq)
    return [_kept_leaf(row) for row in connection.execute(chosen).mappings()]


def _kept_leaf(row: Mapping[Any, Any]) -> KeptLeaf:
    names = ("leaf_id", "kind", "subject", "actor", "source", "commitment")
    leaf = Leaf(**{name: row[name] for name in names}, at=time_text(row["at"]))
    return KeptLeaf(leaf, salt=row["salt"], payload=row["payload"], position=row["position"])
