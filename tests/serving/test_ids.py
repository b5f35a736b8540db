"""The ids that the service gives."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from serving.api.ids import new_id

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_ids_are_told_apart_and_stand_in_the_order_of_their_moments():
    """Of 10,000 ids of one moment no two are equal; those of a later millisecond come behind all of them."""
    now = {new_id("q", at=NOON) for _ in range(10_000)}
    assert len(now) == 10_000
    assert max(now) < new_id("q", at=NOON + timedelta(milliseconds=1))
    assert max(now) < new_id("q", at=datetime(2999, 1, 1, tzinfo=UTC))


def test_an_id_fits_its_column_and_needs_no_escape():
    """Kind and 32 hexadecimal digits, as ids were before they began with their moment."""
    kind, digits = new_id("t", at=NOON).split("-")
    assert kind == "t"
    assert len(bytes.fromhex(digits)) == 16
