"""The OpenAPI document: complete, true of the service, and its examples work when pasted."""

from __future__ import annotations

import ast
import logging
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, settings
from pydantic import TypeAdapter
from schemathesis.specs.openapi.checks import (
    allow_header_conformance,
    ignored_auth,
    positive_data_acceptance,
)

from pipelines.workspace import Workspace
from serving.api import dispute_schemas, examples, photo_schemas, schemas, submission_schemas
from serving.api.access.roles import Role
from serving.api.app import create_app
from serving.api.degraded import DEGRADED, OF_SCORES
from serving.api.document import CODES, SECURITY
from serving.api.explanations import QuoteExplanation
from serving.api.problem_schema import ProblemDetails
from serving.api.problems import MEDIA_TYPE
from serving.api.quote_words import QUOTE
from serving.api.wiring import lifespan
from serving.commands.access import make_key

API = Path(__file__).parents[2] / "serving" / "api"
EXAMPLES = 12
"""Requests that schemathesis makes up for each operation and kind of test."""

NEED_SOMETHING = ("/v1/books/breaks/settlement",)
"""Asked about something that must be there, which no other example makes."""

ANSWERS = {
    "post_quote": schemas.Quote,
    "post_quotes": schemas.QuoteBatchAnswer,
    "get_quote": schemas.Quote,
    "get_explanation": QuoteExplanation,
    "post_score": schemas.FraudScore,
    "post_event": schemas.EventReceipt,
    "get_prices": schemas.PriceBoard,
    "get_price_history": schemas.PriceHistory,
    "submit": submission_schemas.SubmissionView,
    "submit_lot": submission_schemas.LotAnswer,
    "list_submissions": submission_schemas.SubmissionList,
    "read_submission": submission_schemas.SubmissionView,
    "accept": submission_schemas.SubmissionView,
    "read_photo": photo_schemas.PhotoView,
    "confirm_photo": submission_schemas.SubmissionView,
    "read_dispute": dispute_schemas.DisputeView,
    "list_disputes": dispute_schemas.DisputeList,
    "judge": submission_schemas.SubmissionView,
}


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """Method, path and operation of everything in the document."""
    return [
        (method.upper(), path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


@pytest.fixture
def document(client: TestClient) -> dict[str, Any]:
    return client.get("/docs.json").json()


def test_every_operation_is_told_in_full(document):
    """A summary, a description, an example of the answer, and of the request where there is one."""
    assert document["openapi"].startswith("3.1")
    for _, path, operation in operations(document):
        assert operation["summary"], path
        assert operation["description"], path
        body = operation.get("requestBody", {"content": {}})["content"]
        if "application/json" in body:
            assert body["application/json"]["examples"], path
        answer = operation["responses"]["200"]["content"].get("application/json", {})
        if operation["operationId"] in ANSWERS:
            assert answer["example"], path


def test_every_request_example_is_answered(client, clock, document):
    """Pasted in the order they stand in the document, all of them get an answer."""
    posted = 0
    for _, path, operation in operations(document):
        body = operation.get("requestBody", {"content": {}})["content"].get("application/json")
        if (
            body is None or "{" in path or path in NEED_SOMETHING
        ):  # what is about one trade needs one in the right state: test_submissions
            continue
        for title, example in body["examples"].items():
            clock.forward(seconds=10)
            response = client.post(path, json=example["value"])
            assert response.status_code == 200, (path, title, response.text)
            posted += 1
    assert posted >= 13


def test_every_answer_example_is_one(document):
    """The examples of answers are what the service's own models take."""
    for _, path, operation in operations(document):
        kind = ANSWERS.get(operation["operationId"])
        if kind is not None:
            example = operation["responses"]["200"]["content"]["application/json"]["example"]
            TypeAdapter(kind).validate_python(example, strict=False)
            assert path
    assert sum(step["amount_fen"] for step in examples.QUOTE["waterfall"]) == 45_245


def test_every_refusal_is_told_with_its_code(document):
    """Each problem stands under its status, as problem details with the code that it is shown for."""
    for _, path, operation in operations(document):
        for status, response in operation["responses"].items():
            if status == "200":
                continue
            shown = response["content"][MEDIA_TYPE]["examples"]
            for code, example in shown.items():
                problem = ProblemDetails.model_validate(example["value"])
                assert (problem.code, str(problem.status)) == (code, status), path


def test_every_code_that_the_service_can_answer_with_is_in_the_document():
    """A code in the service's source has its status and an example."""
    used = {
        (call.args[1].value, call.args[0].value)
        for file in API.rglob("*.py")
        for call in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call)
        and getattr(call.func, "id", "") in ("Problem", "problem_body")
        and len(call.args) > 1
        and isinstance(call.args[0], ast.Constant)
        and isinstance(call.args[1], ast.Constant)
    }
    assert {code for code, _ in used} - set(CODES) == set()
    elsewhere = {("unknown_card_type", 404)}  # a path that names nothing
    assert {pair for pair in used if CODES[pair[0]][0] != pair[1]} - elsewhere == set()


def test_who_may_ask_is_described(client, document):
    """Routes that are closed name the bearer scheme, and a stranger is refused there as the document says."""
    assert document["components"]["securitySchemes"] == SECURITY
    for method, path, operation in operations(document):
        if operation.get("security") == [{"bearer": []}]:
            refused = client.request(method, path, headers={"Authorization": ""})
            assert refused.status_code == 401, path
            assert refused.json()["code"] in operation["responses"]["401"]["content"][MEDIA_TYPE]["examples"]


class Service:
    """The app that is asked: the document is read before there is one.

    It hides from schemathesis that it can be started, which would start the whole service again for each operation."""

    app: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            await self.app(scope, receive, send)


@asynccontextmanager
async def nothing_opened(app: FastAPI) -> AsyncIterator[None]:
    yield


SERVICE = Service()
CONTRACT = schemathesis.openapi.from_dict(create_app(nothing_opened).openapi())
CONTRACT.app = SERVICE


@pytest.fixture(scope="module")
def logs_as_before() -> Iterator[None]:
    """A service sets up its own log; other tests read it as it was."""
    log = logging.getLogger("huika")
    before = log.handlers[:], log.propagate, log.level
    yield
    log.handlers[:], log.propagate = before[:2]
    log.setLevel(before[2])


@pytest.fixture(scope="module")
def administrator(
    prepared_home: Path, tmp_path_factory: pytest.TempPathFactory, logs_as_before: None
) -> Iterator[dict[str, str]]:
    """A whole service on a workspace of its own, as it really starts; the headers of somebody who may do everything."""
    home = tmp_path_factory.mktemp("contract") / "home"
    shutil.copytree(prepared_home, home)
    key = make_key(Workspace.open(home), name="test", roles=[Role.ADMIN], now=datetime.now(UTC))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HUIKA_HOME", str(home))
        patch.setenv("HUIKA_ACCESS__REQUESTS_PER_SECOND", "0")
        SERVICE.app = create_app(lifespan)
        with TestClient(SERVICE.app):
            yield {"Authorization": f"Bearer {key}"}


@CONTRACT.parametrize()
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
def test_whatever_is_asked_the_answer_is_in_the_contract(case, administrator):
    """Made-up requests, right and wrong, get no server error, and answers that the document describes."""
    left_out = [
        ignored_auth,  # that strangers are refused is shown above: here the key is added to every request
        positive_data_acceptance,  # what is well-formed may still be impossible, such as a moment long past
    ]
    if case.path in ("/v1/quotes/batch", "/v1/submissions/lots", "/v1/submissions/photos"):
        left_out.append(
            allow_header_conformance
        )  # GET asks there for what has the id "batch", "lots" or "photos", and may
    case.call_and_validate(headers=administrator, excluded_checks=left_out)


def test_what_a_quote_means_is_told_beside_each_field(document):
    """What decides whether anything is bought, and for how much, has its words; `decision` points at `no_offer`."""
    told = {
        name: field.get("description", "")
        for name, field in document["components"]["schemas"]["Quote"]["properties"].items()
    }
    assert all(told[name] for name in (*QUOTE, "degraded"))
    assert "`no_offer`" in told["decision"]
    assert "whatever `decision` says" in told["no_offer"]


def test_what_an_answer_may_lack_is_told(document):
    """Every code of `degraded` stands in the document with its meaning, and no other; fraud scores lack no price."""
    told = {
        name: document["components"]["schemas"][name]["properties"]["degraded"]
        for name in ("Quote", "FraudScore")
    }
    for name, codes in (("Quote", DEGRADED), ("FraudScore", OF_SCORES)):
        assert set(told[name]["items"]["enum"]) == set(codes)
        assert all(f"`{code}`: {DEGRADED[code]}" in told[name]["description"] for code in codes)
