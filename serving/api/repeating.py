"""Requests of the recycling flow under an idempotency key: done once, and answered again with the answer given first.

What is kept is the answer, which holds nothing secret, and a digest of the request under the vault's key: a request may
hold a card's secret, and a short one could be found from a digest that anybody can work out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

import msgspec
from fastapi import Depends, Header, Request, Response
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool

from pipelines.recycling.blind_index import BlindIndex
from pipelines.recycling.opening import Recycling
from serving.api.access.asking import asker_of
from serving.api.answers import once, repeated
from serving.api.desk import Desk, Receipt
from serving.api.problems import Problem
from serving.api.quick_route import KEY_HEADER, MOST_KEY, is_ordinary

IdempotencyKey = Annotated[str | None, Header(alias=KEY_HEADER, min_length=1, max_length=MOST_KEY)]
RECEIPT = "receipt"
"""Where a request's :class:`Receipt` stands in ``request.state``, where it came with a key."""


def _checked(key: IdempotencyKey = None) -> None:
    """Tells the header in the document, and refuses one that is empty or too long."""


class Repeatable(APIRoute):
    """A kind of route whose POSTs are answered once for each idempotency key, as :func:`serving.api.answers.once` does
    it. Not for answers that hold a secret."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **settings: Any) -> None:
        if "POST" in settings["methods"]:
            settings["dependencies"] = [*(settings.get("dependencies") or ()), Depends(_checked)]
        super().__init__(path, endpoint, **settings)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        careful = super().get_route_handler()

        async def handle(request: Request) -> Response:
            key = request.headers.get(KEY_HEADER)
            if request.method != "POST" or key is None or not is_ordinary(key):
                return await careful(request)
            receipt = await _receipt(request, key)
            setattr(request.state, RECEIPT, receipt)
            return await _once(request, receipt, careful)

        return handle


async def _once(
    request: Request, receipt: Receipt, careful: Callable[[Request], Coroutine[Any, Any, Response]]
) -> Response:
    desk: Desk = request.app.state.desk
    found = await run_in_threadpool(repeated, desk, receipt)
    if found is not None:
        return found
    try:
        response = await careful(request)
    except Problem as problem:
        # Whoever came at the same time under this key may have done it: then that answer is ours.
        found = await run_in_threadpool(repeated, desk, receipt) if problem.status == 409 else None
        if found is None:
            raise
        return found
    body = msgspec.json.decode(response.body)
    return await run_in_threadpool(once, desk, receipt, lambda now: body)


async def _receipt(request: Request, key: str) -> Receipt:
    content = request.url.query.encode() + b"\n" + await request.body()
    digest = _index(request).digest(content)
    return Receipt(key=asker_of(request).own(key), route=request.url.path, request_sha256=digest)


def id_by_key(request: Request, *, row: int = 0) -> str:
    """The id of what a request submits, where it names none itself: the same for the same idempotency key, also where
    the first answer was never kept; empty without a key. row: of a lot."""
    receipt: Receipt | None = getattr(request.state, RECEIPT, None)
    if receipt is None:
        return ""
    named = json.dumps([receipt.key, receipt.route, row]).encode()
    return f"r-{_index(request).digest(named)[:32]}"


def _index(request: Request) -> BlindIndex:
    opened: Recycling = request.app.state.recycling
    return opened.intake.vault.index
