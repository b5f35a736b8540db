"""What a log was that a discount model was fitted on, and how far an offer may rely on what it measured."""

from __future__ import annotations

from dataclasses import dataclass

UNMEASURED_TRUST = 0.85
FULL_TRUST_ERROR = 0.25
"""Standard error of the slope, per RATE_UNIT, that identifies the reaction to price: a tenth of a usual slope."""
ENOUGH_ERROR, LEAST_CURIOSITY = 0.1, 0.25
"""Standard error at which not knowing the slope costs about half as much as full exploration, and what is spent at
least: sellers change."""


@dataclass(frozen=True)
class Training:
    """What a model was fitted on.

    hidden_share: of the offers' movement, what neither the market nor a logged random draw explains; slope_error:
    how well the random movement measured sellers' reaction, see :mod:`models.discount.offer_movement`.
    fallbacks: parts that stand on a documented default for want of data.
    """

    names: tuple[str, ...]
    resale_rows: int
    offer_rows: int
    from_ms: int
    until_ms: int
    hidden_share: float
    slope_error: float
    fallbacks: tuple[str, ...]

    @property
    def trust(self) -> float:
        """Share of the way from the rate table to the model's optimum that an offer goes.

        Profit is about quadratic near its top, so a step gains if the true optimum lies more than half as far away;
        a whole step needs a log whose prices moved enough to have measured the way.
        """
        measured = min(FULL_TRUST_ERROR / self.slope_error, 1.0)
        return UNMEASURED_TRUST + (1.0 - UNMEASURED_TRUST) * measured

    @property
    def curiosity(self) -> float:
        """Share of ``exploration_cost_share`` that is spent: what an error of the sellers' reaction costs grows with
        its square, so where the log has measured it better than to ENOUGH_ERROR, moves need to cost no more either.
        """
        return min(max((self.slope_error / ENOUGH_ERROR) ** 2, LEAST_CURIOSITY), 1.0)
