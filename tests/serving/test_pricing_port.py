"""What the pricing API says is a verdict on a card only where it is about the card."""

from __future__ import annotations

import httpx
import pytest

from serving.api import submission_examples as examples
from serving.client import HuikaClient
from serving.pricing_port import HttpPricing

CARD = {
    name: value
    for name, value in examples.NEW["a JD e-card"]["card"].items()
    if name not in ("number", "secret")
}
ASKED = {"card": CARD, "seller": {"seller_id": "s-1"}, "trade_id": "t-1"}


def pricing(answer: httpx.Response | Exception) -> HttpPricing:
    def handle(request: httpx.Request) -> httpx.Response:
        if isinstance(answer, Exception):
            raise answer
        return answer

    http = httpx.Client(base_url="http://test", transport=httpx.MockTransport(handle))
    return HttpPricing(HuikaClient("http://test", http=http, sleep=lambda seconds: None))


@pytest.mark.parametrize(
    ("status", "state"),
    [
        (401, "busy"),
        (403, "busy"),
        (429, "busy"),
        (500, "busy"),
        (503, "busy"),
        (409, "refused"),
        (422, "refused"),
    ],
)
def test_only_what_is_wrong_with_the_card_refuses_it(status, state):
    """A revoked key, a limit or a service in trouble is asked again; an impossible card is refused with its code."""
    body = {"type": "urn:x", "title": "x", "status": status, "code": "some_code", "detail": "x"}
    found = pricing(httpx.Response(status, json=body)).quote(ASKED, key="k")
    assert (found.state, found.code, found.value) == (state, "some_code", None)


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(404, text="<html>nothing here</html>"),
        httpx.Response(404, json={"detail": "Not Found"}),
        httpx.Response(
            404, json={"type": "urn:x", "title": "x", "status": 404, "code": "not_found", "detail": "x"}
        ),
        httpx.Response(200, text="<html>welcome</html>"),
    ],
)
def test_another_service_at_the_address_refuses_no_card(answer, caplog):
    """With a wrong --url trades wait, and the log names the address."""
    found = pricing(answer).quote(ASKED, key="k")
    assert (found.state, found.value) == ("busy", None)
    assert "http://test" in caplog.text


def test_what_stands_before_the_service_refuses_no_card():
    """A conflict in another's words is no verdict."""
    found = pricing(httpx.Response(409, text="conflict")).quote(ASKED, key="k")
    assert (found.state, found.code) == ("busy", "http_409")


def test_no_answer_may_have_been_one():
    """Without an answer the quote may exist; asking with the same key finds it."""
    found = pricing(httpx.ConnectError("away")).quote(ASKED, key="k")
    assert (found.state, found.maybe_done) == ("unreachable", True)


def test_a_service_that_cannot_be_reached_is_named_in_the_log(caplog):
    """Once at first, again a minute later while it lasts, and when it ends: with the address that was asked, however
    many trades ask."""
    now, there = [0.0], [False]

    def handle(request: httpx.Request) -> httpx.Response:
        if not there[0]:
            raise httpx.ConnectError("away")
        return httpx.Response(503, json={})

    http = httpx.Client(base_url="http://test:8700", transport=httpx.MockTransport(handle))
    client = HuikaClient("http://test:8700", http=http, sleep=lambda seconds: None)
    asked = HttpPricing(client, clock=lambda: now[0])
    counts = []
    for moment, is_there in ((0.0, False), (59.0, False), (60.0, False), (61.0, True), (62.0, True)):
        now[0], there[0] = moment, is_there
        for number in range(3):
            asked.quote(ASKED, key=f"k-{moment}-{number}")
        counts.append(len(caplog.messages))
    assert counts == [1, 1, 2, 3, 3]
    assert all("http://test:8700" in message for message in caplog.messages)
    assert "cannot be reached" in caplog.messages[0]
    assert "answers again" in caplog.messages[-1]
