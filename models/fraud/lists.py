"""Block, watch and allow lists, as of any moment: what a list said is found by the changes made to it before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from models.matrix import Columns

LISTS = ("block", "watch", "allow")

KINDS: dict[str, str] = {
    "seller": "seller_id",
    "device": "device_id",
    "ip": "ip",
    "payout_account": "payout_account",
    "card_prefix": "card_prefix",
    "card_fingerprint": "card_fingerprint",
}
"""Kind of entry -> the column of a trade that it is compared with."""

NEVER_MS = int(np.iinfo(np.int64).max)


@dataclass(frozen=True)
class ListChange:
    """From just after ``at_ms`` until before ``until_ms``, or the next change, ``value`` is on ``list``.

    A removal is a change with ``until_ms`` = ``at_ms``. shadow: what it hits is recorded and nothing else changes.
    """

    list: str
    kind: str
    value: str
    at_ms: int
    until_ms: int = NEVER_MS
    shadow: bool = False


@dataclass(frozen=True)
class Listed:
    """Which of n trades have something on which list; (n,) bool each. shadow: on which list in shadow, by its name."""

    block: np.ndarray
    watch: np.ndarray
    allow: np.ndarray
    shadow: Mapping[str, np.ndarray] = field(default_factory=dict)


class Lists:
    """All changes ever made, by what they are about. Grows by :meth:`add`; nothing is taken out."""

    def __init__(self) -> None:
        self._changes: dict[str, dict[str, dict[str, list[ListChange]]]] = {kind: {} for kind in KINDS}

    def add(self, change: ListChange) -> None:
        """Take in a change. Of two made at the same time about the same value the one added last counts."""
        of_value = self._changes[change.kind].setdefault(change.value, {})
        known = of_value.setdefault(change.list, [])
        known.append(change)
        known.sort(key=lambda one: one.at_ms)  # stable, and nearly always in order already

    def listed(self, *, submitted: Columns, submitted_at: np.ndarray) -> Listed:
        """What the lists said when each trade was submitted. submitted: ids (n,) by name, None where unknown;
        submitted_at (n,) int64 ms. A name that is not there is on no list."""
        live, shadow = ({name: np.zeros(len(submitted_at), dtype=bool) for name in LISTS} for _ in range(2))
        for kind, by_value in self._changes.items():
            values = submitted.get(KINDS[kind]) if by_value else None
            if values is None:
                continue
            for row, value in enumerate(values):
                for name, changes in by_value.get(value, {}).items():
                    holds = _active(changes, int(submitted_at[row]))
                    if holds is not None:
                        (shadow if holds.shadow else live)[name][row] = True
        return Listed(**live, shadow=shadow)

    def last(self, *, list: str, kind: str, value: str) -> ListChange | None:
        """The newest change about a value, None without one."""
        changes = self._changes[kind].get(value, {}).get(list)
        return changes[-1] if changes else None


def _active(changes: list[ListChange], at_ms: int) -> ListChange | None:
    """The change that puts the value on the list at a moment: the last one before it, unless that has run out."""
    before = next((one for one in reversed(changes) if one.at_ms < at_ms), None)
    return before if before is not None and at_ms < before.until_ms else None
