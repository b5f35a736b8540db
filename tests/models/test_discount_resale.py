"""The resale estimate: close, ordered, honest about its range, and steady when the market moves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from models.discount.conformal import MIN_GROUP_ROWS, RangeCorrection, fit_correction
from models.discount.context import card_context
from tests.models.discount_market import fitted_model, later_market, make_market


def test_mean_is_close_and_quantiles_are_ordered() -> None:
    """On later trades the mean is within a point of the truth, and p10 <= p50 <= p90 on every row."""
    market = later_market()
    estimate = fitted_model().resale_estimate(columns=market.columns, rows=2_000)
    assert np.abs(estimate.mean - market.resale_expected).mean() < 0.006
    assert np.all((estimate.p10 <= estimate.p50) & (estimate.p50 <= estimate.p90))


def test_range_covers_four_fifths_of_later_resales() -> None:
    """The 80 % range holds on a month the model never saw."""
    market = make_market(rows=6_000, seed=12, from_day=61, days=20)
    estimate = fitted_model().resale_estimate(columns=market.columns, rows=6_000)
    resold = np.isfinite(market.resale_rate)
    inside = (market.resale_rate >= estimate.p10) & (market.resale_rate <= estimate.p90)
    assert 0.75 <= inside[resold].mean() <= 0.86


def test_recalibration_restores_the_range_after_a_shock() -> None:
    """When resale prices grow noisier, correcting on recent resales brings the coverage back."""
    model = fitted_model()
    shocked = make_market(rows=3_000, seed=13, from_day=61, days=20)
    context = card_context(shocked.columns, 3_000)
    outcome = shocked.resale_expected + np.random.default_rng(0).normal(0, 0.03, 3_000)
    recent, later = np.arange(3_000) < 1_500, np.arange(3_000) >= 1_500
    rolled = model.resale.recalibrated(
        columns={name: column[recent] for name, column in shocked.columns.items()},
        context=card_context({name: column[recent] for name, column in shocked.columns.items()}, 1_500),
        resale_rate=outcome[recent],
    )
    coverages = []
    for resale in (model.resale, rolled):
        estimate = resale.estimate(columns=shocked.columns, context=context)
        coverages.append(((outcome >= estimate.p10) & (outcome <= estimate.p90))[later].mean())
    assert coverages[0] < 0.6
    assert 0.76 <= coverages[1] <= 0.87


def test_correction_is_per_group_where_the_group_is_large_enough() -> None:
    """A wide group gets its own correction; a small one uses that of all rows."""
    rng = np.random.default_rng(1)
    rows = 4 * MIN_GROUP_ROWS
    groups = np.array(["narrow"] * (rows // 2) + ["wide"] * (rows // 2), dtype=object)
    outcome = rng.normal(0, np.where(groups == "wide", 3.0, 1.0))
    found = fit_correction(groups=groups, outcome=outcome, low=np.zeros(rows), high=np.zeros(rows))
    assert found.up["wide"] > 2 * found.up["narrow"]
    low, high = found.apply(groups=np.array(["unseen"], dtype=object), low=np.zeros(1), high=np.zeros(1))
    assert (low[0], high[0]) == (-found.down_overall, found.up_overall)


@given(arrays(np.float64, st.integers(20, 200), elements=st.floats(-1, 1)))
def test_correction_leaves_at_most_a_tenth_outside_each_bound(outcome: np.ndarray) -> None:
    """On the rows it was learnt from, each corrected bound has at most a tenth of the outcomes beyond it."""
    rows = len(outcome)
    groups = np.full(rows, "any", dtype=object)
    found = fit_correction(groups=groups, outcome=outcome, low=np.zeros(rows), high=np.zeros(rows))
    low, high = found.apply(groups=groups, low=np.zeros(rows), high=np.zeros(rows))
    assert (outcome < low).mean() <= 0.1
    assert (outcome > high).mean() <= 0.1


def test_extreme_corrections_keep_the_order() -> None:
    """Even a correction that would cross the bounds leaves them sorted."""
    crossed = replace(
        fitted_model().resale,
        correction=RangeCorrection(down={}, up={}, down_overall=-0.5, up_overall=-0.5),
    )
    market = later_market()
    estimate = crossed.estimate(columns=market.columns, context=card_context(market.columns, 2_000))
    assert np.all((estimate.p10 <= estimate.p50) & (estimate.p50 <= estimate.p90))
