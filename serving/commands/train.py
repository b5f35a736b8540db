"""``huika train``."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from serving.options import DEFAULT_HOME, Home
from serving.refusals import Refusal

if TYPE_CHECKING:
    from pipelines.training.training import Trained


class Which(StrEnum):
    """Which models to train."""

    discount = "discount"
    fraud = "fraud"
    all = "all"


def train(
    which: Annotated[
        Which, typer.Argument(help="discount, fraud or all (what the data allows).")
    ] = Which.all,
    since: Annotated[
        str, typer.Option("--from", metavar="TIME", help="Trades submitted from this time on.")
    ] = "",
    until: Annotated[
        str,
        typer.Option(
            "--until", metavar="TIME", help="Trades before this time, and only what was known then."
        ),
    ] = "",
    home: Home = DEFAULT_HOME,
) -> None:
    """Train, judge on later trades, and register. The first model of its kind is champion, later ones challenger; so
    is a first discount model that those trades prove worse than the prices it would replace."""
    from features.training_set import NothingToTrainOn
    from models.discount.training import DiscountFitError
    from models.fraud.training import FraudTrainingError
    from pipelines.training.splitting import TooLittleHistory
    from pipelines.training.training import Job, Listener
    from pipelines.training.training import train as run
    from pipelines.workspace import Workspace
    from serving.progress import bar

    workspace = Workspace.open(home)
    names = trainable(workspace) if which is Which.all else (which.value,)
    with bar("features") as progress:
        listener = Listener(say=lambda step: print(f"… {step}", flush=True), features=progress)
        job = Job(models=names, since=parse_time(since), until=parse_time(until))
        try:
            trained = run(workspace, job=job, listener=listener)
        except (NothingToTrainOn, TooLittleHistory, FraudTrainingError, DiscountFitError) as error:
            raise Refusal(str(error)) from error
    for item in trained:
        print_trained(item)
    if "discount" not in names and which is Which.all:
        print_no_prices()
    challengers = [item.version.name for item in trained if item.alias != "champion"]
    print(f"next: huika serve, or huika {'score' if names == ('fraud',) else 'quote'} IN OUT")
    for name in challengers:
        print(f"next: huika evaluate {name}, then huika promote {name}, once there are newer trades")


def trainable(workspace) -> tuple:
    """The models that the stored trades can train."""
    from pipelines.training.training import has_labels, has_prices

    trades = workspace.tables.read("trades", ["fraud", "resale_rate"])
    if len(trades) == 0:
        raise Refusal("no trades yet; bring some in with `huika import --trades FILE`")
    names = [name for name, able in (("discount", has_prices(trades)), ("fraud", has_labels(trades))) if able]
    if not names:
        raise Refusal("the trades have neither resale rates nor fraud labels; there is nothing to learn")
    return tuple(names)


def print_no_prices() -> None:
    """That there is no resale to train the price model on, and what it needs."""
    from pipelines.training.discount import needs

    zh, en = needs()
    print(f"\n未训练定价模型：交易中没有出货结果。{zh}。")
    print(f"The price model was not trained, for no trade has a resale: {en}.")


def parse_time(text: str) -> datetime | None:
    """ISO time or date; without a zone it is UTC. Raises Refusal."""
    if not text:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise Refusal(f"{text!r} is not a time; write 2025-07-25 or 2025-07-25T08:00+08:00") from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def print_trained(item: Trained) -> None:
    from rich.table import Table

    from serving.output import console, figure
    from serving.worth_lines import (
        first_words,
        fraud_note,
        guessing_note,
        print_checks,
        print_worths,
        ranges_note,
    )

    version = item.version
    out = console()
    out.print(
        f"\n[bold]{version.name} v{version.version} → {item.alias}[/]  learned from {item.rows:,} trades"
    )
    table = Table(f"on {len(item.split.test):,} later trades 后续交易检验", box=None, padding=(0, 2))
    table.add_column("", justify="right")
    for name, value in item.metrics.items():
        table.add_row(name.replace("_", " "), figure(value))
    out.print(table)
    for note in (*fraud_note(item.metrics), *ranges_note(item.metrics), *guessing_note(item.metrics)):
        print(note)
    print_worths(item.values.worths)
    print_checks(item.checks)
    if item.checks:
        out.print(first_words(item), markup=False, highlight=False)
    if "absent_signals" in version.tags:
        out.print(f"It had to do without 缺少的信号: {version.tags['absent_signals']}")
    if not item.split.label_gap:
        out.print(
            "The period is too short to leave a label delay before the judged trades: figures are optimistic."
        )
