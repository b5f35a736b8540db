"""Whether a service kept what it acknowledged: asked over HTTP, and read in its database."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from serving.commands.bench_load import Acknowledged, Address

if TYPE_CHECKING:
    from pipelines.application_data import ApplicationData


@dataclass(frozen=True)
class Losses:
    """What is missing or there twice. quotes, events: acknowledged and not in the database; changed: quotes that GET
    tells otherwise than they were given; keys: idempotency keys under which another quote stands than was answered;
    duplicates: trades with more than one quote, which were asked for under one key each."""

    quotes: int
    events: int
    changed: int
    keys: int
    duplicates: int

    @property
    def total(self) -> int:
        return self.quotes + self.events + self.changed + self.keys + self.duplicates


def losses(acknowledged: Acknowledged, *, data: ApplicationData, address: Address | None) -> Losses:
    """Compare. address: None where no service runs that could be asked too."""
    # Copied before the database is read: what is acknowledged meanwhile may not be in what was read.
    quotes, told = dict(acknowledged.quotes), list(acknowledged.events)
    keys, trades = dict(acknowledged.keys), set(acknowledged.trades)
    stored = {row["quote_id"]: row for row in data.all_quotes()}
    events = {row["event_id"] for row in data.all_events()}
    per_trade = Counter(row["trade_id"] for row in stored.values())
    return Losses(
        quotes=sum(quote_id not in stored for quote_id in quotes),
        events=sum(event_id not in events for event_id in told),
        changed=0 if address is None else _changed(quotes, address),
        keys=_wrong_keys(keys, data),
        duplicates=sum(per_trade[trade_id] > 1 for trade_id in trades),
    )


def _changed(quotes: dict[str, dict[str, Any]], address: Address) -> int:
    with address.client() as client:
        return sum(client.get(f"/v1/quotes/{name}").json() != quote for name, quote in quotes.items())


def _wrong_keys(keys: dict[str, str], data: ApplicationData) -> int:
    """Keys whose kept answer is not the one that was given. Kept keys begin with the client's name."""
    import sqlalchemy as sa

    from pipelines.application_data import replies

    chosen = sa.select(replies).where(replies.c.route == "/v1/quotes")
    kept = {row["idempotency_key"].rpartition(":")[2]: row["body"]["quote_id"] for row in data.rows(chosen)}
    return sum(kept.get(key) != quote_id for key, quote_id in keys.items())
