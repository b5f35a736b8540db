"""What a handler checks of whoever asks, where the route alone does not decide."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from fastapi import Request

from serving.api.access.control import AccessControl
from serving.api.access.middleware import CLIENT
from serving.api.access.roles import EVENTS, Client
from serving.api.problems import Problem
from serving.api.schemas import Submission


@dataclass(frozen=True)
class Asker:
    """The client of one request."""

    client: Client
    access: AccessControl

    def may_ask_about(self, submission: Submission) -> None:
        """Count a question about a card. Raises Problem ``card_asked_too_often``."""
        self.access.limits.check_card(submission)

    def takes_as_many_as(self, requests: int) -> None:
        """Count a batch as what it is made of: the client's next request waits for it."""
        self.access.limits.clients.charge(self.client.id, requests - 1)

    def may_tell(self, kind: str) -> None:
        """Raises Problem ``not_allowed`` where no role of the client may tell this kind of event."""
        if not self.client.roles & EVENTS.get(kind, frozenset()):
            self.access.audit.deny(self.client, route="/v1/events", object_id=kind, outcome="not_allowed")
            raise Problem(403, "not_allowed", "no role of yours may tell this kind of event", field="kind")

    def own(self, idempotency_key: str) -> str:
        """An idempotency key as this client's own: nobody can fetch another's answers with a guessed one."""
        return hashlib.sha256(f"{self.client.id}\n{idempotency_key}".encode()).hexdigest()


def asker_of(request: Request) -> Asker:
    """Whoever made a request that the guard let in on a route that is not for strangers."""
    return Asker(client=getattr(request.state, CLIENT), access=request.app.state.access)
