"""``huika import``: bring trades, market rates and card types in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serving.options import DEFAULT_HOME, Home

if TYPE_CHECKING:
    from rich.console import Console

    from pipelines.training.import_problems import Example, RuleResult
    from pipelines.training.import_reading import Progress
    from pipelines.training.importing import ImportResult, TableResult

FIGURES = {
    "rows": "读取 rows read",
    "added": "新增 added",
    "updated": "更新 updated",
    "unchanged": "未变 unchanged",
    "repeated": "重复 repeated",
    "quarantined": "隔离 set aside",
}

File = Annotated[Path | None, typer.Option(help="Parquet or CSV file.", dir_okay=False)]
SHOWN_ROWS = 5
"""Rows listed for one broken rule on the screen; the report lists more."""

SHOWN_NAMES = 10
SHOWN_REASONS = 5
MUCH_SET_ASIDE = 0.1
"""Share of a file's rows from which their loss is pointed out."""


def import_tables_command(
    trades: File = None,
    market: File = None,
    card_types: File = None,
    mapping: Annotated[Path | None, typer.Option(help="TOML file: your columns -> ours.")] = None,
    add_card_types: Annotated[
        bool, typer.Option("--add-card-types", help="Register unknown card types under category other.")
    ] = False,
    quarantine: Annotated[
        bool, typer.Option("--quarantine", help="Import the good rows, write the bad ones beside the report.")
    ] = False,
    columns: Annotated[
        bool, typer.Option("--columns", help="List every column of the three tables; nothing is imported.")
    ] = False,
    home: Home = DEFAULT_HOME,
) -> None:
    """Bring trades, market rates and card types in: all files are checked, then all are stored, or none. `--columns`
    lists what each file may hold."""
    if columns:
        print_columns()
        return
    from features.catalogue import load_catalogue
    from pipelines.training.import_problems import ImportProblem, ImportRefused
    from pipelines.workspace import Workspace
    from serving.refusals import Refusal

    given = {"trades": trades, "market": market, "card_types": card_types}
    sources = {name: path for name, path in given.items() if path is not None}
    if not sources:
        raise Refusal("give at least one of --trades, --market, --card-types")
    workspace = Workspace.open(home)

    from rich.console import Console

    from pipelines.training.importing import import_tables
    from pipelines.training.mapping import load_mapping

    console = Console()
    try:
        with progress_bars(console) as progress:
            result = import_tables(
                store=workspace.tables,
                sources=sources,
                mapping=load_mapping(mapping) if mapping else None,
                catalogue_types={row.card_type: row.category for row in load_catalogue()},
                add_card_types=add_card_types,
                quarantine=quarantine,
                report_dir=workspace.reports,
                now=datetime.now(UTC),
                progress=progress,
            )
    except ImportRefused as refused:
        _print_problems(console, refused.problems)
        raise Refusal(f"nothing was imported 未导入任何数据; see {refused.report}") from refused
    except ImportProblem as problem:
        raise Refusal(f"{problem.code}: {problem}") from problem
    _print_result(console, result)


def print_columns() -> None:
    """Every column of the input tables, and what holds across them."""
    from rich.markup import escape
    from rich.table import Table

    from features.tables import TABLES
    from serving.output import console
    from serving.table_words import HEADINGS, column_rows, table_rules

    out = console()
    for name, table in TABLES.items():
        shown = Table(title=name, title_justify="left", box=None, padding=(0, 2))
        for heading in HEADINGS:
            shown.add_column(heading, overflow="fold", no_wrap=heading == HEADINGS[0])
        for cells in column_rows(table):
            shown.add_row(*map(escape, cells))
        out.print(shown)
        for rule in table_rules(table):
            out.print(rule, markup=False, highlight=False)
        out.print()


@contextmanager
def progress_bars(console: Console) -> Iterator[Progress]:
    """One bar per stage of an import, on a terminal only."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"))
    with Progress(*columns, TimeElapsedColumn(), console=console) as bars:
        tasks = {}

        def show(stage: str, share: float) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=1.0)
            bars.update(tasks[stage], completed=share)

        yield show


def _print_problems(console: Console, problems: Sequence[RuleResult]) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table(title="为何拒绝 why it was refused", title_justify="left")
    table.add_column("列 column", no_wrap=True)
    for heading in ("行 row", "值 value", "原因 reason"):
        table.add_column(heading, overflow="fold")
    for problem in problems:
        name = f"{problem.rule.table}.{problem.column}" if problem.column else problem.rule.table
        reason = "\n".join((f"[bold]{problem.code}[/]", *map(escape, problem.rule.told)))
        cells = [(_place(item), escape(item.value)) for item in problem.examples[:SHOWN_ROWS]] or [("", "")]
        table.add_row(escape(name), *cells[0], reason)
        for row, value in cells[1:]:
            table.add_row("", row, value, "")
        if problem.examples and problem.failed > len(cells):
            table.add_row("", f"… {problem.failed:,}", "共 in all", "")
        table.add_section()
    console.print(table)


def _place(example: Example) -> str:
    return f"{example.row}" + (f" (line {example.line})" if example.line else "")


def _print_result(console: Console, result: ImportResult) -> None:
    from rich.table import Table

    table = Table("")
    for item in result.tables:
        table.add_column(item.name, justify="right", no_wrap=True)
    for name, words in FIGURES.items():
        table.add_row(words, *(f"{getattr(item, name):,}" for item in result.tables))
    console.print(table)
    for days in {item.label_days for item in result.tables} - {None}:
        console.print(
            f"标签没有知悉时间，按交易后 {days} 天知悉处理；实际不同请在映射文件中给出 fraud_known_at\n"
            f"labels have no moment: taken as known {days} days after their trade; where that is wrong, map "
            "fraud_known_at"
        )
    if result.new_card_types:
        count = len(result.new_card_types)
        names = ", ".join(result.new_card_types[:SHOWN_NAMES]) + (" …" if count > SHOWN_NAMES else "")
        console.print(f"新登记卡种 registered card types ({count}): {names}", highlight=False)
    for item in result.tables:
        if item.quarantined:
            _print_set_aside(console, item)
    console.print(f"报告 report: {result.report}", soft_wrap=True, highlight=False)


def _print_set_aside(console: Console, item: TableResult) -> None:
    """How many of a file's rows were set aside, why, and where they are."""
    share = item.quarantined / item.rows
    lines = [f"隔离 set aside ({item.name}): {item.quarantined:,} / {item.rows:,} 行 rows, {share:.1%}"]
    for rule, rows in item.reasons[:SHOWN_REASONS]:
        place = f"{rule.column} " if rule.column else ""
        lines.append(f"  {rows:>9,}  {place}{rule.code}: {'; '.join(rule.told)}")
    if len(item.reasons) > SHOWN_REASONS:
        rest = len(item.reasons) - SHOWN_REASONS
        lines.append(f"  … 另有 {rest:,} 种原因，见报告 more reasons are in the report")
    if share > MUCH_SET_ASIDE:
        lines.append("注意：超过十分之一的行没有导入；请先更正映射或文件，再用其余的行训练")
        lines.append(
            "More than a tenth of the rows was not imported: mend the mapping or the file before training on the rest"
        )
    lines.append(f"隔离的行 rows set aside: {item.quarantine}")
    console.print("\n".join(lines), soft_wrap=True, highlight=False, markup=False)
