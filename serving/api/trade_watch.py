"""What the metrics are told of the recycling flow: trades by state and trouble, the numbers by profile, the money.

Nothing is read when metrics are scraped. Open and troubled trades are counted every few seconds, by their indexes. The
money is counted on from the transfer that was read last. The other numbers are of the last ``DAYS`` days, put together
every minute at most, and not more often than a twentieth of a processor allows.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from pipelines.application_data import ApplicationData
from pipelines.recycling.numbers import trade_numbers
from pipelines.recycling.policy import PROFILES
from pipelines.recycling.states import STATES
from pipelines.recycling.trade_money import TradeMoney, money_by_profile, newest_transfer
from pipelines.recycling.trade_tables import steps, submissions
from serving.api.keeping import keep_doing
from serving.api.metrics import Metrics

LOOK_SECONDS = 10
OPEN = tuple(state.code for state in STATES.values() if not state.is_end)
DAYS = 30
NUMBERS_SECONDS, RESTS_PER_SECOND = 60.0, 20.0
"""Between two rounds of numbers: so many seconds, or so many times what the last round took."""
ANSWER_SECONDS = 30.0
"""How long a look waits for one answer of the database."""
TRANSFERS_AT_ONCE, MOST_ROUNDS = 50_000, 20
"""Transfers that one statement counts on, and statements of one look: a start with many does not hold anything up."""
NOTHING = TradeMoney(**dict.fromkeys(TradeMoney.__dataclass_fields__, 0))


@dataclass
class TradeWatch:
    """Tells the metrics how the trades stand.

    data: with connections of its own, for it is read in threads. clock: the time of trades; seconds: a clock that only
    goes forward.
    """

    data: ApplicationData
    metrics: Metrics
    clock: Callable[[], datetime]
    seconds: Callable[[], float] = time.monotonic
    _money: dict[str, TradeMoney] = field(default_factory=lambda: dict.fromkeys(PROFILES, NOTHING))
    _counted: int = 0
    _seen: tuple[int, int] = (-1, -1)
    _numbers_at: float = 0.0

    async def keep(self) -> None:
        """Never ends. What cannot be looked at keeps the figures of the last time."""
        await keep_doing(self.look, every_seconds=LOOK_SECONDS, trouble="the trades could not be counted")

    def look(self) -> None:
        """Tell once."""
        with self.data.transaction() as connection:
            self._count_open(connection)
            newest = self._count_money(connection)
            began = self.seconds()
            if began < self._numbers_at:
                return
            try:
                self._tell_numbers(connection, newest)
            finally:  # what a database gives up is not asked of it again at once
                ended = self.seconds()
                self._numbers_at = ended + max(NUMBERS_SECONDS, RESTS_PER_SECOND * (ended - began))

    def _count_open(self, connection: sa.Connection) -> None:
        """Troubles are those of trades in any state: a card may be on its way back, or taken over, after the end."""
        columns = submissions.c
        by_state = sa.select(columns.state, sa.func.count()).where(columns.state.in_(OPEN))
        states = _counts(connection, by_state.group_by(columns.state))
        # Written out, not bound: only then the index of troubled trades serves.
        troubled = sa.select(columns.trouble, sa.func.count()).where(
            columns.trouble != sa.literal_column("''")
        )
        troubles = _counts(connection, troubled.group_by(columns.trouble))
        self.metrics.trades(states={code: states[code] for code in OPEN}, troubles=troubles)

    def _count_money(self, connection: sa.Connection) -> int:
        """Count on, and tell once all is counted; the newest transfer."""
        newest = newest_transfer(connection)
        for _ in range(MOST_ROUNDS):
            if self._counted >= newest:
                break
            until = min(newest, self._counted + TRANSFERS_AT_ONCE)
            for profile, more in money_by_profile(connection, after=self._counted, until=until).items():
                self._money[profile] += more
            self._counted = until
        if self._counted >= newest:
            for profile, money in self._money.items():
                self.metrics.trade_money(profile, asdict(money))
        return newest

    def _tell_numbers(self, connection: sa.Connection, newest: int) -> None:
        """Nothing where nothing has happened since: what leaves the period by itself is told with the next trade."""
        last_step = connection.execute(sa.select(sa.func.coalesce(sa.func.max(steps.c.seq), 0))).scalar_one()
        if (last_step, newest) == self._seen:
            return
        ended = sa.select(submissions.c.state, sa.func.count()).where(submissions.c.state.not_in(OPEN))
        states = _counts(connection, ended.group_by(submissions.c.state))
        self.metrics.trades(states={code: states[code] for code in STATES if code not in OPEN})
        since = self.clock() - timedelta(days=DAYS)
        for profile in PROFILES:
            self.metrics.trade_numbers(
                profile, asdict(trade_numbers(connection, profile=profile, since=since))
            )
        self._seen = (last_step, newest)


def _counts(connection: sa.Connection, statement: sa.Select[Any, int]) -> Counter[str]:
    return Counter({row[0]: row[1] for row in connection.execute(statement)})
