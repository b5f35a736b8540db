"""Facts of a card as the inputs of a linear model: steps, waves, and one weight for each value of a group.

A weight is found by the input's name (``type/jd_ecard``, ``days>=30``), so a model is a plain table and a value never
seen in training simply weighs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy.sparse

from models.discount.context import CardContext, Kind, Memo

CATEGORY_FACE_SCALE = 0.5
"""How a category's own slope by face value is scaled: it is shrunk more than the common slope."""


@dataclass(frozen=True)
class Numbers:
    """Inputs of n cards that are numbers: k names, and values (k, n)."""

    names: tuple[str, ...]
    values: np.ndarray


class Group(NamedTuple):
    """An input of n cards with one weight for each label: the labels, and the place (n,) of each card's."""

    labels: Sequence[str]
    place: np.ndarray


Groups = Mapping[str, Group]


def kind_groups(context: CardContext) -> dict[str, Group]:
    """Card type, category and form."""
    kinds, place = context.kinds
    return {
        "type": Group([kind.card_type for kind in kinds], place),
        "category": Group([kind.category for kind in kinds], place),
        "form": Group([kind.form for kind in kinds], place),
    }


def face_of_category(context: CardContext) -> tuple[Group, np.ndarray]:
    """The category of each card, and the scaled logarithm (n,) of its face value: a slope per category."""
    return kind_groups(context)["category"], CATEGORY_FACE_SCALE * context.log_face


def design(
    context: CardContext, numbers: Numbers, groups: Groups
) -> tuple[list[str], scipy.sparse.csr_matrix]:
    """Names (k,) and values (n, k) of all inputs of a fit."""
    names = list(numbers.names)
    blocks = [scipy.sparse.csr_matrix(numbers.values.T)]
    ones = np.ones(len(context))
    category, slope = face_of_category(context)
    for name, group, weight in (
        *((name, group, ones) for name, group in groups.items()),
        ("face_of", category, slope),
    ):
        found, position = _present(group)
        names += [f"{name}/{label}" for label in found]
        shape = (len(context), len(found))
        blocks.append(scipy.sparse.csr_matrix((weight, (np.arange(len(context)), position)), shape=shape))
    return names, scipy.sparse.csr_matrix(scipy.sparse.hstack(blocks))


def _present(group: Group) -> tuple[list[str], np.ndarray]:
    """The labels that some card has, ascending, and the place (n,) of each card's."""
    labels = np.array(group.labels)
    there = np.unique(labels[np.unique(group.place)])
    return there.tolist(), np.searchsorted(there, labels)[group.place]


class Weighing:
    """Weights of a fit, ready to be applied: in the order of the inputs that are numbers, and by kind of card.

    own_type: the label of a card's group ``type``.
    """

    def __init__(
        self, weights: Mapping[str, float], names: Sequence[str], own_type: Callable[[Kind], str]
    ) -> None:
        self._weights, self._own_type = weights, own_type
        self._own = np.array([weights.get(name, 0.0) for name in names])[:, None]
        self._of_kind = Memo(self._labelled)

    def sums(self, context: CardContext, numbers: np.ndarray) -> np.ndarray:
        """Sum (n,) of all inputs times their weights, added one after another: the same bits for one card and for
        many. numbers (k, n): the inputs that are numbers."""
        total = np.add.accumulate(self._own * numbers)[-1]
        own_type, category, form, slope = context.by_kind(self._of_kind.__getitem__).T
        return total + own_type + category + form + slope * (CATEGORY_FACE_SCALE * context.log_face)

    def _labelled(self, kind: Kind) -> tuple[float, ...]:
        """Weights of the groups of :func:`kind_groups`, and of ``face_of``."""
        names = (f"type/{self._own_type(kind)}", f"category/{kind.category}", f"form/{kind.form}")
        return tuple(self._weights.get(name, 0.0) for name in (*names, f"face_of/{kind.category}"))
