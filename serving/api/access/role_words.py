"""What each role may do in words, as the README shows it: each route and kind of event that is not for all
stands under one of them, and all that stand under one are for the same roles."""

from __future__ import annotations

from serving.api.access.roles import EVENTS, TABLE, Role

_ONE = "/v1/submissions/{submission_id}"

WORDS: dict[str, tuple[str, ...]] = {
    "ask for quotes": ("POST /v1/quotes", "POST /v1/quotes/batch"),
    "ask for fraud scores": ("POST /v1/fraud-scores",),
    "read quotes": ("GET /v1/quotes/{quote_id}",),
    "read what is behind them": ("GET /v1/quotes/{quote_id}/explanation",),
    "tell what sellers decided": ("accepted", "declined"),
    "tell labels of fraud": ("fraud_confirmed", "fraud_cleared"),
    "tell resales and market rates": ("resold", "market_observed"),
    "submit cards, and accept, decline and take back in the recycling flow": (
        "POST /v1/submissions",
        "POST /v1/submissions/lots",
        "POST /v1/submissions/photos",
        "POST /v1/submissions/photos/{photo_id}/confirmation",
        *(f"POST {_ONE}/{wish}" for wish in ("acceptance", "refusal", "cancellation", "renewal", "review")),
    ),
    "follow trades, complain and answer": (
        f"GET {_ONE}",
        f"GET {_ONE}/receipt",
        f"GET {_ONE}/dispute",
        f"POST {_ONE}/complaints",
        f"POST {_ONE}/answer",
    ),
    "list trades, disputes and numbers of the flow": (
        "GET /v1/submissions",
        "GET /v1/disputes",
        "GET /v1/recycling/numbers",
    ),
    "decide trades": (f"POST {_ONE}/decisions",),
    "judge complaints": (f"POST {_ONE}/judgement",),
    "export evidence": (f"GET {_ONE}/evidence",),
    "reveal card secrets, two people together": (
        f"POST {_ONE}/reveals",
        "GET /v1/reveals",
        "POST /v1/reveals/{reveal_id}/approval",
        "POST /v1/reveals/{reveal_id}/look",
    ),
    "settle breaks of the books": ("GET /v1/books/breaks", "POST /v1/books/breaks/settlement"),
    "see callbacks and send them again": ("GET /v1/callbacks", "POST /v1/callbacks/{callback_id}/replay"),
    "see which models answer": ("GET /v1/models",),
    "read `/metrics`": ("GET /metrics",),
}


def restricted() -> dict[str, frozenset[Role]]:
    """Who may do what is not for every role: routes as method and path, events by kind."""
    rows = [row for row in TABLE if row.path != "/v1/events" and row.opened != "always"]
    routes = {f"{row.method} {row.path}": row.roles for row in rows}
    everything = routes | EVENTS
    return {name: roles for name, roles in everything.items() if roles < frozenset(Role)}


def roles_table() -> str:
    """The table of the README."""
    may = restricted()
    lines = ["| role | may |", "|---|---|"]
    for role in Role:
        words = [text for text, names in WORDS.items() if role in may[names[0]]]
        lines.append(f"| `{role}` | {'everything' if role is Role.ADMIN else '; '.join(words)} |")
    return "\n".join(lines)
