"""The rows that a discount model is fitted on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np

from models.discount.context import CardContext, card_context
from models.matrix import Columns


@dataclass(frozen=True)
class Log:
    """n trades; see :func:`models.discount.training.fit_discount`."""

    columns: Columns
    submitted_at: np.ndarray
    offered_rate: np.ndarray
    offer_density: np.ndarray
    accepted: np.ndarray
    resale_rate: np.ndarray
    resold_at: np.ndarray
    fraud: np.ndarray
    fraud_known_at: np.ndarray
    paused: Columns

    def __len__(self) -> int:
        return len(self.submitted_at)

    def rows(self, chosen: np.ndarray | slice) -> Log:
        return self._each(lambda values: values[chosen])

    def with_pauses(self) -> Log:
        """Every row twice: as it was, and as it would have been had outcomes come in a few batches."""
        twice = self._each(lambda values: np.repeat(values, 2))
        columns = dict(twice.columns)
        for name, values in self.paused.items():
            columns[name] = np.stack([self.columns[name], values], axis=1).ravel()
        return replace(twice, columns=columns)

    def _each(self, change: Callable[[np.ndarray], np.ndarray]) -> Log:
        """The same change of every array."""
        parts = {field.name: getattr(self, field.name) for field in fields(self)}
        changed: dict[str, Any] = {
            name: {key: change(column) for key, column in part.items()}
            if isinstance(part, Mapping)
            else change(part)
            for name, part in parts.items()
        }
        return Log(**changed)

    def in_order(self) -> Log:
        """The same in time order."""
        if (np.diff(self.submitted_at) >= 0).all():
            return self
        return self.rows(np.argsort(self.submitted_at, kind="stable"))

    @property
    def resold(self) -> np.ndarray:
        """Places of the rows with a resale."""
        return np.flatnonzero(np.isfinite(self.resale_rate))

    @property
    def decided(self) -> np.ndarray:
        """Places of the rows whose offer was taken or declined."""
        return np.flatnonzero(np.isfinite(self.offered_rate) & np.isfinite(self.accepted))

    @cached_property
    def context(self) -> CardContext:
        return card_context(self.columns, len(self))

    @cached_property
    def face_value_fen(self) -> np.ndarray:
        """int64 (n,), 100 yuan where unknown."""
        face = np.rint(np.nan_to_num(self.context.face_cny, nan=100.0) * 100)
        return np.maximum(face, 1).astype(np.int64)
