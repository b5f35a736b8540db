"""Verifies a bundle of the evidence log: offline, without workspace, database or platform.

A bundle is one JSON file in one form, byte for byte: names sorted, one space of indent. It is signed as a whole by the
log's key, and every part of it is checked besides: what was said against its leaf, each leaf against the tree, the tree
against the checkpoints that were left outside, and time stamps against their authority.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from pipelines.recycling.anchors import (
    FILE_WITNESS,
    TIME_STAMP,
    StampRefused,
    certificates_of,
    stamped_at,
    witness_line,
)
from pipelines.recycling.checkpoints import (
    Checkpoint,
    CheckpointRefused,
    VerifierKey,
    from_base64,
    keys_by_id,
    open_checkpoint,
    parse_verifier_key,
)
from pipelines.recycling.evidence_leaves import SALT_BYTES, Leaf, commitment_to
from pipelines.recycling.merkle import ProofRefused, check_consistency, check_inclusion
from pipelines.signing import NotCanonical, SignatureRefused, canonical_json, check_signature

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

BUNDLE_FORMAT = "huika-evidence-bundle/1"
CLOCK_TOLERANCE = timedelta(minutes=5)
"""How far a leaf's own time may be behind the stamp that covers it: clocks differ."""

_NAMES = {
    "format",
    "subject",
    "exported_at",
    "keys",
    "checkpoint",
    "leaves",
    "anchored",
    "time_stamp_roots",
    "signature",
}


class BundleRefused(ValueError):
    """A bundle does not prove what it should; the message says where it fails."""


@dataclass(frozen=True)
class Trusted:
    """What the reader brings along, and need not take from the file. keys: of the log; roots: of time stamps; witness:
    the lines of the witness file. Empty: nothing of that kind."""

    keys: tuple[VerifierKey, ...] = ()
    roots: tuple[Certificate, ...] = field(default=(), repr=False)
    witness: frozenset[str] = field(default=frozenset(), repr=False)


@dataclass(frozen=True)
class Outside:
    """A checkpoint that stands outside. at: when it did so at the latest; covers: how many leaves of the log; checked:
    whether it was compared with something that the reader brought along."""

    kind: str
    name: str
    at: datetime
    covers: int
    checked: bool


@dataclass(frozen=True)
class ProvenLeaf:
    """A leaf that stands in the log. said: None where it was deleted since, or was null; outside: what covers it."""

    leaf: Leaf
    index: int
    said: Any
    told: bool
    outside: tuple[Outside, ...]


@dataclass(frozen=True)
class Proven:
    """What a bundle proves. pinned: whether the reader brought the log's key along."""

    subject: str
    exported_at: str
    checkpoint: Checkpoint
    leaves: tuple[ProvenLeaf, ...]
    outside: tuple[Outside, ...]
    key: str
    pinned: bool


@dataclass(frozen=True)
class _Means:
    """What a bundle is checked with. roots_brought: whether the reader brought the roots along."""

    keys: Sequence[VerifierKey]
    roots: tuple[Certificate, ...]
    roots_brought: bool
    witness: frozenset[str]


def bundle_bytes(document: Mapping[str, Any]) -> bytes:
    """The one form of a bundle."""
    return (json.dumps(document, ensure_ascii=False, indent=1, sort_keys=True) + "\n").encode()


def verify_bundle(content: bytes, trusted: Trusted) -> Proven:
    """What the file proves. Raises BundleRefused where anything in it is not as it should be."""
    document = _document(content)
    try:
        return _verified(document, trusted)
    except (CheckpointRefused, ProofRefused, SignatureRefused, StampRefused, NotCanonical) as error:
        raise BundleRefused(str(error)) from error
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        if isinstance(error, BundleRefused):
            raise
        raise BundleRefused("something in it is not in the form of a bundle") from error


def _document(content: bytes) -> dict[str, Any]:
    try:
        document = json.loads(content)
        same = isinstance(document, dict) and bundle_bytes(document) == content
    except (ValueError, RecursionError):
        raise BundleRefused("it is not JSON") from None
    if not same or document.get("format") != BUNDLE_FORMAT or set(document) != _NAMES:
        raise BundleRefused("it is not a bundle of evidence, byte for byte as it was exported")
    return document


def _verified(document: dict[str, Any], trusted: Trusted) -> Proven:
    keys = [parse_verifier_key(text) for text in document["keys"]]
    if trusted.keys:
        keys = [key for key in keys if key.text in {known.text for known in trusted.keys}]
    signer = check_signature(document, keys_by_id(keys))
    head = open_checkpoint(document["checkpoint"], keys)
    means = _Means(
        keys=keys,
        roots=trusted.roots or _own_roots(document["time_stamp_roots"]),
        roots_brought=bool(trusted.roots),
        witness=trusted.witness,
    )
    outside = [found for item in document["anchored"] for found in _anchored(item, head, means)]
    leaves = tuple(_leaf(item, document["subject"], head, outside) for item in document["leaves"])
    if not leaves:
        raise BundleRefused("there is no leaf in it")
    return Proven(
        subject=document["subject"],
        exported_at=document["exported_at"],
        checkpoint=head,
        leaves=leaves,
        outside=tuple(outside),
        key=next(key.text for key in keys if signer in keys_by_id([key])),
        pinned=bool(trusted.keys),
    )


def _own_roots(pem: str) -> tuple[Certificate, ...]:
    return certificates_of(pem.encode(), "time_stamp_roots") if pem else ()


def _leaf(item: Mapping[str, Any], subject: str, head: Checkpoint, outside: Iterable[Outside]) -> ProvenLeaf:
    if set(item["leaf"]) != {part.name for part in fields(Leaf)}:
        raise BundleRefused("a leaf does not have the fields of a leaf")
    leaf, index = Leaf(**item["leaf"]), _whole(item["index"])
    if leaf.subject != subject:
        raise BundleRefused(f"the leaf {leaf.leaf_id!r:.70} is of another trade")
    told = item["salt"] is not None
    if told:
        _check_said(leaf, salt=from_base64(item["salt"]), said=item["said"])
    elif item["said"] is not None:
        raise BundleRefused(f"nothing shows that the leaf {leaf.leaf_id!r:.70} said this")
    proof = [from_base64(step) for step in item["inclusion"]]
    check_inclusion(leaf=leaf.hash, index=index, size=head.size, proof=proof, root=head.root)
    covering = tuple(one for one in outside if index < one.covers)
    _check_clock(leaf, covering)
    return ProvenLeaf(leaf=leaf, index=index, said=item["said"], told=told, outside=covering)


def _check_said(leaf: Leaf, *, salt: bytes, said: Any) -> None:
    if len(salt) != SALT_BYTES or commitment_to(canonical_json(said), salt=salt) != leaf.commitment:
        raise BundleRefused(f"the leaf {leaf.leaf_id!r:.70} did not say this")


def _check_clock(leaf: Leaf, covering: Iterable[Outside]) -> None:
    captured = datetime.fromisoformat(leaf.at)
    for one in covering:
        if captured > one.at + CLOCK_TOLERANCE:
            raise BundleRefused(
                f"the leaf {leaf.leaf_id!r:.70} claims a time after {one.name} had its checkpoint: its time is not true"
            )


def _anchored(item: Mapping[str, Any], head: Checkpoint, means: _Means) -> list[Outside]:
    """What stands outside of one checkpoint, once it is shown to be the beginning of the newest one."""
    checkpoint = open_checkpoint(item["checkpoint"], means.keys)
    if checkpoint.origin != head.origin:
        raise BundleRefused("a checkpoint in it is of another log")
    proof = [from_base64(step) for step in item["consistency"]]
    check_consistency(
        older=checkpoint.size,
        newer=head.size,
        proof=proof,
        older_root=checkpoint.root,
        newer_root=head.root,
    )
    return [_outside(one, item["checkpoint"], checkpoint, means) for one in item["anchors"]]


def _outside(item: Mapping[str, Any], note: str, checkpoint: Checkpoint, means: _Means) -> Outside:
    at = datetime.fromisoformat(item["at"])
    if item["kind"] == TIME_STAMP:
        stamped = stamped_at(from_base64(item["proof"]), note, roots=means.roots)
        if stamped != at:
            raise BundleRefused("a time stamp is of another time than the file says")
        checked = means.roots_brought
    elif item["kind"] == FILE_WITNESS:
        if item["proof"] != witness_line(note, size=checkpoint.size, root=checkpoint.root, at=at):
            raise BundleRefused("the line of a witness is of another checkpoint")
        if means.witness and item["proof"] not in means.witness:
            raise BundleRefused("the witness file does not have this checkpoint")
        checked = bool(means.witness)
    else:
        checked = False  # of a kind that is checked elsewhere
    return Outside(
        item["kind"], str(item["name"]), at.astimezone(UTC), covers=checkpoint.size, checked=checked
    )


def _whole(value: Any) -> int:
    if type(value) is not int:
        raise BundleRefused("the place of a leaf is no whole number")
    return value
