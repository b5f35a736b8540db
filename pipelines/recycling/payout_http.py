"""A payout provider over HTTP. What is certain is said; everything else is :class:`Unknown` and asked about later.

    POST /payouts                  Idempotency-Key: payout_id    {payout_id, channel, account_ref, amount_fen, name_ref}
    GET  /payouts/{payout_id}
    GET  /statements/{day}?channel=…                             CSV or JSON

The first two answer ``{"payout_id", "amount_fen", "state", "provider_ref", "reason"}`` with a state of ``paid``,
``processing`` or ``refused``; a payout that the provider never heard of is 404 with ``{"code": "payout_not_found"}``. A
refusal counts only where it is said in that form: an error page in front of the provider says nothing about money.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, get_args
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipelines.breaker import Breaker, Patience
from pipelines.recycling.accounts import Channel
from pipelines.recycling.payouts import (
    Accepted,
    Found,
    NeverHeard,
    NotSent,
    Refused,
    Submission,
    Unknown,
)
from pipelines.recycling.statements import StatementLine, parse_statement

PATIENCE = Patience(failures=3, first_rest=2.0, longest_rest=30.0)
"""Three tries that found nobody, or three payouts without an answer: then the channel is left alone."""
AT_ONCE, ROOM_SECONDS = 8, 1.0
"""Requests on their way in one channel, and how long another waits for its turn: a channel that hangs holds up no more
than those, and nothing of the others."""
CROWDED_SECONDS = 5.0
"""After which whoever found no place may look again."""
TRIES = 3
"""How often a question is asked, and a payout whose request could not leave is tried, within one call."""
MAX_BYTES = 16 << 20
NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
"""Failures before a single byte of the request is on its way."""


class ProviderUnavailable(RuntimeError):
    """The provider gives no answer that can be used; the message says why, without its address."""


class _Said(BaseModel):
    """An answer about a payout."""

    model_config = ConfigDict(strict=True)

    payout_id: str
    amount_fen: int
    state: Literal["paid", "processing", "refused"]
    provider_ref: str = Field(default="", max_length=128)
    reason: str = Field(default="", max_length=64)


@dataclass(frozen=True)
class HttpPayouts:
    """A :class:`pipelines.recycling.payouts.PayoutProvider`.

    client: with the provider's address, credentials and timeouts; see :func:`http_payouts`. answer_seconds: after which
    an answer that is still arriving is given up. clock: seconds, monotonic; pause: waits so many seconds.
    room_seconds: how long a request waits for a place among those of its channel.
    """

    client: httpx.Client
    answer_seconds: float
    clock: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep
    room_seconds: float = ROOM_SECONDS
    breakers: Mapping[Channel, Breaker] = field(init=False)
    _room: Mapping[Channel, threading.Semaphore] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        channels: tuple[Channel, ...] = get_args(Channel)
        breakers = {channel: Breaker(patience=PATIENCE, clock=self.clock) for channel in channels}
        object.__setattr__(self, "breakers", breakers)
        object.__setattr__(self, "_room", {channel: threading.Semaphore(AT_ONCE) for channel in channels})

    def submit(
        self, *, payout_id: str, channel: Channel, account_ref: str, amount_fen: int, name_ref: str
    ) -> Submission:
        body = {"payout_id": payout_id, "channel": channel, "account_ref": account_ref}
        body |= {"amount_fen": amount_fen, "name_ref": name_ref}
        request = {"json": body, "headers": {"Idempotency-Key": payout_id}}
        with self._turn(channel) as (why_not, seconds):
            if why_not:
                return NotSent(why_not, rest_seconds=seconds)
            for number in range(TRIES):
                self._rest_before(number)
                try:
                    status, text = self._send(channel, "POST", "payouts", about=payout_id, **request)
                except NOT_SENT:
                    continue
                except httpx.HTTPError as error:
                    return Unknown(_word(error))
                found = self._said(status, text, payout_id=payout_id, amount_fen=amount_fen)
                return Unknown("never_heard_on_submit") if isinstance(found, NeverHeard) else found
        return NotSent("unreachable")

    def query(self, payout_id: str, *, channel: Channel, amount_fen: int) -> Found:
        word, path = "no_answer", f"payouts/{quote(payout_id, safe='')}"
        with self._turn(channel) as (why_not, seconds):
            if why_not:
                return Unknown(why_not, rest_seconds=seconds)
            for number in range(TRIES):
                self._rest_before(number)
                try:
                    status, text = self._send(channel, "GET", path, about=payout_id)
                except httpx.HTTPError as error:
                    word = _word(error)
                    continue
                return self._said(status, text, payout_id=payout_id, amount_fen=amount_fen)
        return Unknown(word)

    @contextmanager
    def _turn(self, channel: Channel) -> Iterator[tuple[str, float]]:
        """A place among the requests of a channel: why there is none, or empty, and when there may be, in seconds."""
        room, rest = self._room[channel], self.breakers[channel].rest_seconds()
        if rest:
            yield "left_alone", rest
        elif not room.acquire(timeout=self.room_seconds):
            yield "crowded", CROWDED_SECONDS
        else:
            try:
                yield "", 0.0
            finally:
                room.release()

    def statement(self, day: str, *, channel: Channel) -> list[StatementLine]:
        """The payments of a day in China. Raises ProviderUnavailable, StatementError."""
        word = "left_alone"
        for number in range(0 if self.breakers[channel].rest_seconds() else TRIES):
            self._rest_before(number)
            try:
                path = f"statements/{quote(day, safe='')}"
                status, text = self._send(channel, "GET", path, about=path, params={"channel": channel})
            except httpx.HTTPError as error:
                word = _word(error)
                continue
            if status == 200:
                return parse_statement(text)
            word = f"status_{status}"
        raise ProviderUnavailable(f"no statement of {day} for {channel}: {word}")

    def _rest_before(self, number: int) -> None:
        if number:
            self.pause(0.1 * 2**number)

    def _send(
        self, channel: Channel, method: str, path: str, *, about: str, **request: Any
    ) -> tuple[int, str]:
        """Status and text. Raises httpx.HTTPError; failures of the transport or the server open the breaker."""
        breaker = self.breakers[channel]
        try:
            status, text = self._exchange(method, path, **request)
        except NOT_SENT:
            breaker.failed()
            raise
        except httpx.HTTPError:
            breaker.failed(about=about)
            raise
        if status >= 500 or status == 429:
            breaker.failed(about=about)
        else:
            breaker.succeeded()
        return status, text

    def _exchange(self, method: str, path: str, **request: Any) -> tuple[int, str]:
        end, parts, size = self.clock() + self.answer_seconds, [], 0
        with self.client.stream(method, path, **request) as response:
            for part in response.iter_bytes():
                size += len(part)
                if self.clock() > end:
                    raise httpx.ReadTimeout("the answer does not come to an end")
                if size > MAX_BYTES:
                    raise httpx.DecodingError("the answer is too large")
                parts.append(part)
        return response.status_code, b"".join(parts).decode("utf-8", errors="replace")

    def _said(
        self, status: int, text: str, *, payout_id: str, amount_fen: int
    ) -> Accepted | Refused | Unknown | NeverHeard:
        """What an answer about a payout means; only what is said of this payout and amount counts."""
        try:
            found = json.loads(text)
        except ValueError:
            return Unknown(f"not_understood_{status}")
        if status == 404 and isinstance(found, dict) and found.get("code") == "payout_not_found":
            return NeverHeard()
        try:
            said = _Said.model_validate(found)
        except ValidationError:
            return Unknown(f"not_understood_{status}")
        if (said.payout_id, said.amount_fen) != (payout_id, amount_fen):
            return Unknown("about_another_payout")
        if said.state == "refused":
            certain = status == 200 or 400 <= status < 500
            return Refused(said.reason or "refused") if certain else Unknown(f"refused_with_{status}")
        if status not in (200, 201, 202):
            return Unknown(f"{said.state}_with_{status}")
        return Accepted(said.provider_ref, paid=said.state == "paid")


def http_payouts(*, url: str, token: str, timeout_seconds: float) -> HttpPayouts:
    """The provider at an address. No proxies of the environment and no redirects: money goes to one place only."""
    client = httpx.Client(
        base_url=url,
        headers={"Authorization": f"Bearer {token}"} if token else {},
        timeout=httpx.Timeout(timeout_seconds, connect=min(timeout_seconds, 3.0)),
        trust_env=False,
        follow_redirects=False,
    )
    return HttpPayouts(client, answer_seconds=2 * timeout_seconds)


def _word(error: httpx.HTTPError) -> str:
    return "timeout" if isinstance(error, httpx.TimeoutException) else "connection_lost"
