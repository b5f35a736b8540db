"""What a card is worth and what a seller would take for it: the truth behind prices and acceptances."""

from __future__ import annotations

import numpy as np

from pipelines.simulation.acceptance import Reservations
from pipelines.simulation.cards import NO_EXPIRY, fraud_rate_of_context
from pipelines.simulation.kinds import Kinds
from pipelines.simulation.people import Rows
from pipelines.simulation.prices import BUYERS_MARGIN, Board, Prices
from pipelines.simulation.seasons import month_end
from pipelines.simulation.world import World, local_day, local_hour

EXPIRY_LOSS, EXPIRY_DAYS = 0.35, 45.0
"""A card that expires today resells at 35 % less; the loss fades with 45 days to go."""
RIVAL_EXPIRY_LOSS = 0.40
"""Competitors deduct a little more for a near expiry."""
FACE_STEP, FACE_MOST = 0.004, 0.012
"""Each doubling of the face value earns so much more, as in published ladders of buy-back prices."""
ODD_FACE_LOSS = 0.010
REACTIVATION_DECAY_DAYS = 250.0
"""Chance to re-activate an expired card fades with the time since it expired."""
LOGISTICS_SHARE = 0.06
"""Shipping, filming and unpacking of a physical card, of face value; sources name 5–10 %."""
PHYSICAL_SELLERS_TAKE_LESS = 0.052

RIVAL_WEIGHT = 0.8
"""How much sellers look at the best competitor; the rest is what their type of card usually brings."""
USUAL_GAP = 0.058
TRUST = 0.006
"""Sellers take this much less than elsewhere from a platform that pays at once."""
BASE_SCALE = 0.0165
SMALL_FACE_FEN, LARGE_FACE_FEN = 10_000, 100_000
EXPIRED_MU, EXPIRED_SCALE = 0.55, 0.14
"""Sellers of expired cards expect about half of the little that is left."""

COMPARERS_NARROW = 0.4
"""Where acceptance is mixed, sellers who compare stand around the best competitor, this much closer …"""
HURRIED_BELOW, HURRIED_WIDE = 0.026, 1.3
"""… and hurried ones lower by so much and wider; more of them bring small cards, fewer large ones."""
HURRIED_BY_FACE, MOST_HURRIED = 0.12, 0.9
SHOCK_SHIFT, SHOCK_NARROW = 0.006, 0.65
"""After a shock sellers, who remember the old prices, want more than competitors pay, and agree more."""

FRAUD_ACCEPTS = 0.97
"""A fraudster takes almost any offer."""
FRAUD_FLOOR = 0.40
"""… down to this share of the resale value."""


def add_truth(world: World, kinds: Kinds, prices: Prices, board: Board, cards: Rows, stream: str) -> Rows:
    """The cards with what is true of each, all (n,), rates of face value:

    competitor_best, buyer_mean: the latest observed quotes. resale_expected: the mean resale rate given the
    card and the hidden level of the market; level_gap: how much higher that level is than the buyers' bids
    show, 0 for expired cards. The columns of :class:`acceptance.Reservations`: honest sellers' least rates for
    such a card; reservation_rate: this seller's. fraud_rate_context, logistics_share: see :mod:`oracle`.
    """
    kind, time = cards["kind"], cards["submitted_us"]
    hour = local_hour(time)
    days_left = days_to_expiry(cards)
    competitors = board.latest(side="competitor_bid", kind=kind, time_us=time)
    buyers = board.latest(side="buyer_bid", kind=kind, time_us=time)
    level = prices.expected[kind, prices.step(time)]
    buyer_mean = mean_of(buyers)
    gap = level - np.where(np.isnan(buyer_mean), level, buyer_mean + BUYERS_MARGIN)
    truth = {
        "hour": hour,
        "days_left": days_left,
        "competitor_best": best_of(competitors),
        "buyer_mean": buyer_mean,
        "level_gap": np.where(days_left < 0, 0.0, gap),
        "resale_expected": resale_rate(kinds, cards, level, days_left),
        "logistics_share": np.where(cards["physical"], LOGISTICS_SHARE, 0.0),
        "fraud_rate_context": fraud_rate_of_context(world, kinds, cards, hour),
    }
    everything = cards | truth
    least = _reservations(world, kinds, everything)
    everything["reservation_rate"] = _least_rate(world.rng(stream), least, everything)
    return everything | vars(least)


def days_to_expiry(cards: Rows) -> np.ndarray:
    """Days from the local day of submission to the last valid day; +inf without expiry, negative when
    expired."""
    left = (cards["expires_day"] - local_day(cards["submitted_us"])).astype(np.float64)
    return np.where(cards["expires_day"] == NO_EXPIRY, np.inf, left)


def best_of(rates: np.ndarray) -> np.ndarray:
    """Largest rate per row, NaN where no source quoted."""
    best = np.max(np.where(np.isnan(rates), -np.inf, rates), axis=1)
    return np.where(np.isfinite(best), best, np.nan)


def mean_of(rates: np.ndarray) -> np.ndarray:
    """Mean rate per row, NaN where no source quoted."""
    count = np.sum(~np.isnan(rates), axis=1)
    return np.where(count > 0, np.nansum(rates, axis=1) / np.maximum(count, 1), np.nan)


def expiry_factor(days_left: np.ndarray, loss: float) -> np.ndarray:
    """Share of the value that a card still valid keeps (n,)."""
    return 1.0 - loss * np.exp(-np.maximum(days_left, 0.0) / EXPIRY_DAYS)


def resale_rate(kinds: Kinds, cards: Rows, level: np.ndarray, days_left: np.ndarray) -> np.ndarray:
    """Resale rate (n,), net of the channel's fee, gross of logistics, at a market ``level`` (n,).

    An expired card is worth its issuer's readiness to re-activate it, a few per cent. The expiry counts as of
    submission: buyers pay for the days a card has when it is offered to them.
    """
    valid = level * expiry_factor(days_left, EXPIRY_LOSS) + _face_shift(kinds, cards)
    expired = kinds.expired_value[cards["kind"]] * np.exp(
        np.minimum(days_left, 0.0) / REACTIVATION_DECAY_DAYS
    )
    return np.where(days_left < 0, np.maximum(expired, 0.01), np.clip(valid, 0.05, 1.05))


def _face_shift(kinds: Kinds, cards: Rows) -> np.ndarray:
    doublings = np.log2(cards["face_fen"] / kinds.typical_face_fen[cards["kind"]])
    return np.clip(FACE_STEP * doublings, -FACE_MOST, FACE_MOST) - ODD_FACE_LOSS * cards["odd"]


def _reservations(world: World, kinds: Kinds, cards: Rows) -> Reservations:
    """Honest sellers' least rates, by card, market and moment."""
    kind, face, expired = cards["kind"], cards["face_fen"], cards["days_left"] < 0
    small, large = face <= SMALL_FACE_FEN, face >= LARGE_FACE_FEN
    shocked = world.days_since_shock(local_day(cards["submitted_us"])) >= 0
    scale = BASE_SCALE * kinds.sensitivity[kind] * np.where(small, 1.25, np.where(large, 0.85, 1.0))
    scale = np.where(
        expired, EXPIRED_SCALE * cards["resale_expected"], scale * np.where(shocked, SHOCK_NARROW, 1.0)
    )
    mu = _location(kinds, cards, RIVAL_WEIGHT, shocked)
    if world.acceptance != "mixed":
        skew = kinds.skew[kind] if world.acceptance == "skewed" else np.zeros(len(kind))
        return Reservations(
            accept_mu=mu,
            accept_scale=scale,
            accept_skew=skew,
            hurried_share=np.zeros(len(kind)),
            hurried_mu=mu,
            hurried_scale=scale,
        )
    hurried = kinds.hurried_share[kind] + HURRIED_BY_FACE * (small * 1.0 - large * 1.0)
    return Reservations(
        accept_mu=np.where(expired, mu, _location(kinds, cards, 1.0, shocked)),
        accept_scale=np.where(expired, scale, COMPARERS_NARROW * scale),
        accept_skew=np.zeros(len(kind)),
        hurried_share=np.where(expired, 0.0, np.clip(hurried, 0.0, MOST_HURRIED)),
        hurried_mu=np.where(expired, mu, np.maximum(mu - HURRIED_BELOW, 0.05)),
        hurried_scale=np.where(expired, scale, HURRIED_WIDE * scale),
    )


def _location(kinds: Kinds, cards: Rows, rival_weight: float, shocked: np.ndarray) -> np.ndarray:
    """The rate (n,) that half of the sellers take who look at the best competitor with this weight."""
    kind, face = cards["kind"], cards["face_fen"]
    small, large = face <= SMALL_FACE_FEN, face >= LARGE_FACE_FEN
    usual = kinds.base[kind] - USUAL_GAP
    rival = np.where(np.isnan(cards["competitor_best"]), usual, cards["competitor_best"])
    mu = (rival_weight * rival + (1 - rival_weight) * usual) * expiry_factor(
        cards["days_left"], RIVAL_EXPIRY_LOSS
    )
    mu = mu + _face_shift(kinds, cards) - TRUST - PHYSICAL_SELLERS_TAKE_LESS * cards["physical"]
    mu = mu - 0.010 * small + 0.004 * large + SHOCK_SHIFT * shocked
    mu = mu - 0.006 * (cards["hour"] < 6) - 0.004 * month_end(local_day(cards["submitted_us"]))
    return np.where(cards["days_left"] < 0, EXPIRED_MU * cards["resale_expected"], np.clip(mu, 0.05, 1.0))


def _least_rate(rng: np.random.Generator, least: Reservations, cards: Rows) -> np.ndarray:
    """This seller's least acceptable rate (n,), by temperament; a fraudster's is far below."""
    honest = least.quantile(cards["temperament"])
    takes = rng.random(len(honest)) < FRAUD_ACCEPTS
    fraud = np.where(takes, FRAUD_FLOOR * cards["resale_expected"], 1.01)
    return np.where(cards["fraud_kind"] > 0, fraud, honest)
