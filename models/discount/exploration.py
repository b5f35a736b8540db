"""Small deterministic moves of the offer, so that acceptance stays learnable.

The draw is keyed by the card and the hour, never by the person: everybody who brings the same card in the
same hour sees the same price.
"""

from __future__ import annotations

from hashlib import blake2b

import numpy as np

HOUR_MS = 3_600_000
SHORTEST_DRAW = 1e-4
"""Under the last shown decimal there is nothing left to draw from."""


def offsets(
    *,
    seed: str,
    card_type: np.ndarray,
    card_form: np.ndarray,
    face_value_fen: np.ndarray,
    submitted_at: np.ndarray,
    half_width: float,
) -> np.ndarray:
    """Offsets (n,) uniform in [-half_width, half_width), in rate. ``submitted_at``: int64 ms since epoch."""
    hour = np.asarray(submitted_at, dtype=np.int64) // HOUR_MS
    draws = np.empty(len(hour))
    for row, key in enumerate(zip(card_type, card_form, face_value_fen.tolist(), hour.tolist(), strict=True)):
        text = "\x1f".join((seed, *map(str, key)))
        draws[row] = int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big") / 2**64
    return (2.0 * draws - 1.0) * half_width


def place(
    *, centre: np.ndarray, offset: np.ndarray, low: np.ndarray, high: np.ndarray, half_width: float
) -> tuple[np.ndarray, np.ndarray]:
    """Explored rates (n,) inside [low, high], and the density with which each was drawn.

    Where centre +- half_width fits between the rails the rate is centre + offset, density 1 / (2 half_width).
    Where a rail cuts that interval, the offset is stretched evenly onto what is left of it: the draw stays
    uniform, without a lump on the rail, and the density is one over the length left. Without exploration, or
    with nothing left to draw from, the offer is a single point: density NaN, which off-policy estimates skip.
    """
    if half_width <= 0:
        return centre.copy(), np.full(len(centre), np.nan)
    from_rate, to_rate = np.maximum(centre - half_width, low), np.minimum(centre + half_width, high)
    length = np.maximum(to_rate - from_rate, 0.0)
    whole = length >= 2 * half_width - 1e-12
    rate = np.where(whole, centre + offset, from_rate + (offset / half_width + 1.0) / 2.0 * length)
    drawn = length > SHORTEST_DRAW
    density = np.where(drawn, 1.0 / np.where(drawn, length, 1.0), np.nan)
    return rate, density
