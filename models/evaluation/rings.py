"""How early is a ring stopped? Only a simulation, or a finished investigation, knows who belongs to one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LEAST_TRADES = 5
EARLY = 5
"""A ring counts as found early when one of its first so many trades is stopped."""


@dataclass(frozen=True)
class RingDelays:
    """One entry per ring (r,), in the order of their ids. trades: of the ring in the judged period. passed: trades
    that went through before the first one was stopped, infinite where none was."""

    ring: np.ndarray
    trades: np.ndarray
    passed: np.ndarray

    def __len__(self) -> int:
        return len(self.ring)

    @property
    def median(self) -> float:
        """NaN without a ring."""
        return float(np.median(self.passed)) if len(self) else float("nan")

    @property
    def p90(self) -> float:
        """Nine of ten rings are stopped after so many trades or fewer; NaN without a ring."""
        return float(np.quantile(self.passed, 0.9, method="higher")) if len(self) else float("nan")

    @property
    def found(self) -> float:
        """Share of rings of which any trade was stopped."""
        return float(np.isfinite(self.passed).mean()) if len(self) else float("nan")

    @property
    def found_early(self) -> float:
        """Share of rings stopped at one of their first EARLY trades."""
        return float((self.passed < EARLY).mean()) if len(self) else float("nan")


def ring_delays(
    *, ring: np.ndarray, submitted_at: np.ndarray, judged: np.ndarray, stopped: np.ndarray
) -> RingDelays:
    """How many trades of each ring pass until the first is stopped, counted from the ring's start.

    ring (n,): id, None where a trade belongs to none. submitted_at (n,) any unit; equal moments keep their order.
    judged (n,) bool: the period in which decisions are looked at; hand in the whole log, so that a ring's start is
    seen. stopped (n,) bool: refused or sent to review; not looked at outside the period. Rings that start before
    the period, or have fewer than LEAST_TRADES trades in it, are left out: nobody knows when they would have been
    found.
    """
    order = np.argsort(submitted_at, kind="stable")
    order = order[np.array([name is not None for name in ring[order]], dtype=bool)]
    names, code = np.unique(ring[order].astype(str), return_inverse=True)
    starts = np.searchsorted(np.sort(code), np.arange(1, len(names)))
    members = np.split(order[np.argsort(code, kind="stable")], starts)
    kept, trades, passed = [], [], []
    for name, rows in zip(names, members, strict=False):
        inside = rows[judged[rows]]
        if not judged[rows[0]] or len(inside) < LEAST_TRADES:
            continue
        hits = np.flatnonzero(stopped[inside])
        kept.append(name)
        trades.append(len(inside))
        passed.append(float(hits[0]) if len(hits) else np.inf)
    return RingDelays(
        np.array(kept, dtype=object), np.array(trades, dtype=np.int64), np.array(passed, dtype=np.float64)
    )
