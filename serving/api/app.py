"""The HTTP contract: routes, and what is recorded for each."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Header, Request, Response
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from sqlalchemy.exc import IntegrityError
from starlette.concurrency import run_in_threadpool
from starlette.routing import Match

from pipelines.explaining import NothingToExplain
from serving.api import schemas
from serving.api.board import PriceBoards
from serving.api.desk import Desk, Receipt
from serving.api.explanations import QuoteExplanation, check_analyst, explanation_body
from serving.api.problems import MEDIA_TYPE, Problem, install_problem_handlers, invalid_body
from serving.api.swaps import swaps_of

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]
IdempotencyKey = Annotated[str | None, Header(alias="Idempotency-Key", max_length=255)]
PROBLEMS: dict[int | str, dict[str, Any]] = {
    422: {"description": "The request cannot be answered; see `code`", "content": {MEDIA_TYPE: {}}},
    409: {"description": "The request contradicts an earlier one", "content": {MEDIA_TYPE: {}}},
}


def create_app(lifespan: Lifespan) -> FastAPI:
    """The app. ``lifespan`` sets ``desk``, ``boards``, ``explainer`` and ``analyst_token`` in ``app.state`` before the
    first request."""
    app = FastAPI(
        title="Huika 回卡",
        description="What a gift card is worth now, and whether to pay for it.",
        version="1",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    install_problem_handlers(app)
    _add_quote_routes(app)
    _add_event_route(app)
    _add_price_routes(app)
    _add_last_route(app)
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
    return Receipt(key=key, route=request.url.path, request_sha256=digest)


TheDesk = Annotated[Desk, Depends(_desk)]
TheReceipt = Annotated[Receipt | None, Depends(_receipt)]
TheBoards = Annotated[PriceBoards, Depends(_boards)]


def _add_quote_routes(app: FastAPI) -> None:
    # Handlers of the live state are async and do not await: one request at a time per worker, so that reading and
    # writing the state of an entity cannot interleave.

    @app.post("/v1/quotes", response_model=schemas.Quote, responses=PROBLEMS, tags=["quotes"])
    async def post_quote(submission: schemas.Submission, desk: TheDesk, receipt: TheReceipt) -> Response:
        """Price a card and screen its seller. The quote is binding until ``valid_until``."""
        return _once(desk, receipt, lambda now: desk.quote(submission, now=now, receipt=receipt))

    @app.post(
        "/v1/quotes/batch", response_model=schemas.QuoteBatchAnswer, responses=PROBLEMS, tags=["quotes"]
    )
    async def post_quotes(batch: schemas.QuoteBatch, desk: TheDesk, receipt: TheReceipt) -> Response:
        """Price up to 500 cards; each succeeds or fails alone, in the order given. Expired cards of one seller that are
        worth more as one are proposed as a swap."""

        def answer(now: datetime) -> dict[str, Any]:
            # Each a microsecond after the one before: a trade sees those that stand earlier in the batch.
            moments = (now + timedelta(microseconds=place) for place in itertools.count())
            items = zip(batch.submissions, moments, strict=False)
            results = [_one_of_batch(desk, item, moment) for item, moment in items]
            return {"results": results, "swaps": swaps_of(batch.submissions, results, engine=desk.engine)}

        return _once(desk, receipt, answer)

    @app.get("/v1/quotes/{quote_id}", response_model=schemas.Quote, responses=PROBLEMS, tags=["quotes"])
    async def get_quote(quote_id: str, desk: TheDesk) -> Response:
        """The quote exactly as it was given, with its price waterfall and its reasons."""
        return JSONResponse(desk.stored_quote(quote_id))

    @app.get(
        "/v1/quotes/{quote_id}/explanation",
        response_model=QuoteExplanation,
        responses=PROBLEMS,
        tags=["fraud"],
    )
    async def get_explanation(quote_id: str, request: Request) -> Response:
        """For risk analysts: what moved the probability, feature by feature, and what each action was expected to
        cost. Needs ``Authorization: Bearer`` with the platform's analyst token."""
        check_analyst(request.headers, request.app.state.analyst_token)
        explainer = request.app.state.explainer
        try:
            found = explainer.stored(quote_id)
        except NothingToExplain:
            raise Problem(404, "quote_not_found", "there is no quote with this id") from None
        # A model that does not serve any more is loaded aside: no quote waits for an analyst. No state is touched.
        answerer = await run_in_threadpool(explainer.answerer, found)
        return JSONResponse(explanation_body(explainer.explained(found, answerer)))

    @app.post("/v1/fraud-scores", response_model=schemas.FraudScore, responses=PROBLEMS, tags=["fraud"])
    async def post_score(submission: schemas.Submission, desk: TheDesk, receipt: TheReceipt) -> Response:
        """Score a submission for fraud without a price. It is not counted as a submission."""
        return _once(desk, receipt, lambda now: desk.score(submission, now=now))


def _add_event_route(app: FastAPI) -> None:
    @app.post("/v1/events", response_model=schemas.EventReceipt, responses=PROBLEMS, tags=["events"])
    async def post_event(event: schemas.Event, desk: TheDesk, receipt: TheReceipt) -> Response:
        """Tell what happened: accepted, declined, resold, fraud confirmed or cleared, a market rate."""
        return _once(desk, receipt, lambda now: desk.record(event, now=now))


def _add_price_routes(app: FastAPI) -> None:
    @app.get("/v1/prices", response_model=schemas.PriceBoard, tags=["prices"])
    async def get_prices(boards: TheBoards, desk: TheDesk) -> Response:
        """The public price board: what each card type is worth to anybody right now."""
        return JSONResponse(boards.current(now=desk.clock()))

    @app.get("/v1/prices/{card_type}/history", response_model=schemas.PriceHistory, tags=["prices"])
    async def get_price_history(card_type: str, boards: TheBoards, desk: TheDesk) -> Response:
        """What the board showed for a card type, and the lowest rate of the last 7 days."""
        return JSONResponse(boards.history(card_type, now=desk.clock()))


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


def _one_of_batch(desk: Desk, item: dict[str, Any], now: datetime) -> dict[str, Any]:
    try:
        return {"quote": desk.quote(schemas.Submission.model_validate(item), now=now)}
    except Problem as problem:
        return {"problem": problem.body()}
    except ValidationError as error:
        return {"problem": invalid_body(error.errors(include_input=False, include_url=False))}


def _once(desk: Desk, receipt: Receipt | None, work: Callable[[datetime], dict[str, Any]]) -> Response:
    """Answer, or repeat the answer already given under the same idempotency key.

    Raises Problem ``idempotency_key_reused`` where the key came with another body.
    """
    now = desk.clock()
    if receipt is None:
        return JSONResponse(work(now))
    try:
        return _repeated(desk, receipt) or JSONResponse(desk.remembered(receipt, work(now), now=now))
    except IntegrityError:  # another worker answered the same key meanwhile; its answer stands
        repeated = _repeated(desk, receipt)
        if repeated is None:
            raise
        return repeated


def _repeated(desk: Desk, receipt: Receipt) -> Response | None:
    found = desk.data.reply(receipt.key, receipt.route)
    if found is None:
        return None
    if found.request_sha256 != receipt.request_sha256:
        raise Problem(409, "idempotency_key_reused", "this Idempotency-Key came with another body before")
    return JSONResponse(found.body, status_code=found.status, headers={"Idempotent-Replay": "true"})
