"""Where commands print: wide enough to read in a file or a pipe, as wide as the window on a terminal."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

PIPE_WIDTH = 220


def console() -> Console:
    from rich.console import Console

    terminal = Console()
    return terminal if terminal.is_terminal else Console(width=PIPE_WIDTH)


def figure(value: float) -> str:
    """A figure for people: whole numbers without decimals, large ones without noise, and 0 without a sign."""
    if not math.isfinite(value):
        return "-"
    if value == round(value) or abs(value) >= 1_000:
        return f"{value:z,.0f}"
    return f"{value:z.4f}"
