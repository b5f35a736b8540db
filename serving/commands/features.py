"""``huika features``: the data dictionary, and the care of the live features."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from serving.options import DEFAULT_HOME, Home
from serving.refusals import Refusal

if TYPE_CHECKING:
    from pipelines.consistency import Consistency

MOST_SHOWN = 20


class _ListByDefault(TyperGroup):
    """``huika features seller`` means ``huika features list seller``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        named = bool(args) and (args[0] in self.commands or args[0] == "--help")
        return super().parse_args(ctx, args if named else ["list", *args])


features = typer.Typer(
    cls=_ListByDefault,
    add_completion=False,
    rich_markup_mode=None,
    help="The data dictionary, and the care of the live features. `huika features seller --model fraud` searches the "
    "dictionary; `huika features list --help` shows its options.",
)


@features.command("list")
def list_features(
    search: Annotated[
        str, typer.Argument(help="Show only features whose name, family or text has this.")
    ] = "",
    model: Annotated[
        str, typer.Option("--model", help="Only the features of this model: discount or fraud.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
    home: Home = DEFAULT_HOME,
) -> None:
    """Print the data dictionary: every feature with meaning, unit, range, as-of rule and what null means."""
    from features.definitions import FEATURES

    if model not in ("", "discount", "fraud"):
        raise Refusal(f"--model is discount or fraud, not {model}")
    text = search.lower()
    rows = [
        item.to_dict()
        for item in FEATURES
        if (not model or model in item.models)
        and text in f"{item.name} {item.family} {item.meaning} {item.zh}".lower()
    ]
    if not rows:
        raise Refusal(f"no feature has {search!r} in its name, family or text")
    if as_json:
        print(json.dumps({"version": FEATURES.version(), "features": rows}, ensure_ascii=False, indent=1))
    else:
        _print_dictionary(rows, FEATURES.version())


def _print_dictionary(rows: list[dict[str, Any]], version: str) -> None:
    from rich.table import Table

    from serving.output import console

    table = Table(title=f"{len(rows)} features, definitions {version}", show_lines=False)
    headings = {"name": "name", "family": "family", "unit": "unit", "range": "range", "meaning": "meaning"}
    headings |= {"zh": "中文", "as_of": "sees", "null": "null means"}
    for key, heading in headings.items():
        table.add_column(heading, overflow="fold", no_wrap=key == "name")
    for row in rows:
        table.add_row(*(str(row[key]) for key in headings))
    console().print(table)


@features.command("check")
def check(
    newest: Annotated[
        int, typer.Option(help="How many of the newest quoted trades to compare.", min=1)
    ] = 1_000,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
    home: Home = DEFAULT_HOME,
) -> None:
    """Compare the features that quotes were answered from with their offline values; exit code 1 at a fault.

    equal; late: explained by what was told after the quote; different, missing: faults; gone: the definition of that
    time is no longer in the registry; unexplained: too many to look into.
    """
    from features.definitions import FEATURES
    from pipelines.consistency import check_consistency
    from pipelines.workspace import Workspace
    from serving.progress import bar

    workspace = Workspace.open(home)
    with bar("features computed again") as progress:
        found = check_consistency(workspace, registry=FEATURES, newest=newest, progress=progress)
    if not found.quotes:
        raise Refusal("no quote with features was recorded yet; `huika serve` records them")
    if as_json:
        print(json.dumps(_as_json(found), ensure_ascii=False, indent=1))
    else:
        _print_consistency(found)
    if found.faults:
        raise Refusal(f"{found.faults:,} values are not what training will see")


def _as_json(found: Consistency) -> dict[str, Any]:
    return {
        "quotes": found.quotes,
        "unknown_trades": found.unknown_trades,
        "features": {name: dict(count) for name, count in found.counts.items()},
        "differences": [vars(item) | {"feature": item.feature} for item in found.differences],
    }


def _print_consistency(found: Consistency) -> None:
    from rich.table import Table

    from pipelines.consistency import KINDS
    from serving.output import console

    uneven = {name: count for name, count in found.counts.items() if set(count) - {"equal"}}
    totals = ", ".join(f"{kind} {found.total(kind):,}" for kind in KINDS)
    print(f"{found.quotes:,} quoted trades, {len(found.counts)} features: {totals}")
    if found.unknown_trades:
        print(f"{found.unknown_trades:,} of the trades are not in the tables any more")
    if uneven:
        table = Table("feature", *KINDS)
        for name, count in uneven.items():
            table.add_row(name, *(f"{count[kind]:,}" for kind in KINDS))
        console().print(table)
    for item in found.differences[:MOST_SHOWN]:
        print(
            f"  {item.kind}: {item.feature} of {item.trade_id}: quoted {item.logged}, offline {item.offline}"
        )


@features.command("rebuild")
def rebuild(
    if_missing: Annotated[
        bool, typer.Option("--if-missing", help="Only where there are none any more.")
    ] = False,
    home: Home = DEFAULT_HOME,
) -> None:
    """Write the live state of every seller, device, card type, … anew from the stored tables.

    A service may run meanwhile; until the states are there its quotes are cautious and say why.
    """
    from pipelines.application_data import ApplicationData
    from pipelines.live_state import open_live_log, rebuild_live_state, restore_live_state
    from pipelines.training.collecting import with_collected
    from pipelines.wiring import feature_store
    from pipelines.workspace import Workspace
    from serving.progress import bar

    workspace = Workspace.open(home)
    store = feature_store(workspace)
    log = open_live_log(workspace, store=store, data=ApplicationData(workspace.application_url))
    with bar("live state") as progress:
        write = partial(
            restore_live_state if if_missing else rebuild_live_state,
            workspace,
            log=log,
            store=store,
            progress=progress,
        )
        # A time after everything that was collected.
        written = with_collected(workspace, lambda held: write(held=held, now=datetime.now(UTC)))
    print(f"{written:,} entity states written from {workspace.tables.rows('trades'):,} trades")
