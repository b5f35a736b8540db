"""``huika recycling numbers``, and how the numbers of the trade are named and written for people."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from serving.commands.recycling_disputes import flow_of
from serving.options import DEFAULT_HOME, Home

TITLES = {
    "trades": "交易 trades",
    "refused_share": "未收占比 refused",
    "by_hand_share": "人工占比 by hand",
    "response_seconds_p50": "答复时间 p50 response, median",
    "paid_seconds_p50": "打款时间 p50 paid after, median",
    "returning_share": "回头卖家 returning sellers",
    "bait_and_cut": "报高付低 bait-and-cut",
    "complaint_share": "投诉占比 complaints",
    "complaint_cost_fen": "每起投诉损失 cost per complaint",
    "open_complaints": "未决投诉 complaints not decided",
    "stock_fen": "库存成本 stock, at cost",
    "bought_fen": "收卡总价 bought, gross",
    "fees_fen": "服务费 fees",
    "postage_fen": "邮费 postage",
    "tax_fen": "税 tax",
    "frozen_fen": "冻结 frozen",
    "settled_fen": "已结算 settled",
    "paid_fen": "已打款 paid",
    "lost_fen": "损失 lost",
}
"""The rows of the table, by the number that each shows."""


def numbers(
    days: Annotated[int, typer.Option(help="Of trades submitted in so many days; 0: ever.", min=0)] = 30,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
    home: Home = DEFAULT_HOME,
) -> None:
    """Refusals, response time, returning sellers, bait-and-cut, complaints, and where the money is, per profile."""
    from dataclasses import asdict

    from rich.table import Table

    from pipelines.recycling.numbers import trade_numbers
    from pipelines.recycling.policy import PROFILES
    from serving.output import console

    since = datetime.now(UTC) - timedelta(days=days) if days else None
    with flow_of(home).engine.connect() as connection:
        found = {name: asdict(trade_numbers(connection, profile=name, since=since)) for name in PROFILES}
    if as_json:
        print(json.dumps(found, ensure_ascii=False))
        return
    table = Table("", *found)
    for name, title in TITLES.items():
        table.add_row(title, *(shown(name, own[name]) for own in found.values()))
    console().print(table)


def shown(name: str, value: Any) -> str:
    """A number as people read it: money in yuan, shares in percent, a time in the unit that fits it."""
    if value is None or value != value:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "NO"
    if name.endswith("_fen"):
        return f"¥{value / 100:,.2f}"
    if "seconds" in name:
        return _span(value)
    return f"{value:.1%}" if isinstance(value, float) and name != "people_hours" else f"{value:,.6g}"


def _span(seconds: float) -> str:
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{1_000 * seconds:.0f} ms"
