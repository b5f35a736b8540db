"""Between which rates an offer may lie, whatever a model believes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.discount.context import CardContext
from models.matrix import within
from models.money import RATE_SCALE
from models.policy import Costs, PricePolicy

ORDINARY_DAYS = 90
"""The band is that of ordinary cards: one with fewer days left may be worth less than its type ever is."""


@dataclass(frozen=True)
class GuardRails:
    """Rates (n,). The band is absolute; low..high is what is left of it after margin floor and log support.

    reachable: whether some rate of the band still earns the margin floor. Where none does, low = high = the
    band's lower end, so that a rate can be shown, but the card must not be bought at it. most: the highest rate of the
    band that earns the margin floor, the band's lower end where none does.
    """

    band_low: np.ndarray
    band_high: np.ndarray
    low: np.ndarray
    high: np.ndarray
    reachable: np.ndarray
    most: np.ndarray


def price_band(*, context: CardContext, policy: PricePolicy) -> tuple[np.ndarray, np.ndarray]:
    """Absolute band (n,) of each card: catalogue, overridden by category, then by card type; expired cards
    have their own, and a card with fewer than ORDINARY_DAYS left may fall towards it. An unknown bound is 0 or 1."""
    low = np.where(np.isnan(context.min_rate), 0.0, context.min_rate)
    high = np.where(np.isnan(context.max_rate), 1.0, context.max_rate)
    for names, bands in ((context.category, policy.categories), (context.card_type, policy.card_types)):
        for name, band in bands.items():
            rows = names == name
            low[rows] = low[rows] if band.min_rate is None else band.min_rate
            high[rows] = high[rows] if band.max_rate is None else band.max_rate
    least = np.where(context.days_to_expiry < ORDINARY_DAYS, policy.expired_max_rate, np.inf)
    low = shown(np.where(context.expired, policy.expired_min_rate, np.minimum(low, least)), up=True)
    high = np.where(context.expired, policy.expired_max_rate, high)
    return low, np.maximum(shown(high, up=False), low)


def guard_rails(
    *,
    context: CardContext,
    face_value_fen: np.ndarray,
    value: np.ndarray,
    capital_share: np.ndarray | float,
    table_rate: np.ndarray,
    support_half_width: np.ndarray,
    costs: Costs,
    policy: PricePolicy,
) -> GuardRails:
    """Rails of each offer. In order of weight: band, margin floor, distance from the rate table.

    value (n,): expected resale rate less the reserve. ``support_half_width`` (n,): how far each offer may lie from
    the table; infinite where the table has no logged offers of the type. The window keeps the model where the log
    has seen offers. When the margin floor falls under it, the market has fallen since: the window then slides down
    with the floor instead of pinning the price to it.
    """
    band_low, band_high = price_band(context=context, policy=policy)
    logistics = policy.physical_logistics_share * context.physical
    fixed = fixed_fen(context=context, costs=costs, policy=policy)
    room = value - logistics - fixed / face_value_fen - policy.margin_floor
    ceiling = shown(room / (1.0 + capital_share), up=False)
    reachable = ceiling >= band_low
    window_low = np.minimum(table_rate, ceiling) - support_half_width
    most = within(ceiling, band_low, band_high)
    high = within(shown(table_rate + support_half_width, up=False), band_low, most)
    low = within(shown(window_low, up=True), band_low, high)
    return GuardRails(
        band_low=band_low, band_high=band_high, low=low, high=high, reachable=reachable, most=most
    )


def fixed_fen(*, context: CardContext, costs: Costs, policy: PricePolicy) -> np.ndarray:
    """Fixed cost (n,) of a bought card: handling, complaints, and the re-activation of an expired one."""
    return costs.trade_fen + context.expired * policy.reactivation_fen


def shown(rate: np.ndarray, *, up: bool) -> np.ndarray:
    """The nearest rate with the shown decimals, on the safe side."""
    scaled = rate * RATE_SCALE
    return (np.ceil(scaled - 1e-6) if up else np.floor(scaled + 1e-6)) / RATE_SCALE
