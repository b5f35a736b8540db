"""Files of trades are answered by the platform's profile, ranked for its analysts, and not reviewed for nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from models.policy import Costs
from models.quoting import ModelPair, Terms, quote
from pipelines import answering
from pipelines.answering import Batch
from pipelines.champions import load_pair
from pipelines.explaining_trades import batch_of
from pipelines.terms import terms_of
from pipelines.wiring import model_registry
from pipelines.workspace import Workspace

Asked = tuple[Batch, dict[str, np.ndarray], ModelPair, Terms]


@pytest.fixture(scope="module")
def asked(trained_home) -> Asked:
    """The newest 300 stored trades as a file would bring them, with their features, models and terms."""
    workspace = Workspace.open(trained_home)
    models = load_pair(model_registry(workspace))
    trades = workspace.tables.read("trades")
    batch = batch_of(workspace, trades.slice(len(trades) - 300).to_pylist())
    columns = answering.batch_features(workspace, batch, models=models, progress=lambda done, total: None)
    return batch, columns, models, terms_of(workspace)


def _scored(asked: Asked, terms: Terms) -> pa.Table:
    batch, columns, models, _ = asked
    return answering.score_batch(batch, columns, models=models, terms=terms)


def test_a_queue_can_be_ranked_and_says_what_a_review_saves(asked: Asked) -> None:
    """Every scored row says what a look at it saves in money, and its priority; what the model reviews has one."""
    terms = asked[3]
    table = _scored(asked, terms)
    assert all(np.isfinite(table[name].to_numpy()).all() for name in ("review_saving_cny", "review_priority"))
    batch, columns, models, _ = asked
    answers = quote(answering.asked_of(batch, columns), models=models, terms=terms)
    reviewed = answers.decisions.action == "review"
    assert (answers.decisions.review_priority_fen[reviewed] > 0).all()


def test_only_refusals_offer_a_persons_review(asked: Asked) -> None:
    """``human_review`` stands exactly at refused rows, whose reasons are never empty."""
    table = _scored(asked, asked[3])
    refused = np.array(table["decision"].to_pylist()) == "refuse"
    assert np.array_equal(table["human_review"].to_numpy(zero_copy_only=False), refused)
    assert all(reasons for reasons in table["reasons"].to_pylist())


def test_a_small_platforms_file_goes_to_people(asked: Asked) -> None:
    """In profile small nothing is paid or held without a person, and each row says so."""
    table = _scored(asked, replace(asked[3], profile="small"))
    assert set(table["decision"].to_pylist()) <= {"review", "refuse"}
    assert all("PERSON_DECIDES" in reasons for reasons in table["reasons"].to_pylist())


def test_a_medium_platforms_model_refuses_nothing(asked: Asked) -> None:
    """In profile medium a refusal can only come from a rule, a list or a limit."""
    batch, columns, models, terms = asked
    without_rules = Terms(costs=terms.costs, decision=terms.decision, price=terms.price, profile="medium")
    table = answering.score_batch(batch, columns, models=models, terms=without_rules)
    assert "refuse" not in table["decision"].to_pylist()
    assert "review" in table["decision"].to_pylist()


def test_a_card_without_an_offer_is_not_queued(asked: Asked) -> None:
    """Where no rate earns anything nobody has to look: the decision stays that of the fraud risk alone, nothing is
    ranked for review, and the answer says that there is no offer."""
    batch, columns, models, terms = asked
    dear = replace(terms, costs=Costs(handling_cny=100_000))
    table = answering.quote_batch(batch, columns, models=models, terms=dear)
    assert all(table["no_offer"].to_pylist())
    assert table["review_saving_cny"].null_count == table["review_priority"].null_count == len(table)
    assert "pay" in table["decision"].to_pylist()
