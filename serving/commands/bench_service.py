"""The real service of a benchmark: ``huika serve`` as a user starts it, its workers, and what can be done to them."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from serving.commands.bench_servers import family, free_port
from serving.refusals import Refusal

READY_SECONDS, STOP_SECONDS = 300.0, 30.0
LAST_LINES = 12
WORKER = "_bentoml_impl.worker"
"""Part of the command line of Bento's worker processes."""


@dataclass
class Service:
    """One ``huika serve`` on a port of its own, in a process group of its own. more: variables beside ours."""

    home: Path
    workers: int
    log: Path
    more: Mapping[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    _running: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        code = "from serving.cli import main; main()"
        words = ["serve", "--port", str(self.port), "--workers", str(self.workers), "--home", str(self.home)]
        with self.log.open("ab") as log:
            self._running = subprocess.Popen(
                [sys.executable, "-c", code, *words],
                env=os.environ | dict(self.more),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def await_ready(self) -> None:
        """Wait until it says that it can answer. Raises Refusal."""
        end = time.monotonic() + READY_SECONDS
        while time.monotonic() < end and self._running is not None and self._running.poll() is None:
            if self._is_ready() and self.worker_ids():
                return
            time.sleep(0.2)
        last = "\n".join(self.log.read_text(errors="replace").splitlines()[-LAST_LINES:])
        raise Refusal(f"the service did not become ready; the end of its log:\n{last}")

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", timeout=2, trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    def kill(self) -> None:
        """End all of its processes at once."""
        self._end(family(self._process.pid))

    def kill_parent(self) -> None:
        """End the process that looks after the workers, and leave them."""
        self._end([self._process.pid])

    def _end(self, process_ids: list[int]) -> None:
        for process_id in process_ids:
            with suppress(ProcessLookupError):
                os.kill(process_id, signal.SIGKILL)
        self._process.wait()

    @property
    def _process(self) -> subprocess.Popen[bytes]:
        assert self._running is not None, "not started"
        return self._running

    def stop(self) -> None:
        """End in order, and what is left of it after a while by force."""
        if self._running is None:
            return
        family_ids = family(self._running.pid)
        self._running.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._running.wait(timeout=STOP_SECONDS)
        self._end(family_ids)

    def worker_ids(self) -> list[int]:
        """Process ids of the workers, the oldest first."""
        import psutil

        children = psutil.Process(self._process.pid).children(recursive=True)
        found = [child for child in children if WORKER in " ".join(child.cmdline())]
        return [child.pid for child in sorted(found, key=lambda child: child.create_time())]


def limit_files(process_ids: list[int], most_bytes: int | None) -> None:
    """Let processes write no file beyond a size, as when the disk is full; None: as much as they are allowed to.

    Only the soft limit moves, so that whoever owns a process can take it back.
    """
    for process_id in process_ids:
        _, hard = resource.prlimit(process_id, resource.RLIMIT_FSIZE)
        soft = hard if most_bytes is None else most_bytes
        resource.prlimit(process_id, resource.RLIMIT_FSIZE, (soft, hard))
