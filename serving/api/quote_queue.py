"""Submissions that arrive while others are being answered are answered together: one read, one evaluation of the models
and one write for all of them."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from serving.api.desk import Asking, Desk

AT_ONCE = 16
"""Quotes answered together: enough to share most of the work, few enough that nobody waits long for the others."""

LINGER_SECONDS = 0.001
REMEMBERED = 8
"""When several came together in one of the last few parts, quotes wait for others as long as another one comes within
each such moment. What comes alone is answered at once."""


@dataclass(frozen=True)
class _Waiting:
    desk: Desk
    asked: Asking
    answer: asyncio.Future[dict[str, Any]]


@dataclass
class QuoteQueue:
    """The submissions that wait for an answer, in the order they came. One for each worker's event loop."""

    _waiting: deque[_Waiting] = field(default_factory=deque)
    _sizes: deque[int] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    _call: asyncio.Handle | None = None

    async def quote(self, desk: Desk, asked: Asking) -> dict[str, Any]:
        """As :meth:`Desk.quote`, together with whatever else is waiting for the same desk."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[dict[str, Any]] = loop.create_future()
        self._waiting.append(_Waiting(desk, asked, answer))
        self._call_soon(loop)
        return await answer

    def _call_soon(self, loop: asyncio.AbstractEventLoop) -> None:
        """Answer in the next turn of the loop, or in a moment where more are expected."""
        come_alone = max(self._sizes, default=1) == 1
        if come_alone or len(self._waiting) >= AT_ONCE:
            if self._call is not None:
                self._call.cancel()
            self._call = loop.call_soon(self._answer_next, loop)
        elif self._call is None:
            self._call = loop.call_later(LINGER_SECONDS, self._look_again, loop, len(self._waiting))

    def _look_again(self, loop: asyncio.AbstractEventLoop, seen: int) -> None:
        """Wait on while more are coming: reading a request takes about as long as one moment."""
        if len(self._waiting) > seen:
            self._call = loop.call_later(LINGER_SECONDS, self._look_again, loop, len(self._waiting))
        else:
            self._answer_next(loop)

    def _answer_next(self, loop: asyncio.AbstractEventLoop) -> None:
        self._call = None
        part = self._next_part()
        if not part:
            return
        self._sizes.append(len(part))
        desk = part[0].desk
        try:
            answers = desk.quote_all([item.asked for item in part], now=desk.clock())
        except Exception as error:
            answers = [error] * len(part)
        for item, answer in zip(part, answers, strict=True):
            _give(item.answer, answer)
        if self._waiting:
            self._call_soon(loop)

    def _next_part(self) -> list[_Waiting]:
        """The next submissions for one desk, without those whose client has gone."""
        part: list[_Waiting] = []
        while self._waiting and len(part) < AT_ONCE:
            if part and self._waiting[0].desk is not part[0].desk:
                break
            item = self._waiting.popleft()
            if not item.answer.done():
                part.append(item)
        return part


def _give(waiting: asyncio.Future[dict[str, Any]], answer: dict[str, Any] | Exception) -> None:
    if waiting.done():
        return
    if isinstance(answer, Exception):
        waiting.set_exception(answer)
    else:
        waiting.set_result(answer)
