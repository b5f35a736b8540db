"""Money is integer fen; a rate is stored and shown with four decimals. Rounding happens here, once."""

from __future__ import annotations

import numpy as np

RATE_SCALE = 10_000


def round_rate(rate: np.ndarray) -> np.ndarray:
    """Rates (n,) as the seller sees them: four decimals, halves to even. NaN stays NaN."""
    return np.rint(np.asarray(rate, dtype=np.float64) * RATE_SCALE) / RATE_SCALE


def payout_fen(face_value_fen: np.ndarray, rate: np.ndarray) -> np.ndarray:
    """Payout in fen (n,) int64 of a shown rate: a broken fen is rounded up, in the seller's favour.

    ``rate`` must already be rounded by :func:`round_rate`; the product is taken in integers, so the same
    card and rate give the same fen everywhere. Raises ValueError for a rate that is not finite.
    """
    rate = np.asarray(rate, dtype=np.float64)
    if not np.isfinite(rate).all():
        raise ValueError("payout needs a finite rate")
    product = np.asarray(face_value_fen, dtype=np.int64) * np.rint(rate * RATE_SCALE).astype(np.int64)
    return -(-product // RATE_SCALE)
