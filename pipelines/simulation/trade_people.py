"""How simulated sellers and people behave in the recycling flow."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from features.china import CHINA_OFFSET

CHINA = timedelta(microseconds=CHINA_OFFSET)


@dataclass(frozen=True)
class Habits:
    """What sellers and people do; times in minutes where nothing else is said.

    look: what the machine takes to look at a submission, in seconds. answer: a seller's mean time to look at a quote;
    patience_hours: the mean after which one takes the card back who heard nothing; asks_again: the share that ask
    again after a quote lapsed, appeals: the share of honest refused sellers that ask for a person. opens, closes:
    office hours in China, on every day. decision, judging, parcel: of a person's time. catches: the share of
    fraudulent cards that a person who looks turns away; spurns: the share of honest ones.
    """

    look: float = 2.0
    answer: float = 10.0
    patience_hours: float = 24.0
    asks_again: float = 0.8
    appeals: float = 0.5
    opens: int = 9
    closes: int = 18
    decision: float = 5.0
    judging: float = 20.0
    parcel: float = 3.0
    catches: float = 0.7
    spurns: float = 0.02


@dataclass
class Clerk:
    """A person with office hours who does one thing after another. worked: minutes so far."""

    habits: Habits
    free_at: datetime
    worked: float = 0.0

    def done_at(self, now: datetime, minutes: float) -> datetime:
        """When something that came in now is done, after whatever came before."""
        start = self._in_office(max(now, self.free_at), minutes)
        self.free_at = start + timedelta(minutes=minutes)
        self.worked += minutes
        return self.free_at

    def _in_office(self, moment: datetime, minutes: float) -> datetime:
        local = moment + CHINA
        opening = local.replace(hour=self.habits.opens, minute=0, second=0, microsecond=0)
        closing = local.replace(hour=self.habits.closes, minute=0, second=0, microsecond=0)
        if local < opening:
            return opening - CHINA
        if local + timedelta(minutes=minutes) > closing:
            return opening + timedelta(days=1) - CHINA
        return moment
