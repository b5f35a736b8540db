"""What a promotion asks, in the terms that both models share: a condition with its figures, and a gain with its
interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from models.evaluation.bootstrap import TooFewClusters, mean_difference, paired_bootstrap
from pipelines.training.examples import Examples
from pipelines.training.splitting import DAY_US

NORMAL_95 = 1.96
"""Standard errors to either bound of a 95 % interval."""


class Verdict(StrEnum):
    """What became of a check, in the words it is printed and stored with."""

    PASSED = "pass"
    FAILED = "FAIL"
    NOT_JUDGED = "not judged"


@dataclass(frozen=True)
class Check:
    """One condition of a promotion, with its figures, or why these trades cannot tell. proof: it is of what the model
    is worth; where that is not judged, a person has to say that the model goes live all the same."""

    what: str
    verdict: Verdict
    proof: bool = False

    def __str__(self) -> str:
        return f"{self.verdict}: {self.what}"

    @property
    def stops(self) -> bool:
        """Whether nothing is promoted without a person's word: it failed, or is a proof that was not made."""
        return self.verdict is Verdict.FAILED or (self.proof and self.verdict is Verdict.NOT_JUDGED)


def check(what: str, passed: bool, *, proof: bool = False) -> Check:
    """A condition that was judged."""
    return Check(what, Verdict.PASSED if passed else Verdict.FAILED, proof)


def not_judged(what: str, why: object, *, proof: bool = False) -> Check:
    """A condition that these trades cannot tell: neither passed nor failed."""
    return Check(f"{what}: {why}", Verdict.NOT_JUDGED, proof)


def with_verdict(checks: Sequence[Check], verdict: Verdict) -> tuple[Check, ...]:
    """Those of the checks that ended so."""
    return tuple(one for one in checks if one.verdict is verdict)


def tags_of(checks: Sequence[Check]) -> dict[str, str]:
    """What is kept of the checks on a model's version."""
    return {"promotion_checks": "; ".join(map(str, checks))} if checks else {}


@dataclass(frozen=True)
class Gain:
    """A mean gain a trade and its 95 % interval; ``unit`` is what it is counted in."""

    estimate: float
    low: float
    high: float
    unit: str = ""

    def __str__(self) -> str:
        return f"gain {self.estimate:.4f}{self.unit}, 95 % interval {self.low:.4f} to {self.high:.4f}"


def proof_of(what: str, gain: Gain, *, proof: bool) -> Check:
    """Whether a gain is one: passed where its interval lies wholly above 0, failed where wholly below; one that holds 0
    proves nothing."""
    if gain.low > 0 or gain.high < 0:
        return check(f"{what}: {gain}", gain.low > 0, proof=proof)
    return not_judged(what, f"too few offers to tell, {gain}", proof=proof)


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
