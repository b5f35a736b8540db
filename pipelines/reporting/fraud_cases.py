"""The trades that a fraud report is about: what was submitted, what was decided, and what became known of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

import numpy as np
import pyarrow as pa

from features.catalogue import Catalogue
from features.china import CHINA_OFFSET
from features.rows import microseconds, to_microseconds
from features.windows import DAY
from models.evaluation.fraud_money import at_risk_fen
from models.fraud.labels import lessons
from pipelines.training.splitting import LATE_LABEL_QUANTILE

TEXTS = (
    "trade_id",
    "seller_id",
    "device_id",
    "ip",
    "payout_account",
    "card_prefix",
    "region",
    "channel",
    "card_form",
    "card_type",
    "decision",
    "label_source",
)
UNKNOWN_TIME = -1
"""A time that is not known."""


class NothingToReport(LookupError):
    """No trade lies in the period, or nobody can score it; the message says what to do."""


@dataclass(frozen=True)
class Cases:
    """n trades of a period in log order, (n,) each.

    Times int64 µs UTC, UNKNOWN_TIME where there is none; money int64 fen; texts object, None where unknown.
    at_risk_fen: what would be paid: the logged offer, or the face value where none is logged (not ``priced``).
    accepted, fraud: 1, 0 or NaN. let_through: NaN where the trade was not drawn. place: row of the stored table.
    """

    place: np.ndarray
    trade_id: np.ndarray
    seller_id: np.ndarray
    device_id: np.ndarray
    ip: np.ndarray
    payout_account: np.ndarray
    card_prefix: np.ndarray
    region: np.ndarray
    channel: np.ndarray
    card_form: np.ndarray
    card_type: np.ndarray
    category: np.ndarray
    decision: np.ndarray
    label_source: np.ndarray
    submitted_at: np.ndarray
    face_value_fen: np.ndarray
    at_risk_fen: np.ndarray
    priced: np.ndarray
    accepted: np.ndarray
    fraud: np.ndarray
    fraud_known_at: np.ndarray
    let_through: np.ndarray

    def __len__(self) -> int:
        return len(self.submitted_at)

    @cached_property
    def day(self) -> np.ndarray:
        """Days since 1970 in China (n,) int64."""
        return (self.submitted_at + CHINA_OFFSET) // DAY

    @cached_property
    def week(self) -> np.ndarray:
        """The Monday of each trade's week in China (n,), days since 1970."""
        return (self.day + 3) // 7 * 7 - 3

    @property
    def is_fraud(self) -> np.ndarray:
        return self.fraud == 1

    @property
    def is_honest(self) -> np.ndarray:
        return self.fraud == 0

    @property
    def is_open(self) -> np.ndarray:
        """Whether nothing is known of a trade's honesty (n,) bool."""
        return np.isnan(self.fraud)


@dataclass(frozen=True)
class Maturity:
    """How long labels take. delay_us: until LATE_LABEL_QUANTILE of the honest labels are known, None without any.
    until: int64 µs, labels of trades submitted up to then are complete."""

    delay_us: int | None
    until: int


@dataclass(frozen=True)
class Period:
    """[since, until) in int64 µs."""

    since: int
    until: int


def find_period(submitted: np.ndarray, *, since: datetime | None, until: datetime | None) -> Period:
    """[since, until) with the log's own ends for bounds that are not given; submitted (n,) int64 µs ascending. Raises
    NothingToReport."""
    if len(submitted) == 0:
        raise NothingToReport("no trades yet; bring some in with `huika import --trades FILE`")
    first = int(submitted[0]) if since is None else to_microseconds(since)
    end = int(submitted[-1]) + 1 if until is None else to_microseconds(until)
    if since is not None and until is not None and since >= until:
        raise NothingToReport("the period ends before it begins; --from must be earlier than --to")
    begin, stop = np.searchsorted(submitted, [first, end])
    if begin >= stop:
        reach = " to ".join(str(np.datetime64(int(submitted[row]), "us"))[:10] for row in (0, -1))
        raise NothingToReport(f"no trade was submitted in this period; the trades reach from {reach}")
    return Period(first, end)


def cases_within(trades: pa.Table, period: Period, *, catalogue: Catalogue) -> Cases:
    """The stored trades of a period."""
    begin, stop = np.searchsorted(microseconds(trades["submitted_at"]), [period.since, period.until])
    return cases_of(trades.slice(begin, stop - begin), place=np.arange(begin, stop), catalogue=catalogue)


def cases_of(trades: pa.Table, *, place: np.ndarray, catalogue: Catalogue) -> Cases:
    """Stored trades as cases."""
    texts = {name: _words(trades[name]) for name in TEXTS}
    face, rate = trades["face_value_fen"].to_numpy(), _number(trades["offered_rate"])
    return Cases(
        **texts,
        place=place,
        category=catalogue.attribute(texts["card_type"], "category"),
        submitted_at=microseconds(trades["submitted_at"]),
        face_value_fen=face,
        at_risk_fen=at_risk_fen(face_value_fen=face, offered_rate=rate),
        priced=np.isfinite(rate),
        accepted=_number(trades["accepted"]),
        fraud=_number(trades["fraud"]),
        fraud_known_at=_time(trades["fraud_known_at"]),
        let_through=_number(trades["let_through"]),
    )


def label_maturity(trades: pa.Table) -> Maturity:
    """What the labels of all trades say about their delay, as training takes it: an analyst clears a trade sooner than
    silence does."""
    submitted = microseconds(trades["submitted_at"])
    fraud, known_at = _number(trades["fraud"]), _time(trades["fraud_known_at"])
    labelled = np.isfinite(fraud)
    source = _words(trades["label_source"]).astype(str)
    honest = fraud == 0
    matured = honest & np.isin(source, ("matured", "None"))
    timely = next((rows for rows in (matured, honest) if rows.any()), labelled)
    if not timely.any():
        return Maturity(delay_us=None, until=int(submitted[0]) - 1)
    delay = int(np.quantile((known_at - submitted)[timely], LATE_LABEL_QUANTILE))
    return Maturity(delay_us=delay, until=int(known_at[labelled].max()) + 1 - delay)


def classes(cases: Cases, maturity: Maturity, action: np.ndarray) -> dict[str, np.ndarray]:
    """What is known of n trades, masks (n,) bool of which every trade is in one: fraud, honest, ripening (no label is
    due yet), overdue, unsold (refused or declined, so that nobody will learn what it was). Only honest counts as
    honest."""
    ripening = cases.submitted_at > maturity.until
    unsold = cases.is_open & ((cases.accepted == 0) | (action == "refuse"))
    unknown = cases.is_open & ~unsold
    return {
        "fraud": cases.is_fraud,
        "honest": cases.is_honest,
        "ripening": unknown & ripening,
        "overdue": unknown & ~ripening,
        "unsold": unsold,
    }


@dataclass(frozen=True)
class Judgeable:
    """Trades (n,) bool that may judge a model, and how many trades each stands for (n,).

    mature: old enough that their label says nothing by its speed. fair: mature, labelled, and not refused (the label
    of a refused trade is not known by chance).
    """

    mature: np.ndarray
    fair: np.ndarray
    weight: np.ndarray


def judgeable(cases: Cases, maturity: Maturity) -> Judgeable:
    """Which of n trades may judge a model."""
    mature = cases.submitted_at <= maturity.until
    taught = lessons(
        fraud=cases.fraud,
        decision=cases.decision,
        source=cases.label_source,
        let_through=cases.let_through,
    )
    return Judgeable(mature=mature, fair=mature & taught.fair, weight=taught.weight)


def _words(column: pa.ChunkedArray) -> np.ndarray:
    return column.to_numpy(zero_copy_only=False).astype(object)


def _number(column: pa.ChunkedArray) -> np.ndarray:
    return column.cast(pa.float64()).to_numpy(zero_copy_only=False)


def _time(column: pa.ChunkedArray) -> np.ndarray:
    return column.cast(pa.int64()).fill_null(UNKNOWN_TIME).to_numpy(zero_copy_only=False)
