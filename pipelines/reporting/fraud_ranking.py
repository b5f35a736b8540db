"""How well the scores rank: precision and recall, what stopping more would cost, and where the platform stands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from models.evaluation.fraud import FraudMetrics, Judged, weighted_mean
from models.fraud.decision import PAY, REFUSE, REVIEW, action_costs_fen
from pipelines.reporting.drawing import BLUE, GREY, ORANGE, RED, Drawing
from pipelines.reporting.fraud_basis import Basis
from pipelines.reporting.fraud_material import Material
from pipelines.reporting.page import Picture, Prose, Section
from pipelines.reporting.tables import FEW, Column, Table, Words
from pipelines.training.fraud import figures_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STOPPED_SHARES = (0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.08, 0.1, 0.15, 0.2, 0.3)
SHOWN_SHARE = 0.35
"""The pictures stop where nobody would."""
MOST_POINTS = 600

UNSEEN = Words("模型未见过的交易", "trades the model has not seen")
IN_SAMPLE = Words("训练时段内的交易（偏乐观）", "trades of the time it was fitted on (flattering)")
NOT_RANKED = Words(
    "这段时间没有同时包含已到期的欺诈和正常标签，无法评判排序与校准；导入更多带标签的交易后再生成。",
    "This period has no fraud and honest labels that are both due, so ranking and calibration cannot be judged; import "
    "more labelled trades and write the report again.",
)


@dataclass(frozen=True)
class Curve:
    """What stopping the riskiest trades does, at each cut between different scores, the strictest first, (k,) each.

    share: of trades stopped. cut: the least probability stopped. precision, recall; false_rate: share of honest trades
    stopped; value: share of fraud money stopped. refusing_fen, reviewing_fen: realised cost per trade if all above the
    cut are refused (sent to review) and the rest paid; paying_fen: if nothing is stopped.
    """

    share: np.ndarray
    cut: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    false_rate: np.ndarray
    value: np.ndarray
    refusing_fen: np.ndarray
    reviewing_fen: np.ndarray
    trades: np.ndarray
    paying_fen: float


@dataclass(frozen=True)
class Point:
    """Where the champion's decisions stand: as in Curve."""

    share: float
    precision: float
    recall: float
    false_rate: float
    cost_fen: float


def curve(judged: Judged, *, material: Material) -> Curve:
    """The curve of some judged trades with both classes among them."""
    order = np.argsort(-judged.probability, kind="stable")
    ranked = judged.probability[order]
    ends = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
    weight, fraud = judged.weights[order], judged.fraud[order].astype(np.float64)
    money = weight * fraud * judged.payout_fen[order]
    costs = _costs(judged, material)[order] * weight[:, None]

    def running(values: np.ndarray) -> np.ndarray:
        return np.cumsum(values)[ends]

    def switching(strict: int) -> np.ndarray:
        return (costs[:, PAY].sum() + running(costs[:, strict] - costs[:, PAY])) / weight.sum()

    stopped, found = running(weight), running(weight * fraud)
    return Curve(
        share=stopped / weight.sum(),
        cut=ranked[ends],
        precision=found / stopped,
        recall=found / max(found[-1], 1e-300),
        false_rate=(stopped - found) / max(float(stopped[-1] - found[-1]), 1e-300),
        value=running(money) / max(float(money.sum()), 1e-300),
        refusing_fen=switching(REFUSE),
        reviewing_fen=switching(REVIEW),
        trades=ends + 1,
        paying_fen=float(costs[:, PAY].sum() / weight.sum()),
    )


def operating_point(judged: Judged, *, material: Material) -> Point:
    """What the champion's decisions (everything but simply paying) do on the judged trades."""
    stopped, weight, fraud = judged.action != "pay", judged.weights, judged.fraud
    cost = judged.cost_fen(costs=material.settings.costs, decision=material.settings.decision)
    return Point(
        share=weighted_mean(stopped, weight),
        precision=weighted_mean(fraud, weight * stopped),
        recall=weighted_mean(stopped, weight * fraud),
        false_rate=weighted_mean(stopped, weight * ~fraud),
        cost_fen=weighted_mean(cost, weight),
    )


def ranking(material: Material) -> Section:
    """The section."""
    words = Words("排序能力与成本", "Ranking and cost")
    if not material.own.can_rank:
        return Section("ranking", words, (Prose(NOT_RANKED, alarm=True),))
    judged = material.judged(material.own)
    found, point = curve(judged, material=material), operating_point(judged, material=material)
    picture = Words(
        "左：精确率与召回率；右：拦住风险最高的若干交易、其余直接打款时，每千笔的实际成本。圆点为现任模型当前的决定",
        "Left: precision over recall; right: realised cost per 1,000 trades if the riskiest are stopped and the rest "
        "simply paid. The dot is what the champion's decisions do",
    )
    return Section(
        "ranking",
        words,
        (
            Prose(basis_words(material, material.own)),
            _metrics(material),
            Picture(_picture(found, point), picture),
            _points(found, point, judged),
        ),
    )


def basis_words(material: Material, basis: Basis) -> Words:
    """What the judged figures rest on."""
    rows = basis.rows
    size, frauds = int(rows.sum()), int(material.cases.is_fraud[rows].sum())
    drawn = int((material.judge.weight[rows] > 1).sum())
    if basis.is_unseen:
        zh = f"以下数字基于 {size:,} 笔模型未见过、标签已到期且未被拒收的交易（其中欺诈 {frauds:,} 笔）。"
        en = (
            f"The figures below rest on {size:,} trades that the model has not seen, whose label is due and that were "
            f"not refused ({frauds:,} of them fraud)."
        )
    else:
        zh = f"样本内：以下数字基于 {size:,} 笔标签已到期的交易（其中欺诈 {frauds:,} 笔），含模型训练时段，因此偏乐观。"
        en = (
            f"IN-SAMPLE: the figures below rest on {size:,} trades whose label is due ({frauds:,} of them fraud), "
            f"those of the time the model was fitted on among them: they flatter."
        )
    if drawn:
        zh += f"其中 {drawn:,} 笔是随机放行的，各代表多笔被拦交易，按放行概率加权。"
        en += f" {drawn:,} of them were let through at random and count for several stopped trades each."
    return Words(zh, en)


def _costs(judged: Judged, material: Material) -> np.ndarray:
    """Realised cost of each action (n, 4)."""
    return action_costs_fen(
        probability=judged.fraud.astype(np.float64),
        payout_fen=judged.payout_fen,
        face_value_fen=judged.face_value_fen,
        costs=material.settings.costs,
        decision=material.settings.decision,
    )


def _metrics(material: Material) -> Table:
    rows, few = [], []
    for words, mask in ((UNSEEN, material.own.unseen), (IN_SAMPLE, material.own.in_sample)):
        if not mask.any():
            continue
        found = figures_of(material.judged(material.own, mask), material.settings)
        rows.append((words, *(getattr(found, name) for name in METRICS)))
        few.append(found.frauds < FEW)
    return Table(
        "ranking_metrics",
        Words("指标", "Figures"),
        (
            Column("basis", Words("交易范围", "trades"), "words"),
            *(Column(name, words, kind) for name, (words, kind) in METRICS.items()),
        ),
        tuple(rows),
        tuple(few),
    )


METRICS: dict[str, tuple] = {
    "trades": (Words("交易", "trades"), "count"),
    "frauds": (Words("欺诈", "frauds"), "count"),
    "average_precision": (Words("AP", "AP"), "number"),
    "auc": (Words("AUC", "AUC"), "number"),
    "recall_at_1pct_fpr": (Words("误报 1 % 时召回", "recall at 1 % FPR"), "share"),
    "alerts_per_day": (Words("每日可复核 K", "reviews a day, K"), "count"),
    "card_precision_at_k": (Words("每日前 K 精确率", "precision, top K a day"), "share"),
    "fraud_value_stopped": (Words("欺诈金额拦住", "fraud money stopped"), "share"),
    "share_refused": (Words("拒收", "refused"), "share"),
    "honest_refused": (Words("正常被拒", "honest refused"), "share"),
    "cost_per_1000_fen": (Words("每千笔成本", "cost per 1,000"), "yuan"),
}
assert set(METRICS) <= set(FraudMetrics.__dataclass_fields__)


def _points(found: Curve, point: Point, judged: Judged) -> Table:
    rows, few = [], []
    for share in STOPPED_SHARES:
        place = int(np.searchsorted(found.share, share, side="right")) - 1
        if place < 0:
            continue
        words = Words(f"风险最高的 {share:.1%}", f"riskiest {share:.1%}")
        rows.append(
            (
                words,
                int(found.trades[place]),
                float(found.cut[place]),
                float(found.precision[place]),
                float(found.recall[place]),
                float(found.value[place]),
                float(found.false_rate[place]),
                1000 * float(found.refusing_fen[place]),
                1000 * float(found.reviewing_fen[place]),
            )
        )
        few.append(int(found.trades[place]) < FEW)
    stopped = judged.action != "pay"
    cost = 1000 * point.cost_fen
    value = weighted_mean(stopped, judged.weights * judged.fraud * judged.payout_fen)
    own = (
        Words("现任模型的决定（成本为其组合）", "the champion's decisions, at their own cost"),
        int(stopped.sum()),
        float(judged.probability[stopped].min()) if stopped.any() else np.nan,
        point.precision,
        point.recall,
        value,
        point.false_rate,
        cost,
        cost,
    )
    return Table(
        "operating_points",
        Words("拦住风险最高的交易", "Stopping the riskiest trades"),
        (
            Column("stopped", Words("拦住", "stopped"), "words"),
            Column("trades", Words("交易", "trades")),
            Column("least_probability", Words("最低概率", "least probability"), "number"),
            Column("precision", Words("精确率", "precision"), "share"),
            Column("recall", Words("召回率", "recall"), "share"),
            Column("fraud_money_share", Words("欺诈金额占比", "of fraud money"), "share"),
            Column("honest_stopped_share", Words("正常被拦", "honest stopped"), "share"),
            Column(
                "refusing_per_1000_cny", Words("全部拒收：每千笔成本", "all refused: cost per 1,000"), "yuan"
            ),
            Column(
                "reviewing_per_1000_cny",
                Words("全部复核：每千笔成本", "all reviewed: cost per 1,000"),
                "yuan",
            ),
        ),
        (*rows, own),
        (*few, int(stopped.sum()) < FEW),
    )


def _picture(found: Curve, point: Point) -> str:
    with Drawing(dates=False) as drawing:
        left, right = drawing.panels(1, 2, row_height=3.2, share_x=False)
        _precision(left, found, point)
        _cost(right, found, point)
        return drawing.svg(
            {
                "recall": "召回率",
                "precision": "精确率",
                "share of trades stopped": "拦住的交易比例",
                "yuan per 1,000 trades": "元 / 千笔",
                "all refused": "全部拒收",
                "all reviewed": "全部复核",
                "nothing stopped": "全部直接打款",
                "the champion": "现任模型",
            }
        )


def _precision(axes: Axes, found: Curve, point: Point) -> None:
    keep = _thinned(len(found.recall))
    axes.plot(found.recall[keep], found.precision[keep], color=BLUE)
    axes.plot(point.recall, point.precision, "o", color=RED, label="the champion")
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, place: f"{value:.0%}")
    Drawing.legend_above(axes, columns=1)


def _cost(axes: Axes, found: Curve, point: Point) -> None:
    inside = np.flatnonzero(found.share <= max(SHOWN_SHARE, 1.2 * point.share))
    keep = inside[_thinned(len(inside))]
    start = 10 * found.paying_fen
    for name, cost, colour in (
        ("all refused", found.refusing_fen, ORANGE),
        ("all reviewed", found.reviewing_fen, BLUE),
    ):
        axes.plot(
            np.append(0.0, found.share[keep]), np.append(start, 10 * cost[keep]), color=colour, label=name
        )
    axes.axhline(start, linestyle="--", linewidth=0.8, color=GREY, label="nothing stopped")
    axes.plot(point.share, 10 * point.cost_fen, "o", color=RED)
    axes.set(xlabel="share of trades stopped", ylabel="yuan per 1,000 trades")
    axes.set_ylim(0, 2.2 * max(start, 10 * point.cost_fen))
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.xaxis.set_major_formatter(lambda value, place: f"{value:.0%}")
    Drawing.legend_above(axes, columns=3)


def _thinned(size: int) -> np.ndarray:
    """At most about MOST_POINTS of ``size`` places, dense at the strict end where a curve bends."""
    if size <= MOST_POINTS:
        return np.arange(size)
    dense = np.arange(MOST_POINTS // 2)
    rest = np.linspace(MOST_POINTS // 2, size - 1, MOST_POINTS // 2).astype(np.int64)
    return np.unique(np.append(dense, rest))
