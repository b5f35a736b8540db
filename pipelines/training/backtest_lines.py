"""The figures of a backtest as lines for people, the same on the terminal and on the page."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from models.evaluation.first_step import PolicyValue
from models.fraud.decision import ACTIONS
from pipelines.reporting.numbers import NOTHING, count, percent, rate, ratio, yuan
from pipelines.training.backtest_figures import Figures
from pipelines.training.backtest_intervals import Interval
from pipelines.training.backtest_trust import RANGES, OffPolicyFigures, RangeFigures


@dataclass(frozen=True)
class Line:
    """One figure of the log and of the models, in words of both languages; NOTHING where it has no meaning."""

    zh: str
    en: str
    log: str
    model: str


@dataclass(frozen=True)
class Section:
    """Lines under one heading. columns: what the two values are."""

    zh: str
    en: str
    columns: tuple[str, str]
    lines: tuple[Line, ...]


def sections_of(figures: Figures) -> tuple[Section, ...]:
    """Everything about one part of the period."""
    log_and_models = ("历史 log", "模型 models")
    found = [
        Section("结果", "What came of it", log_and_models, _outcome(figures)),
        Section("风控", "Fraud", log_and_models, _fraud(figures)),
        Section(
            "模型可信吗", "Are the models to be believed", ("真实 realised", "模型 models"), _trust(figures)
        ),
    ]
    if figures.truth is not None:
        found.append(
            Section("真相检验", "Against the truth", ("利润 profit", "占最优 share"), _truth(figures))
        )
    return tuple(found)


def _outcome(figures: Figures) -> tuple[Line, ...]:
    log, model, stock, moves = figures.log, figures.model, figures.stock, figures.stability
    return (
        Line("交易", "trades", count(figures.trades), f"{count(model.modelled)} priced by a model"),
        Line("无报价", "no offer", percent(1 - log.offers / figures.trades), percent(model.no_offer_share)),
        Line(
            "平均折扣率（同一批）",
            "mean rate, same trades",
            rate(model.mean_rate_logged),
            rate(model.mean_rate),
        ),
        Line("折扣率差", "rate above the log's", NOTHING, interval(model.rate_gap, rate)),
        Line(
            "成交率",
            "acceptance",
            percent(log.accepted_share),
            f"{percent(model.expected_acceptance)} expected",
        ),
        Line("收卡数", "cards bought", count(log.bought), f"{count(model.expected_purchases)} expected"),
        Line("出货利润", "profit of resold cards", interval(log.resale_profit_fen, yuan), NOTHING),
        Line("欺诈损失", "loss to fraud", interval(log.fraud_loss_fen, yuan), NOTHING),
        Line(
            "利润",
            "profit",
            interval(log.profit_fen, yuan),
            f"{interval(model.predicted_profit_fen, yuan)} predicted",
        ),
        Line(
            "平均库存（张）", "stock, mean", count(stock.logged_mean), f"{count(stock.model_mean)} expected"
        ),
        Line(
            "最高库存（张）", "stock, peak", count(stock.logged_peak), f"{count(stock.model_peak)} expected"
        ),
        Line("卡种日均价变动", "daily move of a type's mean rate", rate(moves.logged_mean), rate(moves.mean)),
        Line("… 95 % 分位", "… its 95 % quantile", rate(moves.logged_p95), rate(moves.p95)),
        Line("受每日调价上限约束", "held by the cap of daily moves", NOTHING, percent(moves.held)),
    )


def _fraud(figures: Figures) -> tuple[Line, ...]:
    fraud, share = figures.fraud, figures.model.decisions
    words = {"pay": "直接打款", "hold": "暂缓", "review": "人工复核（含无报价）", "refuse": "拒绝"}
    at_risk = f"{yuan(fraud.at_risk_fen)}, {count(fraud.frauds)} cases"
    stopped = f"{yuan(fraud.stopped_fen)} stopped, {interval(fraud.stopped_share, percent)}"
    return (
        *(Line(words[action], action, NOTHING, percent(share[action])) for action in ACTIONS),
        Line("已知欺诈金额", "money of known frauds", at_risk, stopped),
        Line(
            "误拒诚实卖家",
            "honest trades refused",
            f"of {count(fraud.honest)}",
            percent(fraud.honest_refused),
        ),
    )


def _trust(figures: Figures) -> tuple[Line, ...]:
    belief = figures.belief
    taken = belief.acceptance
    return (
        Line(
            "预测/实现利润：已出货",
            "predicted by realised profit, resold cards",
            yuan(belief.resale_realised_fen),
            interval(belief.resale_ratio, ratio),
        ),
        Line(
            "预测/实现利润：含欺诈",
            "predicted by realised profit, with fraud",
            yuan(belief.realised_fen) if belief.rows else NOTHING,
            interval(belief.ratio, ratio),
        ),
        Line(
            "成交率", "acceptance of the log's offers", percent(taken.rate), percent(taken.mean_probability)
        ),
        Line("Brier", "Brier score of acceptance", NOTHING, rate(taken.brier)),
        Line("ECE", "calibration error of acceptance", NOTHING, rate(taken.ece)),
        *(line for name in RANGES for line in _range_lines(name, figures.ranges[name])),
        *_off_policy(figures.off_policy),
    )


def _range_lines(name: str, found: RangeFigures) -> tuple[Line, Line]:
    worst = f"{percent(found.worst)} {found.worst_type}" if found.worst_type else "no type with 300 resales"
    return (
        Line(
            f"{name} % 区间覆盖",
            f"inside the {name} % range",
            f"{count(found.rows)} resales",
            interval(found.coverage, percent),
        ),
        Line("… 最差卡种", "… worst card type", NOTHING, worst),
    )


def _off_policy(found: OffPolicyFigures) -> tuple[Line, ...]:
    """What the log's offers earned each, what the models' and the rate table's would have; or why nobody can tell."""
    lines = [Line("离线策略评估", "off-policy profit per offer", *off_policy(found))]
    if found.first_step is not None:
        lines.append(
            Line(
                "… 仅限朝模型价格的第一步",
                "… of the first step toward them alone",
                NOTHING,
                _judged(found.first_step),
            )
        )
    if found.price_list is not None:
        lines.append(Line("价目表", "… of the rate table", NOTHING, _judged(found.price_list)))
    if found.over_list is not None:
        value = found.over_list.value
        gain = interval(Interval(value.gain_fen, value.gain_low, value.gain_high), _cents)
        first = "" if found.over_list.whole else ", first steps of both"
        lines.append(Line("模型超出价目表", "… the models over the list", NOTHING, f"{gain}{first}"))
    return tuple(lines)


def off_policy(found: OffPolicyFigures) -> tuple[str, str]:
    """What the log's offers earned each, and what the models' whole rates would have; or why nobody can tell."""
    if found.value is not None:
        return _cents(found.value.logged_fen), _judged(PolicyValue(found.value))
    logged = NOTHING if found.first_step is None else _cents(found.first_step.value.logged_fen)
    return logged, f"not judged: {found.refused}"


def _judged(found: PolicyValue) -> str:
    value = found.value
    earned = interval(Interval(value.value_fen, value.low, value.high), _cents)
    gain = interval(Interval(value.gain_fen, value.gain_low, value.gain_high), _cents)
    first = "" if found.whole else f", {percent(found.moved)} of the rates moved into what the log can judge"
    return f"{earned}, gain {gain}, overlap {percent(value.overlap)}{first}"


def _cents(fen: float) -> str:
    return yuan(fen, decimals=2)


def _truth(figures: Figures) -> tuple[Line, ...]:
    truth = figures.truth
    assert truth is not None
    return (
        Line("模型报价", "models' rates", yuan(truth.model_fen), interval(truth.model, percent)),
        Line("历史报价", "logged offers", yuan(truth.logged_fen), interval(truth.logged, percent)),
        Line("价目表", "rate table", yuan(truth.table_fen), interval(truth.table, percent)),
        Line("理论最优", "best possible", yuan(truth.best_fen), percent(1.0)),
        Line(
            "预测/真实",
            "predicted by true profit of the models' rates",
            NOTHING,
            interval(truth.predicted_ratio, ratio),
        ),
    )


def interval(found: Interval, shown: Callable[[float], str]) -> str:
    """``0.99 (0.97 to 1.01)``."""
    if not math.isfinite(found.estimate):
        return NOTHING
    if not math.isfinite(found.low):
        return shown(found.estimate)
    return f"{shown(found.estimate)} ({shown(found.low)} to {shown(found.high)})"
