"""The answer of the discount model: one offer per card, with everything needed to explain it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.discount.optimiser import WholeBand


@dataclass(frozen=True)
class Offers:
    """Offers for n cards; every field is an array (n,). Rates are fractions of face, amounts integer fen.

    rate: what the seller is shown, four decimals, inside the price band; loyalty_bonus: the part of it that a
    regular seller gets on top. payout_fen: rate in money. centre_rate: the best rate within the guard rails, before
    exploration; uncapped_rate: the same without the cap of daily moves. whole_band: what the rate would be without
    guard rails. table_rate, table_source: the rate table's answer and its source (object).
    offer_density: density with which ``rate`` was drawn around the centre, per unit of rate; NaN when it was
    not drawn. offer_centre: the middle of the interval, one over the density long, that ``rate`` was drawn from evenly:
    the centre, but where the rails cut the draw, and with the loyalty bonus. acceptance_probability: at ``rate``.
    resale_mean, resale_p05 <= p10 <= p50 <= p90 <= p95: expected resale rate, its 90 % and its 80 % range; anchor:
    the source the estimate starts from (object); never_seen: no card of the type was resold before.
    low, high: guard rails. band_low, band_high: absolute price band, which ``rate`` never leaves.
    fraud_share: probability that an offer for such a card is taken by a fraudster.
    expected_profit_fen: at ``rate``, fraud loss included. no_offer: no rate is worth offering; ``rate`` then
    only says what the card would fetch at best. waits: it is no offer for one thing alone, that the cap of daily moves
    does not let its price go as far today as it would be worth it.
    spent_fen: what of the issued face value a partly used card lacks (face_value_fen is its balance), partial_fen:
    taken off its resale for that; 0 for a whole card. resale_if_valid: resale rate of an expired card once
    re-activated, NaN for a valid one; see :mod:`models.discount.special`.
    days_to_sell: expected. outdated: news of the card type's market or of its resales have stopped, and what is
    usual took their place. reserve_fen: kept for the uncertainty of the resale. fixed_fen (handling, complaints),
    capital_fen, logistics_fen: costs of the trade at ``rate``; risk_fen: expected fraud loss for each honest trade
    bought.
    """

    face_value_fen: np.ndarray
    rate: np.ndarray
    loyalty_bonus: np.ndarray
    payout_fen: np.ndarray
    centre_rate: np.ndarray
    uncapped_rate: np.ndarray
    table_rate: np.ndarray
    table_source: np.ndarray
    offer_density: np.ndarray
    offer_centre: np.ndarray
    acceptance_probability: np.ndarray
    resale_mean: np.ndarray
    resale_p05: np.ndarray
    resale_p10: np.ndarray
    resale_p50: np.ndarray
    resale_p90: np.ndarray
    resale_p95: np.ndarray
    anchor: np.ndarray
    never_seen: np.ndarray
    low: np.ndarray
    high: np.ndarray
    band_low: np.ndarray
    band_high: np.ndarray
    fraud_share: np.ndarray
    expected_profit_fen: np.ndarray
    no_offer: np.ndarray
    waits: np.ndarray
    spent_fen: np.ndarray
    resale_if_valid: np.ndarray
    partial_fen: np.ndarray
    days_to_sell: np.ndarray
    outdated: np.ndarray
    reserve_fen: np.ndarray
    fixed_fen: np.ndarray
    capital_fen: np.ndarray
    logistics_fen: np.ndarray
    risk_fen: np.ndarray
    whole_band: WholeBand

    def __len__(self) -> int:
        return len(self.rate)

    @property
    def reactivation(self) -> np.ndarray:
        """Chance (n,) that the issuer re-activates an expired card; NaN for a valid one."""
        return self.resale_mean / self.resale_if_valid

    def rows(self, rows: slice | np.ndarray) -> Offers:
        parts = {name: values[rows] for name, values in vars(self).items() if name != "whole_band"}
        return Offers(**parts, whole_band=self.whole_band.rows(rows))

    @property
    def free_rate(self) -> np.ndarray:
        """The best rate (n,) of the whole price band."""
        return self.whole_band.free_rate

    @property
    def usual_rate(self) -> np.ndarray:
        """The same if the best competitor bid what it usually bids."""
        return self.whole_band.usual_rate
