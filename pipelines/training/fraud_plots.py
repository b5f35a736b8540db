"""Plots logged with a fraud model: what its figures look like on the trades that judged it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from models.evaluation.fraud import Judged
from models.evaluation.fraud_decay import WeekMetrics
from models.fraud.decision import REFUSE, REVIEW, action_costs_fen
from pipelines.settings import Settings
from pipelines.training.plots import draw_calibration, save, two_panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_STOPPED = 0.25
"""Cost curves end at this share of trades stopped: nobody stops more."""

SCORE_BINS = 40


def fraud_plots(
    judged: Judged, *, weeks: Sequence[WeekMetrics], settings: Settings, folder: Path
) -> tuple[Path, ...]:
    """Precision over recall and calibration; cost by share stopped and the scores; the weeks since training."""
    figure, (left, right) = two_panels()
    _precision(left, judged)
    draw_calibration(
        right,
        probability=judged.probability,
        outcome=judged.fraud,
        weight=judged.weight,
        title="Fraud probability",
    )
    right.set(xscale="symlog", yscale="symlog")
    first = save(figure, folder / "fraud.png")
    figure, (left, right) = two_panels()
    _cost(left, judged, settings)
    _scores(right, judged)
    second = save(figure, folder / "fraud_cost.png")
    figure, (left, right) = two_panels()
    _ranking_by_week(left, weeks)
    _level_by_week(right, weeks)
    return first, second, save(figure, folder / "fraud_weeks.png")


def _precision(axes: Axes, judged: Judged) -> None:
    from sklearn.metrics import precision_recall_curve

    if judged.fraud.any():
        precision, recall, _ = precision_recall_curve(
            judged.fraud, judged.probability, sample_weight=judged.weight
        )
        axes.plot(recall, precision)
    axes.set(
        xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1), title="Fraud found on later trades"
    )


def _cost(axes: Axes, judged: Judged, settings: Settings) -> None:
    """Realised cost when the riskiest share is refused, or reviewed, and the rest paid; the decisions' own cost."""
    order = np.argsort(-judged.probability, kind="stable")
    weights = judged.weights[order]
    stopped = np.append(0.0, np.cumsum(weights)) / weights.sum()
    shown = stopped <= MOST_STOPPED
    by_action = action_costs_fen(
        probability=np.asarray(judged.fraud, dtype=np.float64)[order],
        payout_fen=judged.payout_fen[order],
        face_value_fen=judged.face_value_fen[order],
        costs=settings.costs,
        decision=settings.decision,
    )
    paid = float(by_action[:, 0] @ weights)
    for action, label in ((REFUSE, "refused"), (REVIEW, "reviewed")):
        saved = np.append(0.0, np.cumsum((by_action[:, 0] - by_action[:, action]) * weights))
        axes.plot(100 * stopped[shown], 10 * (paid - saved[shown]) / weights.sum(), label=label)
    own = judged.cost_fen(costs=settings.costs, decision=settings.decision) @ judged.weights
    axes.axhline(10 * own / weights.sum(), ls="--", color="grey", label="the decisions taken")
    axes.set(
        xlabel="riskiest trades stopped, %", ylabel="CNY per 1,000 trades", title="Cost of fraud and of care"
    )
    axes.legend()


def _scores(axes: Axes, judged: Judged) -> None:
    """How probabilities of honest and of fraudulent trades spread."""
    floor = 1e-4
    log_p = np.log10(np.maximum(judged.probability, floor))
    edges = np.linspace(np.log10(floor), 0.0, SCORE_BINS + 1)
    for name, rows in (("honest", ~judged.fraud), ("fraud", judged.fraud)):
        if rows.any():
            share, _ = np.histogram(log_p[rows], edges, weights=judged.weights[rows])
            axes.stairs(share / share.sum(), 10**edges, fill=True, alpha=0.5, label=name)
    axes.set(xscale="log", xlabel="fraud probability", ylabel="share of each", title="Scores on later trades")
    axes.legend()


def _ranking_by_week(axes: Axes, weeks: Sequence[WeekMetrics]) -> None:
    """Average precision and recall; hollow where a week has too few trades or frauds to say much."""
    for label, values in (
        ("average precision", [week.average_precision for week in weeks]),
        ("recall at 1 % of honest trades flagged", [week.recall_at_1pct_fpr for week in weeks]),
    ):
        _draw_weeks(axes, weeks, values, label)
    axes.set(xlabel="week since training", ylim=(0, 1), title="Ranking, week by week")
    axes.legend(loc="lower left")


def _level_by_week(axes: Axes, weeks: Sequence[WeekMetrics]) -> None:
    """What was predicted over what happened."""
    _draw_weeks(axes, weeks, [week.calibration_ratio for week in weeks], "mean probability / rate")
    axes.axhline(1.0, ls="--", color="grey")
    axes.set(xlabel="week since training", title="Level, week by week")
    axes.set_ylim(bottom=0)
    axes.legend(loc="lower left")


def _draw_weeks(axes: Axes, weeks: Sequence[WeekMetrics], values: Sequence[float], label: str) -> None:
    from matplotlib.ticker import MaxNLocator

    number, height = np.array([week.week for week in weeks]), np.array(values, dtype=np.float64)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    (line,) = axes.plot(number, height, "-", label=label)
    few = np.array([not week.enough for week in weeks], dtype=bool)
    color = line.get_color()
    axes.plot(number[~few], height[~few], "o", color=color)
    axes.plot(number[few], height[few], "o", color=color, markerfacecolor="none")
