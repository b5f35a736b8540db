"""The mapping file: how a user's columns become the columns of the input tables.

One TOML table per input table; a key is a column of :mod:`features.tables`, its value the user's column or
a rule with ``column`` or ``constant`` and, where the column's kind allows it, ``timezone``, ``format``,
``plus_days``, ``unit``, ``since``, ``scale``, ``thousands``, ``decimal``, ``round``, ``true``, ``false``, ``words`` and
``formats`` and ``columns``; a text may be made of its file and ``row``.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError, model_validator

from features.extras import MOST_EXTRAS, check_name
from features.tables import TABLES, Kind, Table
from pipelines.training.import_problems import MappingError, SourceProblem

FITS: Mapping[str, frozenset[Kind]] = {
    "timezone": frozenset({"time", "object"}),
    "format": frozenset({"time", "date"}),
    "formats": frozenset({"object"}),
    "plus_days": frozenset({"time", "date"}),
    "unit": frozenset({"time"}),
    "since": frozenset({"time"}),
    "scale": frozenset({"money", "number", "integer"}),
    "thousands": frozenset({"money", "number", "integer", "object"}),
    "decimal": frozenset({"money", "number", "integer", "object"}),
    "round": frozenset({"money"}),
    "row": frozenset({"text"}),
    "true": frozenset({"flag"}),
    "false": frozenset({"flag"}),
    "words": frozenset({"text"}),
    "columns": frozenset({"object", "text", "time", "date"}),
}
"""Which kinds of column a rule's key makes sense for."""

LABEL_DAYS = 30
"""Labels without a moment of their own are taken as known so long after their trade, as complaints take weeks."""

Unit = Literal["milliseconds", "seconds", "minutes", "hours", "days", "weeks", "months"]

OWN_COLUMNS = frozenset({"_row", "_problem"})
"""Written beside quarantined rows; left out when such a file comes back corrected."""

Scalar = str | int | float | bool
ColumnName = Annotated[str, StringConstraints(strip_whitespace=True)]
"""Files' names are read without blanks around them, so a name copied from a header with blanks means the same."""


class ColumnRule(BaseModel):
    """Where one canonical column comes from. ``column`` is the user's column; else ``constant`` fills it, or ``row``, a
    text that a digest of the file's bytes and the number of the row are put behind, for tables whose rows have no id:
    the same file names its rows the same every time, and no other file does.

    ``timezone`` is the zone of times written without one; ``format`` a strptime pattern without a zone;
    ``plus_days`` is added to every time; ``unit`` says that times are numbers of that unit ``since`` a moment (without
    one, since 1970; without a zone, of ``timezone`` or UTC); ``scale`` multiplies numbers (0.01 for percent or fen);
    ``round`` rounds amounts to whole fen; ``thousands`` is what stands between the thousands of numbers written as
    texts and ``decimal`` what stands before their fractions: with either, signs of currency and percent are left out;
    ``true`` and ``false`` list the values that mean so (without ``false``: all others); ``words`` gives our
    word for a text of the user's, or an empty one where it means that nothing is known. Other texts stay.
    ``formats`` gives the ``format`` of times among gathered columns, by the column's name.
    ``columns`` gathers several of the user's columns by their names (extras), or joins them by spaces into one text,
    time or date, such as a year, a month and a day.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    column: ColumnName | None = None
    constant: Scalar | datetime | date | None = None
    timezone: str | None = None
    format: str | None = None
    formats: Mapping[ColumnName, str] | None = None
    plus_days: float = 0.0
    unit: Unit | None = None
    since: datetime | date | None = None
    scale: float = 1.0
    thousands: Literal[",", ".", " ", "'"] | None = None
    decimal: Literal[".", ","] | None = None
    round: bool = False
    row: str | None = None
    true: tuple[Scalar, ...] | None = None
    false: tuple[Scalar, ...] | None = None
    words: Mapping[str, str] | None = None
    columns: tuple[ColumnName, ...] | None = None

    @model_validator(mode="after")
    def _is_usable(self) -> ColumnRule:
        if sum(given is not None for given in (self.column, self.constant, self.columns, self.row)) != 1:
            raise ValueError("give either column or constant, columns or, for texts, row")
        if self.unit is not None and self.format is not None:
            raise ValueError("unit reads numbers and format reads texts: give one of them")
        idle = sorted(self.model_fields_set - {"row"}) if self.row is not None else []
        if idle:
            raise ValueError(f"row makes the text itself: {idle[0]} does not apply")
        if self.thousands is not None and self.thousands == self.point:
            raise ValueError("thousands and decimal are the same mark")
        if self.since is not None and self.unit is None:
            raise ValueError("since needs the unit of the numbers that count from it")
        if self.columns is not None:
            if not 0 < len(self.columns) <= MOST_EXTRAS:
                raise ValueError(f"columns takes 1 to {MOST_EXTRAS} names")
            for name in self.columns:
                check_name(name)
        strange = sorted(set(self.formats or {}) - set(self.columns or ()))
        if strange:
            raise ValueError(f"formats speaks of {strange[0]!r}, which is not among columns")
        for written in filter(None, (self.format, *(self.formats or {}).values())):
            _check_format(written)
        if self.timezone:
            try:
                ZoneInfo(self.timezone)
            except (ZoneInfoNotFoundError, OSError, ValueError) as error:
                raise ValueError(f"unknown timezone {self.timezone!r}") from error
        return self

    @property
    def marked(self) -> bool:
        """Whether numbers are written with marks and signs."""
        return self.thousands is not None or self.decimal is not None

    @property
    def point(self) -> str:
        """What stands before the fraction of a number."""
        return self.decimal or "."

    @property
    def read(self) -> tuple[str, ...]:
        """The user's columns that the rule reads."""
        return self.columns or (() if self.column is None else (self.column,))


SAMPLE_YEAR, MORNING = 2021, 11


def _check_format(written: str) -> None:
    """Raises ValueError for a format that no text could be read by, or that reads another time than was written:
    readers of strptime patterns differ in what they take beyond Python's, and in what they make of it."""
    if "%z" in written.lower():
        raise ValueError("format cannot hold a zone; ISO 8601 times with a zone need no format")
    if "%s" in written:
        raise ValueError('format cannot hold %s; for seconds since a moment give unit = "seconds"')
    text = datetime(SAMPLE_YEAR, 12, 31, MORNING + 12, 58, 59, tzinfo=UTC).strftime(written)
    try:
        meant = datetime.strptime(text, written).replace(tzinfo=UTC)
    except ValueError as error:
        raise ValueError(f"format {written!r}: {error}") from error
    read = pc.strptime(pa.array([text]), format=written, unit="s", error_is_null=True)
    found = read.cast(pa.timestamp("s", "UTC"))[0].as_py()
    if found != meant or found.year != SAMPLE_YEAR:
        raise ValueError(f"no time can be read by the format {written!r}")
    if found.hour == MORNING:
        raise ValueError(f"the format {written!r} cannot tell morning from evening: %I needs %p, %H does not")


TableMapping = Mapping[str, ColumnRule]
Units = Mapping[tuple[str, ...], tuple[Unit | None, date | None]]
ImportMapping = Mapping[str, TableMapping]


@dataclass(frozen=True)
class Binding:
    """How one file fills one table: a rule per canonical column found, and the columns kept as they are.
    label_days: labels, where there are any, have no moment and are taken as known so long after their trade; None: the
    file gives their moments, or has no column of labels."""

    rules: Mapping[str, ColumnRule]
    extras: tuple[str, ...]
    label_days: int | None = None


def load_mapping(path: Path) -> dict[str, dict[str, ColumnRule]]:
    """Read a mapping file: input table -> column -> rule. Raises MappingError naming what is wrong."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise MappingError(f"{path}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise MappingError(f"{path}: not valid TOML: {error}") from error
    return {name: _table_mapping(path, name, entries) for name, entries in data.items()}


def _table_mapping(path: Path, name: str, entries: object) -> dict[str, ColumnRule]:
    if name not in TABLES or not isinstance(entries, dict):
        raise MappingError(f"{path}: [{name}] is not an input table; there are {', '.join(TABLES)}")
    kinds: dict[str, Kind] = {column.name: column.kind for column in TABLES[name].columns}
    rules: dict[str, ColumnRule] = {}
    for key, entry in entries.items():
        if key not in kinds:
            raise MappingError(f"{path}: {name}.{key} is not a column; there are {', '.join(kinds)}")
        rules[key] = _rule(f"{path}: {name}.{key}", kinds[key], entry)
    return rules


def _rule(where: str, kind: Kind, entry: object) -> ColumnRule:
    fields = {"column": entry} if isinstance(entry, str) else entry
    if not isinstance(fields, dict):
        raise MappingError(f"{where}: give the name of your column, or a rule in braces")
    unfit = [key for key, kinds in FITS.items() if key in fields and kind not in kinds]
    if unfit:
        raise MappingError(f"{where}: {unfit[0]} does not apply to a column of kind {kind}")
    try:
        return ColumnRule.model_validate(fields)
    except ValidationError as error:
        reasons = "; ".join(
            f"{'.'.join(map(str, item['loc']))} {item['msg']}".strip() for item in error.errors()
        )
        raise MappingError(f"{where}: {reasons}") from error


def shared(table: Table, mapping: TableMapping) -> dict[str, ColumnRule]:
    """The mapping with each zone, format and unit that is given for a user's column in every rule that reads it."""
    zones = {rule.read: rule.timezone for rule in mapping.values() if rule.timezone}
    formats = {rule.read: rule.format for rule in mapping.values() if rule.format}
    units: Units = {rule.read: (rule.unit, rule.since) for rule in mapping.values() if rule.unit}
    dated = {column.name for column in table.columns if column.kind in FITS["format"]}
    timed = {column.name for column in table.columns if column.kind in FITS["unit"]}
    return {
        name: rule.model_copy(
            update={
                "timezone": rule.timezone or zones.get(rule.read),
                "format": rule.format or (formats.get(rule.read) if name in dated else None),
                **_unit_of(rule, units if name in timed else {}),
            }
        )
        for name, rule in mapping.items()
    }


def bind(table: Table, mapping: TableMapping, columns: Sequence[str]) -> Binding:
    """Match a file's ``columns`` with ``table``: mapped ones, those already named as the table's, extras.

    A time zone, a format or a unit given for a user's column holds for every time or date that is read from it.
    Raises SourceProblem ``missing_column`` for a mapped column the file lacks or a required one that nothing
    fills, and ``duplicate_column`` where names differ in nothing but case or clash with a stored column.
    """
    for name, rule in mapping.items():
        for read in rule.read:
            if read not in columns:
                raise _missing(read, f"映射到 {name}", f"mapped to {name}", columns)
    rules = shared(table, mapping)
    for column in table.columns:
        if column.name in rules:
            continue
        if column.name in columns:
            rules[column.name] = ColumnRule(column=column.name)
        elif column.required:
            raise _missing(column.name, f"必需列{FILL_ZH}", f"required{FILL_EN}", columns)
    used = {read for rule in rules.values() for read in rule.read} | OWN_COLUMNS
    extras = tuple(sorted(column for column in columns if column not in used))
    _refuse_clashes(table, extras)
    lacks_moments = "fraud" in rules and "fraud_known_at" not in rules
    return Binding(rules=rules, extras=extras, label_days=LABEL_DAYS if lacks_moments else None)


def _unit_of(rule: ColumnRule, units: Units) -> dict[str, object]:
    unit, since = units.get(rule.read, (None, None))
    return {} if rule.unit or rule.format or unit is None else {"unit": unit, "since": since}


FILL_ZH = "；数据中没有时，可在映射文件中写 { constant = … }，没有编号的行可写 { row = … }"
FILL_EN = (
    "; what your data lack a mapping can fill, by { constant = … } or, for rows without an id, { row = … }"
)


def _missing(name: str, why_zh: str, why_en: str, columns: Sequence[str]) -> SourceProblem:
    found = ", ".join(columns[:40])
    return SourceProblem(
        "missing_column",
        f"缺少列 {name}（{why_zh}）；文件中的列：{found}",
        f"column {name} is missing ({why_en}); the file has {found}",
        column=name,
    )


def _refuse_clashes(table: Table, extras: Sequence[str]) -> None:
    taken = {name.lower() for name in table.schema.names}
    for name in extras:
        if name.lower() in taken:
            raise SourceProblem(
                "duplicate_column",
                f"列名 {name} 与另一列冲突（不区分大小写）；请改名，或在映射文件中指定",
                f"column {name} clashes with another one (case is ignored); rename it or map it",
                column=name,
            )
        taken.add(name.lower())
