"""Submissions that wait for each other are answered together, and each as if it had come alone."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError

from pipelines.workspace import Workspace
from serving.api import schemas
from serving.api.desk import Asking, Desk, Receipt
from serving.api.problems import Problem
from serving.api.quote_queue import AT_ONCE, QuoteQueue
from tests.serving.conftest import desk_of


def asking(
    number: int, *, seller: str = "s-1", trade_id: str | None = None, key: str | None = None
) -> Asking:
    body = {
        "card": {
            "card_type": "jd_ecard",
            "card_form": "virtual",
            "face_value": {"amount_fen": 50_000 + number},
        },
        "seller": {"seller_id": seller, "device_id": "d-1"},
        "trade_id": trade_id,
    }
    receipt = None if key is None else Receipt(key=key, route="/v1/quotes", request_sha256="0" * 64)
    return Asking(schemas.Submission.model_validate(body), receipt)


def ask_together(desk: Desk, asked: Sequence[Asking]) -> list[Any]:
    """Answers, or exceptions in their place, of submissions that all wait at once."""

    async def gathered() -> list[Any]:
        queue = QuoteQueue()
        return await asyncio.gather(*(queue.quote(desk, item) for item in asked), return_exceptions=True)

    return asyncio.run(gathered())


def test_waiting_submissions_see_each_other(desk, clock):
    """Of several cards that a seller offers at once each knows those before it, and the state counts them all."""
    clock.forward(hours=1)
    answers = ask_together(desk, [asking(number) for number in range(2 * AT_ONCE + 3)])
    assert len({quote["quote_id"] for quote in answers}) == len(answers)
    moments = [quote["submitted_at"] for quote in answers]
    assert moments == sorted(set(moments))
    clock.forward(minutes=1)
    probe = desk.engine.trade_of(asking(0).submission, now=clock.now)
    found = desk.engine.live.answer(probe)
    assert found.values["seller_count_1h"] == len(answers)
    assert found.seq == desk.data.log_head


def test_together_equals_alone(prepared_home, tmp_path, clock):
    """The same submissions at the same moments get the same answers whether they come together or one by one."""
    clock.forward(hours=1)
    desks = []
    for name in ("together", "alone"):
        shutil.copytree(prepared_home, tmp_path / name)
        desks.append(desk_of(Workspace.open(tmp_path / name), clock))
    asked = [asking(number, seller=f"s-{number % 4}", trade_id=f"q-{number}") for number in range(12)]
    together = desks[0].quote_all(asked, now=clock.now)
    alone = [
        desks[1].quote(item.submission, now=clock.now + timedelta(microseconds=place))
        for place, item in enumerate(asked)
    ]
    for first, second in zip(together, alone, strict=True):
        assert isinstance(first, dict)
        own = {"quote_id", "signature"}
        assert {k: v for k, v in first.items() if k not in own} == {
            k: v for k, v in second.items() if k not in own
        }


def test_one_wrong_submission_harms_no_other(desk, clock):
    """A trade_id that belongs to another card is refused; the submissions around it get their quotes."""
    clock.forward(hours=1)
    ask_together(desk, [asking(1, trade_id="known")])
    first, wrong, last = ask_together(desk, [asking(2), asking(3, trade_id="known"), asking(4)])
    assert first["quote_id"] != last["quote_id"]
    assert isinstance(wrong, Problem)
    assert wrong.code == "trade_id_reused"


def test_the_same_trade_twice_at_once_is_one_trade(desk, clock):
    """Asked twice at the same time about one card, both get a quote, and it counts as one submission."""
    clock.forward(hours=1)
    head = desk.data.log_head
    one, two = ask_together(desk, [asking(1, trade_id="twice"), asking(1, trade_id="twice")])
    assert (one["trade_id"], two["trade_id"]) == ("twice", "twice")
    assert one["quote_id"] != two["quote_id"]
    assert desk.data.log_head == head + 1


def test_the_same_key_twice_at_once_is_answered_once(desk, clock):
    """Of two requests with one idempotency key one is stored; the other learns of it, and no third suffers."""
    clock.forward(hours=1)
    answers = ask_together(desk, [asking(1, key="k"), asking(1, key="k"), asking(2)])
    given = [answer for answer in answers if isinstance(answer, dict)]
    refused = [answer for answer in answers if isinstance(answer, IntegrityError)]
    assert (len(given), len(refused)) == (2, 1)
    reply = desk.data.reply("k", "/v1/quotes")
    assert reply is not None
    assert reply.body in given


def test_who_has_gone_is_not_waited_for(desk, clock):
    """A client that went away before its turn leaves no quote, and those behind it are answered."""
    clock.forward(hours=1)

    async def leave_one() -> list[Any]:
        queue = QuoteQueue()
        tasks = [asyncio.ensure_future(queue.quote(desk, asking(n, trade_id=f"gone-{n}"))) for n in range(3)]
        tasks[1].cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    first, gone, last = asyncio.run(leave_one())
    assert isinstance(gone, asyncio.CancelledError)
    assert {first["trade_id"], last["trade_id"]} == {"gone-0", "gone-2"}
    assert desk.trades.find("gone-1") is None


def test_a_store_that_fails_leaves_the_live_state_alone(desk, clock, monkeypatch):
    """Where quotes cannot be stored nobody gets one, and the live state does not know the trades."""
    clock.forward(hours=1)

    def full(*_: object, **__: object) -> None:
        raise OSError("no space left")

    with monkeypatch.context() as broken:
        broken.setattr("pipelines.feature_log.FeatureLog.write", full)
        answers = ask_together(desk, [asking(1), asking(2)])
    assert all(isinstance(answer, OSError) for answer in answers)
    clock.forward(minutes=1)
    probe = desk.engine.trade_of(asking(0).submission, now=clock.now)
    assert desk.engine.live.answer(probe).values["seller_count_1h"] == 0


@pytest.mark.parametrize("count", [1, AT_ONCE, AT_ONCE + 1])
def test_all_are_answered(desk, clock, count):
    """Whatever their number, every submission gets an answer."""
    clock.forward(hours=1)
    assert len(ask_together(desk, [asking(number) for number in range(count)])) == count
