"""No request may send more than it needs to, nor take longer over it, whether it says how much comes or not."""

from __future__ import annotations

import asyncio

from starlette.types import Message, Receive, Scope

from serving.api.problems import Problem

MOST_DIGITS = 18
BODY_SECONDS = 10.0
"""Within which a request's body must have come, where its route does not say otherwise."""
LAST_RESORT_SECONDS = 600
"""After which Bento gives a request up, in words of its own. Nothing takes so long: a photo may come for a minute, wait
for four others and be read for a minute, the first one for three; every other wait is shorter."""


async def bounded(scope: Scope, receive: Receive, *, most_bytes: int, seconds: float) -> Receive:
    """Read the body, at most so many bytes in at most so many seconds, and give it to the app as one message; what
    comes after it is handed through. Raises Problem ``body_too_large`` or ``body_too_slow``, where the rest of the body
    is not read, and ``client_gone``, which nobody hears."""
    if _told_length(scope) > most_bytes:
        raise _too_large()
    try:
        async with asyncio.timeout(seconds):
            body = await _read(receive, most_bytes)
    except TimeoutError:
        detail = f"the body did not come within {seconds:g} seconds"
        raise Problem(408, "body_too_slow", detail, headers={"Connection": "close"}) from None
    return _first({"type": "http.request", "body": body, "more_body": False}, receive)


async def _read(receive: Receive, most_bytes: int) -> bytes:
    parts: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise Problem(499, "client_gone", "the client hung up before its request had come")
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        more = message.get("more_body", False)
        if size > most_bytes:
            raise _too_large()
    return b"".join(parts)


def _told_length(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value[:MOST_DIGITS]) if value.isdigit() else 0
    return 0


def _too_large() -> Problem:
    detail = "the body is larger than this service takes"
    return Problem(413, "body_too_large", detail, headers={"Connection": "close"})


def _first(message: Message, receive: Receive) -> Receive:
    waiting = [message]

    async def next_message() -> Message:
        return waiting.pop() if waiting else await receive()

    return next_message
