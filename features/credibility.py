"""Which market rates are believed: a typo, a slipped decimal point or an old bid must not move a price.

A rate of a channel (one source on one side of a card type's market) passes these tests at a moment:

1. **Band.** It is more than nothing and lies in ``[min_rate / 2, max_rate + 0.15]`` of the catalogue. Buyers pay more
   than sellers get, and bands are guesses: only what cannot be is left out. A type without a band has none of this.
2. **Fresh.** It was seen within 7 days. Of each channel the newest four are remembered.
3. **Decimal point.** The *middle* of the market is the lower median of the newest fresh rate of every channel of any
   side, where there are three or more. The *candidate* of a channel is its newest fresh rate that is off the middle by
   no more than a factor of three.
4. **Level.** The lower median of a side's candidates. Of exactly two candidates it is the one nearer to the middle,
   the lower one where they are equally near or there is no middle: the cautious choice.
5. **Near.** What a channel bids is its newest remembered rate within 10 points (whole hundredths of face value) of the
   level; within half the level where that is less, and within twice the lower median of the candidates' distances from
   the level where three or more of them disagree by more: in a market of wide prices nothing is absurd.

So an absurd rate counts as if it had not been told: the channel's former bid stands until it is stale, or until four
rates in a row were absurd. Totals of a window hold the rates in the band that are near the level of the moment.

Everything is integer arithmetic on parts per million and whole points, the same in columns and for one live trade.
"""

from __future__ import annotations

from features.windows import DAYS_7, DAYS_30, HOUR, Time

SIDES = ("competitor_bid", "buyer_bid", "ask")
"""Sides of the market, in the order of a live state."""

POINT_PPM = 10_000
"""A hundredth of face value."""

POINTS = 256
"""More points than a rate can have."""

BELOW, ABOVE_PPM, MOST_PPM = 2, 150_000, 1_500_000
"""The band reaches from ``min_rate`` divided by the first to ``max_rate`` plus the second; without a band a rate may
be as large as the market table allows."""

FRESH = DAYS_7
REMEMBERED = 4
ENOUGH = 3
"""Channels that make a middle, and candidates that can outvote an absurd one."""

FACTOR = 3
NEAR_POINTS = 10
SPREADS = 2

SHOWN = DAYS_30
"""What a channel said last is shown for so long, believed or not."""

WEIGHT, HALF_AFTER_HOURS = 24_000_000, 24
"""A bid weighs ``WEIGHT // (24 + age in hours)``: half after a day, an eighth after seven. Sums stay exact."""

RULES = (
    SIDES,
    POINT_PPM,
    (BELOW, ABOVE_PPM, MOST_PPM),
    (FRESH, REMEMBERED, ENOUGH, FACTOR, NEAR_POINTS, SPREADS, SHOWN),
    (WEIGHT, HALF_AFTER_HOURS),
)
"""All numbers above: a live state or a feature's value of other rules is another one."""


def band(rates_ppm: tuple[int, int] | None) -> tuple[int, int]:
    """Least and largest possible rate, ppm, from a card type's (min_rate, max_rate) in ppm, None where unknown."""
    if rates_ppm is None:
        return 1, MOST_PPM
    low, high = rates_ppm
    return max(low // BELOW, 1), high + ABOVE_PPM


def full_hours(moment: Time, event: Time) -> Time:
    """Hours struck between an event and a moment, µs: the age that weights count in."""
    return moment // HOUR - event // HOUR
