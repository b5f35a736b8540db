"""Loads the serving pair of models from the registry. A model that cannot be had leaves its place empty."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from features.definitions import FEATURES
from models.discount.model import DiscountModel
from models.fraud.model import FraudModel
from models.quoting import ModelPair
from models.registry import CHAMPION, DamagedModel, ModelNotFound, ModelRegistry, ModelVersion
from pipelines.feature_pins import FeaturesGone, pins, trained_versions

log = logging.getLogger("huika")


def load_pair(registry: ModelRegistry, *, alias: str = CHAMPION) -> ModelPair:
    """Both models that carry ``alias``, each with the definitions it was trained on; what is missing, damaged or
    outdated is None, and the answers say so."""
    discount = _find(registry, "discount", alias)
    fraud = _find(registry, "fraud", alias)
    return ModelPair(
        discount=None if discount is None else DiscountModel.load(discount.folder),
        fraud=None if fraud is None else FraudModel.load(fraud.folder),
        discount_version=None if discount is None else discount.version.version,
        fraud_version=None if fraud is None else fraud.version.version,
        discount_pins={} if discount is None else discount.pins,
        fraud_pins={} if fraud is None else fraud.pins,
    )


def load_version(registry: ModelRegistry, number: str) -> tuple[FraudModel, dict[str, str]]:
    """A fraud model by its number, and the version of each feature it was trained on. Raises ModelNotFound,
    DamagedModel or FeaturesGone."""
    for version in registry.versions("fraud"):
        if version.version == number:
            folder = registry.folder(version)
            return FraudModel.load(folder), trained_versions(folder)
    raise ModelNotFound(f"fraud version {number} is no longer in the registry")


@dataclass(frozen=True)
class _Found:
    version: ModelVersion
    folder: Path
    pins: dict[str, str]


def _find(registry: ModelRegistry, name: str, alias: str) -> _Found | None:
    """The version and its files, if they are what was registered and read features that still exist."""
    try:
        version = registry.version(name, alias)
        folder = registry.folder(version)
    except ModelNotFound as error:
        log.info("%s", error)
        return None
    except DamagedModel as error:
        log.error("%s; it is not used", error)
        return None
    try:
        return _Found(version, folder, pins(folder, registry=FEATURES))
    except FeaturesGone as error:
        log.error("%s version %s is not used: %s", name, version.version, error)
        return None
