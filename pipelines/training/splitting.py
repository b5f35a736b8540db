"""Which trades train a model and which judge it: split by time, only on outcomes that were known then."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.windows import DAY as DAY_US

LATE_LABEL_QUANTILE = 0.99
LEAST_TRAIN_SHARE = 0.2
"""With fewer rows left before the gap, the judged model would say little about the one that serves."""

STRETCHES, WHOLLY_LABELLED, NOTICED, DEVIATIONS = 8, 0.9, 0.5, 3.0
"""See :func:`_at_once`."""


class TooLittleHistory(ValueError):
    """The period is too short, or its outcomes too recent, to train and to judge a model on different trades."""


@dataclass(frozen=True)
class Split:
    """Row numbers of one time-forward split.

    train: rows whose outcome was known before ``cut``. test: rows submitted from ``cut`` on. final: every row
    whose outcome is known by the end, for the model that will serve. Times are int64 µs.
    maturity: how long an outcome takes to be known; younger rows are left out, because early outcomes are not
    like late ones (fraud surfaces before honesty is certain). 0 where outcomes are told of all trades at once.
    label_gap: whether training stopped a label delay before ``cut``. A period too short for that is split without
    the gap: its figures then assume that every label had been known at once.
    """

    train: np.ndarray
    test: np.ndarray
    final: np.ndarray
    cut: int
    maturity: int
    label_gap: bool


def split_by_time(
    *, submitted_at: np.ndarray, known_at: np.ndarray, slow: np.ndarray, test_share: float
) -> Split:
    """Split n trades. submitted_at, known_at: int64 µs (n,), known_at < 0 where the outcome is not known.

    slow: rows (n,) bool whose delay tells the maturity (honest labels for fraud, every row otherwise).
    test_share: share of the mature time span that judges. Outcomes are taken as complete up to
    the last one known: trades without an outcome, such as fresh quotes, do not move that moment.
    Raises TooLittleHistory where a part would be empty.
    """
    known = known_at >= 0
    if not (known & slow).any():
        raise TooLittleHistory("no outcome is known in this period")
    delay = (known_at - submitted_at)[known & slow]
    maturity = int(np.quantile(delay, LATE_LABEL_QUANTILE))
    end = int(known_at[known].max()) + 1
    if _at_once(submitted_at, known, slow=slow, young=submitted_at > end - maturity):
        maturity = 0
    mature_until = end - maturity
    final = np.flatnonzero(known & (submitted_at <= mature_until))
    if len(final) == 0:
        raise TooLittleHistory(f"outcomes take {maturity / DAY_US:.1f} days and the period is shorter")
    first, last = int(submitted_at[final].min()), int(submitted_at[final].max())
    cut = last - int((last - first) * test_share)
    before, test = final[submitted_at[final] < cut], final[submitted_at[final] >= cut]
    train = before[(known_at[before] < cut) & (submitted_at[before] <= cut - maturity)]
    label_gap = len(train) >= LEAST_TRAIN_SHARE * len(final)
    return Split(
        train=train if label_gap else before,
        test=test,
        final=final,
        cut=cut,
        maturity=maturity,
        label_gap=label_gap,
    )


def _at_once(submitted_at: np.ndarray, known: np.ndarray, *, slow: np.ndarray, young: np.ndarray) -> bool:
    """Whether n trades have outcomes whatever their age, as those of a table that was labelled as a whole: in each
    stretch of the ``young`` ones, up to the newest that has an outcome, about as many have a ``slow`` one as of all
    trades, those left aside that have another outcome. Delays then say when somebody told them, and nothing about who
    is still waiting for one.

    About as many: WHOLLY_LABELLED of the usual share, DEVIATIONS of a binomial less. Where outcomes are too few for a
    stretch with NOTICED of the usual share to fall below that, delays are believed.
    """
    open_rows = (slow | ~known) & (submitted_at <= submitted_at[known].max())
    rows = np.flatnonzero(open_rows & young)
    if len(rows) == 0:
        return False
    told = known & slow
    usual = told[open_rows].mean()
    stretches = np.array_split(told[rows[np.argsort(submitted_at[rows], kind="stable")]], STRETCHES)
    trades = np.array([len(stretch) for stretch in stretches])
    chance = DEVIATIONS * np.sqrt(usual * (1 - usual) * trades)
    least = WHOLLY_LABELLED * usual * trades - chance
    labelled = np.array([stretch.sum() for stretch in stretches])
    return bool(((labelled >= least) & (least >= NOTICED * usual * trades)).all())
