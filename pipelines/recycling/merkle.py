"""Merkle trees of RFC 6962: hashes, roots, inclusion and consistency proofs, and their check.

A tree is kept as the hashes of its complete subtrees: ``(level, position)`` is the one over the ``2**level`` leaves
from ``position * 2**level`` on. They never change while the tree grows, so every proof is put together from a few of
them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

HASH_BYTES = 32

Node = tuple[int, int]
"""Level and position of a complete subtree."""
Span = tuple[int, int]
"""The leaves from the first number on, up to and without the second."""
Nodes = Mapping[Node, bytes]

EMPTY_ROOT = hashlib.sha256(b"").digest()


class ProofRefused(ValueError):
    """A proof does not show what it should; the message says where it fails."""


def leaf_hash(data: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


# --- building ----------------------------------------------------------------------------------------------------


def frontier(size: int) -> list[Node]:
    """The complete subtrees that a tree of this size is made of, largest first."""
    return complete_subtrees((0, size))


def complete_subtrees(span: Span) -> list[Node]:
    """The complete subtrees that cover a span, from left to right. It begins where a subtree of its size may begin."""
    at, end = span
    found: list[Node] = []
    while at < end:
        level = (end - at).bit_length() - 1
        found.append((level, at >> level))
        at += 1 << level
    return found


def grown(size: int, nodes: Nodes, leaves: Sequence[bytes]) -> dict[Node, bytes]:
    """The new complete subtrees after these leaf hashes are put behind a tree of ``size``, whose frontier is in
    ``nodes``."""
    known: dict[Node, bytes] = dict(nodes)
    new: dict[Node, bytes] = {}
    for position, hashed in enumerate(leaves, start=size):
        level, at = 0, position
        known[level, at] = new[level, at] = hashed
        while at & 1:
            pair = node_hash(known[level, at - 1], known[level, at])
            level, at = level + 1, at >> 1
            known[level, at] = new[level, at] = pair
    return new


def span_hash(span: Span, nodes: Nodes) -> bytes:
    """The hash over a span of a tree: MTH of RFC 6962."""
    parts = [nodes[node] for node in complete_subtrees(span)]
    if not parts:
        return EMPTY_ROOT
    folded = parts.pop()
    while parts:
        folded = node_hash(parts.pop(), folded)
    return folded


def root_of(size: int, nodes: Nodes) -> bytes:
    return span_hash((0, size), nodes)


# --- proving -----------------------------------------------------------------------------------------------------


def inclusion_spans(index: int, size: int) -> list[Span]:
    """What the inclusion proof of a leaf is made of: one hash for each of these spans. Raises ValueError."""
    if not 0 <= index < size:
        raise ValueError(f"leaf {index} is not in a tree of {size}")
    low, high = 0, size
    spans: list[Span] = []
    while high - low > 1:
        middle = low + _split(high - low)
        if index < middle:
            spans.append((middle, high))
            high = middle
        else:
            spans.append((low, middle))
            low = middle
    return spans[::-1]


def consistency_spans(older: int, newer: int) -> list[Span]:
    """What the proof is made of that a tree of ``older`` leaves is the beginning of one of ``newer``. Raises
    ValueError."""
    if not 0 <= older <= newer:
        raise ValueError(f"a tree of {older} is not the beginning of one of {newer}")
    if older in (0, newer):
        return []
    low, high = 0, newer
    spans: list[Span] = []
    while older != high:
        middle = low + _split(high - low)
        if older <= middle:
            spans.append((middle, high))
            high = middle
        else:
            spans.append((low, middle))
            low = middle
    if low > 0:  # the reader has the hash of the whole older tree already
        spans.append((low, high))
    return spans[::-1]


def nodes_of(spans: Iterable[Span]) -> set[Node]:
    """The complete subtrees whose hashes are needed for the hashes of these spans."""
    return {node for span in spans for node in complete_subtrees(span)}


def proof_of(spans: Sequence[Span], nodes: Nodes) -> list[bytes]:
    return [span_hash(span, nodes) for span in spans]


def _split(size: int) -> int:
    """The largest power of two below the size."""
    return 1 << ((size - 1).bit_length() - 1)


# --- checking (RFC 9162, sections 2.1.3.2 and 2.1.4.2) -------------------------------------------------------------


def check_inclusion(*, leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Whether the leaf with this hash stands at ``index`` in the tree. Raises ProofRefused."""
    _check_hashes([leaf, root, *proof])
    if not 0 <= index < size:
        raise ProofRefused("the leaf's place is not in the tree")
    at, last, hashed = index, size - 1, leaf
    for step in proof:
        if last == 0:
            raise ProofRefused("the inclusion proof is too long")
        if at & 1 or at == last:
            hashed = node_hash(step, hashed)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            hashed = node_hash(hashed, step)
        at, last = at >> 1, last >> 1
    if last != 0 or hashed != root:
        raise ProofRefused("the inclusion proof does not lead to the root")


def check_consistency(
    *, older: int, newer: int, proof: Sequence[bytes], older_root: bytes, newer_root: bytes
) -> None:
    """Whether the older tree is the beginning of the newer one. Raises ProofRefused."""
    _check_hashes([older_root, newer_root, *proof])
    if not 0 <= older <= newer:
        raise ProofRefused("the older tree is larger than the newer one")
    if older in (0, newer):
        same = older_root == (newer_root if older == newer else EMPTY_ROOT)
        if proof or not same:
            raise ProofRefused("two trees of one size have different roots, or the proof is too long")
        return
    steps = list(proof)
    if older & (older - 1) == 0:
        steps.insert(0, older_root)
    _follow(older - 1, newer - 1, steps, older_root, newer_root)


def _follow(at: int, last: int, steps: list[bytes], older_root: bytes, newer_root: bytes) -> None:
    """Walk up from the last leaf of the older tree in both trees at once."""
    if not steps:
        raise ProofRefused("the consistency proof is empty")
    while at & 1:
        at, last = at >> 1, last >> 1
    older_hash = newer_hash = steps[0]
    for step in steps[1:]:
        if last == 0:
            raise ProofRefused("the consistency proof is too long")
        if at & 1 or at == last:
            older_hash, newer_hash = node_hash(step, older_hash), node_hash(step, newer_hash)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            newer_hash = node_hash(newer_hash, step)
        at, last = at >> 1, last >> 1
    if last != 0 or (older_hash, newer_hash) != (older_root, newer_root):
        raise ProofRefused("the consistency proof does not lead to both roots")


def _check_hashes(hashes: Iterable[bytes]) -> None:
    if any(len(item) != HASH_BYTES for item in hashes):
        raise ProofRefused("a hash has not 32 bytes")
