"""How much fraudsters look at the rate: whether a lower offer keeps them away as it keeps honest sellers away.

Where offers moved at random, the log tells. If fraudsters take any rate, their share among the bought cards falls where
the rate lay above the usual one, as more honest sellers took it; if they take rates as honest sellers do, it stays. A
share s of them does the latter: with x = H(offer) / H(usual offer) the odds of fraud of a bought card are those of its
kind times ``(1 - s) / x + s``. s is the mean over what the log leaves possible, each share equally likely before; one
half without a word of the log.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from models.discount.context import CardContext, Kind
from models.discount.link import sigmoid

SHARES = np.linspace(0.0, 1.0, 21)
UNKNOWN = 0.5
LEAST_TAKEN = 0.02
"""Of a card that hardly any honest seller sells at the usual offer, fraud says nothing of other rates."""
MOST_RATIO = 8.0
STEPS = 20
LONGEST_STEP = 1.0


@dataclass(frozen=True)
class Thieves:
    """like_honest: s. of_type: the share of honest sellers that takes the usual offer, by card type and validity, and
    ``overall`` for the others."""

    like_honest: float = 0.0
    of_type: Mapping[str, float] = field(default_factory=dict)
    overall: float = UNKNOWN

    def taken_usually(self, context: CardContext) -> np.ndarray:
        """The share (n,) of honest sellers that takes the usual offer for a card of this type."""

        def answer(kind: Kind) -> float:
            return self.of_type.get(kind.type_state, self.overall)

        return context.by_kind(answer)


def fit_thieves(
    *,
    context: CardContext,
    offered: np.ndarray,
    usual: np.ndarray | None,
    fraud: np.ndarray,
    share: np.ndarray,
    tells: np.ndarray,
) -> Thieves:
    """From n decided offers. offered, usual: P(an honest seller accepts) at the offer and at the usual one, None where
    offers did not move at random. fraud: 1, 0 or NaN. share: of a usual offer that a fraudster takes it. tells: bool
    (n,), bought and known to be fraud or not."""
    names, place = context.named(lambda kind: kind.type_state)
    means = np.bincount(place, offered) / np.bincount(place)
    means = np.maximum(means, LEAST_TAKEN)
    rows = np.flatnonzero(tells)
    return Thieves(
        like_honest=UNKNOWN
        if usual is None
        else _like_honest(offered[rows], usual[rows], fraud[rows], share[rows]),
        of_type=dict(zip(names, means.tolist(), strict=True)),
        overall=float(np.maximum(offered.mean(), LEAST_TAKEN)),
    )


def _like_honest(offered: np.ndarray, usual: np.ndarray, fraud: np.ndarray, share: np.ndarray) -> float:
    """The mean of s over its posterior, from bought cards (k,)."""
    usual = np.maximum(usual, LEAST_TAKEN)
    ratio = np.clip(offered / usual, 1.0 / MOST_RATIO, MOST_RATIO)
    share = np.clip(share, 1e-6, 0.5)
    odds = np.log(share / ((1.0 - share) * usual))
    if not 0 < fraud.sum() < len(fraud):
        return UNKNOWN
    fits = np.array([_log_likelihood(fraud, odds + np.log((1.0 - s) / ratio + s)) for s in SHARES])
    weight = np.exp(fits - fits.max())
    return float(weight @ SHARES / weight.sum())


def _log_likelihood(fraud: np.ndarray, log_odds: np.ndarray) -> float:
    """Of the best level added to the log-odds (k,), found by Newton's steps; far from it a whole one leads astray."""
    level = 0.0
    for _ in range(STEPS):
        p = sigmoid(log_odds + level)
        step = float((fraud - p).sum() / max((p * (1.0 - p)).sum(), 1e-9))
        level += min(max(step, -LONGEST_STEP), LONGEST_STEP)
    score = log_odds + level
    return float((fraud * score - np.logaddexp(0.0, score)).sum())
