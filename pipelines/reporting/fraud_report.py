"""`huika report fraud`: one page that an analyst opens, and its tables as files."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from pipelines.reporting.fraud_header import header, tiles
from pipelines.reporting.fraud_intake import intake
from pipelines.reporting.fraud_labels import agreement, label_delay
from pipelines.reporting.fraud_material import Material
from pipelines.reporting.fraud_open import open_cases
from pipelines.reporting.fraud_outcomes import outcomes
from pipelines.reporting.fraud_ranking import ranking
from pipelines.reporting.fraud_reasons import reasons
from pipelines.reporting.fraud_ring_section import rings
from pipelines.reporting.fraud_rules import rules
from pipelines.reporting.fraud_segments import segments
from pipelines.reporting.fraud_trust import trust
from pipelines.reporting.page import Section, render, tables_of, write_whole
from pipelines.reporting.ring_drawing import legend
from pipelines.reporting.tables import FEW, Words, china_time, write_csv

TEMPLATE = Path(__file__).with_name("fraud_report.html")
PARTS = (
    header,
    intake,
    outcomes,
    ranking,
    trust,
    segments,
    reasons,
    rings,
    rules,
    agreement,
    label_delay,
    open_cases,
)
"""The sections, in the page's order."""

RING_KEYS = {
    "fraud": Words("有已知欺诈的卖家", "seller with a known fraud"),
    "high": Words("分数高的卖家", "seller with a high score"),
    "seller": Words("其他卖家", "other seller"),
    "device": Words("设备", "device"),
    "payout_account": Words("收款账户", "payout account"),
    "card_prefix": Words("卡券批次", "card batch"),
    "ip": Words("网络地址", "address"),
}


def sections_of(material: Material) -> list[Section]:
    """All parts of the page."""
    return [part(material) for part in PARTS]


def page_of(material: Material, sections: list[Section], *, now: datetime) -> str:
    """The page, with its pictures and tables inside."""
    since, until = (china_time(at) for at in (material.period.since, material.period.until))
    values = {
        "since": since,
        "until": until,
        "tiles": tiles(material),
        "sections": sections,
        "few": FEW,
        "few_mark": Words("少", "few"),
        "ring_keys": [(legend()[name], words) for name, words in RING_KEYS.items()],
        "moment": f"{now.astimezone(UTC):%Y-%m-%d %H:%M} UTC",
    }
    return render(TEMPLATE, values)


def write_report(material: Material, *, out: Path, folder: Path | None, now: datetime) -> list[Path]:
    """Write the page, and every table into ``folder`` where one is given; the files written."""
    sections = sections_of(material)
    write_whole(out, page_of(material, sections, now=now))
    return [out, *(write_csv(tables_of(sections), folder) if folder is not None else [])]
