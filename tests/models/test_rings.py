"""How many trades of a ring pass before one is stopped, on rings small enough to count by hand."""

from __future__ import annotations

import numpy as np
import pytest

from models.evaluation.rings import RingDelays, ring_delays


def _delays(rings: dict[str, list[tuple[int, bool]]], *, judged_from: int, lone: int = 3) -> RingDelays:
    """rings: id -> (moment, stopped) of each trade; ``lone`` trades belong to none and are all stopped."""
    rows = [(moment, name, stopped) for name, trades in rings.items() for moment, stopped in trades]
    rows += [(moment, None, True) for moment in range(judged_from, judged_from + lone)]
    moment = np.array([row[0] for row in rows])
    return ring_delays(
        ring=np.array([row[1] for row in rows], dtype=object),
        submitted_at=moment,
        judged=moment >= judged_from,
        stopped=np.array([row[2] for row in rows]),
    )


def test_trades_that_pass_before_the_first_is_stopped() -> None:
    """Stopped at the third trade: two passed. At the first: none. Never: infinitely many."""
    found = _delays(
        {
            "a": [(10, False), (11, False), (12, True), (13, False), (14, True)],
            "b": [(10, True), (11, False), (12, False), (13, False), (14, False)],
            "c": [(20 + place, False) for place in range(6)],
        },
        judged_from=10,
    )
    assert found.ring.tolist() == ["a", "b", "c"]
    assert found.trades.tolist() == [5, 5, 6]
    assert found.passed.tolist() == [2, 0, np.inf]
    assert found.median == 2
    assert found.p90 == np.inf
    assert found.found == pytest.approx(2 / 3)
    assert found.found_early == pytest.approx(2 / 3)


def test_trades_count_in_the_order_of_time() -> None:
    """The rows may come in any order; the ring's own time decides."""
    found = _delays({"a": [(14, False), (13, False), (12, True), (11, False), (10, False)]}, judged_from=10)
    assert found.passed.tolist() == [2]


def test_rings_that_began_earlier_or_are_small_do_not_count() -> None:
    """A ring with a trade before the period, and one of four trades, say nothing; decisions before it neither."""
    found = _delays(
        {
            "old": [(9, True)] + [(10 + place, True) for place in range(6)],
            "small": [(10 + place, True) for place in range(4)],
        },
        judged_from=10,
    )
    assert len(found) == 0
    assert np.isnan([found.median, found.p90, found.found, found.found_early]).all()


def test_found_early_means_one_of_the_first_five() -> None:
    """Four passed and the fifth was stopped: early. Five passed: late."""
    fifth = [(10 + place, place == 4) for place in range(7)]
    sixth = [(10 + place, place == 5) for place in range(7)]
    found = _delays({"early": fifth, "late": sixth}, judged_from=10)
    assert found.passed.tolist() == [4, 5]
    assert found.found_early == 0.5
