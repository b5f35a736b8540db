"""When a canary must stop: limits on errors, latency, refusals, predicted and realised profit."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from pipelines.settings import CanarySettings
from pipelines.shadow_data import CANDIDATE, CHAMPION, Paired

REMEMBERED = 2_000
"""Latest requests of each side of which latencies are kept."""

LEAST_EXCESS_MS = 20.0
"""A 99th percentile that lies so little above the champions' is nobody's wait, whatever the ratio."""

SURE_ERRORS = 3.0
"""Standard errors by which profit must lie below its limit: it is looked at again and again, and twice the error
would sooner or later stop a candidate that is as good."""


@dataclass
class Requests:
    """What one side took and how it did, in this process."""

    count: int = 0
    failed: int = 0
    latest_ms: deque[float] = field(default_factory=lambda: deque(maxlen=REMEMBERED))

    def answered(self, *, seconds: float) -> None:
        self.count += 1
        self.latest_ms.append(seconds * 1e3)

    def failures(self, count: int) -> None:
        self.count += count
        self.failed += count

    @property
    def error_share(self) -> float:
        return self.failed / self.count if self.count else 0.0

    @property
    def p99_ms(self) -> float:
        return float(np.percentile(self.latest_ms, 99)) if self.latest_ms else 0.0


def requests_breach(limits: CanarySettings, requests: Mapping[str, Requests]) -> str | None:
    """Why the candidate must not answer any more, by its errors and its latency; None where it may."""
    old, new = requests[CHAMPION], requests[CANDIDATE]
    if (
        new.failed
        and new.count >= limits.min_requests
        and new.error_share - old.error_share > limits.max_error_share
    ):
        return f"errors: {new.failed} of {new.count} requests failed, limit {limits.max_error_share:.2%}"
    if min(len(old.latest_ms), len(new.latest_ms)) < limits.min_quotes:
        return None
    before, now = old.p99_ms, new.p99_ms
    if now > limits.max_p99_ratio * before and now - before > LEAST_EXCESS_MS:
        return f"latency: p99 {now:.0f} ms against {before:.0f} ms, limit {limits.max_p99_ratio:g} times"
    return None


def answers_breach(limits: CanarySettings, paired: Paired) -> str | None:
    """The same by refusals and predicted profit, on quotes that both sides answered."""
    if len(paired) < limits.min_quotes:
        return None
    old, new = (float(paired.refused[side].mean()) for side in (CHAMPION, CANDIDATE))
    if abs(new - old) > limits.max_refusal_difference:
        return f"refusals: {new:.1%} against {old:.1%}, limit {limits.max_refusal_difference:.1%} apart"
    profits = [paired.profit_fen[side] for side in (CHAMPION, CANDIDATE)]
    known = np.isfinite(profits[0]) & np.isfinite(profits[1])
    if known.sum() < limits.min_quotes:
        return None
    champion, candidate = profits[0][known], profits[1][known]
    error = float((candidate - champion).std(ddof=1)) / np.sqrt(known.sum())
    return _profit_breach("predicted", champion, candidate, error, limits.max_predicted_drop)


def outcomes_breach(limits: CanarySettings, realised_fen: Mapping[str, np.ndarray]) -> str | None:
    """The same by what the trades of each side earned."""
    champion, candidate = realised_fen[CHAMPION], realised_fen[CANDIDATE]
    if min(len(champion), len(candidate)) < limits.min_outcomes:
        return None
    error = float(np.sqrt(sum(side.var(ddof=1) / len(side) for side in (champion, candidate))))
    return _profit_breach("realised", champion, candidate, error, limits.max_realised_drop)


def _profit_breach(
    what: str, champion: np.ndarray, candidate: np.ndarray, error: float, most: float
) -> str | None:
    """Whether the candidate's mean lies surely lower than the champion's less the share ``most`` of it."""
    old, new = float(champion.mean()), float(candidate.mean())
    if new + SURE_ERRORS * error >= old - most * abs(old):
        return None
    return f"{what} profit: {new / 100:.2f} CNY a trade against {old / 100:.2f}, limit {most:.0%} less"
