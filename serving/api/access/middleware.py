"""The guard: who asks, whether they may, how often and how much; and one log line of what came of it.

It stands around the app, and once more around Bento, whose own routes lie outside the app.
"""

from __future__ import annotations

import itertools
import logging
import secrets
import time

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import State
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.api.access.body import BODY_SECONDS, bounded
from serving.api.access.control import AccessControl
from serving.api.access.roles import KEY_PREFIX, PROBES, Client, Row
from serving.api.access.tokens import TokenRefused
from serving.api.problems import INTERNAL_ERROR, MEDIA_TYPE, Problem, problem_body

log = logging.getLogger("huika")

CLIENT = "client"
"""Where a request's :class:`Client` stands in ``request.state``; None for a stranger."""

NO_ROUTE = "(none)"
KIB = 1_024

_WITH_BODY = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_METHODS = _WITH_BODY | {"GET", "HEAD", "OPTIONS"}
_NOSNIFF = (b"x-content-type-options", b"nosniff")
_NO_STORE = (b"cache-control", b"no-store")


class Guard:
    """ASGI middleware around the app. ``state``: the app's, in which the lifespan sets ``access``; until it has, every
    request is refused."""

    def __init__(self, app: ASGIApp, *, state: State) -> None:
        self._app = app
        self._state = state
        self._numbers = itertools.count()
        self._process = secrets.token_hex(5)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        if scope["type"] != "http":
            return await send({"type": "websocket.close", "code": 1008})
        held = scope.setdefault("state", {})
        if CLIENT in held:  # the outer guard has decided
            return await self._app(scope, receive, send)
        access: AccessControl | None = getattr(self._state, "access", None)
        answer = _Answer(send, request_id=f"{self._process}{next(self._numbers):08x}")
        try:
            if access is None:
                raise Problem(503, "not_ready", "the service is starting")
            held["request_id"] = answer.request_id
            held[CLIENT] = await _admitted(access, answer, scope)
            if scope["method"] in _WITH_BODY:
                most_kb = answer.body_kb or access.settings.max_body_kb
                seconds = answer.body_seconds or BODY_SECONDS
                receive = await bounded(scope, receive, most_bytes=most_kb * KIB, seconds=seconds)
            await self._app(scope, receive, answer.send)
        except Problem as problem:
            await _refuse(problem, answer, scope, receive)
        finally:
            if access is not None:
                access.requests.write(
                    request_id=answer.request_id,
                    method=scope["method"] if scope["method"] in _METHODS else "other",
                    route=answer.route,
                    status=answer.status,
                    seconds=time.perf_counter() - answer.began,
                    client_id=answer.client_id,
                )
        return None


class OuterGuard:
    """ASGI middleware around Bento: guards what is not the app's, which guards itself, and lets no error out whose
    message could end up in a log."""

    def __init__(self, app: ASGIApp, *, state: State) -> None:
        self._app = app
        self._guarded = Guard(app, state=state)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        ours = scope["type"] == "http" and (path == "/" or path.startswith("/v1/"))
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        answer = _Answer(send, request_id="")
        try:
            await (self._app if ours else self._guarded)(scope, receive, answer.send_as_is)
        except Exception:
            known = {"request_id": scope.get("state", {}).get("request_id", "")}
            log.exception("a request failed", extra={"facts": known})
            if not answer.begun:
                body = problem_body(500, "internal_error", INTERNAL_ERROR)
                await JSONResponse(body, status_code=500, media_type=MEDIA_TYPE)(scope, receive, send)
        return None


class _Answer:
    """What is sent, and what is known of it."""

    __slots__ = (
        "_send",
        "began",
        "begun",
        "body_kb",
        "body_seconds",
        "client_id",
        "private",
        "request_id",
        "route",
        "status",
    )

    def __init__(self, send: Send, *, request_id: str) -> None:
        self._send = send
        self.request_id = request_id
        self.began = time.perf_counter()
        self.begun = False
        self.body_kb = 0
        self.body_seconds = 0.0
        self.client_id = ""
        self.private = True
        self.route = NO_ROUTE
        self.status = 500

    async def send(self, message: Message) -> None:
        """Send, with the request's id and what browsers must know."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = [*message.get("headers", ()), _NOSNIFF, (b"x-request-id", self.request_id.encode())]
            if self.private:
                headers.append(_NO_STORE)
            message["headers"] = headers
        await self._send(message)

    async def send_as_is(self, message: Message) -> None:
        self.begun = True
        await self._send(message)


async def _admitted(access: AccessControl, answer: _Answer, scope: Scope) -> Client | None:
    """Whoever asks, if they may; None for a stranger on an open route. Raises Problem."""
    row, object_id = access.table.find(scope["method"], scope["path"])
    is_open = row is not None and access.is_open(row)
    if row is not None:
        answer.route, answer.private, answer.body_kb = row.path, not is_open, row.body_kb
        answer.body_seconds = row.body_seconds
        if row.path in PROBES:
            return None
    client, refused = await _known(access, scope)
    if client is None:
        access.limits.check_stranger((scope.get("client") or ("",))[0])
        if is_open:
            return None
        access.audit.deny(None, route=answer.route, object_id=object_id, outcome="not_authenticated")
        raise _not_authenticated(refused)
    answer.client_id = client.credential
    access.limits.check_client(client)
    if row is None:
        raise _nothing_there(access, scope)
    if not is_open and not row.roles & client.roles:
        access.audit.deny(client, route=row.path, object_id=object_id, outcome="not_allowed")
        raise Problem(403, "not_allowed", "no role of yours may do this")
    if row.audit:
        await _written_down(access, client, row, object_id)
    return client


async def _known(access: AccessControl, scope: Scope) -> tuple[Client | None, str]:
    """Who asks, and why credentials that came were not believed."""
    for name, value in scope["headers"]:
        if name == b"authorization":
            scheme, _, text = value.decode("latin-1").partition(" ")
            text = text.strip()
            if scheme.lower() != "bearer" or not text:
                return None, "send Authorization: Bearer with a key or a token"
            if text.startswith(KEY_PREFIX):
                return access.keys.client(text), "the key is not valid"
            try:
                return await access.tokens.client(text), ""
            except TokenRefused as refusal:
                return None, str(refusal)
    return None, ""


async def _written_down(access: AccessControl, client: Client, row: Row, object_id: str) -> None:
    """Nothing is revealed that could not be written down first. Raises Problem ``audit_unavailable``."""
    try:
        await run_in_threadpool(
            access.audit.reveal, client, action=row.audit, route=row.path, object_id=object_id
        )
    except Exception:
        log.exception("the audit trail could not be written; nothing was revealed")
        raise Problem(503, "audit_unavailable", "this cannot be shown now; try again later") from None


def _not_authenticated(refused: str) -> Problem:
    challenge = 'Bearer realm="huika"' + (', error="invalid_token"' if refused else "")
    detail = refused or "send Authorization: Bearer with a key or a token"
    return Problem(401, "not_authenticated", detail, headers={"WWW-Authenticate": challenge})


def _nothing_there(access: AccessControl, scope: Scope) -> Problem:
    methods = access.table.methods(scope["path"])
    if not methods:
        return Problem(404, "not_found", "there is nothing here")
    allow = {"Allow": ", ".join(methods)}
    return Problem(405, "method_not_allowed", "this method is not allowed here", headers=allow)


async def _refuse(problem: Problem, answer: _Answer, scope: Scope, receive: Receive) -> None:
    response = JSONResponse(
        problem.body(), status_code=problem.status, headers=dict(problem.headers), media_type=MEDIA_TYPE
    )
    await response(scope, receive, answer.send)
