"""What an import refuses, and how it says so.

Every refusal is an :class:`ImportProblem` and carries a stable ``code``::

    ImportProblem
    ├── MappingError    bad_mapping              the mapping file itself cannot be used
    ├── ImportLocked    import_running           another import works on the same tables
    ├── SourceProblem   not_found, unreadable_file, empty_file, not_a_table, truncated_file,
    │                   bad_encoding, duplicate_column, missing_column      a file cannot be used at all
    └── ImportRefused   one or more rule results, of these codes besides those of SourceProblem:
          reading       wrong_column_count, bad_encoding, wrong_type, not_finite, too_many_decimals,
                        naive_time, far_time, early_date, other_format, out_of_range
          checking      missing_value, out_of_range, not_in_set, future_time, label_before_trade,
                        wrong_order, missing_time, balance_above_face
          joining       conflicting_duplicate, unknown_card_type

:func:`pipelines.training.importing.import_tables` raises the first two and ImportRefused; a SourceProblem
becomes a result of ImportRefused, so that the problems of all files are told at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

EXAMPLES = 20
"""So many rows are listed for each rule; all are counted."""

HIDDEN = frozenset({"card_fingerprint", "card_prefix", "payout_account", "ip", "extras"})
"""Values of these columns are never printed or put into a report."""

SHOWN_LENGTH = 48


class ImportProblem(Exception):
    """Base of every refusal; ``code`` is stable, the text may change."""

    code = "import_problem"


class MappingError(ImportProblem):
    """The mapping file cannot be used: not TOML, or a table, column or rule that does not exist."""

    code = "bad_mapping"


class ImportLocked(ImportProblem):
    """Another import is running on the same tables."""

    code = "import_running"


@dataclass(frozen=True)
class Rule:
    """One thing an import asks of a column (of a file where ``column`` is empty), in both languages. advice: what helps
    with the values found, in Chinese and in English; it is told once, not of each row."""

    table: str
    column: str
    code: str
    zh: str
    en: str
    advice: tuple[str, str] = ("", "")

    @property
    def told(self) -> tuple[str, str]:
        """The advice and the rule, in Chinese and in English."""
        zh, en = self.advice
        return (f"{zh}；{self.zh}" if zh else self.zh, f"{en}; {self.en}" if en else self.en)


@dataclass(frozen=True)
class Example:
    """A row that breaks a rule: its 1-based data row, its line in a CSV file, and its value, shortened."""

    row: int
    value: str
    line: int | None = None


@dataclass(frozen=True)
class RuleResult:
    """How many values a rule looked at and how many broke it; ``examples`` are the first of those."""

    rule: Rule
    checked: int
    failed: int
    examples: tuple[Example, ...]

    @property
    def code(self) -> str:
        return self.rule.code

    @property
    def column(self) -> str:
        return self.rule.column


class SourceProblem(ImportProblem):
    """A file cannot be used at all; ``zh`` and ``en`` say why."""

    def __init__(self, code: str, zh: str, en: str, *, column: str = "") -> None:
        super().__init__(en)
        self.code = code
        self.zh = zh
        self.en = en
        self.column = column

    def result(self, table: str) -> RuleResult:
        rule = Rule(table, self.column, self.code, self.zh, self.en)
        return RuleResult(rule=rule, checked=0, failed=1, examples=())


class ImportRefused(ImportProblem):
    """Nothing was imported. ``problems`` are the broken rules, ``report`` the page that shows them all."""

    code = "import_refused"

    def __init__(self, problems: Sequence[RuleResult], report: Path) -> None:
        first = problems[0]
        where = f"{first.rule.table}.{first.column}" if first.column else first.rule.table
        row = f" row {first.examples[0].row}" if first.examples else ""
        more = f" (and {len(problems) - 1} more broken rules)" if len(problems) > 1 else ""
        super().__init__(f"{where}{row}: {first.code}: {first.rule.told[1]}{more}")
        self.problems = tuple(problems)
        self.report = report


class Findings:
    """Collects, chunk by chunk, what the rules of one table found."""

    def __init__(self) -> None:
        self._results: dict[Rule, RuleResult] = {}
        self._rows: list[tuple[np.ndarray, Rule]] = []

    def note(
        self,
        rule: Rule,
        *,
        checked: int,
        failed: int = 0,
        rows: Sequence[int] | np.ndarray = (),
        values: Sequence[object] = (),
    ) -> None:
        """Add what ``rule`` found: ``rows`` are 1-based (all of them, where rows shall be set aside), and
        ``values`` go with the first of them."""
        old = self._results.get(rule) or RuleResult(rule, 0, 0, ())
        fresh = [
            Example(int(row), shown(rule.column, value)) for row, value in zip(rows, values, strict=False)
        ]
        self._results[rule] = replace(
            old,
            checked=old.checked + checked,
            failed=old.failed + failed,
            examples=(*old.examples, *fresh)[:EXAMPLES],
        )
        if len(rows):
            self._rows.append((np.asarray(rows, dtype=np.int64), rule))

    def results(self) -> list[RuleResult]:
        """One per rule, in the order the rules were first met."""
        return list(self._results.values())

    def bad_rows(self) -> np.ndarray:
        """Sorted numbers of all noted rows."""
        return (
            np.unique(np.concatenate([rows for rows, _ in self._rows]))
            if self._rows
            else np.empty(0, np.int64)
        )

    def rows_of_rules(self) -> list[tuple[Rule, int]]:
        """Every rule that rows were noted for, with how many; most rows first. A row may break several."""
        noted: dict[Rule, list[np.ndarray]] = {}
        for rows, rule in self._rows:
            noted.setdefault(rule, []).append(rows)
        counts = [(rule, len(np.unique(np.concatenate(rows)))) for rule, rows in noted.items()]
        return sorted(counts, key=lambda pair: -pair[1])

    def reasons(self, first: int, last: int) -> Iterator[tuple[int, Rule]]:
        """Noted rows between ``first`` and ``last`` (both included) with the rule each broke."""
        for rows, rule in self._rows:
            for row in rows[(rows >= first) & (rows <= last)].tolist():
                yield row, rule


def shown(column: str, value: object) -> str:
    """A value as it may be printed: short, one line, and nothing at all of the hidden columns."""
    if column in HIDDEN:
        return "•••"
    text = "" if value is None else " ".join(str(value).split())
    return text if len(text) <= SHOWN_LENGTH else text[: SHOWN_LENGTH - 1] + "…"
