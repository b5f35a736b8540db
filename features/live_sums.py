"""Writes the part of a live evaluation that sums over the states of entities, as Python lines.

The sums are those of :meth:`features.live_moment.LiveMoment.total`; here each entity's state is walked through once,
for the values and windows that are asked for. All of it is integer arithmetic, so the order does not matter.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from features.entities import COUNTED, ENTITIES, KEPT, MOST_COUNTED, Series
from features.state import NEVER, Increment
from features.windows import ALL, WINDOWS, Window

NAMED_BY = {"card_type": "m.text('card_type')", "card_category": "m.card('category')"}
"""Entities that nearly every trade asks for -> how a trade names its own."""


class SummedWord(NamedTuple):
    """A word of the vocabulary that sums over one entity's state, and the name its value gets. what: ``total`` with
    series, value and window, ``distinct`` with counted entity and window, ``first_time``, ``last_time``."""

    name: str
    what: str
    entity: str
    one: str = ""
    two: str = ""
    three: str = ""


class NotBehind(Exception):
    """A state was told something at or after the moment: what counts must be looked at event by event."""


def write_sums(words: Iterable[SummedWord]) -> list[str]:
    """Lines of a function in which ``m`` is the moment and ``time`` its time; afterwards each word has its name."""
    ordered = sorted(words, key=lambda word: list(ENTITIES).index(word.entity))
    windows = {word.three if word.what == "total" else word.two for word in ordered} - {ALL, ""}
    lines = ["    states = m.states"]
    for name in sorted(windows):
        lines += _edges(WINDOWS[name])
    for entity, of_entity in groupby(ordered, key=lambda word: word.entity):
        lines += _of_entity(entity, list(of_entity))
    return lines


def _edges(window: Window) -> list[str]:
    """Number of the first hop inside, and its time; of a window with a delay also of the first one behind it."""
    name = window.name
    lines = [
        f"    first_{name} = (time - {window.delay + window.width}) // {window.hop}",
        f"    from_{name} = first_{name} * {window.hop}",
    ]
    if window.delay:
        lines += [
            f"    end_{name} = (time - {window.delay}) // {window.hop}",
            f"    until_{name} = end_{name} * {window.hop}",
        ]
    return lines


def _of_entity(entity: str, words: Sequence[SummedWord]) -> list[str]:
    totals = [word for word in words if word.what == "total"]
    kept = [word for word in totals if entity in NAMED_BY and word.one != "submissions"]
    lines = [
        f"    s = states.get({entity!r})",
        "    if s is None:",
        f"        {' = '.join(word.name for word in words)} = nan",
        "    else:",
        "        if s.horizon >= time: raise NotBehind",
        f"        tails = tails_of(s.tail, m.trade_id, time, {len(KEPT[entity])})",
    ]
    lines += _all_series(entity, [word for word in totals if word not in kept])
    if kept:
        lines += _worked_out_once(entity, kept)
    for word in words:
        if word.what == "first_time":
            lines.append(f"        {word.name} = first_of(s.first, tails[0])")
        elif word.what == "last_time":
            lines.append(f"        {word.name} = last_of(s.last, tails[0])")
        elif word.what == "distinct":
            lines.append(f"        {word.name} = {_distinct(word)}")
    return lines


def _all_series(entity: str, words: Sequence[SummedWord]) -> list[str]:
    lines = []
    for number, series in enumerate(KEPT[entity]):
        of_series = [word for word in words if word.one == series.name]
        if of_series:
            lines += _of_series(number, series, of_series)
    return lines


def _worked_out_once(entity: str, words: Sequence[SummedWord]) -> list[str]:
    """Sums that hold for all trades of an hour, as long as nothing but submissions is told: taken from the moment's
    ``markets`` where another trade has left them there. The key says which sums they are: two models at work ask for
    different ones."""
    windows = [WINDOWS[name] for name in sorted({word.three for word in words} - {ALL})]
    edges = [f"first_{window.name}" for window in windows]
    edges += [f"end_{window.name}" for window in windows if window.delay]
    names = "".join(f"{word.name}, " for word in words)
    layout = " ".join(f"{word.one}/{word.two}/{word.three}" for word in words)
    return [
        f"        key = {entity!r}, {layout!r}, {NAMED_BY[entity]}, {', '.join(edges)}",
        "        known = m.markets.get(key)",
        "        if known is None:",
        *[f"    {line}" for line in _all_series(entity, words)],
        f"            known = m.markets[key] = ({names})",
        f"        ({names}) = known",
    ]


def _distinct(word: SummedWord) -> str:
    if WINDOWS[word.two].delay:
        return f"m.distinct({word.entity!r}, {word.one!r}, {word.two!r})"
    place = COUNTED[word.entity].index(word.one)
    return f"different(s.counted[{place}], tails[0], {place}, from_{word.two})"


def _of_series(number: int, series: Series, words: Sequence[SummedWord]) -> list[str]:
    """Sums of one series in each of its windows."""
    columns = sorted({series.values.index(word.two) for word in words})
    lines = [
        f"        totals, tail = s.totals[{number}], tails[{number}]",
        "        if tail:",
        "            times = [item.at for item in tail]",
        "            low, high = min(times), max(times)",
        f"            {_zeros('w', columns)}",
        "            for item in tail:",
        "                row = item.values",
        *[f"                {_add('w', column, series)}" for column in columns],
    ]
    for window in dict.fromkeys(word.three for word in words):
        asked = {series.values.index(word.two): word.name for word in words if word.three == window}
        lines += _always(asked, series) if window == ALL else _in_window(WINDOWS[window], asked, series)
        lines += [f"        {name} = float(n{column})" for column, name in asked.items()]
    return lines


def _always(asked: Mapping[int, str], series: Series) -> list[str]:
    lines = [f"        n{column} = totals.always[{column}]" for column in asked]
    lines.append("        if tail:")
    return lines + [f"            {_join(column, series)}" for column in asked]


def _in_window(window: Window, asked: Mapping[int, str], series: Series) -> list[str]:
    name = window.name
    level = [hop for hop, _ in series.levels].index(window.hop)
    whole, any_of = f"low >= from_{name}", f"high >= from_{name}"
    inside = f"item.at >= from_{name}"
    if window.delay:
        whole += f" and high < until_{name}"
        any_of += f" and low < until_{name}"
        inside += f" and item.at < until_{name}"
    return [
        f"        {_zeros('n', asked)}",
        *_rows_in_window(window, level, asked, series),
        "        if tail:",
        f"            if {whole}:",
        *[f"                {_join(column, series)}" for column in asked],
        f"            elif {any_of}:",
        "                for item in tail:",
        f"                    if {inside}:",
        "                        row = item.values",
        *[f"                        {_add('n', column, series)}" for column in asked],
    ]


def _rows_in_window(window: Window, level: int, asked: Iterable[int], series: Series) -> list[str]:
    """Sums over the rows of a level, which stand one behind the other in one list."""
    name, width = window.name, 1 + len(series.values)
    last, buckets = f"rows[-{width}]", f"rows[::{width}]"
    lines = [
        f"        rows = totals.levels[{level}]",
        f"        if rows and {last} >= first_{name}:",
        f"            at = 0 if rows[0] >= first_{name} else bisect_left({buckets}, first_{name}) * {width}",
        "            until = len(rows)",
    ]
    if window.delay:
        lines.append(
            f"            if {last} >= end_{name}: until = bisect_left({buckets}, end_{name}) * {width}"
        )
    for column in asked:
        values = f"rows[at + {column + 1}:until:{width}]"
        peak = column == series.peak
        lines.append(f"            n{column} = {f'max({values}, default=0)' if peak else f'sum({values})'}")
    return lines


def _zeros(name: str, columns: Iterable[int]) -> str:
    return " = ".join(f"{name}{column}" for column in columns) + " = 0"


def _add(into: str, column: int, series: Series) -> str:
    """Add a value of ``row`` to a sum; of the one whose maximum counts, keep the larger."""
    value = f"row[{column}]"
    if column == series.peak:
        return f"if {value} > {into}{column}: {into}{column} = {value}"
    return f"{into}{column} += {value}"


def _join(column: int, series: Series) -> str:
    """Add the sum over the whole tail."""
    if column == series.peak:
        return f"if w{column} > n{column}: n{column} = w{column}"
    return f"n{column} += w{column}"


# --- what the written lines call ---------------------------------------------------------------------------------

NOTHING_NEW = ((),) * max(map(len, KEPT.values()))
"""Of a state without a tail."""


def tails_of(tail: Sequence[Increment], own: str, time: int, series: int) -> Sequence[Sequence[Increment]]:
    """For each series the events that were not folded yet, without the trade's own. Raises NotBehind."""
    if not tail:
        return NOTHING_NEW
    found: list[list[Increment]] = [[] for _ in range(series)]
    for item in tail:
        if item.id != own:
            found[item.series].append(item)
    if tail[-1].time >= time and any(item.time >= time for items in found for item in items):
        raise NotBehind
    return found


def first_of(folded: int, tail: Sequence[Increment]) -> float:
    """Time of the first submission, µs."""
    if not tail:
        return float(folded) if folded != NEVER else float("nan")
    time = tail[0].time
    return float(time if folded == NEVER or time < folded else folded)


def last_of(folded: int, tail: Sequence[Increment]) -> float:
    """Time of the last submission, µs."""
    if not tail:
        return float(folded) if folded != NEVER else float("nan")
    return float(max(tail[-1].time, folded))


def different(folded: Mapping[str, int], tail: Sequence[Increment], place: int, first: int) -> float:
    """Different counted entities among submissions from a time on."""
    seen: set[str | None] = set()
    if folded:
        whole = min(folded.values()) >= first
        seen = set(folded) if whole else {name for name, time in folded.items() if time >= first}
    if tail:
        recent = tail if tail[0].time >= first else [item for item in tail if item.time >= first]
        seen.update([item.names[place] for item in recent])
        seen.discard(None)
    return float(min(len(seen), MOST_COUNTED))


HELPERS: dict[str, Any] = {
    "NotBehind": NotBehind,
    "bisect_left": bisect_left,
    "different": different,
    "first_of": first_of,
    "last_of": last_of,
    "tails_of": tails_of,
}
