"""On which trades scores are judged: those that the model behind them had not seen, where these suffice."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True)
class Basis:
    """Answers about n trades, (n,) each, and which of them may judge.

    probability, action: the answers. unseen, in_sample: trades bool that may judge and whose answer comes from a model
    that was not (was) fitted on trades of their time. fraud: 1, 0, NaN where unknown.
    """

    probability: np.ndarray
    action: np.ndarray
    unseen: np.ndarray
    in_sample: np.ndarray
    fraud: np.ndarray

    @cached_property
    def rows(self) -> np.ndarray:
        """The trades (n,) bool that the figures rest on: unseen ones, or all where those lack fraud or honesty."""
        return self.unseen if self.is_unseen else self.unseen | self.in_sample

    @cached_property
    def is_unseen(self) -> bool:
        """Whether the figures rest on unseen trades alone."""
        return self._both(self.unseen)

    @property
    def can_rank(self) -> bool:
        """Whether there are both fraud and honest trades to judge by."""
        return self._both(self.rows)

    def _both(self, rows: np.ndarray) -> bool:
        return bool((self.fraud[rows] == 1).any() and (self.fraud[rows] == 0).any())
