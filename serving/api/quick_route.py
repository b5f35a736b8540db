"""The short way through FastAPI for the one route that most requests are for."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel

KEY_HEADER = "Idempotency-Key"
MOST_KEY = 200
"""Longest idempotency key, in characters."""


def is_ordinary(key: str) -> bool:
    """Whether an idempotency key needs no refusal, which FastAPI words."""
    return 0 < len(key) <= MOST_KEY


def quick_route(
    body: type[BaseModel], work: Callable[[Any, str | None, Request], Awaitable[Response]]
) -> type[APIRoute]:
    """A kind of route that reads an ordinary request itself: a valid ``body`` and at most an idempotency key go to
    ``work``. Whatever is out of the ordinary goes FastAPI's way, which says what is wrong with it."""

    class QuickRoute(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            careful = super().get_route_handler()

            async def handle(request: Request) -> Response:
                found, key = await _ordinary(body, request), request.headers.get(KEY_HEADER)
                if found is None or not (key is None or is_ordinary(key)):
                    return await careful(request)
                return await work(found, key, request)

            return handle

    return QuickRoute


async def _ordinary(body: type[BaseModel], request: Request) -> BaseModel | None:
    """What came, None where FastAPI must look at it."""
    if request.headers.get("content-type") != "application/json":
        return None
    try:
        return body.model_validate(json.loads(await request.body()))
    except (ValueError, RecursionError):  # no JSON, no UTF-8, an endless integer, or no such body
        return None
