"""Feast: the catalogue of entities, views and services, training retrieval, and the online key-value state.

The only module that imports Feast (it takes seconds, so it is imported when a store is opened). The windows are
ours; Feast keeps what is computed and hands it out. View names carry the definitions' version, because Feast
makes no version of its own when a definition changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from features.registry import Registry

PROJECT = "huika"
STATE_VIEW = "entity_state_v1"
STATE_FIELD = "state"
SERVICES = ("discount", "fraud")


class RowsLost(RuntimeError):
    """Training retrieval returned another number of rows than it was asked for."""


class FeatureStore:
    """The Feast store of one workspace: SQLite registry and online store, DuckDB offline store."""

    def __init__(self, folder: Path) -> None:
        import feast

        self._folder = folder
        self._write_repository_file()
        self._store = feast.FeatureStore(repo_path=str(folder))
        self._state_view: Any = None
        _use_write_ahead_log(folder / "online.db")

    # --- catalogue ---------------------------------------------------------------------------------------

    def register(self, *, registry: Registry, training_set: Path) -> None:
        """Declare entities, the view over ``training_set``, one service a model, and the online state."""
        from feast import Entity, FeatureService, FeatureView, FileSource, ValueType

        trade = Entity(name="trade", join_keys=["trade_id"], value_type=ValueType.STRING)
        source = FileSource(name="training_set", path=str(training_set), timestamp_field="submitted_at")
        view: Any = FeatureView(
            name=trade_view_name(registry),
            entities=[trade],
            schema=_fields(registry),
            source=source,
            ttl=timedelta(0),
            online=False,
            description="Features of a trade as of its submission",
        )
        services = [
            FeatureService(name=_service_name(name, registry), features=[view[list(registry.names(name))]])
            for name in SERVICES
        ]
        self._store.apply([trade, view, *services])

    def register_state(self) -> None:
        """Declare the online state of entities (once per workspace)."""
        from feast import Entity, FeatureView, Field, FileSource, ValueType
        from feast.types import Bytes

        entity = Entity(name="entity", join_keys=["entity_key"], value_type=ValueType.STRING)
        path = self._folder / "entity_state.parquet"
        _write_empty_state(path)
        view = FeatureView(
            name=STATE_VIEW,
            entities=[entity],
            schema=[Field(name=STATE_FIELD, dtype=Bytes)],
            source=FileSource(name="entity_state", path=str(path), timestamp_field="event_timestamp"),
            ttl=timedelta(0),
            online=True,
            description="Recent events of one seller, device, ip, payout account, card batch or card kind",
        )
        self._store.apply([entity, view])
        self._state_view = view

    # --- training ----------------------------------------------------------------------------------------

    def retrieve(self, *, registry: Registry, model: str, spine: pa.Table) -> pa.Table:
        """Features of ``spine`` (trade_id, submitted_at) through the model's service, in the spine's order.

        Raises RowsLost where rows in and rows out differ.
        """
        frame = spine.rename_columns(["trade_id", "event_timestamp"]).to_pandas()
        service = self._store.get_feature_service(_service_name(model, registry))
        found = self._store.get_historical_features(entity_df=frame, features=service).to_arrow()
        if len(found) != len(spine):
            raise RowsLost(f"{len(spine)} rows asked for, {len(found)} returned")
        import pyarrow.compute as pc

        position = pc.index_in(spine["trade_id"], value_set=found["trade_id"].combine_chunks())
        if position.null_count:
            raise RowsLost(f"{position.null_count} trades are missing from the feature store")
        return found.take(position)

    # --- online state ------------------------------------------------------------------------------------

    def read_states(self, keys: Sequence[str]) -> list[bytes | None]:
        """States of entity keys, None where there is none; one round trip."""
        found = self._online.online_read(
            self._store.config, self._view, [_entity_key(key) for key in keys], [STATE_FIELD]
        )
        return [values[STATE_FIELD].bytes_val if values else None for _, values in found]

    def write_states(self, states: Mapping[str, bytes], *, now: datetime) -> None:
        """Replace states; one transaction. ``now`` is stored as their time."""
        from feast.protos.feast.types.Value_pb2 import Value

        rows: Iterable[Any] = [
            (_entity_key(key), {STATE_FIELD: Value(bytes_val=state)}, now, now)
            for key, state in states.items()
        ]
        self._online.online_write_batch(self._store.config, self._view, rows, None)

    def clear_states(self) -> None:
        """Forget all online state, before it is rebuilt from history."""
        self._online.teardown(self._store.config, [self._view], [])
        self.register_state()
        _use_write_ahead_log(self._folder / "online.db")

    @property
    def _online(self) -> Any:
        return self._store._get_provider().online_store  # pyright: ignore[reportAttributeAccessIssue]

    @property
    def _view(self) -> Any:
        if self._state_view is None:
            self.register_state()
        return self._state_view

    def _write_repository_file(self) -> None:
        """`feature_store.yaml`, so that Feast's own commands work in this folder too."""
        self._folder.mkdir(parents=True, exist_ok=True)
        text = (
            f"project: {PROJECT}\nprovider: local\nregistry: {self._folder / 'registry.db'}\n"
            f"online_store:\n  type: sqlite\n  path: {self._folder / 'online.db'}\n"
            "offline_store:\n  type: duckdb\nentity_key_serialization_version: 3\n"
        )
        path = self._folder / "feature_store.yaml"
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


def trade_view_name(registry: Registry) -> str:
    return f"trade_features_{registry.version()}"


def _service_name(model: str, registry: Registry) -> str:
    return f"{model}_{registry.version()}"


def _fields(registry: Registry) -> list[Any]:
    from feast import Field
    from feast.types import Float64, String

    return [
        Field(
            name=item.name,
            dtype=String if item.kind == "category" else Float64,
            description=item.meaning,
            tags={"family": item.family, "unit": item.unit, "as_of": item.as_of, "zh": item.zh},
        )
        for item in registry
    ]


def _entity_key(key: str) -> Any:
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey
    from feast.protos.feast.types.Value_pb2 import Value

    return EntityKey(join_keys=["entity_key"], entity_values=[Value(string_val=key)])


def _write_empty_state(path: Path) -> None:
    import pyarrow.parquet as pq

    schema = pa.schema(
        [
            ("entity_key", pa.string()),
            ("event_timestamp", pa.timestamp("us", tz="UTC")),
            (STATE_FIELD, pa.binary()),
        ]
    )
    if not path.exists():
        pq.write_table(schema.empty_table(), path)


def _use_write_ahead_log(path: Path) -> None:
    """Readers do not wait for a writer (Feast opens SQLite in its slower default mode)."""
    import sqlite3

    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
