"""The HTTP contract: routes, and what is recorded for each."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.responses import PlainTextResponse
from starlette.concurrency import run_in_threadpool
from starlette.routing import Match

from pipelines.explaining import NothingToExplain
from serving.api import examples, schemas
from serving.api.access.asking import asker_of
from serving.api.access.middleware import Guard
from serving.api.answers import Json, once, once_awaited, once_claimed
from serving.api.batch import answer_batch
from serving.api.board import PriceBoards
from serving.api.breaks import router as break_routes
from serving.api.callbacks import router as callback_routes
from serving.api.desk import Asking, Desk, Receipt, Told
from serving.api.disputes import router as dispute_routes
from serving.api.document import CARD, EVENT, PATH, POSTED, answer, asked, install_document
from serving.api.explanations import QuoteExplanation, explanation_body
from serving.api.lots import router as lot_routes
from serving.api.metrics import MEDIA_TYPE as METRICS_TYPE
from serving.api.model_routes import router as model_routes
from serving.api.observing import Observing
from serving.api.photos import confirmation_router as confirmation_routes
from serving.api.photos import router as photo_routes
from serving.api.problems import Problem, install_problem_handlers
from serving.api.provider_callbacks import router as provider_routes
from serving.api.quick_route import quick_route
from serving.api.quote_queue import QuoteQueue
from serving.api.receipts import router as receipt_routes
from serving.api.repeating import IdempotencyKey
from serving.api.reveals import look_router as look_routes
from serving.api.reveals import router as reveal_routes
from serving.api.signatures import router as signature_routes
from serving.api.submissions import router as submission_routes
from serving.api.trade_numbers import router as trade_number_routes

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def create_app(lifespan: Lifespan) -> FastAPI:
    """The app. ``lifespan`` sets ``desk``, ``boards``, ``explainer``, ``metrics`` and ``access`` in ``app.state``
    before the first request; without ``access`` every request is refused."""
    app = FastAPI(
        title="Huika 回卡",
        version="1",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=PATH,
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.queue = QuoteQueue()
    install_problem_handlers(app)
    _add_quote_routes(app)
    _add_fraud_routes(app)
    _add_event_route(app)
    _add_price_routes(app)
    app.include_router(signature_routes)
    app.include_router(photo_routes)
    app.include_router(confirmation_routes)
    app.include_router(submission_routes)
    app.include_router(lot_routes)
    app.include_router(receipt_routes)
    app.include_router(dispute_routes)
    app.include_router(reveal_routes)
    app.include_router(look_routes)
    app.include_router(break_routes)
    app.include_router(callback_routes)
    app.include_router(provider_routes)
    app.include_router(trade_number_routes)
    app.include_router(model_routes)
    _add_metrics_route(app)
    _add_last_route(app)
    install_document(app)
    app.add_middleware(Guard, state=app.state)
    # Last, so that it stands around every other one and counts what they refuse.
    app.add_middleware(Observing)
    return app


async def _desk(request: Request) -> Desk:
    return request.app.state.desk


async def _boards(request: Request) -> PriceBoards:
    return request.app.state.boards


async def _receipt(request: Request, key: IdempotencyKey = None) -> Receipt | None:
    """The request's idempotency key with a digest of its body; None without a key."""
    if key is None:
        return None
    digest = hashlib.sha256(await request.body()).hexdigest()
    return Receipt(key=asker_of(request).own(key), route=request.url.path, request_sha256=digest)


TheDesk = Annotated[Desk, Depends(_desk)]
TheReceipt = Annotated[Receipt | None, Depends(_receipt)]
TheBoards = Annotated[PriceBoards, Depends(_boards)]


async def _quoted(submission: schemas.Submission, key: str | None, request: Request) -> Response:
    """The answer of ``POST /v1/quotes``. Raises Problem."""
    desk, receipt = request.app.state.desk, await _receipt(request, key)
    queue: QuoteQueue = request.app.state.queue

    async def work() -> dict[str, Any]:
        asker = asker_of(request)
        asker.may_ask_about(submission)
        return await queue.quote(desk, Asking(submission, receipt, asker.client))

    return await once_awaited(desk, receipt, work)


def _add_quote_routes(app: FastAPI) -> None:
    # Whatever reads and writes live states does not await in between: one at a time per worker, so that they cannot
    # interleave.

    quick = APIRouter(route_class=quick_route(schemas.Submission, _quoted))

    @quick.post(
        "/v1/quotes",
        response_model=schemas.Quote,
        summary="Price a card",
        responses=answer(examples.QUOTE, *POSTED, *CARD, "trade_id_reused"),
        openapi_extra=asked(examples.SUBMISSIONS),
        tags=["quotes"],
    )
    async def post_quote(
        submission: schemas.Submission, request: Request, key: IdempotencyKey = None
    ) -> Response:
        """Price a card and screen its seller. The quote is binding until ``valid_until``."""
        return await _quoted(submission, key, request)

    app.include_router(quick)

    @app.post(
        "/v1/quotes/batch",
        response_model=schemas.QuoteBatchAnswer,
        summary="Price several cards",
        responses=answer(examples.BATCH, *POSTED, "still_under_way"),
        openapi_extra=asked(examples.BATCHES),
        tags=["quotes"],
    )
    async def post_quotes(
        batch: schemas.QuoteBatch, desk: TheDesk, receipt: TheReceipt, request: Request
    ) -> Response:
        """Price up to 500 cards; each succeeds or fails alone, in the order given. Expired cards of one seller that are
        worth more as one are proposed as a swap."""
        asker = asker_of(request)

        async def work(go_on: Callable[[], None]) -> dict[str, Any]:
            asker.takes_as_many_as(len(batch.submissions))
            return await answer_batch(desk, batch.submissions, asker=asker, go_on=go_on)

        return await once_claimed(desk, receipt, work)

    @app.get(
        "/v1/quotes/{quote_id}",
        response_model=schemas.Quote,
        summary="A quote that was given",
        responses=answer(examples.QUOTE, "quote_not_found", "storage_unavailable"),
        tags=["quotes"],
    )
    async def get_quote(quote_id: str, desk: TheDesk, request: Request) -> Response:
        """The quote exactly as it was given, with its price waterfall and its reasons. A client sees its own: those it
        asked for, and that of a card it submitted."""
        return Json(desk.stored_quote(quote_id, client=asker_of(request).client))


def _add_fraud_routes(app: FastAPI) -> None:
    @app.get(
        "/v1/quotes/{quote_id}/explanation",
        response_model=QuoteExplanation,
        summary="Why a quote is what it is",
        responses=answer(examples.EXPLANATION, "quote_not_found", "storage_unavailable"),
        tags=["fraud"],
    )
    async def get_explanation(quote_id: str, request: Request) -> Response:
        """For risk analysts: what moved the probability, feature by feature, and what each action was expected to
        cost. Each call is written into the audit trail before it is answered."""
        explainer = request.app.state.explainer
        try:
            found = explainer.stored(quote_id)
        except NothingToExplain:
            raise Problem(404, "quote_not_found", "there is no quote with this id") from None
        # A model that does not serve any more is loaded aside: no quote waits for an analyst. No state is touched.
        answerer = await run_in_threadpool(explainer.answerer, found)
        return Json(explanation_body(explainer.explained(found, answerer)))

    @app.post(
        "/v1/fraud-scores",
        response_model=schemas.FraudScore,
        summary="Score a submission without a price",
        responses=answer(examples.SCORE, *POSTED, *CARD),
        openapi_extra=asked(examples.SUBMISSIONS),
        tags=["fraud"],
    )
    async def post_score(
        submission: schemas.Submission, desk: TheDesk, receipt: TheReceipt, request: Request
    ) -> Response:
        """Score a submission for fraud without a price. It is not counted as a submission."""

        def work(now: datetime) -> dict[str, Any]:
            asker_of(request).may_ask_about(submission)
            return desk.score(submission, now=now)

        return once(desk, receipt, work)


def _add_event_route(app: FastAPI) -> None:
    @app.post(
        "/v1/events",
        response_model=schemas.EventReceipt,
        summary="Tell what happened",
        responses=answer(examples.RECEIPT, *POSTED, *EVENT),
        openapi_extra=asked(examples.EVENTS),
        tags=["events"],
    )
    async def post_event(
        event: schemas.Event, desk: TheDesk, receipt: TheReceipt, request: Request
    ) -> Response:
        """Tell what happened: accepted, declined, resold, fraud confirmed or cleared, a market rate. Trades that
        another client asked about do not exist for a client; those of the recycling flow are told by the flow."""
        asker = asker_of(request)
        asker.may_tell(event.kind)
        return once(
            desk,
            receipt,
            lambda now: desk.record(timed(event, desk, now=now), now=now, client=asker.client),
        )


def _add_price_routes(app: FastAPI) -> None:
    @app.get(
        "/v1/prices",
        response_model=schemas.PriceBoard,
        summary="The public price board",
        responses=answer(examples.BOARD),
        tags=["prices"],
    )
    async def get_prices(boards: TheBoards, desk: TheDesk) -> Response:
        """The public price board: what each card type is worth to anybody right now."""
        return Json(boards.current(now=desk.clock()))

    @app.get(
        "/v1/prices/{card_type}/history",
        response_model=schemas.PriceHistory,
        summary="What the board showed for a card type",
        responses=answer(
            examples.HISTORY,
            "unknown_card_type",
            "storage_unavailable",
            statuses={"unknown_card_type": 404},
        ),
        tags=["prices"],
    )
    async def get_price_history(card_type: str, boards: TheBoards, desk: TheDesk) -> Response:
        """What the board showed for a card type, and the lowest rate of the last 7 days."""
        return Json(boards.history(card_type, now=desk.clock()))


def _add_metrics_route(app: FastAPI) -> None:
    @app.get("/metrics", summary="Metrics", response_class=PlainTextResponse, tags=["operations"])
    async def get_metrics(request: Request) -> Response:
        """What the service counts and measures, in Prometheus' text format; docs/observability.md explains each."""
        text = await run_in_threadpool(request.app.state.metrics.text)
        return Response(text, headers={"Content-Type": METRICS_TYPE})


def _add_last_route(app: FastAPI) -> None:
    @app.get("/", include_in_schema=False)
    async def index() -> dict[str, str]:
        # In place of Bento's own page, which loads scripts from other hosts.
        return {"name": "huika 回卡", "description": "/docs.json", "prices": "/v1/prices", "ready": "/readyz"}

    # Bento answers what no mounted app matches, in plain text; this route keeps /v1 to problem details.
    every_method = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]

    @app.api_route("/v1/{path:path}", methods=every_method, include_in_schema=False)
    async def refuse(request: Request) -> None:
        others = (route.matches(request.scope)[0] for route in app.routes)
        if Match.PARTIAL in others:
            raise Problem(405, "method_not_allowed", "this method is not allowed here")
        raise Problem(404, "not_found", "there is nothing here")


def timed(event: Told, desk: Desk, *, now: datetime) -> Told:
    """The event with its moment: as it was told, or else as it was first heard of, so that telling it again is
    telling the same."""
    if "happened_at" in event.model_fields_set:
        return event
    known = desk.data.event(event.event_id)
    return event.model_copy(update={"happened_at": now if known is None else known["happened_at"]})
