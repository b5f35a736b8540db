"""The analysts' queue over HTTP: the saving is kept with the quote, and analysts alone see it."""

from __future__ import annotations

import pytest

from serving.api.submission_examples import LIST
from serving.api.submission_schemas import SubmissionList
from tests.conftest import TODAY
from tests.pipelines.test_review_queue import NOW, OVERDUE, wait
from tests.serving.test_api import ask, submission


@pytest.mark.both_storages
def test_a_quote_keeps_what_the_queue_is_worked_by_and_analysts_alone_see_it(client, desk):
    """The stored quote has saving and priority; the queue shows both, the quote as told has neither."""
    quote = ask(client, submission())
    stored = desk.data.quote(quote["quote_id"])
    assert stored is not None
    kept = stored["answer"]["analyst"]
    assert kept["review_priority_fen"] is not None
    assert "review_priority_fen" not in str(client.get(f"/v1/quotes/{quote['quote_id']}").json())
    wait(desk.data, "mine", 0.0, since=OVERDUE + (NOW - TODAY), quote_id=quote["quote_id"])
    answer = client.get("/v1/submissions").json()
    shown = SubmissionList.model_validate(answer).submissions[0]
    assert shown.review_priority_fen == kept["review_priority_fen"]
    assert shown.review_saving_fen == round(kept["review_saving_fen"])
    assert shown.overdue
    assert answer["reviews_left_today"] is None


def test_the_example_of_the_queue_is_one():
    """What `/docs.json` shows is what the route can answer."""
    assert SubmissionList.model_validate(LIST).reviews_left_today == 40
