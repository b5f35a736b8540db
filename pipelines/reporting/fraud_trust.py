"""Whether the scores can be believed: calibration, and how scores and features have moved since training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from features.definitions import FEATURES
from models.evaluation.calibration import calibration, reliability_table
from models.evaluation.fraud_intervals import wilson
from pipelines.reporting.drawing import BLUE, GREY, ORANGE, RED, Drawing
from pipelines.reporting.fraud_intake import day_us
from pipelines.reporting.fraud_material import Material
from pipelines.reporting.fraud_ranking import NOT_RANKED, basis_words
from pipelines.reporting.fraud_scoring import Watched
from pipelines.reporting.page import Picture, Prose, Section
from pipelines.reporting.tables import FEW, Column, Table, Value, Words

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BINS = 10
LEAST_FOR_DRIFT = 100
"""Fewer trades on either side say nothing about a distribution."""
NOTABLE, LARGE = 0.1, 0.25
"""A population stability index above these is usually looked at, and acted on."""
RELIABILITY_BINS = 15


@dataclass(frozen=True)
class Stability:
    """psi: population stability index. chance: what samples of these sizes would show without any drift."""

    psi: float
    chance: float

    @property
    def notable(self) -> bool:
        return self.psi > NOTABLE + self.chance


@dataclass(frozen=True)
class Reference:
    """What the period is compared with. rows: the period's trades (n,) bool that are compared. learned: whether the
    reference is the model's training time, or the period's first week."""

    watched: Watched
    rows: np.ndarray
    learned: bool

    @property
    def size(self) -> int:
        return len(self.watched.probability)


def stability(reference: np.ndarray, now: np.ndarray, *, bins: int = BINS) -> Stability:
    """Stability of a column: numbers in bins of equal mass of the reference, with one for NaN; or texts one by one,
    the rare ones together. Half a trade is added to every bin, so that an empty one does not weigh infinitely."""
    if min(len(reference), len(now)) < LEAST_FOR_DRIFT:
        return Stability(np.nan, np.nan)
    before, after = _counts(reference, now, bins)
    shares = [(counts + 0.5) / (counts.sum() + 0.5 * len(counts)) for counts in (before, after)]
    psi = float(((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum())
    chance = (len(before) - 1) * (1 / len(reference) + 1 / len(now))
    return Stability(psi=psi, chance=chance)


def _counts(reference: np.ndarray, now: np.ndarray, bins: int) -> tuple[np.ndarray, np.ndarray]:
    """Trades in each bin, before and now."""
    if reference.dtype == object:
        names, counts = np.unique(reference.astype(str), return_counts=True)
        common = names[np.argsort(-counts, kind="stable")[:bins]]
        places = [_place_of(common, column.astype(str)) for column in (reference, now)]
        size = len(common) + 1
    else:
        inner = np.unique(np.nanquantile(reference, np.linspace(0, 1, bins + 1)[1:-1]))
        size = len(inner) + 2
        places = [
            np.where(np.isnan(column), size - 1, np.searchsorted(inner, column, side="left"))
            for column in (reference, now)
        ]
    found = [np.bincount(place, minlength=size).astype(np.float64) for place in places]
    there = found[0] + found[1] > 0
    return found[0][there], found[1][there]


def _place_of(common: np.ndarray, column: np.ndarray) -> np.ndarray:
    places = {name: place for place, name in enumerate(common.tolist())}
    return np.array([places.get(name, len(common)) for name in column.tolist()], dtype=np.int64)


def reference_of(material: Material) -> Reference:
    """The model's training time where the period goes beyond it, else the period's first week."""
    cases, watched = material.cases, material.watched
    beyond = ~material.champion.learned(cases.submitted_at)
    if beyond.any() and len(material.learned.probability) >= LEAST_FOR_DRIFT:
        return Reference(watched=material.learned, rows=beyond, learned=True)
    first = cases.week == cases.week.min()
    own = Watched(
        probability=watched.probability[first],
        columns={name: column[first] for name, column in watched.columns.items()},
    )
    return Reference(watched=own, rows=~first, learned=False)


def trust(material: Material) -> Section:
    """The section."""
    return Section(
        "trust",
        Words("校准与漂移", "Calibration and drift"),
        (*_calibration(material), *_drift(material)),
    )


def _calibration(material: Material) -> tuple[Prose | Table | Picture, ...]:
    if not material.told.can_rank:
        return (Prose(NOT_RANKED, alarm=True),)
    judged = material.judged(material.told)
    level = calibration(probability=judged.probability, outcome=judged.fraud, weight=judged.weight)
    bins = reliability_table(
        probability=judged.probability, outcome=judged.fraud, weight=judged.weight, bins=RELIABILITY_BINS
    )
    rows = []
    for part in bins:
        low, high = wilson(part.rate, part.rows)
        rows.append((part.rows, part.mean_probability, part.rate, low, high))
    table = Table(
        "calibration",
        Words("校准：预测概率与实际欺诈率", "Calibration: probability and what came true"),
        (
            Column("trades", Words("交易", "trades")),
            Column("mean_probability", Words("平均概率", "mean probability"), "share"),
            Column("fraud_rate", Words("实际欺诈率", "fraud rate"), "share"),
            Column("fraud_rate_low", Words("95 % 下限", "95 % low"), "share"),
            Column("fraud_rate_high", Words("95 % 上限", "95 % high"), "share"),
        ),
        tuple(rows),
        tuple(part.rows < FEW for part in bins),
    )
    summary = Words(
        f"平均概率 {level.mean_probability:.2%}，实际 {level.rate:.2%}，比值 {level.ratio:.2f}（1 为准），"
        f"ECE {level.ece:.4f}。",
        f"Mean probability {level.mean_probability:.2%}, true rate {level.rate:.2%}, ratio {level.ratio:.2f} (1 is "
        f"right), ECE {level.ece:.4f}.",
    )
    caption = Words(
        "横轴为平均预测概率，纵轴为实际欺诈率（对数轴），竖线为 95 % 区间；虚线表示完全准确",
        "Across: mean probability; up: fraud rate (logarithmic), bars are 95 % intervals; dashed: exactly right",
    )
    return (
        Prose(basis_words(material, material.told)),
        Prose(summary),
        Picture(_reliability_picture(table), caption, narrow=True),
        table,
    )


def _reliability_picture(table: Table) -> str:
    _, mean, rate, low, high = (
        np.array(column, dtype=np.float64) for column in zip(*table.rows, strict=True)
    )
    floor = max(min(mean.min(), rate[rate > 0].min(initial=1.0)) / 3, 1e-5)
    with Drawing(dates=False, width=6.0) as drawing:
        axes = drawing.axes()
        axes.plot([floor, 1], [floor, 1], "--", color=GREY, linewidth=0.8)
        place, middle = np.maximum(mean, floor), np.maximum(rate, floor)
        reach = np.abs(np.maximum([low, high], floor) - middle)
        axes.errorbar(place, middle, yerr=reach, fmt="o", color=BLUE, markersize=4, linewidth=1)
        axes.set(
            xscale="log",
            yscale="log",
            xlabel="mean probability",
            ylabel="fraud rate",
            xlim=(floor, 1),
            ylim=(floor, 1),
        )
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(lambda value, place: f"{value:.3%}" if value < 0.001 else f"{value:.1%}")
            axis.set_minor_formatter(lambda value, place: "")
        return drawing.svg({"mean probability": "平均概率", "fraud rate": "实际欺诈率"})


def _drift(material: Material) -> tuple[Prose | Table | Picture, ...]:
    reference = reference_of(material)
    compared = int(reference.rows.sum())
    if min(reference.size, compared) < LEAST_FOR_DRIFT:
        words = Words(
            f"漂移：可比较的交易太少（参照 {reference.size} 笔，本期 {compared} 笔）。",
            f"Drift: too few trades to compare ({reference.size} in the reference, {compared} in the period).",
        )
        return (Prose(words),)
    weeks = _by_week(material, reference)
    caption = Words(
        "每周分数的中位数、90 % 和 99 % 分位（上）与相对参照的 PSI（下，虚线 0.1 值得看、0.25 应处理）",
        "Median, 90 % and 99 % quantile of the week's scores (above), and their PSI against the reference (below; "
        "dashed: 0.1 is worth a look, 0.25 calls for action)",
    )
    return (
        Prose(_reference_words(reference, compared)),
        Picture(_drift_picture(weeks, material), caption),
        weeks,
        _features(material, reference),
    )


def _reference_words(reference: Reference, compared: int) -> Words:
    zh, en = "模型训练时段", "the model's training time (its scores there are in-sample)"
    if not reference.learned:
        zh, en = "本期第一周", "the period's first week"
    return Words(
        f"漂移的参照：{zh}（{reference.size:,} 笔），比较 {compared:,} 笔。"
        "PSI 在样本小时偏高，“偶然值”为没有漂移时的期望。",
        f"Drift is against {en}: {reference.size:,} trades, compared with {compared:,}. PSI runs high on few trades; "
        f'"by chance" is what it would be without any drift.',
    )


def _by_week(material: Material, reference: Reference) -> Table:
    cases, scores = material.cases, material.watched.probability
    rows, few = [], []
    for week in np.unique(cases.week):
        own = (cases.week == week) & np.isfinite(scores)
        if not own.any():
            continue
        part = scores[own]
        found = stability(reference.watched.probability, part)
        seen = float(np.mean(material.said.learned[own]))
        quantiles = (float(value) for value in np.quantile(part, (0.5, 0.9, 0.99)))
        rows.append((day_us(week), len(part), seen, float(part.mean()), *quantiles, found.psi, found.chance))
        few.append(len(part) < LEAST_FOR_DRIFT)
    return Table(
        "score_drift",
        Words("分数按周", "Scores by week"),
        (
            Column("week", Words("周一", "Monday"), "day"),
            Column("trades", Words("交易", "trades")),
            Column("in_sample_share", Words("训练时段内", "in-sample"), "share"),
            Column("mean", Words("平均", "mean"), "share"),
            Column("median", Words("中位数", "median"), "share"),
            Column("p90", Words("90 % 分位", "90 % quantile"), "share"),
            Column("p99", Words("99 % 分位", "99 % quantile"), "share"),
            Column("psi", Words("PSI", "PSI"), "number"),
            Column("psi_by_chance", Words("偶然值", "by chance"), "number"),
        ),
        tuple(rows),
        tuple(few),
    )


def _drift_picture(table: Table, material: Material) -> str:
    weeks = np.unique(material.cases.week[np.isfinite(material.watched.probability)]).astype("datetime64[D]")
    columns = [np.array(column, dtype=np.float64) for column in zip(*table.rows, strict=True)]
    with Drawing() as drawing:
        upper, lower = drawing.panels(2, 1, row_height=1.7)
        for name, place, colour in (("median", 4, GREY), ("90 %", 5, BLUE), ("99 %", 6, ORANGE)):
            upper.plot(weeks, columns[place], "o-", color=colour, label=name, markersize=3)
        upper.set(ylabel="score", yscale="log")
        upper.yaxis.set_major_formatter(lambda value, place: f"{value:.1%}")
        upper.yaxis.set_minor_formatter(lambda value, place: "")
        drawing.legend_above(upper, columns=3)
        _psi(lower, weeks, columns[7])
        return drawing.svg({"median": "中位数", "score": "分数"})


def _psi(axes: Axes, weeks: np.ndarray, psi: np.ndarray) -> None:
    axes.plot(weeks, psi, "o-", color=RED, markersize=3)
    for level in (NOTABLE, LARGE):
        axes.axhline(level, linestyle="--", linewidth=0.8, color=GREY)
    axes.set(ylabel="PSI", ylim=(0, max(0.3, 1.1 * float(np.nanmax(psi, initial=0.0)))))


def _features(material: Material, reference: Reference) -> Table:
    rows: list[tuple[Value, ...]] = []
    for name in material.champion.followed:
        before, now = reference.watched.columns[name], material.watched.columns[name][reference.rows]
        found = stability(before, now)
        verdict = Words("有漂移", "drifted") if found.notable else Words("平稳", "steady")
        middles = tuple(_median(column) for column in (before, now))
        empty = tuple(_empty(column) for column in (before, now))
        rows.append((name, _meaning(name), found.psi, found.chance, verdict, *middles, *empty))
    return Table(
        "feature_drift",
        Words("最重要的特征", "The most important features"),
        (
            Column("feature", Words("特征", "feature"), "text"),
            Column("meaning", Words("含义", "meaning"), "words"),
            Column("psi", Words("PSI", "PSI"), "number"),
            Column("psi_by_chance", Words("偶然值", "by chance"), "number"),
            Column("verdict", Words("判断", "verdict"), "words"),
            Column("median_before", Words("参照中位数", "median before"), "number"),
            Column("median_now", Words("本期中位数", "median now"), "number"),
            Column("empty_before", Words("参照缺失", "empty before"), "share"),
            Column("empty_now", Words("本期缺失", "empty now"), "share"),
        ),
        tuple(rows),
    )


def _meaning(name: str) -> Words:
    if name not in FEATURES:  # one of the platform's own extras
        return Words(name, name)
    return Words(FEATURES[name].zh, FEATURES[name].meaning)


def _median(column: np.ndarray) -> float:
    return np.nan if column.dtype == object or np.isnan(column).all() else float(np.nanmedian(column))


def _empty(column: np.ndarray) -> float:
    missing = [value is None for value in column] if column.dtype == object else np.isnan(column)
    return float(np.mean(missing))
