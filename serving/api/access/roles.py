"""Which role may call which route. A route that is not in the table is closed to everybody."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

KEY_PREFIX, PERSON_PREFIX = "hk_", "u_"
"""How the ids of keys and of people begin; no name of a key does, so that nobody is taken for somebody else."""


class Role(StrEnum):
    """What a client may be."""

    PRICING_CLIENT = "pricing_client"
    RISK_ANALYST = "risk_analyst"
    DATA_SCIENTIST = "data_scientist"
    OPERATOR = "operator"
    ADMIN = "admin"


STAFF = frozenset({Role.RISK_ANALYST, Role.OPERATOR, Role.ADMIN})
"""Who works for the platform, and sees whatever any client owns."""


@dataclass(frozen=True)
class Client:
    """Who asks. ``id``: under which everything of theirs is kept: the name of a machine's keys, so that two keys of one
    name are one client, or a digest of a person's subject. ``credential`` is safe to log: the public part of the key
    that came, or that digest. ``name``: as ``id``, or the subject; for the audit trail alone."""

    id: str
    credential: str
    name: str
    roles: frozenset[Role]

    @property
    def role_names(self) -> str:
        return ",".join(sorted(self.roles))

    @property
    def is_staff(self) -> bool:
        return bool(self.roles & STAFF)

    def may_touch(self, owner: str) -> bool:
        """Whether what is kept under the client id ``owner`` is there for this one: its own, or anybody's for staff."""
        return owner == self.id or self.is_staff


OURSELVES = Client(id="", credential="", name="", roles=frozenset({Role.ADMIN}))
"""Who asks where this program asks itself, without HTTP."""

Opened = Literal["", "always", "public_prices", "public_docs", "public_metrics"]


@dataclass(frozen=True)
class Row:
    """One route. ``opened``: for whom without any role: nobody, everybody, or everybody while that setting is on.
    ``audit``: under which name each call is kept in the audit trail before it is answered; empty: it is not.
    ``body_kb``, ``body_seconds``: of a route that takes larger requests than the others, for longer."""

    method: str
    path: str
    roles: frozenset[Role]
    opened: Opened = ""
    audit: str = ""
    body_kb: int = 0
    body_seconds: float = 0.0


def _row(
    method: str,
    path: str,
    *roles: Role,
    opened: Opened = "",
    audit: str = "",
    body_kb: int = 0,
    body_seconds: float = 0.0,
) -> Row:
    return Row(method, path, frozenset((*roles, Role.ADMIN)), opened, audit, body_kb, body_seconds)


_PRICING, _ANALYST, _SCIENTIST, _OPERATOR = (
    Role.PRICING_CLIENT,
    Role.RISK_ANALYST,
    Role.DATA_SCIENTIST,
    Role.OPERATOR,
)
_EVERY_ROLE = tuple(Role)

TABLE: tuple[Row, ...] = (
    # The administrator may call every route; the others those that name them.
    _row("POST", "/v1/quotes", _PRICING),
    _row("POST", "/v1/quotes/batch", _PRICING),
    _row("GET", "/v1/quotes/{quote_id}", _PRICING, _ANALYST, _OPERATOR),
    _row("GET", "/v1/quotes/{quote_id}/explanation", _ANALYST, audit="explanation_revealed"),
    _row("POST", "/v1/fraud-scores", _PRICING, _ANALYST),
    _row("POST", "/v1/events", _PRICING, _ANALYST, _OPERATOR),  # which kinds: EVENTS below
    _row("GET", "/v1/models", _SCIENTIST, _OPERATOR),
    _row("GET", "/v1/prices", *_EVERY_ROLE, opened="public_prices"),
    _row("GET", "/v1/prices/{card_type}/history", *_EVERY_ROLE, opened="public_prices"),
    _row("GET", "/v1/keys", *_EVERY_ROLE, opened="always"),
    # The recycling flow: who submits sees what is theirs; people decide.
    _row("POST", "/v1/submissions", _PRICING),
    _row("POST", "/v1/submissions/lots", _PRICING),
    _row("POST", "/v1/submissions/photos", _PRICING, body_kb=12_800, body_seconds=60.0),
    _row("POST", "/v1/submissions/photos/{photo_id}/confirmation", _PRICING),
    _row("GET", "/v1/submissions", _ANALYST, _OPERATOR),
    _row("GET", "/v1/submissions/{submission_id}", _PRICING, _ANALYST, _OPERATOR),
    _row("GET", "/v1/submissions/{submission_id}/receipt", _PRICING, _ANALYST, _OPERATOR),
    _row("POST", "/v1/submissions/{submission_id}/acceptance", _PRICING),
    _row("POST", "/v1/submissions/{submission_id}/refusal", _PRICING),
    _row("POST", "/v1/submissions/{submission_id}/cancellation", _PRICING),
    _row("POST", "/v1/submissions/{submission_id}/renewal", _PRICING),
    _row("POST", "/v1/submissions/{submission_id}/review", _PRICING),
    _row("POST", "/v1/submissions/{submission_id}/decisions", _ANALYST, _OPERATOR, audit="trade_decided"),
    _row("POST", "/v1/submissions/{submission_id}/complaints", _PRICING, _ANALYST, _OPERATOR),
    _row("POST", "/v1/submissions/{submission_id}/answer", _PRICING, _ANALYST, _OPERATOR),
    _row("GET", "/v1/submissions/{submission_id}/dispute", _PRICING, _ANALYST, _OPERATOR),
    _row("GET", "/v1/submissions/{submission_id}/evidence", _ANALYST, _OPERATOR, audit="evidence_exported"),
    _row("GET", "/v1/disputes", _ANALYST, _OPERATOR),
    _row("POST", "/v1/submissions/{submission_id}/judgement", _ANALYST, audit="complaint_judged"),
    _row("GET", "/v1/books/breaks", _OPERATOR),
    _row("POST", "/v1/books/breaks/settlement", _OPERATOR, audit="break_settled"),
    # A secret is seen by one operator after another one agreed.
    _row("POST", "/v1/submissions/{submission_id}/reveals", _OPERATOR, audit="reveal_asked"),
    _row("GET", "/v1/reveals", _OPERATOR),
    _row("POST", "/v1/reveals/{reveal_id}/approval", _OPERATOR, audit="reveal_approved"),
    _row("POST", "/v1/reveals/{reveal_id}/look", _OPERATOR, audit="secret_revealed"),
    _row("GET", "/v1/callbacks", _PRICING, _OPERATOR),
    _row("POST", "/v1/callbacks/{callback_id}/replay", _PRICING, _OPERATOR),
    # Whoever is not signed for is refused there.
    _row("POST", "/v1/provider-callbacks/{partner}", opened="always"),
    _row("GET", "/v1/recycling/numbers", _ANALYST, _OPERATOR),
    _row("GET", "/", *_EVERY_ROLE, opened="always"),
    # Bento's own routes.
    _row("GET", "/livez", *_EVERY_ROLE, opened="always"),
    _row("GET", "/healthz", *_EVERY_ROLE, opened="always"),
    _row("GET", "/readyz", *_EVERY_ROLE, opened="always"),
    _row("GET", "/docs.json", *_EVERY_ROLE, opened="public_docs"),
    _row("GET", "/metrics", _OPERATOR, opened="public_metrics"),
)

EVENTS: dict[str, frozenset[Role]] = {
    "accepted": frozenset({_PRICING, _OPERATOR, Role.ADMIN}),
    "declined": frozenset({_PRICING, _OPERATOR, Role.ADMIN}),
    "resold": frozenset({_OPERATOR, Role.ADMIN}),
    "market_observed": frozenset({_OPERATOR, Role.ADMIN}),
    "fraud_confirmed": frozenset({_ANALYST, _OPERATOR, Role.ADMIN}),
    "fraud_cleared": frozenset({_ANALYST, _OPERATOR, Role.ADMIN}),
}
"""Who may tell which kind of event. What prices and models learn from is not for the apps that ask for quotes."""

PROBES = frozenset({"/livez", "/healthz", "/readyz"})
"""Asked by machines that watch the service: no limit of requests."""


_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class RouteTable:
    """Finds the row of a request as quickly as a dictionary can. Nothing has a control character in its id: such a
    path has no row, and no database is asked for it."""

    def __init__(self, rows: Iterable[Row] = TABLE) -> None:
        self._exact: dict[str, dict[str, Row]] = {}
        self._patterns: dict[int, list[tuple[tuple[str | None, ...], dict[str, Row]]]] = {}
        shaped: dict[str, dict[str, Row]] = {}
        for row in rows:
            held = shaped if "{" in row.path else self._exact
            held.setdefault(row.path, {})[row.method] = row
        for path, methods in shaped.items():
            parts = tuple(None if part.startswith("{") else part for part in path[1:].split("/"))
            self._patterns.setdefault(len(parts), []).append((parts, methods))

    def find(self, method: str, path: str) -> tuple[Row | None, str]:
        """The row of a request and the id in its path; (None, "") where no row allows anything."""
        asked = "GET" if method == "HEAD" else method
        row = self._exact.get(path, {}).get(asked)
        if row is not None:
            return row, ""
        for methods, value in self._shaped(path):
            if asked in methods:
                return methods[asked], value
        return None, ""

    def methods(self, path: str) -> list[str]:
        """Methods by which a path can be asked for."""
        found = set(self._exact.get(path, {}))
        return sorted(found.union(*(methods for methods, _ in self._shaped(path))))

    def _shaped(self, path: str) -> Iterable[tuple[dict[str, Row], str]]:
        if _CONTROL.search(path):
            return
        parts = path[1:].split("/")
        for pattern, methods in self._patterns.get(len(parts), ()):
            pairs = list(zip(pattern, parts, strict=True))
            if all(part == wanted or (wanted is None and part) for wanted, part in pairs):
                yield methods, next(part for wanted, part in pairs if wanted is None)
