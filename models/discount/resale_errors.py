"""How far resales lay from what was expected of them, and how far those of each card type lay lately.

Buyers of one card type pay more or less than usual for days at a time, so errors of a type come in runs: after large
ones, large ones follow.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from features.windows import DAY_MS
from models.discount.context import CardContext

KEPT_DAYS = 90
"""Older errors say nothing about the market of today."""
RUN_HALF_LIFE_DAYS = 3.0
"""How fast a type's run of large or small errors is forgotten: runs last some days, and resales come days late."""
RUN_PRIOR = 10.0
"""A type's recent errors are drawn to those of all types as if by so many of today's resales."""
MOST_SIZE = 6.0
"""An error counts as so many times its expected size at most: one odd resale is no run."""


@dataclass(frozen=True)
class ResaleErrors:
    """n resales that the model which expected them did not learn from, (n,) each.

    type_state: card type and whether it was valid; category: of the card; both text. expired: bool. submitted_at,
    resold_at: int64 ms. residual: resale rate less the expected one; error: its expected size, > 0.
    """

    type_state: np.ndarray
    category: np.ndarray
    expired: np.ndarray
    submitted_at: np.ndarray
    resold_at: np.ndarray
    residual: np.ndarray
    error: np.ndarray

    def __len__(self) -> int:
        return len(self.residual)

    def rows(self, rows: np.ndarray) -> ResaleErrors:
        return ResaleErrors(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    def with_newer(self, newer: ResaleErrors) -> ResaleErrors:
        """These and newer ones, as far as they are not outdated by the newest."""
        parts = {
            field.name: np.concatenate([getattr(self, field.name), getattr(newer, field.name)])
            for field in fields(self)
        }
        both = ResaleErrors(**parts)
        return both.rows(both.resold_at > both.resold_at.max() - KEPT_DAYS * DAY_MS)

    def save(self, path: Path) -> None:
        """A NumPy archive of plain arrays."""
        np.savez_compressed(path, **{field.name: getattr(self, field.name) for field in fields(self)})

    @classmethod
    def load(cls, path: Path) -> ResaleErrors:
        with np.load(path, allow_pickle=False) as found:
            return cls(**{field.name: found[field.name] for field in fields(cls)})


def resale_errors(
    *,
    context: CardContext,
    submitted_at: np.ndarray,
    resold_at: np.ndarray,
    residual: np.ndarray,
    error: np.ndarray,
) -> ResaleErrors:
    """The errors of n > 0 resales, without those that the newest has outdated. Arrays (n,), see ResaleErrors."""
    found = ResaleErrors(
        type_state=context.type_state.astype(str),
        category=context.category.astype(str),
        expired=context.expired,
        submitted_at=submitted_at,
        resold_at=resold_at,
        residual=residual,
        error=error,
    )
    return found.rows(resold_at > resold_at.max() - KEPT_DAYS * DAY_MS)


def runs(errors: ResaleErrors) -> tuple[np.ndarray, dict[str, float]]:
    """How large the recent errors of each card type were against those of all types at the same moment: as known when
    each resale's card was submitted (n,), and by ``type_state`` as known now, after the newest resale. About 1."""
    size = np.minimum(np.abs(errors.residual) / errors.error, MOST_SIZE)
    then, now = np.ones(len(errors)), {}
    for expired in np.unique(errors.expired):
        members = np.flatnonzero(errors.expired == expired)
        types, position = np.unique(errors.type_state[members], return_inverse=True)
        usual = _recent(errors, size, members, members, prior=float(size[members].mean()))
        for index, name in enumerate(types.tolist()):
            own = np.flatnonzero(position == index)
            prior = np.append(usual[own], usual[-1])
            found = _recent(errors, size, members[own], members[own], prior=prior)
            then[members[own]] = found[:-1] / usual[own]
            now[name] = float(found[-1] / usual[-1])
    return then, now


def _recent(
    errors: ResaleErrors, size: np.ndarray, known: np.ndarray, asked: np.ndarray, *, prior: np.ndarray | float
) -> np.ndarray:
    """Mean size of the resales ``known`` (rows), the recent ones first, as known when each of ``asked`` (k,) was
    submitted, and last as known now: (k + 1,). Drawn to ``prior``, one number or (k + 1,)."""
    order = known[np.argsort(errors.resold_at[known], kind="stable")]
    newest = errors.resold_at.max()
    at = np.append(errors.submitted_at[asked], newest + 1)
    half_lives = (errors.resold_at[order] - newest) / (RUN_HALF_LIFE_DAYS * DAY_MS)
    weight = np.exp2(half_lives)
    place = np.searchsorted(errors.resold_at[order], at, side="left")
    since = np.exp2((newest - at) / (RUN_HALF_LIFE_DAYS * DAY_MS))
    total = np.append(0.0, np.cumsum(weight * size[order]))[place] * since
    mass = np.append(0.0, np.cumsum(weight))[place] * since
    return (total + RUN_PRIOR * prior) / (mass + RUN_PRIOR)
