"""Errors of the HTTP service: RFC 9457 problem details with a stable ``code``.

A problem never repeats what was sent: a card number typed into the wrong field must not come back in an answer
or end up in a log.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

MEDIA_TYPE = "application/problem+json"


class Problem(Exception):
    """An expected refusal of a request."""

    def __init__(self, status: int, code: str, detail: str, *, field: str | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.field = field

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
        return _response(problem.status, problem.body())

    async def on_invalid(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        if any(item["type"] == "json_invalid" for item in error.errors()):
            return _response(400, problem_body(400, "malformed_json", "the body is not valid JSON"))
        return _response(422, invalid_body(error.errors()))

    async def on_http(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "request_refused")
        return _response(error.status_code, problem_body(error.status_code, code, str(error.detail)))

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
    return ".".join(parts)


def _reason(item: Any) -> str:
    if item["type"].startswith("union_tag"):
        return "kind must be one of " + item["ctx"].get("expected_tags", "the known kinds")
    return item["msg"]


def _response(status: int, body: dict[str, Any]) -> JSONResponse:
    return JSONResponse(body, status_code=status, media_type=MEDIA_TYPE)
