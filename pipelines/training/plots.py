"""Plots logged with a model: what the figures look like on the trades that judged it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from models.discount.model import DiscountModel
from models.evaluation.calibration import reliability_table
from pipelines.training.examples import Examples

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def fraud_plots(*, fraud: np.ndarray, probability: np.ndarray, folder: Path) -> tuple[Path, ...]:
    """Precision over recall, and calibration."""
    from sklearn.metrics import precision_recall_curve

    figure, (left, right) = _two_panels()
    if fraud.any():
        precision, recall, _ = precision_recall_curve(fraud, probability)
        left.plot(recall, precision)
    left.set(
        xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1), title="Fraud found on later trades"
    )
    _calibration(right, probability=probability, outcome=fraud, title="Fraud probability")
    right.set(xscale="symlog", yscale="symlog")
    return (_save(figure, folder / "fraud.png"),)


def discount_plots(*, model: DiscountModel, test: Examples, folder: Path) -> tuple[Path, ...]:
    """Acceptance calibration, and the resale range against what cards were resold at."""
    figure, (left, right) = _two_panels()
    decided = np.isfinite(test.accepted) & np.isfinite(test.offered_rate)
    if decided.any():
        curve = model.acceptance_curve(columns=test.columns, rows=len(test))
        probability = curve.probability(test.offered_rate)[decided]
        _calibration(left, probability=probability, outcome=test.accepted[decided] == 1, title="Acceptance")
    resold = np.flatnonzero(np.isfinite(test.resale_rate))
    if len(resold):
        _resale(right, model, test.rows(resold))
    return (_save(figure, folder / "discount.png"),)


def _resale(axes: Axes, model: DiscountModel, resold: Examples) -> None:
    estimate = model.resale_estimate(columns=resold.columns, rows=len(resold))
    shown = np.argsort(estimate.mean, kind="stable")[:: max(1, len(resold) // 2000)]
    place = np.arange(len(shown))
    axes.plot(place, resold.resale_rate[shown], ".", markersize=2, color="grey", label="resold at")
    axes.fill_between(
        place,
        estimate.p10[shown],
        estimate.p90[shown],
        alpha=0.5,
        color="tab:orange",
        zorder=3,
        label="p10 to p90",
    )
    axes.set(xlabel="trades by expected resale", ylabel="resale rate", title="Resale range on later trades")
    axes.legend()


def _calibration(axes: Axes, *, probability: np.ndarray, outcome: np.ndarray, title: str) -> None:
    table = reliability_table(probability=probability, outcome=outcome)
    axes.plot([row.mean_probability for row in table], [row.rate for row in table], "o-")
    top = max([0.01, *(max(row.mean_probability, row.rate) for row in table)])
    axes.plot([0, top], [0, top], "--", color="grey")
    axes.set(xlabel="predicted", ylabel="happened", title=f"{title}: calibration")


def _two_panels() -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(1, 2)


def _save(figure: Any, path: Path) -> Path:
    figure.savefig(path, dpi=110)
    return path
