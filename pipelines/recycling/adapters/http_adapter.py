"""How every partner is asked over HTTP: one deadline, few retries, a circuit breaker, and failures by name.

Retried is only what may be: a question that changes nothing, a request with an idempotency key, or one that certainly
never arrived. Logged are the partner's name, the outcome and its cost; never an address's query, a header or a body.
"""

from __future__ import annotations

import json
import logging
import random
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import httpx

from pipelines.breaker import Breaker
from pipelines.recycling.adapters.outcomes import Outcome

Value = TypeVar("Value")
Sleep = Callable[[float], None]

log = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.2, 5.0
MAX_ANSWER_BYTES = 1_000_000
LONGEST_RETRY_AFTER_SECONDS = 86_400.0
MAINTENANCE_CODES = ("maintenance", "under_maintenance")
CODES_OF_ALL = (*MAINTENANCE_CODES, "too_frequent")
COUNTED_AS_DOWN = ("busy", "timeout", "unreachable", "garbled")
"""Outcomes that open the circuit. A refusal is an answer, and maintenance names its own end."""


class Misread(ValueError):
    """An answer does not have the shape that its contract names. Carries no part of it."""


@dataclass(frozen=True)
class Limits:
    """How long and how often one question is asked; seconds."""

    timeout_seconds: float = 5.0
    attempts: int = 3


@dataclass(frozen=True)
class Question:
    """One request. ``body`` may hold a secret and is never printed. ``changes_nothing``: asking twice does no harm."""

    method: str
    path: str
    body: Mapping[str, Any] | None = None
    idempotency_key: str = ""
    changes_nothing: bool = False

    def __repr__(self) -> str:
        return f"Question({self.method} {self.path})"

    @property
    def may_repeat(self) -> bool:
        return self.changes_nothing or self.method == "GET" or bool(self.idempotency_key)


class HttpAdapter:
    """One partner. ``base_url`` empty: not connected, and every outcome says so.

    ``known_codes``: refusals that the partner's contract names; any other becomes ``other``, so that no word of a body
    leaks. ``client`` is shared and stays the caller's to close.
    """

    def __init__(
        self,
        *,
        name: str,
        base_url: str,
        client: httpx.Client,
        token: str = "",
        limits: Limits = Limits(),
        known_codes: Collection[str] = (),
        breaker: Breaker | None = None,
        sleep: Sleep = time.sleep,
        rng: random.Random | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self._base_url = base_url.rstrip("/")
        self._client = client
        self._token = token
        self._limits = limits
        self._known_codes = frozenset((*known_codes, *CODES_OF_ALL))
        self._breaker = breaker or Breaker(clock=clock)
        self._sleep, self._clock = sleep, clock
        self._rng = rng or random.Random()

    def ask(self, question: Question, *, read: Callable[[Any], Value]) -> Outcome[Value]:
        """Ask until there is an answer or no sense in asking again. ``read`` makes the value of the JSON that came and
        raises Misread, KeyError, TypeError or ValueError where it cannot."""
        if not self._base_url:
            return Outcome("not_connected")
        rest = self._breaker.rest_seconds()
        if rest > 0:
            return Outcome("unreachable", retry_after_seconds=rest, code="resting")
        started = self._clock()
        outcome = self._repeated(question, read)
        if outcome.state in COUNTED_AS_DOWN:
            self._breaker.failed()
        else:
            self._breaker.succeeded()
        if not outcome.ok:
            log.warning(
                "partner %s: %s %s, %d attempts, %.0f ms",
                *(self.name, outcome.state, outcome.code, outcome.attempts, 1000 * (self._clock() - started)),
            )
        return outcome

    def _repeated(self, question: Question, read: Callable[[Any], Value]) -> Outcome[Value]:
        maybe_done = False
        outcome: Outcome[Value] = Outcome("unreachable")
        for attempt in range(1, self._limits.attempts + 1):
            outcome = self._once(question, read)
            maybe_done = maybe_done or outcome.maybe_done
            outcome = replace(outcome, attempts=attempt, maybe_done=maybe_done and not outcome.ok)
            pause = self._pause(outcome, attempt)
            may_repeat = question.may_repeat or not outcome.maybe_done
            if (
                not outcome.worth_retrying
                or pause is None
                or not may_repeat
                or attempt == self._limits.attempts
            ):
                return outcome
            self._sleep(pause)
        return outcome

    def _pause(self, outcome: Outcome[Any], attempt: int) -> float | None:
        """Seconds before the next attempt, with full jitter; None where the partner wants more patience than that."""
        if outcome.state == "maintenance":
            return None
        if outcome.retry_after_seconds is not None:
            wanted = outcome.retry_after_seconds
            return wanted if wanted <= LONGEST_PAUSE_SECONDS else None
        return self._rng.uniform(0, min(FIRST_PAUSE_SECONDS * 2 ** (attempt - 1), LONGEST_PAUSE_SECONDS))

    def _once(self, question: Question, read: Callable[[Any], Value]) -> Outcome[Value]:
        changing = not (question.changes_nothing or question.method == "GET")
        try:
            status, headers, content = self._sent(question)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol):
            return Outcome("unreachable")
        except httpx.TimeoutException:
            return Outcome("timeout", maybe_done=changing)
        except (httpx.DecodingError, httpx.RemoteProtocolError, _TooLong):
            return Outcome("garbled", maybe_done=changing)
        except (httpx.HTTPError, httpx.InvalidURL):
            return Outcome("unreachable", maybe_done=changing)
        if 200 <= status < 300:
            return _understood(content, read, changing=changing)
        return self._failure(status, headers, content, changing=changing)

    def _sent(self, question: Question) -> tuple[int, httpx.Headers, bytes]:
        """Status, headers and body. The whole exchange, a dripping body included, ends with the timeout."""
        ends = self._clock() + self._limits.timeout_seconds
        headers = {"Accept": "application/json"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        if question.idempotency_key:
            headers["Idempotency-Key"] = question.idempotency_key
        with self._client.stream(
            question.method,
            self._base_url + question.path,
            json=question.body,
            headers=headers,
            timeout=self._limits.timeout_seconds,
            follow_redirects=False,
        ) as answer:
            content = bytearray()
            for piece in answer.iter_bytes():
                content += piece
                if len(content) > MAX_ANSWER_BYTES:
                    raise _TooLong
                if self._clock() > ends:
                    raise httpx.ReadTimeout("the answer came too slowly")
            return answer.status_code, answer.headers, bytes(content)

    def _failure(
        self, status: int, headers: httpx.Headers, content: bytes, *, changing: bool
    ) -> Outcome[Any]:
        code, after = self._code(content), _retry_after(headers)
        if status == 429:
            return Outcome("busy", retry_after_seconds=after, code=code)
        if status in (408, 504):
            return Outcome("timeout", retry_after_seconds=after, maybe_done=changing)
        if status == 503 and code in MAINTENANCE_CODES:
            return Outcome("maintenance", retry_after_seconds=after, code=code)
        if status == 503:
            return Outcome("busy", retry_after_seconds=after, code=code)
        if status >= 500:
            return Outcome("busy", retry_after_seconds=after, code=f"http_{status}", maybe_done=changing)
        if 400 <= status < 500:
            return Outcome("refused", retry_after_seconds=after, code=code or f"http_{status}")
        return Outcome("garbled", code=f"http_{status}", maybe_done=changing)

    def _code(self, content: bytes) -> str:
        """The refusal's name, if the contract knows it."""
        try:
            found = json.loads(content).get("code", "")
        except (ValueError, AttributeError, RecursionError):
            return ""
        if not isinstance(found, str) or not found:
            return ""
        return found if found in self._known_codes else "other"


class _TooLong(Exception):
    """An answer larger than any that a contract names."""


def _understood(content: bytes, read: Callable[[Any], Value], *, changing: bool) -> Outcome[Value]:
    try:
        return Outcome("ok", value=read(json.loads(content)))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return Outcome("garbled", maybe_done=changing)


def _retry_after(headers: httpx.Headers) -> float | None:
    """Retry-After in seconds; a date or nonsense counts as not said."""
    try:
        seconds = float(headers.get("Retry-After", ""))
    except ValueError:
        return None
    return seconds if 0 <= seconds <= LONGEST_RETRY_AFTER_SECONDS else None
