"""Who may see a card's secret: a role, a reason, and for large amounts a second person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.recycling.blind_index import NotACard, normalised_number

REVEALING_ROLES = frozenset({"operator", "admin"})
SHORTEST_REASON, LONGEST_REASON = 5, 500


class RevealRefused(PermissionError):
    """A secret is not shown; ``code`` is stable, the message says what is missing.

    role, reason, second_person, secret_in_reason.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class RevealAsked:
    """Who wants to see a secret and why. ``second_actor``: who agrees, empty for nobody."""

    actor: str
    role: str
    reason: str
    second_actor: str


def check_reveal(asked: RevealAsked, *, face_value_fen: int | None, limit_fen: int) -> None:
    """Raises RevealRefused. face_value_fen: of the card, None where there is none."""
    if asked.role not in REVEALING_ROLES:
        raise RevealRefused("role", f"a secret is shown to {' and '.join(sorted(REVEALING_ROLES))} alone")
    if not asked.actor.strip():
        raise RevealRefused("role", "nobody is named who wants to see it")
    check_length(asked.reason)
    if face_value_fen is not None and face_value_fen >= limit_fen:
        _check_second(asked)


def check_length(reason: str) -> None:
    """Raises RevealRefused."""
    if not SHORTEST_REASON <= len(reason.strip()) <= LONGEST_REASON:
        raise RevealRefused(
            "reason", f"a reveal needs a reason of {SHORTEST_REASON} to {LONGEST_REASON} characters"
        )


def _check_second(asked: RevealAsked) -> None:
    second = _plain(asked.second_actor)
    if not second:
        raise RevealRefused("second_person", "a card of this value needs a second person who agrees")
    if second == _plain(asked.actor):
        raise RevealRefused("second_person", "the second person must be somebody else")


def check_reason(reason: str, secrets: Sequence[str]) -> None:
    """A reason is kept and read: it must not hold what it is about. Raises RevealRefused."""
    told = _letters(reason)
    if any((letters := _letters(secret)) and letters in told for secret in secrets):
        raise RevealRefused("secret_in_reason", "the reason holds the number or the secret itself")


def _plain(name: str) -> str:
    return name.strip().casefold()


def _letters(text: str) -> str:
    try:
        return normalised_number(text)
    except NotACard:
        return ""
