"""What stands on the lists, as something that can be tried on history beside rules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from features.rows import to_microseconds
from models.fraud.lists import KINDS, LISTS, NEVER_MS
from models.fraud.screening import LISTED_ALLOW, LISTED_BLOCK, LISTED_WATCH, list_name
from models.reasons import Reason

REASONS = {"block": LISTED_BLOCK, "watch": LISTED_WATCH, "allow": LISTED_ALLOW}
ACTIONS = {"block": "refuse", "watch": "review", "allow": "allow"}
MODES = {"added": "live", "shadow": "shadow"}
"""How an entry was made -> its mode; one that is only proposed is ``off``."""


@dataclass(frozen=True)
class ListTried:
    """Everything of one kind on one list in one mode. entered_ms: when each value was listed, int64 ms."""

    list: str
    kind: str
    mode: str
    entered_ms: Mapping[str, int]

    @property
    def name(self) -> str:
        return list_name(self.list, self.kind)

    @property
    def action(self) -> str:
        return ACTIONS[self.list]

    @property
    def binding(self) -> bool:
        """Whether nothing eases it."""
        return self.list == "block"

    @property
    def reason(self) -> Reason:
        return REASONS[self.list]

    def hits(self, ids: Mapping[str, np.ndarray]) -> np.ndarray:
        """Which of n trades have one of the values, (n,) bool, whenever it was listed. ids: (n,) object by column."""
        return np.array([value in self.entered_ms for value in ids[KINDS[self.kind]]], dtype=bool)

    def listed_later(self, ids: Mapping[str, np.ndarray], submitted_ms: np.ndarray) -> int:
        """How many of the hits were submitted before their value was listed."""
        entered = [self.entered_ms.get(value, -NEVER_MS) for value in ids[KINDS[self.kind]]]
        return int(np.count_nonzero(np.array(entered, dtype=np.int64) >= submitted_ms))


def lists_tried(rows: Iterable[Mapping[str, Any]]) -> tuple[ListTried, ...]:
    """Entries (rows of :meth:`ListData.active`, or proposed ones with ``change`` = ``off``) by list, kind and mode:
    live ones first, block before watch before allow."""
    found: dict[tuple[str, str, str], dict[str, int]] = {}
    for row in rows:
        key = (MODES.get(row["change"], "off"), row["list"], row["kind"])
        found.setdefault(key, {})[row["value"]] = to_microseconds(row["at"]) // 1000
    order = {name: place for place, name in enumerate(("live", "shadow", "off", *LISTS, *KINDS))}
    keys = sorted(found, key=lambda key: tuple(order[part] for part in key))
    return tuple(ListTried(name, kind, mode, found[mode, name, kind]) for mode, name, kind in keys)
