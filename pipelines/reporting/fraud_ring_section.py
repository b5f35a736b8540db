"""The newest rings of a report: a picture and a table of members each."""

from __future__ import annotations

import numpy as np

from features.entities import LINK_CAPS, LINK_EPOCH
from features.windows import DAY
from pipelines.reporting.fraud_cases import Cases
from pipelines.reporting.fraud_intake import groups
from pipelines.reporting.fraud_material import Material
from pipelines.reporting.fraud_rings import HIGH_QUANTILE, LARGEST, MOST_RINGS, Link, Ring, find_rings
from pipelines.reporting.page import Picture, Prose, Section
from pipelines.reporting.ring_drawing import SHAPES, Node, draw
from pipelines.reporting.tables import Column, Table, Value, Words

MOST_DRAWN = 30
"""Sellers of one picture; and as many things they share."""
SHOWN_MEMBERS = 25
KINDS = {
    "seller": Words("卖家", "seller"),
    "device": Words("设备", "device"),
    "payout_account": Words("收款账户", "payout account"),
    "card_prefix": Words("卡券批次", "card batch"),
    "ip": Words("网络地址", "address"),
}
AMOUNTS = (
    Column("trades", Words("交易", "trades")),
    Column("at_risk_cny", Words("报价金额", "offered"), "yuan"),
    Column("frauds", Words("已知欺诈", "known frauds")),
    Column("honest", Words("已知正常", "known honest")),
    Column("without_label", Words("标签未知", "no label")),
    Column("mean_probability", Words("平均概率", "mean probability"), "share"),
    Column("first", Words("首笔", "first"), "time"),
    Column("last", Words("末笔", "last"), "time"),
)


def rings(material: Material) -> Section:
    """The section."""
    found = find_rings(material.cases, material.said.computed)
    words = Words("最新团伙", "Newest rings")
    caps = ", ".join(f"{KINDS[kind].en} {cap}" for kind, cap in LINK_CAPS.items())
    caps_zh = "、".join(f"{KINDS[kind].zh} {cap}" for kind, cap in LINK_CAPS.items())
    days = 2 * LINK_EPOCH // DAY
    prose = Prose(
        Words(
            f"本期末 {days} 天以内，共用设备或收款账户的卖家"
            f"（与特征相同，每个值最多连接：{caps_zh} 位卖家）。"
            f"超过 {LARGEST} 位卖家的连通群多属巧合，其中只连接有已知欺诈或平均分数高的卖家。"
            f"列出有已知欺诈、或平均分数高于全部交易 {HIGH_QUANTILE:.0%} 分位的团伙中"
            f"可疑金额最大的 {MOST_RINGS} 个，新的在前。",
            f"Sellers who share a device or payout account within at most {days} days before the period's "
            f"end (as in the features, one value links at most: {caps}). A group of more than {LARGEST} "
            f"sellers is mostly chance; within it only sellers with a known fraud or a high mean score are linked. "
            f"Shown are the {MOST_RINGS} with the most suspicious money among groups with a known fraud or a mean "
            f"score above the {HIGH_QUANTILE:.0%} quantile of all trades, the newest first.",
        )
    )
    if not found:
        nothing = Prose(Words("本期没有这样的团伙。", "There is no such group in this period."))
        return Section("rings", words, (prose, nothing))
    blocks: list = [prose, _overview(material, found)]
    for number, ring in enumerate(found, start=1):
        blocks += _one(material, ring, number)
    return Section("rings", words, tuple(blocks))


def _overview(material: Material, found: tuple[Ring, ...]) -> Table:
    rows = []
    for number, ring in enumerate(found, start=1):
        rows.append(
            (
                str(number),
                len(ring.sellers),
                len(ring.links),
                ring.since,
                ring.suspicious_fen,
                *_amounts(material.cases, material.said.computed, ring.rows),
            )
        )
    return Table(
        "rings",
        material.flattered(Words("团伙一览", "Overview"), np.concatenate([ring.rows for ring in found])),
        (
            Column("ring", Words("团伙", "ring"), "text"),
            Column("sellers", Words("卖家", "sellers")),
            Column("links", Words("共用", "shared")),
            Column("linked_since", Words("形成于", "linked since"), "time"),
            Column("suspicious_cny", Words("可疑金额", "suspicious money"), "yuan"),
            *AMOUNTS,
        ),
        tuple(rows),
    )


def _one(material: Material, ring: Ring, number: int) -> list[Picture | Table]:
    cases, scores = material.cases, material.said.computed
    sellers = _ordered_sellers(cases, scores, ring)
    place = {seller: number for number, seller in enumerate(sellers, start=1)}
    links = sorted(ring.links, key=lambda link: (-len(link.sellers), link.kind, link.value))
    labels = _labels(links)
    table = _members(cases, scores, ring, place, list(zip(labels, links, strict=True)), number)
    drawn = sellers[:MOST_DRAWN]
    kept = [
        (label, link)
        for label, link in zip(labels, links, strict=True)
        if sum(seller in place and place[seller] <= MOST_DRAWN for seller in link.sellers) > 1
    ][:MOST_DRAWN]
    nodes = [_seller_node(cases, scores, ring, seller, place[seller]) for seller in drawn]
    edges = []
    for label, link in kept:
        nodes.append(Node(link.kind, label, f"{KINDS[link.kind].zh} {KINDS[link.kind].en}: {link.value}"))
        edges += [
            (place[seller] - 1, len(nodes) - 1) for seller in link.sellers if place[seller] <= MOST_DRAWN
        ]
    cut = len(drawn) < len(sellers) or len(kept) < len(links)
    more_zh, more_en = (
        ("（只画出最可疑的部分）", " (only the most suspicious part is drawn)") if cut else ("", "")
    )
    words = Words(
        f"团伙 {number}：{len(sellers)} 位卖家，{len(links)} 个共用项{more_zh}",
        f"Ring {number}: {len(sellers)} sellers, {len(links)} things shared{more_en}",
    )
    return [Picture(draw(nodes, edges), words, narrow=True), table]


def _seller_node(cases: Cases, scores: np.ndarray, ring: Ring, seller: str, number: int) -> Node:
    own = ring.rows[cases.seller_id[ring.rows] == seller]
    fraud = bool((cases.fraud[own] == 1).any())
    high = float(np.nanmax(scores[own], initial=0.0)) > float(np.nanquantile(scores, HIGH_QUANTILE))
    return Node(
        "seller",
        str(number),
        f"{KINDS['seller'].zh} {KINDS['seller'].en}: {seller}",
        2 if fraud else int(high),
    )


def _ordered_sellers(cases: Cases, scores: np.ndarray, ring: Ring) -> list[str]:
    """The ring's sellers, those with the most suspicious money first."""
    fraud = cases.fraud[ring.rows]
    suspicion = (
        np.where(np.isnan(fraud), np.nan_to_num(scores[ring.rows]), fraud) * cases.at_risk_fen[ring.rows]
    )
    total: dict[str, float] = {}
    for seller, fen in zip(cases.seller_id[ring.rows].tolist(), suspicion.tolist(), strict=True):
        total[seller] = total.get(seller, 0.0) + fen
    return sorted(total, key=lambda seller: (-total[seller], seller))


def _labels(links: list[Link]) -> list[str]:
    """D1, D2, A1, …: the letter of the kind and a number."""
    counts: dict[str, int] = {}
    labels = []
    for link in links:
        counts[link.kind] = counts.get(link.kind, 0) + 1
        labels.append(f"{SHAPES[link.kind][0]}{counts[link.kind]}")
    return labels


def _members(
    cases: Cases,
    scores: np.ndarray,
    ring: Ring,
    place: dict[str, int],
    links: list[tuple[str, Link]],
    number: int,
) -> Table:
    rows: list[tuple[Value, ...]] = []
    trades = {seller: ring.rows[own] for seller, own in groups(cases.seller_id[ring.rows])}
    for seller, label in place.items():
        own = trades[seller]
        shared = " ".join(name for name, link in links if seller in link.sellers)
        rows.append((str(label), KINDS["seller"], seller, shared, *_amounts(cases, scores, own)))
    for label, link in links:
        column = getattr(cases, {"device": "device_id"}.get(link.kind, link.kind))[ring.rows]
        linked = " ".join(str(place[seller]) for seller in link.sellers)
        rows.append(
            (
                label,
                KINDS[link.kind],
                link.value,
                linked,
                *_amounts(cases, scores, ring.rows[column == link.value]),
            )
        )
    return Table(
        f"ring_{number:02d}",
        Words(f"团伙 {number} 的卖家与共用项", f"Sellers of ring {number} and what they share"),
        (
            Column("mark", Words("图中", "mark"), "text"),
            Column("kind", Words("种类", "kind"), "words"),
            Column("id", Words("编号", "id"), "text"),
            Column("linked_to", Words("连接", "linked to"), "text"),
            *AMOUNTS,
        ),
        tuple(rows),
        shown=SHOWN_MEMBERS,
    )


def _amounts(cases: Cases, scores: np.ndarray, rows: np.ndarray) -> tuple[Value, ...]:
    """The figures of some trades under AMOUNTS."""
    score = scores[rows]
    return (
        len(rows),
        int(cases.at_risk_fen[rows].sum()),
        int(cases.is_fraud[rows].sum()),
        int(cases.is_honest[rows].sum()),
        int(cases.is_open[rows].sum()),
        float(np.nanmean(score)) if np.isfinite(score).any() else np.nan,
        int(cases.submitted_at[rows].min()),
        int(cases.submitted_at[rows].max()),
    )
