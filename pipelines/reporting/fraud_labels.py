"""How long labels take and whether they can be relied on: delay, what is still due, and where reviewers agree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.rows import to_microseconds
from features.tables import LABEL_SOURCES
from features.windows import DAY
from models.evaluation.fraud_intervals import wilson
from models.fraud.decision import ACTIONS
from models.fraud.labels import Label
from pipelines.live_trades import told_labels
from pipelines.reporting.drawing import BLUE, RED, Drawing
from pipelines.reporting.fraud_cases import Cases
from pipelines.reporting.fraud_intake import day_us
from pipelines.reporting.fraud_material import Material
from pipelines.reporting.fraud_outcomes import ACTION_WORDS, CLASSES
from pipelines.reporting.page import Picture, Prose, Section
from pipelines.reporting.tables import FEW, Column, Table, Value, Words

SOURCES = {
    "issuer": Words("发卡方", "issuer"),
    "chargeback": Words("拒付", "chargeback"),
    "analyst": Words("分析师", "analyst"),
    "seller_dispute": Words("卖家申诉", "seller's dispute"),
    "matured": Words("到期无投诉", "no complaint in time"),
    None: Words("未注明", "not named"),
}
assert set(SOURCES) == {*LABEL_SOURCES, None}
OUTSIDE = ("issuer", "chargeback")
"""Who learns the truth without asking an analyst."""
VERDICTS = (True, False)


@dataclass(frozen=True)
class Second:
    """A trade (its row) that an analyst judged and somebody outside judged later."""

    row: int
    analyst: bool
    outside: bool


def label_delay(material: Material) -> Section:
    """The section on delays."""
    cases, maturity = material.cases, material.maturity
    words = Words("标签延迟", "Label delay")
    labelled = np.isfinite(cases.fraud)
    known = material.classes
    ripening, overdue = int(known["ripening"].sum()), int(known["overdue"].sum())
    due = Prose(
        Words(
            f"{len(cases):,} 笔交易中 {ripening:,} 笔标签未到期（{ripening / len(cases):.1%}），"
            f"{overdue:,} 笔逾期仍无标签，{int(known['unsold'].sum()):,} 笔没有收卡、不会有标签；都不算正常。",
            f"Of {len(cases):,} trades the label of {ripening:,} is not due yet ({ripening / len(cases):.1%}), that of "
            f"{overdue:,} is overdue, and {int(known['unsold'].sum()):,} were not bought and will not get one; none of "
            f"these count as honest.",
        )
    )
    if maturity.delay_us is not None:
        days = maturity.delay_us / DAY
        rule = Words(
            f"到期：提交后 {days:.1f} 天（99 % 的正常标签在此之前得知）。",
            f"A label is due {days:.1f} days after submission: 99 % of honest labels are known by then.",
        )
        due = Prose(Words(due.words.zh + rule.zh, f"{due.words.en} {rule.en}"))
    if not labelled.any():
        nothing = Words("本期没有任何标签。", "No trade of this period has a label.")
        return Section("delay", words, (due, Prose(nothing, alarm=True), _weeks(material)))
    caption = Words("从提交到得知标签的天数（累计比例）", "Days from submission to label (cumulative share)")
    return Section(
        "delay",
        words,
        (due, Picture(_picture(cases), caption, narrow=True), _delays(cases), _weeks(material)),
    )


def delay_days(cases: Cases) -> np.ndarray:
    """Days from submission to label (n,), NaN without one."""
    return np.where(np.isfinite(cases.fraud), (cases.fraud_known_at - cases.submitted_at) / DAY, np.nan)


def _delays(cases: Cases) -> Table:
    days = delay_days(cases)
    rows, few = [], []
    for source, words in SOURCES.items():
        for name, mask in (("fraud", cases.is_fraud), ("honest", cases.is_honest)):
            own = days[mask & (cases.label_source == source)]
            if len(own):
                quantiles = (float(value) for value in np.quantile(own, (0.1, 0.5, 0.9, 1.0)))
                rows.append((words, CLASSES[name], len(own), *quantiles))
                few.append(len(own) < FEW)
    return Table(
        "label_delay",
        Words("延迟（天）", "Delay in days"),
        (
            Column("source", Words("来源", "source"), "words"),
            Column("class", Words("标签", "label"), "words"),
            Column("trades", Words("交易", "trades")),
            Column("p10_days", Words("10 % 分位", "10 % quantile"), "days"),
            Column("median_days", Words("中位数", "median"), "days"),
            Column("p90_days", Words("90 % 分位", "90 % quantile"), "days"),
            Column("most_days", Words("最长", "longest"), "days"),
        ),
        tuple(rows),
        tuple(few),
    )


def _weeks(material: Material) -> Table:
    cases = material.cases
    known = material.classes
    rows = []
    for week in np.unique(cases.week)[::-1]:
        own = cases.week == week
        counts = {name: int((own & mask).sum()) for name, mask in known.items()}
        size = int(own.sum())
        shares = (counts["ripening"] / size, counts["overdue"] / size)
        rows.append((day_us(week), size, *counts.values(), *shares))
    return Table(
        "labels_by_week",
        Words("按周（新的在前）", "By week, the newest first"),
        (
            Column("week", Words("周一", "Monday"), "day"),
            Column("trades", Words("交易", "trades")),
            *(Column(name, words) for name, words in CLASSES.items()),
            Column("ripening_share", Words("未到期比例", "share still due"), "share"),
            Column("overdue_share", Words("逾期比例", "share overdue"), "share"),
        ),
        tuple(rows),
        shown=26,
    )


def _picture(cases: Cases) -> str:
    days = delay_days(cases)
    with Drawing(dates=False, width=6.0, height=2.8) as drawing:
        axes = drawing.axes()
        for name, mask, colour in (("fraud", cases.is_fraud, RED), ("honest", cases.is_honest, BLUE)):
            if mask.any():
                shares = np.linspace(0, 1, 101)
                axes.plot(np.quantile(days[mask], shares), shares, color=colour, label=name)
        axes.set(xlabel="days", ylabel="share known", xlim=(0, None), ylim=(0, 1.02))
        axes.yaxis.set_major_formatter(lambda value, place: f"{value:.0%}")
        axes.legend(loc="lower right")
        return drawing.svg({"fraud": "欺诈", "honest": "正常", "days": "天", "share known": "已知比例"})


def agreement(material: Material) -> Section:
    """The section on reviewers."""
    words = Words("复核一致性", "Reviewer agreement")
    verdicts = analyst_verdicts(material)
    if not verdicts:
        nothing = Words(
            "本期没有分析师给出的标签（label_source = analyst），无从比较。",
            "No trade of this period was labelled by an analyst (label_source = analyst); there is nothing to compare.",
        )
        return Section("agreement", words, (Prose(nothing),))
    later = seconds(material, verdicts)
    blocks: list = [
        Prose(
            Words(
                f"分析师判定 {len(verdicts):,} 笔，其中 {len(later):,} 笔后来有发卡方或拒付结论。",
                f"Analysts judged {len(verdicts):,} trades; of {len(later):,} the issuer or a chargeback told later.",
            )
        ),
        _with_model(material, verdicts),
    ]
    if later:
        blocks.insert(1, _with_outside(later))
    return Section("agreement", words, tuple(blocks))


def analyst_verdicts(material: Material) -> dict[int, Label]:
    """The first verdict of an analyst on each trade, by row: told to the service, or in the tables."""
    cases, rows = material.cases, {trade: row for row, trade in enumerate(material.cases.trade_id.tolist())}
    found: dict[int, Label] = {}
    for event, label in zip(material.events, told_labels(material.events), strict=True):
        row = rows.get(event["trade_id"])
        if row is not None and label.source == "analyst":
            found.setdefault(row, label)
    for row in np.flatnonzero((cases.label_source == "analyst") & np.isfinite(cases.fraud)).tolist():
        known_at = np.datetime64(int(cases.fraud_known_at[row]), "us").astype("datetime64[us]").item()
        found.setdefault(row, Label(bool(cases.fraud[row] == 1), "analyst", known_at))
    return dict(sorted(found.items()))


def seconds(material: Material, verdicts: dict[int, Label]) -> list[Second]:
    """Trades with a later verdict from OUTSIDE: told to the service, or the label in the tables."""
    cases = material.cases
    found: dict[int, bool] = {}
    for row in verdicts:
        if cases.label_source[row] in OUTSIDE:
            found[row] = bool(cases.fraud[row] == 1)
    trades = {trade: row for row, trade in enumerate(cases.trade_id.tolist())}
    for event, label in zip(material.events, told_labels(material.events), strict=True):
        row = trades.get(event["trade_id"])
        if row in verdicts and label.source in OUTSIDE:
            at = to_microseconds(label.known_at)
            if at > _when(verdicts[row]):
                found[row] = label.fraud
    return [Second(row, verdicts[row].fraud, outside) for row, outside in sorted(found.items())]


def _when(label: Label) -> int:
    at = label.known_at
    return to_microseconds(at) if at.tzinfo else int(np.datetime64(at, "us").astype(np.int64))


def _with_outside(later: list[Second]) -> Table:
    rows, few = [], []
    for verdict in VERDICTS:
        own = [one for one in later if one.analyst is verdict]
        agreed = sum(one.outside is verdict for one in own)
        share = agreed / len(own) if own else np.nan
        rows.append(
            (CLASSES["fraud" if verdict else "honest"], len(own), agreed, share, *wilson(share, len(own)))
        )
        few.append(len(own) < FEW)
    return Table(
        "analysts_and_outside",
        Words("分析师与后来的发卡方、拒付结论", "Analysts against the issuer or a chargeback later"),
        (
            Column("analyst_said", Words("分析师判定", "the analyst said"), "words"),
            Column("trades", Words("交易", "trades")),
            Column("agreed", Words("一致", "agreed")),
            Column("agreed_share", Words("一致率", "share"), "share"),
            Column("agreed_low", Words("95 % 下限", "95 % low"), "share"),
            Column("agreed_high", Words("95 % 上限", "95 % high"), "share"),
        ),
        tuple(rows),
        tuple(few),
    )


def _with_model(material: Material, verdicts: dict[int, Label]) -> Table:
    rows, few = [], []
    for verdict in VERDICTS:
        own = np.array([row for row, label in verdicts.items() if label.fraud is verdict], dtype=np.int64)
        actions = material.said.modelled[own]
        shares: list[Value] = [
            float(np.mean(actions == action)) if len(own) else np.nan for action in ACTIONS
        ]
        mean = float(np.mean(material.said.computed[own])) if len(own) else np.nan
        rows.append((CLASSES["fraud" if verdict else "honest"], len(own), mean, *shares))
        few.append(len(own) < FEW)
    return Table(
        "analysts_and_model",
        material.flattered(
            Words("分析师判定与现任模型的决定", "Analysts against the champion's decisions"),
            np.array([*verdicts], dtype=np.int64),
        ),
        (
            Column("analyst_said", Words("分析师判定", "the analyst said"), "words"),
            Column("trades", Words("交易", "trades")),
            Column("mean_probability", Words("平均概率", "mean probability"), "share"),
            *(Column(f"{action}_share", ACTION_WORDS[action], "share") for action in ACTIONS),
        ),
        tuple(rows),
        tuple(few),
    )
