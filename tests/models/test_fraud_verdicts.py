"""Verdicts: no decision without a reason, no machine refusal of high stakes, and the same answer row by row."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.fraud.decision import Thresholds
from models.fraud.model import FraudModel
from models.fraud.profiles import PERSON_REFUSES
from models.fraud.reason_dictionary import AMOUNT_AT_RISK, NO_RISK_SIGNALS, OVERALL_RISK
from models.fraud.verdicts import Verdicts, as_decided, verdicts
from models.matrix import Columns
from models.policy import Costs, DecisionCosts, Profile
from tests.models.fraud_market import fitted, market

ROWS = 40
PROFILES: tuple[Profile, ...] = ("small", "medium", "head")


@pytest.fixture(scope="module")
def model() -> FraudModel:
    return fitted()


def _judge(
    model: FraudModel | None,
    columns: Columns,
    *,
    face_fen: np.ndarray,
    profile: Profile = "head",
    explain_paid: bool = False,
    **costs: float,
) -> Verdicts:
    return verdicts(
        model=model,
        columns=columns,
        payout_fen=(0.9 * face_fen).astype(np.int64),
        face_value_fen=face_fen,
        costs=Costs(),
        decision=DecisionCosts.model_validate(costs),
        profile=profile,
        explain_paid=explain_paid,
    )


def _random_columns(seed: int) -> dict[str, np.ndarray]:
    """Values that no market has: every size, every null, categories never seen."""
    rng = np.random.default_rng(seed)
    columns: dict[str, np.ndarray] = {
        name: rng.choice([0.0, 1.0, rng.normal(0, 1e3), rng.normal(0, 1), np.nan], ROWS)
        for name in ("card_face_cny", "seller_count_1h", "device_fraud_rate_30d", "ip_fraud_rate_30d")
    }
    columns["card_type"] = rng.choice(np.array(["any_pay", "fuel", "never_seen", None], dtype=object), ROWS)
    return columns


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    profile=st.sampled_from(PROFILES),
    margin=st.floats(0, 1),
    complains=st.floats(0, 1),
    catches=st.floats(0, 1),
)
def test_no_trade_is_refused_or_kept_waiting_without_a_reason(
    model: FraudModel, seed: int, profile: Profile, margin: float, complains: float, catches: float
) -> None:
    """On any columns and costs, each decision has a reason in both languages, and one that stops a trade never says
    that there was no sign of risk unless a person decides everything."""
    face = np.random.default_rng(seed).integers(100, 2_000_000, ROWS)
    found = _judge(
        model,
        _random_columns(seed),
        face_fen=face,
        profile=profile,
        margin_share=margin,
        complaint_probability=complains,
        review_catches=catches,
    )
    for action, reasons in zip(found.action, found.reasons, strict=True):
        assert all(reason.code and reason.zh and reason.en for reason in reasons)
        assert len(reasons) >= 1
        alone = [reason.code for reason in reasons] == ["NO_RISK_SIGNALS"]
        assert not (alone and action != "pay")


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_high_stakes_are_never_refused_by_a_program(model: FraudModel, seed: int) -> None:
    """However risky, a trade from the high stakes on goes to a person, who is told why."""
    face = np.random.default_rng(seed).integers(400_000, 700_000, ROWS)
    found = _judge(model, _random_columns(seed), face_fen=face, margin_share=0, complaint_probability=0)
    assert (found.decisions.action == "refuse").any()
    stopped = (found.decisions.action == "refuse") & (face >= 500_000)
    assert set(found.action[stopped]) <= {"review"}
    assert set(found.action[~stopped & (found.decisions.action == "refuse")]) <= {"refuse"}
    codes = [found.reasons[row][0].code for row in np.flatnonzero(stopped)]
    assert set(codes) <= {"PERSON_REFUSES"}


def test_without_a_model_nothing_is_paid_and_the_answer_says_why() -> None:
    """No score: held, or with a person where the profile wants one; never paid."""
    face = np.full(ROWS, 50_000)
    for profile in PROFILES:
        found = _judge(None, _random_columns(1), face_fen=face, profile=profile)
        assert set(found.action) == {"hold" if profile == "head" else "review"}
        assert all(reasons[-1].code == "NO_FRAUD_SCORE" for reasons in found.reasons)


def test_a_trade_is_answered_like_the_same_trade_in_a_batch(model: FraudModel) -> None:
    """Action, probability and reasons of one trade do not depend on the others asked with it."""
    columns = market(60, seed=5).columns
    face = np.rint(columns["card_face_cny"] * 100).astype(np.int64)
    together = _judge(model, columns, face_fen=face)
    for row in range(60):
        alone = _judge(
            model,
            {name: column[row : row + 1] for name, column in columns.items()},
            face_fen=face[row : row + 1],
        )
        assert alone.action[0] == together.action[row]
        assert alone.probability[0] == together.probability[row]
        assert alone.reasons[0] == together.reasons[row]


def test_what_is_no_riskier_than_average_has_no_sign_of_risk(model: FraudModel) -> None:
    """Below the base rate no family is named: a paid trade says so, one that waits for its amount says that."""
    columns = market(2_000, seed=6).columns
    found = _judge(model, columns, face_fen=np.full(2_000, 100_000))
    calm = found.probability <= model.base_rate
    codes = {found.reasons[row][0].code for row in np.flatnonzero(calm & (found.action == "pay"))}
    assert codes == {"NO_RISK_SIGNALS"}
    waiting = {found.reasons[row][0].code for row in np.flatnonzero(calm & (found.action == "hold"))}
    assert waiting == {"AMOUNT_AT_RISK"}
    named = [found.reasons[row] for row in np.flatnonzero(found.action == "refuse")]
    assert named
    assert all(reasons[0].code not in ("NO_RISK_SIGNALS", "AMOUNT_AT_RISK") for reasons in named)


def test_why_a_paid_trade_has_its_score_is_told_only_when_asked_for(model: FraudModel) -> None:
    """A paid trade has no sign of risk worth telling its seller, however its probability came about; asked for, its
    families are named. What is not paid has the same reasons either way."""
    columns, face = market(2_000, seed=6).columns, np.full(2_000, 5_000)
    briefly = _judge(model, columns, face_fen=face)
    asked = _judge(model, columns, face_fen=face, explain_paid=True)
    paid = np.flatnonzero(briefly.action == "pay").tolist()
    assert {briefly.reasons[row] for row in paid} == {(NO_RISK_SIGNALS,)}
    assert any(asked.reasons[row] != (NO_RISK_SIGNALS,) for row in paid)
    waiting = np.flatnonzero(briefly.action != "pay").tolist()
    assert waiting
    assert [briefly.reasons[row] for row in waiting] == [asked.reasons[row] for row in waiting]


def test_the_models_thresholds_ration_its_decisions(model: FraudModel) -> None:
    """A model that has learned never to hold does not hold."""
    columns = market(500, seed=6).columns
    face = np.full(500, 100_000)
    assert "hold" in _judge(model, columns, face_fen=face).action
    rationed = replace(model, thresholds=Thresholds(hold_fen=1e15))
    assert "hold" not in _judge(rationed, columns, face_fen=face).action


def test_no_reason_speaks_of_a_refusal_that_did_not_come():
    """A let-through trade reads like any paid one; what a person or an allow list softened is not called refused."""
    refused = (PERSON_REFUSES, OVERALL_RISK)
    assert as_decided(refused, action="review", let_through=False) == (PERSON_REFUSES, AMOUNT_AT_RISK)
    assert as_decided(refused, action="refuse", let_through=False) == refused
    assert as_decided((OVERALL_RISK,), action="pay", let_through=True) == (NO_RISK_SIGNALS,)
