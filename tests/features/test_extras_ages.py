"""Times among a platform's extras become hours before the submission, offline and live alike."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pyarrow as pa
import pytest

from features.extras import canonical_extras
from features.tables import MARKET, TRADES
from tests.features.replay import live, offline

NOON = datetime(2025, 6, 2, 12, tzinfo=UTC)


def aged(**extras) -> dict:
    """The extras of a trade submitted at noon as the feature shows them, once both evaluators agree."""
    trade = {"trade_id": "z", "submitted_at": NOON, "seller_id": "s1", "card_type": "jd_ecard"}
    trade |= {"face_value_fen": 10_000, "extras": canonical_extras(json.dumps(extras))}
    trades = pa.Table.from_pylist([trade], schema=TRADES.schema)
    columns = offline(trades, MARKET.schema.empty_table())
    found = columns["extras"][0]
    row = trades.to_pylist()[0]
    assert live().answer(row).values["extras"] == found
    return json.loads(found)


@pytest.mark.parametrize(
    ("written", "hours"),
    [
        ("2025-06-02T11:59:59Z", 1 / 3600),
        ("2025-06-02 11:30", 0.5),
        ("2025-06-01T20:00:00.000000+08:00", 24.0),
        ("2025-06-01", 36.0),
        ("2025-06-02 13:00:00", -1.0),
    ],
)
def test_a_time_becomes_the_hours_before_the_submission(written, hours):
    """Whatever its form or zone; without a zone it is UTC, and a time ahead is negative."""
    assert aged(opened=written, age="33")["opened"] == pytest.approx(hours)


def test_what_only_looks_like_a_time_stays():
    """No such day, a longer text, a number: the extras are as they were given."""
    told = {"a": "2025-02-30", "b": "2025-06-01 was a Sunday", "c": 20250601.0, "d": "20250601"}
    assert aged(**told) == told
