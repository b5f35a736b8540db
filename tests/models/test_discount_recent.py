"""The newest weeks correct a curve where they foretell better, and leave it alone where they do not."""

from __future__ import annotations

import numpy as np

from models.discount.link import PLAIN
from models.discount.recent import DAY_MS, Decided, Recent, recent_change

DAYS, PER_DAY = 120, 300


def decided(*, stretch: float = 1.0, shift: float = 0.0, last_days: int = DAYS) -> Decided:
    """Sellers who in the last days react to ``stretch z + shift`` instead of z."""
    rng = np.random.default_rng(5)
    rows = DAYS * PER_DAY
    day = np.repeat(np.arange(DAYS), PER_DAY)
    scores = rng.normal(0.5, 1.0, rows)
    changed = day >= DAYS - last_days
    honest = PLAIN.probability(np.where(changed, stretch * scores + shift, scores))
    accepted = (rng.random(rows) < 0.02 + 0.98 * honest).astype(np.float64)
    return Decided(
        scores=scores,
        link=PLAIN,
        floor=np.full(rows, 0.02),
        accepted=accepted,
        submitted_at=day * DAY_MS + np.tile(np.arange(PER_DAY), DAYS),
    )


def test_a_break_is_followed() -> None:
    """Three weeks after sellers began to ask for more and to agree more, the correction says so."""
    found = recent_change(decided(stretch=1.5, shift=-0.6, last_days=21))
    assert 1.25 < found.stretch < 1.7
    assert -0.75 < found.shift < -0.35


def test_a_steady_log_is_left_alone() -> None:
    """No break, no correction: not even the small one that chance would suggest."""
    assert recent_change(decided()) == Recent()


def test_a_short_log_is_left_alone() -> None:
    """Some hundred decisions in a week are too few to judge by, and an empty log has none."""
    log = decided(shift=-1.0)
    few = Decided(
        scores=log.scores[::10],
        link=PLAIN,
        floor=log.floor[::10],
        accepted=log.accepted[::10],
        submitted_at=log.submitted_at[::10],
    )
    assert recent_change(few) == Recent()
    assert recent_change(log.between(0, 0)) == Recent()
