"""The pricing API as the recycling flow needs it, over HTTP by the typed client."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter

from pipelines.recycling.adapters.outcomes import Outcome
from pipelines.recycling.ports import Priced
from serving.api.schemas import Event, Submission
from serving.client import HuikaClient, HuikaProblem, HuikaUnreachable

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
        priced = Priced(
            quote_id=quote.quote_id,
            payout_fen=quote.payout.amount_fen,
            decision=quote.decision,
            no_offer=quote.no_offer,
            valid_until=quote.valid_until,
            law_version=quote.law_version,
            reasons=tuple(reason.model_dump() for reason in quote.reasons),
            degraded=tuple(quote.degraded),
        )
        return Outcome("ok", priced)

    def tell(self, event: Mapping[str, Any]) -> Outcome[str]:
        """Tell what happened; once for each ``event_id``."""
        try:
            return Outcome("ok", self._client.tell(_EVENT.validate_python(event)).status)
        except HuikaUnreachable:
            return Outcome("unreachable", maybe_done=True)
        except HuikaProblem as problem:
            return _refused(problem)


def _refused(problem: HuikaProblem) -> Outcome[Any]:
    if problem.status >= 500 or problem.status == 429:
        return Outcome("busy", code=problem.code)
    return Outcome("refused", code=problem.code)
