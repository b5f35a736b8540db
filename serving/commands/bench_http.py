"""HTTP servers under load: started in processes of their own, asked, measured from outside, and stopped."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from serving.commands.bench_asking import ask
from serving.commands.bench_processes import child
from serving.commands.bench_servers import free_port
from serving.refusals import Refusal

HOST = "127.0.0.1"
START_SECONDS = 300.0
STOP_SECONDS = 20.0
UNLIMITED = {
    "HUIKA_ACCESS__REQUESTS_PER_SECOND": "0",
    "HUIKA_ACCESS__CARD_QUOTES_PER_HOUR": "0",
    "HUIKA_ACCESS__ALIKE_QUOTES_PER_HOUR": "0",
    "HUIKA_ACCESS__PUBLIC_METRICS": "true",
}
"""What a benchmark asks for that no client would get: as many questions as the machine answers."""


@dataclass(frozen=True)
class Running:
    """A server that answers. headers: what it wants to be sent with every request. ready: its path for readiness."""

    name: str
    port: int
    process: psutil.Process
    headers: Mapping[str, str] = field(default_factory=dict)

    def processor_seconds(self) -> float:
        """User and system time of the server and all its processes so far, of those that have ended too."""
        return sum(sum(process.cpu_times()[:4]) for process in self._tree())

    def memory_mb(self) -> float:
        """Resident memory of the server and all its processes; what they share counts in each."""
        return sum(process.memory_info().rss for process in self._tree()) / 1024**2

    def _tree(self) -> list[psutil.Process]:
        alive = [self.process, *self.process.children(recursive=True)]
        return [process for process in alive if process.is_running()]

    def asked(
        self,
        path: str,
        bodies: str,
        *,
        connections: int,
        seconds: float,
        requests: int = 10**9,
        keep: str = "",
    ) -> dict[str, Any]:
        """Figures of :func:`serving.commands.bench_asking.ask`, with ``cpu_ms`` of the server for each request.
        Raises Refusal."""
        before = self.processor_seconds()
        found = child(
            ask,
            what=f"asking {self.name}",
            port=self.port,
            path=path,
            bodies=bodies,
            headers=dict(self.headers),
            connections=connections,
            requests=requests,
            seconds=seconds,
            keep=keep,
        )
        spent = self.processor_seconds() - before
        return found | {"cpu_ms": spent / max(found["requests"], 1) * 1e3}

    def text(self, path: str) -> str:
        """What a GET answers; empty where it does not answer with 200."""
        return _got(self.port, path) or ""


@contextmanager
def huika(home: Path, *, workers: int = 1) -> Iterator[Running]:
    """``huika serve`` on a workspace, without limits of requests. Raises Refusal."""
    from pipelines.workspace import Workspace
    from serving.commands.serve import prepare, service_command, service_environment

    workspace = Workspace.open(home)
    prepare(workspace, progress=lambda done, total: None, now=datetime.now(UTC))
    headers = authorization(home)
    port = free_port()
    with started(
        "this service",
        service_command(host=HOST, port=port),
        environment=service_environment(workspace, workers=workers) | UNLIMITED,
        port=port,
        ready="/readyz",
        log=home / "bench-service.log",
        headers=headers,
    ) as running:
        yield running


def authorization(home: Path) -> dict[str, str]:
    """The header of a client that may ask for quotes, with a key of its own."""
    from pipelines.workspace import Workspace
    from serving.api.access.roles import Role
    from serving.commands.access import make_key

    now = datetime.now(UTC)
    key = make_key(Workspace.open(home), name="benchmark", roles=[Role.PRICING_CLIENT], now=now)
    return {"Authorization": f"Bearer {key}"}


@contextmanager
def bare(models: Mapping[str, str], folder: Path) -> Iterator[Running]:
    """The bare FastAPI app around the models in these folders. Raises Refusal."""
    from serving.commands.bench_bare import MODELS

    port = free_port()
    app = ["--factory", "serving.commands.bench_bare:create"]
    quiet = ["--log-level", "warning", "--no-access-log"]
    with started(
        "bare FastAPI",
        [sys.executable, "-m", "uvicorn", *app, "--host", HOST, "--port", str(port), *quiet],
        environment={MODELS: json.dumps(dict(models))},
        port=port,
        ready="/ready",
        log=folder / "bench-bare.log",
    ) as running:
        yield running


@contextmanager
def mlflow_server(model: str, folder: Path) -> Iterator[Running]:
    """``mlflow models serve`` of one model's folder. Raises Refusal."""
    port = free_port()
    where = ["-m", model, "--env-manager", "local", "--host", HOST, "--port", str(port), "--workers", "1"]
    with started(
        "mlflow models serve",
        [sys.executable, "-m", "mlflow", "models", "serve", *where],
        environment={"PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))},
        port=port,
        ready="/ping",
        log=folder / "bench-mlflow.log",
    ) as running:
        yield running


@contextmanager
def started(
    name: str,
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    port: int,
    ready: str,
    log: Path,
    headers: Mapping[str, str] | None = None,
) -> Iterator[Running]:
    """A server from its readiness on; stopped with all its processes at the end. Raises Refusal."""
    with log.open("w") as output:
        process = subprocess.Popen(
            command, env=os.environ | dict(environment), stdout=output, stderr=subprocess.STDOUT
        )
        watched = psutil.Process(process.pid)
        try:
            _wait(name, process, port=port, ready=ready, log=log)
            yield Running(name=name, port=port, process=watched, headers=headers or {})
        finally:
            _stop(process, watched)


def _wait(name: str, process: subprocess.Popen[bytes], *, port: int, ready: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise Refusal(f"{name} ended at its start: {_last_line(log)}")
        if _got(port, ready) is not None:
            return
        time.sleep(0.2)
    raise Refusal(f"{name} was not ready after {START_SECONDS:.0f} s: {_last_line(log)}")


def _got(port: int, path: str) -> str | None:
    """The body of a GET that was answered with 200."""
    import httpx

    try:
        answer = httpx.get(f"http://{HOST}:{port}{path}", timeout=10, trust_env=False)
    except httpx.TransportError:
        return None
    return answer.text if answer.status_code == 200 else None


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"


def _stop(process: subprocess.Popen[bytes], watched: psutil.Process) -> None:
    """End the server and whatever it started."""
    try:
        children = watched.children(recursive=True)
    except psutil.NoSuchProcess:
        children = []
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for left in children:
        with suppress(psutil.NoSuchProcess):
            left.terminate()
    for left in psutil.wait_procs(children, timeout=STOP_SECONDS)[1]:
        left.kill()
