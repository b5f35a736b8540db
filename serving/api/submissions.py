"""The recycling flow over HTTP: sellers' wishes and people's decisions. What the machine owes them is the worker's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter, Query, Request, Response

from pipelines.recycling.charges import charges_of_trade
from pipelines.recycling.dispute_tables import awarded_fen
from pipelines.recycling.flow import expires_on
from pipelines.recycling.intake import IntakeRefused, Offered
from pipelines.recycling.opening import Recycling
from pipelines.recycling.people import DecisionRefused
from pipelines.recycling.review_queue import Queued, listed, reviews_left
from pipelines.recycling.secret import Secret
from pipelines.recycling.states import STATES, ForbiddenMove
from pipelines.recycling.trades import MovedMeanwhile, UnknownSubmission, steps_of
from serving.api import submission_examples as examples
from serving.api.access.asking import Asker
from serving.api.answers import Json, key_reused
from serving.api.bodies import money
from serving.api.document import CODES_OF_CARD, KEYED, POSTED, answer
from serving.api.document import asked as asked_as
from serving.api.problems import Problem
from serving.api.recycling_parts import TheAsker, TheFlow
from serving.api.repeating import Repeatable, id_by_key
from serving.api.submission_schemas import (
    Acceptance,
    Decision,
    Listed,
    NewSubmission,
    SubmissionList,
    SubmissionView,
)

MOST_LISTED = 200
OFFERED = ("card_known", "submission_reused", "too_many_wrong_secrets")
"""Why a card that is well formed is not taken."""
ABOUT_ONE = ("submission_not_found", "wrong_state", "moved_meanwhile", *KEYED, "not_recorded")
"""Why a wish about one trade is refused."""
STATUS = {"submission_reused": 409, "card_known": 409, "quote_replaced": 409, "quote_expired": 409}
STATUS |= {"bad_claim": 422, "bad_award": 422, "sent_back": 409, "too_many_wrong_secrets": 429}

router = APIRouter(prefix="/v1/submissions", tags=["recycling"], route_class=Repeatable)

Row = Mapping[str, Any]


@router.post(
    "",
    response_model=SubmissionView,
    summary="Submit a card",
    responses=answer(examples.SUBMISSION, *POSTED, *CODES_OF_CARD, *OFFERED, "unknown_card_type"),
    openapi_extra=asked_as(examples.NEW),
)
def submit(asked: NewSubmission, request: Request, flow: TheFlow, asker: TheAsker) -> Response:
    """Take a card for sale. It is checked and quoted in the background; read it until it is ``quoted``. A card whose
    trade ended without its being bought may be submitted anew, corrected; one that was refused waits for a person
    (``/review``)."""
    offered = _offered(asked, submission_id=asked.submission_id or id_by_key(request))
    try:
        return answered(flow, lambda: flow.intake.submit(offered, by=asker.client.id))
    except Problem as problem:
        if problem.code == "submission_reused" and asked.submission_id is None:
            raise key_reused() from None
        raise


@router.get(
    "",
    response_model=SubmissionList,
    summary="Trades in a state",
    responses=answer(examples.LIST, "unknown_state", "invalid_request"),
)
def list_submissions(flow: TheFlow, asker: TheAsker, asked: Annotated[Listed, Query()]) -> Response:
    """The queue of a state, for whoever decides: where a person is needed, those first at which a look saves most."""
    state = asked.state
    if state not in STATES:
        raise Problem(422, "unknown_state", f"a state is one of {', '.join(STATES)}", field="state")
    now = flow.flow.clock()
    with flow.engine.connect() as connection:
        found = listed(connection, state=state, now=now, most=MOST_LISTED)
        views = [_view(connection, one.row) | _weighed(one) for one in found]
        left = reviews_left(connection, per_day=flow.reviews_per_day, now=now)
    return Json({"submissions": views, "reviews_left_today": left})


@router.get(
    "/{submission_id}",
    response_model=SubmissionView,
    summary="A trade as it stands",
    responses=answer(examples.SUBMISSION, "submission_not_found"),
)
def read_submission(submission_id: str, flow: TheFlow, asker: TheAsker) -> Response:
    """Its state, its quote, what it waits for, and every step it took."""
    check_own(flow, asker, submission_id)
    return answered(flow, lambda: _read(flow, submission_id))


@router.post(
    "/{submission_id}/acceptance",
    response_model=SubmissionView,
    summary="Accept the quote",
    responses=answer(
        examples.SUBMISSION,
        *POSTED,
        "submission_not_found",
        "wrong_state",
        "moved_meanwhile",
        "quote_replaced",
        "quote_expired",
    ),
    openapi_extra=asked_as(examples.ACCEPTANCE),
)
def accept(submission_id: str, asked: Acceptance, flow: TheFlow, asker: TheAsker) -> Response:
    """The seller accepts: the payout is reserved, the card verified once more and taken over, and the money sent."""
    check_own(flow, asker, submission_id)
    return answered(
        flow, lambda: flow.intake.accept(submission_id, quote_id=asked.quote_id, by=asker.client.id)
    )


@router.post(
    "/{submission_id}/refusal",
    response_model=SubmissionView,
    summary="Decline the quote",
    responses=answer(examples.SUBMISSION, *ABOUT_ONE),
)
def decline(submission_id: str, flow: TheFlow, asker: TheAsker) -> Response:
    """The seller does not want the quote."""
    check_own(flow, asker, submission_id)
    return answered(flow, lambda: flow.intake.decline(submission_id, by=asker.client.id))


@router.post(
    "/{submission_id}/cancellation",
    response_model=SubmissionView,
    summary="Take the card back",
    responses=answer(examples.SUBMISSION, *ABOUT_ONE),
)
def cancel(submission_id: str, flow: TheFlow, asker: TheAsker) -> Response:
    """Before it was accepted."""
    check_own(flow, asker, submission_id)
    return answered(flow, lambda: flow.intake.cancel(submission_id, by=asker.client.id))


@router.post(
    "/{submission_id}/renewal",
    response_model=SubmissionView,
    summary="Ask for a new quote",
    responses=answer(
        examples.SUBMISSION,
        *ABOUT_ONE,
        "card_known",
        "sent_back",
    ),
)
def ask_again(submission_id: str, flow: TheFlow, asker: TheAsker) -> Response:
    """In place of a quote that lapsed."""
    check_own(flow, asker, submission_id)
    return answered(flow, lambda: flow.intake.ask_again(submission_id, by=asker.client.id))


@router.post(
    "/{submission_id}/review",
    response_model=SubmissionView,
    summary="Ask for a person",
    responses=answer(
        examples.SUBMISSION,
        *ABOUT_ONE,
        "card_known",
        "sent_back",
    ),
)
def ask_person(submission_id: str, flow: TheFlow, asker: TheAsker) -> Response:
    """A person's look at a refusal."""
    check_own(flow, asker, submission_id)
    return answered(flow, lambda: flow.intake.ask_person(submission_id, by=asker.client.id))


@router.post(
    "/{submission_id}/decisions",
    response_model=SubmissionView,
    summary="Decide as a person",
    responses=answer(
        examples.SUBMISSION,
        *POSTED,
        "submission_not_found",
        "wrong_state",
        "moved_meanwhile",
        "card_taken",
        "card_in_process",
        "issuer_silent",
        "machine_at_work",
        "no_funds",
    ),
    openapi_extra=asked_as(examples.DECISIONS),
)
def decide(submission_id: str, asked: Decision, flow: TheFlow, asker: TheAsker) -> Response:
    """For analysts and operators; the client and the reason go into the evidence."""
    return answered(flow, lambda: _decided(flow, submission_id, asked, by=asker.client.id))


def _offered(asked: NewSubmission, *, submission_id: str) -> Offered:
    codes = {"number", "secret", "wallet_ref"}
    card = asked.card.model_dump(mode="json", exclude=codes, exclude_none=True)
    number, secret = asked.card.number, asked.card.secret
    return Offered(
        number=Secret(number.get_secret_value() if number else ""),
        secret=Secret(secret.get_secret_value() if secret else ""),
        wallet_ref=asked.card.wallet_ref or "",
        asked={"card": card, "seller": asked.seller.model_dump(mode="json", exclude_none=True)},
        payee_ref=asked.payee_ref,
        channel=asked.channel,
        submission_id=submission_id,
    )


def _decided(flow: Recycling, submission_id: str, asked: Decision, *, by: str) -> Row:
    people, words = flow.people, {"by": by, "reason": asked.reason}
    match asked.decision:
        case "approve":
            return people.approve(submission_id, **words)
        case "reject":
            return people.reject(submission_id, **words)
        case "good" | "bad":
            return people.looked_at(submission_id, is_good=asked.decision == "good", **words)
        case "stop":
            return people.stop_payout(submission_id, **words)
        case "pay_again":
            return people.pay_again(submission_id, **words)
        case "unpacked":
            if asked.film_sha256 is None:
                raise Problem(422, "invalid_request", "the film's SHA-256 is missing", field="film_sha256")
            return people.unpacked(submission_id, by=by, film_sha256=asked.film_sha256)
        case "sent_back":
            if asked.tracking_number is None:
                raise Problem(
                    422, "invalid_request", "the tracking number is missing", field="tracking_number"
                )
            return people.sent_back(submission_id, by=by, tracking_number=asked.tracking_number)


def _read(flow: Recycling, submission_id: str) -> Row:
    with flow.engine.connect() as connection:
        return flow.flow.book.read(connection, submission_id)


def check_own(flow: Recycling, asker: Asker, submission_id: str) -> None:
    """A client that only submits sees its own trades; whose it is not, does not exist for it."""
    try:
        owner = _read(flow, submission_id)["client_id"]
    except UnknownSubmission:
        owner = None
    if owner is None or not asker.client.may_touch(owner):
        raise Problem(404, "submission_not_found", "there is no submission with this id")


def answered(flow: Recycling, work: Callable[[], Row]) -> Response:
    """The trade after the work, or the problem for which it was refused."""
    try:
        row = work()
    except IntakeRefused as refusal:
        raise Problem(
            STATUS.get(refusal.code, 422),
            refusal.code,
            str(refusal),
            field=refusal.field or None,
            headers={"Retry-After": str(refusal.wait_seconds)} if refusal.wait_seconds else None,
        ) from None
    except DecisionRefused as refusal:
        raise Problem(STATUS.get(refusal.code, 409), refusal.code, str(refusal)) from None
    except ForbiddenMove:
        raise Problem(409, "wrong_state", "this cannot be done in the trade's state") from None
    except MovedMeanwhile:
        raise Problem(409, "moved_meanwhile", "the trade changed a moment ago; look again") from None
    except UnknownSubmission:
        raise Problem(404, "submission_not_found", "there is no submission with this id") from None
    with flow.engine.connect() as connection:
        return Json(_view(connection, row))


def _view(connection: sa.Connection, row: Row) -> dict[str, Any]:
    state, charges = STATES[row["state"]], charges_of_trade(row)
    names = ("source", "target", "actor", "why")
    return {
        "submission_id": row["submission_id"],
        "state": state.code,
        "state_zh": state.zh,
        "state_en": state.en,
        "quote_id": row["quote_id"],
        "expires_on": expires_on(row),
        "payout": money(row["payout_fen"]),
        "awarded": money(awarded_fen(connection, row)),
        "price": money(charges.price_fen),
        "fee": money(charges.fee_fen),
        "postage": money(charges.postage_fen),
        "tax": money(charges.tax_fen),
        "parcel": _parcel(row["facts"].get("shipment")),
        "return_parcel": _parcel(row["facts"].get("return")),
        "decision": row["decision"],
        "valid_until": told_time(row["valid_until"]),
        "trouble": row["trouble"],
        "due_at": told_time(row["due_at"]),
        "is_end": state.is_end,
        "steps": [
            {name: step[name] for name in names} | {"at": told_time(step["at"])}
            for step in steps_of(connection, row["submission_id"])
        ],
    }


def _weighed(one: Queued) -> dict[str, Any]:
    return {
        "review_saving_fen": None if one.saving_fen is None else round(one.saving_fen),
        "review_priority_fen": one.priority_fen,
        "overdue": one.is_overdue,
    }


def told_time(moment: Any) -> str | None:
    return None if moment is None else moment.isoformat()


def _parcel(shipment: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What a seller needs of a parcel; None where there is none."""
    names = ("tracking_number", "label_url", "whereabouts")
    return {name: shipment[name] for name in names} if shipment else None
