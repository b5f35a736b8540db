"""Offers tell of fraud as far as their labels could have come."""

from __future__ import annotations

import numpy as np
import pytest

from models.discount.labelled_offers import LEAST_DELAYS, WEEK_MS, mature_offers, told

DAY_MS = WEEK_MS // 7


def test_mature_offers_are_those_of_weeks_with_nearly_all_labels() -> None:
    """A week in which half of the bought cards wait for a label does not count; its refusals do not either."""
    submitted_at = np.repeat(np.arange(4) * WEEK_MS, 100)
    accepted = np.tile([1.0, 0.0], 200)
    fraud = np.where(accepted == 1, 0.0, np.nan)
    fraud[250:] = np.nan
    mature = mature_offers(submitted_at=submitted_at, accepted=accepted, fraud=fraud)
    assert np.array_equal(np.flatnonzero(mature), np.arange(200))


def test_unlabelled_cards_of_a_mature_week_are_left_out() -> None:
    """Of a week that counts, the few bought cards without a label say nothing."""
    accepted, fraud = np.ones(100), np.zeros(100)
    fraud[7] = np.nan
    mature = mature_offers(submitted_at=np.zeros(100, dtype=np.int64), accepted=accepted, fraud=fraud)
    assert np.array_equal(np.flatnonzero(~mature), [7])


def test_order_of_offers_does_not_matter_and_nothing_gives_nothing() -> None:
    """The weeks are found by their time; an empty log, or one without labels, has no mature offer."""
    rng = np.random.default_rng(2)
    submitted_at = np.sort(rng.integers(0, 5 * WEEK_MS, 500))
    accepted = (rng.random(500) < 0.5).astype(np.float64)
    fraud = np.where((accepted == 1) & (submitted_at < 3 * WEEK_MS), 0.0, np.nan)
    order = rng.permutation(500)
    straight = mature_offers(submitted_at=submitted_at, accepted=accepted, fraud=fraud)
    mixed = mature_offers(submitted_at=submitted_at[order], accepted=accepted[order], fraud=fraud[order])
    assert straight.sum() > 200
    assert np.array_equal(straight[order], mixed)
    none = mature_offers(submitted_at=submitted_at, accepted=accepted, fraud=np.full(500, np.nan))
    assert not none.any()
    empty = np.zeros(0)
    assert mature_offers(submitted_at=empty.astype(np.int64), accepted=empty, fraud=empty).size == 0


def _log(rows: int, *, labelled: float = 1.0) -> dict[str, np.ndarray]:
    """Offers of twenty weeks, a third declined, a tenth of the bought fraud that is known within sixteen days, honesty
    after thirty; ``labelled`` of the bought ever get a label."""
    rng = np.random.default_rng(8)
    submitted_at = np.sort(rng.integers(0, 20 * WEEK_MS, rows))
    accepted = (rng.random(rows) < 2 / 3).astype(np.float64)
    bad = (accepted == 1) & (rng.random(rows) < 0.1)
    delay = np.where(bad, rng.integers(2 * DAY_MS, 16 * DAY_MS, rows), 30 * DAY_MS)
    known_at = submitted_at + delay
    known = (accepted == 1) & (known_at <= 20 * WEEK_MS) & (rng.random(rows) < labelled)
    fraud = np.where(known, bad.astype(np.float64), np.nan)
    return {"submitted_at": submitted_at, "accepted": accepted, "fraud": fraud, "known_at": known_at}


@pytest.mark.parametrize("labelled", [1.0, 0.6])
def test_the_share_of_young_offers_comes_out_as_it_will_be(labelled: float) -> None:
    """The newest weeks tell part of what they will, growing with age, and their share of fraud is that of the others
    already now; offers too young for any label tell nothing."""
    log = _log(40_000, labelled=labelled)
    tells = told(**log)
    young = ~mature_offers(**{name: log[name] for name in ("submitted_at", "accepted", "fraud")})
    young &= log["submitted_at"] > 16 * WEEK_MS
    bad = (log["accepted"] == 1) & (log["fraud"] == 1)
    week = log["submitted_at"] // WEEK_MS
    by_week = [tells[(week == place) & ~bad].mean() for place in (16, 17, 18, 19)]
    assert by_week == sorted(by_week, reverse=True)
    assert 0.0 < by_week[-1] < 0.3
    share = np.average(bad[young], weights=tells[young])
    mature = ~young & (tells > 0)
    assert share == pytest.approx(np.average(bad[mature], weights=tells[mature]), rel=0.15)
    assert (tells[log["submitted_at"] > 20 * WEEK_MS - DAY_MS] == 0).all()
    assert tells.sum() > 1.1 * mature.sum()


def test_few_frauds_do_not_say_how_soon_a_fraud_is_known() -> None:
    """With fewer than LEAST_DELAYS known frauds, or where all became known at once, only mature weeks tell."""
    log = _log(40_000)
    outcomes = {name: log[name] for name in ("submitted_at", "accepted", "fraud")}
    at_once = np.full(40_000, 20 * WEEK_MS)
    np.testing.assert_array_equal(told(**outcomes, known_at=at_once), mature_offers(**outcomes))
    known = np.flatnonzero(log["fraud"] == 1)
    outcomes["fraud"] = log["fraud"].copy()
    outcomes["fraud"][known[LEAST_DELAYS - 1 :]] = np.nan
    np.testing.assert_array_equal(told(**outcomes, known_at=log["known_at"]), mature_offers(**outcomes))


@pytest.mark.parametrize("weeks", [18, 14, 8])
def test_labels_that_stopped_coming_call_no_later_offer_honest(weeks: int) -> None:
    """Where the newest label is weeks old, offers since then tell nothing, and the share of fraud stays true."""
    log = _log(40_000)
    log["fraud"] = np.where(log["known_at"] <= weeks * WEEK_MS, log["fraud"], np.nan)
    tells = told(**log)
    bad = (log["accepted"] == 1) & (log["fraud"] == 1)
    assert (tells[log["submitted_at"] > weeks * WEEK_MS] == 0).all()
    assert np.average(bad, weights=tells) == pytest.approx(0.1 * 2 / 3, rel=0.08)


def test_weeks_that_fewer_labels_reach_for_good_are_left_out() -> None:
    """Where a fifth of the labels no longer comes, the weeks since then are not taken for young ones."""
    log = _log(40_000)
    lost = (log["submitted_at"] > 8 * WEEK_MS) & (np.random.default_rng(2).random(40_000) < 0.2)
    log["fraud"] = np.where(lost, np.nan, log["fraud"])
    tells = told(**log)
    week = log["submitted_at"] // WEEK_MS
    assert (tells[(week >= 9) & (week < 14)] == 0).all()
