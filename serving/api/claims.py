"""Who works on a request that came with an idempotency key: one at a time, in whichever worker.

The claim is the key's own row among the replies, written before the work begins. It is given up where the work fails,
and taken over from whoever has shown no sign of life for ``DEAD_SECONDS``.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any

import sqlalchemy as sa

from pipelines.application_data import UNDER_WAY, insert_once, replies
from serving.api.desk import Desk, Receipt
from serving.api.quoting_desk import reply_row

DEAD_SECONDS = 20
"""A worker that shows nothing for so long has died: between two signs it answers a part of a batch, which takes well
under a second, and may wait once for a storage that does not answer."""


class ClaimHeld(Exception):
    """Somebody else answers under this key, or has answered."""


@dataclass
class Claim:
    """The right to answer under a key. ``_alive_at``: the last sign of life, by which the claim is known to be ours."""

    _desk: Desk
    _receipt: Receipt
    _alive_at: datetime
    _is_kept: bool = False

    @classmethod
    def take(cls, desk: Desk, receipt: Receipt) -> Claim:
        """The claim. Raises ClaimHeld where somebody who is alive has it, or has answered."""
        now = desk.clock()
        claim = cls(desk, receipt, now)
        with desk.data.transaction() as connection:
            if insert_once(connection, replies, reply_row(receipt, {}, now, status=UNDER_WAY)):
                return claim
            dead = replies.c.created_at < now - timedelta(seconds=DEAD_SECONDS)
            taken = sa.update(replies).where(_under_way(receipt), dead).values(created_at=now)
            if not connection.execute(taken).rowcount:
                raise ClaimHeld
        return claim

    def go_on(self) -> None:
        """Show a sign of life. Raises ClaimHeld where somebody else has taken over."""
        now = self._desk.clock()
        self._change(sa.update(replies).values(created_at=now))
        self._alive_at = now

    def keep(self, body: dict[str, Any]) -> dict[str, Any]:
        """The answer, kept under the key. Raises as :meth:`go_on`."""
        self._change(sa.update(replies).values(status=200, body=body, created_at=self._desk.clock()))
        self._is_kept = True
        return body

    def __enter__(self) -> Claim:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the claim up where nothing was kept, so that the next request need not wait for ``DEAD_SECONDS``."""
        if not self._is_kept:
            with self._desk.data.transaction() as connection:
                connection.execute(sa.delete(replies).where(self._ours))

    def _change(self, change: sa.Update) -> None:
        with self._desk.data.transaction() as connection:
            if not connection.execute(change.where(self._ours)).rowcount:
                raise ClaimHeld

    @property
    def _ours(self) -> sa.ColumnElement[bool]:
        return sa.and_(_under_way(self._receipt), replies.c.created_at == self._alive_at)


def _under_way(receipt: Receipt) -> sa.ColumnElement[bool]:
    return sa.and_(
        replies.c.idempotency_key == receipt.key,
        replies.c.route == receipt.route,
        replies.c.status == UNDER_WAY,
    )
