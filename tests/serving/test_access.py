"""A stranger gets nothing, and everybody else what the role table says."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from fastapi.testclient import TestClient

from pipelines.access_data import AccessData, AuditRow
from pipelines.application_data import ApplicationData
from pipelines.settings import Access
from serving.api.access.keys import KeyBook, new_key
from serving.api.access.role_words import WORDS, restricted, roles_table
from serving.api.access.roles import EVENTS, TABLE, Role, RouteTable
from serving.api.schemas import Event
from tests.serving.clients import UNLIMITED, app_of, asking, code, headers_of, one_of_each_role, send

P, R, D, O, A = Role  # noqa: E741
EVERYBODY = {None, *Role}
MAY: dict[tuple[str, str], set[Role | None]] = {
    ("POST", "/v1/quotes"): {P, A},
    ("POST", "/v1/quotes/batch"): {P, A},
    ("GET", "/v1/quotes/{quote_id}"): {P, R, O, A},
    ("GET", "/v1/quotes/{quote_id}/explanation"): {R, A},
    ("POST", "/v1/fraud-scores"): {P, R, A},
    ("POST", "/v1/events"): {P, R, O, A},
    ("GET", "/v1/models"): {D, O, A},
    ("GET", "/v1/prices"): EVERYBODY,
    ("GET", "/v1/prices/{card_type}/history"): EVERYBODY,
    ("GET", "/v1/keys"): EVERYBODY,
    ("POST", "/v1/submissions"): {P, A},
    ("POST", "/v1/submissions/lots"): {P, A},
    ("GET", "/v1/submissions"): {R, O, A},
    ("GET", "/v1/submissions/{submission_id}"): {P, R, O, A},
    ("GET", "/v1/submissions/{submission_id}/receipt"): {P, R, O, A},
    ("POST", "/v1/submissions/{submission_id}/acceptance"): {P, A},
    ("POST", "/v1/submissions/{submission_id}/refusal"): {P, A},
    ("POST", "/v1/submissions/{submission_id}/cancellation"): {P, A},
    ("POST", "/v1/submissions/{submission_id}/renewal"): {P, A},
    ("POST", "/v1/submissions/{submission_id}/review"): {P, A},
    ("POST", "/v1/submissions/{submission_id}/decisions"): {R, O, A},
    ("POST", "/v1/submissions/{submission_id}/complaints"): {P, R, O, A},
    ("POST", "/v1/submissions/{submission_id}/judgement"): {R, A},
    ("POST", "/v1/submissions/photos"): {P, A},
    ("POST", "/v1/submissions/photos/{photo_id}/confirmation"): {P, A},
    ("POST", "/v1/submissions/{submission_id}/answer"): {P, R, O, A},
    ("GET", "/v1/submissions/{submission_id}/dispute"): {P, R, O, A},
    ("GET", "/v1/submissions/{submission_id}/evidence"): {R, O, A},
    ("GET", "/v1/disputes"): {R, O, A},
    ("POST", "/v1/submissions/{submission_id}/reveals"): {O, A},
    ("GET", "/v1/reveals"): {O, A},
    ("POST", "/v1/reveals/{reveal_id}/approval"): {O, A},
    ("POST", "/v1/reveals/{reveal_id}/look"): {O, A},
    ("GET", "/v1/books/breaks"): {O, A},
    ("POST", "/v1/books/breaks/settlement"): {O, A},
    ("GET", "/v1/callbacks"): {P, O, A},
    ("POST", "/v1/callbacks/{callback_id}/replay"): {P, O, A},
    ("POST", "/v1/provider-callbacks/{partner}"): EVERYBODY,
    ("GET", "/v1/recycling/numbers"): {R, O, A},
    ("GET", "/"): EVERYBODY,
    ("GET", "/livez"): EVERYBODY,
    ("GET", "/healthz"): EVERYBODY,
    ("GET", "/readyz"): EVERYBODY,
    ("GET", "/docs.json"): EVERYBODY,
    ("GET", "/metrics"): {O, A},
}
"""Who may ask for what, None being a stranger; written down here a second time on purpose."""

CLOSED = UNLIMITED.model_copy(update={"public_prices": False, "public_docs": False})
OPENED = UNLIMITED.model_copy(update={"public_metrics": True})
WHAT_IS_LEFT = "/v1/{path:path}"
"""The route that says that there is nothing."""


def routes(app: FastAPI) -> set[tuple[str, str]]:
    """All routes of the app, those of its routers too."""
    told = set()
    for route in app.router.routes:
        inner = getattr(route, "original_router", None)
        for one in [route] if inner is None else inner.routes:
            told |= {(method, one.path) for method in one.methods or ()}  # type: ignore[attr-defined]
    return {(method, path) for method, path in told if method != "HEAD" and path != WHAT_IS_LEFT}


def test_every_route_has_a_row():
    """A route that somebody adds without saying who may call it fails here, and nobody can call it."""
    rows = {(row.method, row.path) for row in TABLE}
    assert len(rows) == len(TABLE)
    found = routes(app_of(None))
    assert ("GET", "/v1/keys") in found
    assert found <= rows
    assert rows == set(MAY)


def test_the_table_holds_for_every_route_and_role(service):
    """Each role, and a stranger, passes exactly where it may; others get 401 or 403 with a stable code."""
    for (method, path), allowed in MAY.items():
        for role in (None, *Role):
            response = send(service, method, path, role)
            passed = response.status_code not in (401, 403)
            assert passed == (role in allowed), (method, path, role, response.text)
            if role is None and not passed:
                assert code(response) == (401, "not_authenticated")
                assert response.headers["www-authenticate"] == 'Bearer realm="huika"'
            elif not passed:
                assert code(response) == (403, "not_allowed")


def test_what_is_public_can_be_closed_and_opened():
    """The price board and the description are closed, and the metrics opened, by settings."""
    with asking(one_of_each_role(CLOSED)) as client:
        for path in ("/v1/prices", "/v1/prices/jd_ecard/history", "/docs.json"):
            assert send(client, "GET", path, None).status_code == 401
            assert all(send(client, "GET", path, role).status_code not in (401, 403) for role in Role)
        assert send(client, "GET", "/livez", None).status_code == 404  # Bento's, let through
    with asking(one_of_each_role(OPENED)) as client:
        assert send(client, "GET", "/metrics", None).status_code not in (401, 403)


def test_a_stranger_learns_nothing_of_what_there_is(service):
    """Without credentials a path that does not exist answers as one that does; with them it is 404, or 405 with what
    is allowed. A route that no row names is not reached by anybody."""
    app = service.app

    @app.get("/v1/new")
    async def new() -> dict[str, str]:
        return {"secret": "shown"}

    for path in ("/v1/new", "/v1/nothing", "/schema.json", "/v1/quotes/", "//v1/quotes"):
        assert code(send(service, "GET", path, None)) == (401, "not_authenticated")
        assert code(send(service, "GET", path, Role.ADMIN)) == (404, "not_found"), path
    refused = send(service, "DELETE", "/v1/quotes/q-1", Role.ADMIN)
    assert code(refused) == (405, "method_not_allowed")
    assert refused.headers["allow"] == "GET"


def test_without_access_control_nobody_is_answered():
    """An app whose lifespan set none refuses everything."""
    with asking(None) as client:
        assert code(send(client, "GET", "/v1/prices", Role.ADMIN)) == (503, "not_ready")


def test_bento_is_guarded_too():
    """What Bento serves beside our app asks for the same credentials; its own pages are reached by nobody."""
    from serving.api.service import Huika, app

    app.state.access = one_of_each_role()
    try:
        client = TestClient(Huika.to_asgi(), raise_server_exceptions=False)
        for path in ("/livez", "/healthz", "/"):
            assert client.get(path).status_code == 200
        assert send(client, "GET", "/metrics", None).status_code == 401
        assert send(client, "GET", "/metrics", Role.PRICING_CLIENT).status_code == 403
        assert send(client, "POST", "/v1/quotes", None).status_code == 401
        for path in ("/schema.json", "/static_content/index.html", "/v1/nothing"):
            assert send(client, "GET", path, None).status_code == 401
            assert code(send(client, "GET", path, Role.ADMIN)) == (404, "not_found")
        failed = send(client, "GET", "/v1/prices", Role.ADMIN)  # there is no desk
        assert code(failed) == (500, "internal_error")
    finally:
        del app.state.access


def test_every_kind_of_event_says_who_may_tell_it():
    """The kinds of the contract are those of the table."""
    kinds = {option.model_fields["kind"].annotation.__args__[0] for option in Event.__args__[0].__args__}  # type: ignore[attr-defined]
    assert kinds == set(EVENTS)


def test_the_readme_says_what_each_role_may():
    """Its table is made from the routes' own; every route and kind of event that is not for all is in it once,
    under words that are true for the same roles."""
    told = [name for names in WORDS.values() for name in names]
    assert sorted(told) == sorted(restricted())
    assert all(len({restricted()[name] for name in names}) == 1 for names in WORDS.values())
    assert roles_table() in (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def test_apps_do_not_tell_what_prices_learn_from(service, audit):
    """A pricing client tells what sellers decided, but no market rate, resale or label."""
    event = {"kind": "market_observed", "event_id": "e-1", "happened_at": "2026-03-01T00:00:00Z"}
    event |= {"card_type": "jd_ecard", "source": "x", "side": "buyer_bid", "rate": 1.2}
    told = service.post("/v1/events", json=event, headers=headers_of(Role.PRICING_CLIENT))
    assert code(told) == (403, "not_allowed")
    service.app.state.access.audit.flush()
    assert [row.object_id for row in audit] == ["market_observed"]
    allowed = service.post("/v1/events", json=event, headers=headers_of(Role.OPERATOR))
    assert allowed.status_code == 500  # let in; there is no desk


def test_only_a_whole_key_opens():
    """A wrong secret, another key's secret, an unknown id and half a key open nothing; what is kept is no secret."""
    now = datetime(2026, 3, 1, tzinfo=UTC)
    key, kept = new_key(name="a", roles=[Role.ADMIN], now=now)
    other, other_kept = new_key(name="b", roles=[Role.OPERATOR], now=now)
    book = KeyBook(lambda: [kept, other_kept])
    assert book.client(key) is None
    book.refresh()
    client = book.client(key)
    assert client is not None
    assert (client.id, client.credential, client.roles) == ("a", kept.key_id, {Role.ADMIN})
    mixed = kept.key_id + "_" + other.split("_", 2)[2]
    for wrong in (key[:-1], key + "x", mixed, kept.key_id, kept.key_id + "_", "hk_", "hk__", "hk_é_é"):
        assert book.client(wrong) is None
    assert key.split("_", 2)[2] not in repr(kept)


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer ", "Basic YTpi", "hk_1_2", "Bearer hk_1_2", "Bearer x.y.z", "Bearer \xff"],
)
def test_what_is_no_credential_is_refused(service, header):
    """Nothing that is sent in place of a key or token lets anybody in or breaks anything."""
    headers = {"Authorization": header.encode("latin-1")}
    response = service.post("/v1/quotes", headers=headers, json={})  # type: ignore[arg-type]
    assert code(response) == (401, "not_authenticated")


def test_a_revoked_key_opens_nothing_after_the_next_look(tmp_path):
    """A key that was ended in the database stops when the keys are read anew; one that was added starts."""
    data = AccessData.open(ApplicationData(f"sqlite:///{tmp_path / 'huika.db'}"))
    now = datetime(2026, 3, 1, tzinfo=UTC)
    key, kept = new_key(name="site", roles=[Role.PRICING_CLIENT], now=now)
    book = KeyBook(data.all_keys)
    row = AuditRow(at=now, client_id="local:x", roles="", action="key_added", object_id=kept.key_id)
    data.add_key(kept, audit=row)
    book.refresh()
    assert book.client(key) is not None
    data.revoke_keys([kept.key_id], at=now, audit=[row])
    book.refresh()
    assert book.client(key) is None
    assert [key.revoked_at for key in data.all_keys()] == [now]
    with data.data.transaction() as connection:
        stored = json.dumps(
            [list(map(str, row)) for row in connection.execute(sa.text("SELECT * FROM api_keys"))]
        )
    assert key.split("_", 2)[2] not in stored


def test_answers_for_a_client_are_kept_by_no_cache(service):
    """What a client is told is not stored on the way; public answers may be."""
    assert send(service, "POST", "/v1/quotes", P).headers["cache-control"] == "no-store"
    assert "cache-control" not in send(service, "GET", "/", None).headers
    assert send(service, "GET", "/", None).headers["x-content-type-options"] == "nosniff"


def test_a_path_finds_its_row_whatever_stands_in_it():
    """Exact paths win over patterns; HEAD counts as GET; an empty id is none."""
    table = RouteTable()
    for method, path, wanted in (
        ("GET", "/v1/quotes/batch", "/v1/quotes/{quote_id}"),
        ("POST", "/v1/quotes/batch", "/v1/quotes/batch"),
        ("HEAD", "/v1/prices", "/v1/prices"),
        ("GET", "/v1/quotes/", None),
        ("GET", "/v1/quotes/a/b", None),
        ("POST", "/v1/prices", None),
        ("GET", "", None),
    ):
        row, _ = table.find(method, path)
        assert (None if row is None else row.path) == wanted, (method, path)


def test_settings_that_cannot_be_meant_are_refused():
    """An issuer without published keys, and keys fetched over plain HTTP, are no settings."""
    with pytest.raises(ValueError, match="needs jwks_url or jwks_file"):
        Access(issuer="https://id.example.com")
    with pytest.raises(ValueError, match="https"):
        Access(issuer="https://id.example.com", jwks_url="http://id.example.com/keys")
    assert Access(issuer="x", jwks_url="http://127.0.0.1:9/keys").jwks_url
