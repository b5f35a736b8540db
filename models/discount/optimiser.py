"""The rate with the highest expected profit between two rails, on the lattice of rates that can be shown.

Honest and fraudulent sellers are competing outcomes of an offer:

``V(r) = (1 - f) H(r) M(r) - f ((1 - s) + s H(r) / A) L(r)``
``M(r) = face (m - r - c r - l) - h``, ``L(r) = face (r (1 + c) loss + l) + h``

H: an honest seller accepts r. f: a fraudster takes the offers that are usual for such cards. Of these fraudsters 1 - s
take any rate, so that a lower offer means a larger share of fraud among acceptances; s take rates as honest sellers do,
of whom A take the usual offer. m: resale less a reserve, c: capital, l: logistics, h: fixed costs. f is the average of
the kind of card: the person decides how to pay, not how much.

With ``q = s f / ((1 - f) A)`` and ``k = (1 - s) f loss / ((1 - f) (1 + q loss))`` all of it, but for a
constant and the factor 1 - f, is ``(H + k) (M - q L)``: a share q of fraud among the bought is a smaller margin, and k
as if a few honest sellers took any rate.

Which rate is best depends on f of the card type at that hour, and on no other fact of the card; whether the best one is
worth offering, on f of this card. Then the best rate rises with m and with what sellers expect: (H + k) (M - q L) has
increasing differences in (r, m), and in (r, location of H) wherever H + k is log-concave (monotone comparative statics:
Topkis 1978). So k is kept under MOST_FLOOR, and where H is not, rates are compared by what it would be
(:meth:`models.discount.link.Link.deciding`). They lie on one absolute lattice, so that no grid of its own moves a
card's best rate.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import cached_property

import numpy as np

from models.discount.acceptance import AcceptanceCurve
from models.discount.link import MOST_FLOOR
from models.matrix import along, within
from models.money import RATE_SCALE

STEPS = (32, 1)
"""Distances of the rates that are compared, in the last shown decimal: coarse, then around the best so far. (A third
one would be a little faster for many cards and a third slower for one.)"""
CHUNK_ROWS = 2_000


@dataclass(frozen=True)
class Economics:
    """What a trade of n cards earns. face_value_fen (n,) int64; rates and shares are of face value (n,).

    value: expected resale rate less the reserve. resale_mean: without the reserve. fraud_share: f of each card,
    fraud_of_type: f of its type at that hour. taken_usually: A. like_honest: s. fixed_fen: handling and complaints (n,)
    or one number. fraud_loss: share of the payout that a fraud costs.
    """

    face_value_fen: np.ndarray
    resale_mean: np.ndarray
    value: np.ndarray
    logistics_share: np.ndarray
    capital_share: np.ndarray
    fraud_share: np.ndarray
    fraud_of_type: np.ndarray
    taken_usually: np.ndarray
    fixed_fen: np.ndarray
    fraud_loss: float
    like_honest: float

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

    def taken_by_fraud(self, rate: np.ndarray, honest: np.ndarray) -> np.ndarray:
        """Probability that a fraudster takes ``rate``, which honest sellers take with probability ``honest``: (n,) or
        (n, g)."""
        fraud, usual = along(self.fraud_share, rate), along(self.taken_usually, rate)
        return np.minimum(fraud * (1.0 + self.like_honest * (honest / usual - 1.0)), 1.0)

    def accepted(self, rate: np.ndarray, honest: np.ndarray) -> np.ndarray:
        """P(accept) at ``rate``, fraudsters included: (n,) or (n, g)."""
        taken = self.taken_by_fraud(rate, honest)
        return np.minimum((1.0 - along(self.fraud_share, rate)) * honest + taken, 1.0)

    def deciding_part_fen(self, rate: np.ndarray, honest: np.ndarray) -> np.ndarray:
        """What decides the rate: ``(H + k) (M - q L)`` with f of the card type, see the module."""
        margin = self.honest_profit_fen(rate, reserve=True)
        if self.like_honest > 0.0:
            margin = margin - along(self._bought_share, rate) * self.fraud_loss_fen(rate)
        return (honest + along(self._floor, rate)) * margin

    @cached_property
    def _bought_share(self) -> np.ndarray:
        """q (n,)."""
        return self.like_honest * self._odds / self.taken_usually

    @cached_property
    def _floor(self) -> np.ndarray:
        """k (n,)."""
        slope = 1.0 + self._bought_share * self.fraud_loss
        return np.minimum((1.0 - self.like_honest) * self.fraud_loss * self._odds / slope, MOST_FLOOR)

    @cached_property
    def _odds(self) -> np.ndarray:
        return self.fraud_of_type / np.maximum(1.0 - self.fraud_of_type, 1e-9)

    def expected_profit_fen(self, rate: np.ndarray, honest: np.ndarray) -> np.ndarray:
        """V at ``rate`` where honest sellers accept with probability ``honest``: (n,) or (n, g)."""
        gain = (1.0 - along(self.fraud_share, rate)) * honest * self.honest_profit_fen(rate)
        return gain - self.taken_by_fraud(rate, honest) * self.fraud_loss_fen(rate)

    def rows(self, rows: slice | np.ndarray) -> Economics:
        return self._changed(lambda values: values[rows])

    def for_grids(self) -> Economics:
        """The same, each array (n, 1), to be asked about grids of rates (n, g)."""
        return self._changed(lambda values: values[:, None])

    def _changed(self, change: Callable[[np.ndarray], np.ndarray]) -> Economics:
        parts = {name: getattr(self, name) for name in _PARTS}
        changed = {name: change(part) for name, part in parts.items() if isinstance(part, np.ndarray)}
        return replace(self, **changed)


_PARTS = tuple(field.name for field in fields(Economics))


def best_rates(
    *, economics: Economics, curve: AcceptanceCurve, low: np.ndarray, high: np.ndarray
) -> np.ndarray:
    """The rate (n,) in [low, high] (shown rates) with the highest V; in chunks, so that memory stays flat."""
    if len(low) <= CHUNK_ROWS:
        return _best_of(economics, curve, low, high)
    chunks = [slice(start, start + CHUNK_ROWS) for start in range(0, len(low), CHUNK_ROWS)]
    return np.concatenate(
        [_best_of(economics.rows(rows), curve.rows(rows), low[rows], high[rows]) for rows in chunks]
    )


def _best_of(economics: Economics, curve: AcceptanceCurve, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    least = np.rint(within(curve.least_rate(), low, high) * RATE_SCALE).astype(np.int64)
    most = np.rint(within(curve.most_rate(), least / RATE_SCALE, high) * RATE_SCALE).astype(np.int64)
    from_place, to_place = least, most
    best, rows, economics = least, np.arange(len(least)), economics.for_grids()
    for step in STEPS:
        places = _places(from_place, to_place, step)
        rates = places / RATE_SCALE
        values = economics.deciding_part_fen(rates, curve.deciding(rates))
        best = places[rows, values.argmax(axis=1)]
        from_place, to_place = np.maximum(best - step, least), np.minimum(best + step, most)
    return best / RATE_SCALE


def _places(from_place: np.ndarray, to_place: np.ndarray, step: int) -> np.ndarray:
    """Both ends of each row's stretch of the lattice and the multiples of ``step`` between, (n, g)."""
    first = from_place // step
    count = int((to_place // step - first).max()) + 2
    places = (first * step)[:, None] + np.arange(0, step * count, step)
    return within(places, from_place[:, None], to_place[:, None])


def best_rates_and_band(
    *, economics: Economics, curve: AcceptanceCurve, low: np.ndarray, high: np.ndarray, band: Band
) -> tuple[np.ndarray, np.ndarray]:
    """:func:`best_rates` (k,) of k cards, and those of the first n of them in their whole ``band``, as the market is
    and if the best competitor bid what it usually bids (2, n): in one search, for with few cards three searches take
    three times as long as one of as many rows."""
    size, moved = len(band.low), bool(band.competitor_move.any())
    again = 1 + moved
    rows = np.concatenate([np.arange(len(low)), *[np.arange(size)] * again])
    curve = curve.rows(rows)
    if moved:
        stays = np.zeros(len(rows) - size)
        curve = replace(curve, location=curve.location - np.concatenate([stays, band.competitor_move]))
    best = best_rates(
        economics=economics.rows(rows),
        curve=curve,
        low=np.concatenate([low, *[band.low] * again]),
        high=np.concatenate([high, *[band.high] * again]),
    )
    free = best[len(low) : len(low) + size]
    return best[: len(low)], np.stack([free, best[-size:] if moved else free])


@dataclass(frozen=True)
class Band:
    """The price band (n,) of n cards, and how far (n,) the best competitor's bid of the moment, against its usual one,
    moved the location of the curve."""

    low: np.ndarray
    high: np.ndarray
    competitor_move: np.ndarray


@dataclass(frozen=True)
class WholeBand:
    """n cards without guard rails but for their price band: what a price is explained by, worked out when asked for
    where it was not ``found`` (2, n) before."""

    economics: Economics
    curve: AcceptanceCurve
    band: Band
    found: np.ndarray | None = None

    @property
    def free_rate(self) -> np.ndarray:
        """Best rate (n,) of the band."""
        return self._best[0]

    @property
    def usual_rate(self) -> np.ndarray:
        """Best rate (n,) of the band if the best competitor bid what it usually bids."""
        return self._best[1]

    @cached_property
    def _best(self) -> np.ndarray:
        if self.found is not None:
            return self.found
        nothing = self.band.low[:0]
        _, both = best_rates_and_band(
            economics=self.economics, curve=self.curve, low=nothing, high=nothing, band=self.band
        )
        return both

    def rows(self, rows: slice | np.ndarray) -> WholeBand:
        return WholeBand(
            economics=self.economics.rows(rows),
            curve=self.curve.rows(rows),
            band=Band(**{name: values[rows] for name, values in vars(self.band).items()}),
            found=None if self.found is None else self.found[:, rows],
        )
