"""Pandas frames at the edge to MLflow; inside, a model only sees named numpy columns."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np

from models.matrix import Columns

if TYPE_CHECKING:
    import pandas as pd


def columns_of_frame(frame: pd.DataFrame, *, categorical: Collection[str]) -> dict[str, np.ndarray]:
    """Feature columns of a frame: float64 with NaN, object with None for ``categorical`` names."""
    columns: dict[str, np.ndarray] = {}
    for name in frame.columns:
        values = frame[name]
        if name in categorical:
            columns[name] = values.astype(object).where(values.notna(), None).to_numpy(dtype=object)
        else:
            columns[name] = values.to_numpy(dtype=np.float64)
    return columns


def frame_of_columns(columns: Columns, rows: int) -> pd.DataFrame:
    """The first ``rows`` of feature columns as a frame, for a signature and an input example."""
    import pandas as pd

    return pd.DataFrame({name: values[:rows] for name, values in columns.items()})
