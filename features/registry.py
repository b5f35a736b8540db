"""The registry of features: one entry a column, with what a reader of the data dictionary needs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from features.moment import Moment

Compute = Callable[[Moment], np.ndarray]
Kind = Literal["number", "category"]

AS_OF = {
    "trade": "the trade itself",
    "submission": "submissions strictly earlier in (time, trade_id)",
    "label": "fraud labels with fraud_known_at earlier",
    "acceptance": "acceptances with decided_at earlier",
    "resale": "resales with resold_at earlier",
    "market": "market rows with observed_at earlier",
}
"""As-of rules: what a feature of a trade may have seen."""

DEFINING_MODULES = (
    "definitions.py",
    "entity_definitions.py",
    "facts.py",
    "festivals.py",
    "moment.py",
    "windows.py",
)
"""The code that a feature's value depends on, beside the catalogue's data."""

IDENTITY_FREE = frozenset({"card", "market", "resale", "kind", "time"})
"""Families that say nothing about who sells. Only these may move a price."""


@dataclass(frozen=True)
class Feature:
    """One feature. ``name`` is the column; ``meaning`` its dictionary entry; ``null`` says what NaN means."""

    name: str
    family: str
    unit: str
    as_of: str
    null: str
    meaning: str
    zh: str
    kind: Kind
    compute: Compute

    @property
    def models(self) -> tuple[str, ...]:
        return ("discount", "fraud") if self.family in IDENTITY_FREE else ("fraud",)


class Registry:
    """Features by name, in the order they were defined."""

    def __init__(self) -> None:
        self._features: dict[str, Feature] = {}

    def add(self, feature: Feature) -> None:
        if feature.name in self._features:
            raise ValueError(f"feature {feature.name} is defined twice")
        if feature.as_of not in AS_OF:
            raise ValueError(f"feature {feature.name}: unknown as-of rule {feature.as_of}")
        self._features[feature.name] = feature

    def define(
        self, *, family: str, unit: str, zh: str, as_of: str, null: str = "never", kind: Kind = "number"
    ) -> Callable[[Compute], Compute]:
        """Decorator: the function's name is the column, its docstring the meaning."""

        def register(compute: Compute) -> Compute:
            self.add(
                Feature(
                    name=compute.__name__,
                    family=family,
                    unit=unit,
                    as_of=as_of,
                    null=null,
                    meaning=(compute.__doc__ or "").strip(),
                    zh=zh,
                    kind=kind,
                    compute=compute,
                )
            )
            return compute

        return register

    def __iter__(self):
        return iter(self._features.values())

    def __len__(self) -> int:
        return len(self._features)

    def __getitem__(self, name: str) -> Feature:
        return self._features[name]

    def names(self, model: str | None = None) -> tuple[str, ...]:
        """Column names, of one model when given."""
        return tuple(item.name for item in self if model is None or model in item.models)

    def families(self) -> dict[str, str]:
        return {item.name: item.family for item in self}

    def version(self) -> str:
        """Hash of the code that defines the features; it changes when a feature may have changed."""
        digest = hashlib.sha256()
        for module in DEFINING_MODULES:
            digest.update((Path(__file__).parent / module).read_bytes())
        return digest.hexdigest()[:8]

    def compute(self, moment: Moment, names: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """Columns over the moment's spine: float64 (n,) for numbers, object (n,) for categories."""
        chosen = self.names() if names is None else names
        return {name: self._column(self._features[name], moment) for name in chosen}

    def _column(self, feature: Feature, moment: Moment) -> np.ndarray:
        values = feature.compute(moment)
        dtype = object if feature.kind == "category" else np.float64
        return np.asarray(values).astype(dtype)
