"""The desk: takes a submission or an event, answers, records it, and updates the live state. In that order."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from pipelines.application_data import ApplicationData, events, quotes, replies
from pipelines.live_trades import TradeFinder
from serving.api import schemas
from serving.api.engine import CLOCK_SKEW, Engine, Trade, trade_json
from serving.api.problems import Problem

Event = (
    schemas.Accepted
    | schemas.Declined
    | schemas.Resold
    | schemas.FraudConfirmed
    | schemas.FraudCleared
    | schemas.MarketObserved
)
TradeEvent = (
    schemas.Accepted | schemas.Declined | schemas.Resold | schemas.FraudConfirmed | schemas.FraudCleared
)


@dataclass(frozen=True)
class Desk:
    """Everything a request needs. ``writing`` is held while entity states are read and written back, so that
    several workers on one machine do not lose each other's updates."""

    engine: Engine
    data: ApplicationData
    trades: TradeFinder
    writing: Callable[[], AbstractContextManager[None]]

    @property
    def clock(self) -> Callable[[], datetime]:
        return self.engine.clock

    def quote(self, submission: schemas.Submission, *, now: datetime) -> dict[str, Any]:
        """A new quote, stored before it is given. Raises Problem."""
        trade = self.engine.trade_of(submission, now=now)
        if submission.trade_id is not None:
            self._refuse_another_card(trade)
        body = self.engine.quotes([trade])[0]
        with self.data.transaction() as connection:
            connection.execute(
                sa.insert(quotes).values(
                    quote_id=body["quote_id"],
                    trade_id=trade["trade_id"],
                    submitted_at=trade["submitted_at"],
                    valid_until=datetime.fromisoformat(body["valid_until"]),
                    trade=trade_json(trade),
                    answer=body,
                )
            )
        with self.writing():
            self.engine.live.submitted(trade, now=now)
        return body

    def score(self, submission: schemas.Submission, *, now: datetime) -> dict[str, Any]:
        """A fraud score. Raises Problem."""
        return self.engine.scores([self.engine.trade_of(submission, now=now)])[0]

    def stored_quote(self, quote_id: str) -> dict[str, Any]:
        """The quote as it was given. Raises Problem ``quote_not_found``."""
        found = self.data.quote(quote_id)
        if found is None:
            raise Problem(404, "quote_not_found", "there is no quote with this id")
        return found["answer"]

    def record(self, event: Event, *, now: datetime) -> dict[str, Any]:
        """Record an event once and let the live state know. Raises Problem."""
        body = event.model_dump(mode="json")
        known = self.data.event(event.event_id)
        if known is not None:
            if known["body"] != body:
                raise Problem(409, "event_id_reused", "this event_id came with another content before")
            return {"event_id": event.event_id, "status": "known"}
        if event.happened_at > now + CLOCK_SKEW:
            raise Problem(422, "impossible_time", "happened_at lies in the future", field="happened_at")
        trade = None if isinstance(event, schemas.MarketObserved) else self._trade_of(event)
        self._check_card_type(event)
        with self.data.transaction() as connection:
            connection.execute(
                sa.insert(events).values(
                    event_id=event.event_id,
                    kind=event.kind,
                    trade_id=None if trade is None else trade["trade_id"],
                    happened_at=event.happened_at,
                    recorded_at=now,
                    body=body,
                )
            )
        with self.writing():
            self._apply(event, trade, now)
        return {"event_id": event.event_id, "status": "recorded"}

    def remember_reply(
        self, *, key: str, route: str, request_sha256: str, body: dict[str, Any], now: datetime
    ) -> None:
        """Keep an answer under its idempotency key."""
        with self.data.transaction() as connection:
            connection.execute(
                sa.insert(replies).values(
                    idempotency_key=key,
                    route=route,
                    request_sha256=request_sha256,
                    status=200,
                    body=body,
                    created_at=now,
                )
            )

    def _refuse_another_card(self, trade: Trade) -> None:
        """A trade is one card: quoting it again is fine, quoting another card under its id is not."""
        known = self.data.last_quote_of(trade["trade_id"])
        names = ("seller_id", "card_type", "face_value_fen", "card_fingerprint", "card_prefix")
        if known is not None and any(known["trade"][name] != trade[name] for name in names):
            raise Problem(409, "trade_id_reused", "this trade_id belongs to another card", field="trade_id")

    def _trade_of(self, event: TradeEvent) -> Trade:
        trade = self.trades.find(event.trade_id)
        if trade is None:
            raise Problem(404, "trade_not_found", "there is no trade with this id", field="trade_id")
        if event.happened_at < trade["submitted_at"]:
            detail = "happened_at lies before the trade was submitted"
            raise Problem(422, "impossible_time", detail, field="happened_at")
        if isinstance(event, schemas.Accepted):
            self._check_promise(event)
        return trade

    def _check_promise(self, event: schemas.Accepted) -> None:
        """Only a quote that was an offer and has not expired can be accepted."""
        promised = self.data.last_quote_of(event.trade_id)
        if promised is None:
            return
        if promised["answer"]["decision"] == "refuse":
            raise Problem(409, "quote_refused", "this trade was refused; there is no offer to accept")
        if event.happened_at > promised["valid_until"]:
            raise Problem(409, "quote_expired", "the quote is no longer valid; ask for a new one")

    def _check_card_type(self, event: Event) -> None:
        if isinstance(event, schemas.MarketObserved) and event.card_type not in self.engine.catalogue:
            raise Problem(
                422, "unknown_card_type", "this card type is not in the catalogue", field="card_type"
            )

    def _apply(self, event: Event, trade: Trade | None, now: datetime) -> None:
        live, at = self.engine.live, event.happened_at
        if isinstance(event, schemas.MarketObserved):
            live.observed(
                card_type=event.card_type,
                source=event.source,
                side=event.side,
                rate=event.rate,
                at=at,
                now=now,
            )
            return
        assert trade is not None
        match event:
            case schemas.Accepted():
                live.accepted(trade, decided_at=at, now=now)
            case schemas.Resold():
                live.resold(trade, rate=event.rate, resold_at=at, now=now)
            case schemas.FraudConfirmed() | schemas.FraudCleared():
                fraud = isinstance(event, schemas.FraudConfirmed)
                live.labelled(trade, fraud=fraud, known_at=at, now=now)
            case schemas.Declined():
                pass  # no feature reads a declined offer; training reads it from the recorded event
