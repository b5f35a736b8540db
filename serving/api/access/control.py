"""Everything that decides about a request, built once a worker and kept fresh beside its requests."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import httpx
from starlette.concurrency import run_in_threadpool

from pipelines.access_data import AccessData, AuditRow, StoredKey
from pipelines.settings import Access
from pipelines.workspace import Workspace
from serving.api.access.audit import AuditTrail
from serving.api.access.issuer import ISSUER_FOLDER, LOCAL_ISSUER, LocalIssuer
from serving.api.access.keys import KeyBook
from serving.api.access.limits import Limits, limits_of
from serving.api.access.logs import RequestLog
from serving.api.access.roles import RouteTable, Row
from serving.api.access.tokens import TokenBook, Trust

log = logging.getLogger("huika")

REFRESH_SECONDS = 2.0
"""How old the keys of a running service may be: a key that was revoked opens nothing after that."""
ISSUER_SECONDS = 300.0
"""How often the issuer's keys are read anew; a key id that nobody knows makes it sooner."""


@dataclass(frozen=True)
class AccessControl:
    """What the guard asks."""

    settings: Access
    keys: KeyBook
    tokens: TokenBook
    limits: Limits
    audit: AuditTrail
    requests: RequestLog
    table: RouteTable

    def is_open(self, row: Row) -> bool:
        """Whether a route is for everybody."""
        return row.opened == "always" or (row.opened != "" and getattr(self.settings, row.opened))

    async def keep(self) -> None:
        """Take in new and revoked keys and write what the audit trail waits for, every few seconds. Ends, with the last
        of it written, only when it is cancelled."""
        until_issuer = 0.0
        try:
            while True:
                await run_in_threadpool(self._renew)
                if time.monotonic() >= until_issuer:
                    until_issuer = time.monotonic() + ISSUER_SECONDS
                    await run_in_threadpool(self.tokens.try_to_refresh)
                await asyncio.sleep(REFRESH_SECONDS)
        finally:
            _tried(self.audit.flush, "the audit trail could not be written")

    def _renew(self) -> None:
        _tried(self.keys.refresh, "the API keys could not be read; those known before stand")
        _tried(self.audit.flush, "the audit trail could not be written; it is tried again")


def open_access(workspace: Workspace, data: AccessData) -> AccessControl:
    """The access control of a workspace, with the keys of this moment."""
    settings = workspace.settings.access
    control = access_control(
        settings,
        stored=data.all_keys,
        write=data.note,
        trust=trust_of(settings),
        fetch=_fetching(settings, LocalIssuer(workspace.home / ISSUER_FOLDER)),
    )
    control.keys.refresh()
    return control


def access_control(
    settings: Access,
    *,
    stored: Callable[[], Iterable[StoredKey]],
    write: Callable[[Sequence[AuditRow]], None],
    trust: Trust,
    fetch: Callable[[], Mapping[str, Any]],
    clock: Callable[[], float] = time.monotonic,
) -> AccessControl:
    """Builds the parts. ``stored``: all API keys; ``write``: keeps audit rows; ``fetch``: the issuer's JWK set."""
    audit = AuditTrail(write=write, now=partial(datetime.now, UTC), clock=clock)
    return AccessControl(
        settings=settings,
        keys=KeyBook(stored),
        tokens=TokenBook(trust=trust, fetch=fetch, clock=time.time, seen=audit.login),
        limits=limits_of(
            requests_per_second=settings.requests_per_second,
            stranger_requests_per_second=settings.stranger_requests_per_second,
            card_quotes_per_hour=settings.card_quotes_per_hour,
            alike_quotes_per_hour=settings.alike_quotes_per_hour,
            clock=clock,
        ),
        audit=audit,
        requests=RequestLog(every=settings.log_every),
        table=RouteTable(),
    )


def trust_of(settings: Access) -> Trust:
    """Whose tokens are believed: the issuer of the settings, else the workspace's own."""
    return Trust(
        issuer=settings.issuer or LOCAL_ISSUER,
        audience=settings.audience,
        role_claim=settings.role_claim if settings.issuer else "roles",
    )


def _fetching(settings: Access, local: LocalIssuer) -> Callable[[], Mapping[str, Any]]:
    if not settings.issuer:
        return local.jwks
    if settings.jwks_file:
        return partial(_read_jwks, settings.jwks_file)
    return partial(_ask_jwks, settings.jwks_url)


def _read_jwks(path: str) -> Mapping[str, Any]:
    return json.loads(Path(path).read_text(encoding="utf-8"))


def _ask_jwks(url: str) -> Mapping[str, Any]:
    return httpx.get(url, timeout=5, trust_env=False).raise_for_status().json()


def _tried(work: Callable[[], None], failed: str) -> None:
    try:
        work()
    except Exception:
        log.exception(failed)
