"""The oracle's view of one card type's market at one moment, straight from the rules of features/credibility.py."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from features.catalogue import CardType
from features.entities import PPM
from features.moment import Bids, Rates
from features.rows import rate_to_ppm
from features.windows import DAY, HOUR, WINDOWS

NONE_SEEN = Bids(math.nan, math.nan, math.nan, math.nan, 0.0, math.nan)


@dataclass(frozen=True)
class Seen:
    """A market row with a possible rate."""

    time: int
    side: str
    source: str
    ppm: int

    @property
    def point(self) -> int:
        return self.ppm // 10_000


def possible(rows: Iterable[dict], card: CardType | None) -> list[Seen]:
    """The rows whose rate a card of this type can have, oldest first."""
    seen = [Seen(row["observed_at"], row["side"], row["source"], rate_to_ppm(row["rate"])) for row in rows]
    return sorted((row for row in seen if _is_possible(row.ppm, card)), key=lambda row: row.time)


def _is_possible(ppm: int, card: CardType | None) -> bool:
    if card is None:
        return 0 < ppm <= 1_500_000
    least = rate_to_ppm(card.min_rate) // 2
    return ppm > 0 and least <= ppm <= rate_to_ppm(card.max_rate) + 150_000


@dataclass(frozen=True)
class NaiveMarket:
    """``seen``: what was shown before the moment ``time``, oldest first."""

    seen: list[Seen]
    time: int

    # --- what features ask for ------------------------------------------------------------------------------

    def bids(self, side: str) -> Bids:
        counts = [bid for source in self.sources(side) if (bid := self.bid_of(side, source)) is not None]
        if not counts:
            return NONE_SEEN
        ppm = [bid.ppm for bid in counts]
        weights = [24_000_000 // (24 + self.time // HOUR - bid.time // HOUR) for bid in counts]
        weighed = sum(weight * bid.ppm for weight, bid in zip(weights, counts, strict=True))
        return Bids(
            best=max(ppm) / PPM,
            worst=min(ppm) / PPM,
            mean=sum(ppm) / len(ppm) / PPM,
            level=weighed / sum(weights) / PPM,
            sources=float(len(ppm)),
            age_hours=(self.time - max(bid.time for bid in counts)) / HOUR,
        )

    def rates(self, side: str, window: str) -> Rates:
        width, hop = WINDOWS[window].width, WINDOWS[window].hop
        near = [
            row.ppm
            for row in self.seen
            if row.side == side and row.time // hop >= (self.time - width) // hop and self.is_near(row)
        ]
        bp = [ppm // 100 for ppm in near]
        return Rates(float(len(near)), float(sum(near)), float(sum(bp)), float(sum(each**2 for each in bp)))

    # --- whom to believe ---------------------------------------------------------------------------------------

    def sources(self, side: str) -> list[str]:
        return sorted({row.source for row in self.seen if row.side == side})

    def remembered(self, side: str, source: str) -> list[Seen]:
        """Of the last four rates of a channel the fresh ones, newest first."""
        own = [row for row in self.seen if (row.side, row.source) == (side, source)]
        return [row for row in own[: -4 - 1 : -1] if self.is_fresh(row)]

    def is_fresh(self, row: Seen) -> bool:
        return row.time // (6 * HOUR) >= (self.time - 7 * DAY) // (6 * HOUR)

    @cached_property
    def middle(self) -> int | None:
        channels = {(row.side, row.source) for row in self.seen}
        newest = [rows[0].ppm for channel in channels if (rows := self.remembered(*channel))]
        return lower_median(newest) if len(newest) >= 3 else None

    def candidates(self, side: str) -> list[int]:
        found, middle = [], self.middle
        for source in self.sources(side):
            likely = [
                row.ppm
                for row in self.remembered(side, source)
                if middle is None or middle <= 3 * row.ppm <= 9 * middle
            ]
            found += likely[:1]
        return found

    @cached_property
    def levels(self) -> dict[str, tuple[int, int] | None]:
        return {side: self._level(side) for side in {row.side for row in self.seen}}

    def _level(self, side: str) -> tuple[int, int] | None:
        """The point of the side's level and how many points away is near, None without candidates."""
        candidates, middle = self.candidates(side), self.middle
        if not candidates:
            return None
        ppm = lower_median(candidates)
        if len(candidates) == 2 and middle is not None:
            ppm = min(candidates, key=lambda each: (abs(each - middle), each))
        point = ppm // 10_000
        near = min(10, point // 2)
        if len(candidates) >= 3:
            near = max(near, 2 * lower_median([abs(each // 10_000 - point) for each in candidates]))
        return point, near

    def is_near(self, row: Seen) -> bool:
        level = self.levels[row.side]
        return level is not None and abs(row.point - level[0]) <= level[1]

    def bid_of(self, side: str, source: str) -> Seen | None:
        return next((row for row in self.remembered(side, source) if self.is_near(row)), None)


def lower_median(values: list[int]) -> int:
    return sorted(values)[(len(values) - 1) // 2]
