"""How much of what the model decides a platform lets happen without a person: profiles, and what high stakes are.

- ``small``: a person decides every trade.
- ``medium``: trades go on without a person only where the payout and the probability of fraud are small; a person
  decides every other one, and every refusal.
- ``head``: the model decides, within its thresholds.

In every profile a refusal of high stakes is a person's. Rules, lists and legal limits come after this.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.matrix import Columns
from models.policy import DecisionCosts, Profile
from models.reasons import Reason

PERSON_DECIDES = Reason(
    "PERSON_DECIDES", "本平台的每笔交易均由人工确认", "On this platform a person decides every trade"
)
PERSON_CONFIRMS = Reason(
    "PERSON_CONFIRMS", "按平台规定，该笔交易由人工确认", "By the platform's rules a person decides this trade"
)
PERSON_REFUSES = Reason(
    "PERSON_REFUSES",
    "平台不会自动拒绝该笔交易，将由人工复核",
    "This trade is not refused by a program; a person reviews it",
)

FACE_OF_LEGAL = "card_face_of_max"
"""Feature: face value as a share of the largest that may legally be issued."""


@dataclass(frozen=True)
class Handled:
    """Decisions once the profile has had its say. action: (n,) object. reasons: (n,) why a person decides where the
    model alone would not have asked for one, else None."""

    action: np.ndarray
    reasons: list[Reason | None]


def high_stakes(*, face_value_fen: np.ndarray, columns: Columns, decision: DecisionCosts) -> np.ndarray:
    """Whether so much depends on a trade that no program may refuse it (n,) bool: a large face value, or one above
    what such a card may legally hold."""
    large = face_value_fen >= decision.high_stakes_fen
    return large | (columns[FACE_OF_LEGAL] > 1) if FACE_OF_LEGAL in columns else large


def handle(
    *,
    action: np.ndarray,
    probability: np.ndarray,
    payout_fen: np.ndarray,
    stakes: np.ndarray,
    profile: Profile,
    decision: DecisionCosts,
) -> Handled:
    """What becomes of the model's decisions. All arrays (n,); probability NaN where no model gave one, stakes from
    :func:`high_stakes`."""
    refused = action == "refuse"
    harmless = (payout_fen <= decision.medium_pay_most_fen) & (
        probability <= decision.medium_pay_most_probability
    )
    reason: np.ndarray = np.full(len(action), None, dtype=object)
    if profile == "small":
        reason[:] = PERSON_DECIDES
    elif profile == "medium":
        reason[~harmless & (action != "review")] = PERSON_CONFIRMS
        reason[refused] = PERSON_REFUSES
    else:
        reason[refused & stakes] = PERSON_REFUSES
    by_person = np.array([found is not None for found in reason], dtype=bool)
    return Handled(np.where(by_person, "review", action).astype(object), list(reason))
