"""``huika rules``: what stands beside the fraud model, read aloud and tried on history."""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serving.commands.train import parse_time
from serving.options import DEFAULT_HOME, Home
from serving.refusals import Refusal

if TYPE_CHECKING:
    from models.fraud.rules import Rule, RuleBook
    from pipelines.screening.history import RuleFigures, RuleTest
    from pipelines.screening.lists_tried import ListTried

Since = Annotated[str, typer.Option("--from", metavar="TIME", help="Trades submitted from this time on.")]
TradesUntil = Annotated[str, typer.Option("--to", metavar="TIME", help="Trades before this time.")]
Json = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]

rules = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Rules and legal limits beside the fraud model: rules.toml and limits.toml of the workspace.",
)


@rules.command("show")
def show(as_json: Json = False, home: Home = DEFAULT_HOME) -> None:
    """List rules and legal limits with mode, action and conditions, and the versions that answers name."""
    book = _book(home)
    if as_json:
        return print(json.dumps(_as_json(book), ensure_ascii=False, indent=1))
    from serving.output import console

    out = console()
    out.print(_table(f"规则 rules, version {book.rules_version}", book.rules, law=False))
    out.print(_table(f"法定限额 legal limits, version {book.law_version}", book.limits, law=True))
    return None


@rules.command("check")
def check(home: Home = DEFAULT_HOME) -> None:
    """Check both files and read every rule aloud; exit code 1, naming rule and field, at a mistake."""
    from pipelines.screening.advice import advice, read_aloud

    book = _book(home)
    warnings = 0
    for rule in (*book.rules, *book.limits):
        print("\n".join(read_aloud(rule)))
        for doubt in advice(rule):
            warnings += 1
            print(f"  ! {doubt}")
    doubts = f", {warnings} to look at" if warnings else ""
    print(f"{len(book.rules)} rules and {len(book.limits)} legal limits can be used{doubts}")


@rules.command("test")
def try_on_history(
    rule: Annotated[str, typer.Option("--rule", help="Only this rule or limit.")] = "",
    since: Since = "",
    until: TradesUntil = "",
    as_json: Json = False,
    home: Home = DEFAULT_HOME,
) -> None:
    """Try every rule and limit, whatever its mode, on stored trades: what it hits, how much of that is fraud, what
    the model would have stopped anyway, and what it saves or costs."""
    told_test(_chosen(_book(home), rule), home=home, since=since, until=until, as_json=as_json)


def told_test(tried: Sequence[Rule | ListTried], *, home: Any, since: str, until: str, as_json: bool) -> None:
    """Try rules and lists on stored trades, and print what came of it. Raises Refusal."""
    from pipelines.screening.history import NoHistory, try_rules
    from pipelines.workspace import Workspace
    from serving.progress import bar

    try:
        with bar("on history") as progress:
            found = try_rules(
                Workspace.open(home),
                tried,
                since=parse_time(since),
                until=parse_time(until),
                progress=progress,
            )
    except NoHistory as error:
        raise Refusal(str(error)) from error
    if as_json:
        print(json.dumps(tried_json(found), ensure_ascii=False, indent=1))
    else:
        _print_test(found)


def _book(home: Any) -> RuleBook:
    from pipelines.screening.rule_files import rule_book
    from pipelines.workspace import Workspace

    return rule_book(Workspace.open(home).home)


def _chosen(book: RuleBook, name: str) -> tuple[Rule, ...]:
    """All rules and limits, or the one of that name. Raises Refusal naming close ones."""
    known = (*book.rules, *book.limits)
    found = tuple(rule for rule in known if name in ("", rule.name))
    if not found and name:
        close = difflib.get_close_matches(name, [rule.name for rule in known], n=3)
        raise Refusal(f"there is no rule {name!r}{'; close to it: ' if close else ''}{', '.join(close)}")
    return found


def _table(title: str, chosen: Sequence[Rule], *, law: bool) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", box=None, padding=(0, 1))
    for heading in ("名称 name", "模式 mode", "动作 action", "条件 when", "生效 in force"):
        table.add_column(heading, overflow="fold")
    table.add_column("出处 source" if law else "说明 note", overflow="fold")
    for rule in chosen:
        said = f"{rule.source.zh}\n{rule.source.en}" if rule.source else f"{rule.note} ({rule.author or '–'})"
        conditions = "\n".join(condition.words("en") for condition in rule.when)
        cells = (rule.name, rule.mode, rule.action, conditions, in_force(rule), said)
        table.add_row(*(Text(cell) for cell in cells))
    return table


def in_force(rule: Rule) -> str:
    """The days on which a rule counts."""
    if rule.since is None and rule.until is None:
        return "始终 always"
    return f"{rule.since or ''} → {rule.until or ''}"


def _as_json(book: RuleBook) -> dict[str, Any]:
    return {
        "rules_version": book.rules_version,
        "law_version": book.law_version,
        "rules": [_rule_json(rule) for rule in book.rules],
        "limits": [_rule_json(rule) for rule in book.limits],
    }


def _rule_json(rule: Rule) -> dict[str, Any]:
    return {
        "name": rule.name,
        "mode": rule.mode,
        "action": rule.action,
        "binding": rule.binding,
        "when": [{"feature": one.column, one.comparison: one.value} for one in rule.when],
        "from": None if rule.since is None else rule.since.isoformat(),
        "until": None if rule.until is None else rule.until.isoformat(),
        "reason": rule.reason.to_dict(),
        "source": None if rule.source is None else {"zh": rule.source.zh, "en": rule.source.en},
        "author": rule.author,
        "note": rule.note,
    }


def tried_json(found: RuleTest) -> dict[str, Any]:
    """A test as plain values; shares are null where nothing is known to divide by."""
    return {
        "trades": found.trades,
        "frauds": found.frauds,
        "honest": found.honest,
        "fraud_fen": found.fraud_fen,
        "model_version": found.model_version,
        "rules": [_figures_json(figures, found) for figures in found.figures],
        "together": _figures_json(found.together, found),
        "notes": list(found.notes),
    }


def _figures_json(figures: RuleFigures, found: RuleTest) -> dict[str, Any]:
    rule = figures.rule
    return {
        "rule": None if rule is None else rule.name,
        "mode": None if rule is None else rule.mode,
        "action": None if rule is None else rule.action,
        "hits": figures.hits,
        "share": _share(figures.hits, found.trades),
        "frauds": figures.frauds,
        "honest": figures.honest,
        "precision": _share(figures.frauds, figures.frauds + figures.honest),
        "of_all_fraud": _share(figures.frauds, found.frauds),
        "fraud_fen": figures.fraud_fen,
        "of_all_fraud_money": _share(figures.fraud_fen, found.fraud_fen),
        "stopped_anyway": _share(figures.stopped_anyway, figures.hits),
        "changed": figures.changed,
        "saving_fen": round(figures.saving_fen),
    }


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


HEADINGS = (
    ("规则", "rule"),
    ("模式", "mode"),
    ("动作", "action"),
    ("命中", "hits"),
    ("占比", "share"),
    ("欺诈", "fraud"),
    ("正常", "honest"),
    ("未知", "unknown"),
    ("准确率", "precision"),
    ("占全部欺诈", "of all fraud"),
    ("欺诈金额", "fraud ¥"),
    ("模型已拦", "model stops"),
    ("改变", "changes"),
    ("节省 ¥", "saves ¥"),
)


def _print_test(found: RuleTest) -> None:
    from rich.table import Table
    from rich.text import Text

    from serving.output import console

    known = f"{found.frauds:,} known frauds of ¥{found.fraud_fen / 100:,.0f}, {found.honest:,} known honest"
    table = Table(title=f"{found.trades:,} trades, {known}", title_justify="left", box=None, padding=(0, 1))
    for place, (zh, en) in enumerate(HEADINGS):
        table.add_column(f"{zh}\n{en}", justify="left" if place < 3 else "right")
    for figures in (*found.figures, found.together):
        cells = _cells(_figures_json(figures, found), together=figures.rule is None)
        table.add_row(*(Text(cell) for cell in cells))
    console().print(table)
    print(
        "model stops: hits that the champion's own decision would not simply pay; changes: hits that are answered "
        "otherwise than by the model alone; saves: what that is worth on those with a label"
    )
    for note in found.notes:
        print(f"! {note}")


def _cells(row: dict[str, Any], *, together: bool) -> list[str]:
    shares = {
        name: "–" if row[name] is None else f"{row[name]:.1%}"
        for name in ("share", "precision", "of_all_fraud", "stopped_anyway")
    }
    return [
        "合计 together" if together else row["rule"],
        row["mode"] or "",
        row["action"] or "",
        f"{row['hits']:,}",
        shares["share"],
        f"{row['frauds']:,}",
        f"{row['honest']:,}",
        f"{row['hits'] - row['frauds'] - row['honest']:,}",
        shares["precision"],
        shares["of_all_fraud"],
        f"{row['fraud_fen'] / 100:,.0f}",
        shares["stopped_anyway"],
        f"{row['changed']:,}",
        f"{row['saving_fen'] / 100:+,.0f}",
    ]
