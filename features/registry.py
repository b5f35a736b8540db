"""The registry of features: one entry a column, with what a reader of the data dictionary needs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from features.arithmetic import Value
from features.digest import code_digest
from features.entities import specification_version
from features.moment import Moment

Compute = Callable[[Moment], Value]
Kind = Literal["number", "category"]
Plan = tuple[tuple[str, Compute, bool], ...]
"""What to compute: each column's name, its function, and whether it is a category."""

AS_OF = {
    "trade": "the trade itself",
    "submission": "submissions strictly earlier in (time, trade_id)",
    "label": "fraud labels with fraud_known_at earlier",
    "acceptance": "acceptances with decided_at earlier",
    "resale": "resales with resold_at earlier",
    "market": "market rows with observed_at earlier",
}
"""As-of rules: what a feature of a trade may have seen."""

RANGES: dict[str, tuple[float, float]] = {
    "count": (0, np.inf),
    "share": (0, 1),
    "0/1": (0, 1),
    "CNY": (0, np.inf),
    "ratio": (0, np.inf),
    "hours": (0, np.inf),
    "hour": (0, 23),
    "months": (1, 1200),
    "0 = Monday": (0, 6),
    "day of month": (1, 31),
    "rate": (0, 1.5),
    "rate difference": (-1.5, 1.5),
    "days": (-np.inf, np.inf),
    "standard deviations": (-np.inf, np.inf),
    "-": (np.nan, np.nan),
}
"""Unit -> the values that can occur; a feature may narrow it."""

COMPUTING_MODULES = (
    "arithmetic.py",
    "credibility.py",
    "definitions.py",
    "entities.py",
    "entity_definitions.py",
    "entity_history.py",
    "extras.py",
    "festivals.py",
    "history.py",
    "kernel.py",
    "kind_definitions.py",
    "link_definitions.py",
    "links.py",
    "market_history.py",
    "market_index.py",
    "moment.py",
    "retired.py",
    "rows.py",
    "training_set.py",
    "windows.py",
)
"""The code that a stored training set depends on, beside the catalogue's data."""

IDENTITY_FREE = frozenset({"card", "market", "resale", "stock", "kind", "time", "season"})
"""Families that say nothing about who sells, nor that somebody asked. Only these may move a price."""

FOR_PRICES_ALONE = frozenset({"market", "resale", "stock", "season"})
"""Families that the fraud model does not see: they tell one week from another, and a tree that splits on them has
learnt when there was fraud instead of how (docs/decisions.md)."""


@dataclass(frozen=True)
class Feature:
    """One feature. ``name`` is the column; ``meaning`` its dictionary entry; ``null`` says what NaN means;
    ``range`` the least and the largest value that can occur; ``riskier_when_larger``: known frauds are counted, so that
    a larger value may not speak for a trade."""

    name: str
    family: str
    unit: str
    as_of: str
    null: str
    meaning: str
    zh: str
    kind: Kind
    compute: Compute
    range: tuple[float, float] = field(default=(np.nan, np.nan))
    riskier_when_larger: bool = False

    @property
    def models(self) -> tuple[str, ...]:
        if self.family in FOR_PRICES_ALONE:
            return ("discount",)
        return ("discount", "fraud") if self.family in IDENTITY_FREE else ("fraud",)

    @cached_property
    def version(self) -> str:
        """Hash of the code that defines it, with the helpers and constants it uses. Names, texts and comments do not
        count. Whenever the value may have changed, the version has."""
        return code_digest(self.compute)

    def to_dict(self) -> dict[str, object]:
        """The dictionary entry, as plain values."""
        low, high = self.range
        return {
            "name": self.name,
            "version": self.version,
            "family": self.family,
            "unit": self.unit,
            "range": "" if low != low else f"{_bound(low)} to {_bound(high)}",
            "meaning": self.meaning,
            "zh": self.zh,
            "as_of": AS_OF[self.as_of],
            "null": self.null,
            "models": list(self.models),
        }

    @property
    def pinned(self) -> str:
        """The column of exactly this definition, also when another one has taken over the name."""
        return f"{self.name}@{self.version}"


class FeatureFailed(RuntimeError):
    """A definition cannot be computed; the message names the feature."""


class UnknownFeature(KeyError):
    """No feature of that name and version is defined any more."""


class Registry:
    """Features by name, in the order they were defined, and retired definitions that old models still read."""

    def __init__(self) -> None:
        self._features: dict[str, Feature] = {}
        self._retired: dict[str, Feature] = {}
        self._plans: dict[tuple[str, ...], Plan] = {}

    def add(self, feature: Feature) -> None:
        """Define a feature. Raises ValueError at a second one of a name, or an unknown as-of rule or unit."""
        if feature.name in self._features:
            raise ValueError(f"feature {feature.name} is defined twice")
        if feature.as_of not in AS_OF:
            raise ValueError(f"feature {feature.name}: unknown as-of rule {feature.as_of}")
        if feature.unit not in RANGES:
            raise ValueError(f"feature {feature.name}: unknown unit {feature.unit}")
        self._features[feature.name] = feature
        self._plans.clear()

    def define(
        self,
        *,
        family: str,
        unit: str,
        zh: str,
        as_of: str,
        null: str = "never",
        kind: Kind = "number",
        range: tuple[float, float] | None = None,
        riskier_when_larger: bool = False,
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
                    meaning=" ".join((compute.__doc__ or "").split()),
                    zh=zh,
                    kind=kind,
                    compute=compute,
                    range=range or RANGES.get(unit, (np.nan, np.nan)),
                    riskier_when_larger=riskier_when_larger,
                )
            )
            return compute

        return register

    def retire(self, name: str, compute: Compute, *, kind: Kind = "number") -> None:
        """Keep a former definition of ``name`` for the models that were trained on it."""
        old = Feature(
            name=name,
            family="retired",
            unit="-",
            as_of="trade",
            null="",
            meaning="",
            zh="",
            kind=kind,
            compute=compute,
        )
        self._retired[old.pinned] = old
        self._plans.clear()

    def __iter__(self) -> Iterator[Feature]:
        return iter(self._features.values())

    def __len__(self) -> int:
        return len(self._features)

    def __contains__(self, name: object) -> bool:
        return name in self._features

    def __getitem__(self, name: str) -> Feature:
        """A feature by name, or by ``name@version``. Raises UnknownFeature."""
        plain, _, version = name.partition("@")
        current = self._features.get(plain)
        if current is not None and version in ("", current.version):
            return current
        if name in self._retired:
            return self._retired[name]
        raise UnknownFeature(name)

    def names(self, model: str | None = None) -> tuple[str, ...]:
        """Column names, of one model when given."""
        return tuple(item.name for item in self if model is None or model in item.models)

    def pinned(self, names: Iterable[str]) -> tuple[str, ...]:
        """``name@version`` of each, as a model keeps them."""
        return tuple(self[name].pinned for name in names)

    def rising_risks(self) -> tuple[str, ...]:
        """Names of the features of which more may only make a trade riskier."""
        return tuple(item.name for item in self if item.riskier_when_larger)

    def own_facts(self) -> tuple[str, ...]:
        """Names of the features that speak of the trade itself, and of nothing before it."""
        return tuple(item.name for item in self if item.as_of == "trade")

    def paused_features(self, model: str) -> tuple[str, ...]:
        """Names of a model's features that outcomes go into which pause for long, so that it should have seen that:
        labels, and for prices resales too."""
        pausing = ("label", "resale") if model == "discount" else ("label",)
        return tuple(item.name for item in self if item.as_of in pausing and model in item.models)

    def families(self) -> dict[str, str]:
        return {item.name: item.family for item in self}

    def version(self) -> str:
        """Hash of all definitions; it changes when any feature may have changed."""
        text = "|".join([specification_version(), *self.pinned(self.names())])
        return hashlib.sha256(text.encode()).hexdigest()[:8]

    def code_version(self) -> str:
        """Hash of all code that computes features: what was computed by other code is computed again."""
        digest = hashlib.sha256()
        for module in COMPUTING_MODULES:
            digest.update((Path(__file__).parent / module).read_bytes())
        return digest.hexdigest()[:8]

    def compute(self, moment: Moment, names: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """Columns over a moment's rows: float64 (n,) for numbers, object (n,) for categories. Raises FeatureFailed."""
        chosen = self.names() if names is None else names
        return {name: column_of(self[name].kind, self._value(self[name], moment)) for name in chosen}

    def values(self, moment: Moment, names: Sequence[str] | None = None) -> dict[str, float | str | None]:
        """Values at one live moment: floats, and str or None for categories. Raises FeatureFailed."""
        found: dict[str, float | str | None] = {}
        name = ""
        try:
            for name, compute, is_category in self.plan(names):
                value = compute(moment)
                found[name] = value if is_category else float(value)
        except Exception as error:
            raise _failed(name, error) from error
        return found

    def plan(self, names: Sequence[str] | None = None) -> Plan:
        """What to compute for these columns, looked up once: a live quote asks for the same ones every time."""
        key = self.names() if names is None else tuple(names)
        plan = self._plans.get(key)
        if plan is None:
            chosen = ((name, self[name]) for name in key)
            plan = tuple((name, item.compute, item.kind == "category") for name, item in chosen)
            self._plans[key] = plan
        return plan

    @staticmethod
    def _value(feature: Feature, moment: Moment) -> Value:
        try:
            return feature.compute(moment)
        except Exception as error:
            raise _failed(feature.name, error) from error


def _failed(name: str, error: Exception) -> FeatureFailed:
    return FeatureFailed(f"feature {name}: {type(error).__name__}: {error}")


def _bound(value: float) -> str:
    return f"{value:g}" if np.isfinite(value) else "any"


def column_of(kind: Kind, values: Value) -> np.ndarray:
    """Values as a feature column."""
    return np.asarray(values).astype(object if kind == "category" else np.float64)
