"""What a log says of a policy, and where the policy goes further than the log's offers, of its first step.

Prices that differ most from the old ones are those that a log of small moves cannot judge. The same policy limited to
what was offered, each rate moved to the nearest inside the support, can be judged. Its gain is that of the first step
toward the policy's prices: it says which way they should go, not what the whole way would bring.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.evaluation.off_policy import (
    FollowsTheDraw,
    OffPolicyValue,
    OutsideSupport,
    Pricing,
    draws_of,
    off_policy_value,
)

NEAR = 1e-9
REACH, EDGE = 0.75, 2.0
"""A first step goes no further than this share of the way from the centre to the end of the draw: at the very end a
kernel has neighbours on one side alone. And it ends so many standard errors of the centre before the end."""


@dataclass(frozen=True)
class Support:
    """Between which rates (n,) the log can judge each offer well; NaN where nothing was offered."""

    low: np.ndarray
    high: np.ndarray

    def nearest(self, rate: np.ndarray) -> np.ndarray:
        """Rates (n,) moved into the support: a first step toward them. No offer stays none."""
        return np.clip(rate, self.low, self.high)

    def rows(self, rows: np.ndarray | slice) -> Support:
        return Support(self.low[rows], self.high[rows])


def support_of(
    *, offered_rate: np.ndarray, density: np.ndarray, centre: np.ndarray, estimated: np.ndarray
) -> Support:
    """Of n offers, as :func:`off_policy_value` takes them. An offer that was not drawn supports itself alone."""
    draws = draws_of(offered_rate, density, centre, estimated)
    reach = np.clip(draws.half - EDGE * draws.error, 0.0, REACH * draws.half)
    drawn = np.isfinite(draws.half)
    return Support(
        low=np.where(drawn, centre - reach, offered_rate), high=np.where(drawn, centre + reach, offered_rate)
    )


@dataclass(frozen=True)
class Steps:
    """A policy's offers, and the same within the log's support: the first step."""

    whole: Pricing
    first: Pricing

    @property
    def moved(self) -> float:
        """Share of the offers whose rate the support limits."""
        offered = np.isfinite(self.whole.rate) & np.isfinite(self.first.rate)
        apart = np.abs(self.whole.rate - self.first.rate)[offered] > NEAR
        return float(apart.mean()) if len(apart) else 0.0


@dataclass(frozen=True)
class PolicyValue:
    """value: of the whole policy; or, where the log cannot judge that (``refused`` says why, else it is empty), of its
    first step, for which a share ``moved`` of the rates was moved into the support."""

    value: OffPolicyValue
    refused: str = ""
    moved: float = 0.0

    @property
    def whole(self) -> bool:
        return not self.refused


@dataclass(frozen=True)
class DrawnLog:
    """n offers that were made, as :func:`off_policy_value` takes them."""

    logged: Pricing
    density: np.ndarray
    centre: np.ndarray
    estimated: np.ndarray
    accepted: np.ndarray
    clusters: Sequence[np.ndarray]

    @property
    def support(self) -> Support:
        return support_of(
            offered_rate=self.logged.rate,
            density=self.density,
            centre=self.centre,
            estimated=self.estimated,
        )

    def value(self, target: Pricing, *, against: Pricing | None = None) -> OffPolicyValue:
        """As :func:`off_policy_value`, which see for what it raises."""
        return off_policy_value(
            target=target,
            logged=self.logged,
            density=self.density,
            centre=self.centre,
            estimated=self.estimated,
            accepted=self.accepted,
            clusters=self.clusters,
            rng=np.random.default_rng(0),
            against=against,
        )

    def policy_value(self, policy: Steps, *, against: Steps | None = None) -> PolicyValue:
        """Of the whole policy, else of its first step; set against the same of the other. Where the log cannot judge
        even that, raises why it cannot judge the whole, as :meth:`value`."""
        try:
            return PolicyValue(self.value(policy.whole, against=against and against.whole))
        except OutsideSupport as reason:
            try:
                found = self.value(policy.first, against=against and against.first)
            except (OutsideSupport, FollowsTheDraw):
                raise reason from None
            return PolicyValue(found, refused=str(reason), moved=policy.moved)
