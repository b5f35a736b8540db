"""The pricing API as the recycling flow needs it: over HTTP by the typed client, or in this process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from pipelines.recycling.adapters.outcomes import Outcome
from pipelines.recycling.ports import Priced
from serving.api.problems import Problem
from serving.api.schemas import Event, Quote, Submission
from serving.client import HuikaClient, HuikaProblem, HuikaUnreachable

if TYPE_CHECKING:
    from serving.api.desk import Desk

ABOUT_THE_QUESTION = frozenset({400, 404, 409, 422})
"""Statuses that would be the same for whoever asks, and whenever."""

_EVENT: TypeAdapter[Any] = TypeAdapter(Event)


class HttpPricing:
    """:class:`pipelines.recycling.ports.Pricing` over a client of the service."""

    def __init__(self, client: HuikaClient) -> None:
        self._client = client

    def quote(self, submission: Mapping[str, Any], *, key: str) -> Outcome[Priced]:
        """A quote; the same one for the same key."""
        try:
            quote = self._client.quote(Submission.model_validate(submission), idempotency_key=key)
        except HuikaUnreachable:
            return Outcome("unreachable", maybe_done=True)
        except HuikaProblem as problem:
            return _refused(problem)
        return Outcome("ok", _priced(quote))

    def tell(self, event: Mapping[str, Any]) -> Outcome[str]:
        """Tell what happened; once for each ``event_id``."""
        try:
            return Outcome("ok", self._client.tell(_EVENT.validate_python(event)).status)
        except HuikaUnreachable:
            return Outcome("unreachable", maybe_done=True)
        except HuikaProblem as problem:
            return _refused(problem)


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
    kind = "refused" if problem.status in ABOUT_THE_QUESTION else "busy"
    return Outcome(kind, code=problem.code)
