"""The fraud model predicts, explains, and survives a round trip through its files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.special import logit

from models.fraud.decision import Thresholds
from models.fraud.model import FraudModel
from models.matrix import MissingFeature
from tests.models.fraud_market import fitted, market


@pytest.fixture(scope="module")
def model() -> FraudModel:
    return fitted()


def test_a_loaded_model_answers_bit_for_bit_like_the_saved_one(model: FraudModel, tmp_path: Path) -> None:
    """Saving and loading changes neither a probability, nor a contribution, nor a recorded fact."""
    columns = market(500, seed=2).columns
    saved = model.with_thresholds(Thresholds(hold_fen=1.0, review_fen=123.5, refuse_fen=1e15))
    saved.save(tmp_path / "fraud")
    loaded = FraudModel.load(tmp_path / "fraud")
    assert np.array_equal(loaded.probability(columns), saved.probability(columns))
    assert np.array_equal(loaded.contributions(columns).log_odds, saved.contributions(columns).log_odds)
    assert loaded.contributions(columns).base == saved.contributions(columns).base
    facts = (
        "encoding",
        "calibrator",
        "families",
        "base_rate",
        "absent_signals",
        "thresholds",
        "metadata",
    )
    assert all(getattr(loaded, fact) == getattr(saved, fact) for fact in facts)


def test_one_row_is_answered_like_the_same_row_in_a_batch(model: FraudModel) -> None:
    """A live answer and a batch answer are the same float."""
    columns = market(200, seed=3).columns
    batch = model.probability(columns)
    single = [
        model.probability({name: column[i : i + 1] for name, column in columns.items()})[0] for i in range(50)
    ]
    assert np.array_equal(batch[:50], single)


def test_contributions_sum_to_the_log_odds_of_the_answer(model: FraudModel) -> None:
    """Base plus all families is the log-odds of the probability, to 1e-9."""
    columns = market(300, seed=4).columns
    parts = model.contributions(columns)
    assert parts.families == ("card", "seller_velocity", "device_risk")
    assert parts.log_odds.shape == (300, 3)
    total = parts.base + parts.log_odds.sum(axis=1)
    assert np.allclose(total, logit(model.probability(columns)), atol=1e-9)


def test_inputs_add_up_to_their_families(model: FraudModel) -> None:
    """What single inputs add sums, within families, to the families' contributions."""
    matrix = model.matrix(market(50, seed=4).columns)
    inputs, families = model.input_contributions(matrix), model.contributions_of(matrix)
    for place, family in enumerate(families.families):
        own = [model.families[name] == family for name in model.encoding.names]
        assert np.allclose(inputs[:, own].sum(axis=1), families.log_odds[:, place], atol=1e-12)


def test_an_unseen_category_and_empty_inputs_still_give_a_probability(model: FraudModel) -> None:
    """A card type never seen, a null one, and rows of nothing but nulls are answered within (0, 1)."""
    columns = {
        name: np.array(["never_seen", None], dtype=object) if name == "card_type" else np.full(2, np.nan)
        for name in model.encoding.names
    }
    answer = model.probability(columns)
    assert ((answer > 0) & (answer < 1)).all()
    assert answer[0] == answer[1]


def test_no_rows_give_no_answers(model: FraudModel) -> None:
    """An empty batch is answered by empty arrays."""
    empty = {name: column[:0] for name, column in market(10).columns.items()}
    assert model.probability(empty).shape == (0,)
    assert model.contributions(empty).log_odds.shape == (0, 3)


def test_a_missing_column_is_named(model: FraudModel) -> None:
    """Leaving out a trained signal is refused by name; leaving out an absent one is not."""
    columns = market(10).columns
    without_absent = {name: column for name, column in columns.items() if name != "ip_fraud_rate_30d"}
    assert len(model.probability(without_absent)) == 10
    without_needed = {name: column for name, column in columns.items() if name != "device_fraud_rate_30d"}
    with pytest.raises(MissingFeature, match="device_fraud_rate_30d"):
        model.probability(without_needed)
