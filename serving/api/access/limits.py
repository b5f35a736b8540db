"""How often one client may ask, and how often anybody may ask about one card. Counted in each worker's memory."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass

from serving.api.access.roles import Client
from serving.api.problems import Problem
from serving.api.schemas import Submission

MOST_BUCKETS = 50_000
HOUR = 3_600.0


class Buckets:
    """Token buckets by key: ``burst`` at once, then ``per_second``; a rate of 0 sets no limit.

    A request passes while a token is left and may cost more than is left: what a batch took is waited for later. The
    buckets that were used longest ago are forgotten first. ``clock``: seconds that never go back.
    """

    def __init__(
        self, *, per_second: float, burst: float, clock: Callable[[], float], most: int = MOST_BUCKETS
    ) -> None:
        self._per_second = per_second
        self._burst = burst
        self._clock = clock
        self._most = most
        self._held: dict[Hashable, tuple[float, float]] = {}

    def take(self, key: Hashable, cost: float = 1.0) -> float:
        """Seconds to wait until a request passes; 0 where it passes now, and is counted."""
        if not self._per_second:
            return 0.0
        now = self._clock()
        tokens = self._left(key, now)
        passes = tokens >= 1.0
        self._keep(key, tokens - cost if passes else tokens, now)
        return 0.0 if passes else (1.0 - tokens) / self._per_second

    def charge(self, key: Hashable, cost: float) -> None:
        """Count more for a request that has passed."""
        if self._per_second:
            now = self._clock()
            self._keep(key, self._left(key, now) - cost, now)

    def _left(self, key: Hashable, now: float) -> float:
        tokens, at = self._held.pop(key, (self._burst, now))
        return min(self._burst, tokens + (now - at) * self._per_second)

    def _keep(self, key: Hashable, tokens: float, now: float) -> None:
        self._held[key] = (tokens, now)
        if len(self._held) > self._most:
            del self._held[next(iter(self._held))]


@dataclass(frozen=True)
class Limits:
    """All limits of one worker. ``cards``: by fingerprint, ``alike``: by seller, card type and face value where there
    is none; both count whoever asks."""

    clients: Buckets
    strangers: Buckets
    cards: Buckets
    alike: Buckets

    def check_client(self, client: Client) -> None:
        """Count a request. Raises Problem ``too_many_requests``."""
        _check(self.clients.take(client.id), "too_many_requests", "too many requests; slow down")

    def check_stranger(self, address: str) -> None:
        """Count a request without credentials. Raises Problem ``too_many_requests``."""
        _check(self.strangers.take(address), "too_many_requests", "too many requests; slow down")

    def check_card(self, submission: Submission) -> None:
        """Count a question about a card. Raises Problem ``card_asked_too_often``."""
        card = submission.card
        if card.card_fingerprint is not None:
            wait = self.cards.take(card.card_fingerprint)
        else:
            wait = self.alike.take((submission.seller.seller_id, card.card_type, card.face_value.amount_fen))
        _check(wait, "card_asked_too_often", "this card was asked about too often; wait before asking again")


def limits_of(
    *,
    requests_per_second: float,
    stranger_requests_per_second: float,
    card_quotes_per_hour: float,
    alike_quotes_per_hour: float,
    clock: Callable[[], float],
) -> Limits:
    """Limits of these rates. Two seconds' requests, or an hour's questions about a card, may come at once."""
    by_second = {
        name: Buckets(per_second=rate, burst=2 * rate, clock=clock)
        for name, rate in (("clients", requests_per_second), ("strangers", stranger_requests_per_second))
    }
    by_hour = {
        name: Buckets(per_second=rate / HOUR, burst=rate, clock=clock)
        for name, rate in (("cards", card_quotes_per_hour), ("alike", alike_quotes_per_hour))
    }
    return Limits(**by_second, **by_hour)


def _check(wait: float, code: str, detail: str) -> None:
    if wait:
        raise Problem(429, code, detail, headers={"Retry-After": str(max(1, int(wait + 0.999)))})
