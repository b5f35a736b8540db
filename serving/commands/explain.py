"""``huika explain``: why one trade was answered as it was, for risk analysts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from serving.options import DEFAULT_HOME, Home
from serving.refusals import Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.table import Table

    from models.fraud.explanation import Explanation, Signal
    from pipelines.explaining import Decided, Explained

ALL_FAMILIES = 99


def explain(
    trade_id: Annotated[str, typer.Argument(help="The id of a trade, quoted or imported, or of a quote.")],
    every: Annotated[
        bool, typer.Option("--all", help="Every family of features, also those that hardly matter.")
    ] = False,
    home: Home = DEFAULT_HOME,
) -> None:
    """What moved a trade's fraud probability, feature by feature, and what each action was expected to cost. For risk
    analysts: it tells what must not be told to whoever sells."""
    from pipelines.explaining import NothingToExplain
    from pipelines.explaining_trades import explain_trade
    from pipelines.workspace import Workspace

    if not home.exists():
        raise Refusal(f"no workspace at {home}")
    try:
        found = explain_trade(Workspace.open(home), trade_id)
    except NothingToExplain as error:
        raise Refusal(str(error)) from error
    print_explained(found, most_families=ALL_FAMILIES if every else 6)


def print_explained(found: Explained, *, most_families: int) -> None:
    """Print the answer and everything behind it."""
    from rich.text import Text

    from serving.output import console

    out = console()
    answer = found.answer
    where = f"quote {found.quote_id}" if found.quote_id else "answered now, as of its own moment"
    out.print(Text.assemble((found.trade_id, "bold"), f"  {where}; {_versions(answer['models'])}"))
    told = ", ".join(f"{reason['code']} {reason['zh']}" for reason in answer["reasons"])
    decision = (answer["decision"], "bold")
    out.print(Text.assemble("decision 决定: ", decision, f"   reasons told 告知原因: {told}"))
    if answer["no_offer"]:
        out.print("no offer 无报价: nothing is bought, so there is nothing to review")
    for note in answer.get("analyst_notes", []):
        out.print(Text(f"note 备注: {note['code']} {note['zh']} {note['en']}"))
    if found.decided is not None:
        out.print(_decided(found.decided))
        out.print(_costs(found.decided))
    if found.fraud is None:
        out.print(Text(f"nothing to take apart: {found.missing}"))
    else:
        out.print(_parts(found.fraud, most_families))
    if found.absent_signals:
        absent = "; ".join(found.absent_signals)
        out.print(Text(f"the model had to do without 模型缺少的信号: {absent}"))
    if answer["waterfall"]:
        out.print(_waterfall(answer["waterfall"]))


def _versions(models: Mapping[str, str | None]) -> str:
    return ", ".join(
        f"{name} v{version}" if version else f"no {name} model" for name, version in models.items()
    )


def _decided(decided: Decided) -> str:
    saving = decided.review_saving_fen
    alone = f"the model alone 模型决定: {decided.action}"
    return alone if saving is None else f"{alone}; a review is expected to save 复核预计节省 {_yuan(saving)}"


def _costs(decided: Decided) -> Table:
    from rich.table import Table

    table = Table(
        "action 措施",
        caption="of this trade alone; the decision weighs fraud more and prices scarce places "
        "仅就本笔交易；决定时欺诈损失加权，名额有价",
        caption_justify="left",
    )
    table.add_column("expected cost 预期成本", justify="right")
    for action, cost in decided.expected_cost_fen.items():
        mark = "[bold]" if action == decided.action else ""
        table.add_row(f"{mark}{action}", "-" if cost is None else f"{mark}{_yuan(cost)}")
    return table


def _parts(fraud: Explanation, most_families: int) -> Table:
    from rich.table import Table
    from rich.text import Text

    from models.fraud.family_words import family_words

    title = (
        f"fraud probability 欺诈概率 {fraud.probability:.2%} (average trade 平均 {fraud.base_probability:.2%}); "
        "told 告知: * named to the seller unless simply paid 除直接打款外告知卖家"
    )
    table = Table("family 类别", title=title, title_justify="left")
    table.add_column("log-odds", justify="right")
    for heading in ("feature 特征", "value 取值"):
        table.add_column(heading)
    table.add_column("log-odds", justify="right")
    table.add_column("meaning 含义")
    for family in fraud.families[:most_families]:
        zh, en = family_words(family.family)
        first = (f"{'* ' if family.named else ''}{zh} {en}", f"{family.log_odds:+.2f}")
        rows = [_signal(signal) for signal in family.signals] or [("", "", "", "")]
        for place, row in enumerate(rows):
            cells = (*(first if place == 0 else ("", "")), *row)
            table.add_row(*(Text(cell) for cell in cells))
    return table


def _signal(signal: Signal) -> tuple[str, str, str, str]:
    return (
        signal.name,
        value_text(signal),
        f"{signal.log_odds:+.2f}",
        f"{signal.zh}: {signal.meaning}",
    )


def value_text(signal: Signal) -> str:
    """A feature's value with its unit, or what it means that there is none."""
    if signal.value is None:
        return f"– ({signal.null or 'unknown'})"
    shown = signal.value if isinstance(signal.value, str) else f"{signal.value:,.4g}"
    return shown if signal.unit in ("", "-", "0/1") else f"{shown} {signal.unit}"


def _waterfall(steps: list[Mapping[str, Any]]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table("step 步骤", title="from face value to payout 从面值到打款", title_justify="left")
    table.add_column("yuan 元", justify="right")
    for step in steps:
        table.add_row(Text(f"{step['zh']} {step['en']}"), f"{step['amount_fen'] / 100:+,.2f}")
    return table


def _yuan(fen: float) -> str:
    return f"¥{fen / 100:,.2f}"
