"""Links between sellers who share a device, a payout account, a card batch or an address, over the whole log.

A value (one device, …) links the first :data:`features.entities.LINK_CAPS` different sellers that come with it in an
epoch pair. Linked sellers form components; a component only grows, so a union-find forest whose every attachment
carries its position in the log answers for any moment: climb only attachments that stand earlier.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features import kernel
from features.entities import LINK_CAPS, LINK_EPOCH

NEVER = np.iinfo(np.int64).max


def link_history(
    *,
    time: np.ndarray,
    seller: np.ndarray,
    linking: dict[str, np.ndarray],
    label_row: np.ndarray,
    label_known_at: np.ndarray,
    label_fraud: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Linked other sellers and known frauds (n,) int32 of every row of the log.

    time (n,) µs ascending; seller (n,) codes; linking: codes (n,) of each linking entity, -1 where a row has none.
    Labels: row, when known (µs), 0 or 1. Rows of epoch e are answered from links of epochs e - 1 and e.
    """
    sellers, frauds = (np.zeros(len(time), dtype=np.int32) for _ in range(2))
    epoch = time // LINK_EPOCH
    fraud = label_fraud == 1
    fraud_row, known_after = label_row[fraud], np.searchsorted(time, label_known_at[fraud], side="right") - 1
    for current in np.unique(epoch):
        start, middle, stop = np.searchsorted(epoch, [current - 1, current, current + 1], side="left")
        part = slice(int(start), int(stop))
        own = (fraud_row >= start) & (fraud_row < stop) & (known_after < stop)
        asked = np.arange(middle, stop) - start
        found = _Generation(
            seller=seller[part],
            linking={name: codes[part] for name, codes in linking.items()},
            fraud_row=fraud_row[own] - start,
            fraud_position=known_after[own] - start,
        ).answers(asked)
        sellers[middle:stop], frauds[middle:stop] = found
    return sellers, frauds


@dataclass(frozen=True)
class Attachments:
    """The first sellers of each value of one kind, sorted by (value, position): value, seller (codes within the
    generation) and position, each (k,). ``shared`` (values,) bool: whether a value has two sellers or more."""

    value: np.ndarray
    seller: np.ndarray
    position: np.ndarray
    shared: np.ndarray


@dataclass(frozen=True)
class _Edges:
    """Attachments of shared values. node (values + 1,): number of each value's node, -1 where it is not shared."""

    node: np.ndarray
    keys: np.ndarray
    seller: np.ndarray
    value: np.ndarray
    position: np.ndarray


def attachments(codes: np.ndarray, seller: np.ndarray, *, cap: int) -> Attachments:
    """Who is attached to which value (n,) by their first trade with it; the first ``cap`` sellers of each value."""
    size = np.int64(max(len(codes), 1))
    rows = np.flatnonzero(codes >= 0)
    pair = codes[rows] * size + seller[rows]
    order = np.argsort(pair, kind="stable")
    first = np.ones(len(order), dtype=bool)
    first[1:] = pair[order[1:]] != pair[order[:-1]]
    keys = np.sort(codes[rows[order[first]]] * size + rows[order[first]])
    value, position = keys // size, keys % size
    admitted = np.arange(len(value)) - kernel.block_starts(value) < cap
    value, position = value[admitted], position[admitted]
    shared = np.bincount(value, minlength=int(codes.max(initial=-1)) + 1) > 1
    return Attachments(value=value, seller=seller[position], position=position, shared=shared)


class _Generation:
    """Components of one pair of epochs; positions are counted from its first row."""

    def __init__(
        self,
        *,
        seller: np.ndarray,
        linking: dict[str, np.ndarray],
        fraud_row: np.ndarray,
        fraud_position: np.ndarray,
    ) -> None:
        self._size = len(seller)
        self._seller = compact(seller)
        self._values = {name: compact(codes) for name, codes in linking.items()}
        nodes = int(self._seller.max(initial=-1)) + 1
        self._edges: dict[str, _Edges] = {}
        for name, codes in self._values.items():
            found = attachments(codes, self._seller, cap=LINK_CAPS[name])
            self._edges[name] = self._shared(found, first_node=nodes)
            nodes += int(found.shared.sum())
        self._grow(nodes, fraud_row, fraud_position)

    def _shared(self, found: Attachments, *, first_node: int) -> _Edges:
        node = np.where(found.shared, np.cumsum(found.shared) - 1 + first_node, -1)
        keep = found.shared[found.value]
        value, position = found.value[keep], found.position[keep]
        return _Edges(
            node=np.append(node, -1),  # code -1 has no node
            keys=value * np.int64(self._size) + position,
            seller=found.seller[keep],
            value=value,
            position=position,
        )

    def _grow(self, nodes: int, fraud_row: np.ndarray, fraud_position: np.ndarray) -> None:
        """Attach in log order. A loop, but only over values that sellers share, and over frauds."""
        joining = [(edges.position, edges.seller, edges.node[edges.value]) for edges in self._edges.values()]
        kinds = [*joining, (fraud_position, self._seller[fraud_row], np.full(len(fraud_row), -1))]
        position, seller, node = (np.concatenate(columns) for columns in zip(*kinds, strict=True))
        order = np.argsort(position, kind="stable")
        forest = Forest(nodes)
        steps = zip(position[order].tolist(), seller[order].tolist(), node[order].tolist(), strict=True)
        for at, who, value in steps:
            if value < 0:
                forest.add_fraud(who, at)
            else:
                forest.join(who, value, at)
        self._parent = np.array(forest.parent, dtype=np.int64)
        self._attached = np.array(forest.attached, dtype=np.int64)
        self._first_edge = np.array(forest.first_edge, dtype=np.int64)
        self._totals = _Totals(forest, self._size)

    def answers(self, asked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Linked other sellers and known frauds of the asked positions (m,)."""
        nodes = [self._seller[asked]]
        for name, edges in self._edges.items():
            codes = self._values[name][asked]
            before = np.searchsorted(edges.keys, codes * np.int64(self._size) + asked)
            begin = np.searchsorted(edges.keys, codes * np.int64(self._size))
            open_to_more = (before > begin) & (before - begin < LINK_CAPS[name])
            nodes.append(np.where(open_to_more, edges.node[codes], -1))
        roots = np.sort(np.column_stack([self._roots(node, asked) for node in nodes]), axis=1)
        again = np.zeros(roots.shape, dtype=bool)
        again[:, 1:] = roots[:, 1:] == roots[:, :-1]
        roots[again] = -1
        sellers, frauds = (np.zeros(len(asked), dtype=np.int64) for _ in range(2))
        for column in roots.T:
            found = self._totals.at(column, asked)
            sellers += found[0]
            frauds += found[1]
        return sellers - (self._first_edge[self._seller[asked]] < asked), frauds

    def _roots(self, node: np.ndarray, asked: np.ndarray) -> np.ndarray:
        root = node.copy()
        climbing = np.flatnonzero(root >= 0)
        while len(climbing):
            climbing = climbing[self._attached[root[climbing]] < asked[climbing]]
            root[climbing] = self._parent[root[climbing]]
        return root


class Forest:
    """Union by height: a path is never longer than the logarithm of its component."""

    def __init__(self, nodes: int) -> None:
        self.parent = list(range(nodes))
        self.attached = [NEVER] * nodes
        self.first_edge = [NEVER] * nodes
        self.height = [0] * nodes
        self.sellers = [0] * nodes
        self.frauds = [0] * nodes
        self.changes: list[tuple[int, int, int, int]] = []
        """(root, position, sellers more, frauds more)"""

    def root(self, node: int) -> int:
        parent = self.parent
        while parent[node] != node:
            node = parent[node]
        return node

    def add_fraud(self, seller: int, at: int) -> None:
        self._add(self.root(seller), at, 0, 1)

    def join(self, seller: int, value: int, at: int) -> None:
        one = self.root(seller)
        if self.first_edge[seller] == NEVER:
            self.first_edge[seller] = at
            self._add(one, at, 1, 0)
        other = self.root(value)
        if one == other:
            return
        if self.height[one] < self.height[other]:
            one, other = other, one
        self.height[one] += self.height[one] == self.height[other]
        self.parent[other], self.attached[other] = one, at
        if self.sellers[other] or self.frauds[other]:
            self._add(one, at, self.sellers[other], self.frauds[other])

    def _add(self, root: int, at: int, sellers: int, frauds: int) -> None:
        self.sellers[root] += sellers
        self.frauds[root] += frauds
        self.changes.append((root, at, sellers, frauds))


class _Totals:
    """Sellers and frauds of every root as of a position."""

    def __init__(self, forest: Forest, size: int) -> None:
        changes = np.array(forest.changes, dtype=np.int64).reshape(-1, 4)
        keys = changes[:, 0] * np.int64(size) + changes[:, 1]
        order = np.argsort(keys, kind="stable")
        self._size = size
        self._keys = keys[order]
        self._running = [kernel.running_total(changes[order, column]) for column in (2, 3)]

    def at(self, root: np.ndarray, position: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(sellers, frauds) of each root before each position; 0 for root -1."""
        base = np.maximum(root, 0) * np.int64(self._size)
        begin, end = np.searchsorted(self._keys, base), np.searchsorted(self._keys, base + position)
        end = np.where(root < 0, begin, end)
        sellers, frauds = (running[end] - running[begin] for running in self._running)
        return sellers, frauds


def compact(codes: np.ndarray) -> np.ndarray:
    """Codes renumbered from 0 without gaps; -1 stays."""
    known = codes >= 0
    result = np.full(len(codes), -1, dtype=np.int64)
    result[known] = np.unique(codes[known], return_inverse=True)[1]
    return result
