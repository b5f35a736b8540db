"""Which reasons were named, and how often they were right."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from models.evaluation.fraud_intervals import wilson
from models.fraud.reason_dictionary import NO_RISK_SIGNALS
from models.reasons import Reason
from pipelines.reporting.fraud_material import Material
from pipelines.reporting.page import Prose, Section
from pipelines.reporting.tables import FEW, Column, Table, Words

COLUMNS = (
    Column("code", Words("代码", "code"), "text"),
    Column("reason", Words("原因", "reason"), "words"),
    Column("stopped", Words("被拦交易", "trades stopped")),
    Column("stopped_share", Words("占被拦", "of stopped"), "share"),
    Column("judged", Words("标签已到期", "label due")),
    Column("frauds", Words("其中欺诈", "of them fraud")),
    Column("precision", Words("精确率", "precision"), "share"),
    Column("precision_low", Words("95 % 下限", "95 % low"), "share"),
    Column("precision_high", Words("95 % 上限", "95 % high"), "share"),
    Column("fraud_cny", Words("欺诈金额", "fraud money"), "yuan"),
    Column("missed", Words("漏过的欺诈也有", "also on missed frauds")),
)


def reasons(material: Material) -> Section:
    """The section."""
    found, stopped = _named(material)
    words = Words("主要原因", "Top reasons")
    if not found:
        nothing = Words("模型没有拦下任何交易。", "The model stops no trade of this period.")
        return Section("reasons", words, (Prose(nothing),))
    prose = Prose(
        Words(
            f"现任模型对 {stopped:,} 笔未直接打款的交易给出的原因；一笔交易最多三条。精确率只算标签已到期的交易。",
            f"The champion's reasons for the {stopped:,} trades that it would not simply pay, up to three each. "
            f"Precision is of trades whose label is due.",
        )
    )
    return Section("reasons", words, (prose, _table(material, found, stopped)))


def _named(material: Material) -> tuple[Mapping[Reason, np.ndarray], int]:
    """Rows by the reason named for them, and how many trades are stopped. Trades that are not stopped are among the
    rows if they turned out fraudulent."""
    stopped = material.said.modelled != "pay"
    rows: dict[Reason, list[int]] = {}
    for row in np.flatnonzero(stopped | material.cases.is_fraud).tolist():
        for reason in material.said.reasons[row]:
            rows.setdefault(reason, []).append(row)
    rows.pop(NO_RISK_SIGNALS, None)
    return {reason: np.array(own) for reason, own in rows.items()}, int(stopped.sum())


def _table(material: Material, found: Mapping[Reason, np.ndarray], stopped: int) -> Table:
    cases, modelled = material.cases, material.said.modelled
    due = material.judge.fair
    rows, few = [], []
    for reason, own in found.items():
        is_stopped = modelled[own] != "pay"
        kept = own[is_stopped]
        judged = kept[due[kept]]
        frauds = int(cases.is_fraud[judged].sum())
        precision = frauds / len(judged) if len(judged) else np.nan
        rows.append(
            (
                reason.code,
                Words(reason.zh, reason.en),
                len(kept),
                len(kept) / max(stopped, 1),
                len(judged),
                frauds,
                precision,
                *wilson(precision, len(judged)),
                int(cases.at_risk_fen[judged][cases.is_fraud[judged]].sum()),
                int((~is_stopped).sum()),
            )
        )
        few.append(len(judged) < FEW)
    order = sorted(range(len(rows)), key=lambda place: (-rows[place][2], rows[place][0]))
    return Table(
        "reasons",
        material.flattered(Words("原因", "Reasons"), modelled != "pay"),
        COLUMNS,
        tuple(rows[place] for place in order),
        tuple(few[place] for place in order),
    )
