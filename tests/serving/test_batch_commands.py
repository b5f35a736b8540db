"""`huika quote` and `huika score`: what they say of the file they wrote."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from serving.commands.batch import _print_summary

DECISIONS = ["pay", "pay", "pay", "hold", "review", "refuse"]
NO_OFFER = [False, True, False, True, False, True]


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ({"no_offer": NO_OFFER}, "pay 2, hold 0, review 1, refuse 1, no offer 2"),
        ({}, "pay 3, hold 1, review 1, refuse 1"),
    ],
)
def test_rows_without_an_offer_are_not_counted_as_paid(
    columns: dict[str, list[bool]], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A quote that offers nothing is counted apart, unless it was refused; a score has no offers and counts none."""
    _print_summary(pa.table({"decision": DECISIONS, **columns}), Path("out.csv"), ("no_fraud_model",))
    said = capsys.readouterr().out.splitlines()
    assert said == [f"6 rows answered in out.csv: {told}", "degraded: no_fraud_model"]
