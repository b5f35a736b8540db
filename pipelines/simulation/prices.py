"""The hidden level of resale rates and the bids and asks that show it, late and with noise."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from pipelines.simulation.kinds import Kinds
from pipelines.simulation.seasons import price_season
from pipelines.simulation.world import CHINA_OFFSET_US, DAY_US, HOUR_US, World

STEP_HOURS = 6
STEPS_PER_DAY = 24 // STEP_HOURS
STEP_US = STEP_HOURS * HOUR_US
WARM_UP_DAYS = 14
"""Days of market rows before the first trade, so that the first trades have a market to look at."""
SALE_LAG_DAYS = 15
"""No card takes longer to resell; see :func:`sale_lag_shares`."""

MARKET_SD, MARKET_HALF_LIFE_DAYS = 0.004, 20.0
CATEGORY_SD, CATEGORY_HALF_LIFE_DAYS = 0.006, 12.0
TYPE_HALF_LIFE_DAYS = 8.0
JUMPS_PER_DAY, JUMP_SD, JUMP_HALF_LIFE_DAYS = 1 / 75, 0.025, 6.0
"""Mean-reverting movements of face value: of the whole market, of a category, of a type, and rare shocks."""

SHOCK_FALL, SHOCK_FALL_OF_VOLATILITY = 0.02, 2.0
"""In a shock the level falls by 2 points and by twice the type's own standard deviation: 3 to 5 points."""
SHOCK_FALL_DAYS, SHOCK_HALF_LIFE_DAYS = 2.0, 60.0
RIVALS_WIDEN = 0.012
"""… and competitors want so much more margin, for good."""

MEDIAN_SALE_DAYS, SALE_SIGMA = 2.6, 0.55


@dataclass(frozen=True)
class Source:
    """One quoting party. margin: below (bids) or above (asks) the level; lag_days: how slowly it follows
    it."""

    name: str
    side: str
    margin: float
    lag_days: float
    noise: float
    coverage: float


SOURCES = (
    Source("rival_north", "competitor_bid", 0.056, 1.0, 0.0050, 1.00),
    Source("rival_south", "competitor_bid", 0.062, 2.0, 0.0060, 0.95),
    Source("rival_app", "competitor_bid", 0.066, 0.8, 0.0070, 0.80),
    Source("rival_counter", "competitor_bid", 0.074, 3.0, 0.0080, 0.60),
    Source("buyer_wholesale", "buyer_bid", 0.004, 0.3, 0.0030, 1.00),
    Source("buyer_exchange", "buyer_bid", 0.007, 0.6, 0.0045, 0.95),
    Source("buyer_group", "buyer_bid", 0.011, 1.2, 0.0060, 0.70),
    Source("shelf", "ask", -0.022, 0.8, 0.0060, 0.90),
)
"""Three buyers, four competitors and the price consumers see. Margins and lags are the author's
assumptions."""

BUYERS_MARGIN = float(np.mean([source.margin for source in SOURCES if source.side == "buyer_bid"]))
OBSERVED_EVERY_HOURS = (6.0, 24.0)
SOURCE_OFFSET_SD = 0.005
LEAST_RATE, HIGHEST_RATE = 0.02, 1.20


@dataclass(frozen=True)
class Prices:
    """The market's truth on a grid of six hours. levels, expected: (k, steps); all rates of face value.

    levels: what a fresh virtual card of usual face value resells at. expected: its mean at the (random)
    moment of resale, given everything at this step. Step 0 lies ``WARM_UP_DAYS`` before the first trade.
    """

    start_us: int
    levels: np.ndarray
    expected: np.ndarray

    def step(self, time_us: np.ndarray) -> np.ndarray:
        return (time_us - self.start_us) // STEP_US


@dataclass(frozen=True)
class MarketRows:
    """Observed quotes (m,), in the order of the market table. source: index into ``SOURCES``."""

    observed_us: np.ndarray
    kind: np.ndarray
    source: np.ndarray
    rate: np.ndarray
    volume_fen: np.ndarray

    def before(self, end_us: int) -> MarketRows:
        """Those that were observed before a moment."""
        seen = self.observed_us < end_us
        return MarketRows(*(getattr(self, one.name)[seen] for one in fields(self)))


def sale_lag_shares() -> np.ndarray:
    """Probability (SALE_LAG_DAYS · STEPS_PER_DAY,) that a bought card is resold 1, 2, … steps after
    submission.

    A discretised lognormal with a mean of about three days, the platform's default ``costs.days_to_sell``.
    """
    days = (np.arange(SALE_LAG_DAYS * STEPS_PER_DAY) + 1.0) / STEPS_PER_DAY
    share = np.exp(-(((np.log(days) - np.log(MEDIAN_SALE_DAYS)) / SALE_SIGMA) ** 2) / 2) / days
    return share / share.sum()


def simulate_prices(world: World, kinds: Kinds) -> Prices:
    """Draw the movements and add them to the base and the season of each card type."""
    steps = (WARM_UP_DAYS + world.days + SALE_LAG_DAYS + 1) * STEPS_PER_DAY
    start_us = world.start_us - WARM_UP_DAYS * DAY_US
    day = (start_us + CHINA_OFFSET_US) // DAY_US + np.arange(steps) // STEPS_PER_DAY
    season = price_season(day=day, seasonal=kinds.seasonal, online=kinds.online)
    movements = _movements(world.rng("prices"), kinds, steps)
    steady = kinds.base[:, None] + season - _shock_fall(world, kinds, steps)
    levels = steady + sum(path for path, _ in movements)
    expected = np.zeros_like(levels)
    for lag, share in enumerate(sale_lag_shares(), start=1):
        later = np.minimum(np.arange(steps) + lag, steps - 1)
        expected += share * (steady[:, later] + sum(path * decay**lag for path, decay in movements))
    return Prices(start_us=start_us, levels=levels, expected=expected)


def _shock_fall(world: World, kinds: Kinds, steps: int) -> np.ndarray:
    """How much lower the levels stand because of the shock (k, steps): a fall, then a slow recovery."""
    begun = _shock_begun(world, steps)
    after = np.maximum(world.days_since_shock(_days_of(world, steps)) - SHOCK_FALL_DAYS, 0.0)
    size = SHOCK_FALL + SHOCK_FALL_OF_VOLATILITY * kinds.volatility
    return size[:, None] * begun * 0.5 ** (after / SHOCK_HALF_LIFE_DAYS)


def _shock_begun(world: World, steps: int) -> np.ndarray:
    """How far the shock has unfolded at each step (steps,), 0–1."""
    return np.clip(world.days_since_shock(_days_of(world, steps)) / SHOCK_FALL_DAYS, 0.0, 1.0)


def _days_of(world: World, steps: int) -> np.ndarray:
    """Local day (steps,) of each step's beginning, with its fraction."""
    return world.start_day - WARM_UP_DAYS + np.arange(steps) / STEPS_PER_DAY


def _movements(rng: np.random.Generator, kinds: Kinds, steps: int) -> list[tuple[np.ndarray, float]]:
    """The mean-zero movements (k, steps) and the share of each that is left after one step."""
    size = len(kinds.names)
    market = _mean_reverting(rng, np.full(1, MARKET_SD), MARKET_HALF_LIFE_DAYS, steps)
    category = _mean_reverting(
        rng, np.full(kinds.category.max() + 1, CATEGORY_SD), CATEGORY_HALF_LIFE_DAYS, steps
    )
    own = _mean_reverting(rng, kinds.volatility, TYPE_HALF_LIFE_DAYS, steps)
    struck = rng.random((size, steps)) < JUMPS_PER_DAY / STEPS_PER_DAY
    shocks = struck * rng.normal(0.0, JUMP_SD, (size, steps))
    return [
        (np.repeat(market, size, axis=0), _decay(MARKET_HALF_LIFE_DAYS)),
        (category[kinds.category], _decay(CATEGORY_HALF_LIFE_DAYS)),
        (own, _decay(TYPE_HALF_LIFE_DAYS)),
        (_accumulate(shocks, _decay(JUMP_HALF_LIFE_DAYS)), _decay(JUMP_HALF_LIFE_DAYS)),
    ]


def _decay(half_life_days: float) -> float:
    return 0.5 ** (1 / (half_life_days * STEPS_PER_DAY))


def _mean_reverting(
    rng: np.random.Generator, sd: np.ndarray, half_life_days: float, steps: int
) -> np.ndarray:
    """Paths (k, steps) that revert to zero, with stationary standard deviation ``sd`` (k,)."""
    decay = _decay(half_life_days)
    shocks = rng.normal(size=(len(sd), steps)) * (sd * np.sqrt(1 - decay**2))[:, None]
    shocks[:, 0] = rng.normal(size=len(sd)) * sd
    return _accumulate(shocks, decay)


def _accumulate(shocks: np.ndarray, decay: float) -> np.ndarray:
    path = np.empty_like(shocks)
    path[:, 0] = shocks[:, 0]
    for step in range(1, shocks.shape[1]):
        path[:, step] = decay * path[:, step - 1] + shocks[:, step]
    return path


def observe(world: World, kinds: Kinds, prices: Prices) -> MarketRows:
    """The market table's rows: each source quotes the types it covers every 6 to 24 hours."""
    rng = world.rng("market")
    parts = [_quotes(rng, index, source, world, kinds, prices) for index, source in enumerate(SOURCES)]
    merged = [np.concatenate(column) for column in zip(*parts, strict=True)]
    names = np.array(SOURCES_ORDER)
    order = np.lexsort((names[merged[2]], kinds.name_order[merged[1]], merged[0]))
    return MarketRows(*(column[order] for column in merged))


SOURCES_ORDER = tuple(
    sorted(range(len(SOURCES)), key=lambda index: SOURCES[index].name).index(i) for i in range(len(SOURCES))
)
"""Rank of each source's name: the market table is ordered by name within one moment and card type."""


def _quotes(
    rng: np.random.Generator, index: int, source: Source, world: World, kinds: Kinds, prices: Prices
) -> tuple[np.ndarray, ...]:
    """Times, kinds, source, rates and volumes of one source's quotes."""
    size = len(kinds.names)
    span_hours = (WARM_UP_DAYS + world.days) * 24
    most = int(span_hours / OBSERVED_EVERY_HOURS[0]) + 1
    hours = np.cumsum(rng.uniform(*OBSERVED_EVERY_HOURS, (size, most)), axis=1)
    covered = rng.random(size) < source.coverage
    seen = (hours < span_hours) & covered[:, None]
    step = (hours / STEP_HOURS).astype(np.int64)[seen]
    kind = np.nonzero(seen)[0]
    offset = source.margin + rng.normal(0.0, SOURCE_OFFSET_SD, size)
    path = _lagged(prices.levels, source.lag_days) - offset[:, None]
    path += _mean_reverting(rng, np.full(size, source.noise), 3.0, path.shape[1])
    if source.side == "competitor_bid":
        path -= RIVALS_WIDEN * _shock_begun(world, path.shape[1])
    rate = np.clip(path[kind, step] + rng.normal(0.0, source.noise / 3, len(kind)), LEAST_RATE, HIGHEST_RATE)
    observed_us = prices.start_us + (hours[seen] * HOUR_US).astype(np.int64)
    volume_fen = np.rint(kinds.popularity[kind] * rng.lognormal(14.0, 0.8, len(kind))).astype(np.int64) * 100
    return observed_us, kind, np.full(len(kind), index), np.rint(rate * 10_000) / 10_000, volume_fen


def _lagged(levels: np.ndarray, lag_days: float) -> np.ndarray:
    """Exponentially smoothed levels: what a party believes that follows with a mean delay of ``lag_days``."""
    keep = np.exp(-1 / (lag_days * STEPS_PER_DAY))
    return _accumulate(np.concatenate([levels[:, :1], (1 - keep) * levels[:, 1:]], axis=1), keep)


class Board:
    """The latest quotes as anyone could see them at a moment."""

    def __init__(self, rows: MarketRows) -> None:
        series = rows.kind * len(SOURCES) + rows.source
        order = np.lexsort((rows.observed_us, series))
        self._origin = int(rows.observed_us.min())
        self._span = int(rows.observed_us.max()) - self._origin + 400 * DAY_US
        self._keys = series[order] * self._span + (rows.observed_us[order] - self._origin)
        self._rates = rows.rate[order]

    def latest(self, *, side: str, kind: np.ndarray, time_us: np.ndarray) -> np.ndarray:
        """Rates (n, sources of the side) of the last quote strictly before each moment; NaN: none yet."""
        sources = [index for index, source in enumerate(SOURCES) if source.side == side]
        latest = np.full((len(kind), len(sources)), np.nan)
        for column, source in enumerate(sources):
            series = kind * len(SOURCES) + source
            floor = series * self._span
            at = np.searchsorted(self._keys, floor + (time_us - self._origin), side="left") - 1
            found = (at >= 0) & (self._keys[np.maximum(at, 0)] >= floor)
            latest[found, column] = self._rates[at[found]]
        return latest
