"""Calls of payout and wallet providers over HTTP. Whoever signs them needs no key of ours."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError
from starlette.concurrency import run_in_threadpool

from pipelines.recycling.provider_callbacks import (
    Call,
    EventReused,
    Partner,
    ProviderCallbacks,
    Result,
    UnknownSubject,
)
from pipelines.recycling.provider_signature import SIGNATURE, TIMESTAMP, check_signed
from pipelines.signing import SignatureRefused
from serving.api.answers import Json
from serving.api.document import answer
from serving.api.field_types import NO_NUL
from serving.api.metrics import Metrics
from serving.api.problems import Problem
from serving.api.recycling_parts import TheFlow
from serving.api.schemas import Body

router = APIRouter(prefix="/v1/provider-callbacks", tags=["recycling"])

Id = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=NO_NUL)]
SUBJECTS: dict[Partner, str] = {"payout": "payout_id", "wallet": "collection_id"}
CALLED: dict[str, Any] = {"result": "noted"}


class Heard(Body):
    """What a call came to. noted: the provider is asked now; known: it came before; nothing_waits: the trade does not
    wait for it."""

    result: Result


class _Told(BaseModel):
    """What is read of a call; the rest of it is the provider's own answer, and is asked for."""

    model_config = ConfigDict(strict=True)

    event_id: Id
    about: Id
    state: Annotated[str, StringConstraints(max_length=32, pattern=NO_NUL)] = ""


def _asked() -> dict[str, Any]:
    headers = [
        {"name": name, "in": "header", "required": True, "schema": {"type": "string"}}
        for name in (TIMESTAMP, SIGNATURE)
    ]
    told = {
        "a payout": {"event_id": "ev-1", "payout_id": "r-01-payout-1", "state": "paid"},
        "a transfer": {"event_id": "ev-2", "collection_id": "r-01-take", "state": "done"},
    }
    examples = {title: {"value": value} for title, value in told.items()}
    content = {"application/json": {"schema": {"type": "object"}, "examples": examples}}
    return {"parameters": headers, "requestBody": {"required": True, "content": content}}


@router.post(
    "/{partner}",
    response_model=Heard,
    summary="A provider's call",
    responses=answer(
        CALLED, "callback_refused", "subject_not_found", "event_id_reused", "invalid_request", "not_recorded"
    ),
    openapi_extra=_asked(),
)
async def provider_called(partner: Partner, request: Request, flow: TheFlow) -> Response:
    """Something came of a payout (``payout_id``) or a wallet's transfer (``collection_id``). It is believed in nothing:
    the provider is asked before anything moves. Call again unless 2xx is answered: an ``event_id`` is kept once."""
    metrics: Metrics = request.app.state.metrics
    try:
        call = _checked(flow.callbacks, partner, dict(request.headers), await request.body())
        result = await run_in_threadpool(flow.callbacks.heard, call)
    except Problem as problem:
        metrics.provider_called(partner, problem.code)
        raise
    except UnknownSubject:
        metrics.provider_called(partner, "subject_not_found")
        raise Problem(404, "subject_not_found", "there is no payout or transfer with this id") from None
    except EventReused:
        metrics.provider_called(partner, "event_id_reused")
        raise Problem(409, "event_id_reused", "this event_id came with another content before") from None
    metrics.provider_called(partner, result)
    return Json({"result": result})


def _checked(callbacks: ProviderCallbacks, partner: Partner, headers: dict[str, str], body: bytes) -> Call:
    """The call, if its partner signed it a moment ago. Raises Problem."""
    try:
        check_signed(headers, body, callbacks.secrets[partner], now=callbacks.clock())
    except SignatureRefused as refusal:
        raise Problem(401, "callback_refused", f"{refusal.code}: {refusal}") from None
    try:
        said = json.loads(body)
        named = {"event_id": said["event_id"], "about": said[SUBJECTS[partner]]}
        told = _Told.model_validate(named | {"state": said.get("state", "")})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, ValidationError):
        raise Problem(422, "invalid_request", f"a call has event_id and {SUBJECTS[partner]}") from None
    return Call(partner, told.event_id, told.about, told.state)
