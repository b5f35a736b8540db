"""What a promotion asks, in the terms that both models share: a condition with its figures, and a gain with its
interval."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.evaluation.bootstrap import TooFewClusters, mean_difference, paired_bootstrap
from pipelines.training.examples import Examples
from pipelines.training.splitting import DAY_US


@dataclass(frozen=True)
class Check:
    """One condition of a promotion. judged: whether the trades could tell; where they could not it is passed, and
    ``what`` says why."""

    what: str
    passed: bool
    judged: bool = True


@dataclass(frozen=True)
class Gain:
    """A mean gain a trade and its 95 % interval; ``unit`` is what it is counted in."""

    estimate: float
    low: float
    high: float
    unit: str = ""

    def __str__(self) -> str:
        return f"gain {self.estimate:.4f}{self.unit}, 95 % interval {self.low:.4f} to {self.high:.4f}"


def not_judged(what: str, why: object) -> Check:
    """A condition that these trades cannot tell; it does not stop a promotion."""
    return Check(f"{what} not judged: {why}", passed=True, judged=False)


def clusters(examples: Examples) -> list[np.ndarray]:
    """What is resampled for an interval: days and sellers, (n,) each."""
    return [examples.submitted_at // DAY_US, examples.seller_id.astype(str)]


def paired_gain(old: np.ndarray, new: np.ndarray, *, examples: Examples, unit: str = "") -> Gain:
    """Mean of new less old a trade (n,), with its interval over days and sellers."""
    difference = mean_difference(old, new)
    try:
        found = paired_bootstrap(
            difference=difference, clusters=clusters(examples), rng=np.random.default_rng(0)
        )
    except TooFewClusters:
        return Gain(difference(np.ones(len(old))), -np.inf, np.inf, unit)
    return Gain(found.estimate, found.low, found.high, unit)
