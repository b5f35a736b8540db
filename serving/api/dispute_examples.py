"""Examples of disputes' requests and answers."""

from __future__ import annotations

from typing import Any

COMPLAINTS: dict[str, Any] = {
    "redeemed by somebody else": {"kind": "already_redeemed", "reason": "the buyer found the card empty"},
    "by a seller": {
        "kind": "wrong_value",
        "reason": "the card held 520 yuan, not 500",
        "complainant": "seller",
        "claim": {"amount_fen": 1_800},
    },
}
ANSWERS: dict[str, Any] = {
    "the seller": {
        "reason": "the code was never used by me; the shop's receipt is attached",
        "attachments_sha256": ["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"],
    }
}
JUDGEMENTS: dict[str, Any] = {
    "against the trade": {"verdict": "against_trade", "reason": "the issuer confirms the time of redemption"}
}

DISPUTE: dict[str, Any] = {
    "submission_id": "r-0123456789abcdef0123456789abcdef",
    "number": 1,
    "kind": "already_redeemed",
    "complainant": "buyer",
    "respondent": "seller",
    "opened_at": "2026-03-03T10:00:00+00:00",
    "answer_by": "2026-03-10T10:00:00+00:00",
    "decide_by": "2026-03-24T10:00:00+00:00",
    "answered_at": None,
    "decided_at": None,
    "claim": {"amount_fen": 0, "currency": "CNY"},
    "award": {"amount_fen": 0, "currency": "CNY"},
    "seller_stake": {"amount_fen": 4_524, "currency": "CNY"},
    "buyer_stake": {"amount_fen": 0, "currency": "CNY"},
    "proposed": "",
    "proposed_by": "",
    "verdict": "",
    "decided_by": "",
    "rule": "",
    "known": [
        {
            "leaf_id": "r-0123456789abcdef0123456789abcdef-7",
            "kind": "trade_paid",
            "actor": "huika",
            "at": "2026-03-01T10:02:00+00:00",
            "said": {"source": "paying", "target": "paid", "told": {"payout_fen": 45_245}},
        }
    ],
}
DISPUTES: dict[str, Any] = {"disputes": [DISPUTE | {"known": []}]}
BUNDLE: dict[str, Any] = {
    "format": "huika-evidence-bundle/1",
    "subject": "r-0123456789abcdef0123456789abcdef",
    "exported_at": "2026-03-03T10:00:00.000000+00:00",
    "leaves": [],
}
