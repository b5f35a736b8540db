"""What a model knows of cards before any price, and where their best rates lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from models.discount.acceptance import AcceptanceCurve
from models.discount.context import CardContext
from models.discount.guard_rails import GuardRails
from models.discount.optimiser import Economics, WholeBand
from models.discount.resale import ResaleEstimate

Part = TypeVar("Part")


@dataclass(frozen=True)
class Known:
    """What the model's parts say about n cards, before any price. outdated: bool (n,), see
    :class:`models.discount.news.Seen`."""

    context: CardContext
    resale: ResaleEstimate
    curve: AcceptanceCurve
    economics: Economics
    days_to_sell: np.ndarray
    outdated: np.ndarray

    def first(self, rows: int) -> Known:
        """The first rows alone."""
        return Known(
            context=self.context.rows(np.s_[:rows]),
            resale=_first(self.resale, rows),
            curve=self.curve.rows(np.s_[:rows]),
            economics=self.economics.rows(np.s_[:rows]),
            days_to_sell=self.days_to_sell[:rows],
            outdated=self.outdated[:rows],
        )


@dataclass(frozen=True)
class Placed:
    """Where the best rates of n cards lie: ``centre`` (n,) within ``rails``.

    rated: what the rates were found by: ``known``, with every odd card as one of its ``usual_fen``. whole_band: of the
    first of them, those that are asked about.
    """

    known: Known
    rated: Known
    rails: GuardRails
    table_rate: np.ndarray
    table_source: np.ndarray
    centre: np.ndarray
    whole_band: WholeBand

    def first(self, rows: int) -> Placed:
        """The first rows alone."""
        known = self.known.first(rows)
        return Placed(
            known=known,
            rated=known if self.rated is self.known else self.rated.first(rows),
            rails=_first(self.rails, rows),
            table_rate=self.table_rate[:rows],
            table_source=self.table_source[:rows],
            centre=self.centre[:rows],
            whole_band=self.whole_band,
        )


def _first(part: Part, rows: int) -> Part:
    """The first rows of a dataclass of arrays (n,)."""
    return type(part)(**{name: values[:rows] for name, values in vars(part).items()})
