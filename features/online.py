"""The live path: events change entity states, a trade's states become facts, facts become features.

The features are those of :mod:`features.definitions`, computed by the same code as offline; only the facts are
fewer: the recent events of the trade's own entities instead of the whole history.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from features.catalogue import Catalogue
from features.facts import (
    ACCEPTANCES,
    ENTITIES,
    KINDS,
    LABELS,
    MARKET,
    SPINE_COLUMNS,
    SUBMISSIONS,
    Facts,
    rate_to_ppm,
)
from features.moment import Moment
from features.registry import Registry
from features.state import Row, State
from features.tables import TRADES
from features.windows import DAY, LONGEST

SPINE_SCHEMA = pa.schema([TRADES.schema.field(name) for name in SPINE_COLUMNS])
Trade = Mapping[str, Any]
"""One trade with ``SPINE_COLUMNS`` (times as aware datetimes, ``expires_on`` as a date, others None if unknown)."""


class StateStore(Protocol):
    """Where states live; :class:`features.store.FeatureStore` is one."""

    def read_states(self, keys: Sequence[str]) -> list[bytes | None]: ...

    def write_states(self, states: Mapping[str, bytes], *, now: datetime) -> None: ...


class LiveFeatures:
    """Entity states behind the features of live trades. One writer at a time (the caller's duty)."""

    def __init__(self, *, states: StateStore, registry: Registry, catalogue: Catalogue) -> None:
        self._states = states
        self._registry = registry
        self._catalogue = catalogue

    def features(self, trades: Sequence[Trade]) -> dict[str, np.ndarray]:
        """Features of trades (n,), each as of its ``submitted_at``; one read for all their entities.

        A trade counts as a submission for the later ones among them.
        """
        per_trade = (self._entity_keys(trade) + self._kind_keys(trade) for trade in trades)
        keys = list(dict.fromkeys(key for keys in per_trade for key in keys))
        found = self._states.read_states(keys)
        states = {key: State.decode(data) for key, data in zip(keys, found, strict=True)}
        spine = pa.Table.from_pylist(
            [{name: trade[name] for name in SPINE_COLUMNS} for trade in trades], schema=SPINE_SCHEMA
        )
        earliest = min(to_microseconds(trade["submitted_at"]) for trade in trades)
        facts = facts_from_states(states, moment=earliest)
        return self._registry.compute(Moment(spine=spine, facts=facts, catalogue=self._catalogue))

    def submitted(self, trade: Trade, *, now: datetime) -> None:
        """A card was offered. The same trade twice counts once."""
        self._change(self._entity_keys(trade), lambda state: state.add_submission(submission_row(trade)), now)

    def labelled(
        self,
        trade: Trade,
        *,
        fraud: bool,
        known_at: datetime,
        old: tuple[datetime, bool] | None = None,
        now: datetime,
    ) -> None:
        """A fraud label became known. ``old`` is the label (known at, fraud) that it corrects, if there was one."""
        time = to_microseconds(known_at)
        before = None if old is None else (to_microseconds(old[0]), old[1])

        def of_entity(state: State) -> None:
            state.set_label(trade_id=trade["trade_id"], known_at=time, fraud=fraud, old=before)

        def of_kind(state: State) -> None:
            if before is not None:
                state.add_to_day(before[0], labels=-1, frauds=-int(before[1]))
            state.add_to_day(time, labels=1, frauds=int(fraud))

        self._change(self._entity_keys(trade), of_entity, now)
        self._change(self._kind_keys(trade), of_kind, now)

    def accepted(self, trade: Trade, *, decided_at: datetime, now: datetime) -> None:
        """The seller accepted the offer."""
        time = to_microseconds(decided_at)
        self._change(
            [f"seller={trade['seller_id']}"],
            lambda state: state.add_acceptance(trade_id=trade["trade_id"], decided_at=time),
            now,
        )

    def resold(self, trade: Trade, *, rate: float, resold_at: datetime, now: datetime) -> None:
        """The card was resold at ``rate`` net of fees."""
        time, ppm = to_microseconds(resold_at), rate_to_ppm(rate)
        self._change(self._kind_keys(trade), lambda state: state.add_to_day(time, resales=1, ppm=ppm), now)

    def observed(
        self, *, card_type: str, source: str, side: str, rate: float, at: datetime, now: datetime
    ) -> None:
        """A market rate was seen."""
        ppm = rate_to_ppm(rate)
        self._change(
            [f"card_type={card_type}"],
            lambda state: state.add_bid(time=to_microseconds(at), source=source, side=side, ppm=ppm),
            now,
        )

    def _change(self, keys: Sequence[str], change: Any, now: datetime) -> None:
        changed = {}
        for key, data in zip(keys, self._states.read_states(keys), strict=True):
            state = State.decode(data)
            change(state)
            state.fold(to_microseconds(now))
            changed[key] = state.encode()
        self._states.write_states(changed, now=now)

    def _entity_keys(self, trade: Trade) -> list[str]:
        return [f"{kind}={trade[column]}" for kind, column in ENTITIES.items() if trade[column] is not None]

    def _kind_keys(self, trade: Trade) -> list[str]:
        return kind_keys(trade["card_type"], self._catalogue)


def kind_keys(card_type: str, catalogue: Catalogue) -> list[str]:
    category = catalogue.attribute(np.array([card_type], dtype=object), "category")[0]
    keys = [f"card_type={card_type}"]
    return keys if category is None else [*keys, f"card_category={category}"]


def submission_row(trade: Trade) -> Row:
    entities = [trade[column] for column in ENTITIES.values()]
    return [trade["trade_id"], to_microseconds(trade["submitted_at"]), trade["face_value_fen"], *entities]


def facts_from_states(states: Mapping[str, State], *, moment: int) -> Facts:
    """Put the event tables of some entities together. Keys are ``kind=value``; ``moment`` is the earliest asked for."""
    labels: list[dict[str, Any]] = []
    acceptances: list[dict[str, Any]] = []
    kinds: list[dict[str, Any]] = []
    bids: list[dict[str, Any]] = []
    for key, state in states.items():
        kind, _, value = key.partition("=")
        if kind in ENTITIES:
            labels += _label_rows(state, ENTITIES[kind], value)
            acceptances += _acceptance_rows(state, value) if kind == "seller" else []
        else:
            kinds += _kind_rows(state, kind, value)
            bids += _bid_rows(state, value) if kind == "card_type" else []
    return Facts(
        submissions=_rows(_submission_rows(states, moment), SUBMISSIONS),
        labels=_rows(labels, LABELS),
        acceptances=_rows(acceptances, ACCEPTANCES),
        kinds=_rows(kinds, KINDS),
        market=_rows(bids, MARKET),
    )


def _rows(rows: list[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=schema)


def _submission_rows(states: Mapping[str, State], moment: int) -> list[dict[str, Any]]:
    """The union of the states' submissions by trade.

    A row that a window can reach is whole in every state that knows it. An older row may already be folded in
    another state, so it counts only for the entity whose state still has it.
    """
    union: dict[str, dict[str, Any]] = {}
    for key, state in states.items():
        kind, _, value = key.partition("=")
        if kind not in ENTITIES:
            continue
        for row in state.submissions:
            whole = int(row[1] or 0) >= moment - LONGEST
            entities = (
                dict(zip(ENTITIES.values(), row[3:], strict=True)) if whole else {ENTITIES[kind]: value}
            )
            known = union.setdefault(
                str(row[0]),
                {"trade_id": row[0], "submitted_at": row[1], "face_value_fen": row[2], "weight": 1},
            )
            known.update(entities)
        if state.folded.submissions:
            union[f"folded:{key}"] = {
                "trade_id": f"folded:{key}",
                "submitted_at": state.folded.first_submission,
                "face_value_fen": 0,
                "weight": state.folded.submissions,
                ENTITIES[kind]: value,
            }
    return list(union.values())


def _label_rows(state: State, column: str, value: str) -> list[dict[str, Any]]:
    rows = [
        {"trade_id": trade_id, "fraud_known_at": time, "labels": 1, "frauds": fraud, column: value}
        for trade_id, time, fraud in state.labels
    ]
    folded = state.folded
    if folded.labels:
        rows.append(
            {
                "trade_id": "",
                "fraud_known_at": folded.first_label,
                "labels": folded.labels,
                "frauds": folded.frauds,
                column: value,
            }
        )
    return rows


def _acceptance_rows(state: State, seller_id: str) -> list[dict[str, Any]]:
    rows = [{"decided_at": time, "weight": 1, "seller_id": seller_id} for _, time in state.acceptances]
    folded = state.folded
    if folded.acceptances:
        rows.append(
            {"decided_at": folded.first_acceptance, "weight": folded.acceptances, "seller_id": seller_id}
        )
    return rows


def _kind_rows(state: State, column: str, value: str) -> list[dict[str, Any]]:
    names = ("labels", "frauds", "resales", "resale_ppm")
    return [
        {column: value, "time": int(day) * DAY} | dict(zip(names, totals, strict=True))
        for day, totals in state.days.items()
    ]


def _bid_rows(state: State, card_type: str) -> list[dict[str, Any]]:
    return [
        {"observed_at": time, "card_type": card_type, "source": source, "side": side, "rate_ppm": ppm}
        for time, source, side, ppm in state.bids
    ]


def to_microseconds(time: datetime) -> int:
    """An aware datetime as int64 µs since the epoch; exact."""
    return (time - _EPOCH) // timedelta(microseconds=1)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
