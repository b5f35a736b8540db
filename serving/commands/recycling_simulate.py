"""``huika recycling simulate``: whole days of trades driven through the flow for each profile, side by side."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serving.commands.recycling_numbers import TITLES, shown
from serving.refusals import Refusal

if TYPE_CHECKING:
    from pipelines.recycling.policy import Name
    from pipelines.recycling.ports import Pricing
    from pipelines.simulation.partners import SimulatedClock
    from pipelines.simulation.sold_cards import SoldCard
    from pipelines.simulation.whole_days import DaysFound

START = date(2026, 3, 2)
"""The first day where no workspace names one: a Monday."""
BEFORE = timedelta(minutes=1)

OWN_TITLES = {
    "offered": "送来 offered",
    "fraud_loss_fen": "欺诈损失 fraud loss",
    "stuck_trades": "卡住 stuck",
    "people_hours": "人工小时 people-hours",
    "books_at_zero": "账平 books at zero",
}
"""Of what only a simulation knows."""
ROWS = (
    "offered",
    "trades",
    "refused_share",
    "by_hand_share",
    "response_seconds_p50",
    "paid_seconds_p50",
    "returning_share",
    "bait_and_cut",
    "complaint_share",
    "complaint_cost_fen",
    "fraud_loss_fen",
    "stock_fen",
    "bought_fen",
    "fees_fen",
    "frozen_fen",
    "settled_fen",
    "paid_fen",
    "stuck_trades",
    "people_hours",
    "books_at_zero",
)


def simulate_days(
    days: Annotated[int, typer.Option(help="Days on which sellers come.", min=1, max=60)] = 3,
    trades: Annotated[int, typer.Option(help="Cards that they bring.", min=1, max=20_000)] = 300,
    profiles: Annotated[
        str, typer.Option(help="Profiles to compare: small, medium, head.")
    ] = "small,medium,head",
    seed: Annotated[int, typer.Option(help="The same seed gives the same table.", min=0)] = 1,
    home: Annotated[
        Path | None,
        typer.Option("--home", help="Price with the models of this workspace, which stays as it is."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
) -> None:
    """Drive whole days of trades through the flow for each profile, without waiting, and compare. 整日模拟。

    Sellers, fraudsters and people are simulated, and so are issuer, checks and payouts. Without --home a card brings
    90 % of what it holds, and a stand-in for the fraud model knows 60 % of the fraudulent cards.
    """
    names = _names(profiles)
    with tempfile.TemporaryDirectory(prefix="huika-days-") as folder:
        found = _compared(Path(folder), names, days=days, trades=trades, seed=seed, home=home)
    told = [_told(one) for one in found]
    if as_json:
        print(json.dumps(told, ensure_ascii=False, allow_nan=False))
    else:
        _print(told)
    wrong = [f"{one.profile}: {what}" for one in found for what in one.wrong]
    if wrong:
        raise Refusal("the books are wrong: " + "; ".join(wrong))


def _names(profiles: str) -> list[Name]:
    from pipelines.recycling.policy import PROFILES

    wanted = [name.strip() for name in profiles.split(",") if name.strip()]
    known: dict[str, Name] = {name: name for name in PROFILES}
    unknown = [name for name in wanted if name not in known]
    if unknown or not wanted or len(set(wanted)) != len(wanted):
        raise Refusal(f"--profiles takes some of {', '.join(known)}, each once")
    return [known[name] for name in wanted]


def _compared(
    folder: Path, names: Sequence[Name], *, days: int, trades: int, seed: int, home: Path | None
) -> list[DaysFound]:
    from pipelines.simulation.sold_cards import sold_cards
    from serving.progress import bar

    start = START if home is None else _day_after(home)
    cards = sold_cards(days=days, trades=trades, seed=seed, start=start)
    found = []
    with bar("whole days") as progress:
        for place, name in enumerate(names):
            own = folder / name
            moved = _share(progress, place, len(names))
            found.append(_driven(own, name, cards, seed=seed, home=home, progress=moved))
    return found


def _share(progress: Callable[[int, int], None], place: int, runs: int) -> Callable[[int, int], None]:
    return lambda done, total: progress(place * total + done, runs * total)


def _driven(
    folder: Path,
    name: Name,
    cards: Sequence[SoldCard],
    *,
    seed: int,
    home: Path | None,
    progress: Callable[[int, int], None],
) -> DaysFound:
    """One profile in a workspace of its own."""
    from pipelines.recycling.opening import PricingElsewhere, open_recycling
    from pipelines.simulation.partners import SimulatedClock, StatedPricing, stated_alarms
    from pipelines.simulation.whole_days import WholeDays
    from pipelines.workspace import Workspace

    clock = SimulatedClock(cards[0].at - BEFORE)
    if home is None:
        pricing: Pricing = StatedPricing(clock, stated_alarms(cards, seed=seed))
    else:
        pricing = _models(home, folder / "models", clock)
    opened = open_recycling(Workspace.open(folder / "flow"), pricing=PricingElsewhere(), clock=clock)
    days = WholeDays(opened, name, cards, clock, pricing, seed, progress=progress)
    return days.run()


def _day_after(home: Path) -> date:
    """The first day after the newest trade of a workspace. Raises Refusal without any."""
    import pyarrow.compute as pc

    from pipelines.workspace import Workspace

    if not home.exists():
        raise Refusal(f"no workspace at {home}")
    times = Workspace.open(home).tables.read("trades", ["submitted_at"])["submitted_at"]
    if not len(times):
        raise Refusal(f"{home} has no trades; import some and train first")
    return pc.max(times).as_py().date() + timedelta(days=1)


def _models(home: Path, target: Path, clock: SimulatedClock) -> Pricing:
    """The champions of a copy of a workspace, asked in this process at the simulated time."""
    from pipelines.workspace import Workspace
    from serving.api.wiring import build_desk
    from serving.commands.bench_workspace import copied
    from serving.commands.serve import prepare
    from serving.pricing_port import DeskPricing

    workspace = Workspace.open(copied(home, target))
    prepare(workspace, progress=lambda done, total: None, now=clock.now)
    desk = build_desk(workspace)
    if desk.engine.models.discount is None:
        raise Refusal(f"{home} has no model that prices; run huika train first")
    return DeskPricing(replace(desk, engine=replace(desk.engine, clock=clock)))


def _told(found: DaysFound) -> dict[str, Any]:
    numbers = asdict(found.numbers)
    said = numbers | {
        "profile": found.profile,
        "offered": found.offered,
        "at_the_door": found.at_the_door,
        "stuck": found.stuck,
        "stuck_trades": sum(found.stuck.values()),
        "fraud_loss_fen": found.fraud_loss_fen,
        "people_hours": round(found.people_hours, 2),
        "books_at_zero": found.books_sum_fen == 0 and not found.wrong,
    }
    return {name: None if value != value else value for name, value in said.items()}


def _print(told: Sequence[dict[str, Any]]) -> None:
    from rich.table import Table

    from serving.output import console

    table = Table("", *(one["profile"] for one in told))
    titles = TITLES | OWN_TITLES
    for name in ROWS:
        table.add_row(titles[name], *(shown(name, one[name]) for one in told))
    console().print(table)
