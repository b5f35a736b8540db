"""Trades that are answered one after another from one read of their states."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from features.events import Submitted, Trade
from features.live_moment import Markets
from features.state_book import StateBook

if TYPE_CHECKING:
    from features.online import Answer, LiveFeatures


class Round:
    """Trades answered one after another from one book; each sees the submissions told before it.

    What is told changes the book alone, until :meth:`write`.
    """

    def __init__(self, *, live: LiveFeatures, book: StateBook, seq: int, markets: Markets) -> None:
        self._live, self._book, self._markets = live, book, markets
        self.first = self.last = seq

    def answer(self, trade: Trade, *, names: Sequence[str] | None = None) -> Answer:
        """Features of one of the round's trades as of its ``submitted_at``."""
        return self._live.answer_from(trade, self._book, self.last, names, self._markets)

    def submit(self, trade: Trade) -> None:
        """Let the trades that follow see this one. It takes the number after the last in the live log."""
        self.last += 1
        self._book.begin(self.last)
        self._live.tell(Submitted(trade), self._book)

    def write(self, *, now: datetime) -> None:
        """Write all that was told, in one write. Call it when the live log holds just these records behind ``first``;
        else, or when this fails, call :meth:`drop`. Raises OnlineStoreUnavailable."""
        if self.last > self.first:
            self._book.write(last=self.last, now=now)
            self._live.wrote(last=self.last)

    def drop(self) -> None:
        """Forget all that was told: it is not in the live log, or not alone."""
        self._live.forget()
