"""The first part of a fraud report: what period and which model it is about, and the figures to see first."""

from __future__ import annotations

import numpy as np

from features.definitions import FEATURES
from models.evaluation.calibration import calibration
from models.fraud.family_words import absent_families
from models.fraud.model import FraudModel
from pipelines.reporting.fraud_material import Material
from pipelines.reporting.fraud_money import expected_in_refused, money, refused_share
from pipelines.reporting.fraud_scoring import LOGGED, MODELLED, QUOTED
from pipelines.reporting.fraud_segments import PROFILES
from pipelines.reporting.numbers import count, percent, ratio, yuan
from pipelines.reporting.page import Prose, Section, Tile
from pipelines.reporting.tables import Column, Table, Words, china_time

FAR_OFF = (0.8, 1.25)
"""Mean probability by fraud rate outside these calls for a look."""
JUDGED_FIGURES = {
    "average_precision": Words("AP", "AP"),
    "auc": Words("AUC", "AUC"),
    "recall_at_1pct_fpr": Words("误报 1 % 时召回", "recall at 1 % FPR"),
    "ece": Words("ECE", "ECE"),
    "calibration_ratio": Words("概率/实际", "probability / true"),
}


def tiles(material: Material) -> list[Tile]:
    """The figures to see first."""
    cases, said = material.cases, material.said
    found = money(cases, said.action, material.settings.decision)
    refused, most = refused_share(said.action), material.settings.decision.refuse_most_share
    _, expected = expected_in_refused(cases, said.action, said.computed)
    stopped = found.stopped_fen / found.at_stake_fen if found.at_stake_fen else np.nan
    honest = cases.is_honest
    wrongly = float(np.mean(said.action[honest] == "refuse")) if honest.any() else np.nan
    return [
        Tile(count(len(cases)), Words("交易", "trades")),
        Tile(yuan(float(cases.face_value_fen.sum())), Words("面值", "face value")),
        Tile(count(float(cases.is_fraud.sum())), Words("已知欺诈", "known frauds")),
        Tile(percent(stopped), _stopped_words(material)),
        Tile(yuan(found.lost_fen), Words("已知欺诈损失", "lost to known fraud")),
        Tile(yuan(expected), Words("拒收交易中的预期欺诈", "fraud expected in refused trades")),
        Tile(
            percent(refused),
            Words(f"拒收（目标 ≤ {percent(most)}）", f"refused (target ≤ {percent(most)})"),
            bad=refused > most,
        ),
        Tile(percent(wrongly), Words("已知正常被误拒", "of known honest refused")),
        _calibration_tile(material),
    ]


def _stopped_words(material: Material) -> Words:
    """What the share stopped is a share of; flattering where the model decides on what it was fitted on."""
    said = material.said
    if (said.learned & (said.origin == MODELLED)).any():
        return Words("已知欺诈金额拦住（含样本内）", "of known fraud money stopped (partly in-sample)")
    return Words("已知欺诈金额拦住", "of known fraud money stopped")


def _calibration_tile(material: Material) -> Tile:
    judged = material.judged(material.told)
    level = calibration(probability=judged.probability, outcome=judged.fraud, weight=judged.weight).ratio
    bad = bool(np.isfinite(level)) and not FAR_OFF[0] <= level <= FAR_OFF[1]
    return Tile(ratio(level), Words("平均概率 / 实际欺诈率", "mean probability / fraud rate"), bad=bad)


def header(material: Material) -> Section:
    """What the report is about."""
    blocks: list = [*_alarms(material), _facts(material)]
    return Section("about", Words("本报告的依据", "What this report rests on"), tuple(blocks))


def _alarms(material: Material) -> list[Prose]:
    """What to know before believing a figure."""
    found, said = [], material.said
    seen, size = int(said.learned.sum()), len(material.cases)
    if seen:
        found.append(
            Words(
                f"样本内：{seen:,} 笔（{seen / size:.0%}）交易属于现任模型的训练时段，现在算出的分数对它们偏乐观；"
                "评判模型的部分尽量只用未见过的交易，做不到时会注明。",
                f"IN-SAMPLE: {seen:,} trades ({seen / size:.0%}) belong to the time the champion was fitted on; scores "
                f"computed for them now flatter. Parts that judge the model use unseen trades where they can, and say "
                f"so where they cannot.",
            )
        )
    modelled = int((said.origin == MODELLED).sum())
    if modelled:
        found.append(
            Words(
                f"{modelled:,} 笔交易没有当时的决定记录，其决定为现任模型（不含规则和名单）现在会做的决定。",
                f"No decision is on record for {modelled:,} trades; theirs is what the champion would decide now, "
                f"without rules and lists.",
            )
        )
    if not np.isfinite(material.cases.fraud).any():
        found.append(
            Words(
                "本期没有任何标签：拦住与漏过、排序和校准都无法评判。标签随导入（fraud、fraud_known_at）或服务事件而来。",
                "No trade of this period has a label: what was caught and missed, ranking and calibration cannot be "
                "judged. Labels come with an import (fraud, fraud_known_at) or as events of the service.",
            )
        )
    elif not material.cases.is_fraud.any():
        found.append(Words("本期没有已知欺诈。", "No trade of this period is known to be fraud."))
    return [Prose(words, alarm=True) for words in found]


def _facts(material: Material) -> Table:
    cases, champion = material.cases, material.champion
    since, until = (
        f"{china_time(at):%Y-%m-%d %H:%M}" for at in (material.period.since, material.period.until)
    )
    learned = [f"{china_time(at * 1000):%Y-%m-%d}" for at in (champion.learned_from, champion.learned_to)]
    facts = champion.model.metadata
    fraud, honest, unknown = (int(mask.sum()) for mask in (cases.is_fraud, cases.is_honest, cases.is_open))
    rows = [
        (
            Words("期间（北京时间）", "period (China time)"),
            Words(f"{since} 至 {until}", f"{since} to {until}"),
        ),
        (Words("交易", "trades"), _same(count(len(cases)))),
        (
            Words("标签", "labels"),
            Words(
                f"欺诈 {fraud:,}，正常 {honest:,}，未知 {unknown:,}",
                f"{fraud:,} fraud, {honest:,} honest, {unknown:,} unknown",
            ),
        ),
        (
            Words("模型", "model"),
            Words(
                f"风控模型第 {champion.version} 版（现任），学习了 {learned[0]} 至 {learned[1]} 的"
                f" {facts['rows']:,} 笔交易，其中欺诈 {facts['frauds']:,}",
                f"fraud model version {champion.version}, the champion; it learned from {facts['rows']:,} trades of "
                f"{learned[0]} to {learned[1]}, {facts['frauds']:,} of them fraud",
            ),
        ),
        (
            Words(
                "模型登记时在后续交易上的表现", "the model's figures on later trades when it was registered"
            ),
            _judged(material),
        ),
        (Words("分数", "scores"), _scores(material)),
        (Words("决定", "decisions"), _decisions(material)),
        (Words("平台", "platform"), PROFILES[material.settings.profile]),
        (Words("模型缺少的信号", "signals the model had to do without"), _absent(champion.model)),
    ]
    return Table(
        "about",
        Words("依据", "Facts"),
        (Column("what", Words("项目", "what"), "words"), Column("value", Words("内容", "content"), "words")),
        tuple(rows),
    )


def _scores(material: Material) -> Words:
    """How the scores came to be."""
    said = material.said
    recorded, inside = int(said.recorded.sum()), int(said.in_sample.sum())
    computed = len(material.cases) - recorded
    return Words(
        f"报价时记录 {recorded:,}；现任模型按交易当时所知现在计算 {computed:,}（其中样本内 {inside:,}）",
        f"{recorded:,} recorded when the trade was quoted; {computed:,} computed now by the champion as of each trade "
        f"({inside:,} of them in-sample)",
    )


def _decisions(material: Material) -> Words:
    """Where the decisions come from."""
    quoted, logged, modelled = (
        int((material.said.origin == name).sum()) for name in (QUOTED, LOGGED, MODELLED)
    )
    return Words(
        f"服务报价 {quoted:,}，导入日志 {logged:,}，现任模型 {modelled:,}",
        f"{quoted:,} of the service's quotes, {logged:,} of the imported log, {modelled:,} of the champion",
    )


def _judged(material: Material) -> Words:
    """The figures that the registry keeps of the champion."""
    metrics = material.version.metrics
    kept = [(words, metrics[name]) for name, words in JUDGED_FIGURES.items() if name in metrics]
    return Words(
        "，".join(f"{words.zh} {value:.3f}" for words, value in kept),
        ", ".join(f"{words.en} {value:.3f}" for words, value in kept),
    )


def _absent(model: FraudModel) -> Words:
    """What was empty in training, by family."""
    families = absent_families(model.absent_signals, registry=FEATURES)
    if not families:
        return Words("无", "none")
    parts = ["" if family.whole else f" ({family.absent}/{family.of})" for family in families]
    return Words(
        "，".join(family.zh + part for family, part in zip(families, parts, strict=True)),
        ", ".join(family.en + part for family, part in zip(families, parts, strict=True)),
    )


def _same(text: str) -> Words:
    return Words(text, text)
