"""Examples of the recycling flow's requests and answers. The card is nobody's."""

from __future__ import annotations

from typing import Any

_CARD = {
    "card_type": "jd_ecard",
    "card_form": "virtual",
    "face_value": {"amount_fen": 50_000},
    "expires_on": "2028-12-31",
    "number": "JDV00000000000000042",
    "secret": "EXAMPLEEXAMPLE00",
}

NEW: dict[str, Any] = {
    "a JD e-card": {
        "card": _CARD,
        "seller": {"seller_id": "s-1001", "device_id": "d-77"},
        "payee_ref": "payee-1001",
        "channel": "bank",
    },
    "an e-CNY wallet balance": {
        "card": {
            "card_type": "ecny_balance",
            "face_value": {"amount_fen": 20_000},
            "wallet_ref": "wallet-1001",
        },
        "seller": {"seller_id": "s-1001", "device_id": "d-77"},
        "payee_ref": "payee-1001",
        "channel": "ecny",
    },
}
ACCEPTANCE: dict[str, Any] = {"the quote that was read": {"quote_id": "q-0123456789abcdef0123456789abcdef"}}
DECISIONS: dict[str, Any] = {"approved": {"decision": "approve", "reason": "known customer, card seen"}}

SUBMISSION: dict[str, Any] = {
    "submission_id": "r-0123456789abcdef0123456789abcdef",
    "state": "quoted",
    "state_zh": "已报价",
    "state_en": "quoted",
    "quote_id": "q-0123456789abcdef0123456789abcdef",
    "expires_on": "2028-12-31",
    "payout": {"amount_fen": 45_245, "currency": "CNY"},
    "awarded": {"amount_fen": 0, "currency": "CNY"},
    "price": {"amount_fen": 45_245, "currency": "CNY"},
    "fee": {"amount_fen": 0, "currency": "CNY"},
    "postage": {"amount_fen": 0, "currency": "CNY"},
    "tax": {"amount_fen": 0, "currency": "CNY"},
    "parcel": None,
    "return_parcel": None,
    "decision": "pay",
    "valid_until": "2026-03-01T10:30:00+00:00",
    "trouble": "",
    "due_at": "2026-03-01T10:30:00+00:00",
    "is_end": False,
    "steps": [
        {
            "source": "",
            "target": "submitted",
            "actor": "seller",
            "why": "submitted",
            "at": "2026-03-01T10:00:00+00:00",
        },
        {
            "source": "submitted",
            "target": "quoted",
            "actor": "machine",
            "why": "quoted",
            "at": "2026-03-01T10:00:01+00:00",
        },
    ],
}
NUMBERS: dict[str, Any] = {
    "since": "2026-01-30T10:00:00+00:00",
    "profiles": {
        "head": {
            "trades": 1_204,
            "states": {"closed": 1_010, "paid": 96, "rejected": 71, "reversed": 3, "returned": 24},
            "refused_share": 0.059,
            "by_hand_share": 0.041,
            "response_seconds_p50": 1.2,
            "paid_seconds_p50": 6.5,
            "returning_share": 0.31,
            "bait_and_cut": 0.004,
            "complaint_share": 0.006,
            "complaint_cost_fen": 21_350.0,
            "open_complaints": 1,
            "stock": {"amount_fen": 49_002_310, "currency": "CNY"},
            "bought": {"amount_fen": 49_131_900, "currency": "CNY"},
            "fees": {"amount_fen": 880_260, "currency": "CNY"},
            "postage": {"amount_fen": 2_000, "currency": "CNY"},
            "tax": {"amount_fen": 0, "currency": "CNY"},
            "frozen": {"amount_fen": 0, "currency": "CNY"},
            "settled": {"amount_fen": 48_249_640, "currency": "CNY"},
            "paid": {"amount_fen": 48_248_150, "currency": "CNY"},
            "lost": {"amount_fen": 128_100, "currency": "CNY"},
        }
    },
}
_QUEUED = {
    "review_saving_fen": 3_120,
    "review_priority_fen": 7_904.2,
    "overdue": False,
}
_WAITING = {
    "state": "person_needed",
    "state_zh": "待人工复核",
    "state_en": "waiting for a person",
    "decision": "review",
}
LIST: dict[str, Any] = {"submissions": [SUBMISSION | _WAITING | _QUEUED], "reviews_left_today": 40}
CALLBACKS: dict[str, Any] = {
    "callbacks": [
        {
            "callback_id": "r-0123456789abcdef0123456789abcdef-2",
            "submission_id": "r-0123456789abcdef0123456789abcdef",
            "trade_state": "quoted",
            "state": "waiting",
            "attempts": 1,
            "problem": "http_500",
            "created_at": "2026-03-01T10:00:01+00:00",
            "due_at": "2026-03-01T10:00:06+00:00",
            "sent_at": None,
        }
    ]
}
LOT_FILE = f"card_type,number,secret,face_value_cny\njd_ecard,{_CARD['number']},{_CARD['secret']},500.00\n"
LOT: dict[str, Any] = {
    "taken": 1,
    "lines": [
        {"row": 2, "submission_id": "r-0123456789abcdef0123456789abcdef"},
        {
            "row": 3,
            "field": "number",
            "code": "wrong_format",
            "zh": "格式不符",
            "en": "not the format of this card type",
        },
    ],
}
