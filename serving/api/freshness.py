"""How fresh the features are: the age of the newest record that the live state has taken, and how many wait."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from features.events import Accepted, Event, Labelled, Observed, Resold
from pipelines.live_log import LiveLog, record_of
from serving.api.keeping import keep_doing
from serving.api.metrics import Metrics

LOOK_SECONDS = 5


@dataclass(frozen=True)
class Freshness:
    """Tells the metrics every few seconds. ``live_log``: with connections of its own, for it is read in threads."""

    live_log: LiveLog
    metrics: Metrics
    clock: Callable[[], datetime]

    async def keep(self) -> None:
        """Never ends. What cannot be looked at keeps the figures of the last time, whose age grows."""
        trouble = "the freshness of the features could not be looked at"
        await keep_doing(self.look, every_seconds=LOOK_SECONDS, trouble=trouble)

    def look(self) -> None:
        """Tell once. Without any record yet there is nothing to tell."""
        taken = self.live_log.live.applied
        waiting = max(0, self.live_log.data.log_head - taken)
        rows = self.live_log.data.log_after(taken - 1, limit=1)
        if taken and rows:
            age = self.clock() - moment_of(record_of(rows[0]).event)
            self.metrics.freshness(age.total_seconds(), waiting=waiting)


def moment_of(event: Event) -> datetime:
    """When an event became known."""
    match event:
        case Accepted():
            return event.decided_at
        case Resold():
            return event.resold_at
        case Labelled():
            return event.known_at
        case Observed():
            return event.at
        case _:
            return event.trade["submitted_at"]
