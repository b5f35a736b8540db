"""The peer of ``huika bench fraud``: a plain LightGBM on the raw columns of the same trades.

It learns from the same labelled rows as the fraud model, knows every column a trade is submitted with, and nothing of
history. Ids enter in the two ways its users would try: as category codes, and as how often each was seen in training.
"""

from __future__ import annotations

from typing import Literal

import lightgbm
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

Ids = Literal["codes", "counts"]

WORDS = ("card_type", "card_form", "region", "channel")
IDS = ("seller_id", "device_id", "ip", "payout_account", "card_prefix", "card_fingerprint")
PARAMETERS = {
    "objective": "binary",
    "metric": "binary_logloss",
    "learning_rate": 0.05,
    "deterministic": True,
    "force_row_wise": True,
    "seed": 7,
    "verbosity": -1,
}
"""LightGBM's own defaults but for slower steps, which early stopping needs."""
MOST_TREES, PATIENCE, LATEST_SHARE = 500, 40, 0.2
CHINA_HOURS = 8


def plain_probability(train: pa.Table, fraud: np.ndarray, later: pa.Table, *, ids: Ids) -> np.ndarray:
    """Fraud probabilities (m,) of later trades by trees on raw columns.

    train: n trades in the order of time, with the stored columns; fraud (n,) bool; later: m trades. The latest fifth of
    the training rows says when to stop; the trees are then grown again on all of them.
    """
    inputs, later_inputs, categories = _inputs(train, later, ids=ids)
    split = len(fraud) - round(LATEST_SHARE * len(fraud))

    def data(rows: slice, like: lightgbm.Dataset | None = None) -> lightgbm.Dataset:
        return lightgbm.Dataset(
            inputs[rows],
            label=fraud[rows].astype(np.float64),
            categorical_feature=categories,
            reference=like,
            free_raw_data=False,
        )

    early = data(slice(0, split))
    stopped = lightgbm.train(
        PARAMETERS,
        early,
        num_boost_round=MOST_TREES,
        valid_sets=[data(slice(split, None), early)],
        callbacks=[lightgbm.early_stopping(PATIENCE, verbose=False)],
    )
    trees = lightgbm.train(PARAMETERS, data(slice(None)), num_boost_round=max(stopped.best_iteration, 1))
    return np.asarray(trees.predict(later_inputs), dtype=np.float64)


def _inputs(train: pa.Table, later: pa.Table, *, ids: Ids) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Matrices of both tables and the positions of categories."""
    columns: list[tuple[np.ndarray, np.ndarray]] = [(_moment(train), _moment(later))]
    columns += [(_codes(train[name], train[name]), _codes(train[name], later[name])) for name in WORDS]
    encode = _codes if ids == "codes" else _counts
    columns += [(encode(train[name], train[name]), encode(train[name], later[name])) for name in IDS]
    first, second = (np.column_stack([pair[part] for pair in columns]) for part in (0, 1))
    numbers = columns[0][0].shape[1]
    last = first.shape[1] if ids == "codes" else numbers + len(WORDS)
    return first, second, list(range(numbers, last))


def _moment(trades: pa.Table) -> np.ndarray:
    """Face value in yuan, hour and weekday in China, days to expiry (n, 4)."""
    hours = trades["submitted_at"].cast(pa.int64()).to_numpy() // 3_600_000_000 + CHINA_HOURS
    day = hours // 24
    expires = trades["expires_on"].cast(pa.int32()).cast(pa.float64()).to_numpy(zero_copy_only=False)
    return np.column_stack(
        [trades["face_value_fen"].to_numpy() / 100, hours % 24, (day + 3) % 7, expires - day]
    )


def _codes(known: pa.ChunkedArray, values: pa.ChunkedArray) -> np.ndarray:
    """Position (n,) of each value among the known ones, NaN where it is none of them."""
    place = pc.index_in(values, value_set=pc.drop_null(known.unique()))
    return place.cast(pa.float64()).to_numpy(zero_copy_only=False)


def _counts(known: pa.ChunkedArray, values: pa.ChunkedArray) -> np.ndarray:
    """How often each value stands among the known ones (n,), NaN where a row has none."""
    counts = pc.drop_null(known).value_counts()
    place = pc.index_in(values, value_set=counts.field("values"))
    seen = pc.fill_null(counts.field("counts").take(place), 0).cast(pa.float64())
    return pc.if_else(values.is_valid(), seen, None).to_numpy(zero_copy_only=False)
