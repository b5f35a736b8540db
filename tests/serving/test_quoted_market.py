"""What a quote says of its market: channels, the lowest shown price, and moves held from one day to the next."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from fastapi.testclient import TestClient

from features.rows import to_microseconds
from models.policy import PricePolicy
from models.quoting import ModelPair
from pipelines import answering
from pipelines.board_history import hour_of
from pipelines.terms import terms_of
from pipelines.workspace import Workspace
from serving.api.access.roles import Role
from serving.api.app import create_app
from serving.api.board import FIRST_SLICE, SLICE, PriceBoards
from serving.api.desk import Desk
from serving.api.engine import Engine
from serving.api.wiring import lifespan
from serving.commands.access import make_key
from tests.conftest import TODAY
from tests.serving.conftest import Clock, client_of, renewed
from tests.serving.test_api import ask, submission

STEADY = PricePolicy(exploration_half_width=0.0, move_cap=0.02)
NUMBERS = count()
EARLY = datetime(2000, 1, 1, tzinfo=UTC)


@pytest.fixture
def steady(desk: Desk) -> Desk:
    """The desk without exploration, so that a move is the price's own."""
    terms = replace(desk.engine.terms, price=STEADY)
    return replace(desk, engine=replace(desk.engine, terms=terms))


@pytest.fixture
def client(steady: Desk) -> Iterator[TestClient]:
    with client_of(steady) as client:
        yield client


def told(client: TestClient, clock: Clock, *, source: str, side: str, rate: float) -> None:
    body = {"kind": "market_observed", "event_id": f"m-{next(NUMBERS)}", "happened_at": clock.now.isoformat()}
    body |= {"card_type": "jd_ecard", "source": source, "side": side, "rate": round(rate, 4)}
    assert client.post("/v1/events", json=body).json()["status"] == "recorded"


def market_moves(client: TestClient, clock: Clock, workspace: Workspace, *, by: float) -> None:
    """Every channel of the card type shows its last rate of the stored market anew, moved."""
    market = workspace.tables.read("market")
    last: dict[tuple[str, str], float] = {}
    for row in market.filter(pc.equal(market["card_type"], "jd_ecard")).sort_by("observed_at").to_pylist():
        last[row["source"], row["side"]] = row["rate"]
    for (source, side), rate in last.items():
        told(client, clock, source=source, side=side, rate=rate + by)


def uncapped(steady: Desk) -> Desk:
    """The same desk without a cap of daily moves."""
    price = STEADY.model_copy(update={"move_cap": 0.0, "move_cap_down": 0.0})
    return replace(steady, engine=replace(steady.engine, terms=replace(steady.engine.terms, price=price)))


def undated(fen: int) -> dict[str, Any]:
    """A card as the price board shows it: without a date."""
    return submission(face_value={"amount_fen": fen}, expires_on=None)


def in_a_file(steady: Desk, workspace: Workspace, quotes: list[dict[str, Any]], folder: Path) -> list[dict]:
    """The quotes' trades answered as `huika quote` does, in order."""
    from pipelines.training.collecting import collect

    collect(data=steady.data, store=workspace.tables)
    names = {"seller_id": "s-1", "device_id": "d-1", "payout_account": "acct-1", "ip": "198.18.0.7"}
    rows = [
        names
        | {"trade_id": quote["trade_id"], "card_type": quote["card_type"], "card_form": "virtual"}
        | {"submitted_at": pa.scalar(quote["submitted_at"]).cast(pa.timestamp("us", "UTC")).as_py()}
        | {"face_value_cny": quote["face_value"]["amount_fen"] / 100}
        for quote in quotes
    ]
    pq.write_table(pa.Table.from_pylist(rows), folder / "input.parquet")
    catalogue, now = steady.engine.catalogue, steady.clock()
    batch = answering.read_batch(folder / "input.parquet", mapping={}, catalogue=catalogue, now=now)
    models = steady.engine.models
    columns = answering.batch_features(workspace, batch, models=models, progress=lambda done, total: None)
    terms = replace(terms_of(workspace), price=steady.engine.terms.price)
    batch = answering.with_market(workspace, batch)
    return answering.quote_batch(batch, columns, models=models, terms=terms).to_pylist()


@pytest.mark.parametrize("by", [0.04, -0.12])
def test_a_jump_of_the_market_moves_quotes_by_the_cap_live_and_in_a_file(
    client, steady, live_workspace, clock, tmp_path, by
):
    """The day after a board was shown, a market that jumps moves a quote by at most the cap, says so, and `huika
    quote` gives the same rates, centres and reasons for the same moments."""
    renewed(client, clock)
    before = ask(client, undated(50_000))
    clock.forward(days=1)
    market_moves(client, clock, live_workspace, by=by)
    clock.forward(minutes=1)
    quotes = [ask(client, undated(fen)) for fen in (50_000, 10_000, 100_000)]
    with client_of(uncapped(steady)) as free:
        far = ask(free, undated(50_000))["rate"] - before["rate"]
    move = quotes[0]["rate"] - before["rate"]
    cap = STEADY.move_cap if by > 0 else STEADY.move_cap_down
    assert abs(far) > cap
    assert move / by > 0
    assert round(abs(move), 4) <= round(cap + 1e-4, 4)  # rates of four decimals
    assert "DAILY_MOVE" in {reason["code"] for reason in quotes[0]["reasons"]}
    assert "DAILY_MOVE" in {step["code"] for step in quotes[0]["waterfall"]}
    assert sum(step["amount_fen"] for step in quotes[0]["waterfall"]) == quotes[0]["payout"]["amount_fen"]
    for quote, row in zip(quotes, in_a_file(steady, live_workspace, quotes, tmp_path), strict=True):
        assert quote["rate"] == row["rate"]
        assert quote["offer_centre"] == row["offer_centre"]
        assert quote["acceptance_probability"] == row["acceptance_probability"]
        assert "|".join(reason["code"] for reason in quote["reasons"]) == row["reasons"]


def test_the_board_itself_keeps_to_the_cap_day_after_day(client, live_workspace, clock):
    """Three days after a jump the board has arrived in steps, none of them larger than the cap."""

    def shown() -> float:
        prices = renewed(client, clock)
        return next(price["rate"] for price in prices if price["card_type"] == "jd_ecard")

    rates = [shown()]
    for day in range(3):
        clock.forward(days=1)
        if day == 0:
            market_moves(client, clock, live_workspace, by=0.04)
            clock.forward(minutes=1)
        rates.append(shown())
    steps = [after - before for before, after in pairwise(rates)]
    assert max(map(abs, steps)) <= STEADY.move_cap + 0.002  # the board is of its hour, the cap of noon
    assert steps[0] > 0.015
    assert rates[-1] > rates[1] - 0.005


def test_a_day_that_nobody_saw_caps_nothing(client, steady, live_workspace, clock):
    """Without a board, or after a gap of more than three days, a quote follows the market at once."""
    market_moves(client, clock, live_workspace, by=0.04)
    clock.forward(minutes=1)
    free = uncapped(steady)
    with client_of(free) as other:
        assert ask(client, submission())["rate"] == ask(other, submission())["rate"]
    renewed(client, clock)
    clock.forward(days=4)
    market_moves(client, clock, live_workspace, by=-0.1)
    clock.forward(minutes=1)
    with client_of(free) as other:
        assert ask(client, submission())["rate"] == ask(other, submission())["rate"]


def test_best_and_worst_channel_leave_out_stale_and_absurd_bids(
    client, steady, live_workspace, clock, tmp_path
):
    """A quote names the best and the worst believed buyer with their age; `huika quote` names the same."""
    quotes = [ask(client, submission())]
    clock.forward(hours=1)
    told(client, clock, source="ten times too low", side="buyer_bid", rate=0.0912)
    told(client, clock, source="nobody pays this", side="buyer_bid", rate=1.4)
    clock.forward(hours=1)
    quotes.append(ask(client, submission()))
    told(client, clock, source="generous", side="buyer_bid", rate=0.9712)
    clock.forward(minutes=90)
    quotes.append(ask(client, submission()))
    first, same, better = (quote["channels"] for quote in quotes)
    assert first["best"]["source"] == same["best"]["source"]
    assert (better["best"]["source"], better["best"]["rate"]) == ("generous", 0.9712)
    assert (better["best"]["side"], better["best"]["age_minutes"]) == ("buyer_bid", 90)
    assert better["worst"] | {"age_minutes": 0} == same["worst"] | {"age_minutes": 0}
    assert better["spread"] == pytest.approx(better["best"]["rate"] - better["worst"]["rate"])
    for quote, row in zip(quotes, in_a_file(steady, live_workspace, quotes, tmp_path), strict=True):
        for name in ("best", "worst"):
            assert quote["channels"][name]["source"] == row[f"{name}_channel"]
            assert quote["channels"][name]["rate"] == row[f"{name}_channel_rate"]
    clock.forward(days=9)
    assert ask(client, submission())["channels"] is None


def test_the_reference_is_the_lowest_price_of_the_board_in_7_days(client, clock):
    """A quote's reference is what the board's history says, and there is none before a board was shown."""
    face = {"amount_fen": 10_000, "currency": "CNY"}
    unknown = {"face_value": face, "lowest_7d": None, "shown_since": None}
    assert ask(client, submission())["reference"] == unknown
    offered = 0
    history, reference = {}, {}
    for _ in range(10):
        clock.forward(days=1)
        board = {price["card_type"]: price for price in renewed(client, clock)}
        offered += not board["jd_ecard"]["no_offer"]
        history = client.get("/v1/prices/jd_ecard/history").json()
        reference = ask(client, submission())["reference"]
        assert reference["lowest_7d"] == history["lowest_7d"]
    recent = [point for point in history["points"] if clock.now - _at(point) <= timedelta(days=7)]
    assert reference["lowest_7d"] == min(point["rate"] for point in recent)
    assert _at({"shown_at": reference["shown_since"]}) == min(map(_at, recent))
    assert len(history["points"]) == offered > 3


def test_only_a_card_like_the_boards_has_a_reference(client, clock):
    """A quote of an expired, a partly used or a physical card is compared with nothing; another face value of the same
    card is, and the reference says which face value it is of."""
    board = {price["card_type"]: price for price in renewed(client, clock)}["jd_ecard"]
    found = ask(client, submission(face_value={"amount_fen": 50_000}))["reference"]
    assert (found["lowest_7d"], found["face_value"]) == (board["rate"], board["face_value"])
    yesterday = (clock.now - timedelta(days=2)).date().isoformat()
    for other in (
        {"expires_on": yesterday},
        {"balance": {"amount_fen": 9_000}},
        {"card_form": "physical"},
        {"card_form": None},
    ):
        assert ask(client, submission(**other))["reference"] is None


def test_a_rate_that_stands_in_for_a_model_is_no_price_shown(steady, clock):
    """A board of the fallback is shown and not kept; the first real one of the same hour is, with its closes."""
    bare = replace(steady, engine=replace(steady.engine, models=ModelPair(discount=None, fraud=None)))
    with client_of(bare) as client:
        assert renewed(client, clock)
    history = steady.engine.history
    assert not history.has(hour_of(clock.now))
    clock.forward(minutes=1)
    with client_of(steady) as client:
        prices = renewed(client, clock)
    offered = {price["card_type"] for price in prices if not price["no_offer"]}
    kept = {price["card_type"] for price in prices if history.points(price["card_type"], since=EARLY)}
    assert kept == offered
    assert 0 < len(kept) < len(prices)
    clock.forward(days=1)
    names = sorted(price["card_type"] for price in prices)
    moments = np.full(len(names), to_microseconds(clock.now) // 1000)
    known = np.isfinite(history.before(names, moments).rate)
    assert 0 < known.sum() < len(names)


def test_looking_at_the_board_makes_none(steady, clock, monkeypatch):
    """Whoever looks gets the last board, also while a new one is being made and after a minute; an older board never
    takes the place of a newer one; and closes are priced once an hour."""
    boards, closed = PriceBoards(engine=steady.engine), []
    closes = Engine.closes
    monkeypatch.setattr(Engine, "closes", lambda engine, *asked: closed.append(1) or closes(engine, *asked))
    first = boards.current(now=clock.now)
    large = -(-len(steady.engine.catalogue) // FIRST_SLICE)  # nobody waits for a quote yet
    assert len(closed) == large
    clock.forward(minutes=2)
    assert boards.current(now=clock.now) is first
    slow = boards.refreshed(now=clock.now)
    next(slow)
    assert boards.current(now=clock.now) is first
    newer = clock.now + timedelta(seconds=30)
    assert len(list(boards.refreshed(now=newer))) == -(-len(steady.engine.catalogue) // SLICE) > 20
    list(slow)
    assert boards.current(now=newer)["shown_at"] == newer.isoformat()
    assert len(closed) == large


def _at(point: dict[str, str]):
    return pa.scalar(point["shown_at"]).cast(pa.timestamp("us", "UTC")).as_py()


def test_reading_the_history_costs_no_query_a_quote(client, steady, clock, monkeypatch):
    """Within a minute the second quote asks the database for no board."""
    renewed(client, clock)
    ask(client, submission())
    monkeypatch.setattr(steady.engine.history, "_data", None)
    clock.forward(seconds=20)
    assert ask(client, submission())["reference"]["lowest_7d"] is not None


def test_the_service_starts_keeping_boards_and_stops(live_workspace, monkeypatch):
    """The real service has a board from its first moment, answers beside its keeper, and shuts down at once."""
    monkeypatch.setenv("HUIKA_HOME", str(live_workspace.home))
    for setting in ("gc.freeze", "gc.set_threshold"):  # of a process that serves, not of one that tests
        monkeypatch.setattr(setting, lambda *_: None)
    key = make_key(live_workspace, name="site", roles=[Role.PRICING_CLIENT], now=TODAY)
    with TestClient(create_app(lifespan), headers={"Authorization": f"Bearer {key}"}) as client:
        quote = ask(client, submission())
        board = client.get("/v1/prices").json()["prices"]
    shown = next(price for price in board if price["card_type"] == "jd_ecard")
    assert quote["reference"]["lowest_7d"] == (None if shown["no_offer"] else shown["rate"])


def test_the_board_of_an_hour_is_made_though_nobody_looks(steady, clock):
    """The service makes a board a minute by itself, in slices, and keeps one point an hour."""
    boards, history = PriceBoards(engine=steady.engine), steady.engine.history
    assert len(list(boards.refreshed(now=clock.now))) > 20
    assert list(boards.refreshed(now=clock.now + timedelta(seconds=59))) == []
    clock.forward(hours=1)

    def points() -> int:
        return len(history.points("jd_ecard", since=clock.now - timedelta(days=1)))

    async def one_round() -> None:
        keeping = asyncio.create_task(boards.keep())
        async with asyncio.timeout(60):
            while points() < 2:
                await asyncio.sleep(0.05)
        keeping.cancel()

    asyncio.run(one_round())
    assert points() == 2
