"""What every SQLite file of a service has in common."""

from __future__ import annotations

WAL_PAGES = 10_000
"""From so many pages in SQLite's log on, whoever commits moves them into the file. A service moves them before, beside
its requests (:func:`pipelines.databases.move_wal`)."""
