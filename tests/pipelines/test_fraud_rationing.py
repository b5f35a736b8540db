"""Thresholds come from trades the model has not seen, and keep live decisions within the platform's shares."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from unittest.mock import patch

import numpy as np
import pytest

from features.definitions import FEATURES
from models.fraud.decision import ACTIONS, REVIEW, Thresholds, decide
from models.fraud.model import FraudModel
from pipelines.champions import load_pair
from pipelines.screening.rule_files import rule_book
from pipelines.settings import Settings
from pipelines.training import fraud
from pipelines.training.examples import Examples, stored_examples
from pipelines.training.splitting import Split
from pipelines.wiring import model_registry
from pipelines.workspace import Workspace

TIGHT = Settings.model_validate(
    {"decision": {"hold_most_share": 0.05, "review_capacity_share": 0.01, "refuse_most_share": 0.002}}
)
MOST = {"hold": 0.05, "review": 0.01, "refuse": 0.002}


@pytest.fixture(scope="module")
def examples(trained_home) -> Examples:
    workspace = Workspace.open(trained_home)
    return stored_examples(workspace, model="fraud", since=datetime(2000, 1, 1, tzinfo=UTC))


@pytest.fixture(scope="module")
def split(examples: Examples) -> Split:
    return fraud.split_fraud(examples, TIGHT)


@pytest.fixture(scope="module")
def final(examples: Examples, split: Split) -> FraudModel:
    return fraud.fit(examples.rows(split.final), registry=FEATURES, settings=TIGHT)


def _young(examples: Examples, split: Split) -> Examples:
    newest = examples.submitted_at[split.final].max()
    return examples.rows(np.flatnonzero(examples.submitted_at > newest))


def _shares(model: FraudModel, examples: Examples, settings: Settings) -> dict[str, float]:
    action = fraud.decisions(model, examples, settings).action
    return {name: float((action == name).mean()) for name in ACTIONS}


def test_the_serving_model_is_rationed_on_trades_too_young_for_a_label(
    examples: Examples, split: Split, final: FraudModel
) -> None:
    """On the trades behind its training no decision exceeds its share, and without thresholds one would. They are
    predicted once."""
    young = _young(examples, split)
    assert len(young) >= fraud.LEAST_UNSEEN
    with patch.object(
        FraudModel, "probability_of", autospec=True, side_effect=FraudModel.probability_of
    ) as asked:
        model = fraud.rationed(final, judged=final, examples=examples, split=split, settings=TIGHT)
    assert asked.call_count == 1
    free, rationed = _shares(final, young, TIGHT), _shares(model, young, TIGHT)
    assert all(rationed[name] <= most for name, most in MOST.items())
    assert any(free[name] > most for name, most in MOST.items())


def test_the_serving_models_thresholds_are_its_own(examples: Examples, trained_home) -> None:
    """They are learned from its own probabilities, early labels included, and leave room for what rules ask for: not
    those of the model before, which is other on the same trades."""
    workspace = Workspace.open(trained_home)
    champion = load_pair(model_registry(workspace)).fraud
    assert champion is not None
    assert "young_rows" in champion.metadata
    again = fraud.rationed(
        champion,
        judged=champion,
        examples=examples,
        split=fraud.split_fraud(examples, workspace.settings),
        settings=workspace.settings,
        rules=rule_book(workspace.home),
    )
    assert again.thresholds == champion.thresholds


def test_shares_hold_too_where_nobody_says_what_would_be_paid(
    examples: Examples, split: Split, final: FraudModel
) -> None:
    """A trade that is only scored has its whole face value at risk; thresholds of its own keep the shares then, and
    travel with the model."""
    young = _young(examples, split)
    model = fraud.rationed(final, judged=final, examples=examples, split=split, settings=TIGHT)
    thresholds = Thresholds.from_dict(json.loads(json.dumps(model.thresholds.to_dict())))
    assert thresholds == model.thresholds
    action = decide(
        probability=model.probability(young.columns),
        payout_fen=young.face_value_fen,
        face_value_fen=young.face_value_fen,
        costs=TIGHT.costs,
        decision=TIGHT.decision,
        thresholds=thresholds.where_unpriced(),
    ).action
    assert all((action == name).mean() <= most for name, most in MOST.items())


def test_a_changed_weight_waits_for_the_next_training(
    examples: Examples, split: Split, final: FraudModel
) -> None:
    """Thresholds keep what they were learned for: another weight, alone in the settings, moves no decision and no
    share; learned anew it does, and the shares hold again."""
    young = _young(examples, split)
    light, heavy = (
        TIGHT.model_copy(update={"decision": TIGHT.decision.model_copy(update={"fraud_weight": weight})})
        for weight in (1.0, 4.0)
    )
    before = fraud.rationed(final, judged=final, examples=examples, split=split, settings=light)
    assert before.thresholds.learned_for == light.decision.taken_at_training()
    assert before.thresholds.outdated(heavy.decision) == {"fraud_weight": (1.0, 4.0)}
    assert _shares(before, young, heavy) == _shares(before, young, light)
    after = fraud.rationed(before, judged=before, examples=examples, split=split, settings=heavy)
    assert after.thresholds.outdated(heavy.decision) == {}
    assert after.thresholds != before.thresholds
    assert all(_shares(after, young, heavy)[name] <= most for name, most in MOST.items())


def test_with_few_young_trades_limits_hold_at_both_models_levels(
    examples: Examples, split: Split, final: FraudModel
) -> None:
    """Where nothing is younger than the training, shares hold for the judged model and for a serving one that stands
    on a far higher level, which the judged model's thresholds alone would let refuse and review too many. The metadata
    say what was learned on what."""
    known = examples.rows(split.final)
    everything = Split(
        train=split.train,
        test=split.test,
        final=np.arange(len(known)),
        cut=split.cut,
        maturity=split.maturity,
        label_gap=split.label_gap,
    )
    behind = np.flatnonzero(known.submitted_at < split.cut)
    higher = replace(final, calibrator=replace(final.calibrator, intercept=final.calibrator.intercept + 1.5))
    for trained, learned_from in (
        (behind, fraud.JUDGED_TRADES),
        (behind[: -fraud.LEAST_UNSEEN - 1], fraud.GAP_OF_JUDGED),
    ):
        parts = replace(everything, train=trained)
        judged = fraud.rationed_judge(final, known, parts, TIGHT)
        assert judged.metadata[fraud.THRESHOLDS_FROM] == learned_from
        model = fraud.rationed(higher, judged=judged, examples=known, split=parts, settings=TIGHT)
        assert model.metadata[fraud.THRESHOLDS_FROM] == fraud.OWN_SEEN
        later = known.rows(np.flatnonzero(known.submitted_at > known.submitted_at[trained].max()))
        taken_over = _shares(higher.with_thresholds(judged.thresholds), later, TIGHT)
        assert any(taken_over[name] > most for name, most in MOST.items())
        for one in (model, judged.with_thresholds(model.thresholds)):
            shares = _shares(one, later, TIGHT)
            assert all(shares[name] <= most for name, most in MOST.items())
    own = fraud.rationed(final, judged=judged, examples=examples, split=split, settings=TIGHT)
    assert own.metadata[fraud.THRESHOLDS_FROM] == fraud.OWN_YOUNG


def test_the_judged_model_never_learns_from_the_future(examples: Examples, split: Split) -> None:
    """Its thresholds come from behind its training; they are finite, and those of a longer gap stay before the cut."""
    judged = fraud.fit(examples.rows(split.train), registry=FEATURES, settings=TIGHT)
    model = fraud.rationed_judge(judged, examples, split, TIGHT)
    gap = (examples.submitted_at > examples.submitted_at[split.train].max()) & (
        examples.submitted_at < split.cut
    )
    behind = gap if gap.sum() >= fraud.LEAST_UNSEEN else examples.submitted_at >= split.cut
    shares = _shares(model, examples.rows(np.flatnonzero(behind)), TIGHT)
    assert all(shares[name] <= most for name, most in MOST.items())


def test_reviews_per_day_ration_by_the_day(examples: Examples, split: Split, final: FraudModel) -> None:
    """With a number of reviews a day, no more than that many of an average day's trades are reviewed."""
    young = _young(examples, split)
    days = len(np.unique(young.submitted_ms // 86_400_000))
    settings = Settings.model_validate({"decision": {"reviews_per_day": 1, "hold_most_share": 0.0}})
    model = fraud.rationed(final, judged=final, examples=examples, split=split, settings=settings)
    reviewed = fraud.decisions(model, young, settings).action == ACTIONS[REVIEW]
    assert 0 < reviewed.sum() <= days


def test_a_model_says_what_it_had_to_do_without(examples: Examples, split: Split) -> None:
    """Columns that were empty in training are named by family, in words, as a tag of the version."""
    devices = [name for name in FEATURES.names("fraud") if FEATURES[name].family == "device_risk"]
    blank = {name: np.full(len(examples), np.nan) for name in devices}
    part = examples.rows(split.final)
    without = Examples(
        **{name: value for name, value in vars(part).items() if name != "columns"},
        columns={**part.columns, **{name: column[split.final] for name, column in blank.items()}},
    )
    model = fraud.fit(without, registry=FEATURES, settings=TIGHT)
    assert "设备历史欺诈 known fraud of the device" in fraud.absent_tag(model)[fraud.ABSENT_TAG]
