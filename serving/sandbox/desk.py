"""The counter that every request of the sandbox passes: it is written down, may fail or wait, and is then answered."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from serving.sandbox.scenarios import (
    COMMON,
    DEFAULT_HANG_SECONDS,
    MAINTENANCE_SECONDS,
    BadScenario,
    Scenario,
    from_header,
    last_two,
    strikes,
)

Sleep = Callable[[float], Awaitable[None]]
Answer = dict[str, Any]
MAX_LOG, MAX_BODY_BYTES = 10_000, 65_536
UNNAMED = ("number", "secret")
"""Fields of a body that the log does not keep."""


class Refused(Exception):
    """The partner refuses: a status and its own name of the reason."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status = status
        self.code = code


@dataclass
class Desk:
    """State that all partners of one sandbox share. ``log`` holds what was asked, without numbers and secrets."""

    seed: int
    sleep: Sleep
    hang_seconds: float = DEFAULT_HANG_SECONDS
    scenario: Scenario = field(default_factory=Scenario)
    log: list[dict[str, Any]] = field(default_factory=list)
    asked: Counter[str] = field(default_factory=Counter)
    rng: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)

    async def serve(
        self,
        request: Request,
        *,
        partner: str,
        about: str,
        body: Mapping[str, Any],
        work: Callable[[], Answer],
    ) -> Response:
        """Answer one request. ``about``: the number, reference or id whose last digits choose what happens."""
        try:
            scenario = from_header(request.headers.get("X-Sandbox", ""), base=self.scenario)
        except BadScenario as error:
            return problem(400, "bad_scenario", detail=str(error))
        trouble = COMMON.get(last_two(about), "")
        key = f"{partner} {request.method} {request.url.path} {about}"
        self.asked[key] += 1
        response = await self._answered(scenario, trouble, first=self.asked[key] == 1, work=work)
        self._write_down(request, partner=partner, body=body, trouble=trouble, status=response.status_code)
        await self.sleep(self.hang_seconds if trouble == "hang" else scenario.hang)
        return response

    async def _answered(
        self, scenario: Scenario, trouble: str, *, first: bool, work: Callable[[], Answer]
    ) -> Response:
        await self.sleep(2.0 if trouble == "slow" else scenario.slow)
        failure = self._failure(scenario, trouble, first=first)
        if failure == "gateway_timeout":  # done, but the answer is lost on its way
            _done(work)
        return _failed(failure) if failure else _done(work)

    def _failure(self, scenario: Scenario, trouble: str, *, first: bool) -> str:
        if scenario.maintenance:
            return "maintenance"
        if trouble == "busy_once":
            return "busy" if first else ""
        if trouble in ("busy", "maintenance", "garbled", "error"):
            return trouble
        return scenario.fail if scenario.fail and strikes(scenario.share, rng=self.rng) else ""

    def _write_down(
        self, request: Request, *, partner: str, body: Mapping[str, Any], trouble: str, status: int
    ) -> None:
        shown = {name: value for name, value in body.items() if name not in UNNAMED}
        entry = {
            "partner": partner,
            "method": request.method,
            "path": request.url.path,
            "body": shown,
            "idempotency_key": request.headers.get("Idempotency-Key", ""),
            "trouble": trouble,
            "status": status,
        }
        if len(self.log) < MAX_LOG:
            self.log.append(entry)


async def body_of(request: Request) -> dict[str, Any]:
    """The request's JSON object. Raises Refused."""
    content = await request.body()
    if len(content) > MAX_BODY_BYTES:
        raise Refused(413, "too_large")
    try:
        found = await request.json()
    except (ValueError, RecursionError):
        raise Refused(400, "not_json") from None
    if not isinstance(found, dict):
        raise Refused(400, "not_an_object")
    return found


def text_in(body: Mapping[str, Any], name: str) -> str:
    """A text of the body that must be there. Raises Refused."""
    found = body.get(name)
    if not isinstance(found, str) or not 0 < len(found) <= 200:
        raise Refused(422, "format_error")
    return found


def fen_in(body: Mapping[str, Any], name: str) -> int:
    """A positive amount of the body. Raises Refused."""
    found = body.get(name)
    if type(found) is not int or found <= 0:
        raise Refused(422, "format_error")
    return found


def problem(status: int, code: str, *, retry_after: int | None = None, detail: str = "") -> Response:
    """A refusal as problem details (RFC 9457)."""
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    content = {"title": code.replace("_", " "), "status": status, "code": code}
    content |= {"detail": detail} if detail else {}
    return JSONResponse(content, status, headers=headers, media_type="application/problem+json")


def _done(work: Callable[[], Answer]) -> Response:
    try:
        return JSONResponse(work())
    except Refused as refusal:
        return problem(refusal.status, refusal.code)


def _failed(failure: str) -> Response:
    if failure == "busy":
        return problem(429, "too_frequent", retry_after=1)
    if failure == "maintenance":
        return problem(503, "maintenance", retry_after=MAINTENANCE_SECONDS)
    if failure == "garbled":
        return PlainTextResponse("<html><body>系统升级中 ...", 200, media_type="text/html")
    if failure == "refused":
        return problem(403, "unauthorised")
    if failure == "gateway_timeout":
        return PlainTextResponse("upstream request timeout", 504)
    return PlainTextResponse("Internal Server Error", 500)
