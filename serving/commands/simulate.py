"""``huika simulate``: a synthetic market in files, or whole days of trades through the recycling flow."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from serving.refusals import Refusal

if TYPE_CHECKING:
    from pipelines.simulation import Market


@dataclass(frozen=True)
class _Summary:
    """What to look at first in a simulated market; shares of trades, None where nothing was offered."""

    trades: int
    market_rows: int
    card_types: int
    sellers: int
    offered_share: float
    accepted_share: float | None
    fraud_share: float


ALL = "all"


class _ProfileAlone(TyperCommand):
    """``--profile`` without a value means all of them."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse, with the value that was left out."""
        alone = [at for at, word in enumerate(args) if word == "--profile" and _ends(args[at + 1 : at + 2])]
        for at in reversed(alone):
            args.insert(at + 1, ALL)
        return super().parse_args(ctx, args)


def _ends(following: list[str]) -> bool:
    return not following or following[0].startswith("-")


simulation = typer.Typer(add_completion=False, rich_markup_mode=None)


OutDir = Annotated[
    Path | None,
    typer.Argument(
        help="Folder to write a market into; absent, empty, or an earlier simulation. Left out: whole days of "
        "trades go through the recycling flow, and a table compares the profiles."
    ),
]
Trades = Annotated[int | None, typer.Option("--trades", help="Cards offered: 50,000; 300 through the flow.")]
Days = Annotated[int | None, typer.Option("--days", help="Days: 180; 3 through the flow.")]
Seed = Annotated[int, typer.Option("--seed", help="The same seed gives the same bytes.")]
ProfileName = Annotated[
    str,
    typer.Option(
        "--profile",
        help="Who wrote the log: small, medium or head (the default). Through the flow: some of them, or all.",
    ),
]
Start = Annotated[str, typer.Option("--start", help="First day, YYYY-MM-DD, in China.")]
Until = Annotated[
    str,
    typer.Option(
        "--until",
        help="Let the market reach until a moment, in place of --start: now, or a time such as "
        "2026-03-01T15:00:00+08:00.",
    ),
]
FraudShare = Annotated[float, typer.Option("--fraud-share", help="Share of fraudulent cards.")]
Jitter = Annotated[
    bool, typer.Option("--jitter/--no-jitter", help="Whether the log's offers were moved at random.")
]
HalfWidth = Annotated[float, typer.Option("--jitter-half-width", help="Largest random move, of face value.")]
Acceptance = Annotated[
    str,
    typer.Option(
        "--acceptance",
        help="Least rates of a card's sellers: logistic; skewed (a long tail content with less); or mixed "
        "(some compare with competitors, some are in a hurry).",
    ),
]
Confounded = Annotated[
    bool,
    typer.Option(
        "--confounded/--no-confounded",
        help="A trader moved the offers by what he saw of seller and market; the log does not hold it.",
    ),
]
ShockDay = Annotated[
    int | None,
    typer.Option(
        "--shock-day",
        help="From this day of the log on (0 is the first) prices fall, competitors pay less and sellers "
        "answer differently.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable summary.")]


@simulation.command(cls=_ProfileAlone)
def simulate(
    out_dir: OutDir = None,
    trades: Trades = None,
    days: Days = None,
    seed: Seed = 7,
    profile: ProfileName = "",
    start: Start = "2025-09-01",
    until: Until = "",
    fraud_share: FraudShare = 0.02,
    jitter: Jitter = True,
    jitter_half_width: HalfWidth = 0.02,
    acceptance: Acceptance = "logistic",
    confounded: Confounded = False,
    shock_day: ShockDay = None,
    as_json: AsJson = False,
) -> None:
    """Write a synthetic market: tables to import, and beside them the oracle that knows the truth. Without a folder:
    drive whole days of trades through the flow for each profile, and compare."""
    if out_dir is None:
        from serving.commands.recycling_simulate import simulate_days

        wanted = "small,medium,head" if profile in ("", ALL) else profile
        return simulate_days(
            days=days or 3, trades=trades or 300, profiles=wanted, seed=seed, home=None, as_json=as_json
        )
    told = {
        "trades": 50_000 if trades is None else trades,
        "days": 180 if days is None else days,
        "seed": seed,
        "profile": profile or "head",
        **({"until": _moment(until)} if until else {"start": _day(start)}),
        "jitter": jitter,
        "jitter_half_width": jitter_half_width,
        "fraud_share": fraud_share,
        "acceptance": acceptance,
        "confounded": confounded,
        "shock_day": shock_day,
    }
    _print(_summary(_written(told, out_dir)), out_dir, as_json)
    return None


def _written(told: Mapping[str, Any], out_dir: Path) -> Market:
    """The market of a world as it was told, in its folder. Raises Refusal."""
    from pipelines.simulation import OccupiedFolder, World, WorldError, write
    from pipelines.simulation import simulate as simulate_world
    from pipelines.simulation.market import check_folder

    try:
        world = World.ending(**told) if "until" in told else World(**told)
        check_folder(out_dir)
        with _stages() as on_stage:
            market = simulate_world(world, on_stage=on_stage)
            on_stage("files")
            write(market, out_dir)
    except (WorldError, OccupiedFolder) as error:
        raise Refusal(str(error)) from error
    return market


def _day(text: str) -> dt.date:
    try:
        return dt.date.fromisoformat(text)
    except ValueError as error:
        raise Refusal(f"--start must be a day such as 2025-09-01, not {text!r}") from error


def _moment(text: str) -> dt.datetime:
    if text == "now":
        return dt.datetime.now(dt.UTC)
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise Refusal(f"--until must be now, or a time such as 2026-03-01T15:00:00+08:00, not {text!r}")
    return moment


@contextmanager
def _stages() -> Iterator:
    """A callable that takes the name of the stage now beginning and moves the bar."""
    from pipelines.simulation.market import STAGES
    from serving.progress import bar

    with bar("synthetic market") as progress:
        yield lambda stage: progress(STAGES.index(stage), len(STAGES))


def _summary(market: Market) -> _Summary:
    import pyarrow.compute as pc

    return _Summary(
        trades=len(market.trades),
        market_rows=len(market.market),
        card_types=len(market.card_types),
        sellers=pc.count_distinct(market.trades["seller_id"]).as_py(),
        offered_share=pc.mean(pc.is_valid(market.trades["offered_rate"])).as_py(),
        accepted_share=pc.mean(market.trades["accepted"]).as_py(),
        fraud_share=pc.mean(market.oracle["is_fraud"]).as_py(),
    )


def _print(summary: _Summary, out_dir: Path, as_json: bool) -> None:
    import json

    from rich.console import Console

    if as_json:
        print(json.dumps(asdict(summary) | {"folder": str(out_dir)}, ensure_ascii=False, indent=1))
        return
    accepted = "–" if summary.accepted_share is None else f"{summary.accepted_share:.1%}"
    console = Console(highlight=False)
    console.print(
        f"{summary.trades:,} trades by {summary.sellers:,} sellers, {summary.card_types} card types, "
        f"{summary.market_rows:,} market rows in [bold]{out_dir}[/]"
    )
    console.print(f"offers {summary.offered_share:.1%}, accepted {accepted}, fraud {summary.fraud_share:.1%}")
    console.print(
        f"next: huika import --trades {out_dir}/trades.parquet --market {out_dir}/market.parquet "
        f"--card-types {out_dir}/card_types.parquet",
        soft_wrap=True,
    )
