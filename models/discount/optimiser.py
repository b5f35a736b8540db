"""The rate with the highest expected profit between two rails.

``V(r) = max(P(r) - q, 0) * (face (m - r - capital r - logistics) - handling)
       - q * (face r (1 + capital) loss + face logistics + handling)``

P: a seller accepts r. q: probability that the card is offered by a fraudulent seller of this card kind who
accepts. Such a seller takes almost any rate, so q does not fall with r and a lower offer means a larger share
of fraud among acceptances. q is the average of the card kind: the person decides how to pay, not how much.
P counts every acceptance, fraudulent ones too. So with the whole payout lost to fraud (loss = 1) the best
rate hardly depends on q, which decides whether to offer at all: a lower rate cannot drive fraud away.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from models.discount.acceptance import AcceptanceCurve

COARSE_STEPS = 64
FINE_STEPS = 17
"""Points per pass. Over a window of 12 points: 0.0019 apart, then 0.0002 around the best of them."""
CHUNK_ROWS = 20_000


@dataclass(frozen=True)
class Economics:
    """What a trade of n cards earns. face_value_fen (n,) int64; rates and shares are of face value (n,).

    fraud_probability: q above. handling_fen, capital_share and fraud_loss hold for all rows.
    """

    face_value_fen: np.ndarray
    resale_mean: np.ndarray
    logistics_share: np.ndarray
    fraud_probability: np.ndarray
    handling_fen: int
    capital_share: float
    fraud_loss: float

    def honest_profit_fen(self, rate: np.ndarray) -> np.ndarray:
        """Profit of an honest trade bought at ``rate``: (n,) or (n, g)."""
        face, mean, logistics = (
            _like(x, rate) for x in (self.face_value_fen, self.resale_mean, self.logistics_share)
        )
        return face * (mean - rate * (1 + self.capital_share) - logistics) - self.handling_fen

    def fraud_loss_fen(self, rate: np.ndarray) -> np.ndarray:
        """Loss of a fraudulent trade bought at ``rate``: (n,) or (n, g)."""
        face, logistics = (_like(x, rate) for x in (self.face_value_fen, self.logistics_share))
        return face * (rate * (1 + self.capital_share) * self.fraud_loss + logistics) + self.handling_fen

    def expected_profit_fen(self, rate: np.ndarray, acceptance: np.ndarray) -> np.ndarray:
        """V at ``rate`` with P(accept) ``acceptance``: (n,) or (n, g)."""
        fraud = _like(self.fraud_probability, rate)
        honest = np.maximum(acceptance - fraud, 0.0)
        return honest * self.honest_profit_fen(rate) - fraud * self.fraud_loss_fen(rate)

    def rows(self, rows: slice) -> Economics:
        return replace(
            self,
            face_value_fen=self.face_value_fen[rows],
            resale_mean=self.resale_mean[rows],
            logistics_share=self.logistics_share[rows],
            fraud_probability=self.fraud_probability[rows],
        )


def best_rates(
    *, economics: Economics, curve: AcceptanceCurve, low: np.ndarray, high: np.ndarray
) -> np.ndarray:
    """The rate (n,) in [low, high] with the highest V; in chunks, so that memory stays flat for many rows."""
    found = np.empty(len(low))
    for start in range(0, len(low), CHUNK_ROWS):
        rows = slice(start, start + CHUNK_ROWS)
        found[rows] = _best_of(economics.rows(rows), curve.rows(rows), low[rows], high[rows])
    return found


def _best_of(economics: Economics, curve: AcceptanceCurve, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """A coarse pass over the whole window finds the right hill, a fine pass its top."""
    best = _argmax(economics, curve, low, high, COARSE_STEPS)
    step = (high - low) / (COARSE_STEPS - 1)
    return _argmax(economics, curve, np.maximum(best - step, low), np.minimum(best + step, high), FINE_STEPS)


def _argmax(
    economics: Economics, curve: AcceptanceCurve, low: np.ndarray, high: np.ndarray, steps: int
) -> np.ndarray:
    grid = low[:, None] + (high - low)[:, None] * np.linspace(0.0, 1.0, steps)
    values = economics.expected_profit_fen(grid, curve.probability(grid))
    return grid[np.arange(len(low)), np.argmax(values, axis=1)]


def _like(values: np.ndarray, rate: np.ndarray) -> np.ndarray:
    """Values (n,) shaped to go along rates (n,) or (n, g)."""
    return values.reshape((-1,) + (1,) * (np.ndim(rate) - 1))
