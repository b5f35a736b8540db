"""Loads the serving pair of models from the registry. A model that cannot be had leaves its place empty."""

from __future__ import annotations

import logging
from pathlib import Path

from features.definitions import FEATURES
from models.discount.model import DiscountModel
from models.fraud.model import FraudModel
from models.quoting import ModelPair
from models.registry import CHAMPION, DamagedModel, ModelNotFound, ModelRegistry, ModelVersion

log = logging.getLogger("huika")


def load_pair(registry: ModelRegistry, *, alias: str = CHAMPION) -> ModelPair:
    """Both models that carry ``alias``; what is missing, damaged or outdated is None, and the answers say so."""
    discount = _find(registry, "discount", alias)
    fraud = _find(registry, "fraud", alias)
    return ModelPair(
        discount=None if discount is None else DiscountModel.load(discount[1]),
        fraud=None if fraud is None else FraudModel.load(fraud[1]),
        discount_version=None if discount is None else discount[0].version,
        fraud_version=None if fraud is None else fraud[0].version,
    )


def _find(registry: ModelRegistry, name: str, alias: str) -> tuple[ModelVersion, Path] | None:
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
    gone = set(version.tags.get("features", "").split()) - set(FEATURES.names())
    if gone:
        log.error("%s version %s reads features that are gone: %s", name, version.version, sorted(gone))
        return None
    return version, folder
