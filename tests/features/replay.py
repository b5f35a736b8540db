"""History as the live state would have heard it: every event of stored tables, in the order it became known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa

from features.catalogue import load_catalogue
from features.definitions import FEATURES
from features.events import Accepted, Event, Labelled, Observed, Record, Resold, Submitted
from features.online import LiveFeatures
from features.rows import SPINE_COLUMNS
from features.state_book import CURSOR, StateStore
from features.training_set import compute_features


class MemoryStates:
    """States in a dictionary."""

    def __init__(self) -> None:
        self.states: dict[str, bytes] = {}

    def read_states(self, keys: Sequence[str]) -> list[bytes | None]:
        return [self.states.get(key) for key in keys]

    def write_states(self, states: Mapping[str, bytes], *, now: datetime) -> None:
        self.states.update(states)

    def write_many(self, states: Iterable[tuple[str, bytes]], *, now: datetime) -> int:
        before = len(self.states)
        self.states.update(states)
        return len(self.states) - before


def offline(trades: pa.Table, market: pa.Table, spine: pa.Table | None = None) -> dict[str, np.ndarray]:
    """Offline columns of a spine (all trades without one), in its order."""
    return compute_features(
        spine=(trades if spine is None else spine).select(SPINE_COLUMNS),
        trades=trades,
        market=market,
        catalogue=load_catalogue(),
        registry=FEATURES,
        progress=lambda done, total: None,
    )


def live(states: StateStore | None = None) -> LiveFeatures:
    """Live features over states; empty ones are started."""
    kept = states or MemoryStates()
    features = LiveFeatures(states=kept, registry=FEATURES, catalogue=load_catalogue())
    if kept.read_states([CURSOR]) == [None]:
        features.start(generation="test", now=datetime(2025, 1, 1, tzinfo=UTC))
    return features


def timeline(trades: pa.Table, market: pa.Table) -> list[tuple[datetime, Event]]:
    """Everything that happens, by time; at one time submissions (by trade_id) come before what is learned then."""
    happened: list[tuple[datetime, int, str, Event]] = []
    for row in trades.to_pylist():
        happened.append((row["submitted_at"], 0, row["trade_id"], Submitted(row)))
        bought_at = row["decided_at"] if row["accepted"] else None
        if bought_at is not None:
            happened.append((bought_at, 1, row["trade_id"], Accepted(row, bought_at)))
        if row["resale_rate"] is not None and row["resold_at"] is not None:
            event = Resold(row, row["resale_rate"], row["resold_at"], bought_at)
            happened.append((row["resold_at"], 2, row["trade_id"], event))
        if row["fraud"] is not None and row["fraud_known_at"] is not None:
            event = Labelled(row, row["fraud"], row["fraud_known_at"])
            happened.append((row["fraud_known_at"], 2, row["trade_id"], event))
    for row in market.to_pylist():
        event = Observed(row["card_type"], row["source"], row["side"], row["rate"], row["observed_at"])
        happened.append((row["observed_at"], 2, "", event))
    happened.sort(key=lambda item: item[:3])
    return [(at, event) for at, _, _, event in happened]


def records(events: Iterable[Event]) -> list[Record]:
    return [Record(seq, event) for seq, event in enumerate(events, start=1)]


def assert_equal(found: Mapping[str, object], wanted: Mapping[str, object], *, of: str = "") -> None:
    """All features equal, to the last bit; NaN equals NaN."""
    for name in found:
        left, right = found[name], wanted[name]
        both_unknown = left != left and right != right
        assert left == right or both_unknown, f"{name} {of}: {left!r} is not {right!r}"


def row_of(columns: Mapping[str, np.ndarray], row: int) -> dict[str, object]:
    return {name: values[row] for name, values in columns.items()}
