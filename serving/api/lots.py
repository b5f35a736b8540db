"""Lots of cards over HTTP: a CSV file of which each line is a submission of its own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from pipelines.recycling.intake import IntakeRefused, Offered
from pipelines.recycling.lots import FILE_WORDS, LotRefused, read_lot
from pipelines.recycling.opening import Recycling
from serving.api import submission_examples as examples
from serving.api.answers import Json
from serving.api.bodies import money
from serving.api.document import KEYED, answer
from serving.api.problems import Problem
from serving.api.recycling_parts import TheAsker, TheFlow
from serving.api.repeating import Repeatable, id_by_key
from serving.api.submission_schemas import LotAnswer, LotQuery

LOT_BODY = {
    "requestBody": {
        "required": True,
        "content": {"text/csv": {"schema": {"type": "string"}, "example": examples.LOT_FILE}},
    },
}

router = APIRouter(tags=["recycling"], route_class=Repeatable)


@router.post(
    "/v1/submissions/lots",
    response_model=LotAnswer,
    summary="Submit a lot of cards",
    responses=answer(examples.LOT, *KEYED, "not_recorded", *FILE_WORDS),
    openapi_extra=LOT_BODY,
)
async def submit_lot(
    request: Request, flow: TheFlow, asker: TheAsker, lot: Annotated[LotQuery, Query()]
) -> Response:
    """Up to 500 cards as CSV (UTF-8 or GB18030); each line succeeds or fails alone. The first line names the columns,
    in any order: ``card_type`` 卡种 (our id or the Chinese name), ``number`` 卡号, ``secret`` 卡密, ``face_value_cny``
    面值 (yuan, as 500 or 500.00) and, where known, ``expires_on`` 有效期 (as 2028-12-31)."""
    id_of = partial(id_by_key, request)
    take = partial(_take_lot, flow, await request.body(), lot, by=asker.client.id, id_of=id_of)
    return Json(await run_in_threadpool(take))


def _take_lot(
    flow: Recycling, content: bytes, asked_for: LotQuery, *, by: str, id_of: Callable[..., str]
) -> dict[str, Any]:
    try:
        lot = read_lot(content, catalogue=flow.intake.catalogue)
    except LotRefused as refusal:
        raise Problem(422, str(refusal.code), str(refusal)) from None
    lines = [_problem_line(item.row, item.field, item.reason, item.words()) for item in lot.problems]
    for card in lot.cards:
        asked = {
            "card": {"card_type": card.card_type, "face_value": money(card.face_value_fen)},
            "seller": {"seller_id": asked_for.seller_id},
        }
        if card.expires_on is not None:
            asked["card"]["expires_on"] = card.expires_on.isoformat()
        offered = Offered(
            card.number,
            card.secret,
            asked,
            asked_for.payee_ref,
            asked_for.channel,
            submission_id=id_of(row=card.row),
        )
        try:
            row = flow.intake.submit(offered, by=by)
        except IntakeRefused as refusal:
            lines.append(_problem_line(card.row, refusal.field, refusal.code, ("未收", str(refusal))))
        else:
            lines.append({"row": card.row, "submission_id": row["submission_id"]})
    taken = sum("submission_id" in line for line in lines)
    return {"taken": taken, "lines": sorted(lines, key=lambda line: line["row"])}


def _problem_line(row: int, field: str, code: str, words: tuple[str, str]) -> dict[str, Any]:
    return {"row": row, "field": field, "code": code, "zh": words[0], "en": words[1]}
