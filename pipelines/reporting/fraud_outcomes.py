"""What was caught, missed and wrongly stopped, with the money."""

from __future__ import annotations

import numpy as np

from models.evaluation.fraud_intervals import wilson
from models.evaluation.fraud_money import at_stake, stopped_share
from models.fraud.decision import ACTIONS
from pipelines.reporting.drawing import BLUE, GREEN, GREY, RED, Drawing
from pipelines.reporting.fraud_intake import day_us
from pipelines.reporting.fraud_material import Material
from pipelines.reporting.fraud_money import (
    expected_in_refused,
    money,
    refused_share,
    share_of,
)
from pipelines.reporting.numbers import percent
from pipelines.reporting.page import Picture, Prose, Section
from pipelines.reporting.tables import FEW, Column, Table, Value, Words

PALE = "#8fce9b"
ACTION_WORDS = {
    "pay": Words("直接打款", "pay"),
    "hold": Words("暂缓打款", "hold"),
    "review": Words("人工复核", "review"),
    "refuse": Words("拒收", "refuse"),
}
TOTAL = Words("合计", "total")
CLASSES = {
    "fraud": Words("欺诈", "fraud"),
    "honest": Words("正常", "honest"),
    "ripening": Words("未知（未到期）", "unknown, label still due"),
    "overdue": Words("未知（逾期）", "unknown, overdue"),
    "unsold": Words("未收（无标签）", "not bought, no label comes"),
}
"""What is known of a trade (:func:`pipelines.reporting.fraud_cases.classes`)."""


def outcomes(material: Material) -> Section:
    """The section."""
    said = material.said
    blocks: list = [
        Prose(
            Words(
                "行是决定，列是后来知道的真相；金额为报价金额（没有报价时为面值）。标签未知的交易不算正常。"
                "被拒收或卖家没有成交的交易永远不会有标签，所以已知欺诈里多是放行的。",
                "Rows are decisions, columns what became known later; money is what was offered (the face value where "
                "nothing was offered). A trade without a label does not count as honest. "
                "Refused and declined trades never get a label, so that most known frauds are among those let pass.",
            )
        ),
        _matrix("outcomes", Words("决定与真相", "Decisions and the truth"), material, said.action),
    ]
    if "champion" in _answers(material):
        title = Words("现任模型会怎么决定", "What the champion would decide today")
        blocks.append(_matrix("outcomes_by_champion", material.flattered(title), material, said.modelled))
    blocks += [
        _summary(material),
        _money(material),
        Picture(
            _picture(material),
            Words(
                "每周：已知欺诈拦住与损失的金额，拒收且无标签的交易中现任模型预期的欺诈（上）；"
                "拒收与未直接打款的比例（下，虚线为目标上限）",
                "By week: money of known frauds, stopped and lost, and what the champion expects among refused trades "
                "without a label (above); share refused and share not simply paid "
                "(below, dashed: the most by the settings)",
            ),
        ),
        _weeks(material),
    ]
    return Section("outcomes", Words("拦住、漏过、误拦", "Caught, missed, wrongly stopped"), tuple(blocks))


def _answers(material: Material) -> dict[str, np.ndarray]:
    """What was decided, and what the champion alone would decide where that is something else."""
    said = material.said
    own = {"champion": said.modelled} if (said.modelled != said.action).any() else {}
    return {"decided": said.action} | own


def _matrix(name: str, title: Words, material: Material, action: np.ndarray) -> Table:
    cases = material.cases
    known = material.classes
    columns = [
        Column("decision", Words("决定", "decision"), "words"),
        Column("trades", Words("交易", "trades")),
        Column("trades_share", Words("占比", "share"), "share"),
    ]
    for key, words in CLASSES.items():
        columns.append(Column(key, words))
        columns.append(Column(f"{key}_cny", Words("金额", "money"), "yuan"))
    rows = []
    for one in (*ACTIONS, None):
        own = np.ones(len(cases), dtype=bool) if one is None else action == one
        row = [TOTAL if one is None else ACTION_WORDS[one], int(own.sum()), float(own.mean())]
        for mask in known.values():
            row += [int((own & mask).sum()), int(cases.at_risk_fen[own & mask].sum())]
        rows.append(tuple(row))
    return Table(name, title, tuple(columns), tuple(rows))


def _summary(material: Material) -> Table:
    """What decisions did to known frauds and to known honest trades, and what the champion's would."""
    cases, answers = material.cases, _answers(material)
    rows, few = [], []
    for mask, lines in ((cases.is_fraud, FRAUD_LINES), (cases.is_honest, HONEST_LINES)):
        size = int(mask.sum())
        for words, actions in lines:
            row: list[Value] = [words, size]
            for action in answers.values():
                own = mask & np.isin(action, actions)
                share = share_of(float(own.sum()), size)
                row += [int(own.sum()), share, *wilson(share, size), int(cases.at_risk_fen[own].sum())]
            rows.append(tuple(row))
            few.append(size < FEW)
    return Table(
        "caught_and_missed",
        material.flattered(
            Words(
                "拦住、漏过、误拦（标签已知的交易）",
                "Caught, missed, wrongly stopped, of trades with a label",
            )
        ),
        (
            Column("outcome", Words("结果", "outcome"), "words"),
            Column("of_trades", Words("共", "of")),
            *(column for name in answers for column in OUTCOME_COLUMNS[name]),
        ),
        tuple(rows),
        tuple(few),
    )


def _outcome_columns(key: str, words: Words) -> tuple[Column, ...]:
    return (
        Column(f"{key}trades", Words(f"{words.zh}交易", f"{words.en}trades")),
        Column(f"{key}share", Words(f"{words.zh}比例", f"{words.en}share"), "share"),
        Column(f"{key}share_low", Words("95 % 下限", "95 % low"), "share"),
        Column(f"{key}share_high", Words("95 % 上限", "95 % high"), "share"),
        Column(f"{key}money_cny", Words(f"{words.zh}金额", f"{words.en}money"), "yuan"),
    )


OUTCOME_COLUMNS = {
    "decided": _outcome_columns("", Words("", "")),
    "champion": _outcome_columns("champion_", Words("现任：", "champion: ")),
}
FRAUD_LINES = (
    (Words("欺诈：拒收", "fraud, refused"), ("refuse",)),
    (Words("欺诈：转人工复核", "fraud, sent to review"), ("review",)),
    (Words("欺诈：暂缓打款", "fraud, held"), ("hold",)),
    (Words("欺诈：漏过（直接打款）", "fraud, missed (simply paid)"), ("pay",)),
)
HONEST_LINES = (
    (Words("正常：误拒", "honest, wrongly refused"), ("refuse",)),
    (Words("正常：被复核或暂缓（耽误）", "honest, reviewed or held (delayed)"), ("review", "hold")),
    (Words("正常：直接打款", "honest, simply paid"), ("pay",)),
)


def _money(material: Material) -> Table:
    cases, said, decision = material.cases, material.said, material.settings.decision
    refused, unsold = said.action == "refuse", material.classes["unsold"]
    rows = []
    for name, action in _answers(material).items():
        found = money(cases, action, decision)
        stake = found.at_stake_fen
        if name == "decided":
            rows.append((AT_STAKE, found.frauds, stake, np.nan))
            rows.append((PAID, found.paid, found.paid_fen, share_of(found.paid_fen, stake)))
        rows.append((STOPPED[name], found.frauds, found.stopped_fen, share_of(found.stopped_fen, stake)))
        rows.append((LOST[name], found.frauds, found.lost_fen, share_of(found.lost_fen, stake)))
    expected, expected_fen = expected_in_refused(cases, said.action, said.computed)
    refused_fen = int(cases.at_risk_fen[refused].sum())
    open_rows = cases.is_open & ~unsold
    rows += [
        (_refused_words(decision.refuse_most_share), int(refused.sum()), refused_fen, float(refused.mean())),
        (EXPECTED, expected, expected_fen, share_of(expected_fen, refused_fen)),
        (OPEN, int(open_rows.sum()), int(cases.at_risk_fen[open_rows].sum()), float(open_rows.mean())),
    ]
    return Table(
        "money",
        material.flattered(Words("金额", "Money")),
        (
            Column("what", Words("项目", "what"), "words"),
            Column("trades", Words("交易", "trades")),
            Column("money_cny", Words("金额", "money"), "yuan"),
            Column("share", Words("比例", "share"), "share"),
        ),
        tuple(rows),
    )


AT_STAKE = Words("已知欺诈涉及金额", "at stake in known frauds")
PAID = Words("其中卖家已成交（日志）", "of it, offers that were accepted (by the log)")
STOPPED = {
    "decided": Words(
        "按决定拦住（暂缓、复核按可识别比例）", "stopped by the decisions (holds, reviews by what they catch)"
    ),
    "champion": Words("按现任模型拦住", "stopped by the champion's decisions"),
}
LOST = {
    "decided": Words("按决定损失", "lost by the decisions"),
    "champion": Words("按现任模型损失", "lost by the champion's decisions"),
}
EXPECTED = Words(
    "其中无标签者按现任模型概率估计的欺诈", "fraud the champion expects among those of them without a label"
)
OPEN = Words("仍待标签的交易", "trades whose label may still come")


def _refused_words(most: float) -> Words:
    return Words(
        f"拒收的交易（目标不超过 {percent(most)}）", f"trades refused (target: at most {percent(most)})"
    )


def _weeks(material: Material) -> Table:
    cases, said = material.cases, material.said
    rows, few = [], []
    for week in np.unique(cases.week)[::-1]:
        own = cases.week == week
        fraud = own & at_stake(fraud=cases.is_fraud, accepted=cases.accepted)
        at_risk = cases.at_risk_fen[fraud].astype(np.float64)
        kept = stopped_share(said.action[fraud], decision=material.settings.decision)
        stopped = float(kept @ at_risk)
        rows.append(
            (
                day_us(week),
                int(own.sum()),
                int((own & cases.is_fraud).sum()),
                int((own & cases.is_open).sum()),
                float(at_risk.sum()),
                stopped,
                share_of(stopped, float(at_risk.sum())),
                expected_in_refused(cases, said.action, said.computed, own)[1],
                refused_share(said.action[own]),
                float(np.mean(said.action[own] != "pay")),
            )
        )
        few.append(int(fraud.sum()) < FEW)
    return Table(
        "outcomes_by_week",
        material.flattered(Words("按周（新的在前）", "By week, the newest first")),
        (
            Column("week", Words("周一", "Monday"), "day"),
            Column("trades", Words("交易", "trades")),
            Column("frauds", Words("已知欺诈", "known frauds")),
            Column("without_label", Words("标签未知", "without a label")),
            Column("at_stake_cny", Words("涉及金额", "at stake"), "yuan"),
            Column("stopped_cny", Words("拦住", "stopped"), "yuan"),
            Column("stopped_share", Words("拦住比例", "share stopped"), "share"),
            Column("expected_in_refused_cny", Words("拒收中预期欺诈", "expected in refused"), "yuan"),
            Column("refused_share", Words("拒收比例", "refused"), "share"),
            Column("not_paid_share", Words("未直接打款", "not simply paid"), "share"),
        ),
        tuple(rows),
        tuple(few),
        shown=26,
    )


def _picture(material: Material) -> str:
    rows = _weeks(material).rows[::-1]
    weeks = np.unique(material.cases.week).astype("datetime64[D]")
    at_stake, stopped, expected, refused, not_paid = (
        np.array([row[place] for row in rows], dtype=np.float64) for place in (4, 5, 7, 8, 9)
    )
    with Drawing() as drawing:
        upper, lower = drawing.panels(2, 1, row_height=1.8)
        upper.bar(weeks, stopped / 100, width=5.5, color=GREEN, label="stopped")
        kept = stopped + expected
        upper.bar(
            weeks, expected / 100, bottom=stopped / 100, width=5.5, color=PALE, label="expected in refused"
        )
        upper.bar(weeks, (at_stake - stopped) / 100, bottom=kept / 100, width=5.5, color=RED, label="lost")
        upper.set(ylabel="yuan")
        upper.yaxis.set_major_formatter("{x:,.0f}")
        drawing.legend_above(upper, columns=3)
        lower.plot(weeks, not_paid, "o-", color=GREY, label="not simply paid", markersize=3)
        lower.plot(weeks, refused, "o-", color=BLUE, label="refused", markersize=3)
        lower.axhline(material.settings.decision.refuse_most_share, linestyle="--", linewidth=0.8, color=BLUE)
        lower.set(ylabel="share of trades", ylim=(0, None))
        lower.yaxis.set_major_formatter(lambda value, place: f"{value:.0%}")
        drawing.legend_above(lower, columns=2)
        return drawing.svg(
            {
                "stopped": "拦住",
                "expected in refused": "拒收中的预期欺诈",
                "lost": "损失",
                "yuan": "元",
                "not simply paid": "未直接打款",
                "refused": "拒收",
                "share of trades": "交易占比",
            }
        )
