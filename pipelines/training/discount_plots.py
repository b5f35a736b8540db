"""Plots logged with a discount model: what its figures look like on the trades that judged it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from models.discount.model import DiscountModel, Known
from models.evaluation.coverage import SMALLEST_GROUP, share_by_group
from models.evaluation.profit import realised_profit_fen
from models.evaluation.surface import DAYS, Ladder, price_surface
from pipelines.settings import Settings
from pipelines.training.discount import outcomes_of
from pipelines.training.discount_worth import LOG, Worth
from pipelines.training.examples import Examples
from pipelines.training.plots import draw_calibration, save, two_panels
from pipelines.training.promotion_checks import Gain
from pipelines.training.splitting import DAY_US

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WEEK_US = 7 * DAY_US
MOST_POINTS = 2_000
NO_OPINION = "The log alone cannot judge any other prices"
SHOWN_TYPES = 6
SHOWN_DAYS = tuple(sorted({*DAYS, *np.linspace(0, 400, 81).tolist()}))
SHOWN_MOVES = tuple(np.linspace(-0.05, 0.05, 51).tolist())


def discount_plots(
    *, model: DiscountModel, test: Examples, settings: Settings, folder: Path
) -> tuple[Path, ...]:
    """Acceptance calibration and resale range; coverage and profit by week; the price surface."""
    known = model.know(
        columns=test.columns, face_value_fen=test.face_value_fen, costs=settings.costs, policy=settings.price
    )
    figure, (left, right) = two_panels()
    _acceptance(left, known, test)
    _resale(right, known, test)
    first = save(figure, folder / "discount.png")
    figure, (left, right) = two_panels()
    _coverage(left, known, test)
    _profit(right, known, test)
    second = save(figure, folder / "discount_weeks.png")
    figure, (left, right) = two_panels()
    _surface(left, right, model, test, settings)
    return first, second, save(figure, folder / "discount_surface.png")


def value_plots(worths: Sequence[Worth], *, folder: Path) -> tuple[Path, ...]:
    """What each policy's prices are worth by the referee, and what the log alone says they gain over its own offers;
    nothing where no offer was decided."""
    if not worths:
        return ()
    figure, (left, right) = two_panels()
    _bars(left, {worth.name: worth.by_referee for worth in worths})
    left.set(ylabel="CNY per offer", title="Profit by the referee, 95 % intervals")
    judged = [worth for worth in worths if worth.over_log.value is not None and worth.name != LOG]
    _bars(right, {_judged_name(worth): worth.over_log.gain for worth in judged})
    right.axhline(0, color="grey", lw=1)
    right.set(
        ylabel="CNY per offer", title="Off-policy gain over the logged offers" if judged else NO_OPINION
    )
    return (save(figure, folder / "discount_value.png"),)


def _judged_name(worth: Worth) -> str:
    value = worth.over_log.value
    return worth.name if value is None or value.whole else f"{worth.name},\nfirst step alone"


def _bars(axes: Axes, gains: Mapping[str, Gain]) -> None:
    for name, gain in gains.items():
        below, above = gain.estimate - gain.low, gain.high - gain.estimate
        axes.errorbar([name], [gain.estimate], yerr=[[below], [above]], fmt="o", capsize=4)


def _acceptance(axes: Axes, known: Known, test: Examples) -> None:
    decided = np.flatnonzero(outcomes_of(test).decided)
    probability = known.curve.rows(decided).probability(test.offered_rate[decided])
    if len(decided):
        draw_calibration(
            axes, probability=probability, outcome=test.accepted[decided] == 1, title="Acceptance"
        )


def _resale(axes: Axes, known: Known, test: Examples) -> None:
    """How far from the expected rate cards were resold, over the 90 % and the 80 % range."""
    resold, resale = np.flatnonzero(np.isfinite(test.resale_rate)), known.resale
    shown = resold[np.argsort(resale.mean[resold], kind="stable")]
    shown = shown[:: max(1, len(shown) // MOST_POINTS)]
    place, mean = np.arange(len(shown)), resale.mean[shown]
    axes.plot(place, test.resale_rate[shown] - mean, ".", markersize=2, color="grey", label="resold at")
    for low, high, alpha, label in (
        (resale.p05, resale.p95, 0.25, "p05 to p95"),
        (resale.p10, resale.p90, 0.4, "p10 to p90"),
    ):
        bounds = (low[shown] - mean, high[shown] - mean)
        axes.fill_between(place, *bounds, alpha=alpha, color="tab:orange", zorder=3, lw=0, label=label)
    axes.set(
        xlabel="trades, the cheapest cards first",
        ylabel="resale rate less the expected one",
        title="Resale range on later trades",
    )
    axes.legend(loc="upper right")


def _coverage(axes: Axes, known: Known, test: Examples) -> None:
    """Share of resales inside both ranges, week by week."""
    resold = np.isfinite(test.resale_rate)
    actual, resale, week = test.resale_rate, known.resale, test.submitted_at // WEEK_US
    for low, high, aim, color in (
        (resale.p05, resale.p95, 0.9, "tab:orange"),
        (resale.p10, resale.p90, 0.8, "tab:blue"),
    ):
        inside = (actual >= low) & (actual <= high)
        labels, share, rows = share_by_group(inside[resold], week[resold])
        enough = rows >= SMALLEST_GROUP
        axes.plot(_date(labels[enough]), share[enough], "o-", color=color, label=f"{aim:.0%} range")
        axes.axhline(aim, ls="--", color=color, lw=1)
    axes.set(ylabel="share inside", ylim=(0.5, 1), title="Resale range: coverage by week of submission")
    axes.tick_params(axis="x", rotation=30)
    axes.legend(loc="lower right")


def _profit(axes: Axes, known: Known, test: Examples) -> None:
    """Predicted and realised profit of resold trades, week by week."""
    outcomes = outcomes_of(test)
    resold = np.flatnonzero(outcomes.resold)
    economics = known.economics.rows(resold)
    weeks, position = np.unique(test.submitted_at[resold] // WEEK_US, return_inverse=True)
    for label, profit in (
        ("predicted", economics.honest_profit_fen(test.offered_rate[resold])),
        ("realised", realised_profit_fen(economics=economics, outcomes=outcomes.rows(resold))),
    ):
        total = np.bincount(position, profit, len(weeks)) / np.maximum(np.bincount(position), 1)
        axes.plot(_date(weeks), total / 100, "o-", label=label)
    axes.set(ylabel="CNY per trade", title="Profit of resold trades by week of submission")
    axes.axhline(0, color="grey", lw=1)
    axes.tick_params(axis="x", rotation=30)
    axes.legend()


def _surface(left: Axes, right: Axes, model: DiscountModel, test: Examples, settings: Settings) -> None:
    """The rate of a usual card of the largest types over days to expiry and over competitors' bids."""
    chosen = _usual_cards(test)
    if len(chosen) == 0:
        return
    price = _pricer(model, test.rows(chosen), settings)
    by_day, by_bid = price(SHOWN_DAYS, (0.0,)), price((180.0,), SHOWN_MOVES)
    for row, name in enumerate(test.columns["card_type"][chosen].tolist()):
        left.plot(SHOWN_DAYS, by_day[row], label=name)
        right.plot(100 * np.array(SHOWN_MOVES), by_bid[row], label=name)
    left.set(xlabel="days to expiry", ylabel="best rate", title="Price over days to expiry", xlim=(0, 400))
    right.set(
        xlabel="all competitors' bids moved by, points of face value",
        ylabel="best rate",
        title="Price over competitors' bids",
    )
    right.legend(fontsize="small")


def _pricer(
    model: DiscountModel, cards: Examples, settings: Settings
) -> Callable[[Sequence[float], Sequence[float]], np.ndarray]:
    """Rates (cards, days · moves) of the cards at their own face value, without test moves."""
    face_cny = cards.face_value_fen[:, None] / 100
    ladder = Ladder(face_cny=face_cny, usual=np.zeros(len(cards), dtype=bool))

    def price(days: Sequence[float], moves: Sequence[float]) -> np.ndarray:
        rate = price_surface(
            model=model,
            columns=cards.columns,
            face_value_fen=cards.face_value_fen,
            submitted_at=cards.submitted_ms,
            ladder=ladder,
            costs=settings.costs,
            policy=settings.price.model_copy(update={"exploration_half_width": 0.0}),
            days=days,
            moves=moves,
        )
        return rate.reshape(len(cards), -1)

    return price


def _usual_cards(test: Examples) -> np.ndarray:
    """The newest valid virtual card (row) of each of the largest card types."""
    types = test.columns["card_type"].astype(str)
    rows = np.flatnonzero((test.columns["card_is_expired"] != 1) & (test.columns["card_form"] != "physical"))
    names, counts = np.unique(types[rows], return_counts=True)
    largest = names[np.argsort(-counts, kind="stable")[:SHOWN_TYPES]]
    return np.array([rows[types[rows] == name][-1] for name in largest], dtype=np.int64)


def _date(weeks: np.ndarray) -> np.ndarray:
    """The first day of each week since 1970."""
    return (weeks * WEEK_US).astype("datetime64[us]").astype("datetime64[D]")
