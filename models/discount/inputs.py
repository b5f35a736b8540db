"""Facts of a card as the inputs of a linear model: steps, waves, and one weight for each value of a group.

A weight is found by the input's name (``type/jd_ecard``, ``days>=30``), so a model is a plain table and a value never
seen in training simply weighs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import scipy.sparse

from models.discount.context import CardContext

USUAL_FACE_CNY = 300.0
HARMONICS = (1, 2, 3)
CATEGORY_FACE_SCALE = 0.5
"""How a category's own slope by face value is scaled: it is shrunk more than the common slope."""

Numbers = Mapping[str, np.ndarray]
Groups = Mapping[str, np.ndarray]


def log_face(context: CardContext) -> np.ndarray:
    """Logarithm (n,) of the face value over a usual one; 0 where unknown."""
    face = np.nan_to_num(context.face_cny, nan=USUAL_FACE_CNY)
    return np.log(np.maximum(face, 1.0) / USUAL_FACE_CNY)


def hour_waves(context: CardContext) -> dict[str, np.ndarray]:
    """The hour of the day as sines and cosines, (n,) each; 0 where unknown."""
    angle = 2.0 * np.pi * np.nan_to_num(context.hour) / 24.0
    known = np.isfinite(context.hour)
    return {
        f"hour/{name}{turns}": known * wave(turns * angle)
        for turns in HARMONICS
        for name, wave in (("sin", np.sin), ("cos", np.cos))
    }


def kind_groups(context: CardContext) -> dict[str, np.ndarray]:
    """Card type, category and form, (n,) object each."""
    return {
        "type": context.card_type.astype(str).astype(object),
        "category": context.category.astype(str).astype(object),
        "form": context.form.astype(str).astype(object),
    }


def face_of_category(context: CardContext) -> tuple[np.ndarray, np.ndarray]:
    """The category (n,) of each card, and the scaled logarithm of its face value (n,): a slope per category."""
    return context.category.astype(str).astype(object), CATEGORY_FACE_SCALE * log_face(context)


def design(
    context: CardContext, numbers: Numbers, groups: Groups
) -> tuple[list[str], scipy.sparse.csr_matrix]:
    """Names (k,) and values (n, k) of all inputs of a fit."""
    names = list(numbers)
    blocks = [scipy.sparse.csr_matrix(np.stack([numbers[name] for name in names], axis=1).astype(np.float64))]
    ones = np.ones(len(context))
    category, slope = face_of_category(context)
    for group, values, weight in (
        *((group, values, ones) for group, values in groups.items()),
        ("face_of", category, slope),
    ):
        found, position = np.unique(values.astype(str), return_inverse=True)
        names += [f"{group}/{name}" for name in found.tolist()]
        shape = (len(context), len(found))
        blocks.append(scipy.sparse.csr_matrix((weight, (np.arange(len(context)), position)), shape=shape))
    return names, scipy.sparse.csr_matrix(scipy.sparse.hstack(blocks))


def weighted(
    context: CardContext, numbers: Numbers, groups: Groups, weights: Mapping[str, float]
) -> np.ndarray:
    """Sum (n,) of all inputs times their weights."""
    total = np.zeros(len(context))
    for name, values in numbers.items():
        total += weights.get(name, 0.0) * values
    for group, values in groups.items():
        total += _of_each(weights, group, values)
    category, slope = face_of_category(context)
    return total + _of_each(weights, "face_of", category) * slope


def _of_each(weights: Mapping[str, float], group: str, values: np.ndarray) -> np.ndarray:
    return np.array([weights.get(f"{group}/{name}", 0.0) for name in values.tolist()])
