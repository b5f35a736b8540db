"""Partly used cards in imported files: what is sold is the balance, what was issued is kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pipelines.import_world import World, trades


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def stored(world: World) -> list[tuple[int, int | None]]:
    return [(row["face_value_fen"], row["issued_face_fen"]) for row in world.rows()]


def test_the_balance_is_what_was_sold(world: World) -> None:
    """A partly used card is stored with its balance as face value; an empty cell and a full balance are whole cards."""
    world.load(world.csv(trades(4, balance_cny=["37.50", None, "100", "0.01"])))
    assert stored(world) == [(3_750, 10_000), (10_000, None), (10_000, None), (1, 10_000)]


def test_a_file_without_balances_has_whole_cards(world: World) -> None:
    """The column may be missing as a whole."""
    world.load(world.csv(trades(2)))
    assert stored(world) == [(10_000, None)] * 2


def test_the_same_file_again_changes_nothing(world: World) -> None:
    """A balance told twice is one card; told otherwise it is a conflict."""
    world.load(world.csv(trades(2, balance_cny=["40", None])))
    again = world.load(world.csv(trades(2, balance_cny=["40", None]), name="again.csv"))
    assert again.tables[0].unchanged == 2
    problems = world.refused(world.csv(trades(2, balance_cny=["41", None]), name="other.csv"))
    assert {problem.code for problem in problems} == {"conflicting_duplicate"}


@pytest.mark.parametrize(
    ("balance", "code"), [("100.01", "balance_above_face"), ("0", "out_of_range"), ("-5", "out_of_range")]
)
def test_a_wrong_balance_is_named(world: World, balance: str, code: str) -> None:
    """More than the face value, nothing, or less than nothing is refused with its row."""
    problem = world.refused_for(
        world.csv(trades(3, balance_cny=[None, balance, "20"])), code, "balance_cny", 2
    )
    assert problem.failed == 1
    assert problem.examples[0].value == f"{float(balance):.2f}"
    assert problem.rule.zh


def test_quarantine_sets_wrong_balances_aside(world: World) -> None:
    """The other rows are imported, the wrong one is written beside them."""
    result = world.load(world.csv(trades(3, balance_cny=["20", "101", None])), quarantine=True)
    assert result.tables[0].quarantined == 1
    assert stored(world) == [(2_000, 10_000), (10_000, None)]
    aside = result.tables[0].quarantine
    assert aside is not None
    assert "balance_cny: balance_above_face" in aside.read_text()
