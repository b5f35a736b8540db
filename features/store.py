"""Feast: the catalogue of entities, views and services, training retrieval, and the online key-value state.

With :mod:`features.online_store` the only module that imports Feast (it takes seconds, so it is imported when a
store is opened). The windows are
ours; Feast keeps what is computed and hands it out. View names carry the definitions' version, because Feast
makes no version of its own when a definition changes.

Errors: :class:`RowsLost` (training retrieval), :class:`OnlineStoreUnavailable` (states cannot be read or written
now), :class:`OnlineUrlError` (the setting that says where states live cannot be used).
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.feast_loading import load_feast
from features.online_store import (
    PROJECT,
    STATE_FIELD,
    STATE_KEY,
    FeastStates,
    OnlineUrlError,
    SqliteStates,
    clear_redis,
    clear_sqlite,
    faults,
    prepare_redis,
    prepare_sqlite,
    redis_patience,
    redis_section,
    sqlite_patience,
    sqlite_section,
    write_repository_file,
)
from features.registry import Registry

STATE_VIEW = "entity_state"
SERVICES = ("discount", "fraud")
SPINE = ("trade_id", "submitted_at")
BULK_STATES = 20_000
"""States in one transaction of a bulk load: a third cheaper than 5,000; another writer waits a second or two."""
RETRIEVED_AT_ONCE = 250_000
"""Rows of a training set that Feast is asked for at once."""
MOST_KEYS = 20_000
"""Keys in one read; SQLite takes at most 32,766 parameters."""


class RowsLost(RuntimeError):
    """Training retrieval did not return exactly the rows it was asked for."""


class OnlineStoreUnavailable(RuntimeError):
    """The online store cannot be read or written now; the message says why."""


class FeatureStore:
    """The Feast store of one workspace: file registry, DuckDB offline store, SQLite or Redis online store.

    ``online_url``: empty for the SQLite file ``online.db`` of the folder, or ``redis://[:password@]host:port/db``
    (``rediss://`` with TLS). Redis is first spoken to by the first read or write.
    Raises OnlineUrlError, and OnlineStoreUnavailable where the SQLite file cannot be opened.
    """

    def __init__(self, folder: Path, *, online_url: str = "") -> None:
        online = redis_section(online_url) if online_url else sqlite_section(folder)
        write_repository_file(folder, online)
        self._folder = folder
        self._store: Any = load_feast().FeatureStore(repo_path=str(folder))
        self._config = self._store.config
        self._online = self._store._get_provider().online_store
        self._entity, self._view = _state_view(folder)
        self._redis = bool(online_url)
        self._faults = faults(redis=self._redis)
        with self._named_faults():
            (prepare_redis if self._redis else prepare_sqlite)(self._online, self._config, self._view)
        states = FeastStates if self._redis else SqliteStates
        self._states = states(self._online, self._config, self._view)

    # --- catalogue ---------------------------------------------------------------------------------------

    def register(self, *, registry: Registry, training_set: Path) -> None:
        """Declare entities, the view over ``training_set``, one service a model, and the online state.

        Registering the same definitions over another file points their view at that file.
        """
        from feast import Entity, FeatureService, FeatureView, FileSource, ValueType

        version = registry.version()
        trade = Entity(
            name="trade",
            join_keys=["trade_id"],
            value_type=ValueType.STRING,
            description="One card offered by one seller",
        )
        view: Any = FeatureView(
            name=trade_view_name(registry),
            entities=[trade],
            schema=_fields(registry),
            source=FileSource(
                name=f"training_set_{version}", path=str(training_set), timestamp_field="event_timestamp"
            ),
            ttl=timedelta(0),
            online=False,
            description="Features of a trade as of its submission",
            tags={"definitions": version},
        )
        services = [
            FeatureService(
                name=_service_name(model, registry),
                features=[view[list(registry.names(model))]],
                description=f"What the {model} model sees of a trade",
                tags={"definitions": version},
            )
            for model in SERVICES
        ]
        with self._changing_registry():
            self._store.apply([trade, view, *services, self._entity, self._view])

    def save_dataset(
        self,
        *,
        registry: Registry,
        model: str,
        fingerprint: str,
        path: Path,
        rows: int,
        until: datetime | None = None,
    ) -> str:
        """Declare the training-set file at ``path`` as the saved data set that a model learned from; its name.

        The data is not copied. ``until``: outcomes known before it were used (None: all). Doing it again changes
        nothing but Feast's time stamp. Raises OSError where the file cannot be read.
        """
        from feast.infra.offline_stores.file_source import SavedDatasetFileStorage
        from feast.saved_dataset import SavedDataset

        name = f"{model}_{fingerprint}"
        view = trade_view_name(registry)
        dataset = SavedDataset(
            name=name,
            features=[f"{view}:{feature}" for feature in registry.names(model)],
            join_keys=["trade_id"],
            storage=SavedDatasetFileStorage(path=str(path)),
            feature_service_name=_service_name(model, registry),
            tags={
                "definitions": registry.version(),
                "fingerprint": fingerprint,
                "rows": str(rows),
                "until": "" if until is None else until.isoformat(),
            },
        )
        dataset.min_event_timestamp, dataset.max_event_timestamp = _period(path)
        with self._changing_registry():
            self._store.registry.apply_saved_dataset(dataset, PROJECT)
        return name

    @contextmanager
    def _changing_registry(self) -> Iterator[None]:
        """Feast rewrites the registry file from what it last read: one process at a time, after a fresh read."""
        with (self._folder / "registry.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._store.refresh_registry()
            yield

    # --- training ----------------------------------------------------------------------------------------

    def retrieve(self, *, registry: Registry, model: str, spine: pa.Table) -> pa.Table:
        """Features of ``spine`` (trade_id, submitted_at) through the model's service, in the spine's order.

        Columns: the spine's two, then the model's features. Raises RowsLost where rows in and rows out differ or
        the registered training set does not hold a trade.
        """
        service = self._store.get_feature_service(_service_name(model, registry))
        table = self._store.get_historical_features(
            entity_df=_entity_frame(spine), features=service
        ).to_arrow()
        found = dict(zip(table.column_names, table.columns, strict=True))
        del table
        order = _order(found.pop("position"), len(spine))
        columns = {name: spine[name] for name in SPINE}
        for name in registry.names(model):
            # One contiguous array first: taking from chunks costs half as much again. What was found is let go at once:
            # there is never a second copy of all.
            columns[name] = found.pop(name).combine_chunks().take(order)
        _refuse_unknown(columns, registry.names(model))
        return pa.table(columns)

    def retrieve_into(self, path: Path, *, registry: Registry, model: str, spine: pa.Table) -> None:
        """Write what :meth:`retrieve` gives for the whole spine to a Parquet file, ``RETRIEVED_AT_ONCE`` rows after
        another: neither what Feast finds nor what it leaves behind in memory grows with the spine. Raises RowsLost,
        also where another training set was registered meanwhile."""
        import pyarrow.parquet as pq

        before = self._registered_file(registry)
        part = self.retrieve(registry=registry, model=model, spine=spine.slice(0, RETRIEVED_AT_ONCE))
        text: Any = [field.name for field in part.schema if pa.types.is_string(field.type)]
        with pq.ParquetWriter(path, part.schema, use_dictionary=text) as writer:
            writer.write_table(part)
            del part
            for start in range(RETRIEVED_AT_ONCE, len(spine), RETRIEVED_AT_ONCE):
                rows = spine.slice(start, RETRIEVED_AT_ONCE)
                writer.write_table(self.retrieve(registry=registry, model=model, spine=rows))
        if self._registered_file(registry) != before:
            raise RowsLost("another command registered a training set meanwhile; try again when it has ended")

    def _registered_file(self, registry: Registry) -> str:
        """Where the registered training set is, as the file of the registry has it now."""
        return self._store.get_feature_view(trade_view_name(registry)).batch_source.path

    # --- online state ------------------------------------------------------------------------------------

    def read_states(self, keys: Sequence[str]) -> list[bytes | None]:
        """States of entity keys in their order, None where there is none; one round trip (a ``MOST_KEYS``).

        Raises OnlineStoreUnavailable.
        """
        if len(keys) > MOST_KEYS:
            return self.read_states(keys[:MOST_KEYS]) + self.read_states(keys[MOST_KEYS:])
        with self._named_faults():
            return self._states.read(keys)

    def write_states(self, states: Mapping[str, bytes], *, now: datetime) -> None:
        """Replace states: one transaction (SQLite) or pipeline (Redis). ``now`` is stored as their time.

        Raises OnlineStoreUnavailable.
        """
        with self._named_faults():
            self._states.write(states.items(), now=now)

    def write_many(self, states: Iterable[tuple[str, bytes]], *, now: datetime) -> int:
        """Replace many states, ``BULK_STATES`` at a time, as when all are rebuilt; returns how many.

        What was written before an OnlineStoreUnavailable stays written.
        """
        rest, written = iter(states), 0
        while chunk := list(islice(rest, BULK_STATES)):
            chunk.sort(key=itemgetter(0))  # in the index's order each of its pages is changed once
            with self._named_faults():
                self._states.write(chunk, now=now, bulk=True)
            written += len(chunk)
        return written

    def answer_within(self, seconds: float) -> None:
        """Give up reads and writes of states that take longer: a quote does not wait as long as a rebuild does."""
        patience = redis_patience if self._redis else sqlite_patience
        patience(self._online, self._config, seconds)

    @property
    def online_file(self) -> Path | None:
        """The SQLite file that holds the states; None where Redis does."""
        return None if self._redis else Path(self._config.online_store.path)

    def clear_states(self) -> None:
        """Forget all online state, before it is rebuilt from history. Raises OnlineStoreUnavailable."""
        with self._named_faults():
            (clear_redis if self._redis else clear_sqlite)(self._online, self._config, self._view)

    @contextmanager
    def _named_faults(self) -> Iterator[None]:
        try:
            yield
        except self._faults as error:
            raise OnlineStoreUnavailable(f"online store: {error}") from error


def trade_view_name(registry: Registry) -> str:
    return f"trade_features_{registry.version()}"


def _service_name(model: str, registry: Registry) -> str:
    return f"{model}_{registry.version()}"


# --- Feast objects ---------------------------------------------------------------------------------------


def _fields(registry: Registry) -> list[Any]:
    from feast import Field
    from feast.types import Float64, String

    return [
        Field(
            name=item.name,
            dtype=String if item.kind == "category" else Float64,
            description=item.meaning,
            tags={name: str(value) for name in _TAGS if (value := getattr(item, name, ""))},
        )
        for item in registry
    ]


_TAGS = ("family", "unit", "as_of", "zh", "null", "range")


def _state_view(folder: Path) -> tuple[Any, Any]:
    """The entity and the view of the online state, kept by the store: its reads need no registry."""
    from feast import Entity, FeatureView, Field, FileSource, ValueType
    from feast.types import Bytes

    entity = Entity(
        name="entity",
        join_keys=[STATE_KEY],
        value_type=ValueType.STRING,
        description="A seller, device, ip, payout account, card batch or card kind",
    )
    path = folder / "entity_state.parquet"
    _write_empty_state(path)
    view = FeatureView(
        name=STATE_VIEW,
        entities=[entity],
        schema=[Field(name=STATE_FIELD, dtype=Bytes, description="Recent events, encoded by features.state")],
        source=FileSource(name="entity_state", path=str(path), timestamp_field="event_timestamp"),
        ttl=timedelta(0),
        online=True,
        description="Recent events of one entity",
    )
    return entity, view


def _write_empty_state(path: Path) -> None:
    """Feast wants a batch source for every view; the states have none, so it is an empty file."""
    import pyarrow.parquet as pq

    schema = pa.schema(
        [
            (STATE_KEY, pa.string()),
            ("event_timestamp", pa.timestamp("us", tz="UTC")),
            (STATE_FIELD, pa.binary()),
        ]
    )
    if not path.exists():
        pq.write_table(schema.empty_table(), path)


# --- training rows ---------------------------------------------------------------------------------------


def _entity_frame(spine: pa.Table) -> Any:
    """The spine as Feast wants it, with each row's position (Feast answers in no particular order).

    Ids stay Arrow strings: a million Python strings would cost half a second and 60 MB.
    """
    import pandas as pd

    return pd.DataFrame(
        {
            "trade_id": spine["trade_id"].to_pandas(types_mapper=pd.ArrowDtype),
            "event_timestamp": spine["submitted_at"].to_pandas(),
            "position": np.arange(len(spine)),
        }
    )


def _order(positions: pa.ChunkedArray, rows: int) -> pa.Array:
    """Where each row of the spine (n,) stands in what was found. Raises RowsLost unless each stands there once."""
    if len(positions) != rows:
        raise RowsLost(f"{rows} rows asked for, {len(positions)} returned")
    order = np.full(rows, -1)
    order[positions.to_numpy()] = np.arange(rows)
    if (order < 0).any():
        raise RowsLost(f"{(order < 0).sum()} of {rows} rows were not returned")
    return pa.array(order)


def _refuse_unknown(columns: Mapping[str, pa.ChunkedArray], names: Sequence[str]) -> None:
    """Raises RowsLost for a trade without any feature: Feast answers nulls for a trade it does not know."""
    unknown = None
    for name in names:
        nulls = pc.is_null(columns[name])
        unknown = nulls if unknown is None else pc.and_(unknown, nulls)
        if not pc.any(unknown, min_count=0).as_py():
            return
    example = pc.filter(columns["trade_id"], unknown)[0] if unknown is not None else None
    raise RowsLost(f"{pc.sum(unknown)} trades are not in the registered training set, such as {example}")


def _period(path: Path) -> tuple[datetime, datetime]:
    """First and last moment of a training set (naive UTC, as Feast stores it), from the file's footer."""
    import pyarrow.parquet as pq

    footer = pq.read_metadata(path)
    column = footer.schema.to_arrow_schema().get_field_index("event_timestamp")
    groups = [footer.row_group(number).column(column).statistics for number in range(footer.num_row_groups)]
    first, last = min(group.min for group in groups), max(group.max for group in groups)
    return first.replace(tzinfo=None), last.replace(tzinfo=None)


__all__ = ["FeatureStore", "OnlineStoreUnavailable", "OnlineUrlError", "RowsLost"]
