"""What becomes of a question to a partner: every failure has a name, nothing leaks, nothing is done twice."""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Callable

import httpx
import pytest

from pipelines.breaker import Breaker
from pipelines.partner_settings import AdapterSettings
from pipelines.recycling.adapters import connect
from pipelines.recycling.adapters.http_adapter import HttpAdapter, Limits, Question
from pipelines.recycling.adapters.issuer import HttpIssuer, PresentedCard
from pipelines.recycling.secret import Secret
from pipelines.settings import SettingsError, load_settings

NUMBER, SECRET = "62223334445556661", "SECRETMARKER424242"
CARD = PresentedCard("china_mobile", Secret(NUMBER), Secret(SECRET))
READ = Question("GET", "/thing")
CHANGE = Question("POST", "/thing", body={"a": 1})
KEYED = Question("POST", "/thing", body={"a": 1}, idempotency_key="k-1")


class Clock:
    """A clock that moves when somebody sleeps, or is told to."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


class Partner:
    """Answers requests one after the other with what it was given: a response, an error or a function."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)


def adapter(
    partner: Callable[[httpx.Request], httpx.Response], *, clock: Clock, attempts: int = 3
) -> HttpAdapter:
    return HttpAdapter(
        name="partner",
        base_url="https://partner.example/api/",
        client=httpx.Client(transport=httpx.MockTransport(partner)),
        token="tok",
        limits=Limits(timeout_seconds=1, attempts=attempts),
        known_codes=("unauthorised",),
        sleep=clock.sleep,
        rng=random.Random(1),
        clock=clock,
    )


def ask(question: Question, *answers: httpx.Response | Exception, attempts: int = 1):
    """The outcome of one question to a partner that answers so, and the partner."""
    partner = Partner(*answers)
    found = adapter(partner, clock=Clock(), attempts=attempts).ask(question, read=lambda answer: answer["x"])
    return found, partner


def refusal(status: int, code: str, **headers: str) -> httpx.Response:
    return httpx.Response(status, json={"code": code, "detail": SECRET}, headers=headers)


GOOD = httpx.Response(200, json={"x": 5})


@pytest.mark.parametrize(
    ("answer", "state", "code", "after"),
    [
        (refusal(429, "too_frequent", **{"Retry-After": "7"}), "busy", "too_frequent", 7),
        (refusal(503, "maintenance", **{"Retry-After": "1800"}), "maintenance", "maintenance", 1800),
        (refusal(503, "", **{"Retry-After": "soon"}), "busy", "", None),
        (httpx.Response(500, text=SECRET), "busy", "http_500", None),
        (httpx.Response(504), "timeout", "", None),
        (refusal(401, "unauthorised"), "refused", "unauthorised", None),
        (refusal(400, SECRET), "refused", "other", None),
        (httpx.Response(404, text=SECRET), "refused", "http_404", None),
        (httpx.Response(302, headers={"Location": "https://elsewhere.example"}), "garbled", "http_302", None),
        (httpx.Response(200, text="<html>"), "garbled", "", None),
        (httpx.Response(200, json=[1]), "garbled", "", None),
        (httpx.Response(200, json={"y": 5}), "garbled", "", None),
        (httpx.Response(200, text="[" * 100_000), "garbled", "", None),
        (httpx.Response(200, content=b"1" * 1_000_001), "garbled", "", None),
        (httpx.ConnectError("no"), "unreachable", "", None),
        (httpx.ConnectTimeout("no"), "unreachable", "", None),
        (httpx.ReadTimeout("no"), "timeout", "", None),
        (httpx.RemoteProtocolError("no"), "garbled", "", None),
        (httpx.ReadError("no"), "unreachable", "", None),
    ],
)
def test_every_failure_is_a_named_state(answer, state, code, after):
    """No failure is an exception, and of a refusal only a name that the contract knows comes through."""
    outcome, _ = ask(READ, answer)
    assert (outcome.state, outcome.code, outcome.retry_after_seconds) == (state, code, after)
    assert outcome.value is None
    assert SECRET not in repr(outcome)


def test_an_empty_address_is_not_connected():
    """Without an address nobody is asked, and each partner says so."""
    with httpx.Client(transport=httpx.MockTransport(lambda request: pytest.fail("asked"))) as client:
        partners = connect(AdapterSettings(), client=client)
        assert partners.issuer.check(CARD).state == "not_connected"
        assert partners.identity.verified("r-1").state == "not_connected"
        assert partners.devices.risk("d-1").state == "not_connected"
        assert partners.bureau.grade("r-1").state == "not_connected"
        assert partners.credit.grade("r-1").state == "not_connected"
        assert partners.logistics.track("s-1").state == "not_connected"


@pytest.mark.parametrize("question", [READ, KEYED, Question("POST", "/thing", changes_nothing=True)])
def test_what_may_be_repeated_is(question):
    """Reads, questions that change nothing and requests with an idempotency key are asked again, with the same key."""
    outcome, partner = ask(question, httpx.ReadTimeout("no"), httpx.Response(500), GOOD, attempts=3)
    assert (outcome.state, outcome.value, outcome.attempts, outcome.maybe_done) == ("ok", 5, 3, False)
    assert len({request.headers.get("Idempotency-Key") for request in partner.requests}) == 1


def test_a_change_without_a_key_is_asked_once_if_it_may_have_arrived():
    """A time-out of a change without a key is not repeated, and says that it may have been done."""
    outcome, partner = ask(CHANGE, httpx.ReadTimeout("no"), GOOD, attempts=3)
    assert (outcome.state, outcome.maybe_done, len(partner.requests)) == ("timeout", True, 1)


def test_a_change_that_never_arrived_is_repeated():
    """A connection that was never made may be tried again without a key."""
    outcome, _ = ask(CHANGE, httpx.ConnectError("no"), GOOD, attempts=2)
    assert outcome.value == 5


def test_doubt_about_an_earlier_attempt_stays():
    """A refusal to connect does not undo the doubt that an earlier attempt left."""
    outcome, _ = ask(KEYED, httpx.ReadTimeout("no"), httpx.ConnectError("no"), attempts=2)
    assert (outcome.state, outcome.maybe_done) == ("unreachable", True)


@pytest.mark.parametrize(
    "answer",
    [refusal(403, "unauthorised"), refusal(503, "maintenance"), refusal(429, "", **{"Retry-After": "60"})],
)
def test_what_asking_again_would_not_change_is_not_asked_again(answer):
    """A refusal, maintenance and a wish for more patience than a request has go back to the caller at once."""
    _, partner = ask(READ, answer, GOOD, attempts=3)
    assert len(partner.requests) == 1


def test_pauses_are_short_random_and_bounded():
    """Between attempts there is a random pause whose bound doubles; a short Retry-After is kept to the second."""
    clock = Clock()
    adapter(Partner(httpx.Response(500)), clock=clock, attempts=4).ask(READ, read=dict)
    assert len(clock.slept) == 3
    assert all(0 <= pause <= 0.2 * 2**place for place, pause in enumerate(clock.slept))
    clock = Clock()
    adapter(Partner(refusal(429, "", **{"Retry-After": "2"}), GOOD), clock=clock).ask(READ, read=dict)
    assert clock.slept == [2]


def test_a_dripping_answer_ends_with_the_deadline():
    """A body that comes piece by piece, each in time, does not outlast the timeout of the whole."""
    clock = Clock()

    class Dripping(httpx.SyncByteStream):
        def __iter__(self):
            for _ in range(100):
                clock.now += 0.3
                yield b" "

    slow = adapter(lambda request: httpx.Response(200, stream=Dripping()), clock=clock, attempts=1)
    assert slow.ask(READ, read=dict).state == "timeout"
    assert clock.now < 2


def test_the_circuit_opens_and_closes():
    """After three failed questions the partner is left alone, longer each time; one success ends it."""
    clock, partner = Clock(), Partner(httpx.ConnectError("no"))
    calm = adapter(partner, clock=clock, attempts=1)
    for _ in range(3):
        assert calm.ask(READ, read=dict).code == ""
    resting = calm.ask(READ, read=dict)
    assert (resting.state, resting.code, resting.retry_after_seconds) == ("unreachable", "resting", 1.0)
    assert len(partner.requests) == 3
    clock.now += 1.0
    assert calm.ask(READ, read=dict).code == ""
    assert calm.ask(READ, read=dict).retry_after_seconds == 2.0
    clock.now += 2.0
    partner.answers = [GOOD]
    assert calm.ask(READ, read=dict).ok
    assert calm.ask(READ, read=dict).ok


def test_a_rest_is_never_longer_than_a_minute_and_one_tries_alone():
    """The rest doubles up to a minute; when it is over, one question goes first and the others wait for it."""
    clock = Clock()
    breaker = Breaker(clock=clock)
    for _ in range(30):
        breaker.failed()
    assert breaker.rest_seconds() == 60
    clock.now += 60
    assert breaker.rest_seconds() == 0
    assert breaker.rest_seconds() == 60
    breaker.succeeded()
    assert breaker.rest_seconds() == 0


def test_refusals_do_not_open_the_circuit():
    """A partner that refuses is there."""
    clock, partner = Clock(), Partner(refusal(403, "unauthorised"))
    calm = adapter(partner, clock=clock, attempts=1)
    assert [calm.ask(READ, read=dict).code for _ in range(6)] == ["unauthorised"] * 6


def test_a_card_travels_in_the_body_alone(caplog):
    """Number and secret stand in the request's body: not in its address, headers, log lines, outcome or failure."""
    partner = Partner(httpx.Response(500, text=f"{NUMBER} {SECRET}"))
    with caplog.at_level(logging.DEBUG):
        outcome = HttpIssuer(adapter(partner, clock=Clock(), attempts=2)).check(CARD)
    sent = partner.requests[0]
    assert json.loads(sent.content) == {"card_type": "china_mobile", "number": NUMBER, "secret": SECRET}
    assert sent.headers["Authorization"] == "Bearer tok"
    shown = f"{sent.url} {sent.headers} {caplog.text} {outcome!r} {CARD!r} {Question('POST', '/x', body=CARD.body())!r}"
    assert NUMBER not in shown
    assert SECRET not in shown
    assert "partner partner: busy http_500, 2 attempts" in caplog.text


@pytest.mark.parametrize(
    "answer",
    [
        {"standing": "splendid"},
        {"standing": "active", "balance_fen": -1},
        {"standing": "active", "balance_fen": 1.5},
        {"standing": "active", "balance_fen": True},
        {"standing": "active", "balance_fen": "500"},
        {"standing": "active", "balance_fen": 10**20},
        {"standing": "active", "expires_on": "soon"},
        {"standing": "active", "reactivatable": "yes"},
        {},
        None,
    ],
)
def test_an_issuer_that_makes_no_sense_is_garbled(answer):
    """An unknown word, an impossible amount, a missing field: misread, never guessed."""
    issuer = HttpIssuer(adapter(Partner(httpx.Response(200, json=answer)), clock=Clock(), attempts=1))
    assert issuer.check(CARD).state == "garbled"


def test_an_answer_about_something_else_is_garbled():
    """A redemption that answers for another id is not taken for ours."""
    answer = {"redemption_id": "other", "state": "done", "amount_fen": 1, "standing": "used"}
    issuer = HttpIssuer(adapter(Partner(httpx.Response(200, json=answer)), clock=Clock(), attempts=1))
    outcome = issuer.redeem(CARD, redemption_id="mine", amount_fen=1)
    assert (outcome.state, outcome.maybe_done) == ("garbled", True)


def test_ids_cannot_leave_their_place_in_the_address():
    """An id with slashes or a question mark stays one part of the path."""
    partner = Partner(GOOD)
    HttpIssuer(adapter(partner, clock=Clock(), attempts=1)).redemption("../x?y=1", card_type="jd_ecard")
    assert partner.requests[0].url.raw_path == b"/api/redemptions/..%2Fx%3Fy%3D1"


def test_addresses_must_be_encrypted_or_local(tmp_path):
    """Secrets travel over https, or to this machine; any other address is refused with its key."""
    path = tmp_path / "huika.toml"
    path.write_text('[adapters]\nissuer_url = "http://issuer.example"\n')
    with pytest.raises(SettingsError, match=r"adapters\.issuer_url.*must be https"):
        load_settings(path)
    path.write_text('[adapters]\nissuer_url = "http://127.0.0.1:8800/issuer"\nissuer_token = "t0ken"\n')
    assert "t0ken" not in repr(load_settings(path))
