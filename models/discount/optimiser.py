"""The rate with the highest expected profit between two rails, on the lattice of rates that can be shown.

Honest and fraudulent sellers are competing outcomes of an offer:

``V(r) = (1 - f) H(r) (face (m - r - c r - l) - h) - f (face (r (1 + c) loss + l) + h)``

H: an honest seller accepts r. f: the offer is taken by a fraudster, who takes almost any rate, so f does not fall
with r and a lower offer means a larger share of fraud among acceptances. m: resale less a reserve, c: capital,
l: logistics, h: fixed costs. f is the average of the kind of card: the person decides how to pay, not how much.

Which rate is best depends on f of the card type, a constant; whether the best one is worth offering, on f of this
card. Then the best rate rises with m and with what sellers expect: V has increasing differences in (r, m), and in
(r, location of H) wherever H + k is log-concave, k = f loss / (1 - f). That holds from a least share of honest
sellers on (:func:`models.discount.link.least_share`) while k stays under MOST_FLOOR, so the search keeps to both
bounds (monotone comparative statics: Topkis 1978). Rates are compared on one absolute lattice, so no grid of its
own moves a card's best rate.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from models.discount.acceptance import AcceptanceCurve
from models.discount.link import MOST_FLOOR
from models.matrix import along
from models.money import RATE_SCALE

STEPS = (128, 16, 1)
"""Distances of the rates that are compared, in the last shown decimal: coarse, then around the best so far."""
CHUNK_ROWS = 20_000


@dataclass(frozen=True)
class Economics:
    """What a trade of n cards earns. face_value_fen (n,) int64; rates and shares are of face value (n,).

    value: expected resale rate less the reserve. resale_mean: without the reserve. fraud_share: f of each card,
    fraud_of_type: f of its type. fixed_fen: handling and complaints (n,) or one number. fraud_loss: share of the
    payout that a fraud costs.
    """

    face_value_fen: np.ndarray
    resale_mean: np.ndarray
    value: np.ndarray
    logistics_share: np.ndarray
    capital_share: np.ndarray
    fraud_share: np.ndarray
    fraud_of_type: np.ndarray
    fixed_fen: np.ndarray
    fraud_loss: float

    def honest_profit_fen(self, rate: np.ndarray, *, reserve: bool = False) -> np.ndarray:
        """Profit of an honest trade bought at ``rate``: (n,) or (n, g); with the reserve taken off or not."""
        mean = self.value if reserve else self.resale_mean
        parts = self.face_value_fen, mean, self.logistics_share, self.capital_share, self.fixed_fen
        face, mean, logistics, capital, fixed = (along(part, rate) for part in parts)
        return face * (mean - rate * (1.0 + capital) - logistics) - fixed

    def fraud_loss_fen(self, rate: np.ndarray) -> np.ndarray:
        """Loss of a fraudulent trade bought at ``rate``: (n,) or (n, g)."""
        parts = self.face_value_fen, self.logistics_share, self.capital_share, self.fixed_fen
        face, logistics, capital, fixed = (along(part, rate) for part in parts)
        return face * (rate * (1.0 + capital) * self.fraud_loss + logistics) + fixed

    def honest_part_fen(self, rate: np.ndarray, honest: np.ndarray) -> np.ndarray:
        """What decides the rate: ``(H + k) (margin)`` with k of the card type, see the module."""
        fraud = along(self.fraud_of_type, rate)
        floor = np.minimum(self.fraud_loss * fraud / np.maximum(1.0 - fraud, 1e-9), MOST_FLOOR)
        return (honest + floor) * self.honest_profit_fen(rate, reserve=True)

    def expected_profit_fen(self, rate: np.ndarray, honest: np.ndarray) -> np.ndarray:
        """V at ``rate`` where honest sellers accept with probability ``honest``: (n,) or (n, g)."""
        fraud = along(self.fraud_share, rate)
        return (1.0 - fraud) * honest * self.honest_profit_fen(rate) - fraud * self.fraud_loss_fen(rate)

    def rows(self, rows: slice | np.ndarray) -> Economics:
        return replace(
            self,
            **{name: values[rows] for name, values in vars(self).items() if isinstance(values, np.ndarray)},
        )


def best_rates(
    *, economics: Economics, curve: AcceptanceCurve, low: np.ndarray, high: np.ndarray
) -> np.ndarray:
    """The rate (n,) in [low, high] (shown rates) with the highest V; in chunks, so that memory stays flat."""
    found = np.empty(len(low))
    for start in range(0, len(low), CHUNK_ROWS):
        rows = slice(start, start + CHUNK_ROWS)
        found[rows] = _best_of(economics.rows(rows), curve.rows(rows), low[rows], high[rows])
    return found


def _best_of(economics: Economics, curve: AcceptanceCurve, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    least = np.rint(np.clip(curve.least_rate(), low, high) * RATE_SCALE).astype(np.int64)
    most = np.rint(high * RATE_SCALE).astype(np.int64)
    from_place, to_place = least, most
    best = least
    for step in STEPS:
        count = int((to_place // step - from_place // step).max()) + 2
        places = (from_place // step * step)[:, None] + step * np.arange(count)
        places = np.clip(places, from_place[:, None], to_place[:, None])
        rates = places / RATE_SCALE
        values = economics.honest_part_fen(rates, curve.honest(rates))
        best = places[np.arange(len(places)), np.argmax(values, axis=1)]
        from_place, to_place = np.maximum(best - step, least), np.minimum(best + step, most)
    return best / RATE_SCALE
