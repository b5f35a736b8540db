"""Looking at a card's secret over HTTP: asked by one operator, agreed to by another, seen once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Response
from pydantic import Field

from pipelines.recycling.opening import Recycling
from pipelines.recycling.reveals import RevealNotNow, RevealUnknown, state_of
from pipelines.recycling.trades import UnknownSubmission
from pipelines.recycling.vault import VaultRefusal
from pipelines.recycling.vault_rules import RevealRefused
from serving.api import reveal_examples as examples
from serving.api.answers import Json
from serving.api.document import KEYED, POSTED, answer
from serving.api.document import asked as asked_as
from serving.api.field_types import Words
from serving.api.problems import Problem
from serving.api.recycling_parts import TheAsker, TheFlow
from serving.api.repeating import Repeatable
from serving.api.schemas import Body

router = APIRouter(tags=["recycling"], route_class=Repeatable)
look_router = APIRouter(tags=["recycling"])
"""Of the answer that shows the secret, which is kept nowhere."""

T = TypeVar("T")
NOT_NOW = ("own_request", "not_yours", "not_approved", "already_shown", "already_approved", "reveal_expired")


class RevealAsked(Body):
    """Why somebody must see the secret. Neither number nor secret may stand in it."""

    reason: Annotated[Words, Field(min_length=5)]


class RevealView(Body):
    """A question to see a secret. ``state``: waiting, approved, shown or expired."""

    reveal_id: str
    submission_id: str
    state: str
    asked_by: str
    reason: str
    asked_at: datetime
    expires_at: datetime
    approved_by: str


class RevealList(Body):
    """Questions that nobody agreed to yet."""

    reveals: list[RevealView]


class RevealedCard(Body):
    """The card's codes, shown once."""

    number: str
    secret: str


@router.post(
    "/v1/submissions/{submission_id}/reveals",
    response_model=RevealView,
    summary="Ask to see a card's secret",
    responses=answer(examples.REVEAL, *POSTED, "submission_not_found", "secret_in_reason", "card_unreadable"),
    openapi_extra=asked_as(examples.ASKED),
)
def ask_reveal(submission_id: str, asked: RevealAsked, flow: TheFlow, asker: TheAsker) -> Response:
    """Another operator must agree within 15 minutes; then the one who asked looks, once."""
    roles = frozenset(role.value for role in asker.client.roles)
    work = flow.reveals.ask
    row = refused(lambda: work(submission_id, by=asker.client.id, roles=roles, reason=asked.reason))
    return Json(_view(flow, row))


@router.get(
    "/v1/reveals",
    response_model=RevealList,
    summary="Questions that wait for a second person",
    responses=answer(examples.REVEALS, "storage_unavailable"),
)
def list_reveals(flow: TheFlow, asker: TheAsker) -> Response:
    """Oldest first."""
    return Json({"reveals": [_view(flow, row) for row in flow.reveals.waiting()]})


@router.post(
    "/v1/reveals/{reveal_id}/approval",
    response_model=RevealView,
    summary="Agree that a secret is seen",
    responses=answer(
        examples.REVEAL | {"state": "approved", "approved_by": "bert"},
        *KEYED,
        "not_recorded",
        "reveal_not_found",
        "own_request",
        "already_approved",
        "already_shown",
        "reveal_expired",
    ),
)
def approve_reveal(reveal_id: str, flow: TheFlow, asker: TheAsker) -> Response:
    """By an operator who is not the one who asked. Nothing is shown to whoever agrees."""
    return Json(_view(flow, refused(lambda: flow.reveals.approve(reveal_id, by=asker.client.id))))


@look_router.post(
    "/v1/reveals/{reveal_id}/look",
    response_model=RevealedCard,
    summary="See a card's secret",
    responses=answer(
        examples.CARD, "not_recorded", "reveal_not_found", *NOT_NOW, "reveal_refused", "card_unreadable"
    ),
)
def look_at(reveal_id: str, flow: TheFlow, asker: TheAsker) -> Response:
    """For the one who asked, once, after another operator agreed. It leaves an entry in the vault's audit, one in the
    service's and a leaf of evidence before it is answered, and is kept nowhere: an ``Idempotency-Key`` changes
    nothing."""
    shown = refused(lambda: flow.reveals.look(reveal_id, by=asker.client.id))
    return Json({"number": shown.number.open(), "secret": shown.secret.open()})


def refused(work: Callable[[], T]) -> T:
    """What came of the work. Raises Problem."""
    try:
        return work()
    except RevealUnknown:
        raise Problem(404, "reveal_not_found", "there is no question with this id") from None
    except RevealNotNow as refusal:
        code = "reveal_expired" if refusal.code == "expired" else refusal.code
        raise Problem(409, code, str(refusal)) from None
    except UnknownSubmission:
        raise Problem(404, "submission_not_found", "there is no submission with this id") from None
    except RevealRefused as refusal:
        if refusal.code == "secret_in_reason":
            raise Problem(422, "secret_in_reason", str(refusal), field="reason") from None
        raise Problem(409, "reveal_refused", str(refusal)) from None
    except VaultRefusal:
        raise Problem(409, "card_unreadable", "the card was destroyed, or does not open") from None


def _view(flow: Recycling, row: Mapping[str, Any]) -> dict[str, Any]:
    names = ("reveal_id", "submission_id", "asked_by", "reason", "approved_by")
    view = {name: row[name] for name in names}
    view |= {name: row[name].isoformat() for name in ("asked_at", "expires_at")}
    return view | {"state": state_of(row, now=flow.flow.clock())}
