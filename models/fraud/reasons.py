"""Why a trade looks risky: the families of features that raise its risk most, each with its reason."""

from __future__ import annotations

import numpy as np

from models.fraud.model import FamilyContributions
from models.fraud.reason_dictionary import CASES, NO_RISK_SIGNALS, OTHER_RISK_SIGNALS, Case
from models.matrix import Columns
from models.reasons import Reason

MOST_REASONS = 3

LEAST_LOG_ODDS = 0.2
"""A family that raises the odds of fraud by less than about a fifth is not worth naming."""


def reason_codes(contributions: FamilyContributions, columns: Columns) -> list[tuple[Reason, ...]]:
    """Reasons of n trades: for each, up to three families that raise its risk most, the strongest first.

    columns are the feature columns (n,) the contributions were computed from; they decide which case of a
    family is true of the trade. A trade no riskier than the average one, or without a family above
    :data:`LEAST_LOG_ODDS`, gets NO_RISK_SIGNALS alone.
    """
    log_odds = contributions.log_odds
    cases = [CASES.get(family, (Case(OTHER_RISK_SIGNALS),)) for family in contributions.families]
    true_case = np.column_stack([_first_true(case, columns, len(log_odds)) for case in cases])
    strongest = np.argsort(-log_odds, axis=1, kind="stable")[:, :MOST_REASONS]
    risky = log_odds.sum(axis=1) > 0
    return [
        _named(row, cases, log_odds, true_case, strongest[row]) if risky[row] else (NO_RISK_SIGNALS,)
        for row in range(len(log_odds))
    ]


def _named(
    row: int,
    cases: list[tuple[Case, ...]],
    log_odds: np.ndarray,
    true_case: np.ndarray,
    strongest: np.ndarray,
) -> tuple[Reason, ...]:
    named = [
        cases[family][true_case[row, family]].reason
        for family in strongest
        if log_odds[row, family] >= LEAST_LOG_ODDS
    ]
    return tuple(dict.fromkeys(named)) or (NO_RISK_SIGNALS,)


def _first_true(cases: tuple[Case, ...], columns: Columns, rows: int) -> np.ndarray:
    """Position (rows,) of the first case whose facts all hold."""
    position = np.full(rows, len(cases) - 1)
    for index in range(len(cases) - 2, -1, -1):
        holds = np.ones(rows, dtype=bool)
        for fact in cases[index].facts:
            holds &= fact.holds(columns, rows)
        position[holds] = index
    return position
