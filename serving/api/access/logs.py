"""Logs as JSON lines without personal data: no addresses, ids of sellers, query strings, bodies or keys.

Of an error the log keeps its type and the lines it came through, never its message: a message may repeat what was sent.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

log = logging.getLogger("huika")

MOST_FRAMES = 12


class JsonLines(logging.Formatter):
    """One JSON object a line; ``facts`` of a record become its members."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "facts", {}),
        }
        if record.exc_info is not None and record.exc_info[1] is not None:
            error = record.exc_info[1]
            frames = traceback.extract_tb(error.__traceback__)[-MOST_FRAMES:]
            line["error"] = type(error).__name__
            line["through"] = [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames]
        return json.dumps(line, ensure_ascii=False)


def install_json_logs(stream: TextIO = sys.stderr) -> None:
    """Let the service's own log write JSON lines, once, and nowhere else."""
    if not any(isinstance(handler.formatter, JsonLines) for handler in log.handlers):
        handler = logging.StreamHandler(stream)
        handler.setFormatter(JsonLines())
        log.addHandler(handler)
    log.propagate = False
    log.setLevel(logging.INFO if log.level == logging.NOTSET else log.level)


class RequestLog:
    """One line a request: of every failure of ours, and of every ``every``-th other request (0: of none; all where the
    log's level is debug)."""

    def __init__(self, *, every: int) -> None:
        self._every = every
        self._count = 0

    def write(
        self, *, request_id: str, method: str, route: str, status: int, seconds: float, client_id: str
    ) -> None:
        """``route``: its template."""
        self._count += 1
        failed = status >= 500
        sampled = self._every > 0 and self._count % self._every == 0
        if not failed and not sampled and not log.isEnabledFor(logging.DEBUG):
            return
        facts = {
            "request_id": request_id,
            "method": method,
            "route": route,
            "status": status,
            "ms": round(seconds * 1_000, 3),
            "client": client_id,
        }
        log.log(logging.ERROR if failed else logging.INFO, "request", extra={"facts": facts})
