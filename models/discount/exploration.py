"""Small deterministic moves of the offer, so that acceptance stays learnable.

The draw is keyed by card type, form and hour, never by the person: everybody who brings such a card in the same
hour sees the same move, of every face value and expiry, so moves do not disturb the order of prices. They are as
wide as a share of the profit allows: moving an offer by ± h around its best rate costs ``curvature h^2 / 6`` of the
expected profit, with ``curvature = -V'' / V``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property, lru_cache
from hashlib import blake2b

import numpy as np

from models.discount.acceptance import AcceptanceCurve
from models.discount.context import CardContext, Memo
from models.discount.optimiser import Economics

HOUR_MS = 3_600_000
SHORTEST_DRAW = 1e-4
"""Under the last shown decimal there is nothing left to draw from."""
STEP = 0.002
"""Of the second difference that measures the curvature."""
LEAST_CURVATURE = 1.0
MIN_ROWS = 30
USUAL_CURVATURE = 1_200.0
"""Half of the sellers accept and their reservation rates have a logistic scale of two points."""


@dataclass(frozen=True)
class Curvatures:
    """How fast profit falls off its top, per unit of rate squared: median of each card type and validity."""

    of_type: dict[str, float] = field(default_factory=dict)
    overall: float = USUAL_CURVATURE

    def half_width(self, context: CardContext, *, most: float, cost_share: float) -> np.ndarray:
        """Half width (n,) of each card's moves: ``most``, or what ``cost_share`` of the profit pays for."""
        curvature = context.by_kind(self._found.__getitem__)
        return np.minimum(most, np.sqrt(6.0 * cost_share / curvature))

    @cached_property
    def _found(self) -> Memo:
        return Memo(lambda kind: self.of_type.get(kind.type_state, self.overall))

    def to_dict(self) -> dict[str, object]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, object]) -> Curvatures:
        return cls(**data)  # type: ignore[arg-type]


def measure_curvatures(
    *, context: CardContext, economics: Economics, curve: AcceptanceCurve, best: np.ndarray
) -> Curvatures:
    """Medians over n cards with their best rates; cards that are not worth buying do not count."""
    grid = best[:, None] + STEP * np.array([-1.0, 0.0, 1.0])
    below, top, above = economics.deciding_part_fen(grid, curve.honest(grid)).T
    curvature = (2.0 * top - below - above) / STEP**2 / np.where(top > 0, top, 1.0)
    useful = (top > 0) & (curvature > LEAST_CURVATURE)
    if not useful.any():
        return Curvatures()
    names, position = context.rows(useful).named(lambda kind: kind.type_state)
    found = curvature[useful]
    medians = {
        name: float(np.median(found[position == index]))
        for index, name in enumerate(names)
        if np.count_nonzero(position == index) >= MIN_ROWS
    }
    return Curvatures(of_type=medians, overall=float(np.median(found)))


def draws(*, seed: str, card_type: np.ndarray, card_form: np.ndarray, submitted_at: np.ndarray) -> np.ndarray:
    """Draws (n,) uniform in [-1, 1). ``submitted_at``: int64 ms since epoch."""
    hour = np.asarray(submitted_at, dtype=np.int64) // HOUR_MS
    keys = zip(card_type.tolist(), card_form.tolist(), hour.tolist(), strict=True)
    return np.array([_draw(seed, *key) for key in keys])


@lru_cache(maxsize=100_000)
def _draw(seed: str, card_type: str | None, card_form: str | None, hour: int) -> float:
    text = "\x1f".join((seed, *map(str, (card_type, card_form, hour))))
    number = int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")
    return 2.0 * number / 2**64 - 1.0


def place(
    *, centre: np.ndarray, draw: np.ndarray, low: np.ndarray, high: np.ndarray, half_width: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Explored rates (n,) inside [low, high], and the density with which each was drawn.

    The draw falls evenly on what the rails leave of centre ± half_width, without a lump on a rail; the density is
    one over that length. Without exploration, or with nothing left to draw from, the offer is a single point but for
    its last decimal: density NaN, which off-policy estimates skip.
    """
    from_rate, to_rate = np.maximum(centre - half_width, low), np.minimum(centre + half_width, high)
    length = np.maximum(to_rate - from_rate, 0.0)
    drawn = length > SHORTEST_DRAW
    return from_rate + (draw + 1.0) / 2.0 * length, np.where(
        drawn, 1.0 / np.where(drawn, length, 1.0), np.nan
    )
