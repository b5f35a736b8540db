"""The written evaluator gives what the registry gives, and leaves to it what it cannot say."""

from __future__ import annotations

import math

import pytest

from features.arithmetic import ratio
from features.catalogue import load_catalogue
from features.definitions import FEATURES
from features.events import Record, Submitted
from features.live_code import LiveEvaluator, write
from features.live_moment import LiveMoment
from features.live_sums import NotBehind
from features.moment import Links
from features.registry import Feature, FeatureFailed, Registry
from features.symbols import Tape, trace
from tests.features import worlds
from tests.features.replay import assert_equal, live, timeline


class Comparing(LiveEvaluator):
    """Answers by the registry, after it has compared the written function with it."""

    def __init__(self) -> None:
        super().__init__(FEATURES)
        self.written, self.answered, self.left = write(FEATURES.plan()), 0, 0

    def values(self, moment, names=None):
        expected = FEATURES.values(moment, names)
        self.answered += 1
        try:
            found = self.written(moment)
        except NotBehind:
            self.left += 1
            return expected
        assert_equal(found, expected)
        assert [type(value) for value in found.values()] == [type(value) for value in expected.values()]
        assert list(found) == list(expected)
        return expected


@pytest.mark.parametrize("seed", [31, 32])
def test_the_written_function_equals_the_registry(seed):
    """At every submission of a history the one function gives the values of the single definitions, to the last bit;
    only where a trade shares its moment with others is it left to them."""
    trades, market = worlds.trades(rows=300, seed=seed), worlds.market(rows=120, seed=seed)
    features, comparing = live(), Comparing()
    features._evaluator = comparing
    for seq, (at, event) in enumerate(timeline(trades, market), start=1):
        if isinstance(event, Submitted):
            features.answer(event.trade)
        features.apply([Record(seq, event)], now=at)
    assert comparing.answered == 300
    assert comparing.left < 100


def test_nearly_every_definition_is_traced():
    """Only what is looked up by day or read out of a text is called one by one: no symbol can follow it."""
    called = [name for name, compute, _ in FEATURES.plan() if trace(Tape(), compute) is None]
    assert {name for name in called if not name.startswith("time_")} <= {"extras"}


def of_one(compute) -> Registry:
    """A registry of one feature."""
    registry = Registry()
    registry.add(
        Feature(
            name="mine",
            family="card",
            unit="-",
            as_of="trade",
            null="",
            meaning="",
            zh="",
            kind="number",
            compute=compute,
        )
    )
    return registry


def a_moment() -> LiveMoment:
    trade = worlds.trades(rows=5, seed=1).to_pylist()[0]
    return LiveMoment(trade=trade, states={}, links=Links(2.0, 0.0), catalogue=load_catalogue())


def test_a_definition_that_branches_is_called():
    """A definition may branch on numbers; it is then no part of the written function, and gives the same."""

    def sign(m):
        return 1 if m.links().sellers > 1 else 0

    assert trace(Tape(), sign) is None
    assert LiveEvaluator(of_one(sign)).values(a_moment()) == {"mine": 1.0}


def test_an_unknown_denominator_stays_unknown():
    """What divides by nothing is NaN in the written function too, and what is absent is NaN."""

    def share(m):
        return ratio(m.links().sellers, m.links().frauds) + m.count("seller", "7d")

    assert trace(Tape(), share) is not None
    found = LiveEvaluator(of_one(share)).values(a_moment())["mine"]
    assert isinstance(found, float)
    assert math.isnan(found)


def test_a_definition_that_fails_is_named():
    """An error inside the written function is told with the feature's name."""

    def broken(m):
        return m.links().sellers / m.links().frauds

    with pytest.raises(FeatureFailed, match="feature mine"):
        LiveEvaluator(of_one(broken)).values(a_moment())
