"""``huika features``: the data dictionary."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from serving.options import DEFAULT_HOME, Home


def features(
    search: Annotated[
        str, typer.Argument(help="Show only features whose name, family or text has this.")
    ] = "",
    model: Annotated[
        str, typer.Option("--model", help="Only the features of this model: discount or fraud.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
    home: Home = DEFAULT_HOME,
) -> None:
    """Print the data dictionary: every feature with meaning, unit, as-of rule and what null means."""
    from features.definitions import FEATURES
    from features.registry import AS_OF

    chosen = [item for item in FEATURES if not model or model in item.models]
    text = search.lower()
    chosen = [
        item for item in chosen if text in f"{item.name} {item.family} {item.meaning} {item.zh}".lower()
    ]
    rows = [
        {
            "name": item.name,
            "family": item.family,
            "unit": item.unit,
            "meaning": item.meaning,
            "zh": item.zh,
            "as_of": AS_OF[item.as_of],
            "null": item.null,
            "models": list(item.models),
        }
        for item in chosen
    ]
    if as_json:
        print(json.dumps({"version": FEATURES.version(), "features": rows}, ensure_ascii=False, indent=1))
        return
    _print(rows, FEATURES.version())


def _print(rows: list[dict], version: str) -> None:
    from rich.table import Table

    from serving.output import console

    table = Table(title=f"{len(rows)} features, definitions {version}", show_lines=False)
    for heading in ("name", "family", "unit", "meaning", "中文", "sees", "null means"):
        table.add_column(heading, overflow="fold", no_wrap=heading == "name")
    for row in rows:
        table.add_row(*(row[key] for key in ("name", "family", "unit", "meaning", "zh", "as_of", "null")))
    console().print(table)
