"""What the plots of both models have in common."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from models.evaluation.calibration import reliability_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_calibration(
    axes: Axes,
    *,
    probability: np.ndarray,
    outcome: np.ndarray,
    title: str,
    weight: np.ndarray | None = None,
) -> None:
    """What was predicted against what happened, in parts of equal size."""
    table = reliability_table(probability=probability, outcome=outcome, weight=weight)
    axes.plot([row.mean_probability for row in table], [row.rate for row in table], "o-")
    top = max([0.01, *(max(row.mean_probability, row.rate) for row in table)])
    axes.plot([0, top], [0, top], "--", color="grey")
    axes.set(xlabel="predicted", ylabel="happened", title=f"{title}: calibration")


def two_panels() -> tuple[Any, Any]:
    """A figure, and its left and right panel."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(1, 2)


def save(figure: Any, path: Path) -> Path:
    """Write the figure and return where."""
    figure.savefig(path, dpi=110)
    return path
