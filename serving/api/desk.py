"""The desk: answers submissions (:class:`QuotingDesk`) and takes events, each recorded once and told to the live
state."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from features.events import Accepted, Event, Labelled, Observed, Resold
from models.fraud.labels import DEFAULT_SOURCE, Label, label_of
from pipelines.application_data import events
from pipelines.live_trades import FRAUD_CONFIRMED, LABEL_KINDS
from serving.api import schemas
from serving.api.access.roles import OURSELVES, Client
from serving.api.engine import CLOCK_SKEW, Trade
from serving.api.problems import Problem
from serving.api.quoting_desk import NEXT_MOMENT, Asking, QuotingDesk, Receipt

__all__ = ["Asking", "Desk", "Receipt", "Told"]

Told = (
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


EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Desk(QuotingDesk):
    """Everything a request needs."""

    def record(self, event: Told, *, now: datetime, client: Client = OURSELVES) -> dict[str, Any]:
        """Record an event that a client tells, once, and let the live state know. Raises Problem.

        It counts from now: nobody knew it before. One at a time, from the first look to the last write: what an
        event means depends on those before it.
        """
        with self.log.writing():
            told = self._record(event, now=now, client=client)
        self.metrics.event(event.kind, told["status"])
        return told

    def _record(self, event: Told, *, now: datetime, client: Client) -> dict[str, Any]:
        body = event.model_dump(mode="json")
        trade = None if isinstance(event, schemas.MarketObserved) else self._trade_of(event, client)
        if self._is_known(event.event_id, body):
            return {"event_id": event.event_id, "status": "known"}
        _check_time(event, trade, now=now)
        self._check_card_type(event)
        self._check_order(event, now=now)
        known_at = self._known_at(event, now=now if trade is None else max(now, trade["submitted_at"]))
        record = self._live_event(event, trade, known_at=known_at)
        try:
            with self.data.transaction() as connection:
                self._insert_event(connection, event, body, trade, known_at=known_at)
                if record is not None:
                    self.log.append(connection, record, once=_once(event, now))
        except IntegrityError:  # another worker recorded the same event meanwhile
            self._is_known(event.event_id, body)
            return {"event_id": event.event_id, "status": "known"}
        self.log.try_to_tell(now=now)
        return {"event_id": event.event_id, "status": "recorded"}

    def _is_known(self, event_id: str, body: dict[str, Any]) -> bool:
        known = self.data.event(event_id)
        if known is not None and _as_told_today(known["body"]) != body:
            raise Problem(409, "event_id_reused", "this event_id came with another content before")
        return known is not None

    def _insert_event(
        self,
        connection: sa.Connection,
        event: Told,
        body: dict[str, Any],
        trade: Trade | None,
        *,
        known_at: datetime,
    ) -> None:
        connection.execute(
            sa.insert(events).values(
                event_id=event.event_id,
                kind=event.kind,
                trade_id=None if trade is None else trade["trade_id"],
                happened_at=event.happened_at,
                known_at=known_at,
                body=body,
            )
        )

    def _known_at(self, event: Told, *, now: datetime) -> datetime:
        """When an event counts as known: now (never before its trade's own moment); of a trade's labels each after the
        one before, so that they have one order everywhere."""
        if not isinstance(event, schemas.FraudConfirmed | schemas.FraudCleared):
            return now
        told = [row["known_at"] for row in self.data.events_of(event.trade_id) if row["kind"] in LABEL_KINDS]
        return max([now, *(moment + NEXT_MOMENT for moment in told[-1:])])

    def _labelled(
        self, event: schemas.FraudConfirmed | schemas.FraudCleared, trade: Trade, *, known_at: datetime
    ) -> Labelled | None:
        """What a told label changes: nothing where a better source said otherwise, or where the same was known."""
        old = self.trades.label(event.trade_id)
        told = Label(fraud=event.kind == FRAUD_CONFIRMED, source=event.source, known_at=known_at)
        new = label_of([told], held=old)
        if old is not None and (new is None or new.fraud == old.fraud):
            return None
        return Labelled(trade, told.fraud, known_at, None if old is None else (old.known_at, old.fraud))

    def _trade_of(self, event: TradeEvent, client: Client) -> Trade:
        """The trade that an event is about. One that another client asked about does not exist for this one; one that
        came from a file is nobody's, and the kind of event says who may tell it."""
        found = self.trades.find(event.trade_id)
        if found is None or not (found.owner is None or client.may_touch(found.owner)):
            raise Problem(404, "trade_not_found", "there is no trade with this id", field="trade_id")
        return found.row

    def _check_order(self, event: Told, *, now: datetime) -> None:
        """Only what was offered is accepted, and a trade is accepted and resold once. Raises Problem."""
        if isinstance(event, schemas.Accepted | schemas.Declined) and self._bought_at(event.trade_id):
            raise Problem(409, "already_accepted", "this trade was accepted before", field="trade_id")
        if isinstance(event, schemas.Accepted):
            self._check_promise(event, now=now)
        if isinstance(event, schemas.Resold) and self._is_resold(event.trade_id):
            raise Problem(409, "already_resold", "this trade was resold before", field="trade_id")

    def _is_resold(self, trade_id: str) -> bool:
        told = any(row["kind"] == "resold" for row in self.data.events_of(trade_id))
        return told or self.trades.stored_outcome(trade_id, "resale_rate") is not None

    def _bought_at(self, trade_id: str) -> datetime | None:
        """When the offer was accepted, None where it was not (yet)."""
        told = [row["known_at"] for row in self.data.events_of(trade_id) if row["kind"] == "accepted"]
        if told:
            return told[0]
        accepted = self.trades.stored_outcome(trade_id, "accepted")
        return self.trades.stored_outcome(trade_id, "decided_at") if accepted else None

    def _check_promise(self, event: schemas.Accepted, *, now: datetime) -> None:
        """Only a quote of the trade that was an offer and has not expired can be accepted."""
        if event.quote_id is not None:
            named = self.data.quote(event.quote_id)
            if named is None:
                raise Problem(404, "quote_not_found", "there is no quote with this id", field="quote_id")
            if named["trade_id"] != event.trade_id:
                detail = "this quote was given for another trade"
                raise Problem(409, "quote_of_another_trade", detail, field="quote_id")
        promised = self.data.last_quote_of(event.trade_id)
        if promised is None:
            return
        if event.quote_id not in (None, promised["quote_id"]):
            raise Problem(409, "quote_replaced", "a newer quote was given for this trade", field="quote_id")
        if promised["answer"]["decision"] == "refuse":
            raise Problem(409, "quote_refused", "this trade was refused; there is no offer to accept")
        if promised["answer"]["no_offer"]:
            raise Problem(409, "no_offer", "no offer was made for this card; there is nothing to accept")
        if max(event.happened_at, now - CLOCK_SKEW) > promised["valid_until"]:
            raise Problem(409, "quote_expired", "the quote is no longer valid; ask for a new one")

    def _check_card_type(self, event: Told) -> None:
        if isinstance(event, schemas.MarketObserved) and event.card_type not in self.engine.catalogue:
            raise Problem(
                422, "unknown_card_type", "this card type is not in the catalogue", field="card_type"
            )

    def _live_event(self, event: Told, trade: Trade | None, *, known_at: datetime) -> Event | None:
        """What the live state must hear of; nothing where no feature reads it (a declined offer)."""
        if isinstance(event, schemas.MarketObserved):
            return Observed(event.card_type, event.source, event.side, event.rate, known_at)
        assert trade is not None
        match event:
            case schemas.Accepted():
                return Accepted(trade, known_at)
            case schemas.Resold():
                return Resold(trade, event.rate, known_at, self._bought_at(event.trade_id))
            case schemas.FraudConfirmed() | schemas.FraudCleared():
                return self._labelled(event, trade, known_at=known_at)
            case _:
                return None


def _as_told_today(body: dict[str, Any]) -> dict[str, Any]:
    """A recorded event's body as it would be told now: labels once came without a source."""
    return {"source": DEFAULT_SOURCE} | body if body["kind"] in LABEL_KINDS else body


def _check_time(event: Told, trade: Trade | None, *, now: datetime) -> None:
    """Clocks differ, and a quote's moment lies ahead of now where it stands behind what was told while a clock was
    fast. Raises Problem."""
    moments = (now,) if trade is None else (now, trade["submitted_at"])
    earliest = EARLIEST if trade is None else max(EARLIEST, min(moments) - CLOCK_SKEW)
    if not earliest <= event.happened_at <= max(moments) + CLOCK_SKEW:
        detail = "happened_at lies in the future, before 2000, or before the trade was submitted"
        raise Problem(422, "impossible_time", detail, field="happened_at")


def _once(event: Told, now: datetime) -> str:
    """What can happen once only: a trade is accepted and resold once, a source shows one rate at one moment;
    everything else is told event by event."""
    if isinstance(event, schemas.MarketObserved):
        shown = f"{event.card_type}|{event.side}|{event.source}|{now.isoformat()}"
        return f"observed:{hashlib.sha256(shown.encode()).hexdigest()}"
    if isinstance(event, schemas.Accepted | schemas.Resold):
        return f"{event.kind}:{event.trade_id}"
    return f"event:{event.event_id}"
