"""Ranges cover what they claim, per group where the group can say, and the newest resales count most."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from models.discount.context import CardContext, card_context
from models.discount.ranges import (
    EVERYTHING,
    HALF_LIFE_DAYS,
    LEVELS,
    MIN_STATE_ROWS,
    RangeTable,
    fit_ranges,
)
from models.discount.resale_errors import DAY_MS, resale_errors


def context_of(
    card_type: np.ndarray, category: str = "retail", expired: np.ndarray | None = None
) -> CardContext:
    rows = len(card_type)
    columns = {
        "card_type": card_type.astype(object),
        "card_category": np.full(rows, category, dtype=object),
        "card_is_expired": np.zeros(rows) if expired is None else expired.astype(np.float64),
    }
    return card_context(columns, rows)


def one_type(rows: int, name: str = "any") -> CardContext:
    return context_of(np.full(rows, name, dtype=object))


def learn(
    residual: np.ndarray,
    context: CardContext | None = None,
    error: np.ndarray | None = None,
    resold_at: np.ndarray | None = None,
    rolling: bool = False,
) -> RangeTable:
    """Ranges from resales sold three days before they were paid for."""
    rows = len(residual)
    moment = np.zeros(rows, dtype=np.int64) if resold_at is None else resold_at
    errors = resale_errors(
        context=context or one_type(rows),
        submitted_at=moment - 3 * DAY_MS,
        resold_at=moment,
        residual=residual,
        error=np.ones(rows) if error is None else error,
    )
    return fit_ranges(errors, rolling=rolling)


@pytest.mark.parametrize("rows", [41, 101, 777])
def test_equal_weights_give_the_quantiles_of_a_sorted_list(rows: int) -> None:
    """With equal weights a bound is the conformal order statistic, as numpy counts it; the median is the plain one."""
    residual = np.random.default_rng(rows).standard_t(3, rows)
    found = learn(residual).quantiles[EVERYTHING]
    for level, bound in zip(LEVELS, found, strict=True):
        outer = max(level, 1 - level)
        stretched = outer if level == 0.5 else min(outer * (rows + 1) / rows, 1.0)
        side = 1.0 if level >= 0.5 else -1.0
        assert bound == side * np.quantile(side * residual, stretched, method="inverted_cdf")


def test_weight_of_a_resale_halves_in_a_week() -> None:
    """A bound is where the weights beyond it, newest at full weight, sum to the tail."""
    rng = np.random.default_rng(5)
    residual, age_days = rng.normal(size=2_000), rng.integers(0, 60, 2_000)
    table = learn(residual, resold_at=(1_000 - age_days.astype(np.int64)) * DAY_MS)
    weight = 0.5 ** ((age_days - age_days.min()) / HALF_LIFE_DAYS)
    p05, p10, p50, p90, p95 = table.quantiles[EVERYTHING]
    for bound, level in ((p90, 0.9), (p95, 0.95)):
        assert weight[residual < bound].sum() <= level * (weight.sum() + 1) <= weight[residual <= bound].sum()
    for bound, level in ((p10, 0.9), (p05, 0.95)):
        assert weight[residual > bound].sum() <= level * (weight.sum() + 1) <= weight[residual >= bound].sum()
    assert weight[residual < p50].sum() <= 0.5 * weight.sum() <= weight[residual <= p50].sum()


def heavy_tailed(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Residuals with three degrees of freedom and a skew, of cards whose expected error differs by a factor of ten."""
    rng = np.random.default_rng(seed)
    error = rng.uniform(0.004, 0.04, rows)
    noise = rng.standard_t(3, rows)
    return np.where(noise < 0, 2.0, 1.0) * noise * error, error


def test_heavy_tails_are_covered() -> None:
    """80 and 90 % of heavy-tailed, skewed later resales lie inside, and each tail holds its own share."""
    residual, error = heavy_tailed(4_000, 1)
    table = learn(residual, error=error)
    later, later_error = heavy_tailed(20_000, 2)
    bounds = table.of(one_type(20_000))[0] * later_error[:, None]
    beyond = [(later < bounds[:, 0]).mean(), (later < bounds[:, 1]).mean()]
    beyond += [(later > bounds[:, 3]).mean(), (later > bounds[:, 4]).mean()]
    np.testing.assert_allclose(beyond, (0.05, 0.10, 0.10, 0.05), atol=0.012)
    certain = later_error < 0.01
    inside = (later >= bounds[:, 1]) & (later <= bounds[:, 3])
    assert 0.77 <= inside[certain].mean() <= 0.83


def test_newest_resales_count_most() -> None:
    """A market that grew three times as noisy three weeks ago: the range is that of the new noise."""
    rng = np.random.default_rng(3)
    day = np.sort(rng.integers(0, 90, 6_000))
    residual = rng.normal(0, np.where(day >= 69, 3.0, 1.0))
    p90 = learn(residual, resold_at=day * DAY_MS).quantiles[EVERYTHING][3]
    assert 2.6 < p90 < 3.0 * 1.28 + 0.5


def test_type_is_drawn_to_its_category_as_far_as_it_has_little_to_say() -> None:
    """A type with many resales has its own range, one with a few its category's, one that is not there the widest
    there is; valid and expired cards only count together where one of them is rare."""
    rng = np.random.default_rng(4)
    count = {"large": 20_000, "usual": 4_000, "small": 5}
    names = np.repeat(np.array(list(count), dtype=object), list(count.values()))
    residual = rng.normal(0, np.where(names == "usual", 1.0, 5.0))
    table = learn(residual, context_of(names))
    p90 = table.of(context_of(np.array(["large", "usual", "small", "new"], dtype=object)))[0][:, 3]
    assert abs(p90[0] - 5.0 * 1.28) < 0.3
    assert 1.28 < p90[1] < 2.5
    assert abs(p90[2] / p90[3] - 1.0) < 0.05
    assert table.quantiles["category/retail/valid"][3] == p90[3]
    elsewhere = np.array(["new"], dtype=object)
    assert tuple(table.of(context_of(elsewhere, "fuel"))[0][0]) == table.quantiles["state/valid"]
    expired = context_of(elsewhere, "fuel", np.ones(1))
    assert tuple(table.of(expired)[0][0]) == table.quantiles[EVERYTHING]


@pytest.mark.parametrize(("expired", "stands"), [(MIN_STATE_ROWS, True), (MIN_STATE_ROWS - 1, False)])
def test_expired_cards_stand_by_themselves_where_they_are_many(expired: int, stands: bool) -> None:
    """The errors of valid cards say nothing about expired ones, unless these are too few to speak."""
    rng = np.random.default_rng(8)
    is_expired = np.arange(3_000) < expired
    residual = rng.normal(0, np.where(is_expired, 10.0, 1.0))
    table = learn(residual, context_of(np.full(3_000, "any", dtype=object), expired=is_expired))
    p90 = table.of(context_of(np.full(1, "new", dtype=object), expired=np.ones(1)))[0][0, 3]
    assert (p90 > 8.0) == stands


def in_runs(days: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Residuals, days and types of ten card types, each of which is five times as noisy in one week of eight."""
    rng = np.random.default_rng(seed)
    day = np.sort(rng.integers(0, days, 400 * days))
    which = rng.integers(0, 10, len(day))
    noisy = (day // 7 + which) % 8 == 0
    return rng.normal(0, np.where(noisy, 5.0, 1.0)), day, which


def test_rolling_range_follows_a_run_of_large_errors() -> None:
    """In the week in which a type's errors are five times as large its rolling range is wide, those of the others are
    not; a range that will stay for weeks does not follow, and all of them together hold what they should."""
    residual, day, which = in_runs(60, 9)
    names = np.char.add("type", which.astype(str)).astype(object)
    until = 8 * 7 + 4
    old = day < until
    known = {"context": context_of(names[old]), "resold_at": day[old] * DAY_MS}
    kinds = context_of(np.array([f"type{number}" for number in range(10)], dtype=object))
    staying, rolling = (
        learn(residual[old], **known, rolling=rolling).of(kinds)[0][:, 4] for rolling in (False, True)
    )
    noisy = np.flatnonzero((until // 7 + np.arange(10)) % 8 == 0)
    calm = np.setdiff1d(np.arange(10), noisy)
    assert rolling[noisy].min() > 2.5 * np.median(rolling[calm])
    assert staying[noisy].max() < 2.0 * np.median(staying[calm])


def test_rolling_ranges_hold_what_they_say() -> None:
    """Made anew each day from what is known then, they hold 90 % of all resales and nearly as many of each type."""
    residual, day, which = in_runs(60, 10)
    names = np.char.add("type", which.astype(str)).astype(object)
    inside = np.zeros(len(day), dtype=bool)
    for today in range(30, 60):
        old, new = day < today - 1, day == today
        table = learn(residual[old], context_of(names[old]), resold_at=day[old] * DAY_MS, rolling=True)
        bounds = table.of(context_of(names[new]))[0]
        inside[new] = (residual[new] >= bounds[:, 0]) & (residual[new] <= bounds[:, 4])
    judged = day >= 30
    assert 0.88 <= inside[judged].mean() <= 0.92
    assert min(inside[judged & (which == number)].mean() for number in range(10)) > 0.83


def test_old_errors_are_outdated() -> None:
    """Errors of more than 90 days before the newest resale do not count any more."""
    residual = np.r_[np.full(500, -9.0), np.linspace(-1, 1, 400)]
    resold_at = np.r_[np.zeros(500), np.full(400, 91 * DAY_MS)].astype(np.int64)
    assert learn(residual, resold_at=resold_at) == learn(residual[500:], resold_at=resold_at[500:])


def test_usual_width_is_the_mean_distance_to_p10() -> None:
    """The width is in rate and the same for every card of a group."""
    residual, error = heavy_tailed(2_000, 6)
    table = learn(residual, error=error)
    width = table.of(one_type(3))[1]
    np.testing.assert_allclose(width, -table.quantiles[EVERYTHING][1] * error.mean())


def test_width_is_never_negative() -> None:
    """Where even the tenth worst resale beat the expected rate, there is no distance down."""
    assert learn(np.linspace(1.0, 2.0, 200)).of(one_type(1))[1][0] == 0.0


@given(
    residual=arrays(np.float64, st.integers(1, 300), elements=st.floats(-1, 1)),
    age_days=st.integers(0, 89),
)
def test_bounds_are_ordered_and_hold_the_sample(residual: np.ndarray, age_days: int) -> None:
    """p05 <= p10 <= p50 <= p90 <= p95, and at most the tail lies beyond each, however few the resales."""
    rows = len(residual)
    table = learn(residual, resold_at=(np.arange(rows) % 2) * age_days * DAY_MS)
    bounds = table.quantiles[EVERYTHING]
    assert list(bounds) == sorted(bounds)
    weight = 0.5 ** ((1 - np.arange(rows) % 2) * age_days / HALF_LIFE_DAYS) if rows > 1 else np.ones(1)
    tail = 0.1 * weight.sum() + 1e-9
    assert weight[residual < bounds[1]].sum() <= tail
    assert weight[residual > bounds[3]].sum() <= tail


def test_table_survives_json() -> None:
    """What was written answers the same when read."""
    table = learn(heavy_tailed(500, 7)[0])
    again = RangeTable.from_dict(json.loads(json.dumps(table.to_dict())))
    assert again == table
