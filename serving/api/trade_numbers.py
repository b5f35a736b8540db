"""The numbers the trade watches, over HTTP: what became of trades, how fast, and where the money is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from pipelines.recycling.numbers import trade_numbers
from pipelines.recycling.policy import PROFILES
from serving.api import submission_examples as examples
from serving.api.answers import Json
from serving.api.bodies import money
from serving.api.desk import Desk
from serving.api.document import answer
from serving.api.schemas import Body, Money

router = APIRouter(tags=["recycling"])


class ProfileNumbers(Body):
    """Of the trades of one profile. Shares, medians and means are null where nothing is there to divide by.
    ``bait_and_cut``: trades settled below the quote that was accepted first, of all settled. ``complaint_cost_fen``: of
    a decided complaint in the mean. Money by the ledger: ``stock``: what the cards that are here cost; ``bought``: the
    gross prices of all; ``fees``, ``postage``, ``tax``: what came off them; ``lost``: written off, or paid to sellers
    who were right in a dispute."""

    trades: int
    states: dict[str, int]
    refused_share: float | None
    by_hand_share: float | None
    response_seconds_p50: float | None
    paid_seconds_p50: float | None
    returning_share: float | None
    bait_and_cut: float | None
    complaint_share: float | None
    complaint_cost_fen: float | None
    open_complaints: int
    stock: Money
    bought: Money
    fees: Money
    postage: Money
    tax: Money
    frozen: Money
    settled: Money
    paid: Money
    lost: Money


class RecyclingNumbers(Body):
    """The numbers by profile, of trades submitted since a moment; null: ever."""

    since: datetime | None
    profiles: dict[str, ProfileNumbers]


@router.get(
    "/v1/recycling/numbers",
    response_model=RecyclingNumbers,
    summary="Numbers of the trade",
    responses=answer(examples.NUMBERS, "invalid_request", "storage_unavailable"),
)
def read_numbers(request: Request, days: Annotated[int, Query(ge=0, le=3_660)] = 30) -> Response:
    """Refusals, response time, returning sellers, bait-and-cut, complaints and where the money is, per profile.
    ``days``: of trades submitted in so many days; 0: ever."""
    desk: Desk = request.app.state.desk
    since = desk.clock() - timedelta(days=days) if days else None
    with desk.data.transaction() as connection:
        found = {name: trade_numbers(connection, profile=name, since=since) for name in PROFILES}
    profiles = {name: _told(asdict(numbers)) for name, numbers in found.items()}
    return Json({"since": None if since is None else since.isoformat(), "profiles": profiles})


def _told(numbers: Mapping[str, Any]) -> dict[str, Any]:
    """What is not a number becomes null; sums of money are told as money."""
    sums = tuple(name for name in numbers if name.endswith("_fen") and name != "complaint_cost_fen")
    told = {name: None if value != value else value for name, value in numbers.items() if name not in sums}
    return told | {name.removesuffix("_fen"): money(numbers[name]) for name in sums}
