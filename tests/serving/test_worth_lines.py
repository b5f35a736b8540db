"""What stands beside the figures of a model on the terminal."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from models.evaluation.fraud import auc_error
from models.registry import ModelVersion
from pipelines.training.splitting import Split
from pipelines.training.training import Trained
from serving.commands.train import print_trained
from serving.output import figure
from serving.worth_lines import fraud_note, guessing_note, ranges_note

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


@pytest.mark.parametrize(
    ("auc", "frauds", "told"),
    [
        (0.4554, 27.0, "on these 27 frauds"),
        (0.56, 27.0, "on these 27 frauds"),
        (NAN, 0.0, "on these 0 frauds"),
        (0.56, 2_700.0, ""),
        (0.8, 27.0, ""),
        (1.0, 27.0, ""),
    ],
    ids=["below a half", "within chance", "no fraud", "many frauds", "good", "perfect"],
)
def test_a_fraud_model_that_may_be_guessing_says_so(auc: float, frauds: float, told: str) -> None:
    """Where the AUC's lower bound is below a half, or there is no AUC, it is said in both languages; else nothing."""
    found = guessing_note({"auc": auc, "frauds": frauds, "trades": 11 * frauds})
    assert len(found) == (2 if told else 0)
    if told:
        assert "未显示出优于猜测" in found[0]
        assert "not seen to be better than guessing" in found[1]
        assert told in found[1]


def test_what_is_printed_of_a_trained_model_says_that_it_may_guess(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The lines stand below the figures of the model that goes live."""
    rows = np.arange(3)
    trained = Trained(
        version=ModelVersion(name="fraud", version="1", aliases=("champion",), tags={}, metrics={}),
        alias="champion",
        metrics={"trades": 300.0, "frauds": 27.0, "auc": 0.4554},
        split=Split(train=rows, test=rows, final=rows, cut=0, maturity=0, label_gap=True),
        rows=3,
    )
    print_trained(trained)
    out = capsys.readouterr().out
    assert (
        out.index("0.4554") < out.index("未显示出优于猜测") < out.index("not seen to be better than guessing")
    )


def test_a_discount_model_is_not_said_to_guess() -> None:
    """Figures without an AUC are of no fraud model."""
    assert guessing_note(GOOD) == []


def test_error_of_the_auc_at_its_ends() -> None:
    """At a half it is the exact one of the rank sum under chance, at one it is none, and without frauds not defined."""
    chance = (20 + 200 + 1) / (12 * 20 * 200)
    assert auc_error(0.5, frauds=20, honest=200) ** 2 == pytest.approx(chance)
    assert auc_error(1.0, frauds=20, honest=200) == 0
    assert np.isnan(auc_error(NAN, frauds=20, honest=200))
    assert np.isnan(auc_error(0.5, frauds=0, honest=200))
