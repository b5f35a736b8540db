"""Pictures as SVG that stand inside a page: they take its colours, and their words come in both languages."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK = "#1d2331"
"""Stands for the page's own text colour, which replaces it."""
GREY, ORANGE, BLUE, GREEN, RED, VIOLET = "#8a94a3", "#d9480f", "#1c7ed6", "#2b8a3e", "#c92a2a", "#7048e8"
WIDTH, HEIGHT = 10.0, 3.4
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "huika",
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "font.size": 9.5,
}


class Drawing:
    """One figure in the style of the page. starts: days on which something began, drawn as fine lines."""

    def __init__(
        self,
        *,
        starts: Sequence[np.datetime64] = (),
        dates: bool = True,
        width: float = WIDTH,
        height: float = HEIGHT,
    ) -> None:
        """dates: whether the horizontal axis is time. width, height: in inches of 72 points."""
        from matplotlib import rc_context
        from matplotlib.figure import Figure

        self._starts = starts
        self._dates = dates
        self._style = rc_context(STYLE)  # type: ignore[arg-type]
        self._figure = Figure(figsize=(width, height), layout="constrained", facecolor="none")

    def __enter__(self) -> Drawing:
        self._style.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._style.__exit__(*error)

    def axes(self) -> Axes:
        return self._prepared(self._figure.add_subplot())

    def panels(self, rows: int, columns: int, *, row_height: float = 2.0, share_x: bool = True) -> list[Axes]:
        """Panels row by row; the figure becomes as high as they need."""
        self._figure.set_size_inches(self._figure.get_figwidth(), row_height * rows + 0.4)
        grid = self._figure.subplots(rows, columns, sharex=share_x, squeeze=False)
        return [self._prepared(axes) for axes in grid.ravel()]

    def _prepared(self, axes: Axes) -> Axes:
        from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

        axes.set_facecolor("none")
        if self._dates:
            locator = AutoDateLocator(maxticks=8)
            axes.xaxis.set_major_locator(locator)
            axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
        axes.grid(axis="y", linewidth=0.4, color=GREY, alpha=0.5)
        for start in self._starts:
            axes.axvline(start, linewidth=0.8, linestyle=":", color=GREY)  # type: ignore[arg-type]
        return axes

    @staticmethod
    def legend_above(axes: Axes, *, columns: int) -> None:
        """A legend over the axes, where it hides nothing."""
        axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=columns, borderaxespad=0.1)

    def svg(self, chinese: Mapping[str, str] | None = None) -> str:
        """The picture without its XML head, as wide as its place. chinese: what an English text of the picture says
        in Chinese; such a text is there in both languages, of which the page shows one."""
        buffer = io.StringIO()
        self._figure.savefig(
            buffer, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type"))
        )
        text = buffer.getvalue()
        head, body = text[text.index("<svg") :].replace(INK, "currentColor").split(">", 1)
        body = re.sub(r'<g id="[^"]*"', "<g", body)  # many pictures stand in one page
        for english, zh in (chinese or {}).items():
            body = body.replace(f">{escape(english, quote=False)}</text>", f">{_both(zh, english)}</text>")
        return re.sub(r' (width|height)="[^"]*"', "", head) + ' width="100%">' + body


def _both(zh: str, english: str) -> str:
    return f'<tspan class="zh">{escape(zh)}</tspan><tspan class="en">{escape(english)}</tspan>'
