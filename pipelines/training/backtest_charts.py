"""Charts of a backtest as SVG that stands inside a page and takes its colours."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipelines.reporting.drawing import BLUE, GREEN, GREY, ORANGE, Drawing
from pipelines.training.backtest_series import Series

LOG, MODEL, JUDGED, BEST = GREY, ORANGE, BLUE, GREEN
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
    with Drawing(starts=starts) as drawing:
        axes = drawing.axes()
        for name, fen, colour, style in lines:
            axes.plot(series.days, np.cumsum(fen) / YUAN, style, color=colour, label=name)
        axes.set(ylabel="yuan, cumulative")
        axes.yaxis.set_major_formatter("{x:,.0f}")
        axes.legend(loc="upper left")
        return drawing.svg()


def stock_chart(series: Series, starts: Sequence[np.datetime64]) -> str:
    """Cards in stock at the end of each day."""
    with Drawing(starts=starts) as drawing:
        axes = drawing.axes()
        axes.plot(series.days, series.stock_logged, color=LOG, label="log")
        axes.plot(series.days, series.stock_model, color=MODEL, label="models, expected")
        axes.set(ylabel="cards", ylim=(0, None))
        axes.legend(loc="lower right")
        return drawing.svg()


def coverage_chart(series: Series, starts: Sequence[np.datetime64]) -> str:
    """Share of resales inside their range, by week of submission."""
    with Drawing(starts=starts) as drawing:
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
    with Drawing(starts=starts) as drawing:
        panels = drawing.panels(rows, 2)
        for axes, (kind, rates) in zip(panels, series.rates.items(), strict=False):
            axes.plot(series.days, rates["log"], color=LOG, label="log")
            axes.plot(series.days, rates["model"], color=MODEL, label="models")
            axes.set_title(kind, fontsize=10)
        for axes in panels[len(series.rates) :]:
            axes.set_visible(False)
        panels[0].legend(loc="best")
        return drawing.svg()
