"""The live state of one entity: its recent events, and older ones folded into totals.

A state holds every event that a window can still reach (``features.windows.LONGEST``). What is older is folded
into one row of totals, which is all that the all-time features need; the newest submission always stays, for
the time since the last one. Times are int64 µs.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from features.windows import DAY, HOUR, LONGEST, MARKET_WINDOW

MARKET_REACH = MARKET_WINDOW.width + MARKET_WINDOW.hop
SLACK = HOUR
"""A quote's moment may lie this far behind the newest event without missing anything."""

Row = list[str | int | None]
"""A submission: trade_id, time, face value in fen, then the trade's entities in the order of ``ENTITIES``."""


@dataclass
class Folded:
    """Totals of events that no window reaches any more, and the time of the first of each kind."""

    submissions: int = 0
    first_submission: int = 0
    labels: int = 0
    frauds: int = 0
    first_label: int = 0
    acceptances: int = 0
    first_acceptance: int = 0


@dataclass
class State:
    """What one entity key remembers. Which parts are used depends on the kind of entity.

    submissions: :data:`Row` by time. labels: [trade_id, known at, fraud 0/1]. acceptances: [trade_id, decided at].
    days: day number -> [labels, frauds, resales, resale ppm] of a card kind. bids: [time, source, side, ppm].
    """

    submissions: list[Row] = field(default_factory=list)
    labels: list[list[str | int]] = field(default_factory=list)
    acceptances: list[list[str | int]] = field(default_factory=list)
    days: dict[str, list[int]] = field(default_factory=dict)
    bids: list[list[str | int]] = field(default_factory=list)
    folded: Folded = field(default_factory=Folded)

    @classmethod
    def decode(cls, data: bytes | None) -> State:
        if not data:
            return cls()
        raw = json.loads(data)
        return cls(**(raw | {"folded": Folded(**raw["folded"])}))

    def encode(self) -> bytes:
        parts = vars(self) | {"folded": vars(self.folded)}
        return json.dumps(parts, separators=(",", ":"), ensure_ascii=False).encode()

    def add_submission(self, row: Row) -> None:
        """Insert in (time, trade_id) order; a trade already there is left as it is."""
        if any(known[0] == row[0] for known in self.submissions):
            return
        self.submissions.append(row)
        if len(self.submissions) > 1 and _submission_order(row) < _submission_order(self.submissions[-2]):
            self.submissions.sort(key=_submission_order)

    def set_label(
        self, *, trade_id: str, known_at: int, fraud: bool, old: tuple[int, bool] | None = None
    ) -> None:
        """Put the trade's label in place of its ``old`` one (known at, fraud), which may be folded already."""
        kept = [label for label in self.labels if label[0] != trade_id]
        if old is not None and len(kept) == len(self.labels) and self.folded.labels:
            self.folded.labels -= 1
            self.folded.frauds -= int(old[1])
        self.labels = [*kept, [trade_id, known_at, int(fraud)]]

    def add_acceptance(self, *, trade_id: str, decided_at: int) -> None:
        if all(known[0] != trade_id for known in self.acceptances):
            self.acceptances.append([trade_id, decided_at])

    def add_to_day(
        self, time: int, *, labels: int = 0, frauds: int = 0, resales: int = 0, ppm: int = 0
    ) -> None:
        day = self.days.setdefault(str(time // DAY), [0, 0, 0, 0])
        for position, amount in enumerate((labels, frauds, resales, ppm)):
            day[position] += amount

    def add_bid(self, *, time: int, source: str, side: str, ppm: int) -> None:
        """Put a market rate; the same source, side and time replaces the older value."""
        self.bids = [bid for bid in self.bids if bid[:3] != [time, source, side]]
        self.bids.append([time, source, side, ppm])

    def fold(self, now: int) -> None:
        """Fold what no window of a moment at or after ``now`` can reach."""
        cutoff = now - LONGEST - SLACK
        while len(self.submissions) > 1 and int(self.submissions[0][1] or 0) < cutoff:
            time = int(self.submissions.pop(0)[1] or 0)
            self.folded.first_submission = self._first(
                self.folded.submissions, self.folded.first_submission, time
            )
            self.folded.submissions += 1
        old_labels = [label for label in self.labels if int(label[1]) < cutoff]
        for _, time, fraud in old_labels:
            self.folded.first_label = self._first(self.folded.labels, self.folded.first_label, int(time))
            self.folded.labels += 1
            self.folded.frauds += int(fraud)
        self.labels = [label for label in self.labels if int(label[1]) >= cutoff]
        for _, time in [item for item in self.acceptances if int(item[1]) < cutoff]:
            self.folded.first_acceptance = self._first(
                self.folded.acceptances, self.folded.first_acceptance, int(time)
            )
            self.folded.acceptances += 1
        self.acceptances = [item for item in self.acceptances if int(item[1]) >= cutoff]
        self.days = {day: totals for day, totals in self.days.items() if (int(day) + 1) * DAY > cutoff}
        self.bids = [bid for bid in self.bids if int(bid[0]) >= now - MARKET_REACH - SLACK]

    @staticmethod
    def _first(count: int, first: int, time: int) -> int:
        return time if count == 0 else min(first, time)


def _submission_order(row: Row) -> tuple[int, str]:
    return int(row[1] or 0), str(row[0])
