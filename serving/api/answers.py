"""Answers: as JSON, and given once where a request comes with an idempotency key."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any

import msgspec
from fastapi import Response
from sqlalchemy.exc import IntegrityError

from pipelines.application_data import UNDER_WAY
from serving.api.claims import Claim, ClaimHeld
from serving.api.desk import Desk, Receipt
from serving.api.problems import RETRY_SECONDS, Problem

Body = dict[str, Any]

STILL_UNDER_WAY = (
    "the first request with this Idempotency-Key is still being answered; ask again with the same key"
)


class Json(Response):
    """A body as JSON, written by msgspec: a tenth of the standard library's time."""

    media_type = "application/json"

    def __init__(
        self, body: Any, *, status_code: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(msgspec.json.encode(body), status_code=status_code, headers=headers)


def once(desk: Desk, receipt: Receipt | None, work: Callable[[datetime], Body]) -> Response:
    """Answer, or repeat the answer already given under the same idempotency key.

    Raises Problem ``idempotency_key_reused`` where the key came with another body.
    """
    found = repeated(desk, receipt)
    if found is not None:
        return found
    now = desk.clock()
    try:
        body = work(now)
        return Json(body if receipt is None else desk.remembered(receipt, body, now=now))
    except IntegrityError:
        return _answered_meanwhile(desk, receipt)


async def once_awaited(desk: Desk, receipt: Receipt | None, work: Callable[[], Awaitable[Body]]) -> Response:
    """As :func:`once`, for work that waits, and keeps its answer under the key in the transaction that does it."""
    found = repeated(desk, receipt)
    if found is not None:
        return found
    try:
        return Json(await work())
    except IntegrityError:
        return _answered_meanwhile(desk, receipt)


async def once_claimed(
    desk: Desk, receipt: Receipt | None, work: Callable[[Callable[[], None]], Awaitable[Body]]
) -> Response:
    """As :func:`once`, for work of several transactions, which one worker alone may begin. The work is handed what it
    calls between them to show that it goes on. Raises Problem ``still_under_way`` while another one does."""
    found = repeated(desk, receipt)
    if found is not None:
        return found
    try:
        if receipt is None:
            return Json(await work(lambda: None))
        with Claim.take(desk, receipt) as claim:
            return Json(claim.keep(await work(claim.go_on)))
    except IntegrityError:
        return _answered_meanwhile(desk, receipt)
    except ClaimHeld:
        found = repeated(desk, receipt)  # it may have ended since the first look
        if found is None:
            headers = {"Retry-After": RETRY_SECONDS}
            raise Problem(409, "still_under_way", STILL_UNDER_WAY, headers=headers) from None
        return found


def _answered_meanwhile(desk: Desk, receipt: Receipt | None) -> Response:
    """What another request or worker answered under the same key in between; its answer stands. Raises Problem
    ``contradiction`` where none did."""
    found = repeated(desk, receipt)
    if found is None:
        raise Problem(409, "contradiction", "this contradicts what was recorded a moment ago; ask again")
    return found


def repeated(desk: Desk, receipt: Receipt | None) -> Response | None:
    """The answer already given under an idempotency key, None where none was. Raises Problem
    ``idempotency_key_reused``."""
    found = None if receipt is None else desk.data.reply(receipt.key, receipt.route)
    if found is None or receipt is None:
        return None
    if found.request_sha256 != receipt.request_sha256:
        raise key_reused()
    if found.status == UNDER_WAY:
        return None
    return Json(found.body, status_code=found.status, headers={"Idempotent-Replay": "true"})


def key_reused() -> Problem:
    return Problem(409, "idempotency_key_reused", "this Idempotency-Key came with another body before")
