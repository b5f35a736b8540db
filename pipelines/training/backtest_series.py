"""What a backtest shows day by day and week by week."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from features.china import CHINA_OFFSET
from features.windows import DAY
from models.evaluation.coverage import SMALLEST_GROUP
from pipelines.training.backtest_figures import StockFigures
from pipelines.training.backtest_intervals import NAN
from pipelines.training.backtest_ledger import Ledger, china_day
from pipelines.training.backtest_trust import RANGES, inside_range

DAYS_OF_WEEK = 7
LARGEST_KINDS = 6


@dataclass(frozen=True)
class Series:
    """Days (d,) of the period in China and, for each, trades and profits in fen by day of submission, and stock at its
    end in cards. truth_fen: by the oracle, empty without one. Weeks (w,): first day, resales, coverage of each range.
    rates: of the largest kinds of cards, mean rate (d,) of the models and of the log on the same trades."""

    days: np.ndarray
    trades: np.ndarray
    logged_fen: np.ndarray
    predicted_fen: np.ndarray
    truth_fen: Mapping[str, np.ndarray]
    stock_logged: np.ndarray
    stock_model: np.ndarray
    weeks: np.ndarray
    week_resales: np.ndarray
    coverage: Mapping[str, np.ndarray]
    rates: Mapping[str, Mapping[str, np.ndarray]]


def series_of(ledger: Ledger) -> Series:
    """The series of all trades of a backtest (n > 0)."""
    log, said = ledger.log, ledger.said
    days = np.arange(log.day.min(), log.day.max() + 1)
    place = log.day - days[0]
    weeks, resales, coverage = _coverage(ledger, days)
    stock_logged, stock_model = stock_by_day(ledger, days)
    predicted = np.where(said.modelled & said.buys, said.expected_profit_fen, 0.0)
    known = {} if ledger.truth is None else vars(ledger.truth)
    return Series(
        days=days.astype("datetime64[D]"),
        trades=np.bincount(place, minlength=len(days)),
        logged_fen=np.bincount(place, log.profit_fen - log.loss_fen, len(days)),
        predicted_fen=np.bincount(place, predicted, len(days)),
        truth_fen={name: np.bincount(place, values, len(days)) for name, values in known.items()},
        stock_logged=stock_logged,
        stock_model=stock_model,
        weeks=weeks.astype("datetime64[D]"),
        week_resales=resales,
        coverage=coverage,
        rates=_rates(ledger, days),
    )


def stock_by_day(ledger: Ledger, days: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cards bought in the period and not yet resold at the end of each day (d,): of the log, and as the models expect,
    each card counting by its probability of acceptance, from its submission for its expected days to sell."""
    log, said = ledger.log, ledger.said
    ends = (days + 1) * DAY - CHINA_OFFSET
    held = np.searchsorted(np.sort(log.in_stock_from), ends)
    held = held - np.searchsorted(np.sort(log.in_stock_until), ends)
    rows = np.flatnonzero(said.modelled & said.buys)
    leaves = china_day(log.submitted_at[rows] + (said.days_to_sell[rows] * DAY).astype(np.int64))
    size = len(days) + 1
    change = np.bincount(log.day[rows] - days[0], said.acceptance[rows], size)
    change -= np.bincount(np.minimum(leaves - days[0], len(days)), said.acceptance[rows], size)
    return held.astype(np.float64), np.cumsum(change)[: len(days)]


def stock_figures(series: Series, days: np.ndarray) -> StockFigures:
    """Mean and peak over some days (numbers since 1970)."""
    rows = np.isin(series.days.astype(np.int64), days)
    logged, model = series.stock_logged[rows], series.stock_model[rows]
    return StockFigures(float(logged.mean()), float(logged.max()), float(model.mean()), float(model.max()))


def _coverage(ledger: Ledger, days: np.ndarray) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """First days (w,), resales (w,) and coverage (w,) of each range, by week of submission."""
    part = ledger.rows(np.flatnonzero(ledger.said.modelled & np.isfinite(ledger.log.resale_rate)))
    week = (part.log.day - days[0]) // DAYS_OF_WEEK
    count = (len(days) - 1) // DAYS_OF_WEEK + 1
    resales = np.bincount(week, minlength=count)
    coverage = {
        name: np.where(
            resales >= SMALLEST_GROUP,
            np.bincount(week, inside_range(part, *bounds), count) / np.maximum(resales, 1),
            NAN,
        )
        for name, bounds in RANGES.items()
    }
    return days[0] + DAYS_OF_WEEK * np.arange(count), resales, coverage


def _rates(ledger: Ledger, days: np.ndarray) -> dict[str, dict[str, np.ndarray]]:
    both = np.flatnonzero(np.isfinite(ledger.log.offered_rate) & ~ledger.said.no_offer)
    part = ledger.rows(both)
    names, counts = np.unique(part.log.kind.astype(str), return_counts=True)
    largest = names[np.argsort(-counts, kind="stable")][:LARGEST_KINDS]
    return {
        str(name): {
            "model": _daily_mean(part.said.rate, part, name, days),
            "log": _daily_mean(part.log.offered_rate, part, name, days),
        }
        for name in largest
    }


def _daily_mean(rate: np.ndarray, part: Ledger, kind: str, days: np.ndarray) -> np.ndarray:
    own = part.log.kind == kind
    place = part.log.day[own] - days[0]
    count = np.bincount(place, minlength=len(days))
    return np.where(count > 0, np.bincount(place, rate[own], len(days)) / np.maximum(count, 1), NAN)
