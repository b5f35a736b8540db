"""What is shown, refused and asked is kept; about anybody's person nothing is."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from pipelines.access_data import AccessData, AuditRow, access_audit
from pipelines.application_data import ApplicationData
from serving.api.access.logs import JsonLines, install_json_logs
from serving.api.access.roles import Role
from tests.serving.clients import UNLIMITED, asking, code, headers_of, one_of_each_role, send

P, R, D = Role.PRICING_CLIENT, Role.RISK_ANALYST, Role.DATA_SCIENTIST


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_the_audit_trail_cannot_be_changed(database, tmp_path, request):
    """The database itself refuses to change or delete an entry, SQLite and PostgreSQL alike."""
    addresses = {
        "sqlite": lambda: f"sqlite:///{tmp_path / 'huika.db'}",
        "postgresql": lambda: request.getfixturevalue("postgres_url"),
    }
    url = addresses[database]()
    AccessData.open(ApplicationData(url))
    data = AccessData.open(ApplicationData(url))  # made once
    data.note([AuditRow(at=datetime(2026, 3, 1, tzinfo=UTC), client_id="", roles="", action="denied")])
    for statement in (sa.update(access_audit).values(client_id="x"), sa.delete(access_audit)):
        with pytest.raises(sa.exc.DatabaseError, match="append-only"), data.data.transaction() as connection:
            connection.execute(statement)
    assert [row["client_id"] for row in data.audit()] == [""]


def test_what_is_shown_and_refused_is_in_the_audit_trail(service, audit):
    """Explanations are written down before they are shown; denials with who, where and why. An id that is none of
    ours, which may be a card's number, is not."""
    path = "/v1/quotes/{quote_id}/explanation"
    send(service, "GET", path, R)
    assert [(row.action, row.object_id, row.outcome) for row in audit] == [
        ("explanation_revealed", "q-0123456789ab", "allowed")
    ]
    send(service, "GET", path, P)
    send(service, "GET", path, None)
    send(service, "GET", "/v1/quotes/6222-0211-JD/explanation", P)
    service.app.state.access.audit.flush()
    denied = [(row.roles, row.action, row.route, row.object_id, row.outcome) for row in audit[1:]]
    assert denied == [
        ("pricing_client", "denied", path, "q-0123456789ab", "not_allowed"),
        ("", "denied", path, "q-0123456789ab", "not_authenticated"),
        ("pricing_client", "denied", path, "(other)", "not_allowed"),
    ]


def test_nothing_is_revealed_that_cannot_be_written_down(service):
    """While the audit trail cannot be written, explanations are not shown."""

    def broken(rows) -> None:
        raise OSError("disk full")

    service.app.state.access.audit._write = broken
    assert code(send(service, "GET", "/v1/quotes/{quote_id}/explanation", R)) == (503, "audit_unavailable")


def test_a_flood_of_strangers_does_not_fill_the_audit_trail(service, audit):
    """Of strangers only so many denials are kept; what could not be written waits, and is written once."""
    for _ in range(100):
        send(service, "POST", "/v1/quotes", None)
    trail = service.app.state.access.audit
    trail.flush()
    trail.flush()
    assert 60 <= len(audit) < 70


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """What the service logs, as JSON lines."""
    log, stream = logging.getLogger("huika"), io.StringIO()
    before = (log.handlers[:], log.propagate, log.level)
    log.handlers.clear()
    install_json_logs(stream)
    install_json_logs(stream)
    yield stream
    log.handlers[:], log.propagate, log.level = before


def test_logs_tell_what_happened_and_nothing_about_anybody(lines, audit):
    """A request's line has its id, route, status, duration and client; neither log nor audit trail has keys, ids of
    sellers, query strings, bodies or what an error says."""
    access = one_of_each_role(UNLIMITED.model_copy(update={"log_every": 1}), audit=audit)
    with asking(access) as client:
        secret = headers_of(P)["Authorization"]
        body = {"card": {"card_type": "SECRET-1"}, "seller": {"seller_id": "SECRET-2"}}
        answer = client.post("/v1/quotes?seller=SECRET-3", json=body, headers=headers_of(P))
        client.get("/v1/quotes/SECRET-4", headers=headers_of(D))
        client.get("/v1/prices?SECRET-5", headers={"X-Request-ID": "SECRET-6", "User-Agent": "SECRET-7"})
        client.post("/v1/quotes", headers={"Authorization": "Bearer SECRET-8"})
        access.audit.flush()
    told = [json.loads(line) for line in lines.getvalue().splitlines()]
    first = told[0]
    assert (first["event"], first["route"], first["status"]) == ("request", "/v1/quotes", 422)
    assert first["client"].startswith("hk_")
    assert first["request_id"] == answer.headers["x-request-id"]
    assert first["ms"] > 0
    assert [line["level"] for line in told if line["status"] == 500] == ["error"]
    everything = lines.getvalue() + repr(audit)
    assert "SECRET" not in everything
    assert "testclient" not in everything  # the address
    assert secret.split("_", 2)[2] not in everything


def test_an_error_is_logged_without_its_message(lines):
    """What an exception says may repeat what was sent; its type and place are enough to find it."""
    try:
        raise ValueError("seller s-1001")
    except ValueError:
        logging.getLogger("huika").exception("it failed")
    line = json.loads(lines.getvalue())
    assert (line["event"], line["error"]) == ("it failed", "ValueError")
    assert line["through"][-1].startswith("test_access_audit.py:")
    assert "s-1001" not in lines.getvalue()
    formatters = [handler.formatter for handler in logging.getLogger("huika").handlers]
    assert sum(isinstance(formatter, JsonLines) for formatter in formatters) == 1


def test_only_failures_and_every_so_many_requests_are_logged(lines):
    """Of 10 requests that are answered, every fifth has a line."""
    with asking(one_of_each_role(UNLIMITED.model_copy(update={"log_every": 5}))) as client:
        for _ in range(10):
            send(client, "POST", "/v1/quotes", P)
    assert len(lines.getvalue().splitlines()) == 2
