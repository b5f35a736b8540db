"""What can happen to a trade or the market, as the live state hears of it: one record of the service's log each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

Trade = Mapping[str, Any]
"""One trade with ``features.rows.SPINE_COLUMNS``: times as aware datetimes, ``expires_on`` as a date, None: unknown."""


@dataclass(frozen=True)
class Submitted:
    """A card was offered, for the first time under this trade_id."""

    trade: Trade


@dataclass(frozen=True)
class Accepted:
    """The seller accepted the offer: the card is bought. At most once a trade."""

    trade: Trade
    decided_at: datetime


@dataclass(frozen=True)
class Resold:
    """The card was resold at ``rate`` net of fees. At most once a trade. ``decided_at``: when it was bought, None
    where that is unknown."""

    trade: Trade
    rate: float
    resold_at: datetime
    decided_at: datetime | None


@dataclass(frozen=True)
class Labelled:
    """A fraud label became known. ``old``: the label (known at, fraud) that it corrects, None for a first one."""

    trade: Trade
    fraud: bool
    known_at: datetime
    old: tuple[datetime, bool] | None = None


@dataclass(frozen=True)
class Observed:
    """A market rate was seen."""

    card_type: str
    source: str
    side: str
    rate: float
    at: datetime


Event = Submitted | Accepted | Resold | Labelled | Observed


@dataclass(frozen=True)
class Record:
    """An event with its place in the log: later records have larger numbers, and a state takes each once."""

    seq: int
    event: Event
