"""What a policy would have earned is found from a log of drawn offers, or refused."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from models.evaluation.bootstrap import TooFewClusters
from models.evaluation.off_policy import (
    FollowsTheDraw,
    OffPolicyValue,
    OutsideSupport,
    Pricing,
    estimated_centre,
    logged_or_estimated_centre,
    off_policy_value,
)

HALF = 0.02
RESALE = 0.93


@dataclass(frozen=True)
class Log:
    """n drawn offers whose truth is known; the model of acceptance is wrong in level and in slope."""

    kind: np.ndarray
    face: np.ndarray
    day: np.ndarray
    centre: np.ndarray
    rate: np.ndarray
    accepted: np.ndarray

    def pricing(self, rate: np.ndarray) -> Pricing:
        distance = (rate - self.centre) / 0.0165
        return Pricing(rate, expit(0.5 * distance + 0.4), self.face * (RESALE - rate))

    def truth(self, rate: np.ndarray) -> float:
        return float(np.mean(acceptance(rate, self.centre) * self.face * (RESALE - rate)))

    def target(self, size: float) -> np.ndarray:
        """Rates that differ from the logged policy's by up to ``size``, by the kind of card."""
        return self.centre + size * np.sin(40 * self.kind)

    def judge(self, rate: np.ndarray, **other: object) -> OffPolicyValue:
        known: dict = {
            "target": self.pricing(rate),
            "logged": self.pricing(self.rate),
            "density": np.full(len(rate), 0.5 / HALF),
            "centre": self.centre,
            "accepted": self.accepted,
            "clusters": [self.day],
            "rng": np.random.default_rng(0),
        }
        return off_policy_value(**known | other)


def acceptance(rate: np.ndarray, centre: np.ndarray) -> np.ndarray:
    return expit((rate - centre) / 0.0165)


def make_log(*, rows: int, seed: int) -> Log:
    rng = np.random.default_rng(seed)
    kind = rng.random(rows)
    centre = 0.86 + 0.04 * kind
    rate = np.round(centre + rng.uniform(-HALF, HALF, rows), 4)
    return Log(
        kind=kind,
        face=10_000 * rng.choice([1, 2, 5, 10], rows).astype(np.float64),
        day=rng.integers(0, 30, rows),
        centre=centre,
        rate=rate,
        accepted=(rng.random(rows) < acceptance(rate, centre)).astype(np.float64),
    )


@cache
def log() -> Log:
    return make_log(rows=20_000, seed=1)


def error_of(found: OffPolicyValue, truth: float) -> float:
    """Distance from the truth in standard errors of the estimate."""
    return abs(found.value_fen - truth) / ((found.high - found.low) / 3.92)


@pytest.mark.parametrize("size", [0.0, 0.01, 0.019])
def test_a_wrong_model_is_corrected(size: float) -> None:
    """The model alone is more than 5 % off; the estimate finds the truth within its sampling error."""
    rate = log().target(size)
    found, truth = log().judge(rate), log().truth(rate)
    assert abs(found.model_fen / truth - 1) > 0.05
    assert error_of(found, truth) < 2.5
    assert abs(found.value_fen / truth - 1) < 0.03
    assert found.overlap == pytest.approx(1.0)


@pytest.mark.parametrize("distance", [0.0, 0.013, -0.019, HALF, -HALF])
def test_a_smooth_error_leaves_no_bias_anywhere_in_the_draw(distance: float) -> None:
    """With even draws, mean answers and a model whose error is a parabola in the rate, the value is exact."""
    market = make_log(rows=20_000, seed=1)

    def error(rate: np.ndarray) -> np.ndarray:
        return -0.1 + 4 * (rate - market.centre) + 150 * (rate - market.centre) ** 2

    draw = (np.arange(20_000) + 0.5) / 10_000 - 1
    rate = market.centre + HALF * draw
    target = replace(market.pricing(market.centre + distance), profit_fen=np.ones(20_000))
    answers = market.pricing(rate).acceptance + error(rate)
    found = market.judge(rate, target=target, logged=market.pricing(rate), accepted=answers)
    assert found.value_fen == pytest.approx(
        target.acceptance.mean() + error(market.centre + distance).mean(), abs=2e-3
    )
    assert abs(found.value_fen - found.model_fen) > 0.01


def test_intervals_cover_the_truth() -> None:
    """Of the 95 % intervals of 40 small logs, at least 85 % hold the true value, and the true gain."""
    values, gains = 0, 0
    for seed in range(40):
        market = make_log(rows=1_500, seed=seed)
        rate = market.target(0.01)
        found, truth = market.judge(rate), market.truth(rate)
        gain = truth - market.truth(market.rate)
        values += found.low <= truth <= found.high
        gains += found.gain_low <= gain <= found.gain_high
    assert min(values, gains) >= 0.85 * 40


@pytest.mark.parametrize(("step", "gains"), [(0.008, True), (-0.015, False)])
def test_a_good_policy_is_told_from_a_bad_one(step: float, gains: bool) -> None:
    """Better and worse rates than the logged ones: the interval of the gain lies on the true side of 0."""
    rate = log().centre + step
    found, truth = log().judge(rate), log().truth(rate) - log().truth(log().rate)
    assert (truth > 0) == gains
    assert (found.gain_low > 0) == gains
    assert (found.gain_high > 0) == gains


def test_rates_nobody_was_offered_are_refused_with_a_reason() -> None:
    """Five points away nothing is estimated; the message gives the overlap and what is needed."""
    with pytest.raises(OutsideSupport, match=r"overlap is 0\.0%, needed is 95%.*wider draw"):
        log().judge(log().centre + 0.05)


def test_a_log_without_draws_is_refused() -> None:
    """Without a density there is no support, however near the rates are."""
    with pytest.raises(OutsideSupport, match="no offer of this log was drawn"):
        log().judge(log().centre, density=np.full(20_000, np.nan))


def test_rows_outside_keep_their_logged_offer() -> None:
    """4 % far away count against the overlap and gain nothing, whatever the model believes of them."""
    rate = log().target(0.01)
    far = np.arange(len(rate)) % 25 == 0
    dreaming = log().pricing(np.where(far, rate - 0.05, rate))
    dreaming = replace(dreaming, acceptance=np.where(far, 1.0, dreaming.acceptance))
    found, at_home = log().judge(rate, target=dreaming), log().judge(rate)
    assert found.overlap == pytest.approx(0.96, abs=0.002)
    assert found.gain_fen == pytest.approx(0.96 * at_home.gain_fen, abs=0.02 * found.logged_fen)
    assert found.model_fen > found.value_fen


def test_rows_not_drawn_keep_their_logged_offer() -> None:
    """A NaN density takes a row out of the estimate and lowers the overlap; no NaN reaches a figure."""
    rate = log().target(0.01)
    density = np.where(np.arange(len(rate)) % 25 == 0, np.nan, 0.5 / HALF)
    found = log().judge(rate, density=density)
    assert found.overlap == pytest.approx(0.96, abs=0.002)
    assert np.isfinite(list(found.to_dict().values())).all()
    assert error_of(found, log().truth(rate)) < 3


def test_unanswered_offers_are_left_out() -> None:
    """Rows without an answer or without an offer change nothing."""
    short = make_log(rows=3_000, seed=3)
    rate, known = short.target(0.01), np.arange(3_000) < 2_000
    cut = Log(**{name: column[known] for name, column in vars(short).items()})
    logged = replace(short.pricing(short.rate), rate=np.where(np.arange(3_000) < 2_500, short.rate, np.nan))
    found = short.judge(
        rate, logged=logged, accepted=np.where(known | (np.arange(3_000) >= 2_500), short.accepted, np.nan)
    )
    assert found == cut.judge(rate[known])


def test_no_offer_earns_nothing() -> None:
    """A policy that offers nothing is worth 0 exactly and gives up all that was earned."""
    found = log().judge(np.full(20_000, np.nan))
    assert (found.value_fen, found.low, found.high) == (0.0, 0.0, 0.0)
    assert found.gain_fen == pytest.approx(-found.logged_fen)


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    undrawn=st.floats(0, 1),
    fixed_fen=st.floats(-1_000, 1_000),
)
def test_the_logged_policy_gains_nothing_over_itself(seed: int, undrawn: float, fixed_fen: float) -> None:
    """Equal offers and equal economics: the gain and its interval are 0, drawn or not."""
    market = make_log(rows=200, seed=seed)
    same = replace(market.pricing(market.rate), fixed_fen=fixed_fen)
    density = np.where(np.random.default_rng(seed).random(200) < undrawn, np.nan, 0.5 / HALF)
    found = market.judge(market.rate, target=same, logged=same, density=density)
    assert (found.gain_fen, found.gain_low, found.gain_high) == pytest.approx((0, 0, 0), abs=1e-6)
    assert found.value_fen == pytest.approx(found.logged_fen)


def test_a_target_that_follows_the_draw_is_refused() -> None:
    """Logged offers moved by half a point are no function of the card: no kernel can judge them."""
    with pytest.raises(FollowsTheDraw):
        log().judge(log().rate + 0.005)


def test_a_wrong_centre_is_noticed() -> None:
    """Centres two points off are measured as such, and the policy that only seems inside is refused."""
    wrong = log().centre + 0.04 * (log().kind > 0.5) - 0.02
    with pytest.raises(OutsideSupport, match=r"known to ±0\.020"):
        log().judge(wrong, centre=wrong)


def test_centres_are_found_from_the_offers() -> None:
    """Estimated from what the policy looked at, centres are known to a quarter point, and judge as well."""
    market = make_log(rows=4_000, seed=2)
    centre = estimated_centre(
        columns={"kind": market.kind}, names=("kind",), offered_rate=market.rate, fold_by=market.day
    )
    assert np.abs(centre - market.centre).mean() < 0.0025
    rate = market.target(0.01)
    found = market.judge(rate, centre=centre)
    assert found.centre_error < 0.004
    assert found.overlap > 0.95
    assert error_of(found, market.truth(rate)) < 2.5


def test_centres_need_other_labels() -> None:
    """With a single label, a row's own draw would be in its centre."""
    market = make_log(rows=200, seed=1)
    with pytest.raises(TooFewClusters):
        estimated_centre(
            columns={"kind": market.kind},
            names=("kind",),
            offered_rate=market.rate,
            fold_by=np.zeros(200),
        )


def test_logged_centres_stay_exact_beside_estimated_ones() -> None:
    """With half of the centres logged and half estimated with an error, the error is measured on the estimated ones,
    and the truth is found; centres that are exact are the same whatever they are called."""
    market = log()
    rng = np.random.default_rng(3)
    estimated = np.arange(len(market.rate)) % 2 == 0
    centre = market.centre + np.where(estimated, rng.normal(0, 0.004, len(estimated)), 0.0)
    rate = market.target(0.012)
    apart = market.judge(rate, centre=centre, estimated=estimated)
    exact = market.judge(rate, estimated=estimated)
    assert apart.centre_error == pytest.approx(0.004 / np.sqrt(2), rel=0.2)
    assert exact.centre_error == 0.0
    assert exact == market.judge(rate)
    assert error_of(apart, market.truth(rate)) < 2.5


def test_centres_are_estimated_only_where_they_are_missing() -> None:
    """A log with all its centres keeps them without a fit; one that lacks some has those estimated, and says which."""
    market = make_log(rows=4_000, seed=9)
    density = np.full(4_000, 0.5 / HALF)
    density[:100] = np.nan
    known = {
        "density": density,
        "columns": {"kind": market.kind},
        "names": ("kind",),
        "offered_rate": market.rate,
        "fold_by": market.day,
    }
    whole = np.where(np.isnan(density), np.nan, market.centre)
    found, estimated = logged_or_estimated_centre(logged=whole, **known)
    np.testing.assert_array_equal(found, whole)
    assert not estimated.any()
    lacking = np.where(np.arange(4_000) % 3 == 0, np.nan, whole)
    found, estimated = logged_or_estimated_centre(logged=lacking, **known)
    np.testing.assert_array_equal(estimated, np.isnan(lacking))
    np.testing.assert_array_equal(found[~estimated], market.centre[~estimated])
    assert np.abs(found - market.centre)[estimated].mean() < 0.004
