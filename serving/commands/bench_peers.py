"""The baseline's window features as DuckDB, Polars and pandas compute them, beside this project's own builder.

Every function takes a table of events: ``time`` (int64 µs since the epoch, strictly increasing), ``fen`` (int64) and
the five string columns of ``COUNTED``. It answers int64 columns ``{entity}_{count|sum|distinct}_{window}`` in the
order of the events; a row without the entity has 0. Windows have no hops (``PLAIN_WINDOWS``): an event is inside
when ``T - width <= event < T``.

Each peer is written with its own window functions, in the fastest form found that its users would recognise. All
start from the same Arrow table: what they make of it (tables, codes, sorted copies) is part of the measured work.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from features.windows import DAY
from serving.commands.bench_baseline import PLAIN_WINDOWS

if TYPE_CHECKING:
    import polars as pl

COUNTED = {
    "seller_id": "device_id",
    "device_id": "seller_id",
    "ip": "seller_id",
    "payout_account": "seller_id",
    "card_prefix": "seller_id",
}
"""Entity -> the column whose different values are counted."""
FIRST_MOMENT_US = 20_000 * DAY
"""The synthetic events begin on 2024-10-04."""

Features = dict[str, np.ndarray]


def make_events(rows: int, seed: int, *, hot: float = 0.0) -> pa.Table:
    """``rows`` events of 180 days: most sellers have a handful, a few ips and batches have thousands of a million.
    A share of ``hot`` comes from one ip."""
    rng = np.random.default_rng(seed)
    moments = np.sort(rng.integers(0, 180 * DAY - rows, rows))
    seller = _skewed(rng, rows, of=rows // 5, skew=1.25)
    columns = {
        "time": FIRST_MOMENT_US + moments + np.arange(rows),  # the row number makes equal moments different
        "fen": rng.integers(1_000, 100_000, rows),
        "seller_id": _named(rng, seller, "S{:07d}", nulls=0.005),
        "device_id": _named(
            rng, _own(rng, seller, of=rows // 6, skew=1.5, strays=0.2), "D{:07d}", nulls=0.05
        ),
        "ip": _named(
            rng, _own(rng, seller, of=rows // 8, skew=2, strays=0.8), "ip-{:07d}", nulls=0.03, hot=hot
        ),
        "payout_account": _named(
            rng, _own(rng, seller, of=rows // 5, skew=1.25, strays=0.1), "A{:07d}", nulls=0.02
        ),
        "card_prefix": _named(rng, _skewed(rng, rows, of=rows // 50, skew=2), "{:08d}", nulls=0.04),
    }
    return pa.table(columns)


def _skewed(rng: np.random.Generator, rows: int, *, of: int, skew: float) -> np.ndarray:
    """Numbers below ``of``; number ``k`` has a share that falls like ``k ** (1 / skew - 1)``."""
    return (max(of, 1) * rng.random(rows) ** skew).astype(np.int64)


def _own(rng: np.random.Generator, seller: np.ndarray, *, of: int, skew: float, strays: float) -> np.ndarray:
    """What a seller uses: the same number each time, but for a share of ``strays``."""
    stray = _skewed(rng, len(seller), of=of, skew=skew)
    mixed = seller * 2_654_435_761 % max(of, 1)  # a busy seller's own number is not also a popular one
    return np.where(rng.random(len(seller)) < strays, stray, mixed)


def _named(
    rng: np.random.Generator, numbers: np.ndarray, form: str, *, nulls: float, hot: float = 0.0
) -> pa.Array:
    if hot:
        numbers = np.where(rng.random(len(numbers)) < hot, 0, numbers)
    names = pa.array([form.format(number) for number in range(int(numbers.max(initial=0)) + 1)])
    known = pa.array(numbers, mask=rng.random(len(numbers)) < nulls)
    return pa.DictionaryArray.from_arrays(known, names).cast(pa.string())


def naive_features(events: pa.Table) -> Features:
    """The definition, row by row: what the others must equal. Quadratic: for a few hundred rows."""
    columns = {name: np.array(events[name].to_pylist(), dtype=object) for name in COUNTED}
    time, fen = events["time"].to_numpy(), events["fen"].to_numpy()
    features: Features = {
        f"{entity}_{what}_{window}": np.zeros(len(time), np.int64)
        for entity, what, window in product(COUNTED, ("count", "sum", "distinct"), PLAIN_WINDOWS)
    }
    for row, moment in enumerate(time):
        for (entity, counted), window in product(COUNTED.items(), PLAIN_WINDOWS.values()):
            if columns[entity][row] is None:
                continue
            inside = columns[entity][:row] == columns[entity][row]
            inside &= time[:row] >= moment - window.width
            values = set(columns[counted][:row][inside]) - {None}
            features[f"{entity}_count_{window.name}"][row] = inside.sum()
            features[f"{entity}_sum_{window.name}"][row] = fen[:row][inside].sum()
            features[f"{entity}_distinct_{window.name}"][row] = len(values)
    return features


def duckdb_features(events: pa.Table) -> Features:
    """All 60 by window functions in SQL: named windows with RANGE frames, one sort an entity."""
    import duckdb

    features: Features = {}
    with duckdb.connect() as connection:
        connection.execute("SET enable_progress_bar = false")
        connection.register("events", events.append_column("place", pa.array(np.arange(len(events)))))
        connection.execute(_codes_sql())
        for entity in COUNTED:
            answer = connection.execute(_windows_sql(entity)).fetchnumpy()
            places = np.asarray(answer.pop("place"))
            features |= {
                name: _placed(np.asarray(values), places, len(events)) for name, values in answer.items()
            }
    return features


def _codes_sql() -> str:
    """A table with numbers for the strings: made once, they save more in five sorts and twenty distinct counts."""
    codes = ", ".join(f"{name}s.code AS {name}" for name in COUNTED)
    joins = " ".join(
        f"LEFT JOIN (SELECT {name}, (row_number() OVER ())::INTEGER AS code"
        f" FROM (SELECT DISTINCT {name} FROM events WHERE {name} IS NOT NULL)) AS {name}s"
        f" ON events.{name} = {name}s.{name}"
        for name in COUNTED
    )
    return f"CREATE TABLE coded AS SELECT place, time, fen, {codes} FROM events {joins}"


def _windows_sql(entity: str) -> str:
    """The twelve features of one entity."""
    features, frames = [], []
    for name, window in PLAIN_WINDOWS.items():
        features += [
            f"count(*) OVER w{name} AS {entity}_count_{name}",
            f"coalesce(sum(fen) OVER w{name}, 0)::BIGINT AS {entity}_sum_{name}",
            f"count(DISTINCT {COUNTED[entity]}) OVER w{name} AS {entity}_distinct_{name}",
        ]
        frames.append(
            f"w{name} AS (PARTITION BY {entity} ORDER BY time"
            f" RANGE BETWEEN {window.width} PRECEDING AND 1 PRECEDING)"
        )
    return f"SELECT place, {', '.join(features)} FROM coded WHERE {entity} IS NOT NULL WINDOW {', '.join(frames)}"


def polars_features(events: pa.Table) -> Features:
    """All 60 by ``rolling`` over events sorted by entity first, which is six times as fast as in order of time.

    Its ``n_unique`` looks at every event of every window: cheap here, where the busiest entities have thousands of
    events in a million, and quadratic in the events of one entity.
    """
    import polars as pl

    table = _polars_codes(events).with_columns(pl.col("time").cast(pl.Datetime("us")))
    features: Features = {}
    for entity, counted in COUNTED.items():
        known = table.filter(pl.col(entity).is_not_null()).sort(entity, "time")
        places = known["row"].to_numpy()
        values = pl.col(counted)
        for name, window in PLAIN_WINDOWS.items():
            answer = known.rolling(
                index_column="time", period=f"{window.width}us", group_by=entity, closed="left"
            ).agg(
                count=pl.len(),
                sum=pl.col("fen").sum(),
                distinct=values.n_unique() - (values.null_count() > 0),  # null is a value to n_unique
            )
            for what in ("count", "sum", "distinct"):
                features[f"{entity}_{what}_{name}"] = _placed(answer[what].to_numpy(), places, len(events))
    return features


def polars_keys_features(events: pa.Table) -> Features:
    """All 60 by sorted keys and ``search_sorted``: the algorithm of this project's own builder told in Polars."""
    import polars as pl

    time, rows = events["time"].to_numpy(), len(events)
    moments = pl.Series(time)
    table = _polars_codes(events).with_columns(
        moments.search_sorted(edge).cast(pl.Int64).alias(f"{what}_{name}")
        for name, window in PLAIN_WINDOWS.items()
        for what, edge in (("first", time - window.width), ("leaves", time + window.width + 1))
    )
    features: Features = {}
    for entity, counted in COUNTED.items():
        features |= _polars_entity(table.filter(pl.col(entity).is_not_null()), entity, counted, rows)
    return features


def _polars_codes(events: pa.Table) -> pl.DataFrame:
    """The events with their row number, and integers in the place of strings."""
    import polars as pl

    return pl.DataFrame(events).select(
        pl.int_range(len(events)).alias("row"),
        "time",
        "fen",
        *(pl.col(name).cast(pl.Categorical).to_physical().cast(pl.Int64) for name in COUNTED),
    )


def _polars_entity(events: pl.DataFrame, entity: str, counted: str, rows: int) -> Features:
    """The twelve features of one entity. A key is the entity and a row number, so that one sort serves all."""
    import polars as pl

    block = pl.col(entity) * (rows + 1)
    known = pl.col(counted).is_not_null()
    events = events.with_columns(key=block + pl.col("row")).sort("key")
    before = events.select(
        sum=pl.col("fen").cum_sum() - pl.col("fen"), known=known.cum_sum().cast(pl.Int64) - known
    )
    same = (pl.col(entity) == pl.col(entity).shift(-1)) & (pl.col(counted) == pl.col(counted).shift(-1))
    again = pl.when(same).then(pl.col("row").shift(-1) + 1)
    repeats = events.filter(known).sort(entity, counted, maintain_order=True).with_columns(again=again)
    places, at = events["row"].to_numpy(), events["key"]
    features: Features = {}
    for name in PLAIN_WINDOWS:
        start = at.search_sorted(events.select(block + pl.col(f"first_{name}")).to_series())
        # A value counts until its event leaves or the value comes again, whichever is earlier.
        ends = repeats.select((block + pl.min_horizontal(f"leaves_{name}", "again")).sort()).to_series()
        answers = {
            "count": pl.int_range(len(at), eager=True) - start,
            "sum": before["sum"] - before["sum"].gather(start),
            "distinct": before["known"] - ends.search_sorted(at, side="right"),
        }
        for what, values in answers.items():
            features[f"{entity}_{what}_{name}"] = _placed(values.to_numpy(), places, rows)
    return features


def pandas_features(events: pa.Table) -> Features:
    """The 40 counts and sums by ``groupby(...).rolling``; pandas has no distinct count to roll.

    Its floats are exact below 2 ** 53 fen.
    """
    import pandas as pd

    moments = pd.DatetimeIndex(pd.to_datetime(events["time"].to_numpy(), unit="us"))
    table = pd.DataFrame({name: events[name].to_pandas() for name in ("fen", *COUNTED)}).set_index(moments)
    features: Features = {}
    for entity in COUNTED:
        grouped, places = table.groupby(entity)["fen"], None
        for name, window in PLAIN_WINDOWS.items():
            width = pd.Timedelta(microseconds=window.width)
            rolling = grouped.rolling(width, closed="left", min_periods=0)
            for what, values in (("count", rolling.count()), ("sum", rolling.sum())):
                if places is None:  # by entity, then time: the same for all answers
                    places = moments.searchsorted(values.index.get_level_values(1))
                features[f"{entity}_{what}_{name}"] = _placed(values.to_numpy(), places, len(events))
    return features


def _placed(values: np.ndarray, places: np.ndarray, rows: int) -> np.ndarray:
    """``values`` as int64 at their ``places`` among ``rows`` rows, 0 elsewhere."""
    column = np.zeros(rows, np.int64)
    column[places] = values
    return column
