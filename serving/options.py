"""Options that every command shares."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Home = Annotated[
    Path,
    typer.Option("--home", envvar="HUIKA_HOME", help="Workspace folder.", show_default=True, file_okay=False),
]
DEFAULT_HOME = Path(".huika")
