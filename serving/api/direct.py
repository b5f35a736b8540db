"""The short way from Bento to the app."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send


class Direct:
    """ASGI middleware, the innermost around Bento's own app: what is ours goes to our app at once, without the
    context, the error handling, the router and the mount that Bento has for APIs of its own. Time and number of
    requests stay limited by Bento, which counts outside of here; its probes and everything else take its own way.
    """

    def __init__(self, app: ASGIApp, *, ours: ASGIApp) -> None:
        self._bentos = app
        self._ours = ours

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_ours = scope["type"] == "http" and (scope["path"] == "/" or scope["path"].startswith("/v1/"))
        await (self._ours if is_ours else self._bentos)(scope, receive, send)
