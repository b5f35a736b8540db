"""What the recycling flow needs of the two models: small Protocols, so that it imports neither."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from pipelines.recycling.adapters.outcomes import Outcome


@dataclass(frozen=True)
class Priced:
    """A binding quote of the pricing API. decision: pay, hold, review or refuse. reasons: as told to the seller."""

    quote_id: str
    payout_fen: int
    decision: str
    no_offer: bool
    valid_until: datetime
    law_version: str
    reasons: tuple[Mapping[str, str], ...]
    degraded: tuple[str, ...]


class Pricing(Protocol):
    """The pricing API."""

    def quote(self, submission: Mapping[str, Any], *, key: str) -> Outcome[Priced]:
        """A quote; the same one for the same key."""
        ...

    def tell(self, event: Mapping[str, Any]) -> Outcome[str]:
        """Let both models learn what happened; once for each ``event_id``."""
        ...
