"""The consistency job: were quotes answered from the values that a training set will hold?

Every quote keeps the features it was answered from. They are computed again offline, from the tables that training
reads, by the definitions of their time, and compared value by value. A difference is *late* when it comes from
something that stands before the quote's moment but became known only after the quote was answered (an event told
late): computed from what was known then, the values agree. Anything else is a fault.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from features.catalogue import Catalogue, workspace_catalogue
from features.events import Accepted, Labelled, Observed, Resold, Submitted
from features.history import History, HistoryMoment
from features.registry import Registry, UnknownFeature
from features.rows import SPINE_COLUMNS
from features.training_set import Progress, compute_features
from pipelines.application_data import ApplicationData, live_log
from pipelines.feature_log import LoggedFeatures, logged_features
from pipelines.live_log import from_json
from pipelines.training.collecting import collect_workspace
from pipelines.workspace import Workspace

MOST_EXPLAINED = 200
"""Moments whose tables are put together again to tell what is late; it takes a while each."""

KINDS = ("equal", "late", "unexplained", "different", "missing", "gone")
"""missing: one side knows a value and the other does not. gone: the definition is no longer in the registry.
unexplained: differs, and there were too many to look into."""

Values = Mapping[str, Any]


@dataclass(frozen=True)
class Difference:
    """One value of one quote that is not what it should be."""

    quote_id: str
    trade_id: str
    column: str
    logged: float | str | None
    offline: float | str | None
    kind: str

    @property
    def feature(self) -> str:
        return self.column.partition("@")[0]


@dataclass(frozen=True)
class Consistency:
    """counts: feature -> how many values of each of ``KINDS``. differences: what is neither equal nor gone."""

    quotes: int
    unknown_trades: int
    counts: Mapping[str, Counter[str]]
    differences: tuple[Difference, ...]

    def total(self, kind: str) -> int:
        return sum(count[kind] for count in self.counts.values())

    @property
    def faults(self) -> int:
        """Values that differ though nothing was told late."""
        return self.total("different") + self.total("missing")


def check_consistency(
    workspace: Workspace, *, registry: Registry, newest: int, progress: Progress
) -> Consistency:
    """Compare the features of the ``newest`` quoted trades with their offline values. progress(features, in all)."""
    collect_workspace(workspace)
    data = ApplicationData(workspace.application_url)
    logged = logged_features(data, newest=newest)
    job = _Job(workspace=workspace, registry=registry, data=data)
    return job.run(logged, progress)


@dataclass(frozen=True)
class _Job:
    workspace: Workspace
    registry: Registry
    data: ApplicationData

    def run(self, logged: Sequence[LoggedFeatures], progress: Progress) -> Consistency:
        history = self._history()
        rows = pc.index_in(
            pa.array([item.trade_id for item in logged], pa.string()),
            value_set=history.column("trade_id").combine_chunks(),
        )
        found = [(item, row) for item, row in zip(logged, rows.to_pylist(), strict=True) if row is not None]
        columns = self._columns(history, found, progress)
        counts: dict[str, Counter[str]] = {}
        differences: list[Difference] = []
        tables: dict[int, tuple[pa.Table, pa.Table]] = {}
        for place, (item, _) in enumerate(found):
            offline = {name: values[place] for name, values in columns.items()}
            wrong = self._compare(item, offline, counts)
            if wrong:
                wrong = self._explain(item, wrong, tables)
            differences += wrong
        for difference in differences:
            counts[difference.feature][difference.kind] += 1
        return Consistency(
            quotes=len(logged),
            unknown_trades=len(logged) - len(found),
            counts=counts,
            differences=tuple(differences),
        )

    def _history(self) -> History:
        tables = self.workspace.tables
        return History(
            read=lambda name: tables.read("trades", [name])[name],
            market=self._market,
            catalogue=self._catalogue,
        )

    @property
    def _catalogue(self) -> Catalogue:
        return workspace_catalogue(self.workspace.tables)

    def _known(self, columns: Sequence[str]) -> list[str]:
        """Those of the logged columns whose definition still exists."""
        return [column for column in columns if self._feature_exists(column)]

    def _feature_exists(self, column: str) -> bool:
        try:
            self.registry[column]
        except UnknownFeature:
            return False
        return True

    def _columns(
        self, history: History, found: Sequence[tuple[LoggedFeatures, int]], progress: Progress
    ) -> dict[str, np.ndarray]:
        names = self._known(list(dict.fromkeys(column for item, _ in found for column in item.columns)))
        moment = HistoryMoment(history, np.array([row for _, row in found], dtype=np.int64))
        columns: dict[str, np.ndarray] = {}
        for done, name in enumerate(names, start=1):
            columns |= self.registry.compute(moment, [name])
            progress(done, len(names))
        return columns

    def _compare(
        self, item: LoggedFeatures, offline: Values, counts: dict[str, Counter[str]]
    ) -> list[Difference]:
        """Count what is equal or gone; return the rest."""
        wrong = []
        for column, value in zip(item.columns, item.values, strict=True):
            name = column.partition("@")[0]
            count = counts.setdefault(name, Counter())
            if column not in offline:
                count["gone"] += 1
            elif _same(value, offline[column]):
                count["equal"] += 1
            else:
                wrong.append(_difference(item, column, value, offline[column]))
        return wrong

    def _explain(
        self,
        item: LoggedFeatures,
        wrong: list[Difference],
        tables: dict[int, tuple[pa.Table, pa.Table]],
    ) -> list[Difference]:
        """Mark as late what agrees when computed from what was known when the quote was answered.

        ``tables``: those already put together, by the last record they hold. After ``MOST_EXPLAINED`` of them, what
        differs stays unexplained: each takes a while.
        """
        if item.seq not in tables and len(tables) >= MOST_EXPLAINED:
            return [replace(one, kind="unexplained") for one in wrong]
        if item.seq not in tables:
            tables[item.seq] = self._as_known_at(item.seq)
        trades, market = tables[item.seq]
        own = self._trades.filter(pc.equal(self._trades["trade_id"], item.trade_id))
        then = compute_features(
            spine=own.select(SPINE_COLUMNS),
            trades=trades,
            market=market,
            catalogue=self._catalogue,
            registry=self.registry,
            progress=lambda done, total: None,
            names=[one.column for one in wrong],
        )
        return [replace(one, kind="late") if _same(one.logged, then[one.column][0]) else one for one in wrong]

    def _as_known_at(self, seq: int) -> tuple[pa.Table, pa.Table]:
        """The tables without what the live log told after record ``seq``."""
        later = self.data.rows(
            sa.select(live_log).where(live_log.c.seq > seq).order_by(live_log.c.seq.desc())
        )
        events = [from_json(row["kind"], row["body"]) for row in later]
        unseen = [event.trade["trade_id"] for event in events if isinstance(event, Submitted)]
        trades = self._trades
        trades = trades.filter(
            pc.invert(pc.is_in(trades["trade_id"], value_set=pa.array(unseen, pa.string())))
        )
        for kind, (value, time) in OUTCOMES.items():
            told = {event.trade["trade_id"]: event for event in events if isinstance(event, kind)}
            trades = _without(trades, told, value=value, time=time)
        return trades, unobserved(self._market, [event for event in events if isinstance(event, Observed)])

    @cached_property
    def _trades(self) -> pa.Table:
        return self.workspace.tables.read("trades")

    @cached_property
    def _market(self) -> pa.Table:
        return self.workspace.tables.read("market")


OUTCOMES: dict[Any, tuple[str, str]] = {
    Accepted: ("accepted", "decided_at"),
    Resold: ("resale_rate", "resold_at"),
    Labelled: ("fraud", "fraud_known_at"),
}
MARKET_KEY = ("observed_at", "card_type", "source", "side")


def unobserved(market: pa.Table, told: Sequence[Observed]) -> pa.Table:
    """The market's rows without those of these events."""
    seen = {(event.at, event.card_type, event.source, event.side) for event in told}
    times = pa.array([event.at for event in told], market.schema.field("observed_at").type)
    near = np.flatnonzero(pc.is_in(market["observed_at"], value_set=times).to_numpy())
    rows = market.select(MARKET_KEY).take(pa.array(near)).to_pydict()
    kept = np.ones(len(market), dtype=bool)
    kept[near] = [key not in seen for key in zip(*(rows[name] for name in MARKET_KEY), strict=True)]
    return market.filter(pa.array(kept))


def _without(trades: pa.Table, told: Mapping[str, Any], *, value: str, time: str) -> pa.Table:
    """Outcomes told later taken out: null, or the label that stood before its correction."""
    places = pc.index_in(
        pa.array(list(told), pa.string()), value_set=trades["trade_id"].combine_chunks()
    ).to_pylist()
    before = {
        place: getattr(event, "old", None) or (None, None)
        for place, event in zip(places, told.values(), strict=True)
        if place is not None
    }
    rows = sorted(before)
    mask = np.zeros(len(trades), dtype=bool)
    mask[rows] = True
    for name, part in ((value, 1), (time, 0)):
        place, kind = trades.schema.get_field_index(name), trades.schema.field(name).type
        values = pa.array([before[row][part] for row in rows], kind)
        trades = trades.set_column(
            place, name, pc.replace_with_mask(trades[name].combine_chunks(), mask, values)
        )
    return trades


def _difference(item: LoggedFeatures, column: str, logged: Any, offline: Any) -> Difference:
    one_unknown = _unknown(logged) != _unknown(offline)
    return Difference(
        quote_id=item.quote_id,
        trade_id=item.trade_id,
        column=column,
        logged=logged,
        offline=offline if isinstance(offline, str) or offline is None else float(offline),
        kind="missing" if one_unknown else "different",
    )


def _unknown(value: Any) -> bool:
    return value is None or value != value


def _same(left: Any, right: Any) -> bool:
    return left == right or (_unknown(left) and _unknown(right))
