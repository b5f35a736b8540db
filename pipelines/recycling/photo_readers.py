"""Photos read in processes of their own, so that neither the event loop nor a quote waits for a picture."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import IO, Any, cast

from pipelines.recycling.card_photo import MAX_BYTES, PhotoRefused
from pipelines.recycling.photo_child import read_message, write_message

CHILD = ("-m", "pipelines.recycling.photo_child")
READ_SECONDS, FIRST_SECONDS = 60.0, 180.0
"""How long one photo may take, and the first one of a process, which loads the models, too: a second and three of
processor time, which on a machine that is busy with quotes can be many."""


class PhotosBusy(RuntimeError):
    """More photos wait than will be read soon."""


@dataclass
class PhotoReaders:
    """Processes that read photos, started when the first photo comes. processes: how many at once; most_waiting: photos
    that wait for one beside those that are read."""

    home: Path
    processes: int = 1
    most_waiting: int = 4
    seconds: float = READ_SECONDS
    command: tuple[str, ...] = CHILD
    _places: threading.Semaphore = field(init=False)
    _idle: queue.SimpleQueue[_Child | None] = field(init=False, default_factory=queue.SimpleQueue)

    def __post_init__(self) -> None:
        self._places = threading.Semaphore(self.processes + self.most_waiting)
        for _ in range(self.processes):
            self._idle.put(None)

    def read(self, content: bytes, *, today: date) -> dict[str, Any]:
        """The plain values of what the photo seems to show. Raises PhotoRefused, ``damaged`` also where the process
        that read it crashed or did not end in time, and PhotosBusy."""
        if len(content) > MAX_BYTES:
            raise PhotoRefused("too_large")
        if not content:
            raise PhotoRefused("empty")
        with self._child() as child:
            answer = child.ask(content, today=today, seconds=self.seconds)
        if answer is None:
            raise PhotoRefused("damaged")
        if "refused" in answer:
            raise PhotoRefused(answer["refused"])
        return answer["read"]

    @contextmanager
    def _child(self) -> Iterator[_Child]:
        if not self._places.acquire(blocking=False):
            raise PhotosBusy("too many photos wait to be read")
        child: _Child | None = None
        try:
            child = self._idle.get()
            try:
                if child is None or not child.alive:
                    child = _Child(self.home, self.command)
                yield child
            finally:
                self._idle.put(child)
        finally:
            self._places.release()

    def close(self) -> None:
        """End the processes that are idle. The others end with this one."""
        for _ in range(self.processes):
            try:
                child = self._idle.get_nowait()
            except queue.Empty:
                return
            if child is not None:
                child.kill()
            self._idle.put(None)


class _Child:
    """One process. is_warm: it has answered before."""

    def __init__(self, home: Path, command: tuple[str, ...]) -> None:
        self.is_warm = False
        self._process = subprocess.Popen(
            [sys.executable, *command, str(home)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # nothing that a library says of a card goes into a log
        )

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, content: bytes, *, today: date, seconds: float) -> dict[str, Any] | None:
        """The answer; None where the process ended, or was ended since it took too long."""
        watch = threading.Timer(seconds if self.is_warm else max(seconds, FIRST_SECONDS), self.kill)
        watch.start()
        stdin, stdout = cast(IO[bytes], self._process.stdin), cast(IO[bytes], self._process.stdout)
        try:
            write_message(stdin, json.dumps({"today": today.isoformat()}).encode())  # pyright: ignore[reportArgumentType]
            write_message(stdin, content)  # pyright: ignore[reportArgumentType]
            answer = read_message(stdout)  # pyright: ignore[reportArgumentType]
            if answer is not None:
                self.is_warm = True
                return json.loads(answer)
        except (OSError, ValueError):
            pass
        finally:
            watch.cancel()
        self.kill()
        return None

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
