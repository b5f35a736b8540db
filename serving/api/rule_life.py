"""Follows the files of rules and legal limits while the service runs: a changed file counts within seconds.

Every worker looks for itself, in a thread. A file that cannot be used, or that is gone, changes nothing: the rules
before it go on, and log, metric and ``/v1/models`` say so until the file is whole again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from models.fraud.rules import RuleBook
from pipelines.screening.files import LIMITS_FILE, RULES_FILE
from pipelines.screening.rule_files import RulesError, rule_book
from serving.api.canary import TwoDesks
from serving.api.desk import Desk
from serving.api.metrics import Metrics
from serving.api.model_life import put_in

log = logging.getLogger("huika")

LOOK_SECONDS = 2.0

Stamps = dict[str, tuple[int, int, int]]
"""File, size and time of change of those files that are there, by name."""


class RuleLife:
    """The rules of this process, ``book`` to begin with. install: puts a new book into the service, on the event loop.
    problem: why the files do not count, empty where they do."""

    def __init__(
        self,
        home: Path,
        book: RuleBook,
        *,
        install: Callable[[RuleBook], None],
        metrics: Metrics,
    ) -> None:
        self._home, self._install, self._metrics = home, install, metrics
        self._last: Stamps = {}
        self._tried: Stamps | None = None  # nothing: the files may have changed since the first book was read
        self._used: Stamps = {}
        self.book = book
        self.problem = ""
        metrics.rules_refused(False)

    async def keep(self) -> None:
        """Follow the files. Never ends."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self.look()
            except Exception:
                log.exception("the files of rules could not be looked at; the rules stay as they are")

    async def look(self) -> None:
        """Look once. A file counts when two looks saw it alike: one that is being written may read as a shorter whole
        one."""
        found = await asyncio.to_thread(stamps_of, self._home)
        rests, self._last = found == self._last, found
        if not rests or found == self._tried:
            return
        self._tried = found
        try:
            book = await asyncio.to_thread(self._read, found)
        except (RulesError, OSError) as error:
            self._refuse(str(error))
            return
        if self.problem or book != self.book:
            log.warning("rules %s and limits %s count from now on", book.rules_version, book.law_version)
        self._used, self.problem = found, ""
        self._metrics.rules_refused(False)
        if book != self.book:
            self._install(book)
            self.book = book

    def _read(self, found: Stamps) -> RuleBook:
        gone = [name for name in self._used if name not in found]
        if gone:
            raise RulesError(f"{', '.join(gone)}: the file is gone; an empty one says that there are none")
        return rule_book(self._home)

    def _refuse(self, why: str) -> None:
        log.error("rules %s stay as they are: %s", self.book.rules_version, why)
        self.problem = why
        self._metrics.rules_refused(True)


def stamps_of(home: Path) -> Stamps:
    """How the files of a workspace are now."""
    found: Stamps = {}
    for name in (RULES_FILE, LIMITS_FILE):
        try:
            stat = (home / name).stat()
        except FileNotFoundError:
            continue
        found[name] = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
    return found


def put_rules(state: Any, book: RuleBook) -> None:
    """Let a rule book count for every model that answers or waits. Requests that the former desk has taken are
    finished by it."""
    desk: Desk = state.desk.champions if isinstance(state.desk, TwoDesks) else state.desk
    state.desk = desk.with_rules(book)
    put_in(state, state.life.line)
