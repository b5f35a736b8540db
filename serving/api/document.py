"""The OpenAPI document at ``/docs.json``: what FastAPI knows of the routes, with examples, problems and who may ask."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from pipelines.recycling import formats
from pipelines.recycling.lots import FILE_WORDS
from serving.api.access.roles import RouteTable, Row
from serving.api.problems import MEDIA_TYPE, problem_body
from serving.api.quote_words import tell_quotes

Part = dict[str, Any]

PATH = "/docs.json"

DESCRIPTION = """What a gift card is worth now, and whether to pay for it.

Money is integer fen, a rate is a fraction of face value with 4 decimals, a moment is ISO 8601 with its offset. Numbers
are JSON numbers: `true`, `"50000"`, `NaN` and `Infinity` are refused, and `50000.0` is where an integer is asked for.
Errors are RFC 9457 problem details; `code` is stable and is what a program should read. Every POST takes an
`Idempotency-Key`: the same key with the same body gives the answer already given, marked by the header
`Idempotent-Replay`, or, while a batch is still being answered, 409 `still_under_way` with `Retry-After`; with another
body it is refused (`idempotency_key_reused`). Not kept are answers that show a card's secret (`…/photos`, `…/look`),
and providers' calls, which have an `event_id`.

`GET /livez` and `GET /readyz` answer 200 while the service lives and once it is ready. The request examples can be
pasted as they are, in the order they stand here.
"""

CODES: dict[str, tuple[int, str]] = {
    "malformed_json": (400, "the body is not valid JSON"),
    "not_authenticated": (401, "send Authorization: Bearer with a key or a token"),
    "callback_refused": (401, "unsigned, malformed, changed or stale: what is wrong with its signature"),
    "not_allowed": (403, "no role of yours may do this"),
    "not_found": (404, "there is nothing here"),
    "callback_not_found": (404, "there is no callback with this id"),
    "submission_not_found": (404, "there is no submission with this id"),
    "photo_not_found": (404, "there is no reading with this id, or its time is over"),
    "reveal_not_found": (404, "there is no question with this id"),
    "break_not_found": (404, "there is no open break of this name"),
    "dispute_not_found": (404, "nobody complained about this trade"),
    "quote_not_found": (404, "there is no quote with this id"),
    "subject_not_found": (404, "there is no payout or transfer with this id"),
    "trade_not_found": (404, "there is no trade with this id"),
    "method_not_allowed": (405, "this method is not allowed here"),
    "already_accepted": (409, "this trade was accepted before"),
    "already_resold": (409, "this trade was resold before"),
    "contradiction": (409, "this contradicts what was recorded a moment ago; ask again"),
    "event_id_reused": (409, "this event_id came with another content before"),
    "idempotency_key_reused": (409, "this Idempotency-Key came with another body before"),
    "no_offer": (409, "no offer was made for this card; there is nothing to accept"),
    "quote_expired": (409, "the quote is no longer valid; ask for a new one"),
    "quote_refused": (409, "this trade was refused; there is no offer to accept"),
    "quote_of_another_trade": (409, "this quote was given for another trade"),
    "quote_replaced": (409, "a newer quote was given for this trade"),
    "card_known": (409, "this card is in another trade"),
    "callback_waiting": (409, "this callback waits to be sent already"),
    "not_settled": (409, "this trade was not paid; there is no receipt"),
    "sent_back": (409, "the card is on its way back; submit it anew"),
    "moved_meanwhile": (409, "the trade changed a moment ago; look again"),
    "submission_reused": (409, "this submission_id came with another content before"),
    "wrong_state": (409, "this cannot be done in the trade's state"),
    "card_taken": (409, "the card was taken over: its seller is paid, or gets it back first"),
    "card_in_process": (409, "the card is being taken over; its issuer must end that first"),
    "machine_at_work": (409, "the machine has not done with this card"),
    "issuer_silent": (409, "whether the card was taken over is not known; ask again later"),
    "second_person": (409, "a complaint of this size is decided by two people"),
    "own_request": (409, "somebody else must agree"),
    "not_yours": (409, "only who asked may look"),
    "not_approved": (409, "a second person has not agreed yet"),
    "already_shown": (409, "it was shown before; ask anew"),
    "already_approved": (409, "somebody agreed before"),
    "reveal_expired": (409, "the time of this question is over; ask anew"),
    "reveal_refused": (409, "a card of this value needs a second person who agrees"),
    "card_unreadable": (409, "the card was destroyed, or does not open"),
    "payout_open": (409, "the payout has not ended here: its next look books it"),
    "books_refuse": (409, "an account has not enough for the correction"),
    "not_yours_to_answer": (409, "this complaint is answered by the platform"),
    "no_funds": (409, "the channel's cash does not cover the award"),
    "still_under_way": (
        409,
        "the first request with this Idempotency-Key is still being answered; ask again with the same key",
    ),
    "trade_id_reused": (409, "this trade_id belongs to another card or another client"),
    "body_too_slow": (408, "the body did not come within 10 seconds"),
    "body_too_large": (413, "the body is larger than this service takes"),
    "not_json": (415, "send the body as JSON, with Content-Type: application/json"),
    "invalid_request": (422, "a field is missing or has a wrong value"),
    "photo_empty": (422, "照片为空 the photo is empty"),
    "photo_too_large": (422, "照片超过 12 MB the photo is larger than 12 MB"),
    "not_a_photo": (422, "只接受 JPEG、PNG、WebP 照片 only JPEG, PNG and WebP photos are read"),
    "photo_too_many_pixels": (422, "照片像素过多 the photo has too many pixels"),
    "photo_too_small": (422, "照片太小，短边至少 200 像素 the photo is too small: 200 pixels at least"),
    "photo_animated": (422, "不接受动图 moving pictures are not read"),
    "photo_damaged": (422, "照片已损坏或不完整 the photo is damaged or incomplete"),
    **{
        f"{name}_{problem}": (422, f"the {name} cannot be one of this card type: {words[1]}")
        for name in ("number", "secret")
        for problem, words in formats.WORDS.items()
    },
    **{code: (422, " ".join(words)) for code, words in FILE_WORDS.items()},
    "not_confirmed": (422, "number: wrong format"),
    "wallet_ref_missing": (422, "a wallet balance, and nothing else, is sold by naming its wallet"),
    "no_wallet": (422, "a wallet balance, and nothing else, is sold by naming its wallet"),
    "secret_in_reason": (422, "the reason holds the number or the secret itself"),
    "bad_claim": (422, "a seller claims 1 fen at least, and no more than the trade can still pay"),
    "bad_target": (422, "money that is still here is no loss"),
    "bad_award": (422, "an award is for a seller who is right, of at most what was claimed"),
    "balance_above_face_value": (422, "a card cannot hold more than its face value"),
    "impossible_face_value": (422, "a JD E-Card cannot be worth more than 10,000.00 CNY"),
    "impossible_time": (422, "happened_at lies in the future, or before the trade was submitted"),
    "invalid_extras": (422, "an extra looks like a card secret"),
    "moment_out_of_range": (422, "submitted_at must be now, give or take 5 minutes"),
    "not_traded_in_region": (422, "Shell Fuel Card is not traded in this region"),
    "unknown_state": (422, "a state is one of submitted, quoted, paid"),
    "unknown_card_type": (422, "this card type is not in the catalogue; close to it: jd_ecard"),
    "client_gone": (499, "the client hung up before its request had come"),
    "too_many_requests": (429, "too many requests; slow down"),
    "card_asked_too_often": (429, "this card was asked about too often; wait before asking again"),
    "too_many_wrong_secrets": (429, "this card came with a wrong secret too often; it rests for a day"),
    "internal_error": (500, "something went wrong here; it is in our log"),
    "not_ready": (503, "the service is starting"),
    "not_recorded": (503, "this could not be recorded now and is no promise; ask again with the same key"),
    "photos_busy": (503, "too many photos wait to be read"),
    "storage_unavailable": (503, "this cannot be read now; ask again"),
    "audit_unavailable": (503, "this cannot be shown now; try again later"),
}
"""Every code a request can be refused with: its status, and a detail as it may read."""

CARD = (
    "unknown_card_type",
    "impossible_face_value",
    "balance_above_face_value",
    "not_traded_in_region",
    "invalid_extras",
    "moment_out_of_range",
    "card_asked_too_often",
)
"""What can be wrong with a submission beyond its form."""

EVENT = (
    "trade_not_found",
    "quote_not_found",
    "quote_of_another_trade",
    "impossible_time",
    "unknown_card_type",
    "event_id_reused",
    "already_accepted",
    "already_resold",
    "no_offer",
    "quote_expired",
    "quote_refused",
    "quote_replaced",
)
"""What can be wrong with an event beyond its form."""

CODES_OF_CARD = tuple(f"{name}_{problem}" for name in ("number", "secret") for problem in formats.WORDS)
"""What can be wrong with a card's number and secret."""

KEYED = ("invalid_request", "idempotency_key_reused")
"""What can be wrong with an idempotency key: it is empty, too long, or came with another request."""

POSTED = (
    "malformed_json",
    "not_json",
    *KEYED,
    "contradiction",
    "not_recorded",
)
"""What can be wrong with any POST."""

SECURITY: dict[str, Part] = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key (`hk_…`, from `huika keys add`) or a person's token of the OIDC issuer.",
    }
}

_UNUSED = ("HTTPValidationError", "ValidationError")
"""Schemas of FastAPI's own refusals."""

_STATUS = {
    400: "The request cannot be read",
    401: "Nobody knows who asks",
    403: "Whoever asks may not",
    404: "There is no such thing",
    405: "This method is not allowed here",
    409: "The request contradicts an earlier one",
    408: "The request came too slowly",
    413: "The request is too large",
    415: "The request is of another kind",
    422: "The request cannot be answered",
    429: "Too much was asked; `Retry-After` says for how many seconds to wait",
    500: "Something went wrong here",
    503: "This cannot be answered now",
}


def answer(example: Part, *codes: str, statuses: Mapping[str, int] | None = None) -> dict[int | str, Part]:
    """``responses`` of a route: an example of its answer, and the problems it can refuse with.

    ``statuses``: of codes that mean another status here than in ``CODES``.
    """
    responses: dict[int | str, Part] = {200: {"content": {"application/json": {"example": example}}}}
    for code in codes:
        status = (statuses or {}).get(code, CODES[code][0])
        _add_problem(responses, status, status, code)
    return responses


def asked(examples: Mapping[str, Part]) -> Part:
    """``openapi_extra`` of a route: examples of its request, by title."""
    told = {title: {"value": example} for title, example in examples.items()}
    return {"requestBody": {"content": {"application/json": {"examples": told}}}}


def install_document(app: FastAPI) -> None:
    """Let the app tell its document with the security schemes in it, and with nothing of what it never answers."""

    def openapi() -> Part:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    app.openapi = openapi


def _document(app: FastAPI) -> Part:
    document = get_openapi(
        title=app.title,
        version=app.version,
        description=DESCRIPTION,
        routes=app.routes,
        tags=app.openapi_tags,
    )
    _put_back_answers(document, app)
    parts = document["components"]
    parts["securitySchemes"] = SECURITY
    table = RouteTable()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            _drop_unused(operation["responses"])
            row, _ = table.find(method.upper(), path)
            if row is not None:
                _tell_access(operation, row)
    for name in _UNUSED:
        parts["schemas"].pop(name, None)
    tell_quotes(parts["schemas"])
    return document


def _put_back_answers(document: Part, app: FastAPI) -> None:
    """FastAPI leaves out what is null, also in examples: put the whole answers back."""
    for route in _api_routes(app):
        if route.include_in_schema and 200 in route.responses:
            whole = route.responses[200]["content"]["application/json"]
            for method in route.methods or ():
                operation = document["paths"][route.path_format][method.lower()]
                operation["responses"]["200"]["content"]["application/json"]["example"] = whole["example"]


def _api_routes(app: FastAPI) -> Iterator[APIRoute]:
    """The routes of an app and of the routers that were included in it."""
    for route in app.routes:
        included = getattr(route, "original_router", None)
        for one in (route,) if included is None else included.routes:
            if isinstance(one, APIRoute):
                yield one


def _drop_unused(responses: Part) -> None:
    """Remove the refusal that FastAPI writes for parameters; ours come as problems, from the routes themselves."""
    refusal = responses.get("422", {}).get("content", {}).get("application/json", {}).get("schema", {})
    if refusal.get("$ref", "").endswith(f"/{_UNUSED[0]}"):
        del responses["422"]


def _tell_access(operation: Part, row: Row) -> None:
    """Write into an operation who may call it, and how anybody can be turned away."""
    codes = ["too_many_requests", "internal_error", "not_ready"]
    if row.opened != "always":
        operation["security"] = [{"bearer": []}, {}] if row.opened else [{"bearer": []}]
        names = ", ".join(f"`{role.value}`" for role in sorted(row.roles))
        operation["description"] += f"\n\nFor {names}" + (
            f"; for everybody while `{row.opened}` is on." if row.opened else "."
        )
        codes += ["not_authenticated", "not_allowed"]
    if row.method == "POST":
        codes += ["body_too_large", "body_too_slow"]
    if row.audit:
        codes.append("audit_unavailable")
    for code in codes:
        status = CODES[code][0]
        _add_problem(operation["responses"], str(status), status, code)
    operation["responses"] = dict(sorted(operation["responses"].items()))


def _add_problem(responses: dict[Any, Part], key: int | str, status: int, code: str) -> None:
    part = responses.setdefault(key, _problem_part(status))
    example = {"value": problem_body(status, code, CODES[code][1])}
    part["content"][MEDIA_TYPE]["examples"][code] = example


def _problem_part(status: int) -> Part:
    schema = {"$ref": "#/components/schemas/ProblemDetails"}
    description = f"{_STATUS[status]}; `code` says why"
    return {"description": description, "content": {MEDIA_TYPE: {"schema": schema, "examples": {}}}}
