"""Examples of the OpenAPI document. Requests can be pasted as they are, in the order they stand here; answers are what
a synthetic market gave."""

from __future__ import annotations

from typing import Any

Example = dict[str, Any]

_SELLER: Example = {"seller_id": "s-1001", "device_id": "d-77", "payout_account": "acct-1001"}
_WHOLE: Example = {
    "card_type": "jd_ecard",
    "card_form": "virtual",
    "face_value": {"amount_fen": 50_000},
    "expires_on": "2028-11-30",
}
_EXPIRED: Example = {
    "card": {"card_type": "walmart_cn", "face_value": {"amount_fen": 30_000}, "expires_on": "2025-11-30"},
    "seller": {"seller_id": "s-1002"},
}

SUBMISSIONS: dict[str, Example] = {
    "A virtual card": {"trade_id": "t-1001", "card": _WHOLE, "seller": _SELLER},
    "A partly used physical card": {
        "trade_id": "t-1002",
        "card": {
            "card_type": "walmart_cn",
            "card_form": "physical",
            "face_value": {"amount_fen": 100_000},
            "balance": {"amount_fen": 63_050},
        },
        "seller": _SELLER | {"payee_is_seller": True, "channel": "app"},
        "asked_rate": 0.9,
        "extras": {"device_score": 0.7, "app_version": "5.2.1"},
    },
    "As little as can be said": {
        "card": {"card_type": "sinopec_fuel", "face_value": {"amount_fen": 100_000}},
        "seller": {"seller_id": "s-1003"},
    },
}

BATCHES: dict[str, Example] = {
    "Two expired cards and one of an unknown type": {
        "submissions": [
            _EXPIRED | {"trade_id": "t-2001"},
            _EXPIRED | {"trade_id": "t-2002"},
            {"card": {"card_type": "jd_ecrd", "face_value": {"amount_fen": 100}}, "seller": _SELLER},
        ]
    }
}

EVENTS: dict[str, Example] = {
    "The seller accepted": {"kind": "accepted", "event_id": "e-1", "trade_id": "t-1001"},
    "The seller declined": {"kind": "declined", "event_id": "e-2", "trade_id": "t-1002"},
    "The card was resold": {"kind": "resold", "event_id": "e-3", "trade_id": "t-1001", "rate": 0.93},
    "The issuer reports fraud": {
        "kind": "fraud_confirmed",
        "event_id": "e-4",
        "trade_id": "t-1002",
        "source": "issuer",
    },
    "An analyst cleared the trade": {"kind": "fraud_cleared", "event_id": "e-5", "trade_id": "t-1001"},
    "A competitor's bid": {
        "kind": "market_observed",
        "event_id": "e-6",
        "happened_at": "2026-01-05T09:00:00Z",
        "card_type": "jd_ecard",
        "source": "competitor_a",
        "side": "competitor_bid",
        "rate": 0.921,
    },
}


def _said(code: str, zh: str, en: str, **more: int) -> Example:
    return {"code": code, "zh": zh, "en": en, **more}


def _cny(fen: int) -> Example:
    return {"amount_fen": fen, "currency": "CNY"}


_MODELS: Example = {"discount": "1", "fraud": "1"}
_VERSIONS: Example = {
    "models": _MODELS,
    "rules_version": "25c5cc95",
    "law_version": "edcc842a",
    "degraded": [],
}
_NO_SIGNALS = _said(
    "NO_RISK_SIGNALS", "卖家方面未发现明显风险信号", "No notable sign of risk about the seller"
)
_STEPS = [
    _said("FACE_VALUE", "面值", "Face value", amount_fen=50_000),
    _said("RESALE", "预期出货价", "Expected resale value", amount_fen=-1_678),
    _said("RESERVE", "行情波动预留", "Reserve for a moving market", amount_fen=-48),
    _said("COSTS", "处理与资金成本", "Handling and capital", amount_fen=-240),
    _said("KIND_RISK", "卡种平均风险", "Average risk of the card kind", amount_fen=-1_407),
    _said(
        "MARGIN",
        "平台毛利（竞争与成交权衡）",
        "Margin, weighed against losing the trade",
        amount_fen=-1_542,
    ),
    _said(
        "COMPETITION",
        "同行报价高于或低于平时",
        "Competitors above or below their usual bids",
        amount_fen=-5,
    ),
    _said("EXPLORATION", "小幅试价与取整", "Small price test and rounding", amount_fen=165),
]

QUOTE: Example = {
    "quote_id": "q-0fefb738f857456698661ba62153306c",
    "trade_id": "t-1001",
    "card_type": "jd_ecard",
    "card_name_zh": "京东E卡",
    "card_name_en": "JD E-Card",
    "face_value": _cny(50_000),
    "balance": None,
    "submitted_at": "2026-03-01T09:00:00.785236+00:00",
    "valid_until": "2026-03-01T09:30:00.785236+00:00",
    "rate": 0.9049,
    "payout": _cny(45_245),
    "decision": "pay",
    "fraud_probability": 0.0071,
    "acceptance_probability": 0.7508,
    "resale_rate": {"p10": 0.9476, "p50": 0.9646, "p90": 0.9816},
    "reactivation_probability": None,
    "offer_density": 134.914,
    "offer_centre": 0.9016,
    "no_offer": False,
    "let_through": None,
    "reasons": [
        _said("MARKET_HIGH", "当前收购行情高于近月均价", "Buyers now bid above last month's average"),
        _NO_SIGNALS,
    ],
    "human_review": None,
    "waterfall": _STEPS,
    "channels": {
        "best": {
            "source": "buyer_exchange",
            "side": "buyer_bid",
            "rate": 0.9674,
            "observed_at": "2026-03-01T08:18:29.339215+00:00",
            "age_minutes": 41,
        },
        "worst": {
            "source": "buyer_group",
            "side": "buyer_bid",
            "rate": 0.9568,
            "observed_at": "2026-03-01T07:22:01.534617+00:00",
            "age_minutes": 97,
        },
        "spread": 0.0106,
    },
    "reference": {
        "face_value": _cny(10_000),
        "lowest_7d": 0.8858,
        "shown_since": "2026-02-26T16:00:00+00:00",
    },
    **_VERSIONS,
}

BATCH: Example = {
    "results": [
        {"quote": QUOTE},
        {
            "problem": {
                "type": "urn:huika:problem:unknown_card_type",
                "title": "unknown card type",
                "status": 422,
                "code": "unknown_card_type",
                "detail": "this card type is not in the catalogue; close to it: jd_ecard",
                "errors": [
                    {
                        "field": "card.card_type",
                        "reason": "this card type is not in the catalogue; close to it: jd_ecard",
                    }
                ],
            }
        },
    ],
    "swaps": [],
}

SCORE: Example = {
    "trade_id": "t-1001",
    "submitted_at": "2026-03-01T09:00:00.785236+00:00",
    "fraud_probability": 0.0096,
    "decision": "pay",
    "reasons": [_NO_SIGNALS],
    "human_review": None,
    **_VERSIONS,
}

RECEIPT: Example = {"event_id": "e-1", "status": "recorded"}

BOARD: Example = {
    "shown_at": "2026-03-01T09:00:00+00:00",
    "prices": [
        {
            "card_type": "jd_ecard",
            "name_zh": "京东E卡",
            "name_en": "JD E-Card",
            "category": "ecommerce",
            "face_value": _cny(10_000),
            "rate": 0.8858,
            "payout": _cny(8_858),
            "no_offer": False,
        }
    ],
}

HISTORY: Example = {
    "card_type": "jd_ecard",
    "lowest_7d": 0.8858,
    "points": [{"shown_at": "2026-03-01T09:00:00+00:00", "rate": 0.8858}],
}

EXPLANATION: Example = {
    "quote_id": QUOTE["quote_id"],
    "trade_id": "t-1001",
    "decision": "pay",
    "fraud_probability": 0.0071,
    "no_offer": False,
    "let_through": None,
    "reasons": QUOTE["reasons"],
    "notes": [],
    "shadow_rules": [],
    "model": {
        "decision": "pay",
        "expected_cost_fen": {"pay": 321.2, "hold": 408.9, "review": 1_560.0, "refuse": 4_012.5},
        "review_saving_fen": -1_238.8,
        "review_priority_fen": -1_080.6,
    },
    "fraud": {
        "probability": 0.0071,
        "base_probability": 0.0293,
        "base_log_odds": -3.5,
        "families": [
            {
                "family": "seller",
                "zh": "卖家",
                "en": "seller",
                "log_odds": -1.441,
                "reason": _NO_SIGNALS,
                "named": True,
                "signals": [
                    {
                        "name": "seller_count_30d",
                        "value": 4,
                        "unit": "count",
                        "log_odds": -1.441,
                        "meaning": "submissions of the seller in the last 30 days",
                        "zh": "卖家近30天提交数",
                        "null": "",
                    }
                ],
            }
        ],
    },
    "missing": "",
    "absent_signals": ["ip", "region"],
    "waterfall": _STEPS,
    "models": _MODELS,
}
