"""Former definitions, kept word for word for models that were trained on them.

When a definition changes, copy the old function here, with the imports it needs, and name it in :func:`retire_all`::

    from features.moment import FEN_PER_YUAN

    def card_face_cny(m):
        return m.face_fen / FEN_PER_YUAN

    def retire_all(registry):
        registry.retire("card_face_cny", card_face_cny)

Its version is a hash of its code (docstring, annotations and decorator do not count), so the models that were trained
on it find it again. When neither champion, challenger nor a version to roll back to was, delete it: ``huika status``
names a model whose definitions are gone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from features.registry import Registry


def kind_labels_30d(m):
    return m.labels("card_type", "30d")


def retire_all(registry: Registry) -> None:
    """Add every former definition to the registry."""
    registry.retire("kind_labels_30d", kind_labels_30d)
