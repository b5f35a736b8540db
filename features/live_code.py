"""The live evaluator's fast way: all features of one trade as a single straight Python function.

The function is written from the registry: every definition is run over symbols (:mod:`features.symbols`), what several
of them ask for is worked out once, and the totals of an entity are summed in one walk over its state
(:mod:`features.live_sums`). It is no other definition: what it cannot say it leaves to
:meth:`features.registry.Registry.values`, which also answers where a state was told something at or after the moment.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from features.live_moment import LiveMoment
from features.live_sums import HELPERS, SummedWord, write_sums
from features.registry import Plan, Registry
from features.symbols import NAMES, OPERATIONS, Tape, trace

FeatureValues = dict[str, float | str | None]
Evaluate = Callable[[LiveMoment], FeatureValues]

_SUMMED = frozenset({"total", "first_time", "last_time", "distinct"})
_IN_TUPLES = frozenset({"bids", "rates", "links"})
_PROPERTIES = frozenset({"time", "face_fen", "face_is_usual", "expiry_day"})


_WRITTEN: dict[int, tuple[Plan, Evaluate]] = {}
"""The plans that code was written for, and the code. By identity: to hash 200 functions takes longer than to run some.
A process has few plans, and its registry keeps them."""


class LiveEvaluator:
    """Values of features at live moments, by code written at the process's first question for each list of names."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def values(self, moment: LiveMoment, names: Sequence[str] | None = None) -> FeatureValues:
        """As :meth:`Registry.values`. Raises FeatureFailed."""
        plan = self._registry.plan(names)
        written = _WRITTEN.get(id(plan))
        if written is None:
            written = _WRITTEN[id(plan)] = (plan, write(plan))
        try:
            return written[1](moment)
        except Exception:  # told at or after the moment, or a definition failed: the registry says which one
            return self._registry.values(moment, names)


def write(plan: Plan) -> Evaluate:
    """One function for all features of a plan. It raises where a state was told something at or after the moment."""
    tape = Tape()
    traced = [trace(tape, compute) for _, compute, _ in plan]
    called = {f"f{place}": compute for place, (_, compute, _) in enumerate(plan) if traced[place] is None}
    code = _Code(tape, traced)
    items = []
    for place, (name, _, is_category) in enumerate(plan):
        number = traced[place]
        text = f"f{place}(m)" if number is None else code.text(number)
        known = is_category or (number is not None and tape.nodes[number].is_float)
        items.append(f"        {name!r}: {text if known else f'float({text})'},")
    body = ["def evaluate(m):", *code.lines, "    return {", *items, "    }"]
    space = NAMES | HELPERS | called
    exec(compile("\n".join(body), "<features of a live trade>", "exec"), space)
    return space["evaluate"]


class _Code:
    """Lines that work out nodes, each once: what is used more than once gets a name of its own."""

    def __init__(self, tape: Tape, wanted: Sequence[int | None]) -> None:
        self._tape = tape
        self._texts: dict[int, str] = {}
        self._uses = Counter(
            [argument for node in tape.nodes if node.operation in OPERATIONS for argument in node.arguments]
            + [number for number in wanted if number is not None]
        )
        self.lines = ["    time = m.time"]
        self._write_sums()

    def _write_sums(self) -> None:
        """Everything that is summed over the states of entities, as names."""
        words = []
        for number, node in enumerate(self._tape.nodes):
            if node.operation == "ask" and node.arguments[0] in _SUMMED:
                self._texts[number] = f"v{number}"
                words.append(SummedWord(f"v{number}", *node.arguments))
        self.lines += write_sums(words)

    def text(self, number: int) -> str:
        """An expression for a node."""
        found = self._texts.get(number)
        if found is None:
            found = self._expression(number)
            if self._uses[number] > 1 and self._tape.nodes[number].operation != "constant":
                self.lines.append(f"    v{number} = {found}")
                found = f"v{number}"
            self._texts[number] = found
        return found

    def _expression(self, number: int) -> str:
        node = self._tape.nodes[number]
        if node.operation == "constant":
            return f"({node.arguments[0]!r})"
        if node.operation == "ask":
            return self._asked(*node.arguments)
        return OPERATIONS[node.operation].format(*[self.text(argument) for argument in node.arguments])

    def _asked(self, word: str, *arguments: str | int) -> str:
        if word in _PROPERTIES:
            return f"m.{word}"
        if word not in _IN_TUPLES:
            return f"m.{word}({', '.join(map(repr, arguments))})"
        *asked, place = arguments
        name = "_".join([word, *map(str, asked)])
        line = f"    {name} = m.{word}({', '.join(map(repr, asked))})"
        if line not in self.lines:
            self.lines.append(line)
        return f"{name}[{place}]"
