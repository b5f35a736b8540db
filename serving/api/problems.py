"""Errors of the HTTP service: RFC 9457 problem details with a stable ``code``.

A problem never repeats what was sent: a card number typed into the wrong field must not come back in an answer
or end up in a log.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import DBAPIError, InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException

log = logging.getLogger("huika")

MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = "1"
NOT_RECORDED = (
    "not_recorded",
    "this could not be recorded now and is no promise; ask again with the same key",
)
STORAGE_AWAY = ("storage_unavailable", "this cannot be read now; ask again")
RAISED_ELSEWHERE = {
    400: (
        "malformed_json",
        "the body is not JSON in UTF-8, uncompressed, with integers of at most 4,300 digits",
    ),
    404: ("not_found", "there is nothing here"),
    405: ("method_not_allowed", "this method is not allowed here"),
}
"""What FastAPI and Starlette refuse by themselves: a body they cannot read, a path they do not know."""
NOT_JSON = "send the body as JSON, with Content-Type: application/json"
UNKNOWN_FIELD = "there is no such field here; what it was called is not repeated, for it may be a secret"
INTERNAL_ERROR = "something went wrong here; it is in our log"


class Problem(Exception):
    """An expected refusal of a request. ``headers``: what the answer says beside its body."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        field: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.field = field
        self.headers = dict(headers or {})

    def body(self) -> dict[str, Any]:
        errors = [{"field": self.field, "reason": self.detail}] if self.field else []
        return problem_body(self.status, self.code, self.detail, errors)


def problem_body(
    status: int, code: str, detail: str, errors: list[dict[str, str]] | None = None
) -> dict[str, Any]:
    body: dict[str, Any] = {
        "type": f"urn:huika:problem:{code}",
        "title": code.replace("_", " "),
        "status": status,
        "code": code,
        "detail": detail,
    }
    return body | ({"errors": errors} if errors else {})


def install_problem_handlers(app: FastAPI) -> None:
    """Turn every refusal of the app into problem details."""

    async def on_problem(request: Request, problem: Exception) -> JSONResponse:
        assert isinstance(problem, Problem)
        return _response(problem.status, problem.body(), problem.headers)

    async def on_invalid(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        if (
            isinstance(error.body, bytes) and error.body
        ):  # FastAPI has read it as JSON where it was said to be
            return _response(415, problem_body(415, "not_json", NOT_JSON))
        if any(item["type"] == "json_invalid" for item in error.errors()):
            return _response(400, problem_body(400, "malformed_json", "the body is not valid JSON"))
        return _response(422, invalid_body(error.errors()))

    async def on_http(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        code, detail = RAISED_ELSEWHERE[error.status_code]
        return _response(error.status_code, problem_body(error.status_code, code, detail))

    async def on_away(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, DBAPIError | PoolTimeout)
        log.error("application database: %s", type(error.__cause__ or error).__name__)
        code, detail = STORAGE_AWAY if request.method in ("GET", "HEAD") else NOT_RECORDED
        return _response(503, problem_body(503, code, detail), {"Retry-After": RETRY_SECONDS})

    async def on_unexpected(request: Request, error: Exception) -> JSONResponse:
        return _response(500, problem_body(500, "internal_error", INTERNAL_ERROR))

    app.add_exception_handler(Exception, on_unexpected)
    for unreachable in (OperationalError, InterfaceError, InternalError, PoolTimeout):
        app.add_exception_handler(unreachable, on_away)
    app.add_exception_handler(Problem, on_problem)
    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(HTTPException, on_http)


def invalid_body(errors: Sequence[Any]) -> dict[str, Any]:
    """Problem body of pydantic errors, with nothing in it that was sent."""
    told = [{"field": _field(item), "reason": _reason(item)} for item in errors]
    return problem_body(422, "invalid_request", "a field is missing or has a wrong value", told)


def _field(item: Any) -> str:
    parts = [str(part) for part in item["loc"] if part != "body"]
    if item["type"] == "extra_forbidden":
        parts[-1:] = ["(unknown field)"]
    return ".".join(parts) or "(body)"


def _reason(item: Any) -> str:
    if item["type"].startswith("union_tag"):
        return "kind must be one of " + item["ctx"].get("expected_tags", "the known kinds")
    if item["type"] == "extra_forbidden":
        return UNKNOWN_FIELD
    return item["msg"]


def _response(status: int, body: dict[str, Any], headers: Mapping[str, str] | None = None) -> JSONResponse:
    return JSONResponse(body, status_code=status, headers=headers, media_type=MEDIA_TYPE)
