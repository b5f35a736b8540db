"""``huika report``: pages about a period."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from serving.commands.train import parse_time
from serving.options import DEFAULT_HOME, Home
from serving.refusals import Refusal

app = typer.Typer(
    add_completion=False, rich_markup_mode=None, no_args_is_help=True, help="Write a page about a period."
)


@app.callback()
def report() -> None:
    """Write a page about a period."""


@app.command()
def fraud(
    out: Annotated[
        Path, typer.Argument(help="The page to write, a name that ends in .html.", dir_okay=False)
    ],
    since: Annotated[
        str,
        typer.Option(
            "--from", metavar="TIME", help="Trades submitted from this time on; default: the first."
        ),
    ] = "",
    until: Annotated[
        str, typer.Option("--to", metavar="TIME", help="Trades before this time; default: the newest too.")
    ] = "",
    csv: Annotated[
        Path | None,
        typer.Option("--csv", metavar="DIR", help="Folder for every table as a CSV file.", file_okay=False),
    ] = None,
    home: Home = DEFAULT_HOME,
) -> None:
    """What came in, what was caught, missed and wrongly stopped, and what to look at: one file that opens offline."""
    from pipelines.reporting.fraud_cases import NothingToReport
    from pipelines.reporting.fraud_material import read_material
    from pipelines.reporting.fraud_report import write_report
    from pipelines.workspace import Workspace
    from serving.progress import bar

    if out.suffix.lower() not in (".html", ".htm"):
        raise Refusal(f"{out}: the report is a page; give it a name that ends in .html")
    first, last = parse_time(since), parse_time(until)
    if not home.exists():
        raise Refusal(f"no workspace at {home}")
    try:
        with bar("scores") as progress:
            material = read_material(
                Workspace.open(home), since=first, until=last, now=datetime.now(UTC), progress=progress
            )
        written = write_report(material, out=out, folder=csv, now=datetime.now(UTC))
    except NothingToReport as error:
        raise Refusal(str(error)) from error
    print(f"{len(material.cases):,} trades, fraud model version {material.champion.version}: {out}")
    if csv is not None:
        print(f"{len(written) - 1} tables in {csv}")
