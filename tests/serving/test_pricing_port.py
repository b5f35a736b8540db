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


def test_no_answer_may_have_been_one():
    """Without an answer the quote may exist; asking with the same key finds it."""
    found = pricing(httpx.ConnectError("away")).quote(ASKED, key="k")
    assert (found.state, found.maybe_done) == ("unreachable", True)
