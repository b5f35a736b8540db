"""Fitting the fraud model: honest probabilities, named refusals, repeatable results."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit

from features.definitions import FEATURES
from models.evaluation.calibration import calibration
from models.evaluation.fraud import average_precision
from models.fraud.growing import FraudFitSettings, Rows, blended, grow
from models.fraud.judging import CAREFUL, OWN, WAYS
from models.fraud.model import FraudModel
from models.fraud.training import (
    FraudTrainingError,
    NoLabels,
    NoSignals,
    TooFewFrauds,
)
from models.matrix import Encoding
from tests.models.fraud_market import NAMES, QUICK, Market, fit, fitted, market


def test_probabilities_are_calibrated_on_fresh_trades() -> None:
    """On trades drawn anew, ECE is at most 0.02 and the mean probability within 15 % of the true one."""
    fresh = market(20_000, seed=9)
    probability = fitted(12_000).probability(fresh.columns)
    assert calibration(probability=probability, outcome=fresh.fraud).ece <= 0.02
    assert probability.mean() == pytest.approx(fresh.truth.mean(), rel=0.15)
    assert np.corrcoef(probability, fresh.truth)[0, 1] > 0.9


def test_the_same_seed_gives_the_same_model() -> None:
    """Two fits on the same rows are identical to the last digit."""
    first, second = fitted(), fitted()
    assert first.booster.model_to_string() == second.booster.model_to_string()
    assert first.calibrator == second.calibrator


def test_the_order_of_rows_does_not_matter() -> None:
    """Rows are put in time order first, so a shuffled table fits the same trees."""
    trades = market()
    shuffle = np.random.default_rng(0).permutation(len(trades.fraud))
    shuffled = Market(
        {name: column[shuffle] for name, column in trades.columns.items()},
        trades.truth[shuffle],
        trades.fraud[shuffle],
        trades.submitted_at[shuffle],
    )
    assert fit(trades).booster.model_to_string() == fit(shuffled).booster.model_to_string()


def test_blended_boosters_answer_with_their_weighted_mean() -> None:
    """One booster stands for several: its raw score is the mean of theirs by shares, and contributions add up to it."""
    trades = market(3_000)
    encoding = Encoding.fit(trades.columns, NAMES)
    rows = Rows(encoding.matrix(trades.columns), trades.fraud.astype(float), np.ones(3_000))
    each = [
        grow(rows, encoding, replace(QUICK, boosters=1, seed=seed, feature_share=0.5), trees=20)
        for seed in (1, 2)
    ]
    mean = blended(each, [0.3, 0.7])
    scores = np.array([booster.predict(rows.matrix, raw_score=True) for booster in each])
    assert np.abs(np.diff(scores, axis=0)).max() > 0.01
    raw = np.asarray(mean.predict(rows.matrix, raw_score=True))
    assert np.allclose(raw, 0.3 * scores[0] + 0.7 * scores[1], rtol=0, atol=1e-12)
    added = np.asarray(mean.predict(rows.matrix, pred_contrib=True)).sum(axis=1)
    assert np.allclose(added, raw, rtol=0, atol=1e-9)


def test_known_frauds_speak_for_no_trade_unless_the_data_say_so() -> None:
    """More known frauds never lower a probability; where they clearly do in truth, the rule is given up."""
    trades = market(12_000)
    risk = np.linspace(0, 0.9, 50)
    columns = {name: np.repeat(column[:1], 50) for name, column in trades.columns.items()}
    columns["device_fraud_rate_30d"] = risk
    rising = fit(trades).probability(columns)
    assert (np.diff(rising) >= 0).all()
    assert rising[-1] > 2 * rising[0]
    turned = dict(trades.columns) | {"device_fraud_rate_30d": 1 - trades.columns["device_fraud_rate_30d"]}
    falling = fit(trades, columns=turned).probability(columns)
    assert falling[0] > falling[-1]


def test_a_direction_is_a_matter_of_the_definition_not_of_the_name() -> None:
    """Rates and counts of known frauds rise with risk, as their definitions say; "fraud" in a name says nothing."""
    rising = FEATURES.rising_risks()
    assert {FEATURES[name].as_of for name in rising} == {"label"}
    assert {
        "seller_fraud_rate_7d",
        "device_frauds_all",
        "kind_mature_fraud_rate",
        "link_other_frauds",
    } <= set(rising)
    assert len(rising) == 42
    names = ("device_frauds_all", "days_since_fraud", "extras.fraud", "seller_labels_7d")
    assert FraudFitSettings(rising=rising).parameters(names)["monotone_constraints"] == [1, 0, 0, 0]


def test_empty_columns_are_left_out_and_listed() -> None:
    """A column without any value is an absent signal, and any subset of columns may be one."""
    model = fitted()
    assert model.absent_signals == ("ip_fraud_rate_30d",)
    assert model.trained_signals == NAMES[:-1]
    trades = market()
    emptied = dict(trades.columns)
    emptied["card_type"] = np.full(len(trades.fraud), None, dtype=object)
    emptied["device_fraud_rate_30d"] = np.full(len(trades.fraud), np.nan)
    assert fit(trades, columns=emptied).trained_signals == ("card_face_cny", "seller_count_1h")


def test_no_usable_column_is_refused() -> None:
    """When every column is empty the refusal is NoSignals."""
    trades = market(200)
    nothing = {name: np.full(200, np.nan) for name in NAMES}
    with pytest.raises(NoSignals):
        fit(trades, columns=nothing, fraud=np.arange(200) % 2 == 0)


@pytest.mark.parametrize(
    ("frauds", "rows", "error"),
    [(0, 0, NoLabels), (0, 500, TooFewFrauds), (9, 500, TooFewFrauds), (495, 500, TooFewFrauds)],
)
def test_too_little_to_learn_from_is_a_named_error(
    frauds: int, rows: int, error: type[FraudTrainingError]
) -> None:
    """No labels, too few frauds and too few honest trades are refused by name before anything is fitted."""
    trades = market(rows)
    with pytest.raises(error):
        fit(trades, fraud=np.arange(rows) < frauds)


def test_a_latest_slice_without_fraud_does_not_stop_the_fit() -> None:
    """With all fraud in the earlier part, a fixed number of trees is grown and nothing is calibrated."""
    trades = market()
    early_only = trades.fraud & (np.arange(len(trades.fraud)) < 3500)
    model = fit(trades, fraud=early_only)
    assert model.metadata["stopped_on_latest"] is False
    assert model.metadata["members"] == [{"way": CAREFUL, "trees": QUICK.trees_unseen, "share": 1.0}]
    assert model.calibrator.slope == 1.0


def test_thinning_honest_trades_keeps_the_level() -> None:
    """With half the rows, all fraud stays, the rate is unchanged, and the mean answer is to a tenth."""
    trades, fresh = market(20_000, seed=5), market(20_000, seed=6)
    thinned = fit(trades, settings=replace(QUICK, rows_max=10_000))
    assert thinned.metadata["rows_used"] == 10_000
    assert thinned.base_rate == pytest.approx(trades.fraud.mean(), rel=1e-6)
    mean = fit(trades).probability(fresh.columns).mean()
    assert thinned.probability(fresh.columns).mean() == pytest.approx(mean, rel=0.1)


def test_weights_repair_the_level_of_selective_labels() -> None:
    """Where 9 of 10 risky trades lack a label, weighting those let through restores the level."""
    trades = market(20_000, seed=7)
    risky = trades.columns["card_face_cny"] > 600
    let_through = ~risky | (np.random.default_rng(1).random(20_000) < 0.1)
    seen = Market(
        {name: column[let_through] for name, column in trades.columns.items()},
        trades.truth[let_through],
        trades.fraud[let_through],
        trades.submitted_at[let_through],
    )
    weight = np.where(risky[let_through], 10.0, 1.0)
    assert fit(seen, weight=weight).base_rate == pytest.approx(trades.fraud.mean(), rel=0.1)
    assert fit(seen).base_rate < 0.75 * trades.fraud.mean()


def _shares(model: FraudModel) -> dict[str, float]:
    """Way to grow -> its share in the model."""
    told: dict = dict(model.metadata)
    return {member["way"]: member["share"] for member in told["members"]}


def _trees(model: FraudModel) -> dict[str, int]:
    """Way to grow -> its number of trees."""
    told: dict = dict(model.metadata)
    return {member["way"]: member["trees"] for member in told["members"]}


UNJUDGED = replace(QUICK, valid_share=0.001)


def _interplay(rows: int, seed: int = 3) -> Market:
    """A third fraud that two signs and two hundred words decide together."""
    rng = np.random.default_rng(seed)
    first, second = rng.normal(size=(2, rows))
    word = rng.integers(0, 200, rows)
    effect = np.random.default_rng(0).normal(0, 1.5, (200, 2))
    truth = expit(-1.0 + effect[word, (first * second > 0).astype(int)])
    names = np.array([f"w{one}" for one in range(200)], dtype=object)
    columns = {"card_face_cny": first, "seller_count_1h": second, "card_type": names[word]}
    return Market(columns, truth, rng.random(rows) < truth, np.arange(rows) * 60_000)


def test_richer_trees_are_grown_where_the_latest_trades_prove_them_better():
    """Many frauds with signals that work together ask for larger trees; a market of few frauds keeps the small ones."""
    trades, later = _interplay(12_000), _interplay(4_000, seed=4)

    model, small = (fit(trades, names=tuple(trades.columns), settings=one) for one in (QUICK, UNJUDGED))
    assert _shares(model).get(CAREFUL, 0) < 0.2
    assert _shares(small) == {CAREFUL: 1.0}
    found = [
        average_precision(fraud=later.fraud, probability=one.probability(later.columns))
        for one in (model, small)
    ]
    assert found[0] > found[1] + 0.01


def test_trees_see_all_inputs_where_few_of_many_tell_together():
    """Three columns among forty that tell fraud only together ask for trees that may choose from all of them; the
    shares are taken over where a model is fitted again in the same shape."""
    trades = _needles(12_000)
    families = dict.fromkeys(trades.columns, "card")
    settings = replace(QUICK, trees=40)
    model = fit(trades, names=tuple(families), families=families, settings=settings)
    again = fit(trades, names=tuple(families), families=families, settings=settings, judged=model)
    assert _shares(model)[CAREFUL] < 0.25
    assert _shares(again) == _shares(model)
    assert again.booster.model_to_string() == model.booster.model_to_string()


def test_where_nobody_comes_again_histories_are_read_less():
    """Where three facts of the trade itself tell and the other columns about who came before do not, most of the model
    are trees that read those facts alone; where a history tells, they are the least part."""
    trades, own = _needles(12_000), ("sign_3", "sign_17", "sign_31")
    families, settings = dict.fromkeys(trades.columns, "card"), replace(QUICK, trees=40, own_facts=own)
    model = fit(trades, names=tuple(families), families=families, settings=settings)
    assert max(_shares(model), key=_shares(model).__getitem__) == OWN
    splits = dict(zip(model.encoding.names, model.booster.feature_importance("gain").tolist(), strict=True))
    assert sum(splits[name] for name in own) > 0.9 * sum(splits.values())
    encoding = Encoding.fit(trades.columns, tuple(families))
    rows = Rows(encoding.matrix(trades.columns), trades.fraud.astype(float), np.ones(12_000))
    alone = grow(rows, encoding, replace(settings, **WAYS[OWN]), trees=40)
    read = dict(zip(encoding.names, alone.feature_importance().tolist(), strict=True))
    assert {name for name, count in read.items() if count} == set(own)
    told = fitted(settings=replace(QUICK, own_facts=("card_face_cny", "card_type")))
    assert min(_shares(told), key=_shares(told).__getitem__) == OWN


def _needles(rows: int, seed: int = 8) -> Market:
    """Some fraud, nearly all of it where three signs of forty meet."""
    rng = np.random.default_rng(seed)
    signs = (rng.random((40, rows)) < 0.45).astype(float)
    truth = np.where(signs[[3, 17, 31]].all(axis=0), 0.8, 0.01)
    columns = {f"sign_{place}": sign for place, sign in enumerate(signs)}
    return Market(columns, truth, rng.random(rows) < truth, np.arange(rows) * 60_000)


def test_a_table_that_tells_fraud_nearly_surely_takes_the_trees_it_needs():
    """Where each further tree still foretells the latest trades better, hundreds more are grown than rare signs take,
    and fresh trades are foretold better than by the first 400."""
    trades, later = _all_but_sure(4_000), _all_but_sure(4_000, seed=6)
    names = tuple(trades.columns)
    settings = FraudFitSettings(threads=1, boosters=1)
    many, few = (fit(trades, names=names, settings=one) for one in (settings, replace(settings, trees=400)))
    assert 360 < _trees(few)[CAREFUL] <= 400
    assert _trees(many)[CAREFUL] > 450
    loss = [
        -np.log(np.where(later.fraud, probability, 1 - probability)).mean()
        for probability in (one.probability(later.columns) for one in (many, few))
    ]
    assert loss[0] < loss[1]


def _all_but_sure(rows: int, seed: int = 5) -> Market:
    """A tenth fraud that four amounts together decide, almost without chance."""
    rng = np.random.default_rng(seed)
    names = ("card_face_cny", "seller_count_1h", "device_fraud_rate_30d", "ip_fraud_rate_30d")
    columns = {name: rng.normal(size=rows) for name in names}
    truth = expit(20 * (sum(columns.values()) - 2.6))
    return Market(columns, truth, rng.random(rows) < truth, np.arange(rows) * 60_000)
