"""Cards submitted by photo over HTTP: the photo is read, its seller confirms what was read, and a submission opens."""

from __future__ import annotations

from functools import partial
from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.formparsers import MultiPartException, MultiPartParser

from features.catalogue import Catalogue
from pipelines.recycling.card_photo import MAX_BYTES, PhotoRefused
from pipelines.recycling.confirming import NotConfirmed, SellerSays
from pipelines.recycling.intake import Offered
from pipelines.recycling.photo_readers import PhotosBusy
from pipelines.recycling.photos import Confirmation, PhotoRead, PhotoUnknown
from pipelines.recycling.proposals import WORDS
from pipelines.recycling.secret import Secret
from serving.api import photo_examples as examples
from serving.api.answers import Json
from serving.api.document import POSTED, answer
from serving.api.document import asked as asked_as
from serving.api.photo_schemas import PhotoConfirmation, PhotoView
from serving.api.problems import Problem
from serving.api.recycling_parts import TheAsker, TheFlow
from serving.api.repeating import Repeatable
from serving.api.submission_examples import SUBMISSION
from serving.api.submission_schemas import SubmissionView
from serving.api.submissions import OFFERED, answered

router = APIRouter(prefix="/v1/submissions/photos", tags=["recycling"])
"""Of readings, whose answers show the secret and are kept nowhere."""
confirmation_router = APIRouter(prefix="/v1/submissions/photos", tags=["recycling"], route_class=Repeatable)

BINARY = {"schema": {"type": "string", "format": "binary"}}
PHOTO_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "image/jpeg": BINARY,
            "image/png": BINARY,
            "image/webp": BINARY,
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["photo"],
                    "properties": {"photo": {"type": "string", "format": "binary"}},
                }
            },
        },
    }
}
REFUSED: dict[str, str] = {
    "empty": "photo_empty",
    "too_large": "photo_too_large",
    "not_a_photo": "not_a_photo",
    "too_many_pixels": "photo_too_many_pixels",
    "too_small": "photo_too_small",
    "animated": "photo_animated",
    "damaged": "photo_damaged",
}


class _InMemory(MultiPartParser):
    """Starlette writes larger parts into files: a card's picture must not be in one."""

    spool_max_size = MAX_BYTES + 1


@router.post(
    "",
    response_model=PhotoView,
    summary="Read a card from a photo",
    responses=answer(
        examples.PHOTO,
        "invalid_request",
        "not_recorded",
        "photos_busy",
        *REFUSED.values(),
    ),
    openapi_extra=PHOTO_BODY,
)
async def read_photo(request: Request, flow: TheFlow, asker: TheAsker) -> Response:
    """A JPEG, PNG or WebP photo of at most 12 MB and 40 million pixels, as the body or as the part ``photo`` of a form.
    Number and secret go into the vault and into this answer; the picture is not kept. Nothing is priced before its
    seller has confirmed every field."""
    content = await _photo_of(request)
    try:
        found = await run_in_threadpool(partial(flow.photos.read, content, by=asker.client.id))
    except PhotoRefused as refusal:
        raise Problem(422, REFUSED[refusal.code], str(refusal)) from None
    except PhotosBusy:
        raise Problem(
            503, "photos_busy", "too many photos wait to be read", headers={"Retry-After": "5"}
        ) from None
    return Json(_view(found, flow.intake.catalogue))


@confirmation_router.post(
    "/{photo_id}/confirmation",
    response_model=SubmissionView,
    summary="Confirm a card that was read",
    responses=answer(SUBMISSION, *POSTED, "photo_not_found", "not_confirmed", *OFFERED),
    openapi_extra=asked_as(examples.CONFIRMATIONS),
)
def confirm_photo(photo_id: str, asked: PhotoConfirmation, flow: TheFlow, asker: TheAsker) -> Response:
    """The seller says what the card is, whatever was read. The same rules hold as for a typed card; what was corrected
    stands in the evidence. Sent again it is the same submission."""
    work = partial(flow.photos.confirm, photo_id, _confirmation(asked), by=asker.client.id)
    try:
        return answered(flow, work)
    except PhotoUnknown:
        raise Problem(
            404, "photo_not_found", "there is no reading with this id, or its time is over"
        ) from None
    except NotConfirmed as refusal:
        field = next(iter(refusal.problems))
        raise Problem(422, "not_confirmed", str(refusal), field=f"card.{field}") from None


async def _photo_of(request: Request) -> bytes:
    """The photo in a request. Raises Problem."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        return await request.body()
    try:
        form = await _InMemory(request.headers, request.stream(), max_files=1, max_fields=10).parse()
    except (MultiPartException, KeyError, ValueError):
        raise Problem(422, "invalid_request", "the form cannot be read", field="photo") from None
    part = form.get("photo")
    if part is None or isinstance(part, str):
        raise Problem(422, "invalid_request", "the form has no file named photo", field="photo")
    return await part.read()


def _confirmation(asked: PhotoConfirmation) -> Confirmation:
    card, number = asked.card, Secret(asked.card.number.get_secret_value())
    secret = Secret(card.secret.get_secret_value())
    said = SellerSays(card.card_type, number, secret, card.face_value.amount_fen, card.expires_on)
    told = card.model_dump(mode="json", exclude={"number", "secret"}, exclude_none=True)
    offered = Offered(
        number=number,
        secret=secret,
        asked={
            "card": told,
            "seller": asked.seller.model_dump(mode="json", exclude_none=True),
            "extras": {"tamper_seal": asked.seal},
        },
        payee_ref=asked.payee_ref,
        channel=asked.channel,
        submission_id=asked.submission_id or "",
    )
    return Confirmation(said, offered, asked.seal)


def _view(found: PhotoRead, catalogue: Catalogue) -> dict[str, Any]:
    said = found.said
    types = [
        {
            "card_type": card_type,
            "name_zh": catalogue.get(card_type).name_zh,
            "name_en": catalogue.get(card_type).name_en,
            "because": because,
            "likeness": likeness,
        }
        for card_type, because, likeness in said["candidates"]
    ]
    fields = {"number": "number", "secret": "secret", "face_value": "face_value", "expires_on": "expiry"}
    return {
        "photo_id": found.photo_id,
        "expires_at": found.expires_at.isoformat(),
        "photo_sha256": said["photo_sha256"],
        "card_types": types,
        "card_type_doubts": _doubts(said["type_doubts"]),
        **{name: said[own] | {"doubts": _doubts(said[own]["doubts"])} for name, own in fields.items()},
    }


def _doubts(codes: list[Any]) -> list[dict[str, str]]:
    return [{"code": code, "zh": WORDS[code][0], "en": WORDS[code][1]} for code in codes]
