"""No request may send more than it needs to, whether it says how much comes or not."""

from __future__ import annotations

from starlette.types import Message, Receive, Scope

from serving.api.problems import Problem

MOST_DIGITS = 18
_TOO_LARGE = "the body is larger than this service takes"


async def bounded(scope: Scope, receive: Receive, *, most_bytes: int) -> Receive:
    """Read the body, at most so many bytes, and give it to the app as one message; what comes after it is handed
    through. Raises Problem ``body_too_large``; the rest of such a body is not read."""
    if _told_length(scope) > most_bytes:
        raise Problem(413, "body_too_large", _TOO_LARGE, headers={"Connection": "close"})
    message = await receive()
    if message["type"] != "http.request" or not message.get("more_body", False):
        return _first(_checked(message, most_bytes), receive)
    parts, size = [message.get("body", b"")], len(message.get("body", b""))
    while message.get("more_body", False) and size <= most_bytes:
        message = await receive()
        if message["type"] != "http.request":  # the client has gone
            return _first(message, receive)
        parts.append(message.get("body", b""))
        size += len(parts[-1])
    whole: Message = {"type": "http.request", "body": b"".join(parts), "more_body": False}
    return _first(_checked(whole, most_bytes), receive)


def _told_length(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value[:MOST_DIGITS]) if value.isdigit() else 0
    return 0


def _checked(message: Message, most_bytes: int) -> Message:
    if len(message.get("body", b"")) > most_bytes:
        raise Problem(413, "body_too_large", _TOO_LARGE, headers={"Connection": "close"})
    return message


def _first(message: Message, receive: Receive) -> Receive:
    waiting = [message]

    async def next_message() -> Message:
        return waiting.pop() if waiting else await receive()

    return next_message
