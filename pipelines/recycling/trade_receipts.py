"""The receipt of a trade in the flow: what the trade and its evidence say, put on the receipt of the books."""

from __future__ import annotations

from pipelines.recycling.opening import Recycling
from pipelines.recycling.receipts import NotSettled, ReceiptFacts, receipt_pdf

PAID = "trade_paid"
"""Kind of the leaf that the receipt shows."""


def trade_receipt(opened: Recycling, submission_id: str) -> bytes:
    """The PDF of a trade whose seller has the money. Raises UnknownSubmission and NotSettled."""
    leaves = opened.flow.book.evidence.leaves_of(submission_id)
    paid = [leaf for leaf in leaves if leaf.leaf.kind == PAID]
    with opened.engine.connect() as connection:
        row = opened.flow.book.read(connection, submission_id)
        if row["state"] not in ("paid", "closed"):
            raise NotSettled(f"{submission_id} is {row['state']}: a receipt is of a trade that was paid")
        card_type = row["asked"]["card"]["card_type"]
        card = opened.intake.catalogue.types.get(card_type)
        facts = ReceiptFacts(
            trade_id=submission_id,
            quote_id=row["quote_id"],
            seller_ref=row["seller_id"],
            card_zh=card.name_zh if card else card_type,
            card_en=card.name_en if card else card_type,
            face_value_fen=row["asked"]["card"]["face_value"]["amount_fen"],
            law_version=row["law_version"],
            leaf_hash=paid[-1].leaf.hash.hex() if paid else "",
            platform_zh=opened.books.platform_zh,
            platform_en=opened.books.platform_en,
        )
        return receipt_pdf(connection, facts)
