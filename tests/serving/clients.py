"""Clients who are known to a service under test: one of each role, how each says who it is, and what it is told."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import cache
from typing import Any

from fastapi import FastAPI
from fastapi.testclient import TestClient

from pipelines.access_data import AuditRow, StoredKey
from pipelines.settings import Access
from serving.api.access.control import AccessControl, access_control, trust_of
from serving.api.access.keys import new_key
from serving.api.access.roles import Role
from serving.api.app import create_app

UNLIMITED = Access(
    requests_per_second=0, stranger_requests_per_second=0, card_quotes_per_hour=0, alike_quotes_per_hour=0
)


def headers_of(role: Role) -> dict[str, str]:
    """What the client of a role sends with every request."""
    return {"Authorization": f"Bearer {_key_of(role)[0]}"}


def one_of_each_role(
    settings: Access = UNLIMITED,
    *,
    audit: list[AuditRow] | None = None,
    clock: Callable[[], float] = time.monotonic,
    others: Callable[[], Iterable[StoredKey]] = list,
) -> AccessControl:
    """Access control that knows a client of each role, and the keys of ``others``. What it keeps is put into
    ``audit``."""
    kept: list[AuditRow] = [] if audit is None else audit

    def write(rows: Sequence[AuditRow]) -> None:
        kept.extend(rows)

    control = access_control(
        settings,
        stored=lambda: [*(_key_of(role)[1] for role in Role), *others()],
        write=write,
        trust=trust_of(settings),
        fetch=lambda: {"keys": []},
        clock=clock,
    )
    control.keys.refresh()
    return control


@cache
def _key_of(role: Role) -> tuple[str, StoredKey]:
    return new_key(name=role.value, roles=[role], now=datetime(2026, 3, 1, tzinfo=UTC))


def app_of(access: AccessControl | None) -> FastAPI:
    """The app with this access control, None for none."""

    @asynccontextmanager
    async def lifespan(app: FastAPI):
        app.state.desk = app.state.boards = None
        if access is not None:
            app.state.access = access
        yield

    return create_app(lifespan)


def asking(access: AccessControl | None) -> TestClient:
    """The real routes without a desk behind them: whoever is let in gets an error of another kind."""
    return TestClient(app_of(access), raise_server_exceptions=False)


def send(client: TestClient, method: str, path: str, role: Role | None) -> Any:
    """The answer to a client of a role, None being a stranger."""
    headers = {} if role is None else headers_of(role)
    path = path.replace("{quote_id}", "q-0123456789ab").replace("{card_type}", "jd_ecard")
    return client.request(method, path, headers=headers, json={} if method == "POST" else None)


def code(response: Any) -> tuple[int, str]:
    """Status and code of a refusal."""
    return response.status_code, response.json()["code"]
