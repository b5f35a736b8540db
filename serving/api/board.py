"""The public price board: what each card type is worth to anybody right now, and what it was."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from features.catalogue import CardType
from models.quoting import NO_DISCOUNT_MODEL
from pipelines.board_history import hour_of, lowest_of
from pipelines.reference_prices import Close, anybodys_trade, reference_face_fen
from serving.api.bodies import money
from serving.api.degraded import NO_FEATURES
from serving.api.engine import Engine
from serving.api.problems import Problem

log = logging.getLogger("huika")

REFRESH = timedelta(minutes=1)
HISTORY = timedelta(days=90)
SLICE = 4
FIRST_SLICE = 64
REST_SECONDS = 0.02
"""Card types that are priced at once (of the very first board, for which no quote waits, more), and how long quotes
come first between two such slices: one that comes in a slice waits for no more than that one."""


class PriceBoards:
    """Makes the board from the discount model, once a minute, and keeps the lowest rates of every hour."""

    def __init__(self, *, engine: Engine) -> None:
        self._engine = engine
        self._board: dict[str, Any] | None = None
        self._made_at: datetime | None = None

    def use(self, engine: Engine) -> None:
        """Make the boards with another engine from now on; one that is being made is finished by the former."""
        self._engine = engine

    def current(self, *, now: datetime) -> dict[str, Any]:
        """Body of :class:`serving.api.schemas.PriceBoard`: the last board. Only the very first is made at once; the
        others are made a slice at a time, so that nobody who looks at the board makes a quote wait."""
        if self._board is None:
            for _ in self.refreshed(now=now, at_once=FIRST_SLICE):
                pass
        assert self._board is not None
        return self._board

    def history(self, card_type: str, *, now: datetime) -> dict[str, Any]:
        """Body of :class:`serving.api.schemas.PriceHistory`. Raises Problem for an unknown card type."""
        if card_type not in self._engine.catalogue:
            raise Problem(404, "unknown_card_type", "this card type is not in the catalogue")
        points = self._engine.history.points(card_type, since=now - HISTORY)
        shown = lowest_of(points, now=now)
        return {
            "card_type": card_type,
            "lowest_7d": None if shown is None else shown.lowest,
            "points": [
                {"shown_at": point["shown_at"].isoformat(), "rate": point["rate"]} for point in points
            ],
        }

    async def keep(self) -> None:
        """Make the board anew every minute, whether anybody looks or not: tomorrow's prices are measured from today's.
        Never ends; between slices of the board quotes are answered."""
        while True:
            try:
                for _ in self.refreshed(now=self._engine.clock()):
                    await asyncio.sleep(REST_SECONDS)
            except Exception:
                log.exception("the price board could not be made anew; trying again in a minute")
            await asyncio.sleep(REFRESH.total_seconds())

    def refreshed(self, *, now: datetime, at_once: int = SLICE) -> Iterator[None]:
        """Make the board anew, ``at_once`` card types at a time, unless the last is younger than a minute. The first
        board of an hour also keeps what the next day's moves are measured from."""
        if self._made_at is None or now - self._made_at >= REFRESH:
            yield from self._make(now, at_once)

    def _make(self, now: datetime, at_once: int) -> Iterator[None]:
        engine = self._engine
        types, first = list(engine.catalogue), not engine.history.has(hour_of(now))
        prices: list[dict[str, Any]] = []
        offered: dict[str, float] = {}
        closes: dict[str, Close] = {}
        for start in range(0, len(types), at_once):
            part = types[start : start + at_once]
            trades = [anybodys_trade(card_type, now) for card_type in part]
            read = engine.read(trades)
            quotes = engine.quotes(trades, read)
            prices += [_price(card_type, quote) for card_type, quote in zip(part, quotes, strict=True)]
            offered |= {quote["card_type"]: quote["rate"] for quote in quotes if _is_offered(quote)}
            if first:
                closes |= engine.closes(trades, read)
            yield
        if self._made_at is None or now >= self._made_at:  # one made at once may have come in between
            self._board, self._made_at = {"shown_at": now.isoformat(), "prices": prices}, now
        engine.history.remember(offered, closes, now=now)


def _is_offered(quote: dict[str, Any]) -> bool:
    """Whether a rate of the board is one that cards are bought at, and the discount model's own."""
    return not quote["no_offer"] and not {NO_DISCOUNT_MODEL, NO_FEATURES} & set(quote["degraded"])


def _price(card_type: CardType, quote: dict[str, Any]) -> dict[str, Any]:
    return {
        "card_type": card_type.card_type,
        "name_zh": card_type.name_zh,
        "name_en": card_type.name_en,
        "category": card_type.category,
        "face_value": money(reference_face_fen(card_type)),
        "rate": quote["rate"],
        "payout": quote["payout"],
        "no_offer": quote["no_offer"],
    }
