"""The parameters of one synthetic market. Everything else follows from them and the seed."""

from __future__ import annotations

import datetime as dt
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np

from features.china import CHINA_OFFSET as CHINA_OFFSET_US
from features.china import day_in_china
from features.rows import to_microseconds
from features.windows import DAY as DAY_US
from features.windows import HOUR as HOUR_US
from pipelines.simulation.seasons import FRAUD_HOURS, HONEST_HOURS

Profile = Literal["small", "medium", "head"]
PROFILES: tuple[str, ...] = get_args(Profile)
Acceptance = Literal["logistic", "skewed", "mixed"]
ACCEPTANCES: tuple[str, ...] = get_args(Acceptance)


_EPOCH = dt.date(1970, 1, 1)


class WorldError(ValueError):
    """A parameter of the synthetic market is out of range; the message names it."""


@dataclass(frozen=True, kw_only=True)
class World:
    """Parameters of a synthetic market; two equal worlds give equal bytes.

    trades: cards offered, over ``days`` local days from ``start`` (midnight in China). profile: how the
    platform that wrote the log priced and screened. jitter: whether its offers were moved at random, by up to
    ``jitter_half_width`` of face value. fraud_share: share of the offered cards that are fraudulent.
    card_types: how many card types are traded. night_fraud: whether fraudsters prefer the night, when hardly any
    card is worth buying then, or come at the hours at which everybody comes.

    acceptance: the shape of honest sellers' least rates for a card (:mod:`acceptance`). confounded: whether a
    trader moved the offers by what he saw of the seller and of the market, which the log does not hold.
    shock_day: from this day of the log on (0 is the first) prices, competitors and sellers are others.

    until: the moment in the last of the days at which the log ends; None: with that day. What happens and becomes
    known later that day is left out, everything else is as it would be without.
    """

    trades: int = 50_000
    days: int = 180
    seed: int = 7
    profile: Profile = "head"
    start: dt.date = dt.date(2025, 9, 1)
    jitter: bool = True
    jitter_half_width: float = 0.02
    fraud_share: float = 0.02
    card_types: int = 50
    night_fraud: bool = True
    acceptance: Acceptance = "logistic"
    confounded: bool = False
    shock_day: int | None = None
    until: dt.datetime | None = None

    def __post_init__(self) -> None:
        limits = {
            "trades": (200, 20_000_000),
            "days": (7, 1_500),
            "seed": (0, 2**63),
            "jitter_half_width": (0.001, 0.1),
            "fraud_share": (0.0, 0.3),
            "card_types": (5, 200),
            "shock_day": (1, self.days - 1),
        }
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise WorldError(f"{name} must lie between {low} and {high}, not {value}")
        for name, known in (("profile", PROFILES), ("acceptance", ACCEPTANCES)):
            if getattr(self, name) not in known:
                raise WorldError(f"{name} must be one of {', '.join(known)}, not {getattr(self, name)}")
        if not 2010 <= self.start.year <= 2045:
            raise WorldError(f"start must lie between the years 2010 and 2045, not in {self.start.year}")
        if self.until is not None and not self.end_of_days_us - DAY_US < self.end_us <= self.end_of_days_us:
            raise WorldError(f"until must lie in the last day of the log, not at {self.until}")

    @classmethod
    def ending(cls, until: dt.datetime, *, days: int, **others: Any) -> World:
        """A world whose log ends at a moment, after so many whole days and what has begun of the next one."""
        start = day_in_china(until) - dt.timedelta(days=days)
        last = day_in_china(until - dt.timedelta(microseconds=1))
        return cls(start=start, days=(last - start).days + 1, until=until, **others)

    def rng(self, stream: str) -> np.random.Generator:
        """Random numbers of one part of the world: a change in one part leaves the others as they were."""
        return np.random.default_rng([self.seed, zlib.crc32(stream.encode())])

    @property
    def fraud_hours(self) -> np.ndarray:
        """Share (24,) of fraudsters' submissions by hour of the day in China."""
        return FRAUD_HOURS if self.night_fraud else HONEST_HOURS

    @property
    def start_day(self) -> int:
        """First local day, days since the epoch."""
        return (self.start - _EPOCH).days

    @property
    def start_us(self) -> int:
        """Local midnight of the first day, µs UTC since the epoch."""
        return self.start_day * DAY_US - CHINA_OFFSET_US

    @property
    def end_us(self) -> int:
        """The end of the log, exclusive: nothing that becomes known later is written."""
        return self.end_of_days_us if self.until is None else to_microseconds(self.until)

    @property
    def end_of_days_us(self) -> int:
        """The end of the last day, exclusive."""
        return self.start_us + self.days * DAY_US

    def days_since_shock(self, day: np.ndarray) -> np.ndarray:
        """Days (n,) from the beginning of the shock to local days (n,), which may be fractions; -inf without
        a shock."""
        if self.shock_day is None:
            return np.full(len(day), -np.inf)
        return day - float(self.start_day + self.shock_day)

    def to_dict(self) -> Mapping[str, object]:
        until = None if self.until is None else self.until.isoformat()
        return asdict(self) | {"start": self.start.isoformat(), "until": until}


def local_day(time_us: np.ndarray) -> np.ndarray:
    """Local day in China, days since the epoch, of times in µs UTC (n,)."""
    return (time_us + CHINA_OFFSET_US) // DAY_US


def local_hour(time_us: np.ndarray) -> np.ndarray:
    """Hour of the day in China, 0–23."""
    return (time_us + CHINA_OFFSET_US) % DAY_US // HOUR_US
