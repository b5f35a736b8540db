"""The audit trail of a running service. What is revealed is written down first; denials are written soon after."""

from __future__ import annotations

import logging
import re
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from threading import Lock

from pipelines.access_data import AuditRow
from serving.api.access.limits import Buckets
from serving.api.access.roles import Client

log = logging.getLogger("huika")

MOST_WAITING = 10_000
STRANGERS_PER_SECOND, STRANGERS_BURST = 1.0, 60.0
"""Denials of strangers that are kept; a flood of them must not fill the database."""

_OURS = re.compile(r"[a-z]{1,3}-[0-9a-f]{8,64}|[a-z][a-z_]{0,31}")


class AuditTrail:
    """Writes rows through ``write``. ``now`` is the wall clock, ``clock`` seconds that never go back."""

    def __init__(
        self,
        *,
        write: Callable[[Sequence[AuditRow]], None],
        now: Callable[[], datetime],
        clock: Callable[[], float],
    ) -> None:
        self._write = write
        self._now = now
        self._waiting: deque[AuditRow] = deque()
        self._writing = Lock()
        self._strangers = Buckets(per_second=STRANGERS_PER_SECOND, burst=STRANGERS_BURST, clock=clock)

    def reveal(self, client: Client, *, action: str, route: str, object_id: str) -> None:
        """Write down at once that something is about to be shown. Raises where that cannot be done."""
        self._write([self._row(client, action, route=route, object_id=object_id)])

    def deny(self, client: Client | None, *, route: str, object_id: str, outcome: str) -> None:
        """Keep that somebody was turned away; of strangers, only as many as fit."""
        if client is not None or not self._strangers.take("anybody"):
            self._later(self._row(client, "denied", route=route, object_id=object_id, outcome=outcome))

    def login(self, client: Client) -> None:
        """Keep that a token was seen for the first time, and whose it is."""
        self._later(replace(self._row(client, "token_seen"), object_id=client.name[:128]))

    def flush(self) -> None:
        """Write what waits. Raises where that cannot be done; it waits on."""
        with self._writing:
            rows = [self._waiting.popleft() for _ in range(len(self._waiting))]
            try:
                self._write(rows)
            except Exception:
                self._waiting.extendleft(reversed(rows))
                raise

    def _later(self, row: AuditRow) -> None:
        if len(self._waiting) < MOST_WAITING:
            self._waiting.append(row)
        else:
            log.error("an entry of the audit trail was lost: too many wait")

    def _row(
        self,
        client: Client | None,
        action: str,
        *,
        route: str = "",
        object_id: str = "",
        outcome: str = "allowed",
    ) -> AuditRow:
        return AuditRow(
            at=self._now(),
            client_id="" if client is None else client.credential,
            roles="" if client is None else client.role_names,
            action=action,
            route=route,
            object_id=_safe(object_id),
            outcome=outcome,
        )


def _safe(object_id: str) -> str:
    """An id as this service makes them; anything else somebody typed into a path may be a card's number."""
    return object_id if not object_id or _OURS.fullmatch(object_id) else "(other)"
