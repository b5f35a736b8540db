"""Gives every data key a new wrapping. The cards themselves are not touched, so it is quick and may be stopped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from pipelines.recycling import vault_tables as tables
from pipelines.recycling.vault import Vault, bound_key
from pipelines.recycling.vault_keys import CannotUnwrap, Wrapped

PAGE = 200
"""Cards that are wrapped anew in one transaction."""


@dataclass(frozen=True)
class Rotation:
    """What a rotation did. resumed: whether it finished one that was stopped, under the same key; damaged: cards whose
    data key does not open, and that keep their old wrapping; unused: keys that wrap nothing any more."""

    kek_id: str
    resumed: bool
    rewrapped: int
    damaged: tuple[str, ...]
    unused: tuple[str, ...]


def rotate(vault: Vault, *, actor: str, now: datetime) -> Rotation:
    """Wrap all data keys with a new key, or go on where a rotation was stopped. Raises VaultKeyError."""
    former = set(vault.status()) - {"shredded"}
    current = vault.keys.current()
    resumed = bool(former - {current})
    if not resumed:
        former |= {current}
        current = vault.keys.renew()
    rewrapped, damaged = 0, []
    for page in _pages(vault.engine, current):
        done, bad = _rewrap(vault, page, current)
        rewrapped, damaged = rewrapped + done, damaged + bad
    vault.note_rotation(f"{rewrapped} data keys wrapped with {current}", actor=actor, now=now)
    tables.leave_no_copy(vault.engine)
    unused = tuple(sorted(former - set(vault.status()) - {current}))
    return Rotation(current, resumed, rewrapped, tuple(damaged), unused)


def _pages(engine: sa.Engine, current: str) -> Iterator[Sequence[Mapping[str, Any]]]:
    last = ""
    columns = [tables.cards.c[name] for name in ("card_id", "trade_id", "kek_id", "wrapped_key")]
    while True:
        behind = sa.and_(tables.cards.c.kek_id != current, tables.cards.c.card_id > last)
        chosen = sa.select(*columns).where(behind).order_by(tables.cards.c.card_id).limit(PAGE)
        with engine.connect() as connection:
            page = [dict(row) for row in connection.execute(chosen).mappings()]
        if not page:
            return
        yield page
        last = page[-1]["card_id"]


def _rewrap(vault: Vault, page: Sequence[Mapping[str, Any]], current: str) -> tuple[int, list[str]]:
    """Wrap a page of data keys anew: how many, and the cards whose key does not open."""
    new: list[tuple[Mapping[str, Any], bytes]] = []
    damaged: list[str] = []
    for row in page:
        trade_id, card_id = row["trade_id"], row["card_id"]
        try:
            wrapped = Wrapped(row["kek_id"], row["wrapped_key"])
            data_key = vault.keys.unwrap(wrapped, bound=bound_key(trade_id, card_id, row["kek_id"]))
        except CannotUnwrap:
            damaged.append(card_id)
            continue
        bound = bound_key(trade_id, card_id, current)
        new.append((row, vault.keys.wrap(data_key, kek_id=current, bound=bound).value))
    with vault.engine.begin() as connection:
        return sum(_replace(connection, row, value, current) for row, value in new), damaged


def _replace(connection: sa.Connection, row: Mapping[str, Any], value: bytes, current: str) -> int:
    """1 where the card still had the wrapping that was opened: it may have been shredded meanwhile."""
    same = sa.and_(tables.cards.c.card_id == row["card_id"], tables.cards.c.wrapped_key == row["wrapped_key"])
    changed = sa.update(tables.cards).where(same).values(kek_id=current, wrapped_key=value)
    return connection.execute(changed).rowcount
