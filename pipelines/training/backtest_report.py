"""What a backtest leaves: ``backtest.json`` with every figure and ``backtest.html``, a page that opens offline."""

from __future__ import annotations

import dataclasses
import json
import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from features.definitions import FEATURES
from models.registry import Run
from pipelines.reporting.numbers import count, percent, rate, ratio, yuan
from pipelines.reporting.page import render, write_whole
from pipelines.settings import Settings
from pipelines.training import backtest_charts as charts
from pipelines.training.backtest import Backtest, StepResult
from pipelines.training.backtest_ledger import china_day
from pipelines.training.backtest_lines import sections_of
from pipelines.training.backtest_models import moment
from pipelines.training.training import code_version
from pipelines.wiring import model_registry
from pipelines.workspace import Workspace

TEMPLATE = Path(__file__).with_name("backtest_report.html")
STEP_COLUMNS = (
    ("起始", "from"),
    ("交易", "trades"),
    ("成交（预期）", "taken (expected)"),
    ("历史利润", "log"),
    ("预测利润", "predicted"),
    ("预测/实现", "pred./real."),
    ("折扣率（历史）", "rate (log)"),
    ("无报价", "no offer"),
    ("ECE", "ECE"),
    ("80 % 区间", "in 80 %"),
    ("90 % 区间", "in 90 %"),
    ("拦截欺诈", "stopped"),
    ("占最优", "of best"),
)
"""Headings of a step's row, in both languages."""


def write_report(result: Backtest, *, settings: Settings, folder: Path, now: datetime) -> tuple[Path, Path]:
    """Write both files into ``folder``, each whole or not at all; returns (JSON, page)."""
    figures, page = folder / "backtest.json", folder / "backtest.html"
    data = json.dumps(as_data(result, settings=settings), ensure_ascii=False, indent=1, allow_nan=False)
    write_whole(figures, data)
    write_whole(page, page_of(result, now=now))
    return figures, page


def as_data(result: Backtest, *, settings: Settings) -> dict[str, Any]:
    """Everything as plain data; what is not defined is null. Money in fen, rates and shares as fractions."""
    job = result.job
    return {
        "from": job.since.isoformat(),
        "to": job.until.isoformat(),
        "pair": job.pair,
        "retrain_days": job.retrain_days,
        "oracle": None if job.oracle is None else str(job.oracle),
        "data_fingerprint": result.fingerprint,
        "features_version": FEATURES.version(),
        "code_version": code_version(),
        "costs": settings.costs.model_dump(),
        "decision": settings.decision.model_dump(),
        "price": settings.price.model_dump(),
        "notes": list(result.notes),
        "steps": [_step(item) for item in result.steps],
        "total": _plain(result.total),
        "moves": _plain(result.moves),
        "series": _plain(result.series),
    }


def record(workspace: Workspace, result: Backtest, files: Sequence[Path]) -> None:
    """Keep the figures of the whole period in MLflow, with the files and the charts, as a run tagged with the
    versions."""
    models, job = result.steps[-1].step.models.models, result.job
    period = f"{job.since:%Y-%m-%d} to {job.until:%Y-%m-%d}"
    with tempfile.TemporaryDirectory() as folder:
        plots: list[Path] = []
        for name, drawn in _charts(result).items():
            if drawn:
                plots.append(Path(folder) / f"{name}.svg")
                plots[-1].write_text(drawn)
        run = Run(
            experiment="backtest",
            name=f"{job.pair} {period}",
            tags={
                "pair": job.pair,
                "period": period,
                "discount_version": models.discount_version or "",
                "fraud_version": models.fraud_version or "",
                "data_fingerprint": result.fingerprint,
                "code_version": code_version(),
                "off_policy_refused": result.total.off_policy.refused,
            },
            metrics=dict(_numbers("", _plain(result.total))),
            files=(*files, *plots),
        )
        model_registry(workspace).log_run(run)


def _numbers(name: str, value: Any) -> Iterator[tuple[str, float]]:
    """Every number of plain data, by the names that lead to it."""
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from _numbers(f"{name}.{key}" if name else key, part)
    elif isinstance(value, int | float):
        yield name, float(value)


def _charts(result: Backtest) -> dict[str, str]:
    starts = [np.datetime64(int(china_day(np.array(item.step.since))), "D") for item in result.steps[1:]]
    drawn = (charts.profit_chart, charts.stock_chart, charts.coverage_chart, charts.rates_chart)
    names = ("profit", "stock", "coverage", "rates")
    return {name: draw(result.series, starts) for name, draw in zip(names, drawn, strict=True)}


def _step(item: StepResult) -> dict[str, Any]:
    step = item.step
    return {
        "from": moment(step.since).isoformat(),
        "to": moment(step.until).isoformat(),
        "discount_version": step.models.models.discount_version,
        "fraud_version": step.models.models.fraud_version,
        "known_trades": step.models.known_trades,
        "notes": list(step.models.notes),
        "figures": _plain(item.figures),
    }


def _plain(value: Any) -> Any:
    """Dataclasses, mappings and arrays as JSON knows them; a number that is not finite is null."""
    if dataclasses.is_dataclass(value):
        return {name: _plain(part) for name, part in vars(value).items()}
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, np.ndarray):
        return (
            [_plain(part) for part in value.tolist()]
            if value.dtype.kind != "M"
            else value.astype(str).tolist()
        )
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value


def page_of(result: Backtest, *, now: datetime) -> str:
    """The page, with its charts inside."""
    values = {
        "job": result.job,
        "total": result.total,
        "notes": result.notes,
        "headline": headline(result),
        "sections": sections_of(result.total),
        "step_columns": STEP_COLUMNS,
        "steps": [step_row(item) for item in result.steps],
        "charts": {name: Markup(drawn) for name, drawn in _charts(result).items()},
        "moment": f"{now.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC",
        "fingerprint": result.fingerprint,
    }
    return render(TEMPLATE, values)


def headline(result: Backtest) -> list[tuple[str, str, str]]:
    """The few figures to see first: value, what it is in Chinese and in English."""
    total = result.total
    found = [
        (count(total.trades), "交易", "trades"),
        (yuan(total.log.profit_fen.estimate), "历史利润", "the log's profit"),
        (yuan(total.model.predicted_profit_fen.estimate), "模型预测利润", "predicted by the models"),
        (ratio(total.belief.resale_ratio.estimate), "预测/实现（已出货）", "predicted / realised, resold"),
        (percent(total.fraud.stopped_share.estimate), "欺诈金额拦截", "of fraud money stopped"),
    ]
    if total.truth is not None:
        found.append((percent(total.truth.model.estimate), "占理论最优利润", "of the best possible profit"))
    return found


def step_row(item: StepResult) -> tuple[str, ...]:
    """One step under STEP_COLUMNS."""
    figures = item.figures
    log, model, belief = figures.log, figures.model, figures.belief
    return (
        f"{moment(item.step.since):%Y-%m-%d}",
        count(figures.trades),
        f"{percent(log.accepted_share)} ({percent(model.expected_acceptance)})",
        yuan(log.profit_fen.estimate),
        yuan(model.predicted_profit_fen.estimate),
        ratio(belief.resale_ratio.estimate),
        f"{rate(model.mean_rate)} ({rate(model.mean_rate_logged)})",
        percent(model.no_offer_share),
        rate(belief.acceptance.ece),
        percent(figures.ranges["80"].coverage.estimate),
        percent(figures.ranges["90"].coverage.estimate),
        percent(figures.fraud.stopped_share.estimate),
        percent(figures.truth.model.estimate) if figures.truth is not None else "–",
    )
