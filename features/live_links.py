"""Links between sellers, grown event by event: the forest of :mod:`features.links` over the states of entities.

An entity's node lives in its state, one for each pair of epochs. A node points at its parent by the parent's key;
an attachment carries the submission that made it, so a moment climbs only what stands before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from features.entities import LINK_CAPS, LINK_EPOCH
from features.events import Trade
from features.moment import Links
from features.state import AFTER, LAG, NEVER, LinkNode, State


class StateBook(Protocol):
    """States at hand (:class:`features.state_book.StateBook`)."""

    def find(self, key: str) -> State: ...

    def read(self, keys: Iterable[str]) -> None: ...

    def __contains__(self, key: str) -> bool: ...


Find = Callable[[str], State]
"""Entity key -> its state, read where it is not at hand."""

CHANGES_MOST = 32
_COLUMNS = {
    "device": "device_id",
    "payout_account": "payout_account",
}


def link_submission(trade: Trade, *, time: int, find: Find) -> None:
    """A submission links its seller to its device and account, in both pairs of epochs it is in."""
    epoch = time // LINK_EPOCH
    for pair in (epoch - 1, epoch):
        for kind, value in _values(trade):
            if _admit(
                find(f"{kind}={value}"), pair, (time, trade["trade_id"], trade["seller_id"]), LINK_CAPS[kind]
            ):
                _join(
                    f"seller={trade['seller_id']}", f"{kind}={value}", pair, (time, trade["trade_id"]), find
                )


def link_frauds(trade: Trade, *, submitted: int, known_at: int, frauds: int, find: Find) -> None:
    """Known frauds of the trade's seller become more (or fewer, at a correction)."""
    epoch = submitted // LINK_EPOCH
    for pair in (epoch - 1, epoch):
        if frauds and pair >= known_at // LINK_EPOCH - 1:
            key = f"seller={trade['seller_id']}"
            _change(_node(find(_root(key, pair, find)), pair), (known_at, AFTER), 0, frauds)


def links_of(trade: Trade, *, time: int, find: Find) -> Links:
    """What a trade is linked to at its moment."""
    pair, moment = time // LINK_EPOCH - 1, (time, trade["trade_id"])
    own = f"seller={trade['seller_id']}"
    nodes = [own]
    for kind, value in _values(trade):
        node = find(f"{kind}={value}").links.get(pair)
        before = 0 if node is None else sum(item[:2] < moment for item in node.admitted)
        if 0 < before < LINK_CAPS[kind]:
            nodes.append(f"{kind}={value}")
    sellers = frauds = 0
    for root in {_root(node, pair, find, moment) for node in nodes}:
        node = find(root).links.get(pair)
        if node is not None:
            later = [item for item in node.changes if item[:2] >= moment]
            sellers += node.sellers - sum(item[2] for item in later)
            frauds += node.frauds - sum(item[3] for item in later)
    joined = find(own).links.get(pair)
    itself = joined is not None and joined.joined[0] != NEVER and joined.joined < moment
    return Links(float(sellers - itself), float(frauds))


def read_links(book: StateBook, keys: Iterable[str]) -> None:
    """Read what the entities of these keys are attached to, all of a level of the forest at once: asked for one by one
    while links are followed, each would be a read of its own."""
    level = set(keys)
    while level:
        parents = {node.parent for key in level for node in book.find(key).links.values() if node.parent}
        level = {key for key in parents if key not in book}
        book.read(level)


def forget_old_links(state: State, *, time: int) -> None:
    """Drop the nodes of epochs that no moment from ``time`` on looks at."""
    oldest = (time - LAG) // LINK_EPOCH - 1
    for pair in [pair for pair in state.links if pair < oldest]:
        del state.links[pair]


def _values(trade: Trade) -> Iterator[tuple[str, str]]:
    for kind, column in _COLUMNS.items():
        if trade[column] is not None:
            yield kind, trade[column]


def _node(state: State, pair: int) -> LinkNode:
    return state.links.setdefault(pair, LinkNode())


def _admit(state: State, pair: int, entry: tuple[int, str, str], cap: int) -> bool:
    """Whether the value links this seller from now on; it links the first ``cap`` different ones."""
    admitted = _node(state, pair).admitted
    for place, known in enumerate(admitted):
        if known[2] == entry[2]:
            if entry < known:  # it came late
                admitted[place] = entry
                admitted.sort()
            return False
    if len(admitted) >= cap and entry > admitted[-1]:
        return False
    admitted.append(entry)
    admitted.sort()
    del admitted[cap:]
    return True


def _root(key: str, pair: int, find: Find, moment: tuple[int, str] | None = None) -> str:
    while True:
        node = find(key).links.get(pair)
        if node is None or not node.parent or (moment is not None and node.attached >= moment):
            return key
        key = node.parent


def _join(seller: str, value: str, pair: int, at: tuple[int, str], find: Find) -> None:
    one = _root(seller, pair, find)
    node = _node(find(seller), pair)
    if node.joined[0] == NEVER:
        node.joined = at
        _change(_node(find(one), pair), at, 1, 0)
    other = _root(value, pair, find)
    if one == other:
        return
    upper, lower = _node(find(one), pair), _node(find(other), pair)
    if upper.height < lower.height:
        one, other, upper, lower = other, one, lower, upper
    upper.height += upper.height == lower.height
    lower.parent, lower.attached = one, at
    later = [
        item for item in lower.changes if item[:2] > at
    ]  # where the link is told late, they come after it
    _change(
        upper,
        at,
        lower.sellers - sum(item[2] for item in later),
        lower.frauds - sum(item[3] for item in later),
    )
    for time, trade_id, sellers, frauds in later:
        _change(upper, (time, trade_id), sellers, frauds)


def _change(node: LinkNode, at: tuple[int, str], sellers: int, frauds: int) -> None:
    """Change a root's totals, and remember the change for moments that lie before it."""
    if not sellers and not frauds:
        return
    node.sellers += sellers
    node.frauds += frauds
    node.changes.append((*at, sellers, frauds))
    newest = max(item[0] for item in node.changes)
    node.changes = [item for item in node.changes if item[0] >= newest - LAG][-CHANGES_MOST:]
