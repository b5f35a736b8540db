"""Daily moves in a backtest: what reference cards were priced at by the end of each day, as the live service keeps it.

The live board prices every type by the hour. A backtest prices a type's reference card as of the type's last trade of a
day, with the models in force then; a day without a trade of the type is not remembered.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.catalogue import Catalogue
from models.discount.move_cap import DayBefore
from models.quoting import Asked, ModelPair, Terms, reference_rates
from pipelines.reference_prices import REMEMBERED_DAYS, Closes, china_days, closes_of
from pipelines.training.examples import Examples

NAN = float("nan")


@dataclass(frozen=True)
class MoveFigures:
    """Moves of reference cards' prices from one day to the next, the cap on them, of face value: how many, mean and
    95 % quantile of their size, the largest rise and the largest fall."""

    moves: int
    mean: float
    p95: float
    rise: float
    fall: float


class Moves:
    """The backtest's memory of reference prices."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._closes = Closes(catalogue)
        self._rates: dict[str, list[tuple[int, float]]] = {}

    def before(self, examples: Examples, *, models: ModelPair, terms: Terms) -> DayBefore | None:
        """What the moves of n trades are measured from; None where no model prices or nothing is capped. Trades come
        in the order of time, and one pair answers them; each day's prices are remembered for the days after."""
        if models.discount is None or not terms.price.caps_moves:
            return None
        types, days = examples.columns["card_type"], china_days(examples.submitted_ms)
        self._closes.forget_before(int(days.min()) - REMEMBERED_DAYS)
        for day in np.unique(days).tolist():
            self._remember(examples.rows(_last_of_each(types, np.flatnonzero(days == day))), models, terms)
        return self._closes.before(types.tolist(), days.tolist())

    def _remember(self, last: Examples, models: ModelPair, terms: Terms) -> None:
        """Price the reference cards as of these trades of one day."""
        types, days = last.columns["card_type"].tolist(), china_days(last.submitted_ms).tolist()
        asked = Asked(
            columns=last.columns,
            face_value_fen=last.face_value_fen,
            submitted_at=last.submitted_ms,
            before=self._closes.before(types, days),
        )
        rates = reference_rates(asked, models=models, terms=terms)
        found = closes_of(card_types=types, rates=rates, columns=last.columns, submitted_ms=last.submitted_ms)
        self._closes.add(days[0], found)
        for name, close in found.items():
            history = self._rates.setdefault(name, [])
            if history and history[-1][0] == close.day:  # a retraining cut the day in two
                history.pop()
            history.append((close.day, close.rate))

    def figures(self) -> MoveFigures:
        """The moves from each remembered day to the very next one."""
        moves = [np.zeros(0)]
        for history in self._rates.values():
            days, rates = (np.array(part) for part in zip(*history, strict=True))
            moves.append(np.diff(rates)[np.diff(days) == 1])
        move = np.concatenate(moves)
        if len(move) == 0:
            return MoveFigures(0, NAN, NAN, NAN, NAN)
        return MoveFigures(
            moves=len(move),
            mean=float(np.abs(move).mean()),
            p95=float(np.quantile(np.abs(move), 0.95)),
            rise=float(max(move.max(), 0.0)),
            fall=float(max(-move.min(), 0.0)),
        )


def _last_of_each(types: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Of rows in the order of time, the last of each card type."""
    last = dict(zip(types[rows].tolist(), rows.tolist(), strict=True))
    return np.array(sorted(last.values()), dtype=np.int64)
