"""What an analyst is told adds up, feature by feature, in the dictionary's words."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import logit

from features.definitions import FEATURES
from models.fraud.explanation import MOST_SIGNALS, explain
from models.fraud.family_words import FAMILY_WORDS, absent_families, family_words
from models.fraud.model import FraudModel
from models.fraud.profiles import PERSON_CONFIRMS, PERSON_DECIDES, PERSON_REFUSES
from models.fraud.verdicts import WITHOUT_SIGNALS, verdicts
from models.policy import Costs, DecisionCosts
from models.reasons import Reason
from tests.models.fraud_market import fitted, market


@pytest.fixture(scope="module")
def model() -> FraudModel:
    return fitted()


def _rows(count: int) -> list[dict[str, np.ndarray]]:
    columns = market(count, seed=9).columns
    return [{name: column[row : row + 1] for name, column in columns.items()} for row in range(count)]


def test_the_parts_add_up_to_the_probability(model: FraudModel) -> None:
    """Base and families sum to the log-odds of the answer, the strongest first."""
    for columns in _rows(30):
        found = explain(model, columns, registry=FEATURES)
        total = found.base_log_odds + sum(family.log_odds for family in found.families)
        assert total == pytest.approx(logit(model.probability(columns)[0]), abs=1e-9)
        sizes = [abs(family.log_odds) for family in found.families]
        assert sizes == sorted(sizes, reverse=True)


def test_signals_carry_the_trades_own_values_and_push_the_way_of_their_family(model: FraudModel) -> None:
    """Each family shows at most three inputs with their value, which move the odds as the whole family does."""
    shown = 0
    for columns in _rows(30):
        for family in explain(model, columns, registry=FEATURES).families:
            assert len(family.signals) <= MOST_SIGNALS
            for signal in family.signals:
                shown += 1
                value = columns[signal.name][0]
                unknown = value is None or value != value
                assert (signal.value is None) if unknown else (signal.value == value)
                assert signal.log_odds * family.log_odds > 0
                assert signal.meaning == FEATURES[signal.name].meaning
                assert signal.null == (FEATURES[signal.name].null if unknown else "")
    assert shown


def test_what_the_analyst_sees_as_named_is_what_the_seller_is_told(model: FraudModel) -> None:
    """The families marked as named, in order, are the seller's reasons, and nothing is marked where none is told: also
    for a trade whose families raise its risk, but not above the average one's."""
    only_raised = 0
    for columns in _rows(400):
        told = _told(model, columns)
        found = explain(model, columns, registry=FEATURES)
        named = sorted(
            (family for family in found.families if family.named), key=lambda family: -family.log_odds
        )
        assert tuple(family.reason for family in named) == told
        raised = sum(family.log_odds for family in found.families) > 0
        only_raised += raised and found.probability <= model.base_rate
    assert only_raised


def _told(model: FraudModel, columns: dict[str, np.ndarray]) -> tuple[Reason, ...]:
    """The families that the verdict on one trade puts to its seller."""
    fen = (columns["card_face_cny"] * 100).astype(np.int64)
    found = verdicts(
        model=model,
        columns=columns,
        payout_fen=fen,
        face_value_fen=fen,
        costs=Costs(),
        decision=DecisionCosts(),
        profile="medium",
        explain_paid=True,
    )
    general = {PERSON_DECIDES, PERSON_CONFIRMS, PERSON_REFUSES, *WITHOUT_SIGNALS.values()}
    return tuple(reason for reason in found.reasons[0] if reason not in general)


def test_every_family_has_a_name_in_both_languages() -> None:
    """No family of features is without words, and an unknown one is called what it is."""
    assert set(FAMILY_WORDS) >= set(FEATURES.families().values())
    assert family_words("brand_new") == ("brand_new", "brand_new")


def test_what_a_model_lacked_is_told_by_family(model: FraudModel) -> None:
    """Families that were missing as a whole come first; of others it says how many signals."""
    device = [name for name in FEATURES.names("fraud") if FEATURES[name].family == "device_risk"]
    found = absent_families(["card_form", *device], registry=FEATURES)
    assert [(family.family, family.whole) for family in found] == [("device_risk", True), ("card", False)]
    assert str(found[0]) == "设备历史欺诈 known fraud of the device"
    assert f"(1/{found[1].of})" in str(found[1])
    assert absent_families(model.absent_signals, registry=FEATURES)[0].family == "ip_risk"
