"""The same figures for parts of the trades: new sellers, card categories, face values, regions, channels."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from models.evaluation.fraud_intervals import effective_rows, wilson
from models.evaluation.fraud_slices import FACE_BANDS_CNY, SliceMetrics, evaluate_slices
from pipelines.reporting.fraud_intake import category_words, groups, plain
from pipelines.reporting.fraud_material import Material
from pipelines.reporting.fraud_ranking import basis_words
from pipelines.reporting.page import Prose, Section
from pipelines.reporting.tables import Column, Table, Value, Words

MOST_GROUPS = 15
"""The largest of each kind; the others are put together."""
PROFILES = {
    "small": Words("小型平台", "small platform"),
    "medium": Words("中型平台", "medium platform"),
    "head": Words("头部平台", "head platform"),
}
OTHERS = Words("其他", "others")

Part = tuple[Words, Words, np.ndarray]
"""Of which kind a part is, its name, and its trades (n,) bool."""


def parts_of(material: Material) -> list[Part]:
    """All parts, each kind covering every trade of which it is known."""
    cases, said = material.cases, material.said
    whole = np.ones(len(cases), dtype=bool)
    found: list[Part] = [
        (Words("全部", "everything"), PROFILES[material.settings.profile], whole),
        (Words("卖家", "seller"), Words("新卖家", "new"), said.new_seller == 1),
        (Words("卖家", "seller"), Words("老卖家", "known"), said.new_seller == 0),
    ]
    for kind, values, words in (
        (Words("类别", "category"), cases.category, category_words(material)),
        (Words("面值", "face value"), _bands(cases.face_value_fen), _band_words),
        (Words("地区", "region"), cases.region, plain),
        (Words("渠道", "channel"), cases.channel, plain),
        (Words("形态", "form"), cases.card_form, plain),
    ):
        own = groups(values)
        if len(own) == 1 and own[0][0] is None:
            continue
        found += [(kind, words(value), _mask(rows, len(cases))) for value, rows in own[:MOST_GROUPS]]
        rest = [rows for _, rows in own[MOST_GROUPS:]]
        if rest:
            found.append((kind, OTHERS, _mask(np.concatenate(rest), len(cases))))
    return [part for part in found if part[2].any()]


def segments(material: Material) -> Section:
    """The section."""
    return Section(
        "segments",
        Words("分组", "Segments"),
        (
            Prose(basis_words(material, material.told)),
            Prose(
                Words(
                    "召回率：在全体正常交易 1 % 被标记的同一分数线上。概率/实际：平均预测概率除以实际欺诈率，1 为准。"
                    "标“少”的行交易少于 200 笔或欺诈少于 10 笔。",
                    "Recall is above the one score that flags 1 % of all honest trades. Probability / true: mean "
                    "probability by fraud rate, 1 is right. Rows marked few have less than 200 trades or 10 frauds.",
                )
            ),
            _table(material),
        ),
    )


def _table(material: Material) -> Table:
    parts = parts_of(material)
    judged = material.judged(material.told)
    masks: Mapping[str, np.ndarray] = {
        str(place): part[2][material.told.rows] for place, part in enumerate(parts)
    }
    kept = {name: mask for name, mask in masks.items() if mask.any()}
    found = {
        part.name: part
        for part in evaluate_slices(
            judged,
            kept,
            costs=material.settings.costs,
            decision=material.settings.decision,
            rng=np.random.default_rng(0),
        )
    }
    rows, few = [], []
    for place, (kind, words, mask) in enumerate(parts):
        one = found.get(str(place))
        weight = judged.weights[masks[str(place)]]
        rows.append(
            (kind, words, int(mask.sum()), int(material.cases.at_risk_fen[mask].sum()), *_row(one, weight))
        )
        few.append(one is None or not one.enough)
    return Table("segments", Words("分组", "Segments"), COLUMNS, tuple(rows), tuple(few))


COLUMNS = (
    Column("kind", Words("分组", "by"), "words"),
    Column("part", Words("取值", "part"), "words"),
    Column("trades", Words("交易", "trades")),
    Column("at_risk_cny", Words("报价金额", "offered"), "yuan"),
    Column("judged", Words("可评判", "judged")),
    Column("frauds", Words("欺诈", "frauds")),
    Column("fraud_rate", Words("欺诈率", "fraud rate"), "share"),
    Column("fraud_rate_low", Words("95 % 下限", "95 % low"), "share"),
    Column("fraud_rate_high", Words("95 % 上限", "95 % high"), "share"),
    Column("average_precision", Words("AP", "AP"), "number"),
    Column("recall", Words("召回率", "recall"), "share"),
    Column("honest_flagged", Words("正常被标记", "honest flagged"), "share"),
    Column("probability_by_true", Words("概率/实际", "probability / true"), "number"),
)


def _row(one: SliceMetrics | None, weight: np.ndarray) -> tuple[Value, ...]:
    if one is None:
        return (0, 0, *[np.nan] * 7)
    low, high = wilson(one.rate, effective_rows(weight))
    return (
        one.trades,
        one.frauds,
        one.rate,
        low,
        high,
        one.average_precision,
        one.recall,
        one.false_positive_rate,
        one.calibration_ratio,
    )


def _bands(face_value_fen: np.ndarray) -> np.ndarray:
    return np.searchsorted(FACE_BANDS_CNY, face_value_fen / 100, side="right").astype(object)


def _band_words(band: object) -> Words:
    place = int(str(band))
    if place == 0:
        return Words(f"{FACE_BANDS_CNY[0]} 元以下", f"below ¥{FACE_BANDS_CNY[0]}")
    low = FACE_BANDS_CNY[place - 1]
    if place == len(FACE_BANDS_CNY):
        return Words(f"{low} 元及以上", f"¥{low} and more")
    high = FACE_BANDS_CNY[place]
    return Words(f"{low} 至 {high} 元", f"¥{low} to ¥{high}")


def _mask(rows: np.ndarray, size: int) -> np.ndarray:
    mask = np.zeros(size, dtype=bool)
    mask[rows] = True
    return mask
