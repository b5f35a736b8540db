"""Parts and weeks of the judged trades: they add up to the whole, and each is what it would be alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.evaluation import fraud_decay, fraud_slices
from models.evaluation.fraud import (
    DAY_MS,
    Judged,
    average_precision,
    cut_at_fpr,
    evaluate_fraud,
    recall_at_fpr,
)
from models.evaluation.fraud_decay import evaluate_weeks
from models.evaluation.fraud_slices import SliceMetrics, evaluate_profiles, evaluate_slices, slice_masks
from models.policy import Costs, DecisionCosts

POLICY = {"costs": Costs.model_validate({}), "decision": DecisionCosts.model_validate({})}
ROWS = 3_000
PARTITIONS = (
    ("new_sellers", "known_sellers"),
    ("unlinked_sellers", "linked_sellers", "large_groups"),
    ("category_any_pay", "category_game_card", "category_unknown"),
    ("face_below_100", "face_100_to_300", "face_300_to_1000", "face_from_1000"),
)


@pytest.fixture(scope="module")
def judged() -> Judged:
    """3,000 trades of 28 days with some fraud, every action and weights."""
    rng = np.random.default_rng(3)
    fraud = rng.random(ROWS) < 0.1
    return Judged(
        fraud=fraud,
        probability=np.clip(rng.normal(0.1 + 0.2 * fraud, 0.1), 0.01, 0.99),
        submitted_at=np.sort(rng.integers(0, 28 * DAY_MS, ROWS)),
        seller_id=rng.integers(0, 900, ROWS).astype(str).astype(object),
        action=rng.choice(np.array(["pay", "hold", "review", "refuse"], dtype=object), ROWS),
        payout_fen=rng.integers(1_000, 90_000, ROWS),
        face_value_fen=rng.integers(2_000, 150_000, ROWS),
        weight=rng.choice([1.0, 20.0], ROWS, p=[0.95, 0.05]),
    )


@pytest.fixture(scope="module")
def masks(judged: Judged) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(4)
    columns = {
        "seller_count_all": rng.poisson(1.0, ROWS).astype(float),
        "link_sellers": rng.poisson(1.0, ROWS).astype(float) * rng.integers(0, 4, ROWS),
        "card_category": rng.choice(np.array(["any_pay", "Game card", None], dtype=object), ROWS),
    }
    return slice_masks(columns, face_value_fen=judged.face_value_fen)


def _by_name(parts: tuple[SliceMetrics, ...]) -> dict[str, SliceMetrics]:
    return {part.name: part for part in parts}


def test_parts_cover_every_trade_once_and_add_up(judged: Judged, masks: dict[str, np.ndarray]) -> None:
    """Trades and frauds sum to the whole, and so do costs, refusals and recall by their weights."""
    parts = _by_name(evaluate_slices(judged, masks, **POLICY, rng=np.random.default_rng(0)))
    assert set(parts) == {name for names in PARTITIONS for name in names}
    whole = evaluate_fraud(judged, **POLICY)
    found = recall_at_fpr(fraud=judged.fraud, probability=judged.probability, fpr=0.01, weight=judged.weight)
    for names in PARTITIONS:
        own = [parts[name] for name in names]
        assert sum(masks[name].astype(int) for name in names).tolist() == [1] * ROWS
        assert sum(part.trades for part in own) == ROWS
        assert sum(part.frauds for part in own) == whole.frauds
        mass = np.array([judged.weights[masks[name]].sum() for name in names])
        fraud_mass = np.array([(judged.weights * judged.fraud)[masks[name]].sum() for name in names])
        for total, values, by in (
            (whole.cost_per_1000_fen, [part.cost_per_1000_fen for part in own], mass),
            (whole.share_refused, [part.refused for part in own], mass),
            (whole.share_reviewed, [part.reviewed for part in own], mass),
            (whole.rate, [part.rate for part in own], mass),
            (found, [part.recall for part in own], fraud_mass),
        ):
            assert np.average(values, weights=by) == pytest.approx(total)


def test_a_part_by_hand(judged: Judged, masks: dict[str, np.ndarray]) -> None:
    """The figures of one part are those of its rows, at the threshold of all trades."""
    mask = masks["new_sellers"]
    part = _by_name(evaluate_slices(judged, masks, **POLICY, rng=np.random.default_rng(0)))["new_sellers"]
    alone = judged.rows(mask)
    assert alone.weight is not None
    assert part.average_precision == average_precision(
        fraud=alone.fraud, probability=alone.probability, weight=alone.weight
    )
    cut = cut_at_fpr(fraud=judged.fraud, probability=judged.probability, fpr=0.01, weight=judged.weight)
    above = alone.probability >= cut
    assert part.recall == pytest.approx(
        (alone.weight * alone.fraud * above).sum() / (alone.weight @ alone.fraud)
    )
    assert part.recall_low < part.recall < part.recall_high
    assert part.average_precision_low < part.average_precision < part.average_precision_high
    honest = alone.weight * ~alone.fraud
    assert part.false_positive_rate == pytest.approx((honest * above).sum() / honest.sum())
    assert part.calibration_ratio == pytest.approx(part.mean_probability / part.rate)
    assert part.enough


def test_a_small_part_is_marked_and_gets_no_interval(judged: Judged) -> None:
    """Twenty trades give figures, no interval of the average precision, and the mark."""
    few = np.zeros(ROWS, dtype=bool)
    few[:20] = True
    part = evaluate_slices(judged, {"few": few}, **POLICY, rng=np.random.default_rng(0))[0]
    assert part.trades == 20
    assert not part.enough
    assert np.isnan(part.average_precision_low)
    assert part.to_dict()["slice_few_enough"] == 0.0


def test_names_of_figures_are_stable(judged: Judged, masks: dict[str, np.ndarray]) -> None:
    """Figures are logged as slice_new_sellers_ap, week_1_ap and so on, as plain numbers."""
    figures = fraud_slices.flat(evaluate_slices(judged, masks, **POLICY, rng=np.random.default_rng(0)))
    assert {"slice_new_sellers_ap", "slice_new_sellers_ap_low", "slice_category_game_card_recall"} <= set(
        figures
    )
    weeks = fraud_decay.flat(evaluate_weeks(judged, trained_until_ms=0))
    assert {"week_1_ap", "week_4_recall_at_1pct_fpr", "week_2_calibration_ratio", "week_1_trades"} <= set(
        weeks
    )
    assert all(isinstance(value, float) for value in (figures | weeks).values())


def test_absent_features_give_no_parts() -> None:
    """Without links, categories or a seller's history only the face bands are left."""
    columns = {"link_sellers": np.full(2, np.nan)}
    masks = slice_masks(columns, face_value_fen=np.array([9_999, 10_000]))
    assert list(masks) == ["face_below_100", "face_100_to_300"]


def test_profiles_differ_by_their_decisions_only(judged: Judged) -> None:
    """The same trades under two profiles: equal ranking, other costs and shares."""
    actions = {"small": np.full(ROWS, "review", dtype=object), "head": judged.action}
    small, head = evaluate_profiles(judged, actions, **POLICY, rng=np.random.default_rng(0))
    assert (small.name, head.name) == ("profile_small", "profile_head")
    assert small.average_precision == head.average_precision
    assert small.reviewed == 1.0
    assert small.refused == 0.0
    assert head.cost_per_1000_fen == pytest.approx(evaluate_fraud(judged, **POLICY).cost_per_1000_fen)


def test_weeks_count_from_the_end_of_training(judged: Judged) -> None:
    """Week 1 begins at the end of training; earlier trades are left out; each week is judged alone."""
    until = 7 * DAY_MS
    weeks = evaluate_weeks(judged, trained_until_ms=until)
    assert [week.week for week in weeks] == [1, 2, 3]
    assert sum(week.trades for week in weeks) == int((judged.submitted_at >= until).sum())
    inside = judged.rows((judged.submitted_at >= 14 * DAY_MS) & (judged.submitted_at < 21 * DAY_MS))
    assert weeks[1].frauds == int(inside.fraud.sum())
    assert weeks[1].average_precision == average_precision(
        fraud=inside.fraud, probability=inside.probability, weight=inside.weight
    )
    level = np.average(inside.probability, weights=inside.weight)
    assert weeks[1].calibration_ratio == pytest.approx(
        level / np.average(inside.fraud, weights=inside.weight)
    )
    assert weeks[1].enough


def test_a_week_without_fraud_has_no_ranking(judged: Judged) -> None:
    """NaN where a figure is not defined, and the mark that there is not enough."""
    clean = replace(judged, fraud=np.zeros(ROWS, dtype=bool))
    week = evaluate_weeks(clean, trained_until_ms=0)[0]
    assert np.isnan(week.average_precision)
    assert np.isnan(week.calibration_ratio)
    assert not week.enough
