"""Examples of cards submitted by photo. The card is nobody's."""

from __future__ import annotations

from typing import Any

_READ = {"confidence": 0.98, "source": "text", "checked": [], "doubts": []}

PHOTO: dict[str, Any] = {
    "photo_id": "p-0123456789abcdef0123456789abcdef",
    "expires_at": "2026-03-02T10:00:00+00:00",
    "photo_sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "card_types": [
        {
            "card_type": "jd_ecard",
            "name_zh": "京东E卡",
            "name_en": "JD E-Card",
            "because": "name_and_format",
            "likeness": 1.0,
        }
    ],
    "card_type_doubts": [],
    "number": _READ | {"value": "JDV00000000000000059", "checked": ["number_pattern"]},
    "secret": _READ
    | {
        "value": "EXAMPLEEXAMPLE0O",
        "doubts": [
            {
                "code": "lookalikes",
                "zh": "含有易混字符 O/0、I/1，请核对",
                "en": "it holds letters and digits that look alike: O/0, I/1",
            }
        ],
    },
    "face_value": _READ | {"value": "500.00", "checked": ["face_values"]},
    "expires_on": _READ | {"value": "2028-12-31", "checked": ["calendar"]},
}
CONFIRMATIONS: dict[str, Any] = {
    "the secret corrected": {
        "card": {
            "card_type": "jd_ecard",
            "number": "JDV00000000000000059",
            "secret": "EXAMPLEEXAMPLE00",
            "face_value": {"amount_fen": 50_000},
            "expires_on": "2028-12-31",
        },
        "seal": "intact",
        "seller": {"seller_id": "s-1001", "device_id": "d-77"},
        "payee_ref": "payee-1001",
    }
}
