"""The sandbox of partners as a child process, for the demo and for drills."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

from serving.commands.bench_servers import free_port
from serving.refusals import Refusal

START_SECONDS, STOP_SECONDS = 60.0, 30.0


@contextmanager
def sandbox_process(folder: Path, *words: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """The running sandbox and its address, on a free port, ended at the end. folder: where its log goes; words: more
    of its options. Raises Refusal."""
    port, log = free_port(), folder / "sandbox.log"
    code = "import sys; from serving.cli import main; main(sys.argv[1:])"
    command: Sequence[str] = [sys.executable, "-c", code, "sandbox", "--port", str(port), *words]
    with log.open("w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out)
        url = f"http://127.0.0.1:{port}"
        try:
            _await(url, process, log)
            yield process, url
        finally:
            process.terminate()
            process.wait(timeout=STOP_SECONDS)


def _await(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            httpx.get(f"{url}/sandbox/log", trust_env=False)
        except httpx.TransportError:
            time.sleep(0.1)
        else:
            return
    raise Refusal(f"the sandbox did not start; see {log.name} in {log.parent}")
