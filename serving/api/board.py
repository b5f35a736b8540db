"""The public price board: what each card type is worth to anybody right now, and what it was."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from features.catalogue import CardType
from pipelines.application_data import ApplicationData, board_prices
from serving.api.engine import Engine, Trade, money
from serving.api.problems import Problem

REFRESH = timedelta(minutes=1)
REFERENCE = timedelta(days=7)
HISTORY = timedelta(days=90)
USUAL_FACE_FEN = 10_000


class PriceBoards:
    """Makes the board from the discount model, at most once a minute, and keeps one point an hour."""

    def __init__(self, *, engine: Engine, data: ApplicationData) -> None:
        self._engine = engine
        self._data = data
        self._board: dict[str, Any] | None = None
        self._made_at: datetime | None = None

    def current(self, *, now: datetime) -> dict[str, Any]:
        """Body of :class:`serving.api.schemas.PriceBoard`."""
        if self._board is None or self._made_at is None or now - self._made_at >= REFRESH:
            self._board, self._made_at = self._make(now), now
            self._remember(self._board["prices"], now)
        return self._board

    def history(self, card_type: str, *, now: datetime) -> dict[str, Any]:
        """Body of :class:`serving.api.schemas.PriceHistory`. Raises Problem for an unknown card type."""
        if card_type not in self._engine.catalogue:
            raise Problem(404, "unknown_card_type", "this card type is not in the catalogue")
        points = self._data.board_history(card_type, since=now - HISTORY)
        recent = [point["rate"] for point in points if point["shown_at"] >= now - REFERENCE]
        return {
            "card_type": card_type,
            "lowest_7d": min(recent) if recent else None,
            "points": [
                {"shown_at": point["shown_at"].isoformat(), "rate": point["rate"]} for point in points
            ],
        }

    def _make(self, now: datetime) -> dict[str, Any]:
        types = list(self._engine.catalogue)
        trades = [_anybodys_trade(card_type, now) for card_type in types]
        quotes = self._engine.quotes(trades, self._engine.read(trades))
        return {
            "shown_at": now.isoformat(),
            "prices": [_price(card_type, quote) for card_type, quote in zip(types, quotes, strict=True)],
        }

    def _remember(self, prices: Sequence[dict[str, Any]], now: datetime) -> None:
        """Keep the first board of each hour."""
        hour = now.replace(minute=0, second=0, microsecond=0)
        rows = [{"card_type": p["card_type"], "shown_at": hour, "rate": p["rate"]} for p in prices]
        kept = sa.select(board_prices.c.card_type).where(board_prices.c.shown_at == hour).limit(1)
        with suppress(IntegrityError), self._data.transaction() as connection:  # another worker may be first
            if connection.execute(kept).first() is None:
                connection.execute(sa.insert(board_prices), rows)


def reference_face_fen(card_type: CardType) -> int:
    """The face value a board price is for: the usual one nearest to ¥100, or ¥100."""
    faces = card_type.face_values_fen or (USUAL_FACE_FEN,)
    return min(faces, key=lambda fen: (abs(fen - USUAL_FACE_FEN), fen))


def _anybodys_trade(card_type: CardType, now: datetime) -> Trade:
    trade = dict.fromkeys(
        ("device_id", "ip", "payout_account", "card_prefix", "card_fingerprint", "expires_on")
    )
    return trade | {
        "trade_id": f"board-{card_type.card_type}",
        "submitted_at": now,
        "seller_id": "board",
        "card_type": card_type.card_type,
        "card_form": "physical" if card_type.forms == ("physical",) else "virtual",
        "face_value_fen": reference_face_fen(card_type),
    }


def _price(card_type: CardType, quote: dict[str, Any]) -> dict[str, Any]:
    return {
        "card_type": card_type.card_type,
        "name_zh": card_type.name_zh,
        "name_en": card_type.name_en,
        "category": card_type.category,
        "face_value": money(reference_face_fen(card_type)),
        "rate": quote["rate"],
        "payout": quote["payout"],
    }
