"""Loads the serving pair of models from the registry. A model that cannot be had leaves its place empty."""

from __future__ import annotations

import logging

from models.discount.model import DiscountModel
from models.fraud.model import FraudModel
from models.quoting import ModelPair
from models.registry import CHAMPION, DamagedModel, ModelNotFound, ModelRegistry, ModelVersion

log = logging.getLogger("huika")


def load_pair(registry: ModelRegistry, *, alias: str = CHAMPION) -> ModelPair:
    """Both models that carry ``alias``; what is missing or damaged is None, and the answers say so."""
    discount, fraud = _find(registry, "discount", alias), _find(registry, "fraud", alias)
    return ModelPair(
        discount=None if discount is None else DiscountModel.load(registry.folder(discount)),
        fraud=None if fraud is None else FraudModel.load(registry.folder(fraud)),
        discount_version=None if discount is None else discount.version,
        fraud_version=None if fraud is None else fraud.version,
    )


def _find(registry: ModelRegistry, name: str, alias: str) -> ModelVersion | None:
    """The version, if its files are what was registered."""
    try:
        version = registry.version(name, alias)
        registry.folder(version)
    except ModelNotFound as error:
        log.info("%s", error)
        return None
    except DamagedModel as error:
        log.error("%s; it is not used", error)
        return None
    return version
