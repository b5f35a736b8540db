"""Moving aliases: challenger to champion, and back."""

from __future__ import annotations

from models.registry import CHALLENGER, CHAMPION, PREVIOUS, ModelNotFound, ModelRegistry
from pipelines.training.comparing import Comparison
from pipelines.training.promotion_checks import tags_of


def promote(registry: ModelRegistry, comparison: Comparison, *, forced: bool) -> str:
    """Make the compared challenger the champion; returns its version. The reasons are kept on the version, and whether
    a person's word took the place of a check that failed or a proof that was not made."""
    old = registry.find(comparison.name, CHAMPION)
    new = registry.version(comparison.name, CHALLENGER)
    tags = {**tags_of(comparison.checks), "promotion_forced": str(forced).lower()}
    registry.tag(new, tags)
    if old is not None:
        registry.move_alias(comparison.name, PREVIOUS, old.version)
    registry.move_alias(comparison.name, CHAMPION, new.version)
    registry.drop_alias(comparison.name, CHALLENGER)
    return new.version


def rollback(registry: ModelRegistry, name: str) -> str:
    """Make the previous champion the champion again and the present one the challenger; returns the version.

    Raises ModelNotFound where nothing was promoted before.
    """
    present = registry.version(name, CHAMPION)
    previous = registry.find(name, PREVIOUS)
    if previous is None:
        raise ModelNotFound(f"no earlier champion of the {name} model to go back to")
    registry.move_alias(name, CHAMPION, previous.version)
    registry.move_alias(name, CHALLENGER, present.version)
    registry.drop_alias(name, PREVIOUS)
    return previous.version
