"""The typed client: what it asks and gives, what it raises, and what it asks again."""

from __future__ import annotations

import httpx
import pytest

from serving.api import examples, schemas
from serving.client import MOST_WAIT_SECONDS, TRIES, HuikaClient, HuikaProblem, HuikaUnreachable

SUBMISSION = schemas.Submission.model_validate(examples.SUBMISSIONS["A virtual card"])
PROBLEM = {
    "type": "urn:huika:problem:unknown_card_type",
    "title": "unknown card type",
    "status": 422,
    "code": "unknown_card_type",
    "detail": "this card type is not in the catalogue",
    "errors": [{"field": "card.card_type", "reason": "this card type is not in the catalogue"}],
}


class Service:
    """Answers one thing after the other, the last for ever, and keeps what was asked and how long it was waited."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[httpx.Request] = []
        self.waited: list[float] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def client(self, api_key: str | None = None) -> HuikaClient:
        http = httpx.Client(base_url="http://huika.test", transport=httpx.MockTransport(self))
        return HuikaClient("", api_key, http=http, sleep=self.waited.append)


def given() -> httpx.Response:
    return httpx.Response(200, json=examples.QUOTE)


def test_every_method_gives_its_type(client, clock):
    """Quote, batch, score, stored quote, event, board and history, of a real service, typed."""
    huika = HuikaClient("", http=client)
    quote = huika.quote(SUBMISSION)
    assert quote.trade_id == SUBMISSION.trade_id
    assert huika.get_quote(quote.quote_id) == quote
    results = huika.quotes([SUBMISSION, schemas.Submission.model_validate(_unknown_type())]).results
    assert results[0].quote is not None
    assert results[1].problem is not None
    assert results[1].problem.code == "unknown_card_type"
    assert huika.score(SUBMISSION).decision in ("pay", "hold", "review", "refuse")
    clock.forward(seconds=1)
    declined = schemas.Declined(kind="declined", event_id="e-1", trade_id=quote.trade_id)
    assert [huika.tell(declined).status for _ in range(2)] == ["recorded", "known"]
    board = huika.prices()
    assert huika.price_history(board.prices[0].card_type).card_type == board.prices[0].card_type


def _unknown_type() -> dict:
    return {
        "card": {"card_type": "no such type", "face_value": {"amount_fen": 100}},
        "seller": {"seller_id": "s"},
    }


def test_an_event_without_a_moment_keeps_that_of_its_first_telling(client, desk, clock):
    """It happened when it was first heard of; told again later, it is the same event."""
    huika = HuikaClient("", http=client)
    quote = huika.quote(SUBMISSION)
    clock.forward(seconds=1)
    first = clock.now
    declined = schemas.Declined(kind="declined", event_id="e-1", trade_id=quote.trade_id)
    huika.tell(declined)
    clock.forward(minutes=30)
    assert huika.tell(declined).status == "known"
    known = desk.data.event("e-1")
    assert known is not None
    assert known["happened_at"] == first


def test_a_refusal_is_raised_with_its_code_and_fields(client):
    """HuikaProblem has status, code, detail and errors, and nothing of what was sent."""
    wrong = schemas.Submission.model_validate(_unknown_type())
    with pytest.raises(HuikaProblem) as raised:
        HuikaClient("", http=client).quote(wrong)
    assert (raised.value.status, raised.value.code) == (422, "unknown_card_type")
    assert [error.field for error in raised.value.errors] == ["card.card_type"]
    with pytest.raises(HuikaProblem, match="quote_not_found"):
        HuikaClient("", http=client).get_quote("no such quote?")


def test_an_answer_that_is_no_problem_of_ours_is_raised_by_its_status():
    """What stands before the service may refuse in its own words."""
    service = Service(httpx.Response(502, text="bad gateway"))
    with pytest.raises(HuikaProblem, match="http_502"):
        service.client().prices()
    assert len(service.asked) == 1


def test_the_key_goes_with_every_request():
    """The API key is sent as a bearer token."""
    service = Service(given())
    service.client("hk_1_secret").quote(SUBMISSION)
    assert service.asked[0].headers["Authorization"] == "Bearer hk_1_secret"


@pytest.mark.parametrize(
    "first",
    [
        httpx.Response(503),
        httpx.Response(429),
        httpx.Response(409, headers={"Retry-After": "1"}),
        httpx.ConnectError("down"),
        httpx.ReadTimeout("slow"),
    ],
)
def test_what_was_not_answered_is_asked_again_under_the_same_key(first):
    """A lost or postponed request is sent again, as the same request to the service."""
    service = Service(first, given())
    assert service.client().quote(SUBMISSION).quote_id == examples.QUOTE["quote_id"]
    keys = {request.headers["Idempotency-Key"] for request in service.asked}
    assert (len(service.asked), len(keys)) == (2, 1)
    assert service.asked[0].content == service.asked[1].content


def test_two_questions_have_two_keys():
    """Asking twice is two questions, unless the caller says they are one."""
    service = Service(given())
    huika = service.client()
    for key in (None, None, "mine", "mine"):
        huika.quote(SUBMISSION, idempotency_key=key)
    keys = [request.headers["Idempotency-Key"] for request in service.asked]
    assert keys[0] != keys[1]
    assert keys[2:] == ["mine", "mine"]


def test_tries_are_bounded_and_wait_longer_each_time():
    """After so many tries the last refusal is raised; the waits grow and keep below their limit."""
    service = Service(httpx.Response(503))
    with pytest.raises(HuikaProblem, match="http_503"):
        service.client().quote(SUBMISSION)
    assert len(service.asked) == TRIES
    assert len(service.waited) == TRIES - 1
    assert service.waited[-1] > service.waited[0]
    assert max(service.waited) <= MOST_WAIT_SECONDS
    gone = Service(httpx.ConnectError("down"))
    with pytest.raises(HuikaUnreachable):
        gone.client().prices()
    assert len(gone.asked) == TRIES


def test_retry_after_is_honoured_or_the_refusal_raised():
    """A short wait is waited; one longer than the limit is for the caller to decide."""
    soon = Service(httpx.Response(429, headers={"Retry-After": "2"}), given())
    soon.client().quote(SUBMISSION)
    assert soon.waited == [2.0]
    late = Service(httpx.Response(429, headers={"Retry-After": "3600"}))
    with pytest.raises(HuikaProblem):
        late.client().quote(SUBMISSION)
    assert (len(late.asked), late.waited) == (1, [])


def test_a_refusal_is_not_asked_again():
    """Asking again would be refused again."""
    service = Service(httpx.Response(422, json=PROBLEM))
    with pytest.raises(HuikaProblem, match="unknown_card_type"):
        service.client().quote(SUBMISSION)
    assert len(service.asked) == 1


def test_what_a_newer_service_says_is_passed_over():
    """A field that this client does not know breaks nothing."""
    newer = examples.QUOTE | {"mood": "good", "models": examples.QUOTE["models"] | {"third": "9"}}
    assert Service(httpx.Response(200, json=newer)).client().get_quote("q-1").rate == 0.9049


def test_a_service_that_is_not_there_is_not_ready():
    """Asking whether it is ready never raises."""
    assert not Service(httpx.ConnectError("down")).client().is_ready()
    assert not Service(httpx.Response(503)).client().is_ready()
    assert Service(httpx.Response(200)).client().is_ready()
