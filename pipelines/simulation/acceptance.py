"""The least rates that honest sellers take for a card, in every shape a synthetic market can have.

Sellers of one card fall into one or two groups. In the first, the least rate of the seller at quantile q is ::

    mu + scale (x - skew (sqrt(1 + x²) - 1)),     x = log(q / (1 - q))

which is logistic for skew 0. A skew in (0, 1) keeps the median and the distance between any two quantiles q and
1 - q, and makes the tail towards lower rates (1 + skew) / (1 - skew) times as long as the other: the
sinh-arcsinh transformation of a logistic, written without hyperbolic functions. The second group, hurried
sellers, is logistic.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LEAST_QUANTILE = 1e-9


@dataclass(frozen=True, kw_only=True)
class Reservations:
    """Distributions of the least rates of honest sellers of n cards, each (n,), rates of face value.

    accept_mu, accept_scale, accept_skew: location (the median), scale and skew of the first group.
    hurried_share: share of the second group; hurried_mu, hurried_scale: its location and scale. By default
    there is one logistic group.
    """

    accept_mu: np.ndarray
    accept_scale: np.ndarray
    accept_skew: np.ndarray | float = 0.0
    hurried_share: np.ndarray | float = 0.0
    hurried_mu: np.ndarray | float = 0.0
    hurried_scale: np.ndarray | float = 1.0

    def share_content(self, rate: np.ndarray) -> np.ndarray:
        """Share of the sellers of each card who take its rate (n,); NaN where the rate is."""
        share = _logistic(_standard((rate - self.accept_mu) / self.accept_scale, self.accept_skew))
        if not np.any(self.hurried_share):
            return share
        hurried = _logistic((rate - self.hurried_mu) / self.hurried_scale)
        return (1 - self.hurried_share) * share + self.hurried_share * hurried

    def range_of(self, log_odds: float) -> tuple[np.ndarray, np.ndarray]:
        """Rates (n,) that in neither group are taken with log odds below ``-log_odds`` or above ``log_odds``."""
        low, high = (self._first(x) for x in (-log_odds, log_odds))
        reach = self.hurried_scale * log_odds
        has_hurried = np.asarray(self.hurried_share) > 0
        return (
            np.where(has_hurried, np.minimum(low, self.hurried_mu - reach), low),
            np.where(has_hurried, np.maximum(high, self.hurried_mu + reach), high),
        )

    def quantile(self, temperament: np.ndarray) -> np.ndarray:
        """The least rates (n,) of sellers by temperament (n,), uniform on 0–1. Low temperaments are the hurried
        ones, so this is the quantile function only where there is one group; its distribution is exact."""
        hurried = temperament < self.hurried_share
        share = np.where(hurried, self.hurried_share, 1 - self.hurried_share)
        place = (temperament - np.where(hurried, 0.0, self.hurried_share)) / share
        place = np.clip(place, LEAST_QUANTILE, 1 - LEAST_QUANTILE)
        x = np.log(place / (1 - place))
        return np.where(hurried, self.hurried_mu + self.hurried_scale * x, self._first(x))

    def _first(self, x: np.ndarray | float) -> np.ndarray:
        """The first group's least rates (n,) at log odds x."""
        return self.accept_mu + self.accept_scale * (x - self.accept_skew * (np.sqrt(1 + x**2) - 1))


def _standard(z: np.ndarray, skew: np.ndarray | float) -> np.ndarray:
    """The x of the module's formula at which a least rate stands z scales above mu."""
    y = z - skew
    return (y + skew * np.sqrt(y**2 + 1 - skew**2)) / (1 - skew**2)


def _logistic(x: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(x / 2))
