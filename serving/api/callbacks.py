"""Callbacks over HTTP: what a client was told or is to be told of its trades, and telling it again."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from fastapi import APIRouter, Response

from pipelines.recycling import callback_outbox as outbox
from pipelines.recycling.callback_outbox import CallbackState
from serving.api import submission_examples as examples
from serving.api.answers import Json
from serving.api.document import KEYED, answer
from serving.api.problems import Problem
from serving.api.recycling_parts import TheAsker, TheFlow
from serving.api.repeating import Repeatable
from serving.api.schemas import Body

router = APIRouter(prefix="/v1/callbacks", tags=["recycling"], route_class=Repeatable)


class CallbackView(Body):
    """One callback. ``state``: waiting, sent or dead; ``trade_state``: what it tells; ``problem``: of the last attempt,
    empty where it was heard; ``due_at``: of the next one, null where there is none."""

    callback_id: str
    submission_id: str
    trade_state: str
    state: CallbackState
    attempts: int
    problem: str
    created_at: datetime
    due_at: datetime | None
    sent_at: datetime | None


class CallbackList(Body):
    """Callbacks, newest first."""

    callbacks: list[CallbackView]


@router.get(
    "",
    response_model=CallbackList,
    summary="Callbacks",
    responses=answer(examples.CALLBACKS, "invalid_request"),
)
def list_callbacks(flow: TheFlow, asker: TheAsker, state: CallbackState | None = None) -> Response:
    """The newest 200 callbacks, of one state or all: a client's own, for operators everybody's."""
    own = "" if asker.client.is_staff else asker.client.id
    with flow.engine.connect() as connection:
        rows = outbox.kept(connection, state=state or "", client_id=own)
    return Json({"callbacks": [_view(row) for row in rows]})


@router.post(
    "/{callback_id}/replay",
    response_model=CallbackView,
    summary="Send a callback again",
    responses=answer(
        examples.CALLBACKS["callbacks"][0],
        "callback_not_found",
        "callback_waiting",
        *KEYED,
        "not_recorded",
    ),
)
def replay_callback(callback_id: str, flow: TheFlow, asker: TheAsker) -> Response:
    """Send one that is dead or was heard once more, from the first attempt on and under the same id."""
    unknown = Problem(404, "callback_not_found", "there is no callback with this id")
    with flow.engine.begin() as connection:
        try:
            if not asker.client.may_touch(outbox.one(connection, callback_id)["client_id"]):
                raise unknown
            row = outbox.replay(connection, callback_id, now=flow.flow.clock())
        except outbox.UnknownCallback:
            raise unknown from None
        except outbox.NotDead:
            raise Problem(409, "callback_waiting", "this callback waits to be sent already") from None
    return Json(_view(row))


def _view(row: Mapping[str, Any]) -> dict[str, Any]:
    waits = row["state"] == "waiting"
    return {
        **{name: row[name] for name in ("callback_id", "submission_id", "state", "attempts", "problem")},
        "trade_state": row["body"]["state"],
        "created_at": row["created_at"].isoformat(),
        "due_at": row["due_at"].isoformat() if waits else None,
        "sent_at": None if row["sent_at"] is None else row["sent_at"].isoformat(),
    }
