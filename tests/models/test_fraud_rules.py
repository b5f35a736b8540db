"""Rules and limits: what each comparison says, of unknown values too, and on which days a rule counts."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime

import numpy as np
import pytest

from features.rows import to_microseconds
from models.fraud.conditions import COMPARISONS, Condition
from models.fraud.rules import Rule, RuleBook
from models.reasons import Reason

NUMBERS = np.array([np.nan, 4.0, 5.0, 6.0])
WORDS = np.array([None, "fuel", "mall", "fuel"], dtype=object)
COLUMNS = {"count": NUMBERS, "word": WORDS}
ANY_TIME = np.zeros(4, dtype=np.int64)

HOLDS = {
    ("count", "at_least", 5.0): [False, False, True, True],
    ("count", "above", 5.0): [False, False, False, True],
    ("count", "at_most", 5.0): [False, True, True, False],
    ("count", "below", 5.0): [False, True, False, False],
    ("count", "equals", 5.0): [False, False, True, False],
    ("count", "is_in", (4.0, 6.0)): [False, True, False, True],
    ("count", "missing", True): [True, False, False, False],
    ("count", "missing", False): [False, True, True, True],
    ("word", "equals", "fuel"): [False, True, False, True],
    ("word", "is_in", ("mall", "game")): [False, False, True, False],
    ("word", "missing", True): [True, False, False, False],
    ("word", "missing", False): [False, True, True, True],
}


def rule(*when: Condition, **changes) -> Rule:
    made = Rule(name="r", mode="live", action="review", when=when, reason=Reason("RULE_R", "核实", "A check"))
    return replace(made, **changes)


@pytest.mark.parametrize("condition", list(HOLDS))
def test_each_comparison_holds_where_it_should_and_never_of_an_unknown_value(condition):
    """Every comparison on numbers and words; an unknown value satisfies ``missing = true`` alone."""
    assert Condition(*condition).holds(COLUMNS, 4).tolist() == HOLDS[condition]


def test_every_comparison_is_tried_above():
    """No comparison is left without a test."""
    assert {name for _, name, _ in HOLDS} == set(COMPARISONS)


def test_a_column_that_is_not_there_satisfies_nothing():
    """What could not be read is not the same as a value known to be missing."""
    for comparison, value in (("at_least", 0.0), ("missing", True), ("missing", False)):
        assert not Condition("elsewhere", comparison, value).holds(COLUMNS, 4).any()


def test_all_conditions_must_hold():
    """A rule hits where every one of its conditions holds."""
    both = rule(Condition("count", "at_least", 5.0), Condition("word", "equals", "fuel"))
    assert both.hits(COLUMNS, ANY_TIME).tolist() == [False, False, False, True]


def test_days_in_force_are_days_of_china():
    """From midnight in China on its first day until midnight of the day that ends it."""
    dated = rule(Condition("count", "missing", True), since=date(2026, 5, 1), until=date(2026, 5, 2))
    moments = [
        datetime(2026, 4, 30, 15, 59, 59, 999_000, tzinfo=UTC),
        datetime(2026, 4, 30, 16, tzinfo=UTC),
        datetime(2026, 5, 1, 15, 59, 59, 999_000, tzinfo=UTC),
        datetime(2026, 5, 1, 16, tzinfo=UTC),
    ]
    submitted_at = np.array([to_microseconds(moment) // 1000 for moment in moments])
    hits = dated.hits({"count": np.full(4, np.nan)}, submitted_at)
    assert hits.tolist() == [False, True, True, False]


def test_a_limit_reads_the_rolling_day_with_the_card_at_hand():
    """The day's sum is what came before and this card; without the features it is not known and nothing hits."""
    day = rule(Condition("seller_day_cny", "at_least", 10_000.0))
    book = RuleBook(limits=(day,))
    columns = {"seller_amount_24h": np.array([9_000.0, 9_000.0]), "card_face_cny": np.array([999.0, 1_000.0])}
    ((_, hit),) = book.hits(columns=columns, submitted_at=ANY_TIME[:2])
    assert hit.tolist() == [False, True]
    assert book.hits(columns={}, submitted_at=ANY_TIME[:2]) == []


def test_versions_follow_what_is_written_and_nothing_else():
    """The same rules have the same version; a changed value another, and only of its own file."""
    one = RuleBook(rules=(rule(Condition("count", "at_least", 5.0)),))
    same = RuleBook(rules=(rule(Condition("count", "at_least", 5.0)),))
    other = RuleBook(rules=(rule(Condition("count", "at_least", 6.0)),))
    assert one.rules_version == same.rules_version != other.rules_version
    assert one.law_version == other.law_version


def test_a_rule_that_is_off_is_not_looked_at():
    """Nothing is recorded of it either."""
    book = RuleBook(rules=(rule(Condition("count", "missing", True), mode="off"),))
    assert book.hits(columns=COLUMNS, submitted_at=ANY_TIME) == []
