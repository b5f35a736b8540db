"""Breaks of the reconciliation over HTTP: settled by two people who are logged in."""

from __future__ import annotations

from typing import Any, Literal

import sqlalchemy as sa
from fastapi import APIRouter, Response
from pydantic import Field

from pipelines.recycling.break_resolving import (
    BreakId,
    BreakRefused,
    break_id_of,
    proposals,
    settle_break,
)
from pipelines.recycling.ledger_model import LedgerRefusal
from pipelines.recycling.reconciling import open_breaks
from pipelines.transactions import in_transaction
from serving.api.answers import Json
from serving.api.bodies import money
from serving.api.document import POSTED, answer
from serving.api.document import asked as asked_as
from serving.api.field_types import NO_NUL, Words
from serving.api.problems import Problem
from serving.api.recycling_parts import TheAsker, TheFlow
from serving.api.repeating import Repeatable
from serving.api.schemas import Body, Money

router = APIRouter(prefix="/v1/books/breaks", tags=["recycling"], route_class=Repeatable)

NAME = "alipay/2026-10-03/duplicate/r-0123456789abcdef0123456789abcdef-payout-1"
BREAK: dict[str, Any] = {
    "name": NAME,
    "kind": "duplicate",
    "ours": {"amount_fen": 45_245, "currency": "CNY"},
    "theirs": {"amount_fen": 90_490, "currency": "CNY"},
    "proposed_to": "",
    "proposed_by": "",
    "reason": "",
}
SETTLED: dict[str, Any] = {"name": NAME, "is_booked": False}
ASKED: dict[str, Any] = {
    "paid twice": {"name": NAME, "to": "suspense", "reason": "the provider paid twice and takes it back"}
}


class BreakView(Body):
    """Something that a provider's statement does not agree with, and what was proposed about it."""

    name: str
    kind: str
    ours: Money
    theirs: Money
    proposed_to: str
    proposed_by: str
    reason: str


class BreakList(Body):
    """What nobody settled yet, by day."""

    breaks: list[BreakView]


class Settlement(Body):
    """How to settle a break. ``to``: where the difference goes until it is explained, or since it is lost."""

    name: str = Field(min_length=1, max_length=200, pattern=NO_NUL)
    to: Literal["suspense", "losses"]
    reason: Words


class Settled(Body):
    """``is_booked``: two people said the same; else the first one proposed."""

    name: str
    is_booked: bool


@router.get(
    "",
    response_model=BreakList,
    summary="What statements do not agree with",
    responses=answer({"breaks": [BREAK]}, "storage_unavailable"),
)
def list_breaks(flow: TheFlow, asker: TheAsker) -> Response:
    """Found by ``huika books reconcile`` and not settled yet."""
    with flow.engine.connect() as connection:
        found, proposed = open_breaks(connection), proposals(connection)
    told = []
    for row in found:
        name = break_id_of(row).text
        said = proposed.get(name, {"target": "", "proposed_by": "", "reason": ""})
        told.append(
            {
                "name": name,
                "kind": row["kind"],
                "ours": money(row["ours_fen"]),
                "theirs": money(row["theirs_fen"]),
                "proposed_to": said["target"],
                "proposed_by": said["proposed_by"],
                "reason": said["reason"],
            }
        )
    return Json({"breaks": told})


@router.post(
    "/settlement",
    response_model=Settled,
    summary="Settle a break",
    responses=answer(
        SETTLED, *POSTED, "break_not_found", "second_person", "payout_open", "bad_target", "books_refuse"
    ),
    openapi_extra=asked_as(ASKED),
)
def settle(asked: Settlement, flow: TheFlow, asker: TheAsker) -> Response:
    """The first person proposes, another one who says the same books the correction and closes the break."""

    def work(connection: sa.Connection) -> bool:
        return settle_break(
            connection,
            BreakId.parse(asked.name),
            target=asked.to,
            reason=asked.reason,
            by=asker.client.id,
            now=flow.flow.clock(),
        )

    try:
        done = in_transaction(flow.engine, work)
    except BreakRefused as refusal:
        status = {"break_not_found": 404, "bad_target": 422}.get(refusal.code, 409)
        raise Problem(status, refusal.code, str(refusal)) from None
    except LedgerRefusal:
        raise Problem(409, "books_refuse", "an account has not enough for the correction") from None
    return Json({"name": asked.name, "is_booked": done})
