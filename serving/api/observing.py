"""Counts, times and traces every request, around everything else that the app does."""

from __future__ import annotations

import json
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.api.metrics import Metrics
from serving.api.problems import MEDIA_TYPE

OTHER = "other"
"""The route of requests that no route of the contract matched: what they asked for must not become a label."""

INTERNAL_ERROR = "internal_error"
"""The code of an answer to an error that nobody expected."""

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

_EVERYTHING = "{path:path}"
"""How the template ends of a route that takes what no other did."""

_PROBLEM_HEADER = (b"content-type", MEDIA_TYPE.encode())


class Observing:
    """ASGI middleware. It takes the metrics from ``app.state.metrics``, which the lifespan sets; an app without them
    is not observed."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        metrics: Metrics | None = None
        if scope["type"] == "http":
            metrics = getattr(scope["app"].state, "metrics", None)
        if metrics is None:
            await self._app(scope, receive, send)
            return
        await self._observed(metrics, scope, receive, send)

    async def _observed(self, metrics: Metrics, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.perf_counter()
        answer = _Answer(metrics, send)
        span = metrics.tracing.open_request(scope["headers"])
        try:
            await self._app(scope, receive, answer.send)
        except Exception:  # the answer is made outside of here
            metrics.problem(INTERNAL_ERROR)
            raise
        finally:
            method, route = _method(scope), _route(scope)
            seconds = time.perf_counter() - began
            metrics.request(method=method, route=route, status=answer.status, seconds=seconds)
            if span is not None:
                attributes = {
                    "http.request.method": method,
                    "http.route": route,
                    "http.response.status_code": answer.status,
                }
                span.close(failed=answer.status >= 500, name=f"{method} {route}", attributes=attributes)


class _Answer:
    """Hears what is sent: the status, and the code of a problem."""

    __slots__ = ("_is_problem", "_metrics", "_send", "status")

    def __init__(self, metrics: Metrics, send: Send) -> None:
        self._metrics = metrics
        self._send = send
        self._is_problem = False
        self.status = 500

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self._is_problem = self.status >= 400 and _PROBLEM_HEADER in message["headers"]
        elif self._is_problem and message["type"] == "http.response.body":
            self._is_problem = False
            self._metrics.problem(json.loads(message["body"])["code"])
        await self._send(message)


def _method(scope: Scope) -> str:
    return scope["method"] if scope["method"] in METHODS else OTHER


def _route(scope: Scope) -> str:
    """The template of the route that took the request."""
    path = getattr(scope.get("route"), "path", OTHER)
    return OTHER if path.endswith(_EVERYTHING) else path
