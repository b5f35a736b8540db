"""The 60 window features of the baseline by this project's own builder: what `huika bench features` compares."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from features.windows import DAY, HOUR, Window

if TYPE_CHECKING:
    import pyarrow as pa

PLAIN_WINDOWS = {
    name: Window(name, width, 1)
    for name, width in (("1h", HOUR), ("24h", DAY), ("7d", 7 * DAY), ("30d", 30 * DAY))
}
"""Windows without hops, as every engine knows them."""

ENTITIES = {
    "seller_id": ("seller", "device"),
    "device_id": ("device", "seller"),
    "ip": ("ip", "seller"),
    "payout_account": ("payout_account", "seller"),
    "card_prefix": ("card_prefix", "seller"),
}
"""Column -> the entity, and the one of which different values are counted."""


def builder_features(events: pa.Table) -> dict[str, np.ndarray]:
    """60 columns (n,) int64: count, sum and distinct (64 at most) per entity and window; 0 without the entity."""
    import pyarrow as pa

    from features.catalogue import load_catalogue
    from features.history import MOST_ENTITIES, History
    from features.rows import SPINE_COLUMNS
    from features.tables import MARKET, TRADES

    size = len(events)
    known = {
        "trade_id": pa.chunked_array([pa.array([""] * size)]),
        "submitted_at": events["time"].cast(pa.timestamp("us")).cast(pa.timestamp("us", tz="UTC")),
        "face_value_fen": events["fen"],
        **{name: events[name] for name in ENTITIES},
    }
    assert set(known) <= set(SPINE_COLUMNS)
    history = History(
        read=lambda name: known.get(name, pa.chunked_array([pa.nulls(size, TRADES.schema.field(name).type)])),
        market=MARKET.schema.empty_table(),
        catalogue=load_catalogue(),
        windows=PLAIN_WINDOWS,
    )

    def of_entity(column: str) -> dict[str, np.ndarray]:
        entity, counted = ENTITIES[column]
        seen, columns = history.entity(entity), {}
        for window in PLAIN_WINDOWS:
            found = {
                "count": seen.total("submissions", "n", window),
                "sum": seen.total("submissions", "fen", window),
                "distinct": seen.distinct(counted, window),
            }
            for what, answers in found.items():
                columns[f"{column}_{what}_{window}"] = np.zeros(size, dtype=np.int64)
                columns[f"{column}_{what}_{window}"][seen.order] = answers
        return columns

    # Two entities at a time, as many as a history keeps; the other engines use all processors too.
    with ThreadPoolExecutor(MOST_ENTITIES) as threads:
        return {name: values for part in threads.map(of_entity, ENTITIES) for name, values in part.items()}
