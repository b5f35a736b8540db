"""Reasons name what raises a trade's risk, in both languages, and claim only what is true of it."""

from __future__ import annotations

import re

import numpy as np
import pytest

from features.definitions import FEATURES
from models.fraud.model import FamilyContributions
from models.fraud.profiles import PERSON_CONFIRMS, PERSON_DECIDES, PERSON_REFUSES
from models.fraud.reason_dictionary import (
    AMOUNT_AT_RISK,
    CASES,
    HUMAN_REVIEW,
    NO_FRAUD_SCORE,
    NO_RISK_SIGNALS,
    OTHER_RISK_SIGNALS,
    OVERALL_RISK,
)
from models.fraud.reasons import LEAST_LOG_ODDS, MOST_REASONS, reason_codes
from models.reasons import Reason
from tests.models.fraud_market import fitted, market

ALL_REASONS = [case.reason for cases in CASES.values() for case in cases] + [
    NO_RISK_SIGNALS,
    OTHER_RISK_SIGNALS,
    NO_FRAUD_SCORE,
    AMOUNT_AT_RISK,
    OVERALL_RISK,
    HUMAN_REVIEW,
    PERSON_DECIDES,
    PERSON_CONFIRMS,
    PERSON_REFUSES,
]


def _codes(contributions: dict[str, float], **facts: float) -> list[str]:
    parts = FamilyContributions(tuple(contributions), np.array([list(contributions.values())]), base=-4.0)
    columns = {name: np.array([value]) for name, value in facts.items()}
    return [reason.code for reason in reason_codes(parts, columns)[0]]


def test_every_family_has_a_reason_that_always_holds() -> None:
    """Each family of the fraud model's features is in the dictionary (with those of former models), and its last case
    claims no fact."""
    assert {FEATURES[name].family for name in FEATURES.names("fraud")} <= set(CASES)
    assert all(cases[-1].facts == () for cases in CASES.values())


def test_facts_speak_of_features_that_exist() -> None:
    """Every column a sentence depends on is a feature of the fraud model."""
    columns = {fact.column for cases in CASES.values() for case in cases for fact in case.facts}
    assert columns <= set(FEATURES.names("fraud"))


@pytest.mark.parametrize("reason", ALL_REASONS, ids=lambda reason: reason.code)
def test_reasons_speak_both_languages_and_betray_no_threshold(reason: Reason) -> None:
    """Codes are stable upper case; the Chinese is Chinese; no sentence contains a number to stay below."""
    assert re.fullmatch(r"[A-Z][A-Z_]+", reason.code)
    assert re.search(r"[\u4e00-\u9fff]", reason.zh)
    assert reason.en.isascii()
    assert not re.search(r"\d", reason.zh + reason.en)


def test_codes_are_unique() -> None:
    """No two sentences share a code."""
    codes = [reason.code for reason in ALL_REASONS]
    assert len(codes) == len(set(codes))


def test_the_strongest_three_are_named_in_order() -> None:
    """Of five families that raise the risk, the three strongest are named, the strongest first."""
    named = _codes({"card": 0.5, "time": 0.4, "kind": 2.0, "market": 0.3, "resale": 1.0})
    assert named == ["CARD_TYPE_RISK", "RESALE_CONDITIONS", "CARD_PROFILE"]
    assert len(named) == MOST_REASONS


def test_weak_and_lowering_families_are_not_named() -> None:
    """A family below the least log-odds, or one that lowers the risk, is no reason."""
    assert _codes({"card": LEAST_LOG_ODDS / 2, "kind": 1.0, "loyalty": -0.5}) == ["CARD_TYPE_RISK"]


def test_a_family_far_behind_the_strongest_is_not_named() -> None:
    """What adds less than a quarter of the strongest is left out: which weak one comes next is chance."""
    assert _codes({"duplicate": 3.0, "kind": 0.7, "card": 0.8}) == ["CARD_HISTORY", "CARD_PROFILE"]


def test_a_trade_no_riskier_than_average_has_no_risk_signal() -> None:
    """A trade whose families sum to nothing, or below, gets the neutral reason alone."""
    assert _codes({"card": 1.0, "loyalty": -2.0}) == ["NO_RISK_SIGNALS"]
    assert _codes({"card": 0.01}) == ["NO_RISK_SIGNALS"]


@pytest.mark.parametrize(
    ("family", "facts", "code"),
    [
        ("duplicate", {"fingerprint_count_all": 1.0}, "DUPLICATE_CARD"),
        ("duplicate", {"fingerprint_count_all": 0.0}, "CARD_HISTORY"),
        ("duplicate", {"fingerprint_count_all": np.nan}, "CARD_HISTORY"),
        ("duplicate", {}, "CARD_HISTORY"),
        ("device_risk", {"device_frauds_all": 2.0}, "DEVICE_FRAUD_HISTORY"),
        ("device_risk", {"device_frauds_all": 0.0}, "DEVICE_RECORD"),
        ("sharing", {"payout_account_sellers_30d": 2.0}, "SHARED_PAYOUT_ACCOUNT"),
        ("seller_velocity", {"seller_count_all": 0.0, "card_face_cny": 1000.0}, "NEW_SELLER_HIGH_AMOUNT"),
        ("seller_velocity", {"seller_count_all": 0.0, "card_face_cny": 10.0}, "NEW_SELLER"),
        ("seller_velocity", {"seller_count_all": 9.0, "seller_count_1h": 5.0}, "FAST_REPEAT_SUBMISSIONS"),
    ],
)
def test_a_fact_is_claimed_only_where_it_holds(family: str, facts: dict[str, float], code: str) -> None:
    """The sentence of a family follows the trade's own columns; unknown values claim nothing."""
    assert _codes({family: 1.0}, **facts) == [code]


def test_an_unknown_family_still_gets_a_reason() -> None:
    """A family the dictionary does not know is covered by the general reason."""
    assert _codes({"brand_new": 1.0}) == ["OTHER_RISK_SIGNALS"]


def test_reasons_of_a_batch_are_those_of_its_rows() -> None:
    """A fitted model's reasons are the same row by row as together."""
    model = fitted()
    columns = market(60, seed=8).columns
    together = reason_codes(model.contributions(columns), columns)
    for row in range(60):
        alone = {name: column[row : row + 1] for name, column in columns.items()}
        assert reason_codes(model.contributions(alone), alone) == [together[row]]
    assert len(set(together)) > 1
