"""Whose word on a trade holds, since when, and what labels of refused and let-through trades teach."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit

from features.tables import DECISIONS, LABEL_SOURCES
from models.evaluation.fraud import average_precision
from models.fraud.decision import ACTIONS
from models.fraud.labels import MOST_WEIGHT, Label, label_figures, label_of, lessons, rank
from models.fraud.model import FraudModel
from models.fraud.training import FraudFitSettings, fit_fraud
from tests.models.fraud_market import FAMILIES, NAMES, RISING, Market, market

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY_US = 86_400_000_000
ORDER = ("issuer", "chargeback", "analyst", "seller_dispute", "matured")
"""The most trusted first, as the contract says."""


def label(fraud: bool, source: str | None, day: float) -> Label:
    return Label(fraud=fraud, source=source, known_at=START + timedelta(days=day))


# --- whose word holds ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("first", "second"), list(product(ORDER, ORDER)))
def test_a_later_label_replaces_an_earlier_one_only_if_its_source_ranks_as_high(first, second):
    """The whole table of precedence: issuer, chargeback, analyst, seller_dispute, matured."""
    early, late = label(True, first, 1), label(False, second, 2)
    replaces = ORDER.index(second) <= ORDER.index(first)
    assert label_of([early, late]) == (late if replaces else early)


def test_words_are_those_of_the_tables():
    """Sources and decisions that a file may name are those that the program ranks and takes."""
    assert LABEL_SOURCES == ORDER
    assert DECISIONS == ACTIONS
    assert [rank(source) for source in ORDER] == sorted({rank(source) for source in ORDER}, reverse=True)
    assert rank(None) == rank("matured")


def test_a_label_holds_from_when_it_was_told():
    """Asked as of a moment, only what was told strictly before it counts."""
    told = [label(True, "analyst", 3), label(False, "issuer", 5)]
    held = [label_of(told, before=START + timedelta(days=day)) for day in (3, 3.5, 5, 5.5)]
    assert held == [None, told[0], told[0], told[1]]


def test_a_stronger_source_that_agrees_changes_no_known_fact():
    """The same verdict from a better source keeps the moment since which it is known, and takes the better source."""
    told = [label(True, "analyst", 3), label(True, "chargeback", 20)]
    assert label_of(told) == label(True, "chargeback", 3)
    assert label_of([*told, label(False, "analyst", 21)]) == label(True, "chargeback", 3)


SOURCES = st.sampled_from([*ORDER, None])
TOLD = st.lists(st.builds(label, st.booleans(), SOURCES, st.integers(0, 6)), max_size=8)


@given(told=TOLD)
def test_what_is_stored_holds_what_was_told(told):
    """Starting again from the stored label changes nothing, however often and wherever the telling was interrupted."""
    told = sorted(told, key=lambda one: (one.known_at, rank(one.source)))
    whole = label_of(told)
    assert label_of(told, held=whole) == whole
    for place in range(len(told)):
        if place and told[place].known_at == told[place - 1].known_at:
            continue
        assert label_of(told, held=label_of(told[:place])) == whole


@given(told=TOLD)
def test_the_order_of_writing_does_not_matter(told):
    """Verdict and source depend on when labels became known, not on the order of their records."""
    moments = {(one.known_at, rank(one.source)): one for one in told}  # one label a moment and rank
    told = list(moments.values())
    assert label_of(told[::-1]) == label_of(told)


# --- what labels teach ---------------------------------------------------------------------------------------

CASES = (
    # fraud, decision, source, let_through -> counts, fair, weight
    (0, "pay", "matured", None, True, True, 1),
    (0, None, None, None, True, True, 1),
    (0, "refuse", None, None, False, False, 1),
    (0, "refuse", "matured", None, False, False, 1),
    (0, "refuse", "seller_dispute", None, False, False, 1),
    (0, "refuse", "analyst", None, True, False, 1),
    (0, "refuse", "issuer", None, True, False, 1),
    (1, "refuse", "chargeback", None, True, False, 1),
    (1, "refuse", None, None, True, False, 1),
    (None, "refuse", None, None, False, False, 1),
    (None, "pay", None, 0.1, False, False, 10),
    (0, "pay", "matured", 0.1, True, True, 10),
    (1, "pay", "chargeback", 0.05, True, True, 20),
    (1, "pay", "chargeback", 0.001, True, True, MOST_WEIGHT),
    (0, "review", "matured", None, True, True, 1),
)


def test_a_refused_trade_is_not_an_honest_one():
    """Only a fraud, an issuer's or an analyst's word teaches of a refused trade; a drawn one stands for 1 / share."""
    fraud, decision, source, share, counts, fair, weight = zip(*CASES, strict=True)
    taught = lessons(
        fraud=np.array(fraud, dtype=float),
        decision=np.array(decision, dtype=object),
        source=np.array(source, dtype=object),
        let_through=np.array(share, dtype=float),
    )
    np.testing.assert_array_equal(taught.counts, counts)
    np.testing.assert_array_equal(taught.fair, fair)
    np.testing.assert_allclose(taught.weight, weight)


def test_figures_tell_where_labels_come_from_and_how_late():
    """Shares and delays by source, what was left out, what was weighted and what was held to the most."""
    figures = label_figures(
        fraud=np.array([1.0, 1, 0, 0, 0, np.nan]),
        decision=np.array(["pay", "pay", "pay", "refuse", "pay", "refuse"], dtype=object),
        source=np.array(["analyst", "chargeback", "matured", "matured", None, None], dtype=object),
        let_through=np.array([np.nan, 0.01, 0.05, np.nan, np.nan, np.nan]),
        delay_us=np.array([2, 10, 30, 20, 25, -1]) * DAY_US,
    )
    assert figures == pytest.approx(
        {
            "labels_known": 5,
            "labels_unproven": 1,
            "labels_let_through": 2,
            "labels_weight": 70,
            "labels_weight_most": 50,
            "labels_capped": 1,
            "labels_share_chargeback": 0.2,
            "labels_delay_days_median_chargeback": 10,
            "labels_delay_days_p90_chargeback": 10,
            "labels_share_analyst": 0.2,
            "labels_delay_days_median_analyst": 2,
            "labels_delay_days_p90_analyst": 2,
            "labels_share_matured": 0.4,
            "labels_delay_days_median_matured": 25,
            "labels_delay_days_p90_matured": 29,
            "labels_share_none": 0.2,
            "labels_delay_days_median_none": 25,
            "labels_delay_days_p90_none": 25,
        }
    )


# --- blocked, dropped, let through ---------------------------------------------------------------------------

ROWS, SHARE = 30_000, 0.05
QUICK = FraudFitSettings(trees=150, threads=1, rising=RISING)


@cache
def logged(seed: int) -> tuple[Market, np.ndarray, np.ndarray]:
    """A market in which an older model refused what looked riskier than 15 %, but for a drawn share; which trades it
    refused, and which were let through by the draw."""
    trades, rng = market(ROWS, seed=seed), np.random.default_rng(seed)
    seen = expit(np.log(trades.truth / (1 - trades.truth)) + rng.normal(0.0, 0.3, ROWS))
    drawn = (seen > 0.15) & (rng.random(ROWS) < SHARE)
    return trades, (seen > 0.15) & ~drawn, drawn


def fit_on(
    trades: Market, rows: np.ndarray, fraud: np.ndarray, weight: np.ndarray | None = None
) -> FraudModel:
    return fit_fraud(
        columns={name: column[rows] for name, column in trades.columns.items()},
        fraud=fraud[rows],
        submitted_at=trades.submitted_at[rows],
        names=NAMES,
        families=FAMILIES,
        weight=None if weight is None else weight[rows],
        settings=QUICK,
    )


def ap_and_level(model: FraudModel) -> tuple[float, float]:
    """Average precision and mean probability by true rate, on all trades of a later market, refused or not."""
    fresh = market(20_000, seed=99)
    probability = model.probability(fresh.columns)
    ap = average_precision(fraud=fresh.fraud, probability=probability)
    return ap, float(probability.mean() / fresh.truth.mean())


@pytest.mark.parametrize("seed", [1, 2])
def test_random_let_through_repairs_what_refusals_hide(seed):
    """Refused trades taken as honest wreck the ranking, left out they sink the level, the drawn share restores it."""
    trades, refused, drawn = logged(seed)
    everything = np.ones(ROWS, dtype=bool)
    naive_ap, naive_level = ap_and_level(fit_on(trades, everything, trades.fraud & ~refused))
    all_ap, _ = ap_and_level(fit_on(trades, everything, trades.fraud))
    _, dropped_level = ap_and_level(fit_on(trades, ~refused & ~drawn, trades.fraud))
    taught = lessons(
        fraud=np.where(
            refused, 0.0, trades.fraud
        ),  # as a file would have it that fills what it does not know
        decision=np.where(refused, "refuse", "pay").astype(object),
        source=np.full(ROWS, None),
        let_through=np.where(drawn, SHARE, np.nan),
    )
    _, level = ap_and_level(fit_on(trades, taught.counts, trades.fraud, taught.weight))
    assert naive_ap < 0.7 * all_ap
    assert naive_level < 0.75
    assert dropped_level < 0.9
    assert 0.9 < level < 1.1
