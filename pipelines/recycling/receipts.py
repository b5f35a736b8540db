"""The electronic receipt of a settled trade: one page, Chinese and English, every amount from the ledger.

The Chinese font is one that PDF readers bring along (STSong-Light), so no font file is needed and the page stays small.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from xml.sax.saxutils import escape

import sqlalchemy as sa

from features.china import CHINA
from pipelines.recycling import bookings
from pipelines.recycling.accounts import CHANNEL_NAMES, Channel, seller
from pipelines.recycling.ledger import CORRECT, transfers_of

FONT = "STSong-Light"


_NOTES = (
    "金额均取自平台账本；二维码含交易号、报价号、实付金额与存证哈希。本回执不是发票。",
    "All amounts are those of the platform's ledger; the QR code holds trade, quote, amount paid and the evidence "
    "hash. This receipt is not an invoice.",
)


class NotSettled(Exception):
    """There is no receipt: the trade's card was not bought, or its payout is not confirmed."""


@dataclass(frozen=True)
class ReceiptFacts:
    """What a receipt says beside the amounts. leaf_hash: of the trade's evidence, in hex. seller_ref: opaque.

    verify_url: where the evidence can be checked, put into the QR code with the rest.
    """

    trade_id: str
    quote_id: str
    seller_ref: str
    card_zh: str
    card_en: str
    face_value_fen: int
    law_version: str
    leaf_hash: str
    platform_zh: str
    platform_en: str
    verify_url: str = ""


@dataclass(frozen=True)
class Amounts:
    """A trade's money by the ledger, in fen, corrections counted. ``owed_fen``: not paid to the seller yet, or kept as
    a deposit. ``price_fen`` is the sum of all the others."""

    price_fen: int
    fee_fen: int
    logistics_fen: int
    tax_fen: int
    paid_fen: int
    channel: Channel
    paid_at: datetime

    @property
    def owed_fen(self) -> int:
        return self.price_fen - self.fee_fen - self.logistics_fen - self.tax_fen - self.paid_fen


def trade_amounts(connection: sa.Connection, *, trade_id: str, seller_ref: str) -> Amounts:
    """What the ledger says of a trade. Raises NotSettled."""
    rows = transfers_of(connection, trade_id=trade_id)
    account = seller(seller_ref).name
    paid = [row for row in rows if row["reason"] == bookings.CONFIRM and row["debit"] == account]
    price = sum(
        net_fen(rows, reason, account=account, side="credit")
        for reason in (bookings.BUY, bookings.COMPENSATE)
    )
    if not paid or price <= 0:
        raise NotSettled(f"{trade_id}: the ledger has no confirmed payout to this seller")
    debits = {
        reason: net_fen(rows, reason, account=account, side="debit")
        for reason in (bookings.FEE, bookings.LOGISTICS_FEE, bookings.SET_ASIDE, bookings.CONFIRM)
    }
    return Amounts(
        price_fen=price,
        fee_fen=debits[bookings.FEE],
        logistics_fen=debits[bookings.LOGISTICS_FEE],
        tax_fen=debits[bookings.SET_ASIDE],
        paid_fen=debits[bookings.CONFIRM],
        channel=paid[-1]["credit"].partition(":")[2],
        paid_at=paid[-1]["happened_at"],
    )


def net_fen(rows: Sequence[Mapping[str, Any]], reason: str, *, account: str, side: str) -> int:
    """The sum of an operation on one side of an account, less its corrections, which stand on the other side."""
    other = "debit" if side == "credit" else "credit"
    booked = sum(row["amount_fen"] for row in rows if row["reason"] == reason and row[side] == account)
    corrected = CORRECT + reason
    return booked - sum(
        row["amount_fen"] for row in rows if row["reason"] == corrected and row[other] == account
    )


def yuan(fen: int) -> str:
    """An amount for people: ``1,234.05``."""
    sign = "-" if fen < 0 else ""
    return f"{sign}{abs(fen) // 100:,}.{abs(fen) % 100:02d}"


def receipt_pdf(connection: sa.Connection, facts: ReceiptFacts) -> bytes:
    """The receipt; the same books and facts give the same bytes. Raises NotSettled."""
    amounts = trade_amounts(connection, trade_id=facts.trade_id, seller_ref=facts.seller_ref)
    return _render(facts, amounts)


def _fact_rows(facts: ReceiptFacts, amounts: Amounts) -> list[tuple[str, str]]:
    zh, en = CHANNEL_NAMES[amounts.channel]
    paid_at = amounts.paid_at.astimezone(CHINA)
    return [
        ("交易号 Trade", facts.trade_id),
        ("报价号 Quote", facts.quote_id),
        ("卡种 Card type", f"{facts.card_zh}  {facts.card_en}"),
        ("面值 Face value", f"¥ {yuan(facts.face_value_fen)}"),
        ("卖家编号 Seller reference", facts.seller_ref),
        ("打款渠道 Paid by", f"{zh}  {en}"),
        ("到账确认 Paid at", f"{paid_at:%Y-%m-%d %H:%M:%S} (UTC+8)"),
        ("规则版本 Law version", facts.law_version),
        ("存证叶哈希 Evidence leaf", facts.leaf_hash),
    ]


def _amount_rows(amounts: Amounts) -> list[tuple[str, str]]:
    rows = [
        ("回收价 Price", amounts.price_fen),
        ("服务费 Service fee", -amounts.fee_fen),
        ("物流费 Logistics", -amounts.logistics_fen),
        ("预留税款 Set aside for tax", -amounts.tax_fen),
        ("暂未支付 Not paid out yet", -amounts.owed_fen),
    ]
    shown = [(name, f"¥ {yuan(fen)}") for name, fen in rows if fen or name.startswith("回收价")]
    return [*shown, ("实付 Paid to the seller", f"¥ {yuan(amounts.paid_fen)}")]


def _qr_text(facts: ReceiptFacts, amounts: Amounts) -> str:
    said = {
        "trade": facts.trade_id,
        "quote": facts.quote_id,
        "paid_fen": str(amounts.paid_fen),
        "leaf": facts.leaf_hash,
    }
    if facts.verify_url:
        said["verify"] = facts.verify_url
    return "huika-receipt-1\n" + "\n".join(f"{name} {value}" for name, value in said.items())


def _render(facts: ReceiptFacts, amounts: Amounts) -> bytes:
    from reportlab.lib.pagesizes import A5
    from reportlab.lib.units import mm
    from reportlab.platypus import Paragraph, SimpleDocTemplate, Spacer

    title, small = _styles()
    about = f"{_safe(facts.platform_zh)}  {_safe(facts.platform_en)}"
    story = [
        Paragraph(_safe("电子回执  Electronic receipt"), title),
        Paragraph(about, small),
        Spacer(1, 4 * mm),
        _table(_fact_rows(facts, amounts), widths=(46 * mm, 78 * mm)),
        Spacer(1, 4 * mm),
        _table(_amount_rows(amounts), widths=(78 * mm, 46 * mm), amounts=True),
        Spacer(1, 3 * mm),
        _qr(_qr_text(facts, amounts), side=30 * mm),
        *(Paragraph(_safe(text), small) for text in _NOTES),
    ]
    target = io.BytesIO()
    margins = dict.fromkeys(("leftMargin", "rightMargin", "topMargin", "bottomMargin"), 12 * mm)
    document = SimpleDocTemplate(
        target, pagesize=A5, invariant=1, title=f"Huika receipt {facts.trade_id}", author="Huika", **margins
    )
    document.build(story)
    return target.getvalue()


def _styles() -> tuple[Any, Any]:
    from reportlab.lib.styles import ParagraphStyle
    from reportlab.pdfbase import pdfmetrics
    from reportlab.pdfbase.cidfonts import UnicodeCIDFont

    if FONT not in pdfmetrics.getRegisteredFontNames():
        pdfmetrics.registerFont(UnicodeCIDFont(FONT))
    title = ParagraphStyle("title", fontName=FONT, fontSize=15, leading=21)
    return title, ParagraphStyle("small", fontName=FONT, fontSize=7.5, leading=10.5, wordWrap="CJK")


def _table(rows: Sequence[tuple[str, str]], *, widths: tuple[float, float], amounts: bool = False) -> Any:
    from reportlab.lib import colors
    from reportlab.lib.styles import ParagraphStyle
    from reportlab.platypus import Paragraph, Table, TableStyle

    cell = ParagraphStyle("cell", fontName=FONT, fontSize=8.5, leading=11.5, wordWrap="CJK")
    right = ParagraphStyle("right", parent=cell, alignment=2)
    value = right if amounts else cell
    cells = [[Paragraph(_safe(name), cell), Paragraph(_safe(text), value)] for name, text in rows]
    table = Table(cells, colWidths=widths)
    style = [("LINEBELOW", (0, 0), (-1, -1), 0.25, colors.lightgrey), ("VALIGN", (0, 0), (-1, -1), "TOP")]
    style += [("TOPPADDING", (0, 0), (-1, -1), 2), ("BOTTOMPADDING", (0, 0), (-1, -1), 3)]
    if amounts:
        style.append(("LINEABOVE", (0, -1), (-1, -1), 0.8, colors.black))
    table.setStyle(TableStyle(style))
    return table


def _qr(text: str, *, side: float) -> Any:
    from reportlab.graphics.barcode.qr import QrCodeWidget
    from reportlab.graphics.shapes import Drawing

    code = QrCodeWidget(text, barLevel="M")
    left, bottom, right, top = code.getBounds()
    scale = [side / (right - left), 0, 0, side / (top - bottom), 0, 0]
    drawing = Drawing(side, side, transform=scale)
    drawing.add(code)
    return drawing


def _safe(text: str) -> str:
    """Text as a paragraph's markup takes it; Latin letters and figures in a font that is made for them."""
    return "".join(
        f'<font name="Helvetica">{escape(run)}</font>' if run[0] <= "\xff" else escape(run)
        for run in re.findall(r"[ -\xff]+|[^ -\xff]+", text)
    )
