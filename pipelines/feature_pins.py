"""Which definition of each feature a model was trained on, kept beside the model.

A definition may change after a model was trained. The model keeps being given the one it knows, as long as the
registry still has it (:mod:`features.retired`).
"""

from __future__ import annotations

import json
from pathlib import Path

from features.registry import Registry, UnknownFeature

FILE = "features.json"


class FeaturesGone(LookupError):
    """A model reads definitions that the registry no longer has."""


def write_versions(folder: Path, *, registry: Registry, model: str) -> None:
    """Note the current version of every feature of a model in its folder."""
    versions = {name: registry[name].version for name in registry.names(model)}
    (folder / FILE).write_text(json.dumps(versions, indent=1), encoding="utf-8")


def trained_versions(folder: Path) -> dict[str, str]:
    """Feature -> version of the definition that a model was trained on. Raises FeaturesGone."""
    try:
        return json.loads((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise FeaturesGone(f"the model does not say which definitions it was trained on ({FILE})") from None


def pins(folder: Path, *, registry: Registry) -> dict[str, str]:
    """Feature -> column of the former definition, for those that changed since. Raises FeaturesGone."""
    versions = trained_versions(folder)
    former = {name: f"{name}@{version}" for name, version in versions.items()}
    gone = [column for column in former.values() if not _has(registry, column)]
    if gone:
        raise FeaturesGone(f"definitions that are gone: {', '.join(sorted(gone))}")
    return {name: column for name, column in former.items() if _changed(registry, name, column)}


def _has(registry: Registry, column: str) -> bool:
    try:
        registry[column]
    except UnknownFeature:
        return False
    return True


def _changed(registry: Registry, name: str, column: str) -> bool:
    return name not in registry or registry[name].pinned != column
