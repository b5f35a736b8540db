"""What a definition does, found out by running it once over symbols instead of numbers.

A symbol looks like a column to a definition, which therefore takes the way that has no branches; each operation is
noted instead of done. What cannot be noted (a look-up by day, a loop until something holds) raises
:class:`Untraceable`, and such a definition is simply called.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from features.catalogue import Attribute
from features.entities import bid_window, check_counted, check_series
from features.moment import Bids, Links, Moment, Rates
from features.windows import ALL

OPERATIONS = {
    "add": "({0} + {1})",
    "subtract": "({0} - {1})",
    "multiply": "({0} * {1})",
    "divide": "({0} / {1})",
    "floor_divide": "({0} // {1})",
    "remainder": "({0} % {1})",
    "negative": "(-{0})",
    "less": "({0} < {1})",
    "less_equal": "({0} <= {1})",
    "greater": "({0} > {1})",
    "greater_equal": "({0} >= {1})",
    "equal": "({0} == {1})",
    "not_equal": "({0} != {1})",
    "bitwise_and": "({0} & {1})",
    "bitwise_or": "({0} | {1})",
    "sqrt": "sqrt({0})",
    "maximum": "maximum({0}, {1})",
    "where": "({1} if {0} else {2})",
}
"""numpy's operation -> the same on plain numbers."""

ALWAYS_FLOATS = frozenset({"divide", "sqrt"})
ANY_FLOAT_MAKES_FLOATS = frozenset({"add", "subtract", "multiply", "floor_divide", "remainder"})


class Untraceable(TypeError):
    """A definition does something that no symbol can stand for."""


@dataclass(frozen=True)
class Node:
    """One value: a ``constant``, a word of the vocabulary (``ask``: its name and arguments), or an operation on
    other nodes, by their numbers. is_float: whether a live evaluation gives a float."""

    operation: str
    arguments: tuple[Any, ...]
    is_float: bool


@dataclass
class Tape:
    """Nodes by number, each different one once."""

    nodes: list[Node] = field(default_factory=list)
    _numbers: dict[tuple[Any, ...], int] = field(default_factory=dict)

    def note(self, operation: str, *arguments: Any, is_float: bool = False) -> int:
        """The number of a node. Constants of equal value and different types are different ones."""
        key = (operation, *((type(item), item) for item in arguments))
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self.nodes)
            self.nodes.append(Node(operation, arguments, is_float))
        return number

    def ask(self, word: str, *arguments: Any, is_float: bool = True) -> Symbol:
        return Symbol.of(self, self.note("ask", word, *arguments, is_float=is_float))

    def number_of(self, value: Any) -> int:
        """The node of a symbol or a constant. Raises Untraceable for anything else."""
        if isinstance(value, Symbol):
            return value.number
        if type(value) not in (int, float, bool):
            raise Untraceable(f"a {type(value).__name__} among numbers")
        return self.note("constant", value, is_float=type(value) is float)

    def apply(self, operation: str, values: tuple[Any, ...]) -> Symbol:
        numbers = [self.number_of(value) for value in values]
        floats = [self.nodes[number].is_float for number in numbers]
        if operation in ANY_FLOAT_MAKES_FLOATS:
            is_float = any(floats)
        elif operation == "where":
            is_float = all(floats[1:])
        else:
            is_float = operation in ALWAYS_FLOATS or (operation in ("maximum", "negative") and all(floats))
        return Symbol.of(self, self.note(operation, *numbers, is_float=is_float))


class Symbol(np.ndarray):
    """A value that is not known. It has two places, so that nothing can take it for true or false."""

    tape: Tape
    number: int

    @classmethod
    def of(cls, tape: Tape, number: int) -> Symbol:
        symbol = np.ndarray.__new__(cls, (2,))
        symbol.tape, symbol.number = tape, number
        return symbol

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **named: Any) -> Any:
        if method != "__call__" or named or ufunc.__name__ not in OPERATIONS:
            raise Untraceable(f"{ufunc.__name__} {method}")
        return self.tape.apply(ufunc.__name__, inputs)

    def __array_function__(self, function: Any, types: Any, inputs: Any, named: Mapping[str, Any]) -> Any:
        if function is not np.where or named or len(inputs) != 3:
            raise Untraceable(f"{function.__name__} of a symbol")
        return self.tape.apply("where", inputs)


class SymbolicMoment(Moment):
    """Answers every question with a symbol."""

    def __init__(self, tape: Tape) -> None:
        self._tape = tape
        self.time = tape.ask("time", is_float=False)
        self.face_fen = tape.ask("face_fen", is_float=False)

    def text(self, column: str) -> Symbol:
        return self._tape.ask("text", column, is_float=False)

    def number(self, column: str) -> Symbol:
        return self._tape.ask("number", column)

    def card(self, attribute: Attribute) -> Symbol:
        return self._tape.ask("card", attribute, is_float=attribute != "category")

    @property
    def face_is_usual(self) -> Symbol:
        return self._tape.ask("face_is_usual")

    @property
    def expiry_day(self) -> Symbol:
        return self._tape.ask("expiry_day")

    def total(self, entity: str, series: str, value: str, window: str) -> Symbol:
        check_series(entity, series, window)
        return self._tape.ask("total", entity, series, value, window)

    def last_time(self, entity: str) -> Symbol:
        check_series(entity, "submissions", ALL)
        return self._tape.ask("last_time", entity)

    def first_time(self, entity: str) -> Symbol:
        check_series(entity, "submissions", ALL)
        return self._tape.ask("first_time", entity)

    def distinct(self, entity: str, counted: str, window: str) -> Symbol:
        check_counted(entity, counted, window)
        return self._tape.ask("distinct", entity, counted, window)

    def bids(self, side: str) -> Bids:
        return Bids(*(self._tape.ask("bids", side, place) for place in range(len(Bids._fields))))

    def rates(self, side: str, window: str) -> Rates:
        bid_window(window)
        return Rates(*(self._tape.ask("rates", side, window, place) for place in range(len(Rates._fields))))

    def links(self) -> Links:
        return Links(*(self._tape.ask("links", place) for place in range(len(Links._fields))))


def trace(tape: Tape, compute: Callable[[Moment], Any]) -> int | None:
    """The number of the node that a definition computes; None where it cannot be traced, and must be called.

    Whatever goes wrong over symbols may well go right over numbers, or is told when it goes wrong there.
    """
    try:
        return tape.number_of(compute(SymbolicMoment(tape)))
    except Exception:
        return None


def maximum(one: float, other: float) -> float:
    """As numpy's: NaN where either is."""
    return one if one >= other or one != one else other


NAMES: dict[str, Any] = {"sqrt": math.sqrt, "maximum": maximum, "nan": math.nan, "inf": math.inf}
"""What the texts of ``OPERATIONS`` and of constants use."""
