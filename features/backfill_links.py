"""The forest of linked sellers as arrays, for states that are rebuilt in bulk."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.entities import LINK_CAPS, LINK_EPOCH
from features.history import History
from features.links import NEVER as LATER
from features.links import Forest, attachments
from features.state import NEVER, LinkNode


@dataclass(frozen=True)
class _Kind:
    """Attachments to the values of one kind, by code: ``start[c]:start[c + 1]`` are those of code c."""

    start: np.ndarray
    seller: np.ndarray
    row: np.ndarray
    node: np.ndarray


class LinkTables:
    """Nodes of every seller and linking value, for the pairs of epochs that a moment from now on looks at."""

    def __init__(self, pairs: dict[int, _Pair]) -> None:
        self._pairs = pairs

    @classmethod
    def of(cls, history: History, *, moment: int) -> LinkTables:
        epoch = moment // LINK_EPOCH
        return cls({pair: _Pair(history, pair, moment) for pair in (epoch - 1, epoch)})

    def nodes(self, entity: str, code: int) -> dict[int, LinkNode]:
        found = {pair: tables.node(entity, code) for pair, tables in self._pairs.items()}
        return {pair: node for pair, node in found.items() if node is not None}


class _Pair:
    """The forest of one pair of epochs, grown over its trades in log order."""

    def __init__(self, history: History, pair: int, moment: int) -> None:
        self._history = history
        self._trade_ids = history.column("trade_id")
        begin, end = np.searchsorted(history.time, [pair * LINK_EPOCH, min((pair + 2) * LINK_EPOCH, moment)])
        seller = history.codes("seller")[begin:end]
        self._sellers = len(history.names["seller"])
        nodes = self._sellers
        self._kinds: dict[str, _Kind] = {}
        for name, cap in LINK_CAPS.items():
            codes = history.codes(name)[begin:end].astype(np.int64)
            groups = len(history.names[name])
            found = attachments(codes, seller.astype(np.int64), cap=cap)
            self._kinds[name] = _Kind(
                start=np.searchsorted(found.value, np.arange(groups + 1)),
                seller=found.seller,
                row=found.position + begin,
                node=nodes + found.value,
            )
            nodes += groups
        self._forest = self._grow(nodes, begin, end, moment)

    def _grow(self, nodes: int, begin: int, end: int, moment: int) -> Forest:
        labels = self._history.labels
        fraud = (labels.value == 1) & (labels.row >= begin) & (labels.row < end) & (labels.known_at < moment)
        at = np.maximum(np.searchsorted(self._history.time, labels.known_at[fraud], side="right") - 1, begin)
        who = self._history.codes("seller")[labels.row[fraud]]
        kinds = [(kind.row, kind.seller, kind.node) for kind in self._kinds.values()]
        steps = [
            np.concatenate(parts) for parts in zip(*kinds, (at, who, np.full(len(at), NEVER)), strict=True)
        ]
        order = np.argsort(steps[0], kind="stable")
        forest = Forest(nodes)
        for row, seller, node in zip(*(step[order].tolist() for step in steps), strict=True):
            if node == NEVER:
                forest.add_fraud(seller, row)
            else:
                forest.join(seller, node, row)
        return forest

    def node(self, entity: str, code: int) -> LinkNode | None:
        """The node of one entity, None where it has none."""
        if entity == "seller":
            return self._made(code, [], self._forest.first_edge[code])
        if entity not in self._kinds:
            return None
        kind = self._kinds[entity]
        part = slice(int(kind.start[code]), int(kind.start[code + 1]))
        if part.start == part.stop:
            return None
        names = self._history.names["seller"]
        admitted = [
            (*self._moment(row), names[seller].as_py())
            for row, seller in zip(kind.row[part].tolist(), kind.seller[part].tolist(), strict=True)
        ]
        return self._made(int(kind.node[part.start]), sorted(admitted), LATER)

    def _made(self, node: int, admitted: list[tuple[int, str, str]], joined: int) -> LinkNode | None:
        forest = self._forest
        parent = forest.parent[node]
        if not admitted and joined == LATER and not forest.frauds[node]:
            return None
        return LinkNode(
            parent="" if parent == node else self._key(parent),
            attached=(NEVER, "") if parent == node else self._moment(forest.attached[node]),
            height=forest.height[node],
            sellers=forest.sellers[node],
            frauds=forest.frauds[node],
            changes=[],
            admitted=admitted,
            joined=(NEVER, "") if joined == LATER else self._moment(joined),
        )

    def _key(self, node: int) -> str:
        if node < self._sellers:
            return f"seller={self._history.names['seller'][node].as_py()}"
        first = self._sellers
        for name in self._kinds:
            groups = len(self._history.names[name])
            if node < first + groups:
                return f"{name}={self._history.names[name][node - first].as_py()}"
            first += groups
        raise IndexError(node)

    def _moment(self, row: int) -> tuple[int, str]:
        return int(self._history.time[row]), self._trade_ids[int(row)].as_py()
