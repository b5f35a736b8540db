"""The figures of the fraud model, against examples worked out by hand and against scikit-learn."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.metrics import average_precision_score, roc_auc_score

from models.evaluation.bootstrap import TooFewClusters, mean_difference, paired_bootstrap
from models.evaluation.calibration import calibration, expected_calibration_error, reliability_table
from models.evaluation.fraud import (
    DAY_MS,
    FraudMetrics,
    Judged,
    average_precision,
    card_precision_at_k,
    cut_at_fpr,
    evaluate_fraud,
    realised_cost_fen,
    recall_at_fpr,
    seller_precision_at_k,
)
from models.fraud.decision import UnknownAction
from models.policy import Costs, DecisionCosts


def _judged(fraud: np.ndarray, probability: np.ndarray, action: list[str]) -> Judged:
    rows = len(fraud)
    return Judged(
        fraud=fraud,
        probability=probability,
        submitted_at=np.arange(rows) * (DAY_MS // 4),
        seller_id=np.array([f"s{row % 3}" for row in range(rows)], dtype=object),
        action=np.array(action, dtype=object),
        payout_fen=np.full(rows, 90_000),
        face_value_fen=np.full(rows, 100_000),
    )


def _figures(judged: Judged) -> FraudMetrics:
    return evaluate_fraud(
        judged,
        costs=Costs.model_validate({"review_cny": 15, "complaint_cny": 250}),
        decision=DecisionCosts.model_validate({}),
    )


def _evaluate(fraud: np.ndarray, probability: np.ndarray, action: list[str]) -> FraudMetrics:
    return _figures(_judged(fraud, probability, action))


def test_ranking_figures_equal_scikit_learn() -> None:
    """AP and AUC are scikit-learn's; recall at 1 % is read from sorted scores."""
    rng = np.random.default_rng(0)
    fraud = rng.random(2000) < 0.05
    probability = np.clip(rng.normal(0.2 + 0.3 * fraud, 0.1), 0, 1)
    metrics = _evaluate(fraud, probability, ["pay"] * 2000)
    assert metrics.average_precision == pytest.approx(average_precision_score(fraud, probability))
    assert metrics.auc == pytest.approx(roc_auc_score(fraud, probability))
    cut = np.sort(probability[~fraud])[::-1][int(0.01 * (~fraud).sum())]
    assert metrics.recall_at_1pct_fpr == pytest.approx((probability[fraud] > cut).mean(), abs=0.02)


def test_recall_at_a_false_positive_rate_by_hand() -> None:
    """Ten honest trades, one above two of three frauds: at 0 % one fraud is found, at 10 % all three."""
    fraud = np.array([True, False, True, True] + [False] * 9)
    probability = np.array([0.9, 0.8, 0.7, 0.6] + [0.1] * 9)
    assert recall_at_fpr(fraud=fraud, probability=probability, fpr=0.0) == pytest.approx(1 / 3)
    assert recall_at_fpr(fraud=fraud, probability=probability, fpr=0.1) == pytest.approx(1.0)


def test_figures_of_decisions_by_hand() -> None:
    """Four trades, one per action: cost, value stopped and honest refused are those worked out on paper."""
    fraud = np.array([True, True, False, False])
    metrics = _evaluate(fraud, np.array([0.1, 0.4, 0.5, 0.9]), ["pay", "hold", "review", "refuse"])
    paid, held, reviewed = 90_000, 300 + 0.5 * 90_000, 1500 + 0.03 * 4000
    refused = 4000 + 0.1 * 25_000
    assert metrics.cost_per_1000_fen == pytest.approx(1000 * (paid + held + reviewed + refused) / 4)
    assert metrics.fraud_value_stopped == pytest.approx((0 + 0.5) / 2)
    assert metrics.fraud_value_refused_or_reviewed == 0
    assert metrics.honest_refused == 0.5
    assert [metrics.share_paid, metrics.share_held, metrics.share_reviewed, metrics.share_refused] == [
        0.25
    ] * 4
    assert all(isinstance(value, float) for value in metrics.to_dict().values())


def test_value_stopped_counts_actions_by_what_they_catch() -> None:
    """A paid, a held, a reviewed and a refused fraud of equal value: 0, a half, nine tenths and all of it."""
    metrics = _evaluate(np.ones(4, dtype=bool), np.full(4, 0.5), ["pay", "hold", "review", "refuse"])
    assert metrics.fraud_value_stopped == pytest.approx((0 + 0.5 + 0.9 + 1) / 4)
    assert metrics.fraud_value_refused_or_reviewed == pytest.approx(2 / 4)


def test_a_row_of_weight_three_counts_as_three_rows() -> None:
    """Every figure with a weight, but those of an analyst's day, equals that of the row repeated."""
    rng = np.random.default_rng(5)
    fraud, times = rng.random(400) < 0.2, rng.integers(1, 4, 400)
    probability = np.round(np.clip(rng.normal(0.2 + 0.2 * fraud, 0.15), 0.01, 0.99), 2)
    action = list(rng.choice(["pay", "hold", "review", "refuse"], 400))
    judged = _judged(fraud, probability, action)
    weighted = _figures(replace(judged, weight=times.astype(float))).to_dict()
    repeated = _figures(judged.rows(np.repeat(np.arange(400), times))).to_dict()
    left_out = {"trades", "frauds", "card_precision_at_k", "seller_precision_at_k", "ece"}
    for name in set(weighted) - left_out:
        assert weighted[name] == pytest.approx(repeated[name]), name


def test_a_row_of_no_weight_does_not_count() -> None:
    """Rows of weight 0 change no weighted figure, the calibration error included."""
    rng = np.random.default_rng(6)
    fraud, kept = rng.random(600) < 0.3, rng.random(600) < 0.5
    probability = np.clip(rng.normal(0.3 + 0.2 * fraud, 0.2), 0.01, 0.99)
    judged = _judged(fraud, probability, list(rng.choice(["pay", "refuse"], 600)))
    weighted = _figures(replace(judged, weight=kept.astype(float))).to_dict()
    part = _figures(judged.rows(kept)).to_dict()
    for name in set(weighted) - {"trades", "frauds", "card_precision_at_k", "seller_precision_at_k"}:
        assert weighted[name] == pytest.approx(part[name]), name


def test_the_cut_flags_at_most_the_share_asked_for() -> None:
    """Ten honest trades and a 10 % rate: the cut is the score of the highest honest one; below it a tie fails."""
    fraud = np.array([True] * 2 + [False] * 10)
    probability = np.array([0.9, 0.5, 0.7, 0.4, 0.4] + [0.1] * 7)
    assert cut_at_fpr(fraud=fraud, probability=probability, fpr=0.1) == 0.5
    assert cut_at_fpr(fraud=fraud, probability=probability, fpr=0.2) == 0.5
    assert cut_at_fpr(fraud=fraud, probability=probability, fpr=0.3) == 0.4
    assert cut_at_fpr(fraud=np.array([False, True]), probability=np.array([0.9, 0.1]), fpr=0.01) == np.inf


def test_card_precision_counts_the_places_of_every_day() -> None:
    """Two days of two places: one fraud among the riskiest two, then a day of one honest trade."""
    fraud = np.array([True, False, True, False])
    probability = np.array([0.9, 0.8, 0.1, 0.5])
    day = np.array([0, 0, 0, 1]) * DAY_MS
    arguments = {"fraud": fraud, "probability": probability, "submitted_at": day}
    assert card_precision_at_k(**arguments, k=2) == pytest.approx((1 / 2 + 0) / 2)
    assert card_precision_at_k(**arguments, k=1) == pytest.approx((1 + 0) / 2)


def test_a_better_decision_costs_less() -> None:
    """Paying the honest and refusing the fraudulent costs nothing; the reverse costs most."""
    fraud = np.array([True, False])
    amounts = {"payout_fen": np.full(2, 90_000), "face_value_fen": np.full(2, 100_000)}
    policy = {"costs": Costs.model_validate({}), "decision": DecisionCosts.model_validate({})}
    best = realised_cost_fen(
        fraud=fraud, action=np.array(["refuse", "pay"], dtype=object), **amounts, **policy
    )
    worst = realised_cost_fen(
        fraud=fraud, action=np.array(["pay", "refuse"], dtype=object), **amounts, **policy
    )
    assert best.sum() == 0
    assert (worst > 0).all()


def test_without_fraud_ranking_is_undefined_not_wrong() -> None:
    """A period without fraud gives NaN where a figure has no meaning, and figures elsewhere."""
    metrics = _evaluate(np.zeros(4, dtype=bool), np.full(4, 0.1), ["pay"] * 4)
    assert math.isnan(metrics.average_precision)
    assert math.isnan(metrics.auc)
    assert math.isnan(metrics.fraud_value_stopped)
    assert metrics.cost_per_1000_fen == 0


def test_an_unknown_action_is_named() -> None:
    """An action that is not one of the four is refused by name."""
    with pytest.raises(UnknownAction, match="maybe"):
        _evaluate(np.array([True]), np.array([0.1]), ["maybe"])


def test_sellers_once_found_are_left_out_on_later_days() -> None:
    """Day 1 finds a; on day 2 a ranks first but no longer counts: b and the honest c take the places."""
    fraud = np.array([True, False, True, True, False, False])
    probability = np.array([0.9, 0.5, 0.95, 0.6, 0.7, 0.1])
    day = np.array([0, 0, 1, 1, 1, 1]) * DAY_MS
    seller = np.array(["a", "b", "a", "b", "c", "d"], dtype=object)
    arguments = {"fraud": fraud, "probability": probability, "submitted_at": day, "seller_id": seller}
    assert seller_precision_at_k(**arguments, k=1) == pytest.approx((1 + 0) / 2)
    assert seller_precision_at_k(**arguments, k=2) == pytest.approx((1 / 2 + 1 / 2) / 2)


def test_a_seller_is_ranked_by_its_riskiest_trade() -> None:
    """One risky trade among many makes the seller risky, and any fraud that day makes it a hit."""
    fraud = np.array([True, False, False])
    probability = np.array([0.1, 0.8, 0.5])
    seller = np.array(["a", "a", "b"], dtype=object)
    hit = seller_precision_at_k(
        fraud=fraud, probability=probability, submitted_at=np.zeros(3, dtype=np.int64), seller_id=seller, k=1
    )
    assert hit == 1.0


def test_calibration_error_by_hand() -> None:
    """Two bins, 0.2 promised and 0.5 true, 0.8 promised and 1.0 true: the mean error is 0.25."""
    probability = np.array([0.2, 0.2, 0.8, 0.8])
    outcome = np.array([0, 1, 1, 1])
    assert expected_calibration_error(probability=probability, outcome=outcome, bins=2) == pytest.approx(0.25)
    figures = calibration(probability=probability, outcome=outcome, bins=2)
    assert figures.ratio == pytest.approx(0.5 / 0.75)
    assert figures.brier == pytest.approx(np.mean((probability - outcome) ** 2))


def test_reliability_equals_scikit_learn_quantile_bins() -> None:
    """Without ties the table is scikit-learn's calibration curve with the quantile strategy."""
    rng = np.random.default_rng(4)
    probability = rng.random(1000)
    outcome = rng.random(1000) < probability
    table = reliability_table(probability=probability, outcome=outcome, bins=10)
    rate, mean = calibration_curve(outcome, probability, n_bins=10, strategy="quantile")
    assert [part.rate for part in table] == pytest.approx(list(rate))
    assert [part.mean_probability for part in table] == pytest.approx(list(mean))


@given(values=st.lists(st.tuples(st.sampled_from([0.0, 0.1, 0.1001, 0.5, 1.0]), st.booleans()), max_size=80))
def test_reliability_counts_every_row_once_in_any_order(values: list[tuple[float, bool]]) -> None:
    """Ties never split, rows never vanish, and reversing the rows changes nothing."""
    probability = np.array([value for value, _ in values])
    outcome = np.array([happened for _, happened in values], dtype=bool)
    table = reliability_table(probability=probability, outcome=outcome, bins=4)
    assert sum(part.rows for part in table) == len(values)
    assert all(part.rows > 0 for part in table)
    assert sum(part.rows * part.rate for part in table) == pytest.approx(outcome.sum())
    mirrored = reliability_table(probability=probability[::-1], outcome=outcome[::-1], bins=4)
    assert [part.rows for part in mirrored] == [part.rows for part in table]
    assert [part.rate for part in mirrored] == pytest.approx([part.rate for part in table])


def test_no_rows_have_no_calibration() -> None:
    """Without rows every figure is NaN."""
    assert all(
        math.isnan(value)
        for value in calibration(probability=np.array([]), outcome=np.array([])).to_dict().values()
    )


def test_the_bootstrap_finds_a_real_gain_and_doubts_an_empty_one() -> None:
    """A steady gain has a positive lower bound; a difference of nothing but day shocks includes zero."""
    rng = np.random.default_rng(0)
    day = np.repeat(np.arange(30), 50)
    noise = rng.normal(0, 1, 1500)
    shock = rng.normal(0, 1, 30)[day]
    steady = paired_bootstrap(
        difference=mean_difference(noise, noise + 0.3 + 0.1 * shock),
        clusters=[day],
        rng=np.random.default_rng(1),
    )
    assert 0 < steady.low < steady.estimate < steady.high
    nothing = paired_bootstrap(
        difference=mean_difference(noise, noise + shock - shock.mean()),
        clusters=[day],
        rng=np.random.default_rng(1),
    )
    assert nothing.low < 0 < nothing.high
    assert nothing.high - nothing.low == pytest.approx(2 * 1.96 / np.sqrt(30), rel=0.4)


def test_the_bootstrap_takes_two_kinds_of_clusters_and_any_metric() -> None:
    """Days and sellers together widen the interval; AP can be compared, and the seed decides all."""
    rng = np.random.default_rng(2)
    day, seller = rng.integers(0, 10, 400), rng.integers(0, 40, 400)
    fraud = rng.random(400) < 0.2
    good, poor = fraud + rng.normal(0, 0.5, 400), fraud + rng.normal(0, 3, 400)

    def gain(weight: np.ndarray) -> float:
        better = average_precision(fraud=fraud, probability=good, weight=weight)
        return better - average_precision(fraud=fraud, probability=poor, weight=weight)

    one = paired_bootstrap(difference=gain, clusters=[day], rng=np.random.default_rng(3), rounds=100)
    both = paired_bootstrap(difference=gain, clusters=[day, seller], rng=np.random.default_rng(3), rounds=100)
    again = paired_bootstrap(difference=gain, clusters=[day], rng=np.random.default_rng(3), rounds=100)
    assert one == again
    assert one.low > 0
    assert both.high - both.low > one.high - one.low


def test_one_day_is_too_few_to_resample() -> None:
    """A single cluster cannot show how much days differ, and is refused."""
    values = np.arange(5.0)
    with pytest.raises(TooFewClusters):
        paired_bootstrap(
            difference=mean_difference(values, values), clusters=[np.zeros(5)], rng=np.random.default_rng(0)
        )
