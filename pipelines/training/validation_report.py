"""The page about an import: what was checked, how many values failed, which rows. Opens offline."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from pipelines.training.import_problems import RuleResult

TEMPLATE = "validation_report.html"

FIGURE_WORDS = {
    "rows": "读取行数 rows read",
    "added": "新增 added",
    "updated": "更新 updated",
    "unchanged": "未变 unchanged",
    "repeated": "重复 repeated",
    "quarantined": "隔离 quarantined",
}


@dataclass(frozen=True)
class Section:
    """One file in the report. ``figures`` counts what the import did (empty where it was refused); ``raw``
    are the Great Expectations results, one per chunk."""

    table: str
    file: str
    rows: int
    figures: Mapping[str, int]
    results: Sequence[RuleResult]
    raw: Sequence[Mapping[str, Any]]

    @property
    def failed_rules(self) -> int:
        return sum(result.failed > 0 for result in self.results)


def report_stem(now: datetime) -> str:
    """``import-20240501T120000.000000Z``: files of one import sort by its moment."""
    return f"import-{now.astimezone(UTC):%Y%m%dT%H%M%S.%f}Z"


def write_report(sections: Sequence[Section], *, imported: bool, folder: Path, now: datetime) -> Path:
    """Write ``<stem>.html`` and, beside it, ``<stem>.json`` with the raw results; returns the page."""
    folder.mkdir(parents=True, exist_ok=True)
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined
    )
    page = environment.get_template(TEMPLATE).render(
        sections=sections,
        imported=imported,
        moment=f"{now.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC",
        words=FIGURE_WORDS,
        raw_name=f"{report_stem(now)}.json",
    )
    raw = {section.table: {"file": section.file, "chunks": list(section.raw)} for section in sections}
    (folder / f"{report_stem(now)}.json").write_text(
        json.dumps(raw, ensure_ascii=False, indent=1, default=str), encoding="utf-8"
    )
    target = folder / f"{report_stem(now)}.html"
    target.write_text(page, encoding="utf-8")
    return target
