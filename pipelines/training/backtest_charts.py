"""Charts of a backtest as SVG that stands inside a page and takes its colours."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.training.backtest_series import Series

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK = "#1d2331"
"""Stands for the page's own text colour, which replaces it."""
LOG, MODEL, JUDGED, BEST = "#8a94a3", "#d9480f", "#1c7ed6", "#2b8a3e"
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
YUAN = 100.0


def profit_chart(series: Series, starts: Sequence[np.datetime64]) -> str:
    """Cumulative profit by day of submission."""
    lines = [
        ("log, realised", series.logged_fen, LOG, "-"),
        ("models, predicted", series.predicted_fen, MODEL, "-"),
    ]
    if series.truth_fen:
        lines += [
            ("log, by the oracle", series.truth_fen["logged_fen"], LOG, "--"),
            ("models, by the oracle", series.truth_fen["model_fen"], JUDGED, "-"),
            ("best possible", series.truth_fen["best_fen"], BEST, "--"),
        ]
    with _Drawing(starts) as drawing:
        axes = drawing.axes()
        for name, fen, colour, style in lines:
            axes.plot(series.days, np.cumsum(fen) / YUAN, style, color=colour, label=name)
        axes.set(ylabel="yuan, cumulative")
        axes.yaxis.set_major_formatter("{x:,.0f}")
        axes.legend(loc="upper left")
        return drawing.svg()


def stock_chart(series: Series, starts: Sequence[np.datetime64]) -> str:
    """Cards in stock at the end of each day."""
    with _Drawing(starts) as drawing:
        axes = drawing.axes()
        axes.plot(series.days, series.stock_logged, color=LOG, label="log")
        axes.plot(series.days, series.stock_model, color=MODEL, label="models, expected")
        axes.set(ylabel="cards", ylim=(0, None))
        axes.legend(loc="lower right")
        return drawing.svg()


def coverage_chart(series: Series, starts: Sequence[np.datetime64]) -> str:
    """Share of resales inside their range, by week of submission."""
    with _Drawing(starts) as drawing:
        axes = drawing.axes()
        for (name, shares), colour in zip(series.coverage.items(), (MODEL, JUDGED), strict=True):
            axes.plot(series.weeks, shares, "o-", color=colour, label=f"{name} % range")
            axes.axhline(int(name) / 100, linestyle="--", linewidth=0.8, color=colour)
        axes.set(ylabel="share inside", xlabel="week of submission", ylim=(0.5, 1.0))
        axes.yaxis.set_major_formatter(lambda value, place: f"{value:.0%}")
        axes.legend(loc="lower left")
        return drawing.svg()


def rates_chart(series: Series, starts: Sequence[np.datetime64]) -> str:
    """Daily mean rate of the largest kinds of cards, a panel each; empty without any."""
    if not series.rates:
        return ""
    rows = -(-len(series.rates) // 2)
    with _Drawing(starts) as drawing:
        panels = drawing.panels(rows, 2)
        for axes, (kind, rates) in zip(panels, series.rates.items(), strict=False):
            axes.plot(series.days, rates["log"], color=LOG, label="log")
            axes.plot(series.days, rates["model"], color=MODEL, label="models")
            axes.set_title(kind, fontsize=10)
        for axes in panels[len(series.rates) :]:
            axes.set_visible(False)
        panels[0].legend(loc="best")
        return drawing.svg()


class _Drawing:
    """One figure in the style of the page. starts: days on which a step began, drawn as fine lines."""

    def __init__(self, starts: Sequence[np.datetime64]) -> None:
        from matplotlib import rc_context
        from matplotlib.figure import Figure

        self._starts = starts
        self._style = rc_context(STYLE)  # type: ignore[arg-type]
        self._figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained", facecolor="none")

    def __enter__(self) -> _Drawing:
        self._style.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._style.__exit__(*error)

    def axes(self) -> Axes:
        return self._prepared(self._figure.add_subplot())

    def panels(self, rows: int, columns: int) -> list[Axes]:
        self._figure.set_size_inches(WIDTH, 2.0 * rows + 0.4)
        grid = self._figure.subplots(rows, columns, sharex=True, squeeze=False)
        return [self._prepared(axes) for axes in grid.ravel()]

    def _prepared(self, axes: Axes) -> Axes:
        from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

        axes.set_facecolor("none")
        locator = AutoDateLocator(maxticks=8)
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
        axes.grid(axis="y", linewidth=0.4, color=LOG, alpha=0.5)
        for start in self._starts:
            axes.axvline(start, linewidth=0.8, linestyle=":", color=LOG)  # type: ignore[arg-type]
        return axes

    def svg(self) -> str:
        """The picture without its XML head, as wide as its place."""
        buffer = io.StringIO()
        self._figure.savefig(buffer, format="svg", metadata={"Date": None})
        text = buffer.getvalue()
        head, body = text[text.index("<svg") :].replace(INK, "currentColor").split(">", 1)
        return re.sub(r' (width|height)="[^"]*"', "", head) + ' width="100%">' + body
