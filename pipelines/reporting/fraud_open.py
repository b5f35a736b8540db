"""The open cases where an analyst's look saves most."""

from __future__ import annotations

from features.catalogue import Catalogue
from models.fraud.explanation import Explanation, Signal
from models.fraud.family_words import family_words
from pipelines.reporting.fraud_material import Material
from pipelines.reporting.fraud_outcomes import ACTION_WORDS
from pipelines.reporting.numbers import NOTHING
from pipelines.reporting.page import Prose, Section
from pipelines.reporting.tables import Column, Table, Words

MOST_FAMILIES, MOST_SIGNALS = 3, 2
"""Families of signals told about a case, the strongest that raise its risk, and signals of each."""


def open_cases(material: Material) -> Section:
    """The section."""
    words = Words("最值得复核的未结交易", "Riskiest open cases")
    if len(material.open_rows) == 0:
        nothing = Words("本期没有未结的交易。", "No trade of this period is open.")
        return Section("open", words, (Prose(nothing),))
    prose = Prose(
        Words(
            "标签仍可能出现的交易，按复核优先度从高到低；优先度按决策口径加权欺诈损失，不是金额。"
            "“复核可省”为单就该笔交易预期省下的钱，可为负数。"
            "信号为模型的依据及其对数几率，只供分析师，不要告诉卖家。",
            "Trades whose label may still come, in the order of the queue, which weighs fraud as the decision does and "
            "is no money. What a review saves is money, expected of this trade alone, and may be negative. "
            "Signals are what moved the model, in log-odds: for analysts, not for who sells.",
        )
    )
    return Section("open", words, (prose, _table(material)))


def _table(material: Material) -> Table:
    cases, said = material.cases, material.said
    lines = []
    for row, why in zip(material.open_rows.tolist(), material.explanations, strict=True):
        named = said.reasons[row]
        lines.append(
            (
                str(cases.trade_id[row]),
                int(cases.submitted_at[row]),
                str(cases.seller_id[row]),
                card_words(material.catalogue, str(cases.card_type[row])),
                int(cases.face_value_fen[row]),
                int(cases.at_risk_fen[row]),
                float(said.computed[row]),
                ACTION_WORDS[str(said.action[row])],
                float(said.saving_fen[row]),
                float(said.priority_fen[row]) / 100,
                Words("；".join(one.zh for one in named), "; ".join(one.en for one in named)),
                signals(why),
            )
        )
    return Table(
        "open_cases",
        material.flattered(Words("未结交易", "Open cases"), material.open_rows),
        (
            Column("trade_id", Words("交易编号", "trade"), "text"),
            Column("submitted_at", Words("提交时间", "submitted"), "time"),
            Column("seller_id", Words("卖家", "seller"), "text"),
            Column("card_type", Words("卡种", "card type"), "words"),
            Column("face_cny", Words("面值", "face value"), "yuan"),
            Column("at_risk_cny", Words("报价金额", "offered"), "yuan"),
            Column("probability", Words("欺诈概率", "probability"), "share"),
            Column("decision", Words("决定", "decision"), "words"),
            Column("review_saving_cny", Words("复核可省", "a review saves"), "yuan"),
            Column("review_priority", Words("复核优先度", "priority"), "number"),
            Column("reasons", Words("原因", "reasons"), "words"),
            Column("signals", Words("信号", "signals"), "words"),
        ),
        tuple(lines),
    )


def signals(why: Explanation) -> Words:
    """What raised a trade's risk most, a line a family, with the values behind it."""
    families = [family for family in why.families if family.log_odds > 0][:MOST_FAMILIES]
    told = []
    for family in families:
        zh, en = family_words(family.family)
        values = [(signal.zh, signal.name, _value(signal)) for signal in family.signals[:MOST_SIGNALS]]
        told.append(
            Words(
                f"{zh} {family.log_odds:+.2f}（{'，'.join(f'{name} {value}' for name, _, value in values)}）",
                f"{en} {family.log_odds:+.2f} ({', '.join(f'{name} {value}' for _, name, value in values)})",
            )
        )
    return Words("\n".join(one.zh for one in told), "\n".join(one.en for one in told))


def _value(signal: Signal) -> str:
    if signal.value is None:
        return NOTHING
    if isinstance(signal.value, str):
        return signal.value
    return f"{signal.value:,.0f}" if abs(signal.value) >= 1_000 else f"{signal.value:.3g}"


def card_words(catalogue: Catalogue, card_type: str) -> Words:
    """The name of a card type, or its own name where the catalogue has none."""
    card = catalogue.types.get(card_type)
    return Words(card_type, card_type) if card is None else Words(card.name_zh, card.name_en)
