"""``huika demo``: the whole path, told in under 100 lines."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from features.china import day_in_china
from serving.refusals import Refusal

if TYPE_CHECKING:
    from pipelines.demo import Verdict
    from pipelines.training.training import Trained
    from pipelines.workspace import Workspace
    from serving.api.schemas import Quote
    from serving.client import HuikaClient

DEMO_HOME = Path(".huika-demo")
MARKER = "demo.json"
KEY_NAME = "demo"
START_SECONDS = 90

Home = Annotated[
    Path, typer.Option("--home", help="The demo's own workspace; an earlier demo there is replaced.")
]


def demo(
    trades: Annotated[int, typer.Option(help="Size of the synthetic market.", min=5_000)] = 40_000,
    seed: Annotated[int, typer.Option(help="Another seed makes another market.")] = 7,
    home: Home = DEMO_HOME,
) -> None:
    """Make a synthetic market, import it, train both models, start the service, ask it for quotes, and let trades run
    through the recycling flow: a card from photo to receipt, a ring refused, a dispute, the books at zero."""
    from pipelines.workspace import Workspace

    _clear(home)
    began = time.monotonic()
    workspace = Workspace.open(home)
    (workspace.home / MARKER).write_text(json.dumps({"trades": trades, "seed": seed}))
    now = datetime.now(UTC)
    market = _tell_market(workspace, trades=trades, seed=seed, now=now)
    _tell_models(workspace, now=now)
    _tell_quotes(workspace, market, now=now)
    _tell_next(workspace, seconds=time.monotonic() - began)


def _clear(home: Path) -> None:
    """Remove an earlier demo; never anything else."""
    if not home.exists() or not any(home.iterdir()):
        return
    if not (home / MARKER).exists():
        raise Refusal(f"{home} is not a demo's workspace; choose another with --home")
    shutil.rmtree(home)


def _tell_market(workspace: Workspace, *, trades: int, seed: int, now: datetime) -> Any:
    from pipelines import demo as parts

    _head(1, "A synthetic market whose truth is known 合成市场")
    folder = workspace.home / "market"
    # a demo at night must have cards worth buying, too
    market = parts.make_market(folder, trades=trades, seed=seed, until=now, night_fraud=False)
    print(
        f"   {len(market.trades):,} trades in {parts.DAYS} days until now, {len(market.market):,} market rates, ",
        end="",
    )
    print(f"{len(market.card_types)} card types; the truth is kept apart in oracle.parquet")
    _head(2, "Imported and checked 导入与校验")
    result = parts.import_market(workspace, folder, now=now)
    for table in result.tables:
        print(f"   {table.name}: {table.added:,} rows pass every check")
    print(f"   report: {shown(result.report)}")
    return market


def _tell_models(workspace: Workspace, *, now: datetime) -> None:
    from pipelines import demo as parts
    from pipelines.training.training import Job, Listener, train
    from serving.worth_lines import first_words

    since = parts.judged_from(day_in_china(now))
    _head(3, f"Features and both models, from what was known before {since:%Y-%m-%d} 特征与模型")
    listener = Listener(say=lambda step: None, features=lambda done, total: None)
    for trained in train(workspace, job=Job(models=("discount", "fraud"), until=since), listener=listener):
        print(f"   {_figures(trained)}")
        if trained.checks:
            print(f"     {first_words(trained)}")
    _head(4, f"Judged on the {parts.JUDGED_DAYS} days after, against the truth 用真相检验")
    _print_verdict(parts.judge(workspace, workspace.home / "market", since=since, now=now))


def _figures(trained: Trained) -> str:
    names = {
        "discount": ("resale_mae", "acceptance_ece"),
        "fraud": ("average_precision", "auc", "ece"),
    }[trained.version.name]
    figures = ", ".join(f"{name.replace('_', ' ')} {trained.metrics[name]:.3f}" for name in names)
    version = trained.version
    return f"{version.name} v{version.version} → {trained.alias}: {trained.rows:,} rows; {figures}"


def _print_verdict(verdict: Verdict) -> None:
    from pipelines.simulation.history import FIXED_RATE

    print(f"   profit of {verdict.trades:,} offers, as a share of the best possible:")
    for name, share in (
        ("Huika", verdict.model),
        ("past prices", verdict.history),
        (f"fixed {FIXED_RATE:.0%}", verdict.fixed),
    ):
        print(f"     {name:<12}{share.share:7.1%}   ¥{share.policy_fen / 100:,.0f}")
    print(
        f"   fraud: {verdict.frauds} cases, {verdict.fraud_value_stopped:.0%} of their money stopped, ",
        end="",
    )
    print(f"{verdict.honest_refused:.2%} of honest trades refused")


def _tell_quotes(workspace: Workspace, market: Any, *, now: datetime) -> None:
    from pipelines.demo import example_submissions
    from serving.api.schemas import Submission
    from serving.client import HuikaProblem
    from serving.commands.demo_recycling import tell_recycling

    _head(5, "The service answers over HTTP 在线报价")
    examples = example_submissions(market, today=day_in_china(now))
    with _service(workspace) as client:
        print(f"   {client.base_url} is ready")
        try:
            quotes = [client.quote(Submission.model_validate(example)) for _, example in examples]
            for (title, _), quote in zip(examples, quotes, strict=True):
                _print_quote(title, quote)
            _tell_acceptance(client, quotes[0])
            _head(6, "The recycling flow, against the sandbox of partners 回收流程")
            tell_recycling(workspace, market, client)
        except HuikaProblem as problem:
            raise Refusal(f"the service answered {problem}") from None


def _tell_acceptance(client: HuikaClient, quote: Quote) -> None:
    from serving.api.schemas import Accepted

    event = Accepted(kind="accepted", event_id=f"demo-{quote.quote_id}", trade_id=quote.trade_id)
    receipt, board = client.tell(event), client.prices().prices
    print(
        f"   first quote accepted: event {receipt.status}; price board 价格公示: {len(board)} types of the catalogue"
    )


def _print_quote(title: str, quote: Quote) -> None:
    print(f"   {title}")
    worth = "worth at most" if quote.no_offer else "payout"
    print(f"     rate {quote.rate:.4f}  {worth} ¥{quote.payout.amount_fen / 100:,.2f}", end="")
    print(f"  {quote.decision.upper()}", end="")
    print(f"  fraud {quote.fraud_probability:.2%}  accepts {quote.acceptance_probability:.0%}")
    # Risks stand behind prices: what stops a card is told last.
    for reason in quote.reasons[:3] if quote.decision == "pay" else quote.reasons[-3:]:
        print(f"       {reason.code}: {reason.zh} / {reason.en}")


@contextmanager
def _service(workspace: Workspace) -> Iterator[HuikaClient]:
    """`huika serve` on a free port, stopped at the end."""
    from serving.api.access.roles import Role
    from serving.client import HuikaClient
    from serving.commands.access import end_keys, make_key
    from serving.commands.serve import prepare, service_command, service_environment

    prepare(workspace, progress=lambda done, total: None, now=datetime.now(UTC))
    key = make_key(workspace, name=KEY_NAME, roles=[Role.PRICING_CLIENT], now=datetime.now(UTC))
    port = _free_port()
    log = workspace.home / "service.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            service_command(host="127.0.0.1", port=port),
            env=os.environ | service_environment(workspace, workers=1),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            with HuikaClient(f"http://127.0.0.1:{port}", key, timeout=30) as client:
                _wait_until_ready(client, process, log)
                yield client
        finally:
            process.terminate()
            process.wait(timeout=30)
            end_keys(workspace, KEY_NAME, now=datetime.now(UTC))


def _wait_until_ready(client: HuikaClient, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise Refusal(f"the service ended at its start; see {log}")
        if client.is_ready():
            return
        time.sleep(0.2)
    raise Refusal(f"the service was not ready after {START_SECONDS} s; see {log}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _tell_next(workspace: Workspace, *, seconds: float) -> None:
    home = shown(workspace.home)
    _head(7, f"Done in {seconds:.0f} s; where to look next 接下来")
    huika = "huika" if shutil.which("huika") else ".venv/bin/huika"
    print(f"   {huika} status --home {home}    what is in the workspace")
    print(f"   {huika} serve --home {home}     keep the service running")
    print(f"   {huika} recycling numbers --home {home}    what became of the trades")
    print(f"   {huika} features     the data dictionary;   {huika} cards 京东     the catalogue")


def _head(number: int, text: str) -> None:
    print(f"\n{number}. {text}", flush=True)


def shown(path: Path) -> str:
    """A path as short as it can be said from here."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
