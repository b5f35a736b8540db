"""Rules and legal limits: conditions that people write down beside the model, with the action they ask for.

A legal limit is a rule with a source and a first day in force. It also reads the sums of a rolling day
(:data:`DAY_SUMS`), which are not features.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import date
from functools import cached_property

import numpy as np

from features.china import CHINA_OFFSET
from features.windows import DAY
from models.fraud.conditions import Condition
from models.matrix import Columns
from models.reasons import Reason

MODES = ("live", "shadow", "off")
"""live: counts. shadow: is recorded for analysts and changes nothing. off: is not looked at."""

DAY_SUMS = {
    "seller_day_cny": "seller_amount_24h",
    "payout_account_day_cny": "payout_account_amount_24h",
}
"""Face value (CNY) of a rolling day, this card included -> the feature that holds what came before it."""

EPOCH_DAY = date(1970, 1, 1).toordinal()


@dataclass(frozen=True)
class Source:
    """Where a legal limit is written, in Chinese and English."""

    zh: str
    en: str


@dataclass(frozen=True)
class Rule:
    """Where all of ``when`` hold, ``action`` is asked for. In force on the days [since, until) of China, None: open.

    binding: the allow list does not soften it. note: for analysts; ``reason`` is what a seller may read.
    source: only of a legal limit.
    """

    name: str
    mode: str
    action: str
    when: tuple[Condition, ...]
    reason: Reason
    since: date | None = None
    until: date | None = None
    binding: bool = False
    author: str = ""
    note: str = ""
    source: Source | None = None

    def hits(self, columns: Columns, submitted_at: np.ndarray) -> np.ndarray:
        """Where the rule holds, (n,) bool, of trades submitted at ``submitted_at`` (n,) int64 ms."""
        hit: np.ndarray | None = None
        for condition in self.when:
            holds = condition.holds(columns, len(submitted_at))
            hit = holds if hit is None else hit & holds
            if not np.count_nonzero(hit):
                return hit
        return self._in_force(np.ones(len(submitted_at), dtype=bool) if hit is None else hit, submitted_at)

    def _in_force(self, hit: np.ndarray, submitted_at: np.ndarray) -> np.ndarray:
        """``hit`` on the days on which the rule is in force."""
        if self._first_ms is not None:
            hit = hit & (submitted_at >= self._first_ms)
        return hit if self._end_ms is None else hit & (submitted_at < self._end_ms)

    @cached_property
    def _first_ms(self) -> int | None:
        return None if self.since is None else _china_midnight_ms(self.since)

    @cached_property
    def _end_ms(self) -> int | None:
        return None if self.until is None else _china_midnight_ms(self.until)


@dataclass(frozen=True)
class RuleBook:
    """The rules of a platform and the legal limits it lives under."""

    rules: tuple[Rule, ...] = ()
    limits: tuple[Rule, ...] = ()

    @cached_property
    def rules_version(self) -> str:
        """Hash of the rules; it changes with anything that is written in one."""
        return _digest(self.rules)

    @cached_property
    def law_version(self) -> str:
        """Hash of the limits."""
        return _digest(self.limits)

    @cached_property
    def _looked_at(self) -> tuple[Rule, ...]:
        return tuple(rule for rule in (*self.limits, *self.rules) if rule.mode != "off")

    def hits(self, *, columns: Columns, submitted_at: np.ndarray) -> list[tuple[Rule, np.ndarray]]:
        """Limits and rules that hit at least one of n trades, with where (n,) bool; none that is off.

        columns: features (n,); a rule about one that is not among them does not hit.
        """
        if not self._looked_at:
            return []
        seen = with_day_sums(columns)
        found = [(rule, rule.hits(seen, submitted_at)) for rule in self._looked_at]
        return [(rule, hit) for rule, hit in found if np.count_nonzero(hit)]


def with_day_sums(columns: Columns) -> dict[str, np.ndarray]:
    """The columns with the day's sums beside them; one that cannot be known is left out."""
    seen = dict(columns)
    face = columns.get("card_face_cny")
    for name, before in DAY_SUMS.items():
        if face is not None and before in columns:
            seen[name] = columns[before] + face
    return seen


def _china_midnight_ms(day: date) -> int:
    return ((day.toordinal() - EPOCH_DAY) * DAY - CHINA_OFFSET) // 1000


def _digest(rules: tuple[Rule, ...]) -> str:
    return hashlib.sha256(repr(rules).encode()).hexdigest()[:8]
