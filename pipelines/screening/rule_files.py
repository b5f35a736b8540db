"""Reading ``rules.toml`` and ``limits.toml`` into a rule book, or saying what is wrong, rule by rule."""

from __future__ import annotations

import difflib
import tomllib
from collections import Counter
from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictFloat, StrictStr, ValidationError

from features.definitions import FEATURES
from models.fraud.conditions import COMPARISONS, ORDERED, Condition, Value
from models.fraud.rules import DAY_SUMS, Rule, RuleBook, Source
from models.reasons import Reason
from pipelines.screening.files import LIMITS_FILE, RULES_FILE, SHIPPED
from pipelines.settings import SettingsError

Scalar = StrictFloat | StrictStr

RULE_COLUMNS: dict[str, str] = {feature.name: feature.kind for feature in FEATURES}
"""What a rule may read -> ``number`` or ``category``."""

LIMIT_COLUMNS = RULE_COLUMNS | dict.fromkeys(DAY_SUMS, "number")


class RulesError(SettingsError):
    """A file of rules or limits cannot be used; the message names the file, the rule, the field and the reason."""


class _Part(BaseModel):
    """Base of what stands in the files: an unknown key is an error, a wrong type is not guessed at."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class _When(_Part):
    feature: StrictStr
    at_least: StrictFloat | None = None
    above: StrictFloat | None = None
    at_most: StrictFloat | None = None
    below: StrictFloat | None = None
    equals: Scalar | None = None
    is_in: list[Scalar] | None = Field(default=None, min_length=1)
    missing: StrictBool | None = None


class _Entry(_Part):
    name: StrictStr = Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)
    mode: Literal["live", "shadow", "off"]
    action: Literal["hold", "review", "refuse"]
    when: list[_When] = Field(min_length=1)
    zh: StrictStr = Field(min_length=1)
    en: StrictStr = Field(min_length=1)
    note: StrictStr = ""
    author: StrictStr = ""
    until: date | None = None


class _Rule(_Entry):
    since: date | None = Field(default=None, alias="from")
    binding: StrictBool = False


class _Limit(_Entry):
    since: date = Field(alias="from")
    source_zh: StrictStr = Field(min_length=1)
    source_en: StrictStr = Field(min_length=1)


_Table = type[_Rule] | type[_Limit]


def rule_book(home: Path) -> RuleBook:
    """The rules of a workspace, and the shipped limits with the workspace's own over them. Raises RulesError."""
    path = home / RULES_FILE
    return RuleBook(rules=read_rules(path) if path.exists() else (), limits=read_limits(home / LIMITS_FILE))


def read_rules(path: Path) -> tuple[Rule, ...]:
    """The rules of a file, in its order. Raises RulesError naming everything that is wrong."""
    return _read(path, key="rule", part=_Rule, columns=RULE_COLUMNS)


def read_limits(own: Path) -> tuple[Rule, ...]:
    """The shipped limits; those of ``own``, where that file exists, replace or extend them. Raises RulesError."""
    limits = {rule.name: rule for rule in _read_limits(SHIPPED / LIMITS_FILE)}
    if own.exists():
        limits |= {rule.name: rule for rule in _read_limits(own)}
    return tuple(limits.values())


def _read_limits(path: Path) -> tuple[Rule, ...]:
    return _read(path, key="limit", part=_Limit, columns=LIMIT_COLUMNS)


def _read(path: Path, *, key: str, part: _Table, columns: dict[str, str]) -> tuple[Rule, ...]:
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RulesError(f"{path}: not valid TOML: {error}") from error
    entries = data.pop(key, [])
    if data or not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        known = ", ".join(data) or key
        raise RulesError(f"{path}: the file is a list of [[{key}]] tables and nothing else; see {known}")
    problems: list[str] = []
    rules: list[Rule] = []
    for number, entry in enumerate(entries, start=1):
        where = f"{key} {entry.get('name', f'number {number}')}"
        found = _one(entry, part=part, columns=columns)
        if isinstance(found, Rule):
            rules.append(found)
        else:
            problems += [f"{where}: {problem}" for problem in found]
    counts = Counter(rule.name for rule in rules)
    problems += [f"{key} {name}: name: there are {count}" for name, count in counts.items() if count > 1]
    if problems:
        raise RulesError("\n  ".join([f"{path}: {len(problems)} mistakes", *problems]))
    return tuple(rules)


def _one(entry: dict[str, Any], *, part: _Table, columns: dict[str, str]) -> Rule | list[str]:
    """A rule, or what is wrong with it."""
    try:
        read = part.model_validate(entry)
    except ValidationError as error:
        return list(dict.fromkeys(_words(item, part) for item in error.errors()))
    conditions = [_condition(item, columns) for item in read.when]
    problems = [
        f"when[{place}]: {found}" for place, found in enumerate(conditions, 1) if isinstance(found, str)
    ]
    if read.since is not None and read.until is not None and read.since >= read.until:
        problems.append(f"until: {read.until} is not after from = {read.since}")
    return problems or _rule(read, tuple(one for one in conditions if isinstance(one, Condition)))


def _rule(read: _Rule | _Limit, when: tuple[Condition, ...]) -> Rule:
    limit = isinstance(read, _Limit)
    return Rule(
        name=read.name,
        mode=read.mode,
        action=read.action,
        when=when,
        reason=Reason(f"{'LIMIT' if limit else 'RULE'}_{read.name.upper()}", read.zh, read.en),
        since=read.since,
        until=read.until,
        binding=isinstance(read, _Limit) or read.binding,
        author=read.author,
        note=read.note,
        source=Source(read.source_zh, read.source_en) if isinstance(read, _Limit) else None,
    )


def _condition(item: _When, columns: dict[str, str]) -> Condition | str:
    """A condition, or what is wrong with it."""
    kind = columns.get(item.feature)
    if kind is None:
        return f"feature: there is no {item.feature!r}{_close(item.feature, columns)}"
    given = {name: getattr(item, name) for name in COMPARISONS if getattr(item, name) is not None}
    if len(given) != 1:
        return f"{item.feature}: exactly one of {', '.join(COMPARISONS)} is needed, not {len(given)}"
    comparison, value = next(iter(given.items()))
    if comparison in ORDERED and kind == "category":
        return f"{comparison}: {item.feature} is a word; it takes equals, is_in or missing"
    values = value if isinstance(value, list) else [value]
    if comparison != "missing" and any(isinstance(one, str) != (kind == "category") for one in values):
        return f"{comparison}: {item.feature} is a {'word' if kind == 'category' else 'number'}"
    plain: Value = tuple(value) if isinstance(value, list) else value
    return Condition(column=item.feature, comparison=comparison, value=plain)


def _words(item: Any, part: _Table) -> str:
    union = item["loc"][-1] in ("float", "str")  # one of two types that a value may have
    loc = item["loc"][:-1] if union else item["loc"]
    place = ".".join(f"[{one + 1}]" if isinstance(one, int) else str(one) for one in loc)
    place = place.replace(".[", "[")
    if item["type"] != "extra_forbidden":
        return f"{place}: {'Input should be a number or a text' if union else item['msg']}"
    fields = _When.model_fields if item["loc"][0] == "when" else part.model_fields
    names = [field.alias or name for name, field in fields.items()]
    return f"{place}: there is no such key{_close(str(item['loc'][-1]), names)}"


def _close(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(known), n=3)
    return f"; close to it: {', '.join(close)}" if close else ""
