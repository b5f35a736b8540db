"""The pricing API as the recycling flow needs it: over HTTP by the typed client, or in this process."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from pipelines.recycling.adapters.outcomes import Outcome
from pipelines.recycling.ports import Priced
from serving.api.problems import Problem
from serving.api.schemas import Event, Quote, Submission
from serving.client import HuikaClient, HuikaElsewhere, HuikaProblem, HuikaUnreachable

if TYPE_CHECKING:
    from serving.api.desk import Desk

log = logging.getLogger("huika")

Value = TypeVar("Value")
SAY_AGAIN_SECONDS = 60.0
"""Between two lines in the log about a service that cannot be reached."""
ABOUT_THE_QUESTION = frozenset({400, 404, 409, 422})
"""Statuses that would be the same for whoever asks, and whenever."""

_EVENT: TypeAdapter[Any] = TypeAdapter(Event)


class _Reach:
    """Says in the log that the service cannot be reached, every ``SAY_AGAIN_SECONDS`` while it lasts, and when it ends.
    Trades are asked about from many threads."""

    def __init__(self, url: str, clock: Callable[[], float]) -> None:
        self._url, self._clock = url, clock
        self._lock = threading.Lock()
        self._said_at = -math.inf
        self._is_lost = False

    def lost(self) -> None:
        with self._lock:
            now = self._clock()
            if now - self._said_at < SAY_AGAIN_SECONDS:
                return
            self._said_at, self._is_lost = now, True
        log.error("the pricing service cannot be reached at %s: trades wait (--url names another)", self._url)

    def found(self) -> None:
        with self._lock:
            was_lost, self._is_lost = self._is_lost, False
        if was_lost:
            log.warning("the pricing service answers again at %s", self._url)


class HttpPricing:
    """:class:`pipelines.recycling.ports.Pricing` over a client of the service. clock: seconds, for what is said in the
    log while the service cannot be reached."""

    def __init__(self, client: HuikaClient, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._reach = _Reach(client.base_url, clock)

    def quote(self, submission: Mapping[str, Any], *, key: str) -> Outcome[Priced]:
        """A quote; the same one for the same key."""
        asked = Submission.model_validate(submission)
        return self._asked(lambda: _priced(self._client.quote(asked, idempotency_key=key)))

    def tell(self, event: Mapping[str, Any]) -> Outcome[str]:
        """Tell what happened; once for each ``event_id``."""
        told = _EVENT.validate_python(event)
        return self._asked(lambda: self._client.tell(told).status)

    def _asked(self, work: Callable[[], Value]) -> Outcome[Value]:
        try:
            answer = Outcome("ok", work())
        except HuikaUnreachable:
            self._reach.lost()
            return Outcome("unreachable", maybe_done=True)
        except HuikaElsewhere as problem:
            self._reach.lost()
            return Outcome("busy", code=problem.code)
        except HuikaProblem as problem:
            answer = _refused(problem)
        self._reach.found()
        return answer


class DeskPricing:
    """The same over a desk in this process, one question at a time. It keeps its quotes by key for as long as it is
    there, and nobody else."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._quotes: dict[str, Priced] = {}

    def quote(self, submission: Mapping[str, Any], *, key: str) -> Outcome[Priced]:
        if key not in self._quotes:
            try:
                asked = Submission.model_validate(submission)
                answered = self._desk.quote(asked, now=self._desk.clock())
            except (Problem, ValidationError) as problem:
                return _problem(problem)
            self._quotes[key] = _priced(Quote.model_validate(answered))
        return Outcome("ok", self._quotes[key])

    def tell(self, event: Mapping[str, Any]) -> Outcome[str]:
        now = self._desk.clock()
        known = self._desk.data.event(event["event_id"])
        at = now if known is None else known["happened_at"]
        try:
            told = _EVENT.validate_python({**event, "happened_at": at})
            return Outcome("ok", self._desk.record(told, now=now)["status"])
        except Problem as problem:
            return _problem(problem)


def _problem(problem: Problem | ValidationError) -> Outcome[Any]:
    if isinstance(problem, ValidationError):
        return Outcome("refused", code="invalid_request")
    return Outcome("busy" if problem.status >= 500 else "refused", code=problem.code)


def _priced(quote: Quote) -> Priced:
    return Priced(
        quote_id=quote.quote_id,
        payout_fen=quote.payout.amount_fen,
        decision=quote.decision,
        no_offer=quote.no_offer,
        valid_until=quote.valid_until,
        law_version=quote.law_version,
        reasons=tuple(reason.model_dump() for reason in quote.reasons),
        degraded=tuple(quote.degraded),
    )


def _refused(problem: HuikaProblem) -> Outcome[Any]:
    """What is wrong with the question is refused; what is wrong with us or the service is no verdict on a card."""
    is_own = problem.code != f"http_{problem.status}"
    kind = "refused" if is_own and problem.status in ABOUT_THE_QUESTION else "busy"
    return Outcome(kind, code=problem.code)
