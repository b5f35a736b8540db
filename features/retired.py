"""Former definitions, kept word for word for models that were trained on them.

When a definition changes, move the old function here and name it in :func:`retire_all`::

    def card_face_cny(m):
        return m.face_fen / 10

    registry.retire("card_face_cny", card_face_cny)

Its version is a hash of its code, so it is found again by the models that ask for it. When no registered model
does any more (``huika models`` lists what each reads), delete it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from features.registry import Registry


def retire_all(registry: Registry) -> None:
    """Add every former definition to the registry. There is none at present."""
