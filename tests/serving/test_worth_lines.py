"""What stands beside the figures of a model on the terminal."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from serving.output import figure
from serving.worth_lines import fraud_note, ranges_note

GOOD = {
    "profit_labelled_rows": 120.0,
    "resale_rows": 5_000.0,
    "range_coverage_90": 0.9,
    "range_coverage_90_worst_type": 0.87,
}
NAN = float("nan")


@pytest.mark.parametrize(
    ("value", "told"),
    [(-0.0, "0"), (-0.00001, "0.0000"), (-0.4, "-0.4000"), (-2.0, "-2"), (-1_000.4, "-1,000"), (NAN, "-")],
)
def test_nothing_has_no_sign(value: float, told: str) -> None:
    """No figure is told as -0; every other keeps its sign."""
    assert figure(value) == told


@pytest.mark.parametrize(("rows", "notes"), [(0.0, 1), (1.0, 0)])
def test_profit_without_fraud_says_so(rows: float, notes: int) -> None:
    """Where no label is old enough the figures of profit say that fraud is not in them yet, and else nothing."""
    found = fraud_note({**GOOD, "profit_labelled_rows": rows})
    assert len(found) == notes
    assert all("Fraud is not in these profit figures yet" in note for note in found)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"range_coverage_90": 0.74}, "0.740, asked 0.880 to 0.920"),
        ({"range_coverage_90": 0.95}, "0.950, asked 0.880 to 0.920"),
        ({"range_coverage_90_worst_type": 0.44}, "worst card type 0.440, asked at least 0.800"),
    ],
)
def test_ranges_that_a_promotion_would_stop_are_named_with_what_mends_them(
    changed: Mapping[str, float], told: str
) -> None:
    """Outside of what a promotion asks, one line has the figure, what is asked, and `huika recalibrate`."""
    (note,) = ranges_note({**GOOD, **changed})
    assert told in note
    assert "`huika recalibrate`" in note


@pytest.mark.parametrize(
    "figures",
    [
        GOOD,
        {**GOOD, "range_coverage_90": 0.80, "resale_rows": 30.0},
        {**GOOD, "range_coverage_90": NAN, "range_coverage_90_worst_type": NAN, "resale_rows": 0.0},
        {"auc": 0.8},
    ],
    ids=["as asked", "within chance", "nothing resold", "fraud model"],
)
def test_ranges_of_which_nothing_is_to_be_said(figures: Mapping[str, float]) -> None:
    """Ranges as asked, as far from it as chance alone makes few resales, never resold, or of no discount model."""
    assert ranges_note(figures) == []
    assert fraud_note(figures) == []
