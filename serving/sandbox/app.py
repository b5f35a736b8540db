"""The sandbox's HTTP face. Every partner has its own path, the payout provider stands at the root."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from serving.sandbox import checks
from serving.sandbox.callbacks import Caller, Post, post_over_http
from serving.sandbox.desk import Answer, Desk, Refused, Sleep, body_of, problem, text_in
from serving.sandbox.issuer import SandboxIssuer
from serving.sandbox.payouts import SandboxPayouts
from serving.sandbox.scenarios import DEFAULT_HANG_SECONDS, BadScenario, Scenario
from serving.sandbox.wallets import SandboxWallets


def create_app(
    *,
    seed: int = 7,
    hang_seconds: float = DEFAULT_HANG_SECONDS,
    sleep: Sleep = asyncio.sleep,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    post: Post | None = None,
) -> Starlette:
    """A sandbox with empty books. ``sleep``, ``now`` and ``post`` (how a callback is sent) can be a test's own."""
    desk = Desk(seed=seed, sleep=sleep, hang_seconds=hang_seconds)
    caller = Caller(desk, now, post or post_over_http)
    issuer, carrier, wallets = SandboxIssuer(), checks.SandboxCarrier(), SandboxWallets()
    asked = (
        ("issuer", "/issuer/cards/check", "number", issuer.check),
        ("issuer", "/issuer/redemptions", "number", issuer.redeem),
        ("identity", "/identity/identities/check", "reference", checks.verified),
        ("device", "/device/devices/check", "device_id", checks.device),
        ("bureau", "/bureau/grades/check", "reference", checks.grade),
        ("credit", "/credit/grades/check", "reference", checks.grade),
        ("logistics", "/logistics/shipments", "shipment_id", carrier.order),
        ("wallet", "/wallet/wallets/check", "wallet_ref", wallets.check),
    )
    looked_up = (
        ("issuer", "/issuer/redemptions/{id}", issuer.redemption),
        ("logistics", "/logistics/shipments/{id}", carrier.track),
        ("wallet", "/wallet/collections/{id}", wallets.look),
    )
    return Starlette(
        routes=[
            *(_asking(desk, *row) for row in asked),
            *(_looking_up(desk, *row) for row in looked_up),
            _collecting(desk, wallets, caller),
            *_payout_routes(desk, SandboxPayouts(now=now), caller),
            *_own_routes(desk, issuer),
        ]
    )


def _asking(
    desk: Desk,
    partner: str,
    path: str,
    name: str,
    work: Callable[[dict[str, Any]], Answer],
    *,
    then: Callable[[dict[str, Any]], BackgroundTask | None] = lambda body: None,
) -> Route:
    """A question about what ``name`` says. then: what is done after a good answer was sent."""

    async def endpoint(request: Request) -> Response:
        try:
            body = await body_of(request)
            about = text_in(body, name)
        except Refused as refusal:
            return problem(refusal.status, refusal.code)
        response = await desk.serve(request, partner=partner, about=about, body=body, work=lambda: work(body))
        if response.status_code == 200:
            response.background = then(body)
        return response

    return Route(path, endpoint, methods=["POST"])


def _looking_up(desk: Desk, partner: str, path: str, work: Callable[[str], Answer]) -> Route:
    """A look at something by id. Ids choose no trouble: they hold the digits of chance."""

    async def endpoint(request: Request) -> Response:
        wanted = request.path_params["id"]
        return await desk.serve(request, partner=partner, about="", body={}, work=lambda: work(wanted))

    return Route(path, endpoint, methods=["GET"])


def _collecting(desk: Desk, wallets: SandboxWallets, caller: Caller) -> Route:
    def call(body: dict[str, Any]) -> BackgroundTask | None:
        told = partial(wallets.concluded, body["collection_id"])
        return caller.task(desk.scenario.wallet_callback_url, body["wallet_ref"], told)

    return _asking(desk, "wallet", "/wallet/collections", "wallet_ref", wallets.collect, then=call)


def _payout_routes(desk: Desk, payouts: SandboxPayouts, caller: Caller) -> list[Route]:
    def call(body: dict[str, Any]) -> BackgroundTask | None:
        told = partial(payouts.concluded, body["payout_id"])
        return caller.task(desk.scenario.callback_url, body["account_ref"], told)

    async def statement(request: Request) -> Response:
        day, channel = request.path_params["day"], request.query_params.get("channel", "")
        return await desk.serve(
            request, partner="payout", about="", body={}, work=lambda: payouts.statement(day, channel)
        )

    return [
        _asking(desk, "payout", "/payouts", "account_ref", payouts.pay, then=call),
        _looking_up(desk, "payout", "/payouts/{id}", payouts.look),
        Route("/statements/{day}", statement, methods=["GET"]),
    ]


def _own_routes(desk: Desk, issuer: SandboxIssuer) -> list[Route]:
    async def set_scenario(request: Request) -> Response:
        try:
            desk.scenario = Scenario().changed(await body_of(request))
        except Refused as refusal:
            return problem(refusal.status, refusal.code)
        except BadScenario as error:
            return problem(422, "bad_scenario", detail=str(error))
        return JSONResponse(vars(desk.scenario))

    async def put_card(request: Request) -> Response:
        try:
            return JSONResponse(issuer.put(await body_of(request)))
        except Refused as refusal:
            return problem(refusal.status, refusal.code)

    async def show_log(request: Request) -> Response:
        return JSONResponse({"asked": desk.log})

    return [
        Route("/sandbox/scenario", set_scenario, methods=["POST"]),
        Route("/sandbox/cards", put_card, methods=["POST"]),
        Route("/sandbox/log", show_log, methods=["GET"]),
    ]
