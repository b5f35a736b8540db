"""The receipt of a paid trade over HTTP."""

from __future__ import annotations

from fastapi import APIRouter, Response

from pipelines.recycling.receipts import NotSettled
from pipelines.recycling.trade_receipts import trade_receipt
from pipelines.recycling.trades import UnknownSubmission
from serving.api.document import answer
from serving.api.problems import Problem
from serving.api.recycling_parts import TheAsker, TheFlow
from serving.api.submissions import check_own

router = APIRouter(prefix="/v1/submissions", tags=["recycling"])

REFUSALS = {
    status: problem
    for status, problem in answer({}, "submission_not_found", "not_settled").items()
    if status != 200  # a PDF, which has no example
}


class Pdf(Response):
    """The body is a PDF."""

    media_type = "application/pdf"


@router.get(
    "/{submission_id}/receipt",
    response_class=Pdf,
    summary="The receipt of a paid trade",
    responses=REFUSALS,
)
def read_receipt(submission_id: str, flow: TheFlow, asker: TheAsker) -> Response:
    """One PDF page in Chinese and English, its amounts from the ledger."""
    check_own(flow, asker, submission_id)
    try:
        return Pdf(trade_receipt(flow, submission_id))
    except UnknownSubmission:
        raise Problem(404, "submission_not_found", "there is no submission with this id") from None
    except NotSettled:
        raise Problem(409, "not_settled", "this trade was not paid; there is no receipt") from None
