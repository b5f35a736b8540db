"""How the platform's rules, the legal limits and the lists did on the period's trades."""

from __future__ import annotations

import numpy as np

from models.evaluation.fraud_intervals import wilson
from pipelines.reporting.fraud_material import Material
from pipelines.reporting.page import Prose, Section
from pipelines.reporting.tables import FEW, Column, Table, Value, Words
from pipelines.screening.advice import ACTION_WORDS
from pipelines.screening.history import RuleFigures, RuleTest

MODES = {"live": Words("生效", "live"), "shadow": Words("影子", "shadow")}
ACTIONS = ACTION_WORDS | {"allow": ("放宽", "ease")}
NO_WORDS = Words("", "")
TOGETHER = Words("以上合计（最严者为准）", "all of these, the strictest wins")
COLUMNS = (
    Column("rule", Words("规则", "rule"), "text"),
    Column("mode", Words("模式", "mode"), "words"),
    Column("action", Words("动作", "action"), "words"),
    Column("reason", Words("原因", "reason"), "words"),
    Column("hits", Words("命中", "hits")),
    Column("hits_share", Words("占交易", "of trades"), "share"),
    Column("frauds", Words("欺诈", "frauds")),
    Column("honest", Words("正常", "honest")),
    Column("unknown", Words("未知", "unknown")),
    Column("precision", Words("精确率", "precision"), "share"),
    Column("precision_low", Words("95 % 下限", "95 % low"), "share"),
    Column("precision_high", Words("95 % 上限", "95 % high"), "share"),
    Column("of_all_fraud", Words("占全部欺诈", "of all fraud"), "share"),
    Column("fraud_cny", Words("欺诈金额", "fraud money"), "yuan"),
    Column("model_stops_share", Words("模型也拦", "the model stops too"), "share"),
    Column("changed", Words("改变模型决定", "changes the model's answer")),
    Column("saving_cny", Words("节省", "saves"), "yuan"),
)


def rules(material: Material) -> Section:
    """The section."""
    words, found = Words("规则表现", "Rules' performance"), material.rules
    if found is None:
        nothing = Words(
            "没有生效或影子规则，名单为空。", "No rule is live or in shadow, and the lists are empty."
        )
        return Section("rules", words, (Prose(nothing),))
    prose = Prose(
        Words(
            f"现在的规则、法定限额和名单在本期 {found.trades:,} 笔交易上会命中什么"
            f"（其中已知欺诈 {found.frauds:,}，已知正常 {found.honest:,}），与现任模型自己的决定相比。"
            "节省：因其改变决定（拦下、拦得更严，或由白名单放宽）的已知交易按成本设置省下的钱，负数为亏。",
            f"What today's rules, legal limits and lists would hit among the period's {found.trades:,} trades "
            f"({found.frauds:,} known frauds, {found.honest:,} known honest), beside the champion's own decisions. "
            f"Saves: what is won by the settings' costs where the answer changes (stopped, stopped harder, or eased by "
            f"the allow list), of trades with a label; negative where it costs.",
        )
    )
    return Section("rules", words, (prose, *_notes(found), _table(found)))


def _notes(found: RuleTest) -> list[Prose]:
    """What to know before believing a figure, as the trial says it."""
    return [Prose(Words(f"注意（原文）：{note}", f"Note: {note}."), alarm=True) for note in found.notes]


def _table(found: RuleTest) -> Table:
    rows = [_row(figures, found) for figures in (*found.figures, found.together)]
    few = tuple(one.frauds + one.honest < FEW for one in (*found.figures, found.together))
    return Table("rules", Words("规则、限额与名单", "Rules, limits and lists"), COLUMNS, tuple(rows), few)


def _row(figures: RuleFigures, found: RuleTest) -> tuple[Value, ...]:
    rule, known = figures.rule, figures.frauds + figures.honest
    precision = _share(figures.frauds, known)
    return (
        "–" if rule is None else rule.name,
        NO_WORDS if rule is None else MODES[rule.mode],
        NO_WORDS if rule is None else Words(*ACTIONS[rule.action]),
        TOGETHER if rule is None else Words(rule.reason.zh, rule.reason.en),
        figures.hits,
        _share(figures.hits, found.trades),
        figures.frauds,
        figures.honest,
        figures.hits - known,
        precision,
        *wilson(precision, known),
        _share(figures.frauds, found.frauds),
        figures.fraud_fen,
        _share(figures.stopped_anyway, figures.hits),
        figures.changed,
        figures.saving_fen,
    )


def _share(part: int, whole: int) -> float:
    return part / whole if whole else np.nan
