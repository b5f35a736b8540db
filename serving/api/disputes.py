"""Disputes over HTTP: complaints, answers, judgements, and what was known when."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Response

from pipelines.recycling.dispute_tables import newest, open_disputes
from pipelines.recycling.disputes import Complained, respondent
from pipelines.recycling.evidence_bundle import bundle_bytes
from pipelines.recycling.evidence_export import NoEvidence, bundle, shown_leaf
from pipelines.recycling.opening import Recycling
from serving.api import dispute_examples as examples
from serving.api.access.asking import Asker
from serving.api.answers import Json
from serving.api.bodies import money
from serving.api.dispute_schemas import (
    ComplaintAnswered,
    ComplaintMade,
    DisputeList,
    DisputeView,
    Judgement,
)
from serving.api.document import POSTED, answer
from serving.api.document import asked as asked_as
from serving.api.problems import Problem
from serving.api.recycling_parts import TheAsker, TheFlow
from serving.api.repeating import Repeatable
from serving.api.submission_examples import SUBMISSION
from serving.api.submission_schemas import SubmissionView
from serving.api.submissions import answered, check_own, told_time

router = APIRouter(tags=["recycling"], route_class=Repeatable)

ABOUT_ONE = (*POSTED, "submission_not_found", "wrong_state", "moved_meanwhile")


@router.post(
    "/v1/submissions/{submission_id}/complaints",
    response_model=SubmissionView,
    summary="Complain about a paid trade",
    responses=answer(SUBMISSION, *ABOUT_ONE, "bad_claim"),
    openapi_extra=asked_as(examples.COMPLAINTS),
)
def complain(submission_id: str, asked: ComplaintMade, flow: TheFlow, asker: TheAsker) -> Response:
    """A buyer, an issuer, the platform or the seller says that something is wrong. From here on deadlines run, and a
    share of both parties' deposits is held. What a trade can pay is bounded: for ``not_received`` the payout once more;
    for the rest, payout and awards up to the card's face value."""
    check_own(flow, asker, submission_id)
    if asked.buyer_ref and not asker.client.is_staff:
        raise Problem(403, "not_allowed", "whose deposit stands behind a complaint is for analysts to say")
    said = Complained(
        kind=asked.kind,
        reason=asked.reason,
        complainant=asked.complainant,
        buyer_ref=asked.buyer_ref,
        claim_fen=asked.claim.amount_fen if asked.claim else None,
    )
    return answered(flow, lambda: flow.disputes.complain(submission_id, said, by=asker.client.id))


@router.post(
    "/v1/submissions/{submission_id}/answer",
    response_model=SubmissionView,
    summary="Answer a complaint",
    responses=answer(SUBMISSION, *ABOUT_ONE, "not_yours_to_answer"),
    openapi_extra=asked_as(examples.ANSWERS),
)
def answer_complaint(
    submission_id: str, asked: ComplaintAnswered, flow: TheFlow, asker: TheAsker
) -> Response:
    """What the party that must answer says: the seller, or the platform where the seller complains. Without an answer
    by ``answer_by`` the complaint is decided against that party."""
    check_own(flow, asker, submission_id)
    return answered(
        flow,
        lambda: flow.disputes.answer(
            submission_id,
            by=asker.client.id,
            reason=asked.reason,
            attachments=asked.attachments_sha256,
            as_seller=not asker.client.is_staff,
        ),
    )


@router.post(
    "/v1/submissions/{submission_id}/judgement",
    response_model=SubmissionView,
    summary="Decide a complaint",
    responses=answer(SUBMISSION, *ABOUT_ONE, "second_person", "bad_award", "no_funds"),
    openapi_extra=asked_as(examples.JUDGEMENTS),
)
def judge(submission_id: str, asked: Judgement, flow: TheFlow, asker: TheAsker) -> Response:
    """Above the policy's amount two different people must say the same. What it comes to is a label for the models."""
    return answered(
        flow,
        lambda: flow.disputes.judge(
            submission_id,
            verdict=asked.verdict,
            by=asker.client.id,
            reason=asked.reason,
            award_fen=asked.award.amount_fen if asked.award else None,
        ),
    )


@router.get(
    "/v1/submissions/{submission_id}/dispute",
    response_model=DisputeView,
    summary="The newest dispute of a trade",
    responses=answer(examples.DISPUTE, "submission_not_found", "dispute_not_found"),
)
def read_dispute(submission_id: str, flow: TheFlow, asker: TheAsker) -> Response:
    """Its deadlines, its stakes and what was decided; for analysts and operators also what the platform knew when:
    every leaf of the trade in the order in which it was written."""
    check_own(flow, asker, submission_id)
    with flow.engine.connect() as connection:
        found = newest(connection, submission_id)
    if found is None:
        raise Problem(404, "dispute_not_found", "nobody complained about this trade")
    known = known_when(flow, submission_id) if asker.client.is_staff else []
    return Json(_view(found, asker) | {"known": known})


@router.get(
    "/v1/disputes",
    response_model=DisputeList,
    summary="Disputes that are not decided",
    responses=answer(examples.DISPUTES, "storage_unavailable"),
)
def list_disputes(flow: TheFlow, asker: TheAsker) -> Response:
    """The most pressing first."""
    with flow.engine.connect() as connection:
        found = open_disputes(connection)
    return Json({"disputes": [_view(row, asker) | {"known": []} for row in found]})


@router.get(
    "/v1/submissions/{submission_id}/evidence",
    response_model=None,
    summary="The evidence of a trade",
    responses=answer(examples.BUNDLE, "submission_not_found", "storage_unavailable"),
)
def read_evidence(submission_id: str, flow: TheFlow, asker: TheAsker) -> Response:
    """A signed file that anybody verifies offline with ``huika evidence verify``; keep it byte for byte."""
    try:
        found = bundle(flow.flow.book.evidence, submission_id, now=flow.flow.clock())
    except NoEvidence:
        raise Problem(404, "submission_not_found", "there is no submission with this id") from None
    named = f'attachment; filename="{submission_id}.evidence.json"'
    return Response(
        bundle_bytes(found), media_type="application/json", headers={"Content-Disposition": named}
    )


def known_when(flow: Recycling, submission_id: str) -> list[dict[str, Any]]:
    """What the evidence log holds of a trade, in the order in which it was written; what it said is null once its time
    is over."""
    names = ("leaf_id", "kind", "actor", "at", "said")
    leaves = (shown_leaf(kept) for kept in flow.flow.book.evidence.leaves_of(submission_id))
    return [{name: leaf[name] for name in names} for leaf in leaves]


def _view(row: Mapping[str, Any], asker: Asker) -> dict[str, Any]:
    """A dispute as an answer shows it; who proposed what is for those who decide."""
    names = ("submission_id", "number", "kind", "complainant", "verdict", "rule")
    times = ("opened_at", "answer_by", "decide_by", "answered_at", "decided_at")
    sums = ("claim", "award", "seller_stake", "buyer_stake")
    view = {name: row[name] for name in names} | {"respondent": respondent(row)}
    view |= {name: told_time(row[name]) for name in times}
    view |= {name: money(row[f"{name}_fen"]) for name in sums}
    is_staff = asker.client.is_staff
    return view | {name: row[name] if is_staff else "" for name in ("proposed", "proposed_by", "decided_by")}
