"""A draft of a suspicious-transaction report about one trade, for counsel: what was known, when, and by which rules.

It is never sent by the program, decides nothing, and holds neither card secrets nor names: sellers and payees are
references that those who may see them resolve.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from pipelines.application_data import quotes
from pipelines.explaining import Explained
from pipelines.recycling.receipts import yuan
from pipelines.recycling.states import STATES
from pipelines.recycling.trade_tables import submissions
from pipelines.recycling.trades import TradeBook, steps_of

Row = Mapping[str, Any]
Cell = str | int | float | None

TITLE = ("可疑交易报告（草稿，供法务审阅）", "Suspicious-transaction report: draft for counsel")
NOTICE = (
    "草稿，仅供法务审阅：本文件由系统根据交易记录生成，未经核实，未向任何机构报送。是否构成可疑交易、是否及如何报送，"
    "由法务决定。请勿向卖家透露。",
    "DRAFT FOR COUNSEL: written by a program from the trade's records, not verified, sent to nobody. Whether the trade "
    "is suspicious, and whether and how to report it, is for counsel to decide. Do not tell the seller.",
)
WINDOWS = (("24 h", timedelta(hours=24)), ("30 d", timedelta(days=30)))
MOST_LINKED = 100


@dataclass(frozen=True)
class Section:
    """A heading in both languages, and rows with the same columns."""

    code: str
    zh: str
    en: str
    rows: tuple[Mapping[str, Cell], ...]


@dataclass(frozen=True)
class Draft:
    """The draft. made_at: when it was written."""

    submission_id: str
    made_at: datetime
    sections: tuple[Section, ...]

    def as_json(self) -> dict[str, Any]:
        """The draft as plain values."""
        return {
            "is_draft_for_counsel": True,
            "title": {"zh": TITLE[0], "en": TITLE[1]},
            "notice": {"zh": NOTICE[0], "en": NOTICE[1]},
            "submission_id": self.submission_id,
            "made_at": self.made_at.isoformat(),
            "sections": [
                {"code": part.code, "zh": part.zh, "en": part.en, "rows": [dict(row) for row in part.rows]}
                for part in self.sections
            ],
        }

    def as_html(self) -> str:
        """The draft as one page that opens offline and prints."""
        body = "".join(_section_html(part) for part in self.sections)
        zh, en = (html.escape(text) for text in TITLE)
        notice = "<br>".join(html.escape(text) for text in NOTICE)
        return (
            f'<!doctype html><html lang="zh"><meta charset="utf-8"><title>{zh} {en}</title>'
            f"<style>{_STYLE}</style><h1>{zh}<br>{en}</h1><p class=draft>{notice}</p>"
            f"<p>{html.escape(self.submission_id)} · {self.made_at.isoformat(timespec='seconds')}</p>{body}</html>\n"
        )


_STYLE = (
    "body{font:14px sans-serif;max-width:60em;margin:2em auto}table{border-collapse:collapse;width:100%}"
    "td,th{border-bottom:1px solid #ccc;text-align:left;padding:3px 8px;vertical-align:top}"
    ".draft{border:2px solid #b00;color:#b00;padding:8px;font-weight:bold}h2{font-size:16px;margin-top:1.6em}"
)


def draft_report(
    connection: sa.Connection,
    book: TradeBook,
    submission_id: str,
    *,
    explained: Explained | None,
    now: datetime,
) -> Draft:
    """The draft about a trade. explained: what the fraud model saw in its quote, None where that cannot be had. Raises
    UnknownSubmission."""
    row = book.read(connection, submission_id)
    quote = (
        connection.execute(sa.select(quotes).where(quotes.c.quote_id == row["quote_id"])).mappings().first()
    )
    answer: Row = {} if quote is None else quote["answer"]
    steps = steps_of(connection, submission_id)
    sections = (
        Section("trade", "交易", "Trade", _trade_rows(row, answer)),
        Section("steps", "经过", "What happened", tuple(_step_row(step) for step in steps)),
        Section("reasons", "报价理由", "Reasons of the quote", _reasons(row, answer)),
        Section("rules", "命中规则与备注", "Rules hit, and notes for analysts", _rules(answer)),
        Section("model", "欺诈模型所见", "What the fraud model saw", _signals(explained)),
        Section("totals", "该卖家累计", "Totals of this seller", _totals(connection, row)),
        Section("linked", "关联卖家", "Linked sellers", _linked(connection, row)),
    )
    return Draft(submission_id, now, sections)


def _trade_rows(row: Row, answer: Row) -> tuple[Mapping[str, Cell], ...]:
    card = row["asked"]["card"]
    said = [
        ("交易号", "trade", row["submission_id"]),
        ("状态", "state", f"{STATES[row['state']].zh} {row['state']}"),
        ("卖家编号", "seller reference", row["seller_id"]),
        ("收款方编号", "payee reference", row["payee_ref"]),
        ("渠道", "channel", row["channel"]),
        ("卡种", "card type", card["card_type"]),
        ("卡号指纹", "card fingerprint", row["fingerprint"]),
        ("面值 ¥", "face value", yuan(card["face_value"]["amount_fen"])),
        ("应付 ¥", "payout", yuan(row["payout_fen"])),
        ("提交时间", "submitted at", row["created_at"].isoformat()),
        ("报价号", "quote", row["quote_id"]),
        ("决定", "decision", row["decision"]),
        ("欺诈概率", "fraud probability", answer.get("fraud_probability")),
        ("规则版本", "law version", row["law_version"]),
        ("投诉", "complaint", row["facts"].get("complaint", {}).get("kind", "")),
    ]
    return tuple({"项目": zh, "item": en, "value": value} for zh, en, value in said)


def _step_row(step: Row) -> Mapping[str, Cell]:
    return {
        "at": step["at"].isoformat(),
        "from": step["source"],
        "to": step["target"],
        "状态": STATES[step["target"]].zh,
        "by": f"{step['actor']} {step['by']}",
        "why": step["why"],
    }


def _reasons(row: Row, answer: Row) -> tuple[Mapping[str, Cell], ...]:
    """Those of the stored quote; where it is not kept, those that the trade holds."""
    found: Sequence[Row] = answer.get("reasons") or row["facts"].get("reasons", ())
    return tuple(_words(reason) for reason in found)


def _rules(answer: Row) -> tuple[Mapping[str, Cell], ...]:
    notes = [_words(note) for note in answer.get("analyst_notes", ())]
    shadow = [
        {"code": rule, "zh": "试运行规则，未生效", "en": "a rule on trial, without effect"}
        for rule in answer.get("shadow_rules", ())
    ]
    return (*notes, *shadow)


def _words(reason: Row) -> Mapping[str, Cell]:
    return {name: str(reason.get(name, "")) for name in ("code", "zh", "en")}


def _signals(explained: Explained | None) -> tuple[Mapping[str, Cell], ...]:
    if explained is None or explained.fraud is None:
        missing = "there is no explanation" if explained is None else explained.missing
        return (
            {"family": "", "feature": "", "value": None, "log_odds": None, "zh": "无法解释", "en": missing},
        )
    return tuple(
        {
            "family": family.family,
            "feature": signal.name,
            "value": signal.value,
            "log_odds": round(signal.log_odds, 4),
            "zh": signal.zh,
            "en": signal.meaning,
        }
        for family in explained.fraud.families
        for signal in family.signals
        if family.family == "links" or family.log_odds > 0
    )


def _totals(connection: sa.Connection, row: Row) -> tuple[Mapping[str, Cell], ...]:
    """What the seller submitted and was paid in the time up to this trade's submission, itself counted."""
    found = []
    for name, length in WINDOWS:
        chosen = sa.select(submissions.c.asked, submissions.c.state, submissions.c.payout_fen).where(
            submissions.c.seller_id == row["seller_id"],
            submissions.c.created_at > row["created_at"] - length,
            submissions.c.created_at <= row["created_at"],
        )
        trades = list(connection.execute(chosen).mappings())
        face = sum(trade["asked"]["card"]["face_value"]["amount_fen"] for trade in trades)
        paid = [trade["payout_fen"] for trade in trades if trade["state"] in PAID_STATES]
        found.append(
            {
                "window 时段": f"{name} 至提交时 up to the submission",
                "cards 卡数": len(trades),
                "face value 面值 ¥": yuan(face),
                "paid cards 已付卡数": len(paid),
                "paid 已付 ¥": yuan(sum(paid)),
            }
        )
    return tuple(found)


PAID_STATES = ("paid", "closed", "disputed", "reversed")


def _linked(connection: sa.Connection, row: Row) -> tuple[Mapping[str, Cell], ...]:
    """Other sellers who are paid to the same reference, or offered the same card."""
    links = (
        ("同一收款方 the same payee", submissions.c.payee_ref == row["payee_ref"]),
        ("同一卡片 the same card", submissions.c.fingerprint == row["fingerprint"]),
    )
    found: list[Mapping[str, Cell]] = []
    for why, condition in links:
        chosen = sa.select(submissions.c.seller_id, sa.func.count().label("trades"))
        chosen = chosen.where(condition, submissions.c.seller_id != row["seller_id"])
        chosen = chosen.group_by(submissions.c.seller_id).order_by(submissions.c.seller_id).limit(MOST_LINKED)
        found += [
            {"seller 卖家": one["seller_id"], "why 关联": why, "trades 交易数": one["trades"]}
            for one in connection.execute(chosen).mappings()
        ]
    return tuple(found)


def _section_html(section: Section) -> str:
    head = f"<h2>{html.escape(section.zh)} {html.escape(section.en)}</h2>"
    if not section.rows:
        return f"{head}<p>无 none</p>"
    names = "".join(f"<th>{html.escape(name)}</th>" for name in section.rows[0])
    rows = "".join(
        "<tr>" + "".join(f"<td>{_shown(value)}</td>" for value in row.values()) + "</tr>"
        for row in section.rows
    )
    return f"{head}<table><tr>{names}</tr>{rows}</table>"


def _shown(value: Cell) -> str:
    return "–" if value is None else html.escape(str(value))
