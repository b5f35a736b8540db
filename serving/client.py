"""A typed client of the HTTP service.

with HuikaClient("http://127.0.0.1:8700", api_key="hk_…") as huika:
    quote = huika.quote(Submission(card=..., seller=...))
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote as quoted
from uuid import uuid4

import httpx
from pydantic import BaseModel, ValidationError

from serving.api.problem_schema import FieldProblem, ProblemDetails
from serving.api.schemas import (
    Accepted,
    Declined,
    EventReceipt,
    FraudCleared,
    FraudConfirmed,
    FraudScore,
    MarketObserved,
    PriceBoard,
    PriceHistory,
    Quote,
    QuoteBatchAnswer,
    Resold,
    Submission,
)

if TYPE_CHECKING:
    from serving.api.dispute_schemas import ComplaintMade, Judgement
    from serving.api.explanations import QuoteExplanation
    from serving.api.submission_schemas import Decision, NewSubmission, SubmissionView

Event = Accepted | Declined | Resold | FraudConfirmed | FraudCleared | MarketObserved
Answer = TypeVar("Answer", bound=BaseModel)

TRIES = 4
FIRST_WAIT_SECONDS, MOST_WAIT_SECONDS = 0.2, 5.0
LATER = frozenset({429, 503})
"""Statuses of a request that was not taken and may be sent again, as whatever says ``Retry-After`` may."""
NOT_HERE, NO_SUCH_ROUTE = frozenset({404, 405}), "not_found"
"""What others say, and what the service says, where it has no such path."""


class HuikaProblem(Exception):
    """The service refused. ``code`` is stable (``http_<status>`` where the answer was no problem of the service's own);
    ``errors`` names fields and what is wrong with them."""

    def __init__(self, status: int, code: str, detail: str, errors: Sequence[FieldProblem] = ()) -> None:
        super().__init__(f"{status} {code}: {detail}")
        self.status = status
        self.code = code
        self.detail = detail
        self.errors = tuple(errors)


class HuikaElsewhere(HuikaProblem):
    """What answered does not know the service's paths or forms: the address is wrong."""


class HuikaUnreachable(Exception):
    """No answer came, after every try. What was asked may have been done; asking again with the same key is safe."""


class HuikaClient:
    """Asks one service. Every POST has an idempotency key, so that a request whose answer was lost is sent again and
    still counts once; ``idempotency_key`` makes that hold beyond this process.

    ``timeout``: seconds for each try. ``http``: a client to send with, in place of one of its own.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str | None = None,
        *,
        timeout: float = 10.0,
        http: httpx.Client | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.base_url = base_url
        self._http = http or httpx.Client(base_url=base_url, timeout=timeout, trust_env=False)
        self._headers = {} if api_key is None else {"Authorization": f"Bearer {api_key}"}
        self._sleep = sleep

    def __enter__(self) -> HuikaClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def quote(self, submission: Submission, *, idempotency_key: str | None = None) -> Quote:
        """Price a card. Raises HuikaProblem, as every method does."""
        return self._post("/v1/quotes", _body(submission), Quote, key=idempotency_key)

    def quotes(
        self, submissions: Sequence[Submission], *, idempotency_key: str | None = None
    ) -> QuoteBatchAnswer:
        """Price up to 500 cards; a result has a quote or a problem, in the order of the submissions."""
        body = {"submissions": [_body(submission) for submission in submissions]}
        return self._post("/v1/quotes/batch", body, QuoteBatchAnswer, key=idempotency_key)

    def score(self, submission: Submission, *, idempotency_key: str | None = None) -> FraudScore:
        """Score a submission for fraud without a price."""
        return self._post("/v1/fraud-scores", _body(submission), FraudScore, key=idempotency_key)

    def tell(self, event: Event) -> EventReceipt:
        """Tell what happened. The event's own id makes telling it again harmless."""
        return self._post("/v1/events", _body(event), EventReceipt, key=None)

    def get_quote(self, quote_id: str) -> Quote:
        """A quote as it was given."""
        return self._get(f"/v1/quotes/{quoted(quote_id, safe='')}", Quote)

    def explain(self, quote_id: str) -> QuoteExplanation:
        """For risk analysts: why a quote is what it is."""
        from serving.api.explanations import QuoteExplanation  # it brings the models' modules along

        return self._get(f"/v1/quotes/{quoted(quote_id, safe='')}/explanation", QuoteExplanation)

    # --- the recycling flow

    def submit(self, card: NewSubmission) -> SubmissionView:
        """Submit a card for sale. Its number and secret leave this process in the request's body alone."""
        body = _body(card)
        for name in ("number", "secret"):
            if (code := getattr(card.card, name)) is not None:
                body["card"][name] = code.get_secret_value()
        return self._flow("", body)

    def submission(self, submission_id: str) -> SubmissionView:
        """A trade as it stands."""
        from serving.api.submission_schemas import SubmissionView

        return self._get(f"/v1/submissions/{quoted(submission_id, safe='')}", SubmissionView)

    def accept(self, submission_id: str, *, quote_id: str) -> SubmissionView:
        """The seller accepts the quote."""
        return self._flow(f"/{quoted(submission_id, safe='')}/acceptance", {"quote_id": quote_id})

    def decide(self, submission_id: str, decision: Decision) -> SubmissionView:
        """For analysts and operators: decide as a person."""
        return self._flow(f"/{quoted(submission_id, safe='')}/decisions", _body(decision))

    def complain(self, submission_id: str, complaint: ComplaintMade) -> SubmissionView:
        """Say that something is wrong with a paid trade."""
        return self._flow(f"/{quoted(submission_id, safe='')}/complaints", _body(complaint))

    def judge(self, submission_id: str, judgement: Judgement) -> SubmissionView:
        """For analysts: decide a complaint."""
        return self._flow(f"/{quoted(submission_id, safe='')}/judgement", _body(judgement))

    def _flow(self, path: str, body: dict[str, Any]) -> SubmissionView:
        from serving.api.submission_schemas import SubmissionView

        return self._post(f"/v1/submissions{path}", body, SubmissionView, key=None)

    def prices(self) -> PriceBoard:
        """The public price board."""
        return self._get("/v1/prices", PriceBoard)

    def price_history(self, card_type: str) -> PriceHistory:
        """What the board showed for a card type."""
        return self._get(f"/v1/prices/{quoted(card_type, safe='')}/history", PriceHistory)

    def is_ready(self) -> bool:
        """Whether the service answers; never raises for one that does not yet."""
        try:
            return self._http.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def _get(self, path: str, kind: type[Answer]) -> Answer:
        return _read(self._sent("GET", path, headers=self._headers, body=None), kind)

    def _post(self, path: str, body: dict[str, Any], kind: type[Answer], *, key: str | None) -> Answer:
        headers = self._headers | {"Idempotency-Key": key or uuid4().hex}
        return _read(self._sent("POST", path, headers=headers, body=body), kind)

    def _sent(
        self, method: str, path: str, *, headers: dict[str, str], body: dict[str, Any] | None
    ) -> httpx.Response:
        """The answer, after up to ``TRIES`` tries. Raises HuikaUnreachable where none comes."""
        for number in range(TRIES):
            last = number == TRIES - 1
            try:
                response = self._http.request(method, path, headers=headers, json=body)
            except httpx.TransportError as error:
                if last:
                    raise HuikaUnreachable(f"{method} {path}: {type(error).__name__}") from error
                asked = 0.0
            else:
                asked = _asked_wait(response)
                later = response.status_code in LATER or asked > 0
                if last or not later or asked > MOST_WAIT_SECONDS:
                    return response
            backoff = min(MOST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2**number)
            self._sleep(max(asked, backoff * random.uniform(0.5, 1)))
        raise AssertionError("the last try returns or raises")


def _asked_wait(response: httpx.Response) -> float:
    """Seconds that the service asks to wait; 0 where it does not say."""
    said = response.headers.get("Retry-After", "")
    return float(said) if said.isdecimal() else 0.0


def _body(asked: BaseModel) -> dict[str, Any]:
    return asked.model_dump(mode="json", exclude_unset=True)


def _read(response: httpx.Response, kind: type[Answer]) -> Answer:
    """The answer's body; what a newer service says beyond it is passed over. Raises HuikaProblem, HuikaElsewhere
    where this is no answer of the service."""
    if not response.is_error:
        try:
            return kind.model_validate_json(response.content, extra="ignore")
        except ValidationError:
            raise _elsewhere(response) from None
    status = response.status_code
    try:
        problem = ProblemDetails.model_validate_json(response.content, extra="ignore")
    except ValidationError:
        if status in NOT_HERE:
            raise _elsewhere(response) from None
        raise HuikaProblem(status, f"http_{status}", response.reason_phrase) from None
    if problem.code == NO_SUCH_ROUTE:
        raise _elsewhere(response)
    raise HuikaProblem(status, problem.code, problem.detail, problem.errors)


def _elsewhere(response: httpx.Response) -> HuikaElsewhere:
    status, asked = response.status_code, response.request.url
    detail = f"{asked} is not answered by a Huika service: is the address right?"
    return HuikaElsewhere(status, f"http_{status}", detail)
