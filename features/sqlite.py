"""What every SQLite file of a service has in common."""

from __future__ import annotations

WAL_PAGES = 10_000
"""From so many pages in SQLite's log on, whoever commits moves them into the file. A service moves them before, beside
its requests (:func:`pipelines.databases.move_wal`)."""

STATE_CACHE_KIB = 32_000
"""Of the file of states each connection keeps so much at hand. SQLite's own 2 MB hold an eighth of the states of 40,000
trades, and each of the others was read from the system anew, for half of what reading and writing them costs."""

STATE_PAGE_BYTES = 2_048
"""A page of the file of states. Nearly each state that changes lies on a page of its own, and all of that goes into the
log and from there into the file; with SQLite's usual 4,096 that took twice as long."""
