"""Examples of looking at a secret with two people. The card is nobody's."""

from __future__ import annotations

from typing import Any

ASKED: dict[str, Any] = {
    "a dispute": {"reason": "the issuer asks for the full number in dispute 17"},
}
REVEAL: dict[str, Any] = {
    "reveal_id": "v-0123456789abcdef0123456789abcdef",
    "submission_id": "r-0123456789abcdef0123456789abcdef",
    "state": "waiting",
    "asked_by": "anna",
    "reason": "the issuer asks for the full number in dispute 17",
    "asked_at": "2026-03-03T10:00:00+00:00",
    "expires_at": "2026-03-03T10:15:00+00:00",
    "approved_by": "",
}
REVEALS: dict[str, Any] = {"reveals": [REVEAL]}
CARD: dict[str, Any] = {"number": "JDV00000000000000042", "secret": "EXAMPLEEXAMPLE00"}
